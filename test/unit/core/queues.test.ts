import t, { type Test } from 'tap';
import { openMemoryEngine } from '../../../adapters/storage/embedded/open.ts';
import { Broker } from '../../../core/broker.ts';
import { MATCH_ALL } from '../../../core/model/filter.ts';
import { encodeMessage, type MessageFields } from '../../../core/model/message.ts';
import { deadLetterTopic } from '../../../core/model/names.ts';
import { QUEUE_RETENTION } from '../../../core/model/topic.ts';
import { ALLOW_ALL } from '../../../core/ports/authorizer.ts';
import { OutgoingMessage, type Delivery, type SettleAction } from '../../../core/ports/message-engine.ts';
import { UserAuthenticator } from '../../../gateway/security/user-authenticator.ts';
import { fail } from '../../helpers/fail.ts';
import { ManualClock } from '../../helpers/manual-clock.ts';
import { SILENT } from '../../helpers/silent-logger.ts';

/** What queues, subscriptions and transactions of message brokers need of the core. */

const NEVER_ABORTED = new AbortController().signal;

async function setUp(t: Test) {
  const clock = new ManualClock();
  const storage = openMemoryEngine(1 << 24);
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
      bodyBytesMax: 1_000,
    },
  );
  await broker.start();
  t.teardown(() => broker.stop());
  const receive = (topic: string, changes = {}) => {
    const source = { kind: 'topic', topic } as const;
    const call = { group: 'g', source, filter: MATCH_ALL, max: 32, waitMs: 0, leaseMs: 10_000, ...changes };
    return broker.receive(call, NEVER_ABORTED);
  };
  return { broker, clock, receive, ...storage };
}

function made(topic: string, body: string, fields: Partial<MessageFields> = {}): OutgoingMessage {
  const message = encodeMessage({ address: `${topic}/x`, body: Buffer.from(body), bornAt: 1, ...fields });
  return new OutgoingMessage(topic, message.address, message);
}

function bodies(deliveries: readonly Delivery[]): string[] {
  return deliveries.map(({ message }) => message.body.toString());
}

function verdicts(deliveries: readonly Delivery[], action: SettleAction) {
  return deliveries.map(({ receipt }) => ({ receipt, action }));
}

void t.test('a transaction sends and settles all or nothing', async (t) => {
  const { broker, clock, receive, engine } = await setUp(t);
  await broker.topics.put({ name: 'in', queues: 1 });
  await broker.send(['a', 'b', 'c'].map((body) => made('in', body)));
  const [a, b, c] = await receive('in');
  const live: string[] = [];
  broker.subscribeLive('out/#', { deliver: ({ body }) => void live.push(body.toString()) });
  const settle = [
    ...verdicts([a!], { kind: 'ack' }),
    ...verdicts([b!], { kind: 'release', delayMs: 0, countAttempt: false }),
    ...verdicts([c!], { kind: 'deadLetter', reason: 'bad' }),
  ];
  const retained = made('out', 'kept', { retained: true });
  const refused = await broker.transact([made('out', '1'), retained, made('out', 'x'.repeat(2_000))], settle);
  t.match(refused, { ok: false, error: { code: 'MESSAGE_BODY_TOO_LARGE' } });
  await clock.advance(0);
  t.same(broker.retained('out/#'), [], 'nothing is retained of what was not sent');
  t.match(await broker.transact([made('bad/name', '1')], settle), { error: { code: 'ILLEGAL_TOPIC' } });
  t.match(await broker.transact([], [...settle, ...settle]), { error: { code: 'STALE_RECEIPT' } });
  t.same(await receive('in'), []);
  t.same(live, []);
  const done = await broker.transact(
    [
      made('out', '1', { qos: 0 }),
      made('out', 'kept', { retained: true }),
      made('out', 'later', { deliverAt: clock.now() + 5_000 }),
    ],
    settle,
  );
  t.match(done, { ok: true, value: [{ offset: 0 }, {}, { offset: -1, recallHandle: String }] });
  t.same(live, ['1', 'kept']);
  t.equal(broker.retained('out/#').length, 1);
  t.match(await receive('in'), [{ attempt: 1 }], 'the released one is there again');
  t.same(bodies(await receive(deadLetterTopic('g'), { group: 'other' })), ['c']);
  t.match(await broker.transact([], settle.slice(0, 1)), { error: { code: 'STALE_RECEIPT' } });
  await clock.advance(5_001);
  t.same(live, ['1', 'kept', 'later']);
  t.same(bodies(await receive('out')).toSorted(), ['1', 'kept', 'later']);
  t.match(await engine.groupState('g', { kind: 'topic', topic: 'in' }), [{ inflight: 1, lag: 1 }]);
});

void t.test('a transaction that failed leaves the leases as they are, and renewed', async (t) => {
  const { broker, clock, receive } = await setUp(t);
  await broker.send([made('in', 'a'), made('in', 'b')]);
  const deliveries = await receive('in', { renewFor: 'link' });
  const settle = verdicts(deliveries, { kind: 'ack' });
  t.match(await broker.transact([made('bad/name', '1')], settle), { ok: false });
  await clock.advance(30_000);
  t.same(await receive('in'), []);
  t.match(await broker.transact([], settle), { ok: true });
});

void t.test('topics and groups are deleted with all they had, for who waits, too', async (t) => {
  const { broker, receive, meta } = await setUp(t);
  await broker.send([made('in', 'a')]);
  t.same(bodies(await receive('in')), ['a']);
  await broker.groups.subscribe('h', { kind: 'topic', topic: 'in' }, 'latest');
  const [onGroup, onTopic] = [receive('in', { waitMs: 60_000 }), receive('in', { waitMs: 60_000, group: 'h' })];
  await Promise.all([
    t.rejects(onGroup, { code: 'CONSUMER_GROUP_NOT_FOUND' }),
    broker.groups.delete('g').then((was) => t.equal(was, true)),
    broker.groups.delete('g').then((was) => t.equal(was, false)),
  ]);
  t.equal(broker.groups.get('g'), undefined);
  t.same(bodies(await receive('in')), ['a'], 'a new group of that name begins anew');
  await Promise.all([t.rejects(onTopic, { code: 'TOPIC_NOT_FOUND' }), broker.topics.delete('in')]);
  t.same(await receive('in'), []);
  // One after the other, whatever the order of the answers.
  await Promise.all([broker.topics.delete('in'), broker.topics.put({ name: 'in', queues: 2 })]);
  t.match(broker.topics.get('in'), { queues: 2 });
  t.ok(await meta.get('topic/in'));
  await Promise.all([broker.topics.put({ name: 'new' }), broker.topics.delete('new')]);
  t.equal(broker.topics.get('new'), undefined);
  t.equal(await meta.get('topic/new'), undefined);
  t.equal(await broker.topics.delete('never'), false);
});

void t.test('a subscription from latest gets what is sent from then on, and a queue can be purged', async (t) => {
  const { broker, receive } = await setUp(t);
  const source = { kind: 'topic', topic: 'in' } as const;
  await broker.topics.put({ name: 'in', queues: 2, retention: QUEUE_RETENTION });
  await broker.send([made('in', 'before')]);
  await broker.groups.subscribe('late', source, 'latest');
  await broker.groups.subscribe('early', source, 'earliest');
  await broker.send([made('in', 'after')]);
  await broker.groups.subscribe('late', source, 'latest');
  t.same(bodies(await receive('in', { group: 'late' })), ['after']);
  t.equal(await broker.groups.purge('early', source), 2);
  t.same(await receive('in', { group: 'early' }), []);
  await t.rejects(broker.groups.subscribe('a.b', source, 'latest'), { code: 'ILLEGAL_CONSUMER_GROUP' });
  for (const ms of [Infinity, NaN, 0]) {
    const retention = { ...QUEUE_RETENTION, ms };
    await t.rejects(broker.topics.put({ name: 'bad', retention }), { code: 'BAD_REQUEST' });
  }
});

void t.test('members of a group with selectors share its messages', async (t) => {
  const { broker, receive } = await setUp(t);
  await broker.topics.put({ name: 'in', queues: 1 });
  const select = broker.selector({ type: 'SQL92', expression: "color = 'red'" })!;
  const red = receive('in', { select, waitMs: 60_000 });
  await broker.send(['blue', 'red', 'green'].map((color) => made('in', color, { properties: [['color', color]] })));
  t.same(bodies(await red), ['red']);
  t.same(bodies(await receive('in', { select })), []);
  t.same(bodies(await receive('in')), ['blue', 'green']);
  t.equal(broker.selector(MATCH_ALL), undefined);
  t.throws(() => broker.selector({ type: 'SQL92', expression: '1 +' }), { code: 'ILLEGAL_FILTER_EXPRESSION' });
});
