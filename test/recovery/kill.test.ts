import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DeliveryJournal, type JournalCounts } from '../helpers/delivery-journal.ts';
import { KilledGateway, type LoadClient } from '../helpers/killed-gateway.ts';
import { GrpcLoadConsumer, GrpcLoadProducer, LEASE_MS, MqttLoadPublisher } from '../helpers/load-clients.ts';
import { Random, testSeed } from '../helpers/random.ts';
import { TEST_CERTIFICATE } from '../helpers/test-certificate.ts';

/**
 * A real gateway under MQTT QoS 1 and gRPC load is killed and started again on its data directory. What its clients were
 * promised has to hold over all of its lives. GANTRY_KILLS=300 for a long run, GANTRY_SEED to choose the moments.
 */

const TOPIC = 'kill';
const CONCURRENT = 'kill-concurrent';
const FIFO = 'kill-fifo';
const KILLS = Number(process.env['GANTRY_KILLS'] ?? 30);
/** What is out when the gateway dies comes back after its lease; only then is it known that nothing else does. */
const QUIET_MS = LEASE_MS + 2000;
const KILL_DURING_START_CHANCE = 0.2;

/** The memory engine is the control: it must be seen to lose messages. */
type Engine = 'memory' | 'embedded';

function engineSettings(engine: Engine, folder: string): string[] {
  return engine === 'memory'
    ? ['engine.type=memory']
    : [
        'engine.type=embedded',
        `engine.dir=${join(folder, 'data')}`,
        'engine.flush=sync',
        // As small as it may be: some kills have to meet a checkpoint.
        'engine.checkpointBytes=1048576',
      ];
}

function gatewaySettings(engine: Engine, folder: string): string[] {
  // A certificate of its own at every start would take longer than the start.
  const [certFile, keyFile] = [join(folder, 'tls.crt'), join(folder, 'tls.key')];
  writeFileSync(certFile, TEST_CERTIFICATE.cert);
  writeFileSync(keyFile, TEST_CERTIFICATE.key);
  return [
    ...engineSettings(engine, folder),
    `grpc.tls={ certFile: ${certFile}, keyFile: ${keyFile} }`,
    `topics=[{ name: ${TOPIC}, queues: 4, retention: { bytesPerQueue: 4294967296 } }]`,
    `groups=[{ name: ${CONCURRENT}, attemptsMax: 1000 }, { name: ${FIFO}, order: fifo, attemptsMax: 1000 }]`,
  ];
}

function makeClients(journal: DeliveryJournal, random: Random): LoadClient[] {
  const names = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
  const load = { journal, random, topic: TOPIC };
  return [
    ...names('mqtt', 3).map((name) => new MqttLoadPublisher(load, names(name, 50), 40)),
    new GrpcLoadProducer(load, names('grpc', 8)),
    ...[1, 2].map(() => new GrpcLoadConsumer(load, CONCURRENT, 32)),
    // Small batches: what a kill leaves leased keeps its message groups waiting.
    ...[1, 2].map(() => new GrpcLoadConsumer(load, FIFO, 8)),
  ];
}

/** The moment of a kill: after so many more acknowledged sends, deliveries or confirmed acknowledgements. */
function killMoment(random: Random, now: JournalCounts): (counts: JournalCounts) => boolean {
  const what = random.pick(['acked', 'delivered', 'confirmedAcks'] as const);
  const target = now[what] + random.int(1, random.chance(0.3) ? 20 : 1000);
  return (counts) => counts[what] >= target;
}

interface Outcome {
  readonly journal: DeliveryJournal;
  readonly summary: string;
}

async function runLives(t: Test, engine: Engine, kills: number, quietMs: number): Promise<Outcome> {
  const seed = testSeed();
  t.comment(`GANTRY_SEED=${seed}`);
  const random = new Random(seed);
  const folder = mkdtempSync(join(tmpdir(), 'gantry-kill-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const journal = new DeliveryJournal([
    { name: CONCURRENT, isFifo: false },
    { name: FIFO, isFifo: true },
  ]);
  const gateway = new KilledGateway(gatewaySettings(engine, folder), makeClients(journal, random));
  t.teardown(() => gateway.kill());
  const startedAtMs = Date.now();
  while (gateway.kills < kills) {
    journal.beginLife();
    await gateway.life(quietMs, false, () => journal.until(killMoment(random, journal.counts)));
    if (gateway.kills < kills && random.chance(KILL_DURING_START_CHANCE)) await gateway.stillbirth(random, 600);
  }
  await gateway.life(quietMs, true, () => new Promise(() => {}));
  const tookS = ((Date.now() - startedAtMs) / 1000).toFixed(1);
  const { messages, sends, acked, delivered, redelivered, confirmedAcks } = journal.counts;
  const summary =
    `${engine}: ${kills} kills in ${tookS} s, ${messages} messages sent (${sends - messages} sent again), ` +
    `${acked} acknowledged; ${delivered} deliveries (${redelivered} again), ${confirmedAcks} acknowledgements confirmed`;
  return { journal, summary };
}

// More than a test file gets by default, for a machine that is busy with other things too.
t.setTimeout(120_000 + KILLS * 6000);

t.test(`${KILLS} times kill -9 under load`, async (t) => {
  const { journal, summary } = await runLives(t, 'embedded', KILLS, QUIET_MS);
  t.comment(summary);
  for (const group of [CONCURRENT, FIFO]) {
    const missing = journal.missing(group);
    t.same(missing.slice(0, 10), [], `${group} got every acknowledged message`);
    if (missing.length > 10) t.comment(`${group}: ${missing.length} acknowledged messages lost`);
    t.same(journal.stranded(group).slice(0, 10), [], `${group} got what it did not acknowledge again`);
  }
  t.same(journal.faults.slice(0, 10), [], 'nothing after its acknowledgement, out of order, changed or made up');
  if (journal.faults.length > 10) t.comment(`${journal.faults.length} faults`);
});

t.test('the check sees what an engine without a disk loses', async (t) => {
  const { journal, summary } = await runLives(t, 'memory', 3, 1000);
  t.comment(summary);
  const lost = journal.missing(CONCURRENT).length;
  t.comment(`${lost} acknowledged messages lost, ${journal.faults.length} faults`);
  t.not(lost, 0);
});
