import t, { type Test } from 'tap';
import { openMemoryEngine } from '../../../adapters/storage/embedded/open.ts';
import { LeaseRenewal } from '../../../core/messaging/lease-renewal.ts';
import { ConsumerGroups } from '../../../core/messaging/consumer-groups.ts';
import { Receiving } from '../../../core/messaging/receiving.ts';
import { Sending } from '../../../core/messaging/sending.ts';
import { Topics } from '../../../core/messaging/topics.ts';
import { MATCH_ALL } from '../../../core/model/filter.ts';
import { encodeMessage, type MessageFields } from '../../../core/model/message.ts';
import { viewMessage } from '../../../core/model/message-view.ts';
import type { Source } from '../../../core/model/topic.ts';
import { OutgoingMessage } from '../../../core/ports/message-engine.ts';
import { AddressRouter } from '../../../core/routing/address-router.ts';
import { DEFAULT_RETAINED_OPTIONS, RetainedMessages } from '../../../core/sessions/retained-messages.ts';
import { ManualClock, settled } from '../../helpers/manual-clock.ts';
import { fail } from '../../helpers/fail.ts';
import { SILENT } from '../../helpers/silent-logger.ts';

const NEVER_ABORTED = new AbortController().signal;

async function setUp(t: Test, { countMax = 100, autoCreate = true, bytesMax = 1 << 24 } = {}) {
  const clock = new ManualClock();
  const { engine, meta } = openMemoryEngine(bytesMax);
  await engine.start({ clock, log: SILENT, onFailure: fail });
  const topics = new Topics(engine, meta, { autoCreate, countMax });
  const groups = new ConsumerGroups(engine, meta, { autoCreate, countMax });
  const router = new AddressRouter(engine);
  const retained = new RetainedMessages(meta, clock, DEFAULT_RETAINED_OPTIONS);
  const sending = new Sending(engine, topics, router, retained, 1_000);
  const renewal = new LeaseRenewal(engine, clock);
  const receiving = new Receiving(
    engine,
    topics,
    groups,
    renewal,
    clock,
    (message) => viewMessage(message, new Map()),
    () => undefined,
  );
  t.teardown(() => engine.stop());
  return { clock, engine, meta, topics, groups, router, sending, renewal, receiving };
}

function made(topic: string, body: string, fields: Partial<MessageFields> = {}): OutgoingMessage {
  const message = encodeMessage({ address: `${topic}/x`, body: Buffer.from(body), bornAt: 1, ...fields });
  return new OutgoingMessage(topic, message.address, message);
}

function call(topic: string, changes = {}) {
  const source: Source = { kind: 'topic', topic };
  return { group: 'g', source, filter: MATCH_ALL, max: 32, waitMs: 0, leaseMs: 10_000, ...changes };
}

void t.test('topics are created on first use, up to the limit', async (t) => {
  const { topics, meta, engine } = await setUp(t, { countMax: 2 });
  const [one, same] = await Promise.all([topics.use('one'), topics.use('one')]);
  t.same(one, same);
  t.match(one, { name: 'one', type: 'MIXED', queues: 4 });
  const results = await Promise.allSettled([topics.use('two'), topics.use('three'), topics.use('a/b')]);
  t.match(results, [
    { status: 'fulfilled' },
    { status: 'rejected', reason: { code: 'LIMIT_EXCEEDED' } },
    { status: 'rejected', reason: { code: 'ILLEGAL_TOPIC' } },
  ]);
  t.match(await topics.put({ name: 'one', queues: 6 }), { queues: 6 }, 'a change is no new topic');
  await t.rejects(topics.put({ name: 'one', queues: 65 }), { code: 'BAD_REQUEST' });
  t.same(
    topics.list().map(({ name }) => name),
    ['one', 'two'],
  );
  const later = new Topics(engine, meta, { autoCreate: false, countMax: 2 });
  await later.load();
  t.match(later.get('one'), { queues: 6 });
  await t.rejects(later.use('new'), { code: 'TOPIC_NOT_FOUND' });
});

void t.test('a change that is being made does not take the place of a new topic', async (t) => {
  const { topics } = await setUp(t, { countMax: 2 });
  await topics.put({ name: 'one' });
  await Promise.all([topics.put({ name: 'one', queues: 8 }), topics.use('two')]);
  t.equal(topics.list().length, 2);
});

void t.test('a receive takes what is asked for, as long as it has fewer bytes than said', async (t) => {
  const { receiving, sending } = await setUp(t);
  await sending.send(Array.from({ length: 1_100 }, (_, i) => made('t', 'x', { messageGroup: `${i % 2}` })));
  const take = async (changes: object) => (await receiving.receive(call('t', changes), NEVER_ABORTED)).length;
  t.equal(await take({ max: 3, bytesMax: 1 }), 1);
  t.equal(await take({ max: 75 }), 75);
  t.equal(await take({ max: 2_000 }), 1_024);
  t.equal(await take({ max: 2_000 }), 0);
});

void t.test('groups are created on first use where allowed', async (t) => {
  const { groups } = await setUp(t, { countMax: 1 });
  t.match(await groups.use('g'), { order: 'concurrent', retry: { attemptsMax: 17 } });
  await t.rejects(groups.use('h'), { code: 'LIMIT_EXCEEDED' });
  await t.rejects(groups.use('a.b'), { code: 'ILLEGAL_CONSUMER_GROUP' });
  const closed = await setUp(t, { autoCreate: false });
  await t.rejects(closed.groups.use('g'), { code: 'CONSUMER_GROUP_NOT_FOUND' });
});

void t.test('no batch overtakes another while topics are created', async (t) => {
  const { sending, topics, engine } = await setUp(t);
  await topics.put({ name: 'known', queues: 1 });
  const sent: Promise<unknown>[] = [];
  let count = 0;
  const send = (...names: string[]) => void sent.push(sending.send(names.map((topic) => made(topic, `${count++}`))));
  send('known', 'new');
  send('known');
  send('known', 'other');
  send('known');
  // Some in every turn in which the creation may just have ended.
  for (let i = 0; i < 30; i++) {
    await Promise.resolve();
    send('known');
  }
  await Promise.all(sent);
  const { messages } = await engine.read({ kind: 'topic', topic: 'known', queue: 0 }, 0, 100, 1e6);
  const order = messages.map(({ body }) => Number(body.toString()));
  t.equal(order.length, 34);
  t.same(
    order,
    order.toSorted((a, b) => a - b),
  );
});

void t.test('a refused message does not fail its neighbours', async (t) => {
  const { sending, topics, engine } = await setUp(t);
  await topics.put({ name: 'plain', type: 'NORMAL', queues: 1 });
  const outcomes = await sending.send([
    made('plain', 'a'),
    made('bad/name', 'x'),
    made('plain', 'x'.repeat(1_001)),
    made('plain', 'x', { messageGroup: 'm' }),
    made('plain', 'b'),
    made('mixed', 'x', { deliverAt: 5 }),
    made('mixed', 'c', { messageGroup: 'm' }),
  ]);
  t.same(
    outcomes.map((outcome) => (outcome.ok ? outcome.value.offset : outcome.error.code)),
    [0, 'ILLEGAL_TOPIC', 'MESSAGE_BODY_TOO_LARGE', 'MESSAGE_PROPERTY_CONFLICT_WITH_TYPE', 1, 0, 0],
  );
  const { messages } = await engine.read({ kind: 'topic', topic: 'plain', queue: 0 }, 0, 10, 1e6);
  t.same(
    messages.map(({ body }) => body.toString()),
    ['a', 'b'],
  );
});

void t.test('queues: by message group, by address, in turn', async (t) => {
  const { sending, topics } = await setUp(t);
  await topics.put({ name: 't', queues: 4 });
  const queuesOf = async (fields: Partial<MessageFields>[]): Promise<Set<number>> => {
    const outcomes = await sending.send(fields.map((one) => made('t', 'x', one)));
    return new Set(outcomes.map((outcome) => (outcome.ok ? outcome.value.queue : -1)));
  };
  const eight = Array.from({ length: 8 });
  t.equal((await queuesOf(eight.map((_, i) => ({ messageGroup: 'm', address: `a/${i}` })))).size, 1);
  t.equal((await queuesOf(eight.map(() => ({ address: 'a/1' })))).size, 1);
  t.equal((await queuesOf(eight.map(() => ({ addressDerived: true })))).size, 4);
});

void t.test('live subscribers get what is stored, and at most once messages at once', async (t) => {
  const { sending, router, topics } = await setUp(t, { bytesMax: 30_000 });
  await topics.put({ name: 't', queues: 1 });
  const got: string[] = [];
  router.subscribeLive('t/#', { deliver: ({ body }) => void got.push(body.toString('utf8', 0, 4)) });
  const sent = sending.send([made('t', 'zero', { qos: 0 }), made('t', 'one!', { qos: 1 })]);
  t.same(got, ['zero']);
  await sent;
  t.same(got, ['zero', 'one!']);
  const large = Array.from({ length: 40 }, () => made('t', 'full'.repeat(250)));
  t.match((await sending.send(large))[0], { ok: false, error: { code: 'STORE_FULL' } });
  t.same(got, ['zero', 'one!'], 'what was not stored is not handed over');
});

void t.test('a filter acknowledges what the group does not want, and goes on waiting', async (t) => {
  const { sending, receiving, clock, engine } = await setUp(t);
  const filter = { type: 'TAG', expression: 'b' } as const;
  const received = receiving.receive(call('t', { filter, waitMs: 10_000 }), NEVER_ABORTED);
  await settled();
  await sending.send([made('t', '1', { tag: 'a' })]);
  await clock.advance(1_000);
  await sending.send([made('t', '2', { tag: 'a' }), made('t', '3', { tag: 'b' })]);
  t.same(
    (await received).map(({ message }) => message.body.toString()),
    ['3'],
  );
  const states = await engine.groupState('g', { kind: 'topic', topic: 't' });
  t.equal(
    states.reduce((sum, { lag }) => sum + lag, 0),
    1,
  );
  const empty = receiving.receive(call('t', { filter, waitMs: 5_000 }), NEVER_ABORTED);
  await settled();
  await clock.advance(5_000);
  t.same(await empty, []);
});

void t.test('leases are renewed for three hours and keep their receipt', async (t) => {
  const { sending, receiving, clock } = await setUp(t);
  await sending.send([made('t', 'a')]);
  const began = clock.now();
  const [delivery] = await receiving.receive(call('t', { renewFor: 'client' }), NEVER_ABORTED);
  const others = () => receiving.receive(call('t'), NEVER_ABORTED);
  for (let minute = 0; minute < 180; minute++) {
    await clock.advance(60_000);
    if ((await others()).length > 0) t.fail(`lost after ${minute} minutes`);
  }
  // The last renewal may be as long as an hour.
  let again = await others();
  while (again.length === 0 && clock.now() < began + 5 * 3_600_000) {
    await clock.advance(60_000);
    again = await others();
  }
  t.match(again, [{ attempt: 2 }], 'a consumer that hangs does not keep it for ever');
  t.match(await receiving.settle([{ receipt: delivery!.receipt, action: { kind: 'ack' } }]), [{ ok: false }]);
  t.match(await receiving.settle([{ receipt: again[0]!.receipt, action: { kind: 'ack' } }]), [{ ok: true }]);
});

void t.test('renewal ends with the verdict, and with the owner', async (t) => {
  const { sending, receiving, renewal, clock } = await setUp(t);
  await sending.send(['a', 'b', 'c'].map((body) => made('t', body)));
  const deliveries = await receiving.receive(call('t', { renewFor: 'client' }), NEVER_ABORTED);
  await clock.advance(120_000);
  const [first] = deliveries;
  t.match(await receiving.settle([{ receipt: first!.receipt, action: { kind: 'ack' } }]), [{ ok: true }]);
  await renewal.releaseOwner('nobody');
  await renewal.releaseOwner('client');
  t.same(await receiving.receive(call('t'), NEVER_ABORTED), []);
  await clock.advance(1_000);
  t.match(await receiving.receive(call('t'), NEVER_ABORTED), [{ attempt: 2 }, { attempt: 2 }]);
  await clock.advance(10_000);
  t.match(await receiving.receive(call('t'), NEVER_ABORTED), [{ attempt: 3 }, { attempt: 3 }]);
  renewal.stop();
});

void t.test('who names what it holds keeps it for as long as it lives', async (t) => {
  const { sending, receiving, renewal, clock } = await setUp(t);
  await sending.send(['a', 'b', 'c'].map((body) => made('t', body)));
  const held = new Set(await receiving.receive(call('t', { leaseMs: 20_000 }), NEVER_ABORTED));
  const kept = renewal.keep({ held: () => held });
  const others = () => receiving.receive(call('t', { leaseMs: 1_000 }), NEVER_ABORTED);
  for (let minute = 0; minute < 240; minute++) {
    await clock.advance(60_000);
    if ((await others()).length > 0) t.fail(`lost after ${minute} minutes`);
  }
  const [first, second] = held;
  t.match(await receiving.settle([{ receipt: first!.receipt, action: { kind: 'ack' } }]), [{ ok: true }]);
  held.delete(first!);
  // Not held any more and no verdict: it comes back by itself.
  held.delete(second!);
  await clock.advance(70_000);
  t.match(await others(), [{ attempt: 2 }]);
  kept[Symbol.dispose]();
  await clock.advance(70_000);
  t.equal((await others()).length, 2);
});
