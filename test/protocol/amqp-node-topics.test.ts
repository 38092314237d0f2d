import t from 'tap';
import { openEmbeddedEngine } from '../../adapters/storage/embedded/open.ts';
import type { Filter, Source } from '../../adapters/amqp/v1/codec/performatives.ts';
import { encodeMessage } from '../../core/model/message.ts';
import { OutgoingMessage } from '../../core/ports/message-engine.ts';
import { RawAmqpClient, sourceOf, targetOf } from '../helpers/amqp-client.ts';
import { str, uint } from '../helpers/amqp-messages.ts';
import { messageOf, startNodeServer, textOf } from '../helpers/amqp-node-server.ts';
import { settled } from '../helpers/manual-clock.ts';

/** Subscriptions of AMQP clients on topics: how long they live, and who shares them. */

const NEVER: Partial<Source> = { durable: 2, expiryPolicy: 'never' };
const NO_LOCAL: Filter = { descriptor: 'apache.org:no-local-filter:list', value: { type: 'list', value: [] } };
const TOPIC = '/topics/news';

t.test('volatile, durable and expiring subscriptions', async (t) => {
  const { client, broker, clock } = await startNodeServer(t);
  const one = await client();
  await one.sender(0, TOPIC);
  await one.receiver(1, TOPIC, 10);
  await one.receiver(2, TOPIC, 10, NEVER);
  await one.receiver(3, TOPIC, 10, { durable: 2, expiryPolicy: 'link-detach', timeoutS: 10 });
  await one.send(0, 'a');
  t.same(await one.texts(3), ['a', 'a', 'a']);
  for (const handle of [1, 2, 3]) await one.detach(handle, false);
  await settled();
  t.equal(broker.subscriptions.list().length, 2, 'the volatile one is gone');
  await one.send(0, 'b');
  await clock.advance(9_000);
  await one.receiver(3, TOPIC, 10, { durable: 2, expiryPolicy: 'link-detach', timeoutS: 10 });
  t.equal((await one.texts(2)).at(-1), 'b');
  await clock.advance(60_000);
  await one.detach(3, false);
  await clock.advance(10_000);
  t.equal(broker.subscriptions.list().length, 1, 'it has expired');
  await one.receiver(2, TOPIC, 10, NEVER);
  t.equal((await one.texts(2)).at(-1), 'b');
  await one.detach(2, true);
  await settled();
  t.same(broker.subscriptions.list(), []);
  t.equal(broker.groups.list().length, 0);
});

t.test('other terms under the same name begin anew, and nothing of the old ones ends them', async (t) => {
  const { client, broker, clock } = await startNodeServer(t);
  const one = await client();
  await one.sender(0, TOPIC);
  const expiring = { durable: 2, expiryPolicy: 'link-detach', timeoutS: 10 } as const;
  await one.receiver(1, TOPIC, 0, expiring);
  await one.detach(1, false);
  await one.send(0, 'old');
  await one.receiver(1, '/topics/other', 10, NEVER);
  await clock.advance(20_000);
  t.equal(broker.subscriptions.list()[0]?.topic, 'other');
  await one.sender(2, '/topics/other');
  await one.send(2, 'new');
  t.same(await one.texts(1), ['new']);
});

t.test(
  'a durable subscription is taken over by the same container elsewhere, also with no time to expire',
  async (t) => {
    const { client, broker } = await startNodeServer(t);
    const one = await client('same');
    const two = await client('same');
    await one.sender(0, TOPIC);
    const brief = { durable: 2, expiryPolicy: 'link-detach', timeoutS: 0 } as const;
    await one.receiver(1, TOPIC, 0, brief);
    await one.send(0, 'kept');
    await two.receiver(1, TOPIC, 10, brief);
    t.match(await one.raw.next('detach'), { error: { condition: 'amqp:link:stolen' } });
    t.same(await two.texts(1), ['kept']);
    // Both at once: one of them has it in the end.
    one.raw.send({ kind: 'detach', handle: 1, closed: true });
    const source = sourceOf(TOPIC, brief);
    const attach = { role: 'receiver', name: 'r2', handle: 2, source } as const;
    await Promise.all([one.raw.attach(attach), two.raw.attach(attach)]);
    const loser = await Promise.race([one, two].map((client) => client.raw.next('detach').then(() => client)));
    const winner = loser === one ? two : one;
    winner.credit(2, 5);
    await one.send(0, 'for the winner');
    t.same(await winner.texts(1), ['for the winner']);
    t.equal(broker.subscriptions.list().length, 2);
  },
);

t.test('shared subscriptions: by container, global, and joined by many at once', async (t) => {
  const { client, broker } = await startNodeServer(t);
  const [one, two] = [await client('c1'), await client('c2')];
  await one.sender(0, TOPIC);
  const shared = { capabilities: ['topic', 'shared'] };
  const global = { capabilities: ['topic', 'shared', 'global'] };
  await one.receiver(1, 'news', 10, shared, { name: 'sub|1' });
  await one.receiver(2, 'news', 10, shared, { name: 'sub|2' });
  await two.receiver(1, 'news', 10, shared, { name: 'sub|1' });
  await one.receiver(3, 'news', 10, global, { name: 'all|1' });
  await two.receiver(3, 'news', 10, global, { name: 'all|2' });
  await one.send(0, 'm');
  const of = (number: number) => broker.subscriptions.list().length === number;
  t.ok(of(3), 'c1, c2 and all');
  await one.raw.seen();
  await two.raw.seen();
  await settled();
  await one.raw.seen();
  await two.raw.seen();
  const got = [one, two].flatMap(({ raw }) => raw.received.filter(({ kind }) => kind === 'transfer'));
  t.equal(got.length, 3, 'one of each');
  // With other terms nobody joins what is in use.
  const refusal = two.receiver(4, 'other', 0, global, { name: 'all|3' });
  await t.rejects(refusal, { message: 'amqp:resource-locked' });
  await one.detach(3);
  await two.detach(3);
  // Left and joined in the same breath.
  for (let round = 0; round < 5; round++) {
    await two.receiver(3, 'news', 1, global, { name: 'all|2' });
    two.raw.send({ kind: 'detach', handle: 3, closed: true });
    await one.receiver(3, 'news', 1, global, { name: 'all|1' });
    await two.raw.next('detach');
    await one.send(0, `round ${round}`);
    await one.raw.next('transfer', (transfer) => textOf(transfer) === `round ${round}`);
    await one.detach(3);
  }
});

t.test('what lasts, what does not, and a queue may have one name', async (t) => {
  const { client } = await startNodeServer(t);
  const one = await client();
  await one.sender(0, '/queues/sub');
  await one.send(0, 'first');
  await one.send(0, 'second');
  await one.receiver(1, '/queues/sub', 1);
  one.raw.disposition((await one.transfer()).deliveryId!);
  await one.detach(1);
  await one.sender(2, TOPIC);
  const shared = { capabilities: ['topic', 'shared'] };
  const global = { capabilities: ['topic', 'shared', 'global'] };
  for (const [i, terminus] of [shared, { ...shared, ...NEVER }, global, { ...global, ...NEVER }].entries()) {
    await one.receiver(10 + i, 'news', 10, terminus, { name: `sub|${i}` });
  }
  await one.send(2, 'm');
  t.same(await one.texts(4), ['m', 'm', 'm', 'm'], 'four subscriptions');
  for (const handle of [10, 11, 12, 13]) await one.detach(handle);
  await settled();
  await one.receiver(1, '/queues/sub', 10);
  t.same(await one.texts(1), ['second'], 'the queue is where it was');
});

t.test('JMS ends a subscription by name', async (t) => {
  const { client, broker } = await startNodeServer(t);
  const one = await client();
  await one.receiver(1, TOPIC, 0, NEVER, { name: 'sub' });
  const lookUp = { role: 'receiver', name: 'sub', handle: 5, source: undefined } as const;
  const two = await client();
  t.equal(await two.refused(lookUp), 'amqp:resource-locked');
  await one.detach(1, false);
  const answer = await one.raw.attach(lookUp);
  t.match(answer.source, { address: TOPIC, durable: 2, expiryPolicy: 'never' });
  await one.detach(5);
  await settled();
  t.same(broker.subscriptions.list(), []);
  t.equal(await one.refused(lookUp), 'amqp:not-found');
});

t.test('selectors and no-local on a topic', async (t) => {
  const { client, context } = await startNodeServer(t);
  const [one, two] = [await client('c1'), await client('c2')];
  const selector: Filter = { descriptor: 0x468c_0000_0004n, value: str("kind = 'a'") };
  await one.sender(0, TOPIC);
  await two.sender(0, TOPIC);
  const granted = await one.receiver(1, TOPIC, 10, { filters: new Map([['nl', NO_LOCAL]]) });
  t.same([...granted.filters.keys()], ['nl']);
  await two.receiver(1, TOPIC, 10, { filters: new Map([['s', selector]]) });
  await one.send(0, messageOf('mine', {}, {}, { kind: str('b') }));
  await two.send(0, messageOf('yours', {}, {}, { kind: str('a') }));
  t.same([await one.texts(1), await two.texts(1)], [['yours'], ['yours']]);
  await one.detach(1);
  t.equal(context.noLocal.size, 0);
});

t.test('what RabbitMQ users bind to amq.topic is a subscription that is shared', async (t) => {
  const { client, broker } = await startNodeServer(t);
  const [one, two] = [await client('c1'), await client('c2')];
  const fields = { ...NEVER, capabilities: ['shared', 'global'] };
  const link = { name: 'bound' };
  await one.receiver(1, '/topic/dev.*.state', 0, fields, link);
  await one.detach(1, false);
  await one.sender(0, '/topic/dev.1.state');
  await one.send(0, 'of AMQP');
  for (const address of ['dev/2/other', 'dev/2/state']) {
    const message = encodeMessage({ address, body: Buffer.from(`of ${address}`), bornAt: 1 });
    await broker.send([new OutgoingMessage('dev', address, message)]);
  }
  await one.receiver(1, '/topic/dev.*.state', 1, fields, link);
  await two.receiver(1, '/exchanges/amq.topic/dev.*.state', 1, fields, link);
  t.same([...(await one.texts(1)), ...(await two.texts(1))], ['of AMQP', 'of dev/2/state']);
  t.equal(await two.refused({ role: 'sender', target: targetOf('/topic/dev.*'), handle: 2 }), 'amqp:invalid-field');
});

t.test('bindings of AMQP 0-9-1 as filters', async (t) => {
  const { client } = await startNodeServer(t);
  const one = await client();
  const binding = (type: 'topic' | 'direct', key: string, isNumber = false): ReadonlyMap<string, Filter> => {
    const number = type === 'topic' ? 0x468c_0000_0001n : 0x468c_0000_0000n;
    const descriptor = isNumber ? number : `apache.org:legacy-amqp-${type}-binding:string`;
    return new Map([['b', { descriptor, value: str(key) }]]);
  };
  const { filters } = await one.receiver(1, '/topics/t', 10, { filters: binding('topic', 'a.*.#') });
  t.same([...filters.keys()], ['b']);
  await one.receiver(2, '/topics/t', 10, { filters: binding('direct', 'a.b', true) });
  await one.sender(0, '/topics/t');
  await one.sender(10, '/exchanges/t/a.b.c');
  await one.sender(11, '/topics/t/a/b');
  await one.send(0, messageOf('neither', { subject: str('a') }));
  await one.send(0, 'nor this');
  await one.send(0, messageOf('both', { subject: str('a.b') }));
  await one.send(10, 'exchange');
  await one.send(11, 'address');
  t.same((await one.texts(4)).toSorted(), ['address', 'both', 'both', 'exchange']);
  // With a selector, and another one under the same name.
  const both = new Map([
    ...binding('topic', 'a.#'),
    ['s', { descriptor: 0x468c_0000_0004n, value: str('n = 1') }],
  ]) as ReadonlyMap<string, Filter>;
  await one.detach(1);
  await one.detach(2);
  t.equal((await one.receiver(1, '/topics/t', 10, { ...NEVER, filters: both })).filters.size, 2);
  await one.send(0, messageOf('no', { subject: str('b') }, {}, { n: uint(1) }));
  await one.send(0, messageOf('nor', { subject: str('a') }, {}, { n: uint(2) }));
  await one.send(0, messageOf('yes', { subject: str('a') }, {}, { n: uint(1) }));
  t.same(await one.texts(1), ['yes']);
  await one.detach(1, false);
  await one.send(0, messageOf('gone', { subject: str('a') }, {}, { n: uint(1) }));
  await one.receiver(1, '/topics/t', 10, { ...NEVER, filters: binding('topic', 'a.#') });
  await one.send(0, messageOf('new', { subject: str('a') }));
  t.same(await one.texts(1), ['new'], 'another binding is another subscription');
  // Queues have no routing keys.
  t.equal((await one.receiver(3, '/queues/q', 0, { filters: binding('topic', '#') })).filters.size, 0);
});

t.test('no-local of a durable subscription holds while nobody reads it, and after a restart', async (t) => {
  const dir = t.testdir();
  const fields = { ...NEVER, filters: new Map([['nl', NO_LOCAL]]) };
  const before = await startNodeServer(t, { storage: openEmbeddedEngine({ dir }) });
  const [one, two] = [await before.client('c1'), await before.client('c2')];
  await one.receiver(1, TOPIC, 0, fields);
  await one.detach(1, false);
  for (const client of [one, two]) await client.sender(0, TOPIC);
  for (const client of [one, two]) await client.send(0, client === one ? 'mine' : 'yours');
  for (const client of [one, two]) client.raw.destroy();
  await before.close();
  const after = await startNodeServer(t, { storage: openEmbeddedEngine({ dir }) });
  const [again, other] = [await after.client('c1'), await after.client('c2')];
  for (const client of [again, other]) {
    await client.sender(0, TOPIC);
    await client.send(0, client === again ? 'mine again' : 'yours again');
  }
  await again.receiver(1, TOPIC, 10, fields);
  t.same(await again.texts(2), ['yours', 'yours again']);
  await again.send(0, 'mine at last');
  await again.raw.seen();
  t.same(again.raw.kinds(), []);
  // Other terms are another subscription.
  await again.detach(1, false);
  await again.receiver(1, TOPIC, 10, NEVER);
  await again.send(0, 'mine');
  t.same(await again.texts(1), ['mine']);
  t.equal(after.context.subscriptions.noLocalContainers.size, 0);
  await again.detach(1);
  await again.receiver(1, TOPIC, 10, fields);
  t.equal(after.context.subscriptions.noLocalContainers.size, 1);
  await again.detach(1);
  await settled();
  t.equal(after.context.subscriptions.noLocalContainers.size, 0);
});

t.test('durable subscriptions outlive the process, others do not', async (t) => {
  const dir = t.testdir();
  const before = await startNodeServer(t, { storage: openEmbeddedEngine({ dir }) });
  const one = await before.client('jms');
  await one.sender(0, TOPIC);
  await one.receiver(1, TOPIC, 0, NEVER);
  await one.receiver(2, TOPIC, 0);
  await one.receiver(3, TOPIC, 0, { capabilities: ['shared'] });
  await one.send(0, 'kept');
  t.equal(before.broker.groups.list().length, 3);
  await before.broker.groups.put({ name: '%SUB%99' });
  one.raw.destroy();
  await before.close();
  const after = await startNodeServer(t, { storage: openEmbeddedEngine({ dir }) });
  t.same(
    after.broker.groups.list().map(({ name }) => name),
    after.broker.subscriptions.list().map(({ group }) => group),
  );
  t.equal(after.broker.groups.list().length, 1);
  const two = await after.client('jms');
  await two.receiver(1, TOPIC, 1, NEVER);
  t.same(await two.texts(1), ['kept']);
});

t.test('nothing is left of a thousand connections that vanish, in whatever they were doing', async (t) => {
  const { port, context, broker } = await startNodeServer(t, { nodes: { temporaryQueuesMax: 5_000 } });
  for (let round = 0; round < 10; round++) {
    const clients = await Promise.all(
      Array.from({ length: 100 }, (_, i) => RawAmqpClient.opened(port, { containerId: `c${i}` })),
    );
    for (const [i, raw] of clients.entries()) {
      const source = sourceOf(TOPIC, { filters: new Map([['nl', NO_LOCAL]]) });
      const dynamic = sourceOf(undefined, { dynamic: true });
      const attach = raw.attach({ role: 'receiver', name: 'own', handle: 0, source });
      const others = [sourceOf('/queues/q'), dynamic, sourceOf('/queues/q', { distributionMode: 'copy' })];
      raw.received.length = 0;
      void attach.catch(() => undefined);
      for (const [n, other] of others.entries()) {
        raw.attach({ role: 'receiver', name: `other${n}`, handle: n + 1, source: other }).catch(() => undefined);
      }
      // Some of them are gone before they were answered.
      if (i % 2 === 0) raw.destroy();
    }
    for (const raw of clients) raw.destroy();
    await Promise.all(clients.map((raw) => raw.ended()));
  }
  const isEmpty = (): boolean =>
    context.consumers.size + context.noLocal.size + context.temporary.count + broker.subscriptions.list().length === 0;
  for (let turn = 0; turn < 2_000 && !isEmpty(); turn++) await settled();
  t.equal(context.consumers.size, 0);
  t.equal(context.noLocal.size, 0);
  t.equal(context.temporary.count, 0);
  t.equal(context.transactions.count, 0);
  t.same(broker.subscriptions.list(), []);
  t.same(
    broker.groups.list().map(({ name }) => name),
    ['q'],
  );
});

t.test('a subscription that is to expire does so after a restart as well', async (t) => {
  const dir = t.testdir();
  const expiring = { durable: 2, expiryPolicy: 'link-detach', timeoutS: 10 } as const;
  const before = await startNodeServer(t, { storage: openEmbeddedEngine({ dir }) });
  const one = await before.client();
  await one.receiver(0, TOPIC, 0, expiring);
  await one.detach(0, false);
  await before.close();
  const after = await startNodeServer(t, { storage: openEmbeddedEngine({ dir }) });
  t.equal(after.broker.subscriptions.list().length, 1);
  await after.clock.advance(9_999);
  t.equal(after.broker.subscriptions.list().length, 1);
  await after.clock.advance(1);
  t.equal(after.broker.subscriptions.list().length, 0);
});
