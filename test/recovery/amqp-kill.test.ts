import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { AmqpJournal, type AmqpJournalCounts } from '../helpers/amqp-journal.ts';
import { AmqpLoadReceiver, AmqpLoadSender, AmqpLoadTransactions } from '../helpers/amqp-load.ts';
import { KilledGateway, type Life, type LoadClient } from '../helpers/killed-gateway.ts';
import { Random, testSeed } from '../helpers/random.ts';
import { RheaClient } from '../helpers/rhea-client.ts';

/**
 * A real gateway under the load of AMQP clients is killed and started again on its data directory: senders with outcomes
 * outstanding, receivers that settle first and second, and transactions that accept from one queue and send to two. What the
 * clients were told has to hold over all of its lives. GANTRY_KILLS for a long run, GANTRY_SEED to choose the moments.
 */

const KILLS = Number(process.env['GANTRY_KILLS'] ?? 10);
const KILL_DURING_START_CHANCE = 0.2;

const PLAIN = ['kill-first', 'kill-second'] as const;
const INPUTS = ['kill-in-1', 'kill-in-2'] as const;
const OUTPUTS = ['kill-out-1', 'kill-out-2'] as const;
const QUEUES = [...PLAIN, ...INPUTS, ...OUTPUTS];

/** The memory engine is the control: it must be seen to lose messages. */
type Engine = 'memory' | 'embedded';

function settingsOf(engine: Engine, folder: string): string[] {
  const groups = QUEUES.map((queue) => `{ name: ${queue}, attemptsMax: 1000 }`);
  const topics = QUEUES.map((queue) => `{ name: ${queue}, queues: 1 }`);
  const kept = [
    'engine.type=embedded',
    `engine.dir=${join(folder, 'data')}`,
    'engine.flush=sync',
    // As small as it may be: some kills have to meet a checkpoint.
    'engine.checkpointBytes=1048576',
  ];
  return [
    ...(engine === 'memory' ? ['engine.type=memory'] : kept),
    `topics=[${topics.join()}]`,
    `groups=[${groups.join()}]`,
  ];
}

function makeClients(journal: AmqpJournal, random: Random): LoadClient[] {
  const load = { journal, random };
  return [
    ...PLAIN.flatMap((queue) => [1, 2].map((i) => new AmqpLoadSender(load, queue, `sender-${i}`, 40))),
    ...INPUTS.map((queue) => new AmqpLoadSender(load, queue, 'sender', 20)),
    new AmqpLoadReceiver(load, PLAIN[0], 'first'),
    new AmqpLoadReceiver(load, PLAIN[1], 'second'),
    ...INPUTS.map((queue) => new AmqpLoadTransactions(load, queue, OUTPUTS)),
    ...OUTPUTS.map((queue) => new AmqpLoadReceiver(load, queue, 'second')),
  ];
}

/** The moment of a kill: after so many more of something. */
function killMoment(random: Random, now: AmqpJournalCounts): (counts: AmqpJournalCounts) => boolean {
  const what = random.pick(['sends', 'accepted', 'delivered', 'confirmed', 'applied', 'applied'] as const);
  const most = what === 'applied' ? 100 : 1000;
  const target = now[what] + random.int(1, random.chance(0.3) ? 20 : most);
  return (counts) => counts[what] >= target;
}

/** Resolves when everything came and is done with, or nothing has happened for so long. */
async function complete(journal: AmqpJournal, quietMs: number): Promise<void> {
  let quiet: NodeJS.Timeout | undefined;
  const silence = new Promise<void>((resolve) => {
    let before = JSON.stringify(journal.counts);
    quiet = setInterval(() => {
      const now = JSON.stringify(journal.counts);
      if (now === before) resolve();
      before = now;
    }, quietMs);
  });
  await Promise.race([journal.until(() => journal.isComplete), silence]);
  clearInterval(quiet);
}

/** The receivers of the load have all there is: a queue that has more than that hands it out here. */
async function leftOver({ amqpPort }: Life): Promise<string[]> {
  const client = await RheaClient.connect(amqpPort);
  const left: string[] = [];
  for (const queue of QUEUES) {
    const received = await (await client.receiver(queue)).drain(100);
    if (received.length > 0) left.push(`${received.length} in ${queue}`);
  }
  await client.close();
  return left;
}

interface Outcome {
  readonly journal: AmqpJournal;
  readonly left: readonly string[];
  readonly summary: string;
}

async function runLives(t: Test, engine: Engine, kills: number, quietMs: number): Promise<Outcome> {
  const seed = testSeed();
  t.comment(`GANTRY_SEED=${seed}`);
  const random = new Random(seed);
  const folder = mkdtempSync(join(tmpdir(), 'gantry-amqp-kill-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const journal = new AmqpJournal();
  const clients = makeClients(journal, random);
  const gateway = new KilledGateway(settingsOf(engine, folder), clients);
  t.teardown(() => gateway.kill());
  const startedAtMs = Date.now();
  while (gateway.kills < kills) {
    journal.beginLife();
    await gateway.life(quietMs, false, () => journal.until(killMoment(random, journal.counts)));
    if (gateway.kills < kills && random.chance(KILL_DURING_START_CHANCE)) await gateway.stillbirth(random, 600);
  }
  let left: string[] = [];
  journal.beginLife();
  await gateway.life(quietMs, true, async (life) => {
    await complete(journal, quietMs);
    left = await leftOver(life);
  });
  const tookS = ((Date.now() - startedAtMs) / 1000).toFixed(1);
  return { journal, left, summary: `${engine}: ${kills} kills in ${tookS} s, ${JSON.stringify(journal.counts)}` };
}

t.setTimeout(120_000 + KILLS * 6000);

t.test(`${KILLS} times kill -9 under load`, async (t) => {
  const { journal, left, summary } = await runLives(t, 'embedded', KILLS, 10_000);
  t.comment(summary);
  t.same(journal.missing.slice(0, 10), [], 'what was accepted came');
  t.same(journal.stranded.slice(0, 10), [], 'what was not accepted came again');
  t.same(
    journal.faults.slice(0, 10),
    [],
    'nothing came after it was confirmed, half, out of order, changed or made up',
  );
  if (journal.faults.length > 10) t.comment(`${journal.faults.length} faults`);
  t.same(left, [], 'nothing is left');
  t.ok(journal.counts.applied > 0 && journal.counts.undone > 0, 'there were transactions of both kinds');
});

t.test('the check sees what an engine without a disk loses', async (t) => {
  const { journal, summary } = await runLives(t, 'memory', 3, 1000);
  t.comment(summary);
  t.comment(`${journal.missing.length} accepted messages lost, ${journal.faults.length} faults`);
  t.not(journal.missing.length, 0);
});
