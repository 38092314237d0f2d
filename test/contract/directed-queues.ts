import type { Test } from 'tap';
import { GROUP_ORDERS } from '../../core/model/consumer-group.ts';
import { QUEUE_RETENTION, type Source } from '../../core/model/topic.ts';
import type { Delivery, MessageEngine, SettleAction } from '../../core/ports/message-engine.ts';
import { Random } from '../helpers/random.ts';
import {
  addGroup,
  addTopic,
  ENDINGS,
  NEVER_ABORTED,
  outgoing,
  readUpTo,
  request,
  textsOf,
  type EngineFixture,
  type RunningEngine,
} from './fixture.ts';

const ORDERS: Source = { kind: 'topic', topic: 'orders' };
const FIRST: Source = { kind: 'topic', topic: 'orders', queue: 0 };
const LIGHT: Source = { kind: 'light', name: 'light' };
const ACK: SettleAction = { kind: 'ack' };
/** Enough for several blocks of any size. */
const MANY = 700;
/** Retention is looked at more often. */
const SCAN_MS = 25_000;

function take(engine: MessageEngine, group: string, source: Source, changes = {}) {
  return engine.receive(request(group, source, changes), NEVER_ABORTED);
}

function settle(engine: MessageEngine, deliveries: readonly (Delivery | undefined)[], action: SettleAction) {
  return engine.settle(deliveries.map((delivery) => ({ receipt: delivery!.receipt, action })));
}

async function acknowledgeAll(engine: MessageEngine, group: string, source: Source): Promise<number> {
  let count = 0;
  for (;;) {
    const deliveries = await take(engine, group, source, { max: 100 });
    if (deliveries.length === 0) return count;
    await settle(engine, deliveries, ACK);
    count += deliveries.length;
  }
}

async function sendMany(engine: MessageEngine, lightAt?: number): Promise<void> {
  for (let from = 0; from < MANY; from += 100) {
    const ids = Array.from({ length: 100 }, (_, i) => from + i);
    const body = (id: number) => Buffer.alloc(2_000, `${id} `);
    const lightQueues = (id: number) => (id === lightAt ? ['light'] : []);
    await engine.send(ids.map((id) => outgoing('orders', `${id}`, { body: body(id), lightQueues: lightQueues(id) })));
  }
}

/** Topics as queues, and groups as subscriptions. */
export function runQueueTests(t: Test, fixture: EngineFixture): void {
  const check = (name: string, run: (t: Test, made: RunningEngine) => Promise<RunningEngine | void>) =>
    void t.test(`${fixture.name}: ${name}`, async (t) => {
      const made = await fixture.create();
      await addTopic(made.engine, 'orders');
      await addGroup(made.engine, 'workers');
      const last = await run(t, made);
      await (last ?? made).engine.stop();
    });

  check('a group begins where it is told to, once', async (t, { engine }) => {
    await engine.send([outgoing('orders', 'before')]);
    await engine.join('workers', ORDERS, 'latest');
    await engine.send([outgoing('orders', 'after')]);
    await engine.join('workers', ORDERS, 'latest');
    await engine.join('workers', ORDERS, 'earliest');
    t.same(textsOf(await take(engine, 'workers', ORDERS)), ['after']);
    await addGroup(engine, 'late');
    await engine.join('late', ORDERS, 'earliest');
    t.same(textsOf(await take(engine, 'late', ORDERS)), ['before', 'after']);
    await addGroup(engine, 'sought');
    await engine.seek('sought', ORDERS, { kind: 'latest' });
    await engine.send([outgoing('orders', 'last')]);
    t.same(textsOf(await take(engine, 'sought', ORDERS)), ['last']);
    await t.rejects(engine.join('nobody', ORDERS, 'latest'), { code: 'CONSUMER_GROUP_NOT_FOUND' });
    await t.rejects(engine.join('late', { kind: 'topic', topic: 'nothing' }, 'latest'), { code: 'TOPIC_NOT_FOUND' });
  });

  check('what is sent while a group begins at the end comes, what was confirmed before does not', async (t, made) => {
    const { engine } = made;
    for (let round = 0; round < 20; round++) {
      const group = `g${round}`;
      await addGroup(engine, group);
      const send = (id: string) => engine.send([outgoing('orders', id)]);
      await send(`before ${round}`);
      const meanwhile = [send(`meanwhile ${round}`)];
      const joined = engine.join(group, ORDERS, 'latest');
      meanwhile.push(send(`meanwhile ${round}`));
      await joined;
      await send(`after ${round}`);
      await Promise.all(meanwhile);
      const got = textsOf(await take(engine, group, ORDERS)).filter((text) => !text.startsWith('meanwhile'));
      t.same(got, [`after ${round}`]);
    }
  });

  check(
    'priorities: the last queue goes first, and groups that read the topic read new ones from the start',
    async (t, made) => {
      const { engine, clock } = made;
      const topic = { name: 'orders', type: 'MIXED', queues: 1, retention: QUEUE_RETENTION, priorityFrom: 4 } as const;
      await engine.ensureTopic(topic);
      await addGroup(engine, 'slow');
      for (const group of ['workers', 'slow']) await engine.join(group, ORDERS, 'latest');
      const send = (ids: string[], queue: number) => engine.send(ids.map((id) => outgoing('orders', id, { queue })));
      await send(['a', 'b'], 0);
      await engine.ensureTopic({ ...topic, queues: 3 });
      await send(['x'], 2);
      await send(['m', 'n'], 1);
      await send(['y'], 2);
      const got = await take(engine, 'workers', ORDERS, { max: 3 });
      t.same(textsOf(got), ['x', 'y', 'm']);
      await settle(engine, got, ACK);
      // Large enough for blocks to go, if they could.
      for (let i = 0; i < 200; i++)
        await engine.send([outgoing('orders', 'z', { queue: 2, body: Buffer.alloc(2_000) })]);
      t.equal(
        (await take(engine, 'workers', { kind: 'topic', topic: 'orders', queue: 2 }, { max: 1_000 })).length,
        200,
      );
      await clock.advance(SCAN_MS + fixture.toleranceMs);
      t.same(textsOf(await take(engine, 'slow', ORDERS, { max: 2 })), ['x', 'y'], 'they wait for all groups');
      t.same(textsOf(await take(engine, 'workers', ORDERS, { max: 1 })), ['n']);
      await engine.seek('workers', ORDERS, { kind: 'earliest' });
      t.same(textsOf(await take(engine, 'workers', ORDERS, { max: 2 })), ['x', 'y']);
    },
  );

  for (const order of GROUP_ORDERS) {
    check(`a purge acknowledges what is not leased, ${order}`, async (t, { engine, clock }) => {
      if (order !== 'concurrent' && !engine.capabilities.fifo) return;
      await addGroup(engine, 'group', order);
      const ids = ['a', 'b', 'c', 'd', 'e', 'f'];
      await engine.send(ids.map((id) => outgoing('orders', id, { messageGroup: id })));
      const [a, b, c] = await take(engine, 'group', ORDERS, { max: 3 });
      await settle(engine, [b], { kind: 'release', delayMs: 60_000, countAttempt: true });
      t.match(await engine.groupState('group', ORDERS), [{ inflight: 3, leased: 2, lag: 6 }]);
      t.equal(await engine.purge('group', ORDERS), 4);
      t.match(await engine.groupState('group', ORDERS), [{ inflight: 2, leased: 2, lag: 2 }]);
      t.equal(await engine.purge('group', ORDERS), 0);
      await engine.send([outgoing('orders', 'g')]);
      t.same(textsOf(await take(engine, 'group', ORDERS)), ['g']);
      t.match(await settle(engine, [a], ACK), [{ ok: true }], 'what was leased goes on');
      t.match(await settle(engine, [c], { kind: 'release', delayMs: 0, countAttempt: true }), [{ ok: true }]);
      t.same(textsOf(await take(engine, 'group', ORDERS)), ['c']);
      await clock.advance(120_000 + fixture.toleranceMs);
      t.same(textsOf(await take(engine, 'group', ORDERS)).toSorted(), ['c', 'g']);
      t.equal(await engine.purge('group', ORDERS), 0, 'both are leased');
      await clock.advance(120_000 + fixture.toleranceMs);
      t.equal(await engine.purge('group', ORDERS), 2);
      t.match(await engine.groupState('group', ORDERS), [{ inflight: 0, leased: 0, lag: 0 }]);
    });
  }

  check('what was consumed goes, what a group or a light queue still needs does not', async (t, { engine, clock }) => {
    await engine.ensureTopic({ name: 'orders', type: 'MIXED', queues: 1, retention: QUEUE_RETENTION });
    const first = async () => (await engine.offsets(FIRST)).first;
    const pass = () => clock.advance(SCAN_MS + fixture.toleranceMs);
    await engine.ensureLightQueue('light', { durable: false });
    await addGroup(engine, 'slow');
    await addGroup(engine, 'onLight');
    await sendMany(engine, 10);
    await pass();
    t.equal(await first(), 0, 'nothing goes while no group reads');
    t.equal(await acknowledgeAll(engine, 'workers', ORDERS), MANY);
    await engine.join('slow', ORDERS, 'earliest');
    await pass();
    t.equal(await first(), 0, 'a group has it all to do');
    await engine.deleteGroup('slow');
    await pass();
    t.ok((await first()) <= 10, 'a light queue has one to be read');
    const { messages } = await readUpTo(engine, LIGHT, 0, 10);
    t.equal(messages.length, 1);
    const deliveries = await take(engine, 'onLight', LIGHT);
    await pass();
    t.ok((await first()) <= 10);
    await settle(engine, deliveries, ACK);
    await pass();
    t.ok((await first()) > MANY / 4);
    await pass();
    t.ok((await first()) < MANY, 'the newest block stays');
    t.match(await engine.groupState('workers', ORDERS), [{ lag: 0 }]);
  });

  check('entries of a light queue count as read when they are trimmed', async (t, { engine, clock }) => {
    const spec = { name: 'orders', type: 'MIXED', queues: 1 } as const;
    const first = async () => (await engine.offsets(FIRST)).first;
    const pass = () => clock.advance(SCAN_MS + fixture.toleranceMs);
    await engine.ensureLightQueue('light', { durable: true });
    await sendMany(engine, 20);
    t.equal(await acknowledgeAll(engine, 'workers', ORDERS), MANY);
    await engine.ensureTopic({ ...spec, retention: QUEUE_RETENTION });
    await pass();
    t.ok((await first()) <= 20, 'those from before the topic was a queue count, too');
    engine.trimLightQueue('light', 1);
    await engine.send([outgoing('orders', 'next', { lightQueues: ['light'] })]);
    await pass();
    t.ok((await first()) > MANY / 4);
  });

  const { restart } = fixture;
  if (restart === undefined) return;
  for (const how of ENDINGS) {
    check(`queues and subscriptions outlast ${how}`, async (t, started) => {
      await started.engine.ensureTopic({ name: 'orders', type: 'MIXED', queues: 1, retention: QUEUE_RETENTION });
      await started.engine.ensureLightQueue('light', { durable: true });
      await addGroup(started.engine, 'late');
      await sendMany(started.engine, 10);
      await started.engine.join('late', ORDERS, 'latest');
      await started.engine.send([outgoing('orders', 'x')]);
      const [leased] = await take(started.engine, 'workers', ORDERS, { max: 1, leaseMs: 600_000 });
      t.equal(await started.engine.purge('workers', ORDERS), MANY);
      const running = await restart(started, new Random(1), how);
      const { engine, clock } = running;
      const first = async () => (await engine.offsets(FIRST)).first;
      t.same(textsOf(await take(engine, 'late', ORDERS)), ['x']);
      t.same(await take(engine, 'workers', ORDERS), []);
      t.match(await engine.groupState('workers', ORDERS), [{ inflight: 1, leased: 1, lag: 1 }]);
      await clock.advance(SCAN_MS);
      t.equal(await first(), 0, 'one is leased');
      t.match(await settle(engine, [leased], ACK), [{ ok: true }]);
      await clock.advance(SCAN_MS);
      t.ok((await first()) <= 10);
      t.equal((await readUpTo(engine, LIGHT, 0, 10)).messages.length, 1);
      await engine.deleteLightQueue('light');
      await clock.advance(SCAN_MS);
      t.ok((await first()) > MANY / 4);
      await engine.deleteGroup('workers');
      const again = await restart(running, new Random(1), how);
      await t.rejects(take(again.engine, 'workers', ORDERS), { code: 'CONSUMER_GROUP_NOT_FOUND' });
      t.ok((await again.engine.offsets(FIRST)).first > MANY / 4);
      return again;
    });
  }
}
