/**
 * `npm run bench -- amqp`: throughput of the gateway and of other AMQP 1.0 brokers under the same load.
 *
 * The peers are measured in turns. Compare the ratios, not the absolute figures.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { gantryAmqpPeer, gantrySyncAmqpPeer, rabbitmqPeer, rheaPeer, sinkPeer } from './amqp-peers.ts';
import { runAmqpRound, type AmqpScenario } from './amqp-round.ts';
import { choose, number } from './flags.ts';
import type { Benchmark } from './main.ts';
import { describeMachine, renderScenario, summarize, type Round, type Summary } from './mqtt-report.ts';
import { openFilesShortage } from './open-files.ts';
import { startPeer, type PeerSpec } from './peers.ts';

const credit = 1000;
const undelivered = 2000;
const idleConnections = 1000;

const sizes: readonly AmqpScenario[] = [64, 1024].flatMap((payloadBytes): AmqpScenario[] => [
  {
    name: `in-out-${payloadBytes}`,
    task: { kind: 'in-out', payloadBytes, credit },
    phases: [
      { name: `in-${payloadBytes}`, title: `into a queue, ${payloadBytes} bytes, ${credit} unsettled`, unit: 'msg' },
      { name: `out-${payloadBytes}`, title: `out of a queue, ${payloadBytes} bytes, credit ${credit}`, unit: 'msg' },
    ],
  },
  {
    name: `through-${payloadBytes}`,
    task: { kind: 'through', payloadBytes, credit, undelivered },
    phases: [
      {
        name: `through-${payloadBytes}`,
        title: `1 sender to 1 receiver, ${payloadBytes} bytes, at most ${undelivered} undelivered`,
        unit: 'msg',
      },
    ],
  },
]);

const idle: AmqpScenario = {
  name: 'idle',
  task: { kind: 'idle', connections: idleConnections },
  phases: [
    {
      name: 'idle',
      title: `${idleConnections} idle connections with a session and a receiver each`,
      unit: 'connection',
      growth: { header: 'KiB each', bytes: 1024 * idleConnections },
    },
  ],
  openFiles: idleConnections + 500,
};

const scenarios: readonly AmqpScenario[] = [...sizes, idle];
const peers: readonly PeerSpec[] = [gantryAmqpPeer, gantrySyncAmqpPeer, rabbitmqPeer, rheaPeer];

const usage = `  --rounds N         measured rounds of each peer (3)
  --seconds S        how long messages are sent, at least 0.5 (1.5)
  --scenario NAMES   some of these (all): ${scenarios.map(({ name }) => name).join(',')}
  --only NAMES       these peers of ${peers.map(({ name }) => name).join(',')} (all), and sink, which is no broker and
                     shows what the load generator can do (in-out alone)
  --base NAME        the peer that the ratio column compares with (gantry)
  --json FILE        machine and every round's figures
  --help`;

export const amqpBenchmark: Benchmark = {
  summary: 'messages per second and CPU time per message over AMQP 1.0, against other brokers',
  usage,
  run: runAmqpBenchmark,
};

async function runAmqpBenchmark(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '1.5' },
      scenario: { type: 'string' },
      only: { type: 'string' },
      base: { type: 'string', default: 'gantry' },
      json: { type: 'string' },
    },
  });
  const roundCount = number('rounds', values.rounds, 1, 1000);
  const durationMs = number('seconds', values.seconds, 0.5, 600) * 1000;
  const all = values.only === undefined ? peers : choose('only', [...peers, sinkPeer], values.only);
  const chosen = all.filter(isAvailable);
  if (chosen.length === 0) throw new Error('there is no peer to measure');
  const machine = describeMachine();
  console.log(`${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node.js ${machine.node}`);
  const rounds: Round[] = [];
  const summaries: Summary[] = [];
  for (const scenario of choose('scenario', scenarios, values.scenario)) {
    const shortage = scenario.openFiles === undefined ? undefined : openFilesShortage(scenario.openFiles);
    if (shortage !== undefined) {
      console.error(`SKIPPED: ${scenario.name} is not measured, because ${shortage}`);
      continue;
    }
    const measured = await runScenario(scenario, chosen, roundCount, durationMs);
    rounds.push(...measured);
    for (const phase of scenario.phases) {
      const own = measured.filter((round) => round.scenario === phase.name);
      if (own.length === 0) continue;
      const summary = summarize(phase, own, values.base);
      summaries.push(...summary);
      console.log(renderScenario(phase, `${phase.title}, AMQP 1.0`, summary, values.base));
    }
  }
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify({ machine, summaries, rounds }, null, 2)}\n`);
  }
}

/** Each round on a peer of its own: what the last one left behind would count. */
async function runScenario(
  scenario: AmqpScenario,
  specs: readonly PeerSpec[],
  roundCount: number,
  durationMs: number,
): Promise<Round[]> {
  const rounds: Round[] = [];
  for (let round = 1; round <= roundCount; round++) {
    for (const spec of specs) {
      if (spec === sinkPeer && scenario.task.kind !== 'in-out') continue;
      const peer = await startPeer(spec);
      try {
        for (const figures of await runAmqpRound(scenario, peer, durationMs)) {
          console.error(`${figures.scenario}: ${peer.name}: ${Math.round(figures.messagesPerSecond)}/s`);
          rounds.push({ ...figures, round });
        }
      } finally {
        await peer.stop();
      }
    }
  }
  return rounds;
}

function isAvailable(spec: PeerSpec): boolean {
  const reason = spec.unavailable();
  if (reason !== undefined) console.error(`SKIPPED: ${spec.name} is not measured, because ${reason}`);
  return reason === undefined;
}
