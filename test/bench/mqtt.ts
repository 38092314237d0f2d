/**
 * `npm run bench -- mqtt`: throughput of the gateway and of other MQTT brokers under the same load.
 *
 * All peers of a scenario run at the same time but are measured in turns (A, B, C, A, B, C, ...), so that a slow spell
 * of the machine meets all of them. Compare the ratios, not the absolute figures.
 */
import { fork } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { choose, number } from './flags.ts';
import type { Benchmark } from './main.ts';
import type { LoadFigures, LoadPlan, LoadReport, WakeUp } from './mqtt-load.ts';
import { describeMachine, renderScenario, summarize, type Round, type Summary } from './mqtt-report.ts';
import type { MqttVersion } from './mqtt-wire.ts';
import {
  adHocPeer,
  aedesPeer,
  gantryPeer,
  gantrySyncPeer,
  mosquittoPeer,
  startPeer,
  type PeerSpec,
  type RunningPeer,
} from './peers.ts';

type Scenario = { name: string; title: string; plan: Pick<LoadPlan, 'qos' | 'payloadBytes' | 'window'> };

const scenarios: readonly Scenario[] = [
  {
    name: 'qos0',
    title: '1 publisher to 1 subscriber, QoS 0, 64 bytes, at most 2000 messages undelivered',
    plan: { qos: 0, payloadBytes: 64, window: 2000 },
  },
  {
    name: 'qos1',
    title: '1 publisher to 1 subscriber, QoS 1, 64 bytes, 100 publishes in flight',
    plan: { qos: 1, payloadBytes: 64, window: 100 },
  },
  {
    name: 'qos1-1000',
    title: '1 publisher to 1 subscriber, QoS 1, 64 bytes, 1000 publishes in flight',
    plan: { qos: 1, payloadBytes: 64, window: 1000 },
  },
];

const usage = `  --rounds N         measured rounds of each peer (5)
  --seconds S        length of a round, at least 1.5 (1.5)
  --version 4|5      MQTT 3.1.1 or 5.0 (4)
  --scenario NAMES   some of ${scenarios.map((scenario) => scenario.name).join(',')} (all)
  --only NAMES       these peers of gantry,gantry-sync,mosquitto,aedes and --peer (all)
  --peer NAME=CMD    one more peer; {port} in the command is its port; may be repeated
  --base NAME        the peer that the ratio column compares with (gantry)
  --wake-up WAYS     ways for the load generator to wait: block, spin, or microseconds to sleep after each
                     wake-up (each peer's own choice); of which the best counts
  --json FILE        machine, versions and every round's figures
  --help`;

/** What is measured once a round: a peer under one way of waiting. */
type Lane = { peer: RunningPeer; wakeUp: WakeUp };

/** Lets a JavaScript peer and the generator compile their hot paths. */
const warmupMs = 500;
/** On top of the sending time: for a peer that has a backlog to deliver after the last publish. */
const graceMs = 30_000;

const loadPath = fileURLToPath(new URL('./mqtt-load.js', import.meta.url));

export const mqttBenchmark: Benchmark = {
  summary: 'messages per second and CPU time per message, against other brokers',
  usage,
  run: runMqttBenchmark,
};

type Settings = {
  rounds: number;
  durationMs: number;
  version: MqttVersion;
  scenarios: readonly Scenario[];
  peers: readonly PeerSpec[];
  base: string;
  jsonPath: string | undefined;
};

async function runMqttBenchmark(args: string[]): Promise<void> {
  const settings = readSettings(args);
  const machine = describeMachine();
  const rounds: Round[] = [];
  const summaries: Summary[] = [];
  console.log(`${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node.js ${machine.node}`);
  for (const scenario of settings.scenarios) {
    const measured = await runScenario(scenario, settings);
    rounds.push(...measured);
    const summary = summarize(measured, settings.base);
    summaries.push(...summary);
    console.log(
      renderScenario(`${scenario.title}, MQTT ${settings.version === 5 ? '5.0' : '3.1.1'}`, summary, settings.base),
    );
  }
  if (settings.jsonPath !== undefined) {
    const flags = { rounds: settings.rounds, durationMs: settings.durationMs, version: settings.version };
    writeFileSync(settings.jsonPath, `${JSON.stringify({ machine, flags, summaries, rounds }, null, 2)}\n`);
  }
}

async function runScenario(scenario: Scenario, settings: Settings): Promise<Round[]> {
  const lanes: Lane[] = [];
  const rounds: Round[] = [];
  try {
    for (const spec of settings.peers) {
      const peer = await startPeer(spec);
      for (const wakeUp of spec.wakeUps) lanes.push({ peer, wakeUp });
    }
    for (let round = 1; round <= settings.rounds; round++) {
      for (const { peer, wakeUp } of lanes) {
        const figures = await runRound(scenario, peer, wakeUp, settings);
        rounds.push({ scenario: scenario.name, round, ...figures });
        const rate = Math.round(figures.messagesPerSecond);
        console.error(
          `${scenario.name} round ${round} of ${settings.rounds}: ${peer.name}, wake-up ${wakeUp}: ${rate}/s`,
        );
      }
    }
  } finally {
    await Promise.all([...new Set(lanes.map(({ peer }) => peer))].map((peer) => peer.stop()));
  }
  return rounds;
}

/** One load generator process against one peer. */
async function runRound(
  scenario: Scenario,
  peer: RunningPeer,
  wakeUp: WakeUp,
  settings: Settings,
): Promise<Omit<Round, 'scenario' | 'round'>> {
  const { durationMs, version } = settings;
  const deadlineMs = warmupMs + durationMs + graceMs;
  const plan: LoadPlan = { ...scenario.plan, port: peer.port, version, warmupMs, durationMs, wakeUp, deadlineMs };
  const load = startLoad(plan, `${scenario.name} on ${peer.name}`);
  try {
    await load.ready();
    const cpuBeforeUs = peer.cpuUs();
    const { messages, elapsedMs, cpuUs } = await load.go();
    const peerCpuUs = peer.cpuUs() - cpuBeforeUs;
    return {
      peer: peer.name,
      wakeUp,
      messages,
      elapsedMs,
      messagesPerSecond: (messages * 1000) / elapsedMs,
      peerCpuUsPerMessage: peerCpuUs / messages,
      peerCpuShare: peerCpuUs / 1000 / elapsedMs,
      peerRssBytes: peer.rssBytes(),
      loadCpuShare: cpuUs / 1000 / elapsedMs,
    };
  } catch (cause) {
    throw new Error(`${cause instanceof Error ? cause.message : String(cause)}\n${peer.describe()}`, { cause });
  } finally {
    await load.stop();
  }
}

type Load = { ready: () => Promise<void>; go: () => Promise<LoadFigures>; stop: () => Promise<void> };

function startLoad(plan: LoadPlan, title: string): Load {
  const child = fork(loadPath, [JSON.stringify(plan)]);
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  // The generator keeps its own deadline and can say what is missing; this one is for a generator that hangs.
  const timer = setTimeout(() => child.kill('SIGKILL'), plan.deadlineMs + 5000);
  const nextReport = (): Promise<LoadReport> =>
    new Promise((resolve, reject) => {
      child.once('message', resolve);
      void ended.then(() => reject(new Error(`${title}: the load generator ended without a report`)));
    });
  return {
    ready: async () => {
      const report = await nextReport();
      if (report.kind !== 'ready') throw unexpected(title, report);
    },
    go: async () => {
      child.send('go');
      const report = await nextReport();
      if (report.kind !== 'done') throw unexpected(title, report);
      return report;
    },
    stop: async () => {
      if (child.connected) child.disconnect();
      await ended;
      clearTimeout(timer);
    },
  };
}

function unexpected(title: string, report: LoadReport): Error {
  return new Error(`${title}: ${report.kind === 'failed' ? report.reason : `the load generator is ${report.kind}`}`);
}

function readSettings(args: string[]): Settings {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '1.5' },
      version: { type: 'string', default: '4' },
      scenario: { type: 'string' },
      only: { type: 'string' },
      peer: { type: 'string', multiple: true, default: [] },
      base: { type: 'string', default: 'gantry' },
      'wake-up': { type: 'string' },
      json: { type: 'string' },
    },
  });
  if (values.version !== '4' && values.version !== '5') throw new Error('--version takes 4 or 5');
  const wakeUps = values['wake-up']?.split(',').map(readWakeUp);
  const specs = [gantryPeer, gantrySyncPeer, mosquittoPeer, aedesPeer, ...values.peer.map(adHocPeer)];
  const peers = choose('only', specs, values.only).filter(isAvailable);
  if (peers.length === 0) throw new Error('there is no peer to measure');
  return {
    rounds: number('rounds', values.rounds, 1, 1000),
    durationMs: number('seconds', values.seconds, 1.5, 600) * 1000,
    version: values.version === '5' ? 5 : 4,
    scenarios: choose('scenario', scenarios, values.scenario),
    peers: wakeUps === undefined ? peers : peers.map((spec) => ({ ...spec, wakeUps })),
    base: values.base,
    jsonPath: values.json,
  };
}

function isAvailable(spec: PeerSpec): boolean {
  const reason = spec.unavailable();
  if (reason !== undefined) console.error(`SKIPPED: ${spec.name} is not measured, because ${reason}`);
  return reason === undefined;
}

function readWakeUp(text: string): WakeUp {
  return text === 'block' || text === 'spin' ? text : number('wake-up', text, 1, 10_000);
}
