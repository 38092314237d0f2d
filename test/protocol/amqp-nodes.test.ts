import t from 'tap';
import { encodeMessage } from '../../core/model/message.ts';
import { OutgoingMessage } from '../../core/ports/message-engine.ts';
import { sourceOf, targetOf } from '../helpers/amqp-client.ts';
import { bytesOf, mapOf, randomBare, readMessage, str, sym } from '../helpers/amqp-messages.ts';
import { messageOf, startNodeServer } from '../helpers/amqp-node-server.ts';
import { Random, testSeed } from '../helpers/random.ts';

/** What addresses lead to, and what becomes of messages there: queues, outcomes, credit, dynamic nodes, exchanges. */

const BYTE = (value: number) => ({ type: 'byte', value }) as const;

t.test('every way of writing an address reads what every other way of writing it sent', async (t) => {
  const { client } = await startNodeServer(t);
  const one = await client();
  const queues: [target: string, capabilities: string[], source: string, capabilities: string[]][] = [
    ['/queues/a%2Fb', [], 'queue://a/b', []],
    ['queue://q1', [], '/queue/q1', []],
    ['q2', ['queue'], '/amq/queue/q2', []],
    ['q3', [], 'q3', ['queue']],
    ['/topics/t1', [], '/groups/g/topics/t1', []],
    ['topic://t2', [], 't2::g', []],
    ['t3', ['topic'], 't3/Subscriptions/g', []],
    ['t4::g', [], '/groups/g/topics/t4', []],
    ['/exchanges/x5/some.key', [], '/groups/g/topics/x5', []],
    ['/topic/dev.7.state', [], '/groups/g/topics/dev', []],
  ];
  for (const [i, [target, capabilities, source, wanted]] of queues.entries()) {
    await one.sender(2 * i, target, capabilities);
    await one.receiver(2 * i + 1, source, 1, { capabilities: wanted });
    t.equal(await one.send(2 * i, `m${i}`), 'accepted', target);
    t.same(await one.texts(1), [`m${i}`], source);
  }
  const topics: [target: string, source: string][] = [
    ['/topics/dev/dev/1/a', '/topics/dev/dev/+/a'],
    ['/exchanges/amq.topic/dev.2.state', 'topic://dev/2/#'],
    ['topic://dev/3/b', '/topic/dev.3.b'],
    ['/topics/news', 'topic://news'],
    ['topic://news2', '/exchanges/news2'],
  ];
  for (const [i, [target, source]] of topics.entries()) {
    const handle = 100 + 2 * i;
    await one.receiver(handle + 1, source, 5);
    await one.sender(handle, target);
    t.equal(await one.send(handle, `t${i}`), 'accepted', target);
    t.same(await one.texts(1), [`t${i}`], source);
  }
});

t.test('what is no address is refused, and the connection lives', async (t) => {
  const { client, broker } = await startNodeServer(t);
  const one = await client();
  const targets: [address: string, condition: string][] = [
    ['', 'amqp:invalid-field'],
    ['/nowhere/x', 'amqp:invalid-field'],
    ['/queues/', 'amqp:invalid-field'],
    ['/queues/%zz', 'amqp:invalid-field'],
    ['/topics/t/a/+', 'amqp:invalid-field'],
    ['/topics/t/a/%23', 'amqp:invalid-field'],
    ['/topics/t/a%00b', 'amqp:invalid-field'],
    ['topic://a/+/b', 'amqp:invalid-field'],
    ['topic://a/#', 'amqp:invalid-field'],
    ['/exchanges/x/a%00', 'amqp:invalid-field'],
    ['/topics/t/%24SYS/broker', 'amqp:invalid-field'],
    ['/topics/t/$SYS/broker', 'amqp:invalid-field'],
    ['topic://$SYS/broker', 'amqp:invalid-field'],
    [`/queues/${'x'.repeat(200)}`, 'amqp:invalid-field'],
    [`/nowhere/${'\0'.repeat(60_000)}`, 'amqp:invalid-field'],
    ['q/$deadletterqueue', 'amqp:not-allowed'],
  ];
  for (const [i, [address, condition]] of targets.entries()) {
    t.equal(
      await one.refused({ role: 'sender', handle: i, name: `l${i}`, target: targetOf(address) }),
      condition,
      address.slice(0, 40),
    );
  }
  const sources: [address: string | undefined, condition: string][] = [
    [undefined, 'amqp:invalid-field'],
    ['', 'amqp:invalid-field'],
    ['topic://a/+b', 'amqp:invalid-field'],
    ['/topics/t/a/#/b', 'amqp:invalid-field'],
    ['topic://+/state', 'amqp:not-implemented'],
    ['/topics/t/a%00', 'amqp:invalid-field'],
  ];
  for (const [i, [address, condition]] of sources.entries()) {
    const source = sourceOf(address);
    t.equal(await one.refused({ role: 'receiver', handle: 50 + i, name: `r${i}`, source }), condition, `${address}`);
  }
  t.equal(await one.refused({ role: 'sender', handle: 70, name: 'null', target: undefined }), 'amqp:invalid-field');
  t.equal(await one.refused({ role: 'receiver', handle: 71, name: 'null', source: undefined }), 'amqp:not-found');
  t.same(broker.subscriptions.list(), [], 'nothing is left of subscriptions that were refused');
});

t.test('an anonymous terminus: `to` decides, with what JMS says of it', async (t) => {
  const { client, broker } = await startNodeServer(t);
  const one = await client();
  await one.sender(0, undefined);
  await one.receiver(1, 'topic://bare', 10);
  const to = (address: string, kind?: number): Buffer =>
    messageOf(`${address} ${kind}`, { to: str(address) }, kind === undefined ? {} : { 'x-opt-jms-dest': BYTE(kind) });
  t.equal(await one.send(0, messageOf('x')), 'amqp:precondition-failed');
  t.equal(await one.send(0, to('bare', 0)), 'accepted');
  t.equal(await one.send(0, to('bare', 1)), 'accepted');
  t.equal(await one.send(0, to('bare', 1)), 'accepted', 'from what is known');
  t.same(await one.texts(3), ['bare 0', 'bare 1', 'bare 1'], 'a queue and a topic of one name are one topic');
  t.equal(await one.send(0, to('bare')), 'accepted');
  t.same(await one.texts(1), ['bare undefined']);
  t.equal(await one.send(0, to('fresh', 1)), 'accepted');
  t.equal(broker.groups.get('fresh'), undefined, 'a topic, no queue');
  t.equal(await one.send(0, to('fresh2', 0)), 'accepted');
  t.not(broker.groups.get('fresh2'), undefined, 'a queue');
  t.equal(await one.send(0, to('')), 'amqp:invalid-field');
  t.equal(await one.send(0, to('topic://a/+')), 'amqp:invalid-field');
  t.equal(await one.send(0, to('/topics/t/%24SYS/x')), 'amqp:invalid-field');
  t.equal(await one.send(0, to('$management')), 'amqp:not-allowed');
  // In order, whatever has to be looked up first.
  await one.receiver(2, '/queues/late', 100);
  const ids = Array.from({ length: 20 }, () => one.nextId());
  for (const [i, deliveryId] of ids.entries()) {
    const other = messageOf('other', { to: str(`/queues/new${i}`) });
    const message = i % 3 === 1 ? other : messageOf(`late${i}`, { to: str('/queues/late') });
    one.raw.transfer({ handle: 0, deliveryId }, message);
  }
  t.same(
    await one.texts(13),
    ids.flatMap((_, i) => (i % 3 === 1 ? [] : [`late${i}`])),
  );
});

t.test('a batch on an anonymous terminus keeps its order and has one outcome', async (t) => {
  const { client } = await startNodeServer(t);
  const one = await client();
  await one.sender(0, undefined);
  await one.receiver(1, '/queues/b', 100);
  const batch = (...messages: Buffer[]): Buffer =>
    bytesOf(messages.map((value) => ['data', { type: 'binary', value }]));
  const to = (text: string, address: string): Buffer => messageOf(text, { to: str(address) });
  const deliveryId = one.nextId();
  const payload = batch(to('1', '/queues/b'), to('x', '/queues/b2'), to('2', '/queues/b'), to('y', '/queues/b3'));
  one.raw.transfer({ handle: 0, deliveryId, messageFormat: 0x8001_3700 }, payload);
  const second = one.nextId();
  one.raw.transfer({ handle: 0, deliveryId: second }, to('3', '/queues/b'));
  t.same(await one.texts(3), ['1', '2', '3']);
  t.equal((await one.raw.next('disposition')).first, deliveryId);
  const third = one.nextId();
  one.raw.transfer(
    { handle: 0, deliveryId: third, messageFormat: 0x8001_3700 },
    batch(to('4', '/queues/b'), to('z', 'topic://+/a')),
  );
  const { state } = await one.raw.next('disposition', ({ first }) => first === third);
  t.match(state, { kind: 'rejected', error: { condition: 'amqp:invalid-field' } });
});

t.test('a subject that cannot be part of an address', async (t) => {
  const { client, broker } = await startNodeServer(t);
  const one = await client();
  await one.sender(0, '/queues/q');
  await one.receiver(1, '/queues/q', 10);
  const heard: string[] = [];
  broker.subscribeLive('#', { deliver: (_message, address) => void heard.push(address) });
  for (const subject of ['plain', 'a/+/b', '#', 'a\0b', 'x'.repeat(65_000), '#'.repeat(30_000)]) {
    t.equal(await one.send(0, messageOf('m', { subject: str(subject) })), 'accepted');
    const { properties } = readMessage((await one.transfer()).payload);
    t.same(properties.subject, str(subject));
  }
  t.same(heard, ['q/plain', 'q/a/%2B/b', 'q/%23', 'q/a%00b', `q/${'x'.repeat(65_000)}`, 'q']);
});

t.test('who may not send or read makes nothing by asking, nor through an anonymous terminus', async (t) => {
  const isAllowed = (_who: unknown, action: string, resource: { kind: string; topic?: string }): boolean =>
    resource.kind === 'group' || !(resource.topic ?? '').startsWith(action === 'PUB' ? 'no-pub' : 'no-sub');
  const { client, broker } = await startNodeServer(t, { authorizer: { isAllowed } });
  const [one, denied] = [await client(), 'amqp:unauthorized-access'];
  for (const address of ['/queues/no-pub', '/topics/no-pub', '/topics/no-pub/a', '/exchanges/no-pub/k', 'no-pub::g']) {
    await t.rejects(one.sender(0, address), { message: denied }, address);
  }
  for (const address of ['/queues/no-sub', '/topics/no-sub', 'no-sub::g', '/exchanges/no-sub/k']) {
    await t.rejects(one.receiver(0, address), { message: denied }, address);
  }
  t.same([broker.topics.list(), broker.groups.list()], [[], []]);
  await one.sender(1, undefined);
  await broker.topics.put({ name: 'no-pub' });
  for (const to of ['no-pub', 'no-pub', '/topics/no-pub/a']) {
    t.equal(await one.send(1, messageOf('m', { to: str(to) })), denied);
  }
});

t.test('the bare message arrives bit by bit as it was sent, whatever types are in it', async (t) => {
  const random = new Random(testSeed());
  t.comment(`GANTRY_SEED=${random.seed}`);
  const { client, clock } = await startNodeServer(t);
  const one = await client();
  await one.sender(0, '/queues/verbatim');
  await one.receiver(1, '/queues/verbatim', 200);
  // A message has a section at least, and the bare one may have none.
  const header = bytesOf([['header', { type: 'list', value: [] }]]);
  for (let i = 0; i < 200; i++) {
    const bare = bytesOf(randomBare(random, clock.now()));
    t.equal(await one.send(0, Buffer.concat([header, bare])), 'accepted', `message ${i}`);
    const { payload } = await one.transfer();
    t.ok(payload.subarray(payload.length - bare.length).equals(bare), `message ${i}`);
  }
});

t.test('the message format goes with the message, also through another protocol', async (t) => {
  const { client, broker } = await startNodeServer(t);
  const one = await client();
  await one.receiver(0, '/queues/q', 100);
  await one.receiver(1, '/queues/q', 100, { distributionMode: 'copy' });
  const { address } = await one.receiver(2, undefined, 10, { dynamic: true });
  const [vendor, newer] = [0x1234_5600, 0xffff_ff01];
  const footer = bytesOf([['footer', mapOf({ f: str('f') }, sym)]]);
  const messages = [messageOf('plain'), Buffer.concat([messageOf('whole'), footer])];
  for (const [handle, to] of [address, '/queues/q'].entries()) {
    await one.sender(10 + handle, to);
    for (const payload of messages) {
      for (const messageFormat of [vendor, newer, 0]) {
        const deliveryId = one.nextId();
        one.raw.transfer({ handle: 10 + handle, deliveryId, messageFormat }, payload);
        t.match((await one.raw.next('disposition')).state, { kind: 'accepted' });
        for (let copies = handle === 0 ? 1 : 2; copies > 0; copies--) {
          const received = await one.transfer();
          t.equal(received.messageFormat, messageFormat);
          t.ok(received.payload.subarray(-payload.length).equals(payload));
        }
      }
    }
  }
  const { messages: stored } = await broker.read({ kind: 'topic', topic: 'q', queue: 0 }, 0, 1, 10_000);
  const view = broker.view(stored[0]!);
  const message = encodeMessage({ ...view, text: false });
  await broker.send([new OutgoingMessage('q', view.address, message)]);
  t.same([(await one.transfer()).messageFormat, (await one.transfer()).messageFormat], [vendor, vendor]);
});

t.test('a transfer without a message is refused, and nothing comes of it', async (t) => {
  const { client } = await startNodeServer(t);
  const one = await client();
  await one.sender(0, '/queues/q');
  await one.sender(1, undefined);
  await one.receiver(2, '/queues/q', 10);
  for (const handle of [0, 1]) t.equal(await one.send(handle, Buffer.alloc(0)), 'amqp:decode-error');
  await one.send(0, 'm');
  t.same(await one.texts(1), ['m']);
  // A header is enough: the least that clients send.
  const least = bytesOf([['header', { type: 'list', value: [] }]]);
  t.equal(await one.send(0, least), 'accepted');
  t.same(readMessage((await one.transfer()).payload).body, []);
});
