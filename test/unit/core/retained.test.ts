import t, { type Test } from 'tap';
import { DiskStorage } from '../../../adapters/storage/embedded/disk-storage.ts';
import { openMemoryEngine, withMeta, type EngineAndMeta } from '../../../adapters/storage/embedded/open.ts';
import { Broker, type Cursor } from '../../../core/broker.ts';
import { matchesAddress } from '../../../core/model/address.ts';
import { encodeMessage, Message, type MessageFields } from '../../../core/model/message.ts';
import { ALLOW_ALL } from '../../../core/ports/authorizer.ts';
import { OutgoingMessage } from '../../../core/ports/message-engine.ts';
import { AddressIndex } from '../../../core/routing/address-index.ts';
import { DEFAULT_RETAINED_OPTIONS, type RetainedOptions } from '../../../core/sessions/retained-messages.ts';
import { UserAuthenticator } from '../../../gateway/security/user-authenticator.ts';
import { fail } from '../../helpers/fail.ts';
import { FaultDisk } from '../../helpers/fault-disk.ts';
import { TINY } from '../../helpers/fault-engine.ts';
import { ManualClock, settled } from '../../helpers/manual-clock.ts';
import { Random, seeds } from '../../helpers/random.ts';
import { SILENT } from '../../helpers/silent-logger.ts';

const ROOMY = DEFAULT_RETAINED_OPTIONS;
/** Of a message with a body of 100 bytes. */
const MESSAGE_BYTES = encodeMessage({ address: 'a/1', body: Buffer.alloc(100), bornAt: 1 }).bytes;

async function startBroker(storage: EngineAndMeta, clock: ManualClock, retained: RetainedOptions): Promise<Broker> {
  const broker = new Broker(
    {
      ...storage,
      authenticator: new UserAuthenticator([], true),
      authorizer: ALLOW_ALL,
      clock,
      log: SILENT,
      envelopeReaders: [],
      onFailure: fail,
    },
    {
      topics: { autoCreate: true, countMax: 100 },
      groups: { autoCreate: true, countMax: 100 },
      bodyBytesMax: 100_000,
      retained,
    },
  );
  await broker.start();
  return broker;
}

async function inMemory(t: Test, retained: Partial<RetainedOptions> = {}, bytesMax = 1 << 24) {
  const clock = new ManualClock();
  const storage = openMemoryEngine(bytesMax);
  const broker = await startBroker(storage, clock, { ...ROOMY, ...retained });
  t.teardown(() => broker.stop());
  return { broker, clock, meta: storage.meta };
}

function onDisk(disk: FaultDisk): EngineAndMeta {
  return withMeta(new DiskStorage(disk, disk.store, TINY));
}

function retaining(broker: Broker, address: string, body: string | Buffer, fields: Partial<MessageFields> = {}) {
  const message = encodeMessage({ address, body: Buffer.from(body), bornAt: 1, retained: true, ...fields });
  return new OutgoingMessage(broker.topicOf(address), address, message);
}

async function retain(
  broker: Broker,
  ...given: Parameters<typeof retaining> extends [Broker, ...infer Rest] ? Rest : never
) {
  const [outcome] = await broker.send([retaining(broker, ...given)]);
  return outcome!.ok ? 'ok' : outcome!.error.code;
}

function bodies(messages: readonly Message[]): string[] {
  return messages.map(({ body }) => body.toString());
}

void t.test('random histories are those of a map, over restarts', async (t) => {
  const all = seeds(60);
  for (const seed of all) {
    const problem = await playHistory(new Random(seed));
    if (problem === undefined) continue;
    t.comment(`GANTRY_SEED=${seed} repeats this`);
    return void t.fail(problem);
  }
  t.pass(`${all.length} histories from seed ${all[0]}`);
});

const LEVELS = ['a', 'b', '', '$s', 'é𝄞'];

/** @returns what went wrong */
async function playHistory(random: Random): Promise<string | undefined> {
  let clock = new ManualClock();
  let disk = new FaultDisk(random);
  let broker = await startBroker(onDisk(disk), clock, ROOMY);
  const model = new Map<string, { body: string; expiresAt: number }>();
  const levels = (from: readonly string[]) =>
    Array.from({ length: random.int(1, 4) }, () => random.pick(from)).join('/');
  let sent: Promise<unknown> = Promise.resolve();
  for (let step = 0; step < 60; step++) {
    const dice = random.below(100);
    const address = levels(LEVELS) || 'a';
    if (dice < 60) {
      const body = random.chance(0.25) ? '' : `${step}`.padEnd(random.pick([1, 300]));
      const expiresAt = random.chance(0.3) ? clock.now() + random.pick([1, 500, 90_000]) : 0;
      const isRetained = random.chance(0.85);
      const qos = random.pick([0, 1, 2] as const);
      sent = broker.send([retaining(broker, address, body, { expiresAt, retained: isRetained, qos })]);
      if (isRetained && body === '') model.delete(address);
      else if (isRetained) model.set(address, { body, expiresAt: expiresAt || Infinity });
      // Topics are created before anything of them is taken in.
      if (random.chance(0.5) || broker.topics.get(broker.topicOf(address)) === undefined) await sent;
    } else if (dice < 75) await clock.advance(random.pick([1, 500, 70_000]));
    else if (dice < 82) {
      await sent;
      if (random.chance(0.5)) await broker.stop();
      disk = disk.crash();
      clock = new ManualClock(clock.now() + random.pick([0, 500]));
      broker = await startBroker(onDisk(disk), clock, ROOMY);
    }
    for (const [key, { expiresAt }] of model) if (expiresAt <= clock.now()) model.delete(key);
    for (const filter of ['#', levels([...LEVELS, '+', '+']), `${levels([...LEVELS, '+'])}/#`]) {
      const found = bodies(broker.retained(filter)).toSorted();
      const wanted = [...model].flatMap(([key, { body }]) => (matchesAddress(filter, key) ? [body] : [])).toSorted();
      if (found.join('|') !== wanted.join('|')) return `step ${step}, ${filter}: ${found.join()} not ${wanted.join()}`;
    }
    if (broker.retainedUsage().count < model.size) return `step ${step}: counts ${broker.retainedUsage().count}`;
  }
  await sent;
  await clock.advance(200_000);
  if ([...model.values()].filter(({ expiresAt }) => expiresAt === Infinity).length !== broker.retainedUsage().count) {
    return `counts ${broker.retainedUsage().count} after everything expired that does`;
  }
  await broker.stop();
  return undefined;
}

void t.test('a retained message is stored with its message, in memory of its own', async (t) => {
  const { broker, meta } = await inMemory(t);
  await broker.topics.put({ name: 'a' });
  const shared = Buffer.alloc(1_000);
  const { buffer, start, end } = encodeMessage({ address: 'a/1', body: Buffer.from('x'), bornAt: 1, retained: true });
  buffer.copy(shared, 100, start, end);
  const message = new Message(shared, 100, 100 + end - start);
  const sent = broker.send([new OutgoingMessage('a', 'a/1', message)]);
  const [found] = broker.retained('a/1');
  t.equal(found!.body.toString(), 'x', 'at once');
  t.equal(found!.isRetained, true);
  await sent;
  shared.fill(0);
  t.equal(found!.body.toString(), 'x');
  t.equal(found!.address, 'a/1');
  t.same(broker.retainedUsage(), { count: 1, bytes: found!.bytes });
  t.equal((await meta.list('retained/')).length, 1);
  t.equal(await retain(broker, 'a/1', ''), 'ok');
  t.same(broker.retained('#'), []);
  t.same(broker.retainedUsage(), { count: 0, bytes: 0 });
  t.same(await meta.list('retained/'), []);
});

/** As a client's session has it. */
async function openCursor(broker: Broker, filter: string): Promise<Cursor> {
  const { session } = await broker.sessions.open('reader', { isClean: true, expiryMs: 0 });
  return (await session.subscribe(filter, undefined, 'cursor')).cursor!;
}

void t.test('one that clears its address is delivered like any other', async (t) => {
  const { broker } = await inMemory(t);
  const live: string[] = [];
  broker.subscribeLive('a/1', { deliver: ({ body }) => void live.push(body.toString()) });
  const cursor = await openCursor(broker, 'a/#');
  for (const [body, qos] of [
    ['x', 1],
    ['', 0],
    ['y', 0],
    ['', 1],
    ['', 1],
  ] as const) {
    t.equal(await retain(broker, 'a/1', body, { qos }), 'ok');
  }
  t.same(live, ['x', '', 'y', '', '']);
  t.same(bodies(cursor.read(10, 1_000)), live);
  t.same(broker.retained('#'), []);
});

void t.test('an expired one is not given out, and not kept', async (t) => {
  const { broker, clock, meta } = await inMemory(t, { countMax: 2 });
  const expiresAt = clock.now() + 5_000;
  await retain(broker, 'a/1', 'x', { expiresAt });
  await retain(broker, 'a/2', 'y', { expiresAt });
  await clock.advance(4_999);
  t.equal(broker.retained('a/+').length, 2);
  await clock.advance(1);
  t.same(broker.retained('a/1'), []);
  await settled();
  t.same(
    (await meta.list('retained/')).map(({ key }) => key),
    ['retained/a/2'],
    'removed when it was asked for',
  );
  t.equal(await retain(broker, 'a/3', 'z'), 'ok');
  t.equal(await retain(broker, 'a/4', 'z'), 'ok', 'it takes no room that is needed');
  t.same(
    (await meta.list('retained/')).map(({ key }) => key),
    ['retained/a/3', 'retained/a/4'],
  );
  await retain(broker, 'a/3', 'z', { expiresAt: clock.now() + 1 });
  await clock.advance(60_000);
  t.same(broker.retainedUsage().count, 1, 'nobody asked');
});

void t.test('the count is limited', async (t) => {
  const { broker, meta } = await inMemory(t, { countMax: 2 });
  t.equal(await retain(broker, 'a/1', 'x'), 'ok');
  t.equal(await retain(broker, 'a/2', 'x'), 'ok');
  const cursor = await openCursor(broker, 'a/#');
  t.equal(await retain(broker, 'a/3', 'x'), 'LIMIT_EXCEEDED');
  t.same(cursor.read(10, 1_000), [], 'refused, not sent');
  t.equal(await retain(broker, 'a/2', 'y'), 'ok', 'one for another');
  t.equal(await retain(broker, 'a/4', ''), 'ok');
  t.equal(await retain(broker, 'a/3', 'x', { retained: false }), 'ok');
  t.equal(await retain(broker, 'a/1', ''), 'ok');
  const outcomes = await broker.send(['a/3', 'a/5', 'a/3'].map((address) => retaining(broker, address, 'z')));
  t.same(
    outcomes.map((outcome) => outcome.ok),
    [true, false, true],
    'within a batch as well',
  );
  t.same(bodies(broker.retained('#')).toSorted(), ['y', 'z']);
  t.equal((await meta.list('retained/')).length, 2);
});

void t.test('the bytes are limited', async (t) => {
  const { broker } = await inMemory(t, { bytesMax: 2 * MESSAGE_BYTES });
  const body = (bytes: number) => Buffer.alloc(bytes);
  t.equal(await retain(broker, 'a/1', body(100)), 'ok');
  t.equal(await retain(broker, 'a/2', body(101)), 'LIMIT_EXCEEDED');
  t.equal(await retain(broker, 'a/2', body(100)), 'ok', 'as many as there may be');
  t.same(broker.retainedUsage(), { count: 2, bytes: 2 * MESSAGE_BYTES });
  t.equal(await retain(broker, 'a/3', 'x'), 'LIMIT_EXCEEDED');
  t.equal(await retain(broker, 'a/2', body(101)), 'LIMIT_EXCEEDED');
  t.equal(await retain(broker, 'a/2', body(100)), 'ok');
  t.equal(await retain(broker, 'a/2', body(50)), 'ok');
  t.equal(await retain(broker, 'a/2', body(100)), 'ok');
  t.same(broker.retainedUsage(), { count: 2, bytes: 2 * MESSAGE_BYTES });
});

void t.test('more than the limit says is kept, but not added to', async (t) => {
  const clock = new ManualClock();
  let disk = new FaultDisk(new Random(1));
  const first = await startBroker(onDisk(disk), clock, ROOMY);
  for (const address of ['a/1', 'a/2', 'a/3']) await retain(first, address, 'x');
  const { bytes } = first.retainedUsage();
  disk = disk.crash();
  const second = await startBroker(onDisk(disk), clock, { countMax: 2, bytesMax: bytes - 1 });
  t.same(second.retainedUsage(), { count: 3, bytes });
  t.equal(await retain(second, 'a/4', 'x'), 'LIMIT_EXCEEDED');
  t.equal(await retain(second, 'a/3', 'xx'), 'LIMIT_EXCEEDED');
  t.equal(await retain(second, 'a/3', 'y'), 'ok');
  t.equal(await retain(second, 'a/3', ''), 'ok');
  t.equal(await retain(second, 'a/4', 'x'), 'LIMIT_EXCEEDED');
  await second.stop();
});

void t.test('a message the engine refuses leaves the one before', async (t) => {
  const { broker } = await inMemory(t, {}, 10_000);
  const large = Buffer.alloc(20_000);
  t.equal(await retain(broker, 'a/1', 'x'), 'ok');
  t.same(await Promise.all([retain(broker, 'a/1', large), retain(broker, 'a/1', large)]), ['STORE_FULL', 'STORE_FULL']);
  await settled();
  t.same(bodies(broker.retained('#')), ['x']);
  t.same(await Promise.all([retain(broker, 'a/1', 'y'), retain(broker, 'a/1', large)]), ['ok', 'STORE_FULL']);
  await settled();
  t.same(bodies(broker.retained('#')), ['y']);
  t.same(await Promise.all([retain(broker, 'a/1', large), retain(broker, 'a/1', 'z')]), ['STORE_FULL', 'ok']);
  await settled();
  t.same(bodies(broker.retained('#')), ['z']);
  t.equal(await retain(broker, 'a/2', large), 'STORE_FULL');
  await settled();
  t.same(bodies(broker.retained('#')), ['z']);
  const cleared = [retaining(broker, 'a/1', ''), retaining(broker, 'a/2', large)];
  t.same(
    (await broker.send(cleared)).map((outcome) => outcome.ok),
    [false, false],
  );
  await settled();
  t.same(bodies(broker.retained('#')), ['z']);
  t.equal(broker.retainedUsage().count, 1);
});

void t.test('a delayed message cannot be retained', async (t) => {
  const { broker, clock } = await inMemory(t);
  t.equal(await retain(broker, 'a/1', 'x', { deliverAt: clock.now() + 1 }), 'UNSUPPORTED');
  t.same(broker.retained('#'), []);
  t.equal(await retain(broker, 'a/1', 'x', { deliverAt: clock.now() }), 'ok', 'due already');
  t.same(bodies(broker.retained('#')), ['x']);
});

void t.test('a filter looks only where it can match', (t) => {
  const index = new AddressIndex<number>();
  for (let i = 0; i < 100_000; i++) index.set(`g${i % 20_000}/${i}/c`, i);
  // If each looked at all addresses, this would take minutes.
  for (let i = 0; i < 20_000; i++) {
    const found = index.match(`g${i}/+/c`);
    if (found.length !== 5 || found.some((value) => value % 20_000 !== i)) t.fail(`g${i}: ${found.join()}`);
  }
  t.equal(index.match('#').length, 100_000);
  t.equal(index.match('+/7/c').length, 1);
  const deep = 'a/'.repeat(30_000);
  index.set(deep, -1);
  t.same(index.match('a/#'), [-1]);
  t.equal(index.get(deep), -1);
  index.delete(deep);
  index.delete('none');
  t.equal(index.get(deep), undefined);
  for (let i = 0; i < 100_000; i++) index.delete(`g${i % 20_000}/${i}/c`);
  t.same(index, new AddressIndex(), 'nothing is left');
  t.end();
});
