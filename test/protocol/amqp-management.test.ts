import t, { type Test } from 'tap';
import type { AmqpValue } from '../../adapters/amqp/v1/codec/values.ts';
import { RawAmqpClient, sourceOf, targetOf } from '../helpers/amqp-client.ts';
import {
  bin,
  bool,
  bytesOf,
  mapOf,
  NULL,
  propertiesOf,
  readMessage,
  str,
  sym,
  uint,
  ulong,
} from '../helpers/amqp-messages.ts';
import { startTestGateway } from '../helpers/gateway.ts';

/** RabbitMQ's management over AMQP 1.0, byte by byte as its clients use it: a pair of links to `/management`. */

const { gateway, amqpPorts } = await startTestGateway(['engine.type=memory']);
t.teardown(() => gateway.stop());

const TO = 0;
const FROM = 1;
const PAIRED = new Map([['paired', bool(true)]]);
const LINK = { name: 'management-link-pair', senderSettleMode: 1, properties: PAIRED } as const;

interface Answer {
  readonly status: string;
  readonly body: AmqpValue | undefined;
  readonly correlationId: AmqpValue | undefined;
}

class ManagementClient {
  readonly raw: RawAmqpClient;
  /** Of all links: their ids follow each other (AMQP 2.5.6). */
  sent = 0;

  private readonly t: Test;

  constructor(t: Test, raw: RawAmqpClient) {
    this.t = t;
    this.raw = raw;
  }

  static async connect(t: Test, credit = 100): Promise<ManagementClient> {
    const raw = await RawAmqpClient.opened(amqpPorts[0]!);
    t.teardown(() => raw.destroy());
    const target = { handle: TO, target: targetOf('/management'), source: sourceOf('/management') };
    await raw.sender('/management', { ...LINK, ...target });
    await raw.receiver('/management', credit, { ...LINK, handle: FROM, target: targetOf('/management') });
    return new ManagementClient(t, raw);
  }

  send(method: string, to: string, body: AmqpValue = NULL, messageId: AmqpValue = str(`id ${this.sent}`)): void {
    const properties = { messageId, to: str(to), subject: str(method), replyTo: str('$me') };
    const message = bytesOf([propertiesOf(properties), ['amqpValue', body]]);
    this.raw.transfer({ handle: TO, deliveryId: this.sent++, settled: true }, message);
  }

  async answer(): Promise<Answer> {
    const { payload, handle, settled } = await this.raw.next('transfer');
    if (handle !== FROM || settled !== true) throw new Error('the answer is not settled, or on another link');
    const { properties, applicationProperties, body } = readMessage(payload);
    this.t.same(applicationProperties.get('http:response'), str('1.1'));
    this.t.equal(properties.subject?.type, 'string');
    const status = (properties.subject as { value: string }).value;
    return { status, body: body[0]?.[1], correlationId: properties.correlationId };
  }

  request(method: string, to: string, body?: AmqpValue): Promise<Answer> {
    this.send(method, to, body);
    return this.answer();
  }

  async status(method: string, to: string, body?: AmqpValue): Promise<string> {
    return (await this.request(method, to, body)).status;
  }
}

let used = 0;
const fresh = (what: string): string => `${what}-${++used}`;
const QUEUE = mapOf({
  durable: bool(true),
  exclusive: bool(false),
  auto_delete: bool(false),
  arguments: mapOf({ 'x-queue-type': str('quorum') }),
});

function fieldOf(map: AmqpValue | undefined, name: string): AmqpValue | undefined {
  if (map?.type !== 'map') return undefined;
  return map.value.find(([key]) => key.type === 'string' && key.value === name)?.[1];
}

function namesIn(list: AmqpValue | undefined, name: string): unknown[] {
  return list?.type === 'list' ? list.value.map((item) => (fieldOf(item, name) as { value: unknown }).value) : [];
}

async function send(client: ManagementClient, handle: number, address: string, count: number): Promise<void> {
  const { raw } = client;
  await raw.sender(address, { handle, name: `to ${address} ${handle}` });
  for (let i = 0; i < count; i++) {
    raw.transfer(
      { handle, deliveryId: client.sent++ },
      bytesOf([['data', { type: 'binary', value: Buffer.from('x') }]]),
    );
  }
  let left = count;
  while (left > 0) {
    const { first, last, state } = await raw.next('disposition');
    if (state?.kind !== 'accepted') throw new Error(`${state?.kind}`);
    left -= (last ?? first) - first + 1;
  }
}

t.test('both links say that they are a pair', async (t) => {
  const raw = await RawAmqpClient.opened(amqpPorts[0]!);
  t.teardown(() => raw.destroy());
  // In either order.
  const from = await raw.receiver('/management', 0, { ...LINK, handle: FROM, target: targetOf('/management') });
  t.same([...from.properties], [...PAIRED]);
  t.equal(from.name, LINK.name);
  t.equal(from.senderSettleMode, 1);
  const to = await raw.attach({ ...LINK, role: 'sender', handle: TO, target: targetOf('/management') });
  t.same([...to.properties], [...PAIRED]);
  t.ok((await raw.next('flow')).linkCredit! > 0);
});

t.test('a queue is declared, looked at, emptied and deleted', async (t) => {
  const client = await ManagementClient.connect(t);
  const queue = fresh('a/b ü%?;=');
  const path = `/queues/${encodeURIComponent(queue)}`;
  t.equal(await client.status('GET', path), '404');
  const created = await client.request('PUT', path, QUEUE);
  t.equal(created.status, '201');
  const expected = {
    name: str(queue),
    vhost: str('/'),
    durable: bool(true),
    exclusive: bool(false),
    auto_delete: bool(false),
    type: str('quorum'),
    arguments: mapOf({}),
    message_count: ulong(0n),
    consumer_count: { type: 'uint', value: 0 },
  };
  for (const [name, value] of Object.entries(expected)) t.same(fieldOf(created.body, name), value, name);
  t.equal(await client.status('PUT', path, QUEUE), '200', 'the same again');
  t.equal(await client.status('PUT', path, NULL), '200', 'everything has a default');
  t.equal(await client.status('PUT', path, mapOf({ arguments: mapOf({}, sym) })), '200');
  await send(client, 2, path, 3);
  t.same(fieldOf((await client.request('GET', path)).body, 'message_count'), ulong(3n));
  const purged = await client.request('DELETE', `${path}/messages`);
  t.equal(purged.status, '200');
  t.same(purged.body, mapOf({ message_count: ulong(3n) }));
  await client.raw.receiver(path, 0, { handle: 3, name: 'reader' });
  const looked = await client.request('GET', path);
  t.same(fieldOf(looked.body, 'message_count'), ulong(0n));
  t.same(fieldOf(looked.body, 'consumer_count'), { type: 'uint', value: 1 });
  await client.raw.detach({ handle: 3 });
  await client.raw.detach({ handle: 2 });
  await send(client, 4, path, 2);
  const deleted = await client.request('DELETE', path);
  t.equal(deleted.status, '200');
  t.same(deleted.body, mapOf({ message_count: ulong(2n) }));
  t.equal(await client.status('GET', path), '404');
  t.equal(await client.status('DELETE', `${path}/messages`), '404');
  t.same((await client.request('DELETE', path)).body, mapOf({ message_count: ulong(0n) }), 'gone is gone');
  t.equal(await client.status('PUT', path), '201');
  // Who reads it is told.
  await client.raw.receiver(path, 5, { handle: 5, name: 'left behind' });
  await client.raw.seen();
  t.equal(await client.status('DELETE', path), '200');
  t.match(await client.raw.next('detach'), { closed: true, error: { condition: 'amqp:resource-deleted' } });
});

t.test('exchanges and bindings', async (t) => {
  const client = await ManagementClient.connect(t);
  const [exchange, queue, other] = [fresh('x/ü'), fresh('q;='), fresh('q')];
  const x = encodeURIComponent(exchange);
  const q = encodeURIComponent(queue);
  const bind = (destination: string, key: string, args: AmqpValue = mapOf({})): Promise<string> =>
    client.status(
      'POST',
      '/bindings',
      mapOf({ source: str(exchange), destination_queue: str(destination), binding_key: str(key), arguments: args }),
    );
  t.equal(await bind(queue, 'k'), '404', 'no queue');
  for (const name of [queue, other]) t.equal(await client.status('PUT', `/queues/${encodeURIComponent(name)}`), '201');
  t.equal(await bind(queue, 'k'), '404', 'no exchange');
  const fields = mapOf({ type: str('topic'), durable: bool(true), auto_delete: bool(false), arguments: mapOf({}) });
  const declared = await client.request('PUT', `/exchanges/${x}`, fields);
  t.same([declared.status, declared.body], ['204', NULL]);
  t.equal(await client.status('PUT', `/exchanges/${x}`, fields), '204', 'the same again');
  t.equal(await client.status('PUT', `/exchanges/${x}`), '409', 'the default is another type');
  for (const key of ['a.*', 'b #;=&+']) t.equal(await bind(queue, key), '204');
  t.equal(await bind(queue, 'a.*'), '204', 'the same again');
  t.equal(await bind(other, 'a.1', mapOf({ n: ulong(7n), s: str('t') })), '204');
  const all = await client.request('GET', `/bindings?src=${x}`);
  t.equal(all.status, '200');
  t.same(namesIn(all.body, 'binding_key'), ['a.*', 'b #;=&+', 'a.1']);
  t.same(namesIn(all.body, 'source'), [exchange, exchange, exchange]);
  const found = await client.request('GET', `/bindings?src=${x}&dstq=${q}&key=${encodeURIComponent('b #;=&+')}`);
  t.same(namesIn(found.body, 'destination_queue'), [queue]);
  t.same(namesIn((await client.request('GET', `/bindings?src=${x}&dste=${q}&key=k`)).body, 'source'), []);
  t.same(namesIn((await client.request('GET', '/bindings?src=nothing')).body, 'source'), []);

  await send(client, 2, `/exchanges/${x}/a.1`, 1);
  t.same(fieldOf((await client.request('GET', `/queues/${q}`)).body, 'message_count'), ulong(1n));
  t.same(fieldOf((await client.request('GET', `/queues/${other}`)).body, 'message_count'), ulong(1n));

  // Without arguments clients write the location themselves; with them they look for it.
  t.equal(await client.status('DELETE', `/bindings/src=${x};dstq=${q};key=a.%2A;args=`), '204');
  const [location] = namesIn(
    (await client.request('GET', `/bindings?src=${x}&dstq=${other}&key=a.1`)).body,
    'location',
  );
  t.equal(await client.status('DELETE', `/bindings/src=${x};dstq=${other};key=a.1;args=`), '204', 'another one');
  t.same(namesIn((await client.request('GET', `/bindings?src=${x}`)).body, 'binding_key'), ['b #;=&+', 'a.1']);
  t.equal(await client.status('DELETE', String(location)), '204');
  t.equal(await client.status('DELETE', String(location)), '204', 'gone is gone');
  t.same(namesIn((await client.request('GET', `/bindings?src=${x}`)).body, 'binding_key'), ['b #;=&+']);
  t.equal(await client.status('DELETE', `/queues/${q}`), '200');
  t.same(namesIn((await client.request('GET', `/bindings?src=${x}`)).body, 'binding_key'), [], 'gone with the queue');
  t.equal(await client.status('DELETE', `/exchanges/${x}`), '204');
  t.equal(await client.status('DELETE', `/exchanges/${x}`), '204');
  t.equal(await bind(other, 'k'), '404');
});

t.test('exchanges that are there from the start', async (t) => {
  const client = await ManagementClient.connect(t);
  const queue = fresh('q');
  await client.request('PUT', `/queues/${queue}`, QUEUE);
  t.equal(await client.status('PUT', '/exchanges/amq.direct', mapOf({ type: str('direct') })), '204');
  for (const [i, name] of ['direct', 'fanout', 'headers', 'match'].entries()) {
    const binding = { source: str(`amq.${name}`), destination_queue: str(queue), binding_key: str('k') };
    t.equal(await client.status('POST', '/bindings', mapOf(binding)), '204', name);
    await send(client, 10 + i, `/exchanges/amq.${name}/k`, 1);
  }
  t.same(fieldOf((await client.request('GET', `/queues/${queue}`)).body, 'message_count'), ulong(4n));
  // Nobody is bound to it with that key.
  await client.raw.sender('/exchanges/amq.direct/other', { handle: 30, name: 'other' });
  client.raw.transfer({ handle: 30, deliveryId: client.sent++ }, bytesOf([['data', bin('x')]]));
  t.same((await client.raw.next('disposition')).state, { kind: 'released' });
});

t.test('a queue may say how often, and where it is kept', async (t) => {
  const client = await ManagementClient.connect(t);
  const queue = fresh('q');
  const declared = (limit: number): AmqpValue =>
    mapOf({ arguments: mapOf({ 'x-delivery-limit': uint(limit), 'x-queue-leader-locator': str('balanced') }) });
  const path = `/queues/${queue}`;
  const created = await client.request('PUT', path, declared(1));
  t.equal(created.status, '201');
  t.same(fieldOf(fieldOf(created.body, 'arguments'), 'x-delivery-limit'), { type: 'long', value: 1n });
  t.equal(await client.status('PUT', path, declared(1)), '200');
  t.equal(await client.status('PUT', path, declared(2)), '409');
  await send(client, 10, path, 1);
  await client.raw.receiver(path, 10, { handle: 11, name: 'reader' });
  const state = { kind: 'modified', deliveryFailed: true, undeliverableHere: false } as const;
  for (const _ of [1, 2]) client.raw.disposition((await client.raw.next('transfer')).deliveryId!, undefined, { state });
  const dead = await client.raw.receiver(`${path}/$deadletterqueue`, 10, { handle: 12, name: 'dead' });
  t.equal((await client.raw.next('transfer')).handle, dead.handle);
});

t.test('a queue with levels of priority', async (t) => {
  const client = await ManagementClient.connect(t);
  const queue = fresh('q');
  const path = `/queues/${queue}`;
  const declared = (n: AmqpValue): AmqpValue => mapOf({ arguments: mapOf({ 'x-max-priority': n }) });
  for (const n of [ulong(0n), ulong(11n), str('many')]) t.equal(await client.status('PUT', path, declared(n)), '400');
  const created = await client.request('PUT', path, declared(uint(10)));
  t.equal(created.status, '201');
  t.same(fieldOf(fieldOf(created.body, 'arguments'), 'x-max-priority'), { type: 'long', value: 10n });
  t.equal(await client.status('PUT', path, declared(uint(10))), '200');
  t.equal(await client.status('PUT', path, declared(uint(3))), '409');
  t.equal(await client.status('PUT', path), '200');
  await client.raw.sender(path, { handle: 10, name: 'sender' });
  for (const priority of [undefined, 0, 3, 200, 10, 9]) {
    const value: AmqpValue = priority === undefined ? NULL : { type: 'ubyte', value: priority };
    const header = bytesOf([['header', { type: 'list', value: [NULL, value] }]]);
    const payload = Buffer.concat([header, bytesOf([['data', bin(String(priority))]])]);
    client.raw.transfer({ handle: 10, deliveryId: client.sent++ }, payload);
    t.match((await client.raw.next('disposition')).state, { kind: 'accepted' });
  }
  await client.raw.receiver(path, 10, { handle: 11, name: 'reader' });
  const got = (await client.raw.many('transfer', 6)).map(({ payload }) => {
    const [, value] = readMessage(payload).body[0]!;
    return value.type === 'binary' ? value.value.toString() : '';
  });
  t.same(got, ['200', '10', '9', '3', 'undefined', '0']);
  // One that was made without them stays as it is.
  t.equal(await client.status('PUT', `/queues/${queue}2`), '201');
  t.equal(await client.status('PUT', `/queues/${queue}2`, declared(uint(2))), '409');
});

t.test('queue arguments that change nothing here are taken, all others refused by name', async (t) => {
  const client = await ManagementClient.connect(t);
  const path = `/queues/${fresh('q')}`;
  const put = (name: string, value: AmqpValue) =>
    client.request('PUT', path, mapOf({ arguments: mapOf({ [name]: value }) }));
  const refused: [string, AmqpValue][] = [
    ['x-message-ttl', ulong(1000n)],
    ['x-dead-letter-exchange', str('x')],
    ['x-dead-letter-routing-key', str('k')],
    ['x-max-length', ulong(1n)],
    ['x-max-length-bytes', ulong(1n)],
    ['x-expires', ulong(1000n)],
    ['x-single-active-consumer', bool(true)],
    ['x-queue-type', str('stream')],
    ['x-anything', str('')],
  ];
  for (const [name, value] of refused) {
    const { status, body } = await put(name, value);
    t.equal(status, '400');
    t.match(body, { value: new RegExp(name) });
  }
  t.equal(await client.status('GET', path), '404');
  const taken: [string, AmqpValue][] = [
    ['x-queue-type', str('quorum')],
    ['x-queue-type', str('classic')],
    ['x-overflow', str('reject-publish')],
    ['x-dead-letter-strategy', str('at-least-once')],
    ['x-single-active-consumer', bool(false)],
    ['x-queue-version', uint(2)],
  ];
  for (const [name, value] of taken) t.match((await put(name, value)).status, /^20[01]$/, name);
});

t.test("an exclusive queue is the connection's alone, and goes with it", async (t) => {
  const [one, two] = [await ManagementClient.connect(t), await ManagementClient.connect(t)];
  const queue = fresh('client.gen-/ü');
  const path = `/queues/${encodeURIComponent(queue)}`;
  const exclusive = mapOf({
    durable: bool(true),
    exclusive: bool(true),
    auto_delete: bool(true),
    arguments: mapOf({}),
  });
  const created = await one.request('PUT', path, exclusive);
  t.equal(created.status, '201');
  t.same(fieldOf(created.body, 'exclusive'), bool(true));
  t.same(fieldOf(created.body, 'name'), str(queue));
  t.equal(await one.status('PUT', path, exclusive), '200');
  t.equal(await two.status('PUT', path, exclusive), '409');
  t.equal(await two.status('PUT', path, QUEUE), '409');
  await send(two, 2, path, 2);
  t.same(fieldOf((await two.request('GET', path)).body, 'message_count'), ulong(2n));
  await two.raw.receiver(path, 0, { handle: 3, name: 'reader' });
  t.equal((await two.raw.next('detach')).error?.condition, 'amqp:resource-locked');
  await one.raw.receiver(path, 10, { handle: 3, name: 'reader' });
  t.equal((await one.raw.many('transfer', 2)).length, 2);
  await one.raw.close();
  t.equal(await two.status('GET', path), '404');
  t.equal(await two.status('PUT', path, QUEUE), '201');
  t.equal(await two.status('PUT', path, exclusive), '409');
});

t.test('what cannot be done is said, and the link lives', async (t) => {
  const client = await ManagementClient.connect(t);
  const name = fresh('q');
  const args = (values: Record<string, AmqpValue>): AmqpValue => mapOf({ arguments: mapOf(values) });
  const cases: [method: string, to: string, body: AmqpValue, status: string][] = [
    ['PUT', '/queues/', NULL, '400'],
    ['PUT', '/queues/%zz', NULL, '400'],
    ['PUT', `/queues/${'x'.repeat(300)}`, NULL, '400'],
    ['PUT', '/queues/amq.mine', NULL, '403'],
    ['PUT', `/queues/${name}`, mapOf({ durable: str('yes') }), '400'],
    ['PUT', `/queues/${name}`, mapOf({ colour: str('red') }), '400'],
    ['PUT', `/queues/${name}`, mapOf({ auto_delete: bool(true) }), '400'],
    ['PUT', `/queues/${name}`, args({ 'x-message-ttl': ulong(1n) }), '400'],
    ['PUT', `/queues/${name}`, args({ 'x-dead-letter-exchange': str('x') }), '400'],
    ['PUT', `/queues/${name}`, args({ 'x-queue-type': str('stream') }), '400'],
    ['PUT', `/queues/${name}`, args({ 'x-delivery-limit': str('many') }), '400'],
    ['PUT', `/queues/${name}`, args({ 'x-delivery-limit': { type: 'long', value: -1n } }), '400'],
    ['PUT', `/queues/${name}/messages`, NULL, '404'],
    ['DELETE', `/queues/${name}/other`, NULL, '404'],
    ['GET', `/queues/${name}`, NULL, '404'],
    ['PUT', '/exchanges/', NULL, '400'],
    ['PUT', '/exchanges/amq.mine', NULL, '403'],
    ['PUT', '/exchanges/x', mapOf({ type: str('x-delayed-message') }), '400'],
    ['PUT', '/exchanges/x', mapOf({ auto_delete: bool(true) }), '400'],
    ['PUT', '/exchanges/x', mapOf({ internal: bool(true) }), '400'],
    ['PUT', '/exchanges/x', args({ 'alternate-exchange': str('y') }), '400'],
    ['DELETE', '/exchanges/amq.direct', NULL, '403'],
    ['PUT', '/exchanges/amq.direct', mapOf({ type: str('fanout') }), '409'],
    ['POST', '/bindings', mapOf({ source: str('amq.topic'), destination_queue: str('q') }), '501'],
    ['PUT', '/exchanges/amq.topic', mapOf({ type: str('topic') }), '204'],
    ['PUT', '/exchanges/amq.topic', mapOf({ type: str('fanout') }), '409'],
    ['DELETE', '/exchanges/amq.topic', NULL, '403'],
    ['POST', '/bindings', NULL, '400'],
    ['POST', '/bindings', mapOf({ source: str('x'), destination_exchange: str('y') }), '400'],
    ['POST', '/bindings', mapOf({ source: str(''), destination_queue: str('q') }), '403'],
    ['DELETE', '/bindings/src=%zz;dstq=q;key=;args=', NULL, '400'],
    ['DELETE', '/bindings/', NULL, '204'],
    ['PATCH', '/queues/q', NULL, '404'],
    ['GET', '/', NULL, '404'],
    ['GET', '', NULL, '404'],
  ];
  for (const [method, to, body, status] of cases) {
    const answer = await client.request(method, to, body);
    t.equal(answer.status, status, `${method} ${to.slice(0, 60)} ${JSON.stringify(answer.body)}`);
    if (status !== '204') t.ok(answer.body?.type === 'string' && answer.body.value.length > 0, 'with an explanation');
  }
  t.equal(await client.status('PUT', `/queues/${name}`), '201', 'none of them made it');
});

t.test('an answer has the id of its request, waits for credit, and keeps the order', async (t) => {
  const client = await ManagementClient.connect(t, 1);
  const ids: AmqpValue[] = [
    { type: 'uuid', value: Buffer.alloc(16, 7) },
    str('text'),
    ulong(2n ** 60n),
    { type: 'binary', value: Buffer.from([0, 255]) },
  ];
  for (const id of ids) client.send('GET', '/queues/none', NULL, id);
  t.same((await client.answer()).correlationId, ids[0]);
  await client.raw.seen();
  t.notOk(client.raw.kinds().includes('transfer'), 'no credit, no answer');
  client.raw.flow({ handle: FROM, deliveryCount: 1, linkCredit: 10 });
  for (const id of ids.slice(1)) t.same((await client.answer()).correlationId, id);
  // Far more requests than the link's first credit.
  client.raw.flow({ handle: FROM, deliveryCount: 4, linkCredit: 200 });
  for (let i = 0; i < 100; i++) t.equal(await client.status('GET', '/queues/none'), '404');
});

t.test('what is no message is refused, and two pairs do not get the answers of each other', async (t) => {
  const client = await ManagementClient.connect(t);
  const pair = { ...LINK, name: 'second pair' };
  await client.raw.sender('/management', { ...pair, handle: 5 });
  const { handle } = await client.raw.receiver('/management', 10, { ...pair, handle: 6 });
  const properties = { messageId: str('m'), to: str('/queues/none'), subject: str('GET'), replyTo: str('$me') };
  const request = bytesOf([propertiesOf(properties), ['amqpValue', NULL]]);
  client.raw.transfer({ handle: 5, deliveryId: client.sent++ }, request);
  t.equal((await client.raw.next('transfer')).handle, handle);
  t.match((await client.raw.next('disposition')).state, { kind: 'accepted' });
  client.raw.transfer({ handle: 5, deliveryId: client.sent++ }, Buffer.from('no message'));
  t.match((await client.raw.next('disposition')).state, { kind: 'rejected' });
});
