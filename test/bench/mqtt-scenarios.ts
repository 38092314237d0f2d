/** What `npm run bench -- mqtt` can measure. */
import type { LoadTask } from './mqtt-load.ts';
import type { WakeUp } from './mqtt-wake-up.ts';
import type { MqttVersion } from './mqtt-wire.ts';
import { mosquittoDurablePeer, mosquittoNoDelayPeer, type PeerSpec } from './peers.ts';

export type Scenario = {
  name: string;
  title: string;
  /** What is counted. */
  unit: string;
  task: LoadTask;
  /** How the peer's memory grows, per so many of these bytes. */
  growth?: { header: string; bytes: number };
  /** A peer of its own for each measurement, because what the last one left behind would count. */
  isFresh?: boolean;
  /** Where the scenario needs another than the one asked for. */
  version?: MqttVersion;
  /** Where another way to wait changes nothing. */
  wakeUps?: readonly WakeUp[];
  /** The peer that takes the place of this one. */
  peer?: (spec: PeerSpec) => PeerSpec | undefined;
  openFiles?: number;
};

const payloadBytes = 64;
const manyFiles = 2300;
const idleConnections = 5000;
const block = ['block'] as const;
/** For what never reaches the engine. */
const withoutSync = (spec: PeerSpec): PeerSpec | undefined => (spec.name === 'gantry-sync' ? undefined : spec);
/** For what comes a little at a time, where it doubles Mosquitto's figures; a stream of messages is slower with it. */
const withoutDelay = (spec: PeerSpec): PeerSpec => (spec.name === 'mosquitto' ? mosquittoNoDelayPeer : spec);

const pairs: readonly Scenario[] = [
  {
    name: 'qos0',
    title: '1 publisher to 1 subscriber, QoS 0, 64 bytes, at most 2000 messages undelivered',
    unit: 'msg',
    task: { kind: 'pair', qos: 0, payloadBytes, window: 2000 },
  },
  {
    name: 'qos1',
    title: '1 publisher to 1 subscriber, QoS 1, 64 bytes, 100 publishes in flight',
    unit: 'msg',
    task: { kind: 'pair', qos: 1, payloadBytes, window: 100 },
  },
  {
    name: 'qos1-1000',
    title: '1 publisher to 1 subscriber, QoS 1, 64 bytes, 1000 publishes in flight',
    unit: 'msg',
    task: { kind: 'pair', qos: 1, payloadBytes, window: 1000 },
  },
  {
    name: 'qos2',
    title: '1 publisher to 1 subscriber, QoS 2, 64 bytes, at most 100 messages under way',
    unit: 'msg',
    task: { kind: 'flow', layout: 'pairs', publishers: 1, subscribers: 1, qos: 2, payloadBytes, window: 100 },
  },
];

const crowds: readonly Scenario[] = [
  ...([0, 1] as const).map((qos): Scenario => {
    return {
      name: `fan-out-qos${qos}`,
      title: `fan-out: 1 publisher to 1,000 subscribers, QoS ${qos}, 64 bytes, at most 100 messages under way`,
      unit: 'delivery',
      task: { kind: 'flow', layout: 'all', publishers: 1, subscribers: 1000, qos, payloadBytes, window: 100 },
      openFiles: manyFiles,
    };
  }),
  {
    name: 'topics',
    title: '1 publisher over 10,000 topics in turn to 1 subscriber of the wildcard, QoS 1, 64 bytes, 100 under way',
    unit: 'msg',
    task: {
      kind: 'flow',
      layout: 'rotating',
      publishers: 1,
      subscribers: 1,
      topics: 10_000,
      qos: 1,
      payloadBytes,
      window: 100,
    },
  },
  {
    name: 'many',
    title: '1,000 publishers to 1,000 subscribers, a topic for each pair, QoS 1, 64 bytes, 20 under way per pair',
    unit: 'msg',
    task: { kind: 'flow', layout: 'pairs', publishers: 1000, subscribers: 1000, qos: 1, payloadBytes, window: 20 },
    peer: withoutDelay,
    openFiles: manyFiles,
  },
  {
    name: 'shared',
    title: 'shared subscription: 100 publishers to a group of 10, QoS 1, 64 bytes, 20 under way per publisher',
    unit: 'msg',
    task: { kind: 'flow', layout: 'shared', publishers: 100, subscribers: 10, qos: 1, payloadBytes, window: 20 },
    version: 5,
  },
];

const others: readonly Scenario[] = [
  ...([1, 100] as const).map((matches): Scenario => {
    return {
      name: `retained-${matches}`,
      title: `retained messages: look-ups of x/+/NAME among 10,000 that match ${matches}, by 10 clients`,
      unit: 'look-up',
      task: { kind: 'retained', messages: 10_000, matches, clients: 10, payloadBytes },
      wakeUps: block,
      peer: (spec) => withoutSync(withoutDelay(spec)),
    };
  }),
  {
    name: 'connect',
    title: 'connections that come and go (CONNECT, CONNACK, DISCONNECT), 200 at once',
    unit: 'connection',
    task: { kind: 'connect', atOnce: 200 },
    wakeUps: block,
    peer: (spec) => withoutSync(withoutDelay(spec)),
  },
  ...[false, true].map((isSubscribed): Scenario => {
    return {
      name: isSubscribed ? 'idle-subscribed' : 'idle',
      title: `5,000 idle connections ${isSubscribed ? 'with one subscription each' : 'without a subscription'}`,
      unit: 'connection',
      task: { kind: 'idle', connections: idleConnections, isSubscribed },
      growth: { header: 'KiB each', bytes: 1024 * idleConnections },
      isFresh: true,
      wakeUps: block,
      peer: withoutSync,
      openFiles: idleConnections + 500,
    };
  }),
  ...[5000, 500].map((messages): Scenario => {
    return {
      name: messages === 5000 ? 'drain' : 'drain-500',
      title: `drain: 200 sessions come back to ${messages} messages each (QoS 1, 64 bytes), and the memory these took`,
      unit: 'delivery',
      task: { kind: 'drain', sessions: 200, messages, payloadBytes, window: 100 },
      growth: { header: 'waiting MiB', bytes: 2 ** 20 },
      isFresh: true,
      wakeUps: block,
      peer: (spec) => (spec.name === 'gantry' ? undefined : spec.name === 'mosquitto' ? mosquittoDurablePeer : spec),
    };
  }),
];

export const scenarios: readonly Scenario[] = [...pairs, ...crowds, ...others];

/** Names that stand for several scenarios. */
const groups: Readonly<Record<string, readonly string[]>> = {
  'fan-out': ['fan-out-qos0', 'fan-out-qos1'],
  retained: ['retained-1', 'retained-100'],
};

/** Without `names`, all but the long one. */
export function chooseScenarios(names: string | undefined): readonly Scenario[] {
  if (names === undefined) return scenarios.filter(({ name }) => name !== 'drain');
  const wanted = names.split(',').flatMap((name) => groups[name] ?? [name]);
  return wanted.map((name) => {
    const found = scenarios.find((scenario) => scenario.name === name);
    if (found === undefined) {
      const known = [...Object.keys(groups), ...scenarios.map((scenario) => scenario.name)];
      throw new Error(`--scenario takes ${known.join(',')}, not ${name}`);
    }
    return found;
  });
}
