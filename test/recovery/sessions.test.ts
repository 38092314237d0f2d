import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { spawnGatewayProcess, type StartingGateway } from '../helpers/gateway-process.ts';
import { RawMqttClient } from '../helpers/mqtt-client.ts';
import { Random, testSeed } from '../helpers/random.ts';
import {
  SessionPublisher,
  SessionSubscriber,
  WillClient,
  type OpenConnection,
  type SessionLife,
} from '../helpers/session-clients.ts';
import { SessionJournal, type SessionCounts } from '../helpers/session-journal.ts';

/**
 * A real gateway is killed again and again while clients with persistent sessions publish and subscribe at QoS 1 and 2.
 * With clients that keep their own part of the session, nothing may be lost, nothing doubled at QoS 2, and nothing out of
 * order. GANTRY_KILLS=200 for a long run, GANTRY_SEED to choose the moments.
 */

const KILLS = Number(process.env['GANTRY_KILLS'] ?? 10);
const FILTERS = ['a/#', 'b/#'];
/** Retained, so that a new subscriber knows when it has got everything that is. */
const FENCE = 'fence';

const seed = testSeed();
t.comment(`GANTRY_SEED=${seed}`);
const random = new Random(seed);
const folder = mkdtempSync(join(tmpdir(), 'gantry-sessions-'));
const settings = [
  'engine.type=embedded',
  `engine.dir=${join(folder, 'data')}`,
  'engine.flush=sync',
  // As small as it may be: some kills have to meet a checkpoint.
  'engine.checkpointBytes=1048576',
];

const subscriberOptions = [
  // Wills are counted with one of them.
  { filters: [...FILTERS, 'will/#'], qos: 2 },
  { filters: FILTERS, qos: 2, receiveMaximum: 20 },
  { filters: ['a/#', '+/0/#', 'b/#'], qos: 2 },
  { filters: FILTERS, qos: 1 },
] as const;
const names = subscriberOptions.map((_, i) => `subscriber-${i}`);
const journal = new SessionJournal(names);
const load = { journal, random };
const versions = [4, 5, 5, 4] as const;
const subscribers = subscriberOptions.map(
  (options, i) => new SessionSubscriber(load, names[i]!, versions[i]!, options),
);
const publishers = versions.map((version, i) => {
  const topicNames = ['a', 'b'].flatMap((first) => [0, 1].map((second) => `${first}/${second}/${i}`));
  return new SessionPublisher(load, `publisher-${i}`, version, topicNames);
});
const willClients = ([4, 5] as const).map((version, i) => new WillClient(load, `will-${i}`, version));

let current: StartingGateway | undefined;

async function kill(): Promise<void> {
  current?.child.kill('SIGKILL');
  await current?.exited;
  current = undefined;
}

async function start(): Promise<number> {
  current = spawnGatewayProcess(settings);
  return (await current.ready).mqttPort;
}

const opener =
  (port: number): OpenConnection =>
  (version) =>
    RawMqttClient.open(port, version);

/** The moment of a kill: after so many more acknowledged messages, deliveries or releases. */
function killMoment(now: SessionCounts): (counts: SessionCounts) => boolean {
  const what = random.pick(['acknowledged', 'delivered', 'released'] as const);
  const target = now[what] + random.int(1, random.chance(0.3) ? 20 : 1000);
  return (counts) => counts[what] >= target;
}

async function checkRetained(port: number): Promise<void> {
  const client = await RawMqttClient.connected(port);
  await client.subscribe(0, 'a/#', 'b/#', FENCE);
  const found = new Map<string, number>();
  for (;;) {
    const { topicName, payload, retain } = await client.next('publish');
    if (!retain) throw new Error('live, and nobody publishes');
    if (topicName === FENCE) break;
    found.set(topicName, Number(payload.toString()));
  }
  client.destroy();
  journal.checkRetained(found);
}

/** Tells subscribers that everything has come. */
async function publishEnd(port: number): Promise<void> {
  const client = await RawMqttClient.connected(port);
  for (const first of ['a', 'b', 'x/0', 'will']) await client.publish(`${first}/end`, 'end');
  client.destroy();
}

async function live(isLast: boolean): Promise<void> {
  const port = await start();
  if (journal.topicNames.length > 0) await checkRetained(port);
  journal.beginLife();
  let end!: () => void;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const life: SessionLife = { open: opener(port), isLast, isKilled: false, ended };
  const others = Promise.all([...subscribers, ...willClients].map((client) => client.live(life)));
  const publishing = Promise.all(publishers.map((client) => client.live(life)));
  const clients = Promise.all([others, publishing]);
  if (isLast) {
    await publishing;
    await publishEnd(port);
    await clients;
    return;
  }
  await Promise.race([clients, journal.until(killMoment(journal.counts))]);
  life.isKilled = true;
  end();
  await kill();
  await clients;
}

// More than a test file gets by default, for a machine that is busy with other things too.
t.setTimeout(60_000 + KILLS * 6000);
t.teardown(async () => {
  await kill();
  rmSync(folder, { recursive: true, force: true });
});

await t.test(`${KILLS} times kill -9 while sessions are at work`, async (t) => {
  const startedAtMs = Date.now();
  const port = await start();
  await Promise.all(subscribers.map((subscriber) => subscriber.subscribe(opener(port))));
  const client = await RawMqttClient.connected(port);
  await client.publish(FENCE, 'here', { retain: true });
  client.destroy();
  await kill();
  for (let life = 0; life < KILLS; life++) await live(false);
  await live(true);
  const { acknowledged, delivered, released } = journal.counts;
  t.comment(
    `${KILLS} kills in ${((Date.now() - startedAtMs) / 1000).toFixed(1)} s: ${acknowledged} messages acknowledged, ` +
      `${delivered} delivered, ${released} released; ${journal.resumed} sessions resumed, ${journal.resent} messages ` +
      `sent again, ${journal.recognised} of them known by their identifier; ${journal.willCount} wills published`,
  );
  for (const name of names) {
    const missing = journal.missing(name);
    t.same(missing.slice(0, 10), [], `${name} got every acknowledged message`);
    if (missing.length > 10) t.comment(`${name}: ${missing.length} acknowledged messages lost`);
  }
  t.same(journal.missingWills, [], 'the wills of killed connections were published');
  t.same(journal.faults.slice(0, 10), [], 'nothing doubled, out of order, renumbered or made up; no session lost');
  if (journal.faults.length > 10) t.comment(`${journal.faults.length} faults`);
});
