import t from 'tap';
import { Descriptor } from '../../adapters/amqp/v1/codec/descriptors.ts';
import type { DeliveryState } from '../../adapters/amqp/v1/codec/performatives.ts';
import type { AmqpValue } from '../../adapters/amqp/v1/codec/values.ts';
import { encodeValue } from '../../adapters/amqp/v1/codec/writer.ts';
import { bin, bool, bytesOf, mapOf, str, sym, ulong, uint } from '../helpers/amqp-messages.ts';
import { messageOf, startNodeServer, textOf, type NodeClient } from '../helpers/amqp-node-server.ts';
import { settled } from '../helpers/manual-clock.ts';

/** AMQP 4: transactions with the real core behind them. */

const COORDINATOR = 9;
const NUMBERS = { declare: ulong(BigInt(Descriptor.declare)), discharge: ulong(BigInt(Descriptor.discharge)) };
const SYMBOLS = { declare: sym('amqp:declare:list'), discharge: sym('amqp:discharge:list') };

function request(descriptor: AmqpValue, fields: readonly AmqpValue[]): Buffer {
  return bytesOf([['amqpValue', { type: 'described', descriptor, value: { type: 'list', value: fields } }]]);
}

async function coordinated(one: NodeClient): Promise<void> {
  const target = { kind: 'coordinator', capabilities: [] } as const;
  const { handle } = await one.raw.attach({ role: 'sender', handle: COORDINATOR, name: 'coordinator', target });
  await one.raw.next('flow', (flow) => flow.handle === handle);
}

/** What the coordinator says to a request. */
async function ask(one: NodeClient, payload: Buffer): Promise<DeliveryState | undefined> {
  const deliveryId = one.nextId();
  one.raw.transfer({ handle: COORDINATOR, deliveryId }, payload);
  return (await one.raw.next('disposition', ({ first }) => first === deliveryId)).state;
}

async function declare(one: NodeClient, { declare: descriptor } = NUMBERS): Promise<Buffer> {
  const state = await ask(one, request(descriptor, []));
  if (state?.kind !== 'declared') throw new Error(`declare was answered by ${state?.kind}`);
  return state.txnId;
}

async function discharge(one: NodeClient, txnId: Buffer, fail = false, { discharge: descriptor } = NUMBERS) {
  const state = await ask(one, request(descriptor, [bin(txnId), bool(fail)]));
  return state?.kind === 'rejected' ? state.error?.condition : state?.kind;
}

const within = (txnId: Buffer): DeliveryState => ({ kind: 'transactional', txnId });
const accept = (txnId: Buffer) => ({ state: { kind: 'transactional', txnId, outcome: { kind: 'accepted' } } }) as const;

t.test('sends and retirements of several transactions, committed and rolled back', async (t) => {
  const { client, context } = await startNodeServer(t);
  const one = await client();
  await coordinated(one);
  await one.sender(0, '/queues/q');
  await one.sender(1, '/queues/in');
  await one.receiver(2, '/queues/q', 100);
  for (const text of ['1', '2']) await one.send(1, text);
  for (const descriptors of [NUMBERS, SYMBOLS]) {
    const [first, second] = [await declare(one, descriptors), await declare(one, descriptors)];
    t.equal(await one.send(0, 'first', within(first)), 'transactional');
    t.equal(await one.send(0, 'second', within(second)), 'transactional');
    await one.raw.seen();
    t.same(one.raw.kinds(), [], 'nothing to be seen before the commit');
    t.equal(await discharge(one, second, true, descriptors), 'accepted');
    t.equal(await discharge(one, first, false, descriptors), 'accepted');
    t.same(await one.texts(1), ['first']);
    t.equal(await discharge(one, first, false, descriptors), 'amqp:transaction:unknown-id');
  }
  await one.receiver(3, '/queues/in', 2);
  const taken = await one.raw.many('transfer', 2);
  const txn = await declare(one);
  for (const { deliveryId } of taken) one.raw.disposition(deliveryId!, deliveryId, accept(txn));
  await one.detach(3);
  t.equal(await discharge(one, txn, true), 'accepted');
  await one.receiver(4, '/queues/in', 2);
  const again = await one.raw.many('transfer', 2);
  t.same(again.map(textOf), ['1', '2'], 'rolled back, at the old place');
  const next = await declare(one);
  one.raw.disposition(again[0]!.deliveryId!, undefined, accept(next));
  one.raw.disposition(again[1]!.deliveryId!, undefined, {
    state: { kind: 'transactional', txnId: next, outcome: { kind: 'rejected' } },
  });
  t.equal(await discharge(one, next), 'accepted');
  await one.receiver(5, '/queues/in/$deadletterqueue', 5);
  t.same(await one.texts(1), ['2']);
  t.equal(context.transactions.count, 0);
});

t.test('what is no request, no id, too many, too large or too late', async (t) => {
  const { client, clock, context } = await startNodeServer(t, { nodes: { transactionBytesMax: 10_000 } });
  const one = await client();
  await coordinated(one);
  await one.sender(0, '/queues/q');
  for (const bad of [
    messageOf('x'),
    request(ulong(0x99n), []),
    request(NUMBERS.discharge, [uint(1)]),
    Buffer.from([9]),
  ]) {
    t.match(await ask(one, bad), { kind: 'rejected' });
  }
  t.match(await ask(one, request(NUMBERS.declare, [bin('global')])), { error: { condition: 'amqp:not-implemented' } });
  t.equal(await discharge(one, Buffer.from('nothing')), 'amqp:transaction:unknown-id');
  const ids = [await declare(one), await declare(one), await declare(one)];
  t.match(await ask(one, request(NUMBERS.declare, [])), { error: { condition: 'amqp:resource-limit-exceeded' } });
  for (let i = 0; i < 2; i++) await one.send(0, 'x'.repeat(6_000), within(ids[0]!));
  t.equal(await discharge(one, ids[0]!), 'amqp:transaction:rollback');
  await clock.advance(60_000);
  t.equal(await one.send(0, 'late', within(ids[1]!)), 'transactional');
  t.equal(await discharge(one, ids[1]!), 'amqp:transaction:rollback');
  // Somebody else's id is none.
  const two = await client('two');
  await two.sender(0, '/queues/q');
  two.raw.transfer({ handle: 0, deliveryId: two.nextId(), state: within(ids[2]!) }, messageOf('x'));
  t.match(await two.raw.next('detach'), { error: { condition: 'amqp:transaction:unknown-id' } });
  one.raw.transfer({ handle: COORDINATOR, deliveryId: one.nextId(), settled: true }, request(NUMBERS.declare, []));
  t.match(await one.raw.next('detach'), { error: { condition: 'amqp:not-allowed' } });
  t.equal(context.transactions.count, 0);
});

for (const loss of ['link', 'session', 'connection'] as const) {
  t.test(`losing the ${loss} of the coordinator rolls back`, async (t) => {
    const { client, context } = await startNodeServer(t);
    const one = await client();
    const two = await client('two');
    await coordinated(one);
    await one.sender(0, '/queues/q');
    await one.sender(1, '/queues/in');
    await one.send(1, 'held');
    await one.receiver(2, '/queues/in', 1);
    const { deliveryId } = await one.transfer();
    const txn = await declare(one);
    await one.send(0, 'sent', within(txn));
    one.raw.disposition(deliveryId!, deliveryId, accept(txn));
    await one.raw.seen();
    if (loss === 'link') await one.detach(COORDINATOR);
    if (loss === 'session') {
      one.raw.send({ kind: 'end' });
      await one.raw.next('end');
    }
    if (loss === 'connection') one.raw.destroy();
    await two.receiver(0, '/queues/in', 1);
    t.same(await two.texts(1), ['held']);
    await two.receiver(1, '/queues/q');
    two.credit(1, 1, 0, true);
    await two.raw.next('flow', ({ drain }) => drain);
    t.equal(context.transactions.count, 0);
  });
}

t.test('discharge waits for what was sent before it, also where its destination is looked up first', async (t) => {
  const { client, context } = await startNodeServer(t);
  const one = await client();
  await coordinated(one);
  await one.sender(0, undefined);
  await one.receiver(1, '/queues/fresh9', 10);
  const txn = await declare(one);
  for (let i = 0; i < 10; i++) {
    const message = messageOf(`m${i}`, { to: str(`/queues/fresh${i}`) });
    one.raw.transfer({ handle: 0, deliveryId: one.nextId(), state: within(txn) }, message);
  }
  // Twice: the second one finds nothing.
  const ids = [one.nextId(), one.nextId()];
  for (const deliveryId of ids) {
    one.raw.transfer({ handle: COORDINATOR, deliveryId }, request(NUMBERS.discharge, [bin(txn), bool(false)]));
  }
  for (const [i, kind] of ['accepted', 'rejected'].entries()) {
    t.equal((await one.raw.next('disposition', ({ first }) => first === ids[i])).state?.kind, kind);
  }
  t.same(await one.texts(1), ['m9']);
  for (let i = 0; i < 9; i++) await one.receiver(10 + i, `/queues/fresh${i}`, 1);
  t.same(
    (await one.texts(9)).toSorted(),
    Array.from({ length: 9 }, (_, i) => `m${i}`),
  );
  await one.raw.seen();
  t.same(
    one.raw.received.filter(({ kind }) => kind === 'transfer'),
    [],
    'each once',
  );
  // A declare that waits behind a discharge when the coordinator goes.
  const last = await declare(one);
  one.raw.transfer(
    { handle: 0, deliveryId: one.nextId(), state: within(last) },
    messageOf('x', { to: str('/queues/y') }),
  );
  for (const payload of [request(NUMBERS.discharge, [bin(last), bool(false)]), request(NUMBERS.declare, [])]) {
    one.raw.transfer({ handle: COORDINATOR, deliveryId: one.nextId() }, payload);
  }
  await one.detach(COORDINATOR);
  await settled();
  await one.raw.seen();
  t.equal(context.transactions.count, 0);
});

t.test('temporary queues and exchanges get what was sent with the commit', async (t) => {
  const { client, broker } = await startNodeServer(t);
  await broker.exchanges.declare({ name: 'x', type: 'fanout', arguments: {} });
  await broker.exchanges.bind({ exchange: 'x', queue: 'bound', key: '', arguments: {} });
  const one = await client();
  await coordinated(one);
  const { address } = await one.receiver(0, undefined, 10, { dynamic: true });
  await one.receiver(1, '/queues/bound', 10);
  await one.sender(2, address);
  await one.sender(3, '/exchanges/x/k');
  for (const fail of [true, false]) {
    const txn = await declare(one);
    t.equal(await one.send(2, `reply ${fail}`, within(txn)), 'transactional');
    t.equal(await one.send(3, `routed ${fail}`, within(txn)), 'transactional');
    await one.raw.seen();
    t.same(one.raw.kinds(), []);
    t.equal(await discharge(one, txn, fail), 'accepted');
  }
  t.same((await one.texts(2)).toSorted(), ['reply false', 'routed false']);
});

/** How a message that was sent in a transaction is answered. */
async function told(one: NodeClient, handle: number, payload: Buffer, state: DeliveryState, settled = false) {
  const deliveryId = one.nextId();
  one.raw.transfer({ handle, deliveryId, state, settled }, payload);
  if (settled) return undefined;
  return (await one.raw.next('disposition', ({ first }) => first === deliveryId)).state;
}

t.test('what is not taken is answered within its transaction, and is the end of it', async (t) => {
  const { client, broker } = await startNodeServer(t);
  await broker.exchanges.declare({ name: 'x', type: 'direct', arguments: {} });
  const one = await client();
  await coordinated(one);
  await one.sender(0, undefined);
  await one.sender(1, '/exchanges/x/k');
  await one.sender(2, '/queues/q');
  await one.receiver(3, '/queues/q', 10);
  const rejected = (condition: string) => ({ kind: 'rejected', error: { condition } });
  const cases = [
    [1, messageOf('unroutable'), { kind: 'released' }],
    [2, Buffer.from([0xff]), rejected('amqp:decode-error')],
    [0, messageOf('to nobody'), rejected('amqp:precondition-failed')],
    [0, messageOf('to none', { to: str('topic://+/a') }), rejected('amqp:invalid-field')],
  ] as const;
  for (const isSettled of [false, true]) {
    for (const [handle, payload, outcome] of cases) {
      const txn = await declare(one);
      t.match(await told(one, 2, messageOf('before'), within(txn)), { outcome: { kind: 'accepted' } });
      const state = await told(one, handle, payload, within(txn), isSettled);
      if (!isSettled) {
        t.match(state, { kind: 'transactional', txnId: txn, outcome });
        const behind = await told(one, 2, messageOf('behind'), within(txn));
        t.match(behind, { kind: 'transactional', outcome: rejected('amqp:transaction:rollback') });
      }
      t.equal(await discharge(one, txn), 'amqp:transaction:rollback');
    }
  }
  await one.raw.seen();
  t.same(one.raw.kinds(), [], 'none of it happened');
  // A batch has one answer.
  const txn = await declare(one);
  const deliveryId = one.nextId();
  const batch = bytesOf([messageOf('good'), Buffer.from([0xff])].map((value) => ['data', { type: 'binary', value }]));
  one.raw.transfer({ handle: 2, deliveryId, state: within(txn), messageFormat: 0x8001_3700 }, batch);
  t.match((await one.raw.next('disposition')).state, {
    kind: 'transactional',
    txnId: txn,
    outcome: rejected('amqp:decode-error'),
  });
  t.equal(await discharge(one, txn), 'amqp:transaction:rollback');
});

t.test('messages are not acquired in a transaction', async (t) => {
  const { client } = await startNodeServer(t);
  const one = await client();
  await coordinated(one);
  const txn = await declare(one);
  await one.sender(0, '/queues/q');
  await one.receiver(1, '/queues/q');
  const flow = (handle: number, txnId: AmqpValue): void => {
    const fields = [uint(0), uint(100), uint(0), uint(100), uint(handle), uint(0), uint(5)];
    const nulls = [0, 1, 2].map((): AmqpValue => ({ type: 'null' }));
    const value: AmqpValue = { type: 'list', value: [...fields, ...nulls, mapOf({ 'txn-id': txnId }, sym)] };
    const descriptor = ulong(BigInt(Descriptor.flow));
    const body = encodeValue({ type: 'described', descriptor, value });
    const head = Buffer.from([0, 0, 0, 8 + body.length, 2, 0, 0, 0]);
    one.raw.stream.write(Buffer.concat([head, body]));
  };
  flow(1, { type: 'null' });
  await one.send(0, 'm');
  t.equal(textOf(await one.transfer()), 'm', 'null names none');
  flow(1, bin(txn));
  t.match(await one.raw.next('detach'), { error: { condition: 'amqp:not-implemented' } });
});
