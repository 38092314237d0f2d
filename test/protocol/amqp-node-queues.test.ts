import t from 'tap';
import { openMemoryEngine } from '../../adapters/storage/embedded/open.ts';
import type { DeliveryState, Filter } from '../../adapters/amqp/v1/codec/performatives.ts';
import { targetOf } from '../helpers/amqp-client.ts';
import type { AmqpValue } from '../../adapters/amqp/v1/codec/values.ts';
import { bytesOf, mapOf, readMessage, str, sym, time, uint } from '../helpers/amqp-messages.ts';
import { messageOf, startNodeServer, textOf, type NodeClient } from '../helpers/amqp-node-server.ts';
import { settled } from '../helpers/manual-clock.ts';

/** Queues as AMQP clients see them: outcomes, credit, selectors, browsing, dynamic nodes, exchanges. */

const FAILED: DeliveryState = { kind: 'modified', deliveryFailed: true, undeliverableHere: false };

function selector(expression: string, name = 'sel'): ReadonlyMap<string, Filter> {
  return new Map([[name, { descriptor: 'apache.org:selector-filter:string', value: str(expression) }]]);
}

/** header.delivery-count */
function count(payload: Buffer): number {
  const [, , , , deliveryCount] = readMessage(payload).header;
  return deliveryCount?.type === 'uint' ? deliveryCount.value : 0;
}

/** A header section; empty where there is nothing to say. */
function priorityHeader(priority: number | undefined): Buffer {
  if (priority === undefined) return Buffer.alloc(0);
  const value = { type: 'ubyte', value: priority } as const;
  return bytesOf([['header', { type: 'list', value: [{ type: 'null' }, value] }]]);
}

/** A link 0 that sends to the queue and a link 1 that receives from it. */
async function linked(one: NodeClient, credit: number, queue = '/queues/q'): Promise<void> {
  await one.sender(0, queue);
  await one.receiver(1, queue, credit);
}

t.test('outcomes: accepted, released, modified, and settled without any', async (t) => {
  const { client, clock } = await startNodeServer(t);
  const one = await client();
  await linked(one, 100);
  await one.send(0, 'm');
  const again = async (state: DeliveryState | undefined, attempts: number): Promise<void> => {
    const { deliveryId } = last;
    one.raw.disposition(deliveryId!, deliveryId, { state });
    last = await one.transfer();
    t.equal(count(last.payload), attempts, JSON.stringify(state));
  };
  let last = await one.transfer();
  t.equal(count(last.payload), 0);
  await again({ kind: 'released' }, 0);
  await again({ kind: 'modified', deliveryFailed: false, undeliverableHere: false }, 0);
  await again(FAILED, 1);
  await again(undefined, 2);
  const added = new Map([['x-opt-why', str('because')]]);
  await again({ ...FAILED, messageAnnotations: added }, 3);
  t.same(readMessage(last.payload).messageAnnotations.get('x-opt-why'), str('because'));
  await again({ ...FAILED, messageAnnotations: new Map([['x-opt-more', uint(1)]]) }, 4);
  t.same([...readMessage(last.payload).messageAnnotations.keys()].toSorted(), ['x-opt-more', 'x-opt-why']);
  // Later, when its annotation says so.
  const at = clock.now() + 5_000;
  one.raw.disposition(last.deliveryId!, last.deliveryId, {
    state: { ...FAILED, messageAnnotations: new Map([['x-opt-delivery-time', time(at)]]) },
  });
  await one.raw.seen();
  await clock.advance(4_999);
  await one.raw.seen();
  t.same(one.raw.kinds(), [], 'not yet');
  await clock.advance(1);
  last = await one.transfer();
  // Seen by nobody else as long as the link has it, and gone when accepted.
  one.raw.disposition(last.deliveryId!);
  await one.raw.seen();
  await one.receiver(2, '/queues/q', 5);
  await clock.advance(120_000);
  await one.raw.seen();
  t.same(one.raw.kinds(), []);
});

t.test('what is given up can be read from the dead letter queue', async (t) => {
  const { client, context } = await startNodeServer(t);
  const one = await client();
  await linked(one, 100);
  const giveUp: DeliveryState[] = [
    { kind: 'rejected', error: { condition: 'my:condition', description: 'no good' } },
    { kind: 'rejected' },
    { kind: 'modified', deliveryFailed: true, undeliverableHere: true },
  ];
  for (const [i, state] of giveUp.entries()) {
    await one.send(0, `m${i}`);
    const first = await one.transfer();
    one.raw.disposition(first.deliveryId!, first.deliveryId, {
      state: { ...FAILED, messageAnnotations: new Map([['x', uint(1)]]) },
    });
    one.raw.disposition((await one.transfer()).deliveryId!, undefined, { state });
  }
  await one.send(0, 'often');
  for (let attempt = 1; attempt <= 10; attempt++) {
    const { deliveryId, payload } = await one.transfer();
    t.equal(count(payload), attempt - 1);
    one.raw.disposition(deliveryId!, deliveryId, { state: FAILED });
  }
  await one.receiver(2, '/queues/q/$deadletterqueue', 10);
  t.same(await one.texts(4), ['m0', 'm1', 'm2', 'often']);
  t.equal(context.annotations.size, 0, 'what was added to them is forgotten');
});

t.test('what receivers add to a message is on its dead letter', async (t) => {
  const { client, context } = await startNodeServer(t);
  const one = await client();
  await linked(one, 100);
  const settle = ({ deliveryId }: { deliveryId?: number | undefined }, state: DeliveryState): void =>
    one.raw.disposition(deliveryId!, deliveryId, { state });
  const added = (entries: [string, AmqpValue][]) => ({ messageAnnotations: new Map(entries) });
  await one.send(0, messageOf('m', {}, { 'x-opt-own': str('own'), 'x-opt-changed': str('before') }));
  settle(await one.transfer(), {
    ...FAILED,
    ...added([['x-opt-first', uint(1)]]),
  });
  settle(await one.transfer(), {
    kind: 'modified',
    deliveryFailed: true,
    undeliverableHere: true,
    ...added([['x-opt-changed', str('after')]]),
  });
  await one.receiver(2, '/queues/q/$deadletterqueue', 10);
  const letter = await one.transfer();
  t.equal(context.annotations.size, 0);
  const annotations = {
    'x-opt-own': str('own'),
    'x-opt-changed': str('after'),
    'x-opt-first': uint(1),
  };
  t.match(Object.fromEntries(readMessage(letter.payload).messageAnnotations), annotations);
  settle(letter, { kind: 'released' });
  t.match(Object.fromEntries(readMessage((await one.transfer()).payload).messageAnnotations), annotations, 'for good');
  // The reason, in the words of the standard, with what the receiver says besides.
  await one.send(0, 'n');
  const error = { condition: 'my:condition', description: 'no good', info: new Map([['code', uint(7)]]) };
  settle(await one.transfer(), { kind: 'rejected', error });
  const rejected = readMessage((await one.transfer()).payload).messageAnnotations;
  const deaths = rejected.get('x-opt-deaths');
  const death = deaths?.type === 'array' && deaths.value[0]?.type === 'map' ? deaths.value[0].value : [];
  t.same(death.slice(2), [
    [str('reason'), str('my:condition')],
    [str('description'), str('no good')],
  ]);
  t.same(rejected.get('x-opt-death-info'), mapOf({ code: uint(7) }, sym));
});

t.test('links that end: cleanly without counting, otherwise counted; the order stays', async (t) => {
  const { client } = await startNodeServer(t);
  const one = await client();
  const two = await client('two');
  await one.sender(0, '/queues/q');
  for (const text of ['a', 'b', 'c']) await one.send(0, text);
  await one.receiver(1, '/queues/q', 3);
  t.same(await one.texts(3), ['a', 'b', 'c']);
  await one.detach(1);
  await two.receiver(1, '/queues/q', 3);
  const seen = await two.raw.many('transfer', 3);
  t.same(
    seen.map((one) => [textOf(one), count(one.payload)]),
    [
      ['a', 0],
      ['b', 0],
      ['c', 0],
    ],
  );
  two.raw.destroy();
  await one.receiver(1, '/queues/q', 3);
  const again = await one.raw.many('transfer', 3);
  t.same(
    again.map((one) => [textOf(one), count(one.payload)]),
    [
      ['a', 1],
      ['b', 1],
      ['c', 1],
    ],
  );
  // One range over two links: each settles its own.
  await one.receiver(2, '/queues/other', 1);
  await one.sender(3, '/queues/other');
  await one.send(3, 'd');
  const { deliveryId } = await one.transfer();
  one.raw.disposition(again[0]!.deliveryId!, deliveryId);
  await one.raw.seen();
  for (const handle of [1, 2]) await one.detach(handle);
  for (const [handle, queue] of [
    [4, '/queues/q'],
    [5, '/queues/other'],
  ] as const) {
    await one.receiver(handle, queue);
    one.credit(handle, 5, 0, true);
    const flow = await one.raw.next('flow', ({ drain }) => drain);
    t.equal(flow.deliveryCount, 5, 'nothing was there');
  }
});

t.test('presettled both ways, and receivers that settle second', async (t) => {
  const { client } = await startNodeServer(t);
  const one = await client();
  await one.sender(0, '/queues/q');
  one.raw.transfer({ handle: 0, deliveryId: one.nextId(), settled: true }, messageOf('m'));
  await one.receiver(1, '/queues/q', 1, {}, { senderSettleMode: 1 });
  const transfer = await one.transfer();
  t.same([textOf(transfer), transfer.settled], ['m', true]);
  await one.detach(1);
  await one.receiver(2, '/queues/q', 1, {}, { receiverSettleMode: 1 });
  await one.send(0, 'second');
  const { deliveryId, payload } = await one.transfer();
  t.equal(readMessage(payload).body.length, 1);
  one.raw.disposition(deliveryId!, deliveryId, { settled: false, state: { kind: 'accepted' } });
  const answer = await one.raw.next('disposition', ({ role }) => role === 'sender');
  t.match(answer, { first: deliveryId, settled: true, state: { kind: 'accepted' } });
  await one.detach(2);
  await one.receiver(3, '/queues/q');
  one.credit(3, 1, 0, true);
  t.equal((await one.raw.next('flow', ({ drain }) => drain)).deliveryCount, 1, 'it was durable');
});

t.test('credit: drained with and without messages, while waiting, and taken back', async (t) => {
  const { client } = await startNodeServer(t);
  const one = await client();
  await linked(one, 10);
  one.credit(1, 10, 0, true);
  t.match(await one.raw.next('flow', ({ drain }) => drain), { deliveryCount: 10, linkCredit: 0 });
  await one.send(0, 'a');
  await one.send(0, 'b');
  one.credit(1, 5, 10, true);
  t.same(await one.texts(2), ['a', 'b']);
  t.match(await one.raw.next('flow', ({ drain }) => drain), { deliveryCount: 15, linkCredit: 0 });
  // A drain that is taken back at once leaves credit that counts.
  one.credit(1, 1, 15);
  await one.raw.seen();
  one.raw.send(
    ...[true, false].map((drain) => ({
      kind: 'flow' as const,
      incomingWindow: 10_000,
      nextIncomingId: 2,
      nextOutgoingId: 2,
      outgoingWindow: 1000,
      handle: 1,
      deliveryCount: 15,
      linkCredit: 3,
      drain,
      echo: false,
    })),
  );
  await one.raw.seen();
  const [flow] = one.raw.received.filter(({ kind }) => kind === 'flow');
  if (flow !== undefined) one.credit(1, 3, 18);
  await one.send(0, 'c');
  t.same(await one.texts(1), ['c']);
  // Credit taken back while a receive waits: another link gets the message.
  one.credit(1, 0, flow === undefined ? 16 : 19);
  await one.raw.seen();
  await one.send(0, 'd');
  await one.receiver(2, '/queues/q', 1);
  const transfer = await one.transfer();
  t.same([textOf(transfer), transfer.handle, count(transfer.payload)], ['d', 2, 0]);
});

t.test('message groups stay in order over several receivers', async (t) => {
  const { client } = await startNodeServer(t);
  const [one, two] = [await client('one'), await client('two')];
  await one.sender(0, '/queues/q');
  const sent = [['a1', 'a'], ['b1', 'b'], ['x'], ['a2', 'a'], ['y']] as const;
  for (const [text, groupId] of sent) {
    await one.send(0, messageOf(text, groupId === undefined ? {} : { groupId: str(groupId) }));
  }
  await one.receiver(1, '/queues/q', 1);
  const first = await one.transfer();
  t.equal(textOf(first), 'a1');
  await two.receiver(1, '/queues/q', 10);
  const others = await two.raw.many('transfer', 3);
  t.same(others.map(textOf), ['b1', 'x', 'y'], 'a2 waits until a1 has its outcome');
  two.raw.disposition(others[0]!.deliveryId!, others.at(-1)!.deliveryId);
  await two.raw.seen();
  t.same(two.raw.kinds(), []);
  one.raw.disposition(first.deliveryId!, first.deliveryId, { state: FAILED });
  const again = await two.raw.many('transfer', 2);
  t.same(
    again.map((transfer) => [textOf(transfer), count(transfer.payload)]),
    [
      ['a1', 1],
      ['a2', 0],
    ],
    'the group goes on with who asks next, at its oldest message',
  );
  two.raw.destroy();
  one.credit(1, 5, 1);
  t.same(await one.texts(2), ['a1', 'a2']);
});

t.test('a receiver goes on with the message groups it has something of, and nobody else does', async (t) => {
  const { client } = await startNodeServer(t);
  const [one, two] = [await client('one'), await client('two')];
  await one.sender(0, '/queues/q');
  const send = (text: string) => one.send(0, messageOf(text, { groupId: str(text[0]!) }));
  for (const text of ['a1', 'a2', 'a3', 'b1']) await send(text);
  await one.receiver(1, '/queues/q', 1);
  const a1 = await one.transfer();
  await two.receiver(1, '/queues/q', 10);
  const b1 = await two.transfer();
  t.same([a1, b1].map(textOf), ['a1', 'b1']);
  one.credit(1, 1, 1);
  const a2 = await one.transfer();
  t.equal(textOf(a2), 'a2');
  one.raw.disposition(a1.deliveryId!);
  one.credit(1, 5, 2);
  t.same(await one.texts(1), ['a3']);
  for (const text of ['a4', 'b2']) await send(text);
  t.same([textOf(await one.transfer()), textOf(await two.transfer())], ['a4', 'b2'], 'each waits for its own');
  one.raw.disposition(a2.deliveryId!, undefined, { state: FAILED });
  const again = await one.transfer();
  t.same([textOf(again), count(again.payload)], ['a2', 1]);
  // The link ends: the other one gets it all, in order.
  await one.detach(1);
  t.same((await two.raw.many('transfer', 3)).map(textOf), ['a2', 'a3', 'a4']);
});

t.test('a higher priority overtakes, message groups keep their order', async (t) => {
  const { client, broker } = await startNodeServer(t);
  const [one, two] = [await client('one'), await client('two')];
  await one.sender(0, '/queues/q');
  const send = (text: string, priority?: number, groupId?: string) =>
    one.send(0, Buffer.concat([priorityHeader(priority), messageOf(text, groupId ? { groupId: str(groupId) } : {})]));
  for (const text of ['a', 'b']) await send(text);
  await send('low', 0);
  t.equal(broker.topics.get('q')?.queues, 1, 'nobody needs more');
  await send('nine 1', 9);
  await send('five', 5);
  await send('nine 2', 9);
  await send('c');
  await send('beyond', 200);
  await send('g1', 4, 'g');
  await send('g2', 9, 'g');
  t.equal(broker.topics.get('q')?.queues, 6);
  const all = ['nine 1', 'nine 2', 'beyond', 'five', 'a', 'b', 'low', 'c', 'g1', 'g2'];
  await one.receiver(1, '/queues/q', 0, { distributionMode: 'copy' });
  await two.receiver(1, '/queues/q', 10);
  const got = await two.raw.many('transfer', 10);
  t.same(got.map(textOf), all);
  t.same(readMessage(got[0]!.payload).header[1], { type: 'ubyte', value: 9 });
  one.credit(1, 10);
  t.same(await one.texts(10), all, 'a browser sees them so, too');
  await send('nine 3', 9);
  two.raw.disposition(got[0]!.deliveryId!, got.at(-1)!.deliveryId);
  await two.raw.seen();
  two.credit(1, 5, 10);
  t.same(await two.texts(1), ['nine 3']);
});
t.test('how many messages wait: of a group, a subscription, a browser, a temporary queue', async (t) => {
  const { client, clock } = await startNodeServer(t, { nodes: { temporary: { messagesMax: 10, bytesMax: 10_000 } } });
  const one = await client();
  const two = await client('two');
  await linked(one, 0);
  t.equal(await one.available(1), 0);
  for (const text of ['a', 'b', 'c', 'd']) await one.send(0, text);
  t.equal(await one.available(1), 4);
  await two.receiver(1, '/queues/q', 0, { distributionMode: 'copy' });
  t.equal(await two.available(1), 4);
  // What is out is not waiting, whoever has it; what came back is.
  one.credit(1, 3);
  const [first, second] = await one.raw.many('transfer', 3);
  t.equal(await one.available(1, 3), 1);
  one.raw.disposition(first!.deliveryId!, undefined, { state: { kind: 'accepted' } });
  one.raw.disposition(second!.deliveryId!, undefined, { state: { kind: 'released' } });
  await one.raw.seen();
  await clock.advance(0);
  t.equal(await one.available(1, 3), 2);
  two.credit(1, 3);
  await two.raw.many('transfer', 3);
  t.equal(await two.available(1, 3), 1, 'a browser has seen three');
  await two.receiver(2, '/queues/q');
  t.equal(await two.available(2), 2);

  await two.receiver(3, '/topics/t');
  t.equal(await two.available(3), 0);
  await one.sender(3, '/topics/t');
  for (let i = 0; i < 3; i++) await one.send(3, 'x');
  t.equal(await two.available(3), 3);

  const { address } = await two.receiver(4, undefined, 0, { dynamic: true });
  await one.sender(4, address);
  for (let i = 0; i < 5; i++) await one.send(4, 'y');
  t.equal(await two.available(4), 5);
  two.credit(4, 2);
  await two.raw.many('transfer', 2);
  t.equal(await two.available(4, 2), 3);
});

t.test('a drain in a small window gives back no credit before everything is sent', async (t) => {
  const { client } = await startNodeServer(t, { nodes: { temporary: { messagesMax: 10, bytesMax: 10_000 } } });
  const one = await client();
  const { address } = await one.receiver(1, undefined, 0, { dynamic: true });
  await one.sender(0, address);
  for (let i = 0; i < 5; i++) await one.send(0, `${i}`);
  one.raw.incomingWindow = 2;
  one.credit(1, 9, 0, true);
  const texts: string[] = [];
  for (const count of [2, 2, 1]) {
    texts.push(...(await one.texts(count)));
    if (texts.length < 5) t.notOk(one.raw.kinds().includes('flow'), 'something is there');
    one.raw.flow();
  }
  t.same(texts, ['0', '1', '2', '3', '4']);
  t.match(await one.raw.next('flow', ({ drain }) => drain), { deliveryCount: 9, linkCredit: 0, available: 0 });
});

t.test(
  'a message larger than its receiver takes goes to the dead letter queue, also of a presettled link',
  async (t) => {
    const { client } = await startNodeServer(t);
    const one = await client();
    await one.sender(0, '/queues/q');
    for (const senderSettleMode of [0, 1] as const) {
      const handle = 1 + senderSettleMode;
      await one.receiver(handle, '/queues/q', 10, {}, { senderSettleMode, maxMessageSize: 100 });
      const large = `${handle}${'x'.repeat(100)}`;
      for (const text of ['before', large, 'behind']) await one.send(0, text);
      for (const text of ['before', 'behind']) {
        const transfer = await one.transfer();
        t.same([textOf(transfer), transfer.settled], [text, senderSettleMode === 1]);
        if (!transfer.settled) one.raw.disposition(transfer.deliveryId!);
      }
      await one.receiver(3, '/queues/q/$deadletterqueue', 1);
      const dead = await one.transfer();
      t.equal(textOf(dead), large);
      one.raw.disposition(dead.deliveryId!);
      await one.detach(3);
      await one.detach(handle);
    }
    await one.receiver(4, '/queues/q');
    t.equal(await one.available(4), 0, 'nothing else is left');
  },
);

t.test('links of one session share its window and its messages in order', async (t) => {
  const { client } = await startNodeServer(t);
  const one = await client();
  await linked(one, 0);
  await one.receiver(2, '/queues/q2');
  await one.sender(3, '/queues/q2');
  for (let i = 0; i < 10; i++) {
    await one.send(0, `a${i}`);
    await one.send(3, `b${i}`);
  }
  one.raw.incomingWindow = 3;
  one.credit(1, 10);
  one.credit(2, 10);
  const texts: string[] = [];
  while (texts.length < 20) {
    texts.push(textOf(await one.transfer()));
    if (texts.length % 3 === 0) one.raw.flow();
  }
  for (const letter of ['a', 'b']) {
    t.same(
      texts.filter((text) => text.startsWith(letter)),
      Array.from({ length: 10 }, (_, i) => `${letter}${i}`),
    );
  }
});

t.test('producers: a message too large, and a storage that is full', async (t) => {
  const { client, clock, broker } = await startNodeServer(t, {
    storage: openMemoryEngine(200_000),
    nodes: { messageBytesMax: 62_000, linkCredit: 4 },
  });
  const one = await client();
  await one.sender(0, '/queues/q');
  await one.receiver(1, '/queues/q');
  const big = 'x'.repeat(60_000);
  let outcome: string | undefined;
  for (let i = 0; i < 9 && outcome !== 'amqp:resource-limit-exceeded'; i++) outcome = await one.send(0, big);
  t.equal(outcome, 'amqp:resource-limit-exceeded');
  await one.raw.seen();
  one.raw.received.length = 0;
  await clock.advance(999);
  await one.raw.seen();
  t.same(one.raw.kinds(), [], 'no credit while it is full');
  await broker.groups.purge('q', { kind: 'topic', topic: 'q' });
  await clock.advance(1);
  t.match(await one.raw.next('flow', ({ handle }) => handle === 0), { linkCredit: 4 });
  one.raw.transfer({ handle: 0, deliveryId: one.nextId() }, messageOf('x'.repeat(62_001)));
  t.match(await one.raw.next('detach'), { error: { condition: 'amqp:link:message-size-exceeded' } });
});

t.test('selectors share a queue; filters are echoed where they are honoured', async (t) => {
  const { client } = await startNodeServer(t);
  const one = await client();
  await one.sender(0, '/queues/q');
  const noLocal: Filter = { descriptor: 'apache.org:no-local-filter:list', value: { type: 'list', value: [] } };
  const unknown: Filter = { descriptor: 'some:other', value: str('x') };
  const filters = new Map([...selector("kind = 'a'"), ['nl', noLocal], ['u', unknown]]);
  const granted = await one.receiver(1, '/queues/q', 10, { filters });
  t.same([...granted.filters.keys()], ['sel'], 'no-local means nothing to members of a group');
  await one.receiver(2, '/queues/q', 10, { filters: selector("kind = 'b'") });
  for (const kind of ['a', 'b', 'c', 'b', 'a', 'c']) {
    await one.send(0, messageOf(kind, {}, {}, { kind: str(kind) }));
  }
  const transfers = await one.raw.many('transfer', 4);
  const of = (handle: number): string[] => transfers.filter((one) => one.handle === handle).map(textOf);
  t.same(
    [of(1), of(2)],
    [
      ['a', 'a'],
      ['b', 'b'],
    ],
  );
  await one.receiver(3, '/queues/q', 10);
  t.same(await one.texts(2), ['c', 'c']);
  const refusal = one.receiver(4, '/queues/q', 0, { filters: selector('kind = = 1') });
  await t.rejects(refusal, { message: 'amqp:invalid-field' });
});

t.test('browsing shows everything, takes nothing, and goes on', async (t) => {
  const { client } = await startNodeServer(t);
  const one = await client();
  await one.sender(0, '/queues/q');
  for (const text of ['a', 'b', 'c']) await one.send(0, messageOf(text, {}, {}, { kind: str(text) }));
  await one.receiver(1, '/queues/q', 2, { distributionMode: 'copy' });
  t.same(await one.texts(2), ['a', 'b']);
  await one.receiver(2, '/queues/q', 0, { distributionMode: 'copy', filters: selector("kind <> 'b'") });
  one.credit(2, 10, 0, true);
  t.same(await one.texts(2), ['a', 'c']);
  t.match(await one.raw.next('flow', ({ drain }) => drain), { deliveryCount: 10, linkCredit: 0 });
  one.credit(1, 2, 2);
  t.same(await one.texts(1), ['c']);
  await one.send(0, 'd');
  t.same(await one.texts(1), ['d'], 'what comes later is shown, too');
  // Two browsers in a small session window.
  one.raw.incomingWindow = 1;
  await one.receiver(3, '/queues/q', 10, { distributionMode: 'copy' });
  await one.receiver(4, '/queues/q', 10, { distributionMode: 'copy' });
  const seen: string[] = [];
  while (seen.length < 8) {
    seen.push(textOf(await one.transfer()));
    one.raw.flow();
  }
  t.same(seen.toSorted(), ['a', 'a', 'b', 'b', 'c', 'c', 'd', 'd']);
  one.raw.incomingWindow = 1000;
  await one.receiver(5, '/queues/q', 10);
  t.same(await one.texts(4), ['a', 'b', 'c', 'd']);
});

t.test('dynamic nodes live as long as their link, and are limited', async (t) => {
  const { client, context, broker } = await startNodeServer(t);
  const one = await client();
  const two = await client('two');
  const { address } = await one.receiver(1, undefined, 0, { dynamic: true });
  await two.sender(0, address);
  await two.sender(1, undefined);
  t.equal(await two.send(0, 'a'), 'accepted');
  t.equal(await two.send(1, messageOf('b', { to: str(address!) })), 'accepted');
  t.equal(await two.send(0, 'c'), 'amqp:resource-limit-exceeded', 'it is full');
  one.credit(1, 10);
  const [a, b] = await one.raw.many('transfer', 2);
  t.same([textOf(a!), textOf(b!)], ['a', 'b']);
  one.raw.disposition(a!.deliveryId!, a!.deliveryId, { state: { kind: 'released' } });
  one.raw.disposition(b!.deliveryId!, b!.deliveryId, { state: FAILED });
  const again = await one.raw.many('transfer', 2);
  t.same(again.map((one) => `${textOf(one)} ${count(one.payload)}`).toSorted(), ['a 0', 'b 1']);
  // A temporary topic: everybody who reads gets everything.
  const made = await one.raw.attach({
    role: 'sender',
    handle: 2,
    name: 'topic',
    target: targetOf(undefined, { dynamic: true, capabilities: ['temporary-topic'] }),
  });
  const topic = made.target?.kind === 'target' ? made.target.address : undefined;
  await two.receiver(3, topic, 5);
  await two.receiver(4, topic, 5);
  await one.raw.next('flow');
  one.raw.transfer({ handle: 2, deliveryId: one.nextId() }, messageOf('all'));
  t.same(await two.texts(2), ['all', 'all']);
  await one.receiver(5, undefined, 0, { dynamic: true });
  await t.rejects(one.receiver(6, undefined, 0, { dynamic: true }), { message: 'amqp:resource-limit-exceeded' });
  // Gone with its link, for everybody.
  await one.detach(2);
  for (let i = 0; i < 2; i++) {
    t.match(await two.raw.next('detach'), { error: { condition: 'amqp:resource-deleted' } });
  }
  await one.detach(1, false);
  t.equal(await two.send(1, messageOf('late', { to: str(address!) })), 'amqp:not-found');
  two.raw.transfer({ handle: 0, deliveryId: two.nextId() }, messageOf('late'));
  t.match(await two.raw.next('detach'), { error: { condition: 'amqp:resource-deleted' } });
  await t.rejects(two.receiver(9, address), { message: 'amqp:not-found' });
  await t.rejects(two.sender(10, address), { message: 'amqp:not-found' });
  t.equal(broker.topics.list().length, 0, 'nothing lasting came of it');
  one.raw.destroy();
  await one.raw.ended();
  await settled();
  await two.raw.seen();
  t.equal(context.temporary.count, 0);
});

t.test('exchanges send to what is bound, and release what nobody gets', async (t) => {
  const { client, broker } = await startNodeServer(t);
  const { exchanges } = broker;
  for (const type of ['direct', 'fanout', 'topic', 'headers'] as const)
    await exchanges.declare({ name: type, type, arguments: {} });
  const bind = (exchange: string, queue: string, key: string, args = {}): Promise<void> =>
    exchanges.bind({ exchange, queue, key, arguments: args });
  const one = await client();
  for (const [i, queue] of ['q1', 'q2'].entries()) await one.receiver(i, `/queues/${queue}`, 100);
  await bind('direct', 'q1', 'k');
  await bind('fanout', 'q1', '');
  await bind('fanout', 'q2', '');
  await bind('topic', 'q2', 'a.*.c');
  await bind('headers', 'q1', '', { kind: 'x' });
  const cases: [address: string, message: Buffer, handles: number[]][] = [
    ['/exchanges/direct/k', messageOf('m'), [0]],
    ['/exchanges/direct/other', messageOf('m'), []],
    ['/exchanges/direct', messageOf('m', { subject: str('k') }), [0]],
    ['/exchanges/fanout/any', messageOf('m'), [0, 1]],
    ['/exchanges/topic/a.b.c', messageOf('m'), [1]],
    ['/exchanges/topic/a.c', messageOf('m'), []],
    ['/exchanges/headers', messageOf('m', {}, {}, { kind: str('x') }), [0]],
    ['/exchanges/headers', messageOf('m', {}, {}, { kind: str('y') }), []],
  ];
  for (const [i, [address, message, handles]] of cases.entries()) {
    await one.sender(10 + i, address);
    t.equal(await one.send(10 + i, message), handles.length === 0 ? 'released' : 'accepted', address);
    const transfers = await one.raw.many('transfer', handles.length);
    t.same(
      transfers.map(({ handle }) => handle).toSorted((a, b) => a - b),
      handles,
      address,
    );
  }
});
