/**
 * `npm run bench -- mqtt`: throughput of the gateway and of other MQTT brokers under the same load.
 *
 * The peers of a scenario are measured in turns (A, B, C, A, B, C, ...), so that a slow spell of the machine meets all
 * of them. Compare the ratios, not the absolute figures.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { choose, number } from './flags.ts';
import type { Benchmark } from './main.ts';
import { NotSupported } from './mqtt-link.ts';
import { describeMachine, renderScenario, summarize, type Round, type Summary } from './mqtt-report.ts';
import { runRound } from './mqtt-round.ts';
import { chooseScenarios, scenarios, type Scenario } from './mqtt-scenarios.ts';
import { mqttTargets } from './mqtt-targets.ts';
import type { WakeUp } from './mqtt-wake-up.ts';
import type { MqttVersion } from './mqtt-wire.ts';
import { openFilesShortage } from './open-files.ts';
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
import { renderTargets } from './table.ts';

const usage = `  --rounds N         measured rounds of each peer (5; 1 without --scenario)
  --seconds S        length of a round, at least 1.5 (1.5)
  --version 4|5      MQTT 3.1.1 or 5.0 (4; shared subscriptions are always measured in 5.0)
  --scenario NAMES   some of these (all but drain, each under fewer ways of waiting, in about four minutes):
                     ${scenarios.map((scenario) => scenario.name).join(',')};
                     fan-out and retained stand for both of theirs
  --only NAMES       these peers of gantry,gantry-sync,mosquitto,aedes and --peer (all)
  --peer NAME=CMD    one more peer; {port} in the command is its port; may be repeated
  --base NAME        the peer that the ratio column compares with (gantry; gantry-sync where that is not measured)
  --wake-up WAYS     ways for the load generator to wait: block, spin, or microseconds to sleep after each
                     wake-up (each peer's own choice); of which the best counts
  --json FILE        machine, versions and every round's figures
  --help`;

/** What is measured once a round: a peer under one way of waiting. */
type Lane = { spec: PeerSpec; wakeUp: WakeUp };

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
  wakeUps: readonly WakeUp[] | undefined;
  /** One round of everything, without the ways of waiting that seldom make a difference. */
  isOverview: boolean;
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
    if (measured.length === 0) continue;
    rounds.push(...measured);
    const isMeasured = (name: string): boolean => measured.some(({ peer }) => peer === name);
    const base = [settings.base, gantrySyncPeer.name].find(isMeasured) ?? settings.base;
    const summary = summarize(scenario, measured, base);
    summaries.push(...summary);
    const version = (scenario.version ?? settings.version) === 5 ? '5.0' : '3.1.1';
    console.log(renderScenario(scenario, `${scenario.title}, MQTT ${version}`, summary, base));
  }
  const targets = mqttTargets(summaries);
  if (targets.length > 0) console.log(renderTargets(targets));
  if (settings.jsonPath !== undefined) {
    const flags = { rounds: settings.rounds, durationMs: settings.durationMs, version: settings.version };
    writeFileSync(settings.jsonPath, `${JSON.stringify({ machine, flags, summaries, rounds }, null, 2)}\n`);
  }
}

async function runScenario(scenario: Scenario, settings: Settings): Promise<Round[]> {
  const rounds: Round[] = [];
  const running = new Map<PeerSpec, RunningPeer>();
  let lanes = lanesOf(scenario, settings);
  try {
    for (let round = 1; round <= settings.rounds; round++) {
      for (const lane of lanes) {
        if (!lanes.includes(lane)) continue;
        const peer = running.get(lane.spec) ?? (await startPeer(lane.spec));
        running.set(lane.spec, peer);
        const figures = await runLane(scenario, lane, peer, settings);
        if (figures === undefined) lanes = lanes.filter(({ spec }) => spec !== lane.spec);
        else rounds.push({ scenario: scenario.name, round, ...figures });
        if (scenario.isFresh === true) {
          await peer.stop();
          running.delete(lane.spec);
        }
      }
    }
  } finally {
    await Promise.all([...running.values()].map((peer) => peer.stop()));
  }
  return rounds;
}

function lanesOf(scenario: Scenario, settings: Settings): Lane[] {
  const shortage = scenario.openFiles === undefined ? undefined : openFilesShortage(scenario.openFiles);
  if (shortage !== undefined) {
    console.error(`SKIPPED: ${scenario.name} is not measured, because ${shortage}`);
    return [];
  }
  return settings.peers.flatMap((usual): Lane[] => {
    const spec = scenario.peer === undefined ? usual : scenario.peer(usual);
    if (spec === undefined) return [];
    // Where the generator has much to do itself, spinning takes its time away.
    const isQuick = settings.isOverview || scenario.task.kind !== 'pair';
    const own = isQuick ? spec.wakeUps.filter((wakeUp) => wakeUp !== 'spin') : spec.wakeUps;
    return (settings.wakeUps ?? scenario.wakeUps ?? own).map((wakeUp) => ({ spec, wakeUp }));
  });
}

/** Undefined when the peer cannot do it. */
async function runLane(
  scenario: Scenario,
  { wakeUp }: Lane,
  peer: RunningPeer,
  settings: Settings,
): Promise<Omit<Round, 'scenario' | 'round'> | undefined> {
  try {
    const figures = await runRound(scenario, peer, wakeUp, settings);
    const rate = Math.round(figures.messagesPerSecond);
    console.error(`${scenario.name}: ${peer.name}, wake-up ${wakeUp}: ${rate}/s`);
    return figures;
  } catch (error) {
    if (!(error instanceof NotSupported)) throw error;
    console.error(`SKIPPED: ${scenario.name} is not measured with ${peer.name}, because ${error.message}`);
    return undefined;
  }
}

function readSettings(args: string[]): Settings {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string' },
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
  const isOverview = values.scenario === undefined;
  const specs = [gantryPeer, gantrySyncPeer, mosquittoPeer, aedesPeer, ...values.peer.map(adHocPeer)];
  const peers = choose('only', specs, values.only).filter(isAvailable);
  if (peers.length === 0) throw new Error('there is no peer to measure');
  return {
    rounds: number('rounds', values.rounds ?? (isOverview ? '1' : '5'), 1, 1000),
    durationMs: number('seconds', values.seconds, 1.5, 600) * 1000,
    version: values.version === '5' ? 5 : 4,
    scenarios: chooseScenarios(values.scenario),
    peers,
    wakeUps: values['wake-up']?.split(',').map(readWakeUp),
    isOverview,
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
