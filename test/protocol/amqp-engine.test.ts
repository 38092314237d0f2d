import t from 'tap';
import {
  ACCEPTED,
  RELEASED,
  type DeliveryState,
  type Open,
  type Role,
} from '../../adapters/amqp/v1/codec/performatives.ts';
import { encodeFrame, encodeSaslFrame } from '../../adapters/amqp/v1/codec/frame-encoder.ts';
import { writeFrameHeader } from '../../adapters/amqp/v1/codec/frame-writer.ts';
import { PROTOCOL_HEADERS } from '../../adapters/amqp/v1/codec/protocol-header.ts';
import type { AmqpOptions } from '../../adapters/amqp/v1/options.ts';
import { hashPassword } from '../../gateway/security/password.ts';
import { scramVerifierOf } from '../../gateway/security/scram.ts';
import {
  attachFrame,
  beginFrame,
  flowFrame,
  openFrame,
  RawAmqpClient,
  sourceOf,
  targetOf,
  transferFrame,
} from '../helpers/amqp-client.ts';
import { str } from '../helpers/amqp-messages.ts';
import { TestNodes } from '../helpers/amqp-nodes.ts';
import { startAmqpServer, type AmqpServer } from '../helpers/amqp-server.ts';
import { settled } from '../helpers/manual-clock.ts';
import { Random, seeds } from '../helpers/random.ts';
import { ScramClient } from '../helpers/scram-client.ts';
import { SILENT } from '../helpers/silent-logger.ts';
import { streamPair } from '../helpers/stream-pair.ts';

/**
 * The protocol engine against a raw client: frames in, frames out, with nodes of the test behind it. The tests of the first
 * part are named after the defects that a stock server on rhea has.
 */

/** A message whose body is the string `x`. */
const BODY = Buffer.from([0, 0x53, 0x77, 0xa1, 1, 0x78]);
const REJECTED: DeliveryState = { kind: 'rejected', error: { condition: 'amqp:internal-error', description: 'no' } };

interface Started {
  readonly nodes: TestNodes;
  readonly server: AmqpServer;
  /** With a session on channel 0. */
  readonly client: RawAmqpClient;
}

async function start(t: { teardown(done: () => unknown): void }, options: Partial<AmqpOptions> = {}): Promise<Started> {
  const nodes = new TestNodes();
  const server = await startAmqpServer(nodes, { options });
  t.teardown(() => server.close());
  const client = await RawAmqpClient.opened(server.port);
  t.teardown(() => client.destroy());
  return { nodes, server, client };
}

/** The header of an AMQP or SASL frame, and what stands in it. */
function rawFrame(type: 0 | 1, body: Buffer, size = 8 + body.length): Buffer {
  const header = Buffer.alloc(8);
  writeFrameHeader(header, 0, size, type, 0);
  return Buffer.concat([header, body]);
}

t.test('defect 1: outcomes of one turn are never merged', async (t) => {
  const { nodes, client } = await start(t);
  await client.sender('q');
  const states = [ACCEPTED, REJECTED, RELEASED, ACCEPTED, ACCEPTED];
  const { target } = nodes;
  target.onDelivery = ({ deliveryId }) => {
    if (deliveryId === 4) for (const [id, state] of states.entries()) target.link.answer(id, state);
  };
  client.write(...states.map((_, deliveryId) => transferFrame({ deliveryId }, BODY)));
  const dispositions = await client.many('disposition', 4);
  t.same(
    dispositions.map(({ first, last, settled, state }) => [first, last, settled, state?.kind]),
    [
      [0, 0, true, 'accepted'],
      [1, 1, true, 'rejected'],
      [2, 2, true, 'released'],
      [3, 4, true, 'accepted'],
    ],
  );
});

t.test('defect 2: one name in both directions is two links', async (t) => {
  const { nodes, client } = await start(t);
  const name = 'management-link-pair';
  client.send(
    attachFrame({ name, handle: 0, role: 'sender', target: targetOf('/management') }),
    attachFrame({ name, handle: 1, role: 'receiver', source: sourceOf('/management') }),
  );
  const answers = await client.many('attach', 2);
  t.same(answers.map(({ role }) => role).toSorted(), ['receiver', 'sender']);
  client.transfer({ handle: 0, deliveryId: 0 }, BODY);
  client.flow({ handle: 1, deliveryCount: 0, linkCredit: 1 });
  await client.seen();
  nodes.source.put(nodes.target.deliveries[0]!.payload);
  t.same((await client.next('transfer')).payload, BODY);
});

for (const [number, first] of [
  ['3', BODY.subarray(0, 4)],
  ['3b', BODY],
] as const) {
  t.test(`defect ${number}: an aborted delivery is forgotten`, async (t) => {
    const { nodes, client } = await start(t);
    await client.sender('q');
    client.transfer({ deliveryId: 0, more: true }, first);
    client.transfer({ aborted: true });
    client.transfer({ deliveryId: 1 }, BODY);
    await client.seen();
    t.same(
      nodes.target.deliveries.map(({ deliveryId, payload }) => [deliveryId, payload]),
      [[1, BODY]],
    );
  });
}

t.test('defect 4: echo is answered, of a link and of a session', async (t) => {
  const { client } = await start(t);
  await client.receiver('q');
  client.flow({ handle: 0, deliveryCount: 0, linkCredit: 5, echo: true });
  const ofLink = await client.next('flow');
  t.match(ofLink, { handle: 0, deliveryCount: 0, linkCredit: 5, drain: false });
  client.flow({ echo: true });
  t.equal((await client.next('flow')).handle, undefined);
});

t.test('defect 5: a frame that is too large is refused by its first bytes, also before login', async (t) => {
  const { server, client } = await start(t);
  const other = await RawAmqpClient.connect(server.port);
  other.write(PROTOCOL_HEADERS.sasl, rawFrame(1, Buffer.alloc(0), 0x7fff_ffff));
  await other.ended();
  t.notOk(other.kinds().includes('sasl-outcome'));
  client.write(rawFrame(0, Buffer.alloc(0), 65_537));
  t.equal((await client.next('close')).error?.condition, 'amqp:connection:framing-error');
  await client.ended();
});

t.test('defect 6: an array of a million nothings before login costs nothing', async (t) => {
  const { server } = await start(t);
  const client = await RawAmqpClient.connect(server.port);
  const before = performance.now();
  const bomb = Buffer.from([0, 0x53, 0x41, 0xf0, 0, 0, 0, 5, 0x08, 0, 0, 0, 0x40]);
  client.write(PROTOCOL_HEADERS.sasl, rawFrame(1, bomb));
  await client.ended();
  t.ok(performance.now() - before < 1000);
});

t.test('defect 8: a drain of all the credit there is costs what is sent', async (t) => {
  const { nodes, client } = await start(t);
  await client.receiver('q');
  nodes.source.put('a', 'b');
  client.flow({ handle: 0, deliveryCount: 0, linkCredit: 0xffff_ffff, drain: true });
  t.equal((await client.many('transfer', 2)).length, 2);
  t.match(await client.next('flow'), { handle: 0, deliveryCount: 0xffff_ffff, linkCredit: 0, drain: true });
});

t.test('defect 10: a peer that stops in the middle of a frame is closed, as is one that is silent', async (t) => {
  const { server, client } = await start(t, { idleTimeoutMs: 1000 });
  const silent = await RawAmqpClient.opened(server.port);
  const alive = await RawAmqpClient.opened(server.port);
  await server.clock.advance(600);
  const part = rawFrame(0, Buffer.alloc(1), 1000);
  client.write(part);
  alive.write(rawFrame(0, Buffer.alloc(0)));
  await alive.seen();
  // Bytes that complete no frame are no sign of life.
  for (let i = 0; i < 3; i++) {
    client.write(Buffer.alloc(1));
    await alive.seen();
  }
  await server.clock.advance(700);
  t.equal((await client.next('close')).error?.condition, 'amqp:resource-limit-exceeded');
  t.equal((await silent.next('close')).error?.condition, 'amqp:resource-limit-exceeded');
  await alive.close();
});

t.test('defect 11: a transfer without credit, or beyond the window', async (t) => {
  const { nodes, client } = await start(t, { sessionWindow: 4 });
  nodes.creditMax = 1;
  await client.sender('q');
  client.write(transferFrame({ deliveryId: 0 }, BODY), transferFrame({ deliveryId: 1 }, BODY));
  const detach = await client.next('detach');
  t.match(detach, { closed: true, error: { condition: 'amqp:link:transfer-limit-exceeded' } });
  t.equal(nodes.target.deliveries.length, 1);
  t.equal(nodes.target.left, false, 'for the node the link was lost, not ended for good');
  client.send({ kind: 'detach', handle: 0, closed: true });

  nodes.creditMax = 100;
  t.equal((await client.sender('q', { name: 'second' })).linkCredit, 100);
  const five = [2, 3, 4, 5, 6].map((deliveryId) => transferFrame({ deliveryId }, BODY));
  client.write(...five);
  t.equal((await client.next('end')).error?.condition, 'amqp:session:window-violation');
});

t.test('defect 12: what comes for a handle that is not attached ends the session alone', async (t) => {
  const { client } = await start(t);
  await client.begin({}, 1);
  client.sendOn(1, attachFrame({ role: 'receiver', source: sourceOf('q') }));
  await client.next('attach');
  const faults: (() => void)[] = [
    () => client.transfer({ handle: 77, deliveryId: 0 }, BODY),
    () => client.flow({ handle: 77, deliveryCount: 0, linkCredit: 1 }),
    () => client.send({ kind: 'detach', handle: 77, closed: true }),
  ];
  for (const fault of faults) {
    fault();
    t.equal((await client.next('end')).error?.condition, 'amqp:session:unattached-handle');
    // What was on its way comes to nothing.
    client.transfer({ handle: 0, deliveryId: 0 }, BODY);
    client.send({ kind: 'end' });
    await client.begin();
  }
  client.sendOn(1, flowFrame({ echo: true }));
  t.equal((await client.next('flow')).channel, 1, 'the other session goes on');
});

t.test('defect 15: a coordinator is a target', async (t) => {
  const { nodes, client } = await start(t);
  const answer = await client.attach({
    role: 'sender',
    target: { kind: 'coordinator', capabilities: ['amqp:local-transactions'] },
  });
  t.equal(answer.target?.kind, 'coordinator');
  const { target } = nodes;
  const txnId = Buffer.from([9, 9]);
  target.onDelivery = ({ deliveryId }) => target.link.answer(deliveryId, { kind: 'declared', txnId });
  const declare = Buffer.from([0, 0x53, 0x77, 0, 0x53, 0x31, 0xc0, 2, 1, 0x40]);
  client.transfer({ deliveryId: 0 }, declare);
  t.same((await client.next('disposition')).state, { kind: 'declared', txnId });
  t.same(target.deliveries[0]?.payload, declare);
});

t.test('defect 16: as many messages as there is credit', async (t) => {
  const { nodes, client } = await start(t);
  await client.receiver('q', 10);
  await client.seen();
  nodes.source.put(...Array.from({ length: 50 }, (_, i) => `${i}`));
  t.equal((await client.many('transfer', 10)).length, 10);
  await client.seen();
  t.equal(nodes.source.queue.length, 40);
  t.equal(nodes.source.link.room, 0);
  t.notOk(client.kinds().includes('transfer'));
});

t.test('defect 17: a link without credit holds up no other', async (t) => {
  const { nodes, client } = await start(t);
  await client.receiver('a', 1, { name: 'a', handle: 0 });
  await client.receiver('b', 100, { name: 'b', handle: 1 });
  await client.seen();
  const [a, b] = nodes.sources;
  a!.put('1', '2', '3');
  b!.put('4', '5', '6');
  const transfers = await client.many('transfer', 4);
  t.same(
    transfers.map(({ handle, payload }) => [handle, payload.toString()]),
    [
      [0, '1'],
      [1, '4'],
      [1, '5'],
      [1, '6'],
    ],
  );
});

t.test('defect 17b: one delivery that stays unsettled stops nothing', async (t) => {
  const { nodes, client } = await start(t, { unsettledMax: 100 });
  await client.receiver('q', 10_000);
  await client.seen();
  const { source } = nodes;
  source.put(...Array.from({ length: 5000 }, (_, i) => `${i}`));
  let next = 1;
  while (next < 5000) {
    const { deliveryId } = await client.next('transfer');
    if (deliveryId! % 50 !== 49) continue;
    client.disposition(next, deliveryId);
    next = deliveryId! + 1;
  }
  await client.seen();
  t.equal(source.outcomes.length, 4999);
  t.equal(source.outcomes[0]?.kept, 1);
  client.disposition(0, 0, { state: RELEASED });
  await client.seen();
  t.same(source.outcomes.at(-1), { kept: 0, state: RELEASED });
});

t.test('defect 20: an attach is answered when the node is there, or a refusal', async (t) => {
  const { nodes, client } = await start(t);
  client.send(
    attachFrame({ name: 'a', handle: 0, role: 'sender', target: targetOf('late') }),
    attachFrame({ name: 'b', handle: 1, role: 'sender', target: targetOf('late denied') }),
    attachFrame({ name: 'c', handle: 2, role: 'receiver', source: sourceOf('late denied') }),
    attachFrame({ name: 'd', handle: 3, role: 'receiver', source: sourceOf('broken') }),
  );
  const broken = await client.next('attach');
  t.match(broken, { name: 'd', source: undefined });
  t.equal((await client.next('detach')).error?.condition, 'amqp:internal-error');
  await client.seen();
  t.notOk(client.kinds().includes('attach'));
  nodes.letOpen();
  const answers = await client.many('attach', 3);
  t.same(answers.map(({ name }) => name).toSorted(), ['a', 'b', 'c']);
  const by = Object.fromEntries(answers.map((answer) => [answer.name, answer]));
  t.equal(by['a']!.target?.kind, 'target');
  t.equal(by['b']!.target, undefined);
  t.equal(by['c']!.source, undefined);
  const detaches = await client.many('detach', 2);
  t.same(
    detaches.map(({ closed, error }) => [closed, error?.condition, error?.description]),
    [
      [true, 'amqp:unauthorized-access', 'not for you'],
      [true, 'amqp:unauthorized-access', 'not for you'],
    ],
  );
});

t.test('defect 21: a detach that does not close is answered in kind, and the link comes back', async (t) => {
  const { nodes, client } = await start(t);
  await client.receiver('q', 1);
  await client.seen();
  nodes.source.put('a');
  await client.next('transfer');
  t.equal((await client.detach({ closed: false })).closed, false);
  t.same(nodes.source.left, { closed: false, isClean: true, unsettled: [0] });
  await client.receiver('q', 1);
  t.equal(nodes.sources.length, 2);
  t.equal((await client.detach()).closed, true);
  t.same(nodes.source.left, { closed: true, isClean: true, unsettled: [] });
});

t.test('defect 22: header, login, header and open in one packet', async (t) => {
  const nodes = new TestNodes();
  const server = await startAmqpServer(nodes, { users: [{ name: 'u', password: await hashPassword('p') }] });
  t.teardown(() => server.close());
  const client = await RawAmqpClient.connect(server.port);
  client.write(
    PROTOCOL_HEADERS.sasl,
    encodeSaslFrame({ kind: 'sasl-init', mechanism: 'PLAIN', initialResponse: Buffer.from('\0u\0p') }),
    PROTOCOL_HEADERS.amqp,
    encodeFrame(0, openFrame()),
  );
  await client.next('open');
  t.same(client.kinds(), ['header', 'sasl-mechanisms', 'sasl-outcome', 'header']);
  await client.close();
});

t.test('defect 23: handles are free again', async (t) => {
  const { nodes, client } = await start(t, { handleMax: 3 });
  for (let i = 0; i < 500; i++) {
    client.send(attachFrame({ name: `a${i}`, handle: i % 4, role: 'receiver', source: sourceOf('q') }), {
      kind: 'detach',
      handle: i % 4,
      closed: true,
    });
  }
  const answers = await client.many('attach', 500);
  await client.many('detach', 500);
  t.ok(answers.every(({ handle }) => handle < 100));
  t.ok(nodes.sources.every(({ left }) => left?.closed));
  t.equal((await client.receiver('q')).handle, 0, 'the lowest is free');
});

t.test('defect 24: channel-max and handle-max hold', async (t) => {
  const { server, client } = await start(t, { channelMax: 3, handleMax: 3 });
  for (let channel = 1; channel <= 3; channel++) await client.begin({}, channel);
  client.sendOn(4, beginFrame());
  t.equal((await client.next('close')).error?.condition, 'amqp:connection:framing-error');
  const other = await RawAmqpClient.opened(server.port);
  await other.receiver('q', 0, { handle: 3 });
  other.send(attachFrame({ name: 'more', handle: 4, role: 'receiver', source: sourceOf('q') }));
  t.equal((await other.next('close')).error?.condition, 'amqp:connection:framing-error');
  await other.ended();
});

t.test('defect 26: no transfer comes before the answer to the attach', async (t) => {
  const { nodes, client } = await start(t);
  nodes.onSource = (source) => source.put('a', 'b', 'c');
  client.send(
    attachFrame({ role: 'receiver', source: sourceOf('late') }),
    flowFrame({ handle: 0, deliveryCount: 0, linkCredit: 2 }),
  );
  await client.seen();
  nodes.letOpen();
  await client.next('transfer', ({ deliveryId }) => deliveryId === 1);
  t.same(client.kinds(), ['attach', 'transfer']);
});

t.test('headers: what is not taken is answered with what is', async (t) => {
  const { server } = await start(t);
  const headers = [
    'AMQP\x00\x00\x09\x01',
    'AMQP\x01\x01\x00\x00',
    'GET / HT',
    'AMQP\x03\x01\x01\x00',
    'AMQP\x02\x01\x00\x00',
  ];
  for (const header of headers) {
    const client = await RawAmqpClient.connect(server.port);
    client.write(Buffer.from(header, 'latin1'));
    t.equal((await client.next('header')).protocol, 'sasl', header);
    await client.ended();
  }
});

t.test('login: PLAIN, SCRAM-SHA-256, ANONYMOUS, and what is refused', async (t) => {
  const nodes = new TestNodes();
  const users = [
    { name: 'u', password: await hashPassword('p') },
    { name: 'scram', scram: await scramVerifierOf('pencil', 4096) },
  ];
  const server = await startAmqpServer(nodes, { users });
  const open = await startAmqpServer(nodes, { users, anonymous: true });
  t.teardown(() => Promise.all([server.close(), open.close()]));

  const refusals: [string, string][] = [
    ['PLAIN', '\0u\0wrong'],
    ['PLAIN', 'other\0u\0p'],
    ['PLAIN', 'u'],
    ['PLAIN', '\0nobody\0p'],
    ['ANONYMOUS', 'x'],
    ['EXTERNAL', ''],
    ['CRAM-MD5', ''],
    ['SCRAM-SHA-256', 'nonsense'],
  ];
  for (const [mechanism, response] of refusals) {
    const client = await RawAmqpClient.connect(server.port);
    t.equal((await client.sasl(mechanism, Buffer.from(response))).code, 1, `${mechanism} ${response}`);
    await client.ended();
  }
  const withoutSasl = await RawAmqpClient.connect(server.port);
  withoutSasl.header('amqp');
  t.equal((await withoutSasl.next('header')).protocol, 'sasl');
  await withoutSasl.ended();
  const twice = await RawAmqpClient.connect(server.port);
  twice.header('sasl');
  twice.sendSasl({ kind: 'sasl-response', response: Buffer.alloc(1) });
  t.equal((await twice.next('sasl-outcome')).code, 1, 'a response to nothing');
  await twice.ended();

  const loggedIn = async (client: RawAmqpClient, name: string): Promise<void> => {
    client.header('amqp');
    await client.open();
    await client.begin();
    await client.receiver('q');
    t.equal(nodes.source.link.peer.principal.name, name);
    await client.close();
  };
  for (const [response, name] of [
    ['\0u\0p', 'u'],
    ['u\0u\0p', 'u'],
    ['\0scram\0pencil', 'scram'],
  ] as const) {
    const client = await RawAmqpClient.connect(server.port);
    t.equal((await client.sasl('PLAIN', Buffer.from(response))).code, 0);
    await loggedIn(client, name);
  }
  for (const mechanism of ['ANONYMOUS', 'MSSBCBS']) {
    const client = await RawAmqpClient.connect(open.port);
    t.equal((await client.sasl(mechanism)).code, 0);
    await loggedIn(client, 'anonymous');
  }

  for (const isFirstLate of [false, true]) {
    const client = await RawAmqpClient.connect(server.port);
    const scram = new ScramClient('scram', 'pencil');
    client.header('sasl');
    t.same((await client.next('sasl-mechanisms')).mechanisms, ['SCRAM-SHA-256', 'PLAIN']);
    const initialResponse = isFirstLate ? undefined : scram.first();
    client.sendSasl({ kind: 'sasl-init', mechanism: 'SCRAM-SHA-256', initialResponse });
    if (isFirstLate) {
      t.equal((await client.next('sasl-challenge')).challenge.length, 0);
      client.sendSasl({ kind: 'sasl-response', response: scram.first() });
    }
    const { challenge } = await client.next('sasl-challenge');
    client.sendSasl({ kind: 'sasl-response', response: scram.final(challenge) });
    const { code, additionalData } = await client.next('sasl-outcome');
    t.equal(code, 0);
    t.ok(scram.isServer(additionalData!), 'the server has proven who it is');
    await loggedIn(client, 'scram');
  }
});

t.test('open: what we say, and what we do not take', async (t) => {
  const { server } = await start(t, {
    containerId: 'here',
    idleTimeoutMs: 60_000,
    maxFrameSizeBytes: 4096,
    channelMax: 7,
  });
  const headed = async (port: number): Promise<RawAmqpClient> => {
    const connected = await RawAmqpClient.connect(port);
    connected.header('amqp');
    return connected;
  };
  const client = await headed(server.port);
  const open = await client.open({ idleTimeOutMs: 1000 });
  t.match(open, { containerId: 'here', maxFrameSize: 4096, channelMax: 7, idleTimeOutMs: 30_000 });
  t.same(open.offeredCapabilities, [
    'ANONYMOUS-RELAY',
    'DELAYED_DELIVERY',
    'SHARED-SUBS',
    'sole-connection-for-container',
  ]);
  const text = Object.fromEntries([...open.properties].map(([key, value]) => [key, 'value' in value && value.value]));
  t.match(text, {
    product: 'gantry',
    version: 'test',
    platform: /^Node/,
    node: 'here',
    'queue-prefix': 'queue://',
    'topic-prefix': 'topic://',
  });
  // What it says instead to clients of one broker.
  const { server: other } = await start(t, { product: 'RabbitMQ', version: '4.1.0' });
  const { properties } = await (await headed(other.port)).open();
  t.same([properties.get('product'), properties.get('version')], [str('RabbitMQ'), str('4.1.0')]);
  // Half of the client's idle time-out.
  await server.clock.advance(400);
  t.equal((await client.next('empty')).channel, 0);
  await client.close();

  const faults: [Partial<Open>, string][] = [
    [{ maxFrameSize: 511 }, 'amqp:invalid-field'],
    [{ idleTimeOutMs: 10 }, 'amqp:not-allowed'],
  ];
  for (const [fields, condition] of faults) {
    const faulty = await headed(server.port);
    const answer = await faulty.open(fields);
    t.ok(answer.properties.has('amqp:connection-establishment-failed'));
    t.equal((await faulty.next('close')).error?.condition, condition);
    await faulty.ended();
  }
});

t.test('connection: faults of all kinds are answered with close and their condition', async (t) => {
  const { server } = await start(t);
  const faults: [string, (client: RawAmqpClient) => void, string][] = [
    ['a second open', (client) => client.send(openFrame()), 'amqp:illegal-state'],
    ['a channel without a session', (client) => client.sendOn(5, flowFrame()), 'amqp:not-allowed'],
    ['a channel with one', (client) => client.send(beginFrame()), 'amqp:illegal-state'],
    ['an answer to no begin', (client) => client.sendOn(1, beginFrame({ remoteChannel: 0 })), 'amqp:not-allowed'],
    ['a SASL frame', (client) => client.write(rawFrame(1, Buffer.alloc(0))), 'amqp:connection:framing-error'],
    [
      'no performative',
      (client) => client.write(rawFrame(0, Buffer.from([0, 0x53, 0x70, 0x45]))),
      'amqp:not-implemented',
    ],
    ['no value', (client) => client.write(rawFrame(0, Buffer.from([1, 2, 3]))), 'amqp:decode-error'],
  ];
  for (const [what, fault, condition] of faults) {
    const client = await RawAmqpClient.opened(server.port);
    fault(client);
    t.equal((await client.next('close')).error?.condition, condition, what);
    await client.ended();
  }
  for (const first of [beginFrame(), { kind: 'close' } as const, flowFrame()]) {
    const client = await RawAmqpClient.connect(server.port);
    client.header('amqp');
    client.send(first);
    t.ok((await client.next('open')).properties.has('amqp:connection-establishment-failed'));
    t.equal((await client.next('close')).error?.condition, 'amqp:illegal-state', `${first.kind} before open`);
    await client.ended();
  }
});

t.test('connection: no room, no open in time, and the end of the server', async (t) => {
  const nodes = new TestNodes();
  const server = await startAmqpServer(nodes, { connectionsMax: 1, options: { connectTimeoutMs: 1000 } });
  const client = await RawAmqpClient.connect(server.port);
  client.header('amqp');
  await client.next('header');
  const extra = await RawAmqpClient.connect(server.port);
  extra.header('amqp');
  await extra.open();
  t.equal((await extra.next('close')).error?.condition, 'amqp:resource-limit-exceeded');
  await extra.ended();
  await server.clock.advance(1500);
  await client.next('close');
  await client.ended();

  const last = await RawAmqpClient.opened(server.port);
  await last.sender('q');
  last.transfer({ deliveryId: 0 }, BODY);
  await last.seen();
  const closed = server.close();
  // What was taken in is answered before the connection ends.
  nodes.target.link.answer(0, ACCEPTED);
  t.equal((await last.next('disposition')).first, 0);
  t.equal((await last.next('close')).error?.condition, 'amqp:connection:forced');
  await closed;
});

t.test('session: windows of both directions', async (t) => {
  const { nodes, client } = await start(t, { sessionWindow: 10 });
  nodes.creditMax = 1000;
  nodes.onTarget = ({ link }) => {
    nodes.target.onDelivery = ({ deliveryId }) => link.answer(deliveryId, ACCEPTED);
  };
  await client.sender('q');
  // Ours: told to be whole again before it is used up.
  for (let deliveryId = 0; deliveryId < 100; deliveryId += 5) {
    client.write(...[0, 1, 2, 3, 4].map((i) => transferFrame({ deliveryId: deliveryId + i }, BODY)));
    t.match(await client.next('flow', ({ handle }) => handle === undefined), {
      nextIncomingId: deliveryId + 5,
      incomingWindow: 10,
    });
  }
  // The peer's: what is on its way counts.
  await client.receiver('q', 0, { name: 'out', handle: 1 });
  nodes.source.put(...Array.from({ length: 20 }, (_, i) => `${i}`));
  client.flow({ nextIncomingId: 0, incomingWindow: 3, handle: 1, deliveryCount: 0, linkCredit: 100 });
  await client.many('transfer', 3);
  client.flow({ nextIncomingId: 2, incomingWindow: 3, echo: true });
  await client.many('transfer', 2);
  t.match(await client.next('flow', ({ handle }) => handle === undefined), { nextOutgoingId: 3 });
  client.flow({ nextIncomingId: 5, incomingWindow: 2 });
  t.same(
    (await client.many('transfer', 2)).map(({ deliveryId }) => deliveryId),
    [5, 6],
  );
});

t.test('session: delivery ids, end, and what a session keeps to itself', async (t) => {
  const { nodes, client } = await start(t);
  const faults: [string, readonly Buffer[]][] = [
    ['no delivery id', [transferFrame({}, BODY)]],
    ['the same one again', [transferFrame({ deliveryId: 1 }, BODY), transferFrame({ deliveryId: 1 }, BODY)]],
    ['one that was', [transferFrame({ deliveryId: 3 }, BODY), transferFrame({ deliveryId: 2 }, BODY)]],
  ];
  for (const [what, frames] of faults) {
    await client.sender('q');
    client.write(...frames);
    t.equal((await client.next('end')).error?.condition, 'amqp:invalid-field', what);
    t.equal(nodes.target.left, false);
    client.send({ kind: 'end' });
    await client.begin();
  }
  await client.sender('q');
  // Ids go round, and may leave some out.
  client.write(...[0xffff_fffe, 0, 7].map((deliveryId) => transferFrame({ deliveryId }, BODY)));
  await client.seen();
  t.equal(nodes.target.deliveries.length, 3);

  const ended: string[] = [];
  nodes.target.link.session.onEnd(() => ended.push('session'));
  nodes.target.link.session.onConnectionEnd((isClean) => ended.push(`connection ${isClean}`));
  client.send({ kind: 'end' });
  await client.next('end');
  t.same(ended, ['session']);
  t.equal(nodes.target.left, false);
  await client.begin();
  await client.receiver('q');
  nodes.source.link.session.onConnectionEnd((isClean) => ended.push(`connection ${isClean}`));
  await client.close();
  t.same(ended, ['session', 'connection true']);
  t.match(nodes.source.left, { closed: false, isClean: true });
});

t.test('session: a handle in use, and a peer with few handles', async (t) => {
  const { client } = await start(t);
  await client.receiver('q');
  client.send(attachFrame({ name: 'other', role: 'receiver', source: sourceOf('q') }));
  t.equal((await client.next('end')).error?.condition, 'amqp:session:handle-in-use');
  client.send({ kind: 'end' });
  await client.begin({ handleMax: 0 });
  await client.receiver('q');
  client.send(attachFrame({ name: 'other', handle: 1, role: 'receiver', source: sourceOf('q') }));
  t.equal((await client.next('end')).error?.condition, 'amqp:resource-limit-exceeded');
});

t.test('link: modes and termini are mirrored', async (t) => {
  const { client } = await start(t);
  const capabilities = ['queue'];
  for (const senderSettleMode of [0, 1, 2] as const) {
    for (const receiverSettleMode of [0, 1] as const) {
      const modes = { senderSettleMode, receiverSettleMode };
      const out = await client.attach({ role: 'receiver', source: sourceOf('q', { capabilities }), ...modes });
      t.match(out, { role: 'sender', initialDeliveryCount: 0, ...modes });
      t.match(out.source, { address: 'q', capabilities });
      t.match(out.target, { address: 'client' });
      await client.detach();
      const into = await client.attach({ role: 'sender', target: targetOf('q', { capabilities }), ...modes });
      t.match(into, { role: 'receiver', ...modes });
      t.match(into.target, { address: 'q', capabilities });
      await client.detach();
    }
  }
  const relay = await client.attach({ role: 'sender', target: targetOf(undefined) });
  t.match(relay.target, { kind: 'target' });
});

t.test('link: a second attach of its name steals it', async (t) => {
  const { nodes, client } = await start(t);
  await client.receiver('q', 10);
  await client.seen();
  nodes.source.put('a');
  await client.next('transfer');
  await client.receiver('q', 0, { handle: 1 });
  t.match(await client.next('detach'), { handle: 0, closed: true, error: { condition: 'amqp:link:stolen' } });
  t.same(nodes.sources[0]?.left, { closed: false, isClean: true, unsettled: [0] });
  client.send({ kind: 'detach', handle: 0, closed: true });
  t.equal((await client.detach({ handle: 1 })).closed, true);

  // One after the other, where the first is not answered yet: by name they could not be told apart.
  client.send(
    attachFrame({ name: 'n', handle: 0, role: 'receiver', source: sourceOf('late 1') }),
    attachFrame({ name: 'n', handle: 1, role: 'receiver', source: sourceOf('2') }),
  );
  await client.seen();
  t.equal(nodes.sources.length, 2);
  nodes.letOpen();
  t.equal((await client.next('attach')).source?.address, 'late 1');
  t.equal((await client.next('detach')).error?.condition, 'amqp:link:stolen');
  t.equal((await client.next('attach')).source?.address, '2');
  // And the same with a detach in between, and the handle used again.
  client.send(
    attachFrame({ name: 'm', handle: 2, role: 'sender', target: targetOf('late 3') }),
    { kind: 'detach', handle: 2, closed: true },
    attachFrame({ name: 'm', handle: 2, role: 'sender', target: targetOf('4') }),
  );
  await client.seen();
  nodes.letOpen();
  t.match((await client.next('attach')).target, { address: 'late 3' });
  t.equal((await client.next('detach')).error, undefined);
  t.match((await client.next('attach')).target, { address: '4' });
  t.equal((await client.next('flow')).linkCredit, 100);
});

t.test('link: what comes while it opens', async (t) => {
  const { nodes, client } = await start(t);
  client.send(attachFrame({ role: 'sender', target: targetOf('late') }));
  client.transfer({ deliveryId: 0 }, BODY);
  await client.seen();
  nodes.letOpen();
  await client.next('attach');
  t.equal((await client.next('detach')).error?.condition, 'amqp:link:transfer-limit-exceeded');
  t.equal(nodes.target.deliveries.length, 0);
  client.send({ kind: 'detach', handle: 0, closed: true });

  // A session, or a connection, that ends before the node is there.
  client.send(attachFrame({ name: 'b', handle: 1, role: 'receiver', source: sourceOf('late') }), { kind: 'end' });
  await client.next('end');
  nodes.letOpen();
  await client.begin();
  t.match(nodes.source.left, { closed: false });
  t.notOk(client.kinds().includes('attach'));

  nodes.onSource = ({ link }) => link.detach({ condition: 'amqp:resource-deleted' });
  await client.receiver('q', 0, { name: 'c', handle: 2 });
  t.equal((await client.next('detach')).error?.condition, 'amqp:resource-deleted');
});

t.test('incoming: messages in several transfers, up to the limit', async (t) => {
  const { nodes, client } = await start(t, { maxMessageBytes: 100_000, assemblyBytesMax: 120_000 });
  nodes.maxMessageSize = 50_000;
  t.equal((await client.attach({ role: 'sender', target: targetOf('q') })).maxMessageSize, 50_000);
  await client.next('flow');
  const message = Buffer.from(Array.from({ length: 50_000 }, (_, i) => i & 0xff));
  for (let at = 0; at < 50_000; at += 1000) {
    const isFirst = at === 0;
    client.transfer(
      {
        ...(isFirst ? { deliveryId: 0, messageFormat: 7 } : {}),
        more: at < 49_000,
        ...(at === 5000 ? { settled: true } : {}),
      },
      message.subarray(at, at + 1000),
    );
  }
  await client.seen();
  t.match(nodes.target.deliveries, [{ deliveryId: 0, settled: true, messageFormat: 7, payload: message }]);

  client.transfer({ deliveryId: 1, more: true }, message);
  client.transfer({}, BODY);
  t.equal((await client.next('detach')).error?.condition, 'amqp:link:message-size-exceeded');
  t.equal(nodes.target.deliveries.length, 1);
  client.send({ kind: 'detach', handle: 0, closed: true });

  nodes.maxMessageSize = 0;
  t.equal((await client.attach({ role: 'sender', target: targetOf('q') })).maxMessageSize, 100_000);
  client.transfer({ deliveryId: 2, more: true }, message);
  client.transfer({ deliveryId: 9 }, BODY);
  t.equal((await client.next('detach')).error?.condition, 'amqp:not-allowed', 'another delivery in between');
  client.send({ kind: 'detach', handle: 0, closed: true });

  await client.sender('q');
  client.transfer({ deliveryId: 10, resume: true }, BODY);
  t.equal((await client.next('detach')).error?.condition, 'amqp:not-implemented', 'no delivery is resumed');
  client.send({ kind: 'detach', handle: 0, closed: true });

  // Many that have begun and do not end.
  await client.sender('q', { name: 'a', handle: 1 });
  await client.sender('q', { name: 'b', handle: 2 });
  client.transfer({ handle: 1, deliveryId: 11, more: true }, message);
  client.transfer({ handle: 1, more: true }, message.subarray(0, 40_000));
  client.transfer({ handle: 2, deliveryId: 12, more: true }, message);
  t.equal((await client.next('detach')).error?.condition, 'amqp:resource-limit-exceeded');
  client.send({ kind: 'detach', handle: 2, closed: true });
  await client.seen();
  await client.sender('q', { name: 'b', handle: 2 });
  client.transfer({ handle: 2, deliveryId: 13, more: true }, message.subarray(0, 10_000));
  client.transfer({ handle: 2 }, BODY);
  await client.seen();
  t.equal(nodes.target.deliveries.length, 1);
});

t.test(
  'incoming: deliveries of several links mixed, and one that its link does not live to see the end of',
  async (t) => {
    const { nodes, client } = await start(t, { assemblyBytesMax: 120_000 });
    await client.sender('q', { name: 'a', handle: 0 });
    await client.sender('q', { name: 'b', handle: 1 });
    const [a, b] = nodes.targets;
    client.transfer({ handle: 0, deliveryId: 0, more: true }, BODY.subarray(0, 2));
    client.transfer({ handle: 1, deliveryId: 1, more: true }, BODY.subarray(0, 4));
    client.transfer({ handle: 0, more: true }, BODY.subarray(2, 4));
    client.transfer({ handle: 1 }, BODY.subarray(4));
    client.transfer({ handle: 1, deliveryId: 2 }, BODY);
    client.transfer({ handle: 0, deliveryId: 0 }, BODY.subarray(4));
    await client.seen();
    const seen = [a, b].map((target) => target!.deliveries.map(({ deliveryId, payload }) => [deliveryId, payload]));
    t.same(seen, [
      [[0, BODY]],
      [
        [1, BODY],
        [2, BODY],
      ],
    ]);
    // Its memory is free again, whatever ends the link.
    const large = Buffer.alloc(50_000);
    for (let deliveryId = 3; deliveryId < 9; deliveryId++) {
      client.transfer({ handle: 0, deliveryId, more: true }, large);
      t.equal((await client.detach({ handle: 0, closed: deliveryId % 2 === 0 })).error, undefined);
      t.match(await client.sender('q', { name: 'a', handle: 0 }), { linkCredit: 100, deliveryCount: 0 });
    }
    client.transfer({ handle: 0, deliveryId: 9 }, BODY);
    await client.seen();
    t.same(
      nodes.targets.map(({ deliveries }) => deliveries.length),
      [1, 2, 0, 0, 0, 0, 0, 1],
    );
  },
);

t.test('incoming: what is settled gets no answer, whatever the link was for', async (t) => {
  const { nodes, client } = await start(t);
  let deliveryId = 0;
  nodes.onTarget = (target) => {
    target.onDelivery = (delivery) => {
      if (!delivery.settled) target.link.answer(delivery.deliveryId, ACCEPTED);
    };
  };
  for (const senderSettleMode of [0, 1, 2] as const) {
    await client.sender('q', { senderSettleMode });
    client.transfer({ deliveryId: deliveryId++, settled: true }, BODY);
    client.transfer({ deliveryId: deliveryId++ }, BODY);
    t.match(await client.next('disposition'), { first: deliveryId - 1, settled: true, state: ACCEPTED });
    // The sender settles what it has not heard of yet.
    nodes.target.onDelivery = () => {};
    client.transfer({ deliveryId }, BODY);
    client.disposition(deliveryId, deliveryId, { role: 'sender' });
    await client.seen();
    nodes.target.link.answer(deliveryId++, ACCEPTED);
    client.flow({ handle: 0, deliveryCount: 3, linkCredit: 97, echo: true });
    t.match(await client.next('flow', ({ handle }) => handle === 0), { deliveryCount: 3, linkCredit: 97 });
    t.equal(nodes.target.deliveries.length, 3);
    await client.detach();
    client.received.length = 0;
  }
});

t.test('incoming: credit follows the answers, unless it is withheld', async (t) => {
  const { nodes, client } = await start(t);
  nodes.creditMax = 10;
  t.equal((await client.sender('q')).linkCredit, 10);
  const { target } = nodes;
  for (let deliveryId = 0; deliveryId < 10; deliveryId++) client.transfer({ deliveryId }, BODY);
  await client.seen();
  target.link.answer(3, ACCEPTED);
  t.match(await client.next('disposition'), { role: 'receiver', first: 3, settled: true, state: ACCEPTED });
  t.match(await client.next('flow'), { deliveryCount: 10, linkCredit: 1 }, 'at once where there was none');
  for (const id of [0, 1, 2, 4]) target.link.answer(id, ACCEPTED);
  await client.many('disposition', 2);
  await client.seen();
  t.notOk(client.kinds().includes('flow'), 'less than half');
  target.link.answer(5, ACCEPTED);
  t.match(await client.next('flow'), { deliveryCount: 10, linkCredit: 6 });

  target.link.withholdCredit();
  for (const id of [6, 7, 8, 9]) target.link.answer(id, ACCEPTED);
  for (let deliveryId = 10; deliveryId < 16; deliveryId++) client.transfer({ deliveryId, settled: true }, BODY);
  await client.seen();
  t.equal(target.deliveries.length, 16, 'what was granted stays good');
  t.notOk(client.kinds().includes('flow'));
  target.link.grantCredit();
  t.match(await client.next('flow'), { deliveryCount: 16, linkCredit: 10 });
  // What a sender skips it has used up.
  client.flow({ handle: 0, deliveryCount: 24, linkCredit: 2, echo: true });
  t.match(await client.next('flow'), { deliveryCount: 24, linkCredit: 10 });
});

t.test('incoming: a receiver that settles second, mixed with presettled', async (t) => {
  const { nodes, client } = await start(t);
  await client.sender('q', { receiverSettleMode: 1 });
  const { target } = nodes;
  target.onDelivery = ({ deliveryId, settled }) => {
    if (!settled) target.link.answer(deliveryId, ACCEPTED);
  };
  client.transfer({ deliveryId: 0 }, BODY);
  client.transfer({ deliveryId: 1, settled: true }, BODY);
  client.transfer({ deliveryId: 2 }, BODY);
  t.match(await client.next('disposition'), { first: 0, last: 0, settled: false, state: ACCEPTED });
  t.match(await client.next('disposition'), { first: 2, settled: false });
  client.disposition(0, 2, { role: 'sender' });
  await client.seen();
  t.same(client.kinds(), []);
});

t.test('incoming: a delivery says itself who settles first', async (t) => {
  const { nodes, client } = await start(t);
  await client.sender('q', { receiverSettleMode: 1 });
  const { target } = nodes;
  client.transfer({ deliveryId: 0, receiverSettleMode: 0 }, BODY);
  client.transfer({ deliveryId: 1 }, BODY);
  client.transfer({ deliveryId: 2, receiverSettleMode: 1 }, BODY);
  // In several transfers the last word counts, wherever it stands.
  client.transfer({ deliveryId: 3, more: true, receiverSettleMode: 1 }, BODY.subarray(0, 3));
  client.transfer({ receiverSettleMode: 0, more: true });
  client.transfer({}, BODY.subarray(3));
  client.transfer({ deliveryId: 4, more: true, receiverSettleMode: 0 });
  client.transfer({ deliveryId: 4, aborted: true });
  client.transfer({ deliveryId: 5, settled: true, receiverSettleMode: 0 }, BODY);
  client.transfer({ deliveryId: 6 }, BODY);
  await client.seen();
  t.same(
    target.deliveries.map(({ deliveryId }) => deliveryId),
    [0, 1, 2, 3, 5, 6],
  );
  for (const id of [6, 3, 2, 1, 0]) target.link.answer(id, ACCEPTED);
  const answers = await client.many('disposition', 5);
  t.same(
    answers.map(({ first, last, settled }) => [first, last, settled]),
    [
      [6, 6, false],
      [3, 3, true],
      [2, 2, false],
      [1, 1, false],
      [0, 0, true],
    ],
  );
});

t.test('incoming: no delivery is settled second on a link that settles first', async (t) => {
  const { nodes, client } = await start(t);
  const second = { receiverSettleMode: 1 } as const;
  await client.sender('q');
  client.transfer({ deliveryId: 0, receiverSettleMode: 0 }, BODY);
  client.transfer({ deliveryId: 1, settled: true, ...second }, BODY);
  client.transfer({ deliveryId: 2, more: true, ...second });
  client.transfer({ settled: true }, BODY);
  client.transfer({ deliveryId: 3, more: true, ...second });
  client.transfer({ aborted: true });
  await client.seen();
  t.equal(nodes.target.deliveries.length, 3, 'of a settled or aborted one it means nothing');
  nodes.target.link.answer(0, ACCEPTED);
  t.match(await client.next('disposition'), { first: 0, settled: true });
  client.transfer({ deliveryId: 4, ...second }, BODY);
  t.equal((await client.next('detach')).error?.condition, 'amqp:invalid-field');
  t.equal(nodes.target.deliveries.length, 3);

  await client.sender('q', { name: 'other', handle: 1 });
  client.transfer({ handle: 1, deliveryId: 5, more: true, ...second });
  client.transfer({ handle: 1 }, BODY);
  t.equal((await client.next('detach')).error?.condition, 'amqp:invalid-field');
  t.equal(nodes.target.deliveries.length, 0);
  client.transfer({ handle: 1, deliveryId: 6, receiverSettleMode: 2 as 1 }, BODY);
  t.equal((await client.next('close')).error?.condition, 'amqp:invalid-field', 'there is no such mode');
});

t.test('a fault of a node ends its link alone, and is logged', async (t) => {
  const nodes = new TestNodes();
  const logged: string[] = [];
  const log = { ...SILENT, error: (_fields: object, message: string) => void logged.push(message) };
  const server = await startAmqpServer(nodes, { log });
  t.teardown(() => server.close());
  const client = await RawAmqpClient.opened(server.port);
  const broken = (): never => {
    throw new Error('a fault of the node');
  };
  await client.sender('q', { name: 'a', handle: 0 });
  nodes.target.onDelivery = broken;
  client.transfer({ deliveryId: 0 }, BODY);
  t.equal((await client.next('detach')).error?.condition, 'amqp:internal-error');
  await client.receiver('q', 1, { name: 'b', handle: 1 });
  await client.seen();
  nodes.source.onPull = broken;
  nodes.source.put('a');
  t.equal((await client.next('detach')).error?.condition, 'amqp:internal-error');
  t.equal(logged.length, 2);
  // A state that cannot be written.
  await client.sender('q', { name: 'c', handle: 2 });
  client.transfer({ handle: 2, deliveryId: 1 }, BODY);
  await client.seen();
  nodes.target.link.answer(1, { kind: 'rejected', error: { condition: undefined as unknown as string } });
  t.equal((await client.next('close')).error?.condition, 'amqp:internal-error');
  t.equal(logged.length, 3);
  await client.ended();
});

t.test('outgoing: long messages in frames and windows as the peer takes them', async (t) => {
  const { nodes, server } = await start(t);
  const client = await RawAmqpClient.opened(server.port, { maxFrameSize: 512 }, { incomingWindow: 3 });
  t.teardown(() => client.destroy());
  client.incomingWindow = 0;
  await client.receiver('q');
  await client.receiver('q', 0, { name: 'other', handle: 1 });
  const [source, other] = nodes.sources;
  source!.head = Buffer.alloc(600, 1);
  const message = Buffer.from(Array.from({ length: 3000 }, (_, i) => i & 0xff));
  source!.put(message, 'next');
  other!.put('other');
  client.flow({ handle: 0, deliveryCount: 0, linkCredit: 10, incomingWindow: 3 });
  client.flow({ handle: 1, deliveryCount: 0, linkCredit: 10, incomingWindow: 3 });
  const parts: Buffer[] = [];
  let more = true;
  for (let sent = 0; more; sent++) {
    const transfer = await client.next('transfer');
    if (sent === 0) t.match(transfer, { handle: 0, deliveryId: 0, messageFormat: 0, settled: false });
    parts.push(transfer.payload);
    more = transfer.more;
    if (sent % 3 !== 2) continue;
    await client.seen();
    t.notOk(client.kinds().includes('transfer'), 'the window is used up');
    client.flow({ incomingWindow: 3 });
  }
  t.same(Buffer.concat(parts), Buffer.concat([Buffer.alloc(600, 1), message]));
  client.flow({ incomingWindow: 10 });
  await client.next('transfer', ({ handle }) => handle === 1);
  client.disposition(0, 100);
  await client.seen();
  t.same([...source!.outcomes, ...other!.outcomes].length, 3);

  // A link that ends in the middle of a message does not hold up the others.
  client.flow({ incomingWindow: 1 });
  source!.put(message);
  await client.next('transfer', ({ more: isPart }) => isPart);
  other!.put('after');
  await client.detach({ handle: 0 });
  client.flow({ incomingWindow: 10 });
  t.equal((await client.next('transfer', ({ handle }) => handle === 1)).payload.toString(), 'after');
});

t.test('outgoing: verdicts, each told once, whatever the range', async (t) => {
  const { nodes, client } = await start(t);
  await client.receiver('q', 100, { name: 'a', handle: 0 });
  await client.receiver('q', 100, { name: 'b', handle: 1 });
  await client.seen();
  const [a, b] = nodes.sources;
  a!.put('0', '1', '2');
  b!.put('0', '1');
  a!.put('3', '4');
  await client.many('transfer', 7);
  const modified = {
    kind: 'modified',
    deliveryFailed: true,
    undeliverableHere: false,
    messageAnnotations: undefined,
  } as const;
  client.disposition(1, 1, { state: modified });
  client.disposition(2, 2, {
    settled: false,
    state: { kind: 'received', sectionNumber: 0, sectionOffset: 0n as never },
  });
  client.disposition(0, 4);
  client.disposition(0, 4, { state: RELEASED });
  client.disposition(5, 0x7fff_ffff, { state: undefined });
  client.disposition(5, 6);
  await client.seen();
  const told = [...a!.outcomes, ...b!.outcomes].length;
  t.equal(told, 7);
  t.same(
    a!.outcomes.find(({ kept }) => kept === 1),
    { kept: 1, state: modified },
  );
  t.ok([...a!.outcomes, ...b!.outcomes].every(({ state }) => state?.kind !== 'released'));
  // What is to come is not settled by what was said before.
  a!.put('5');
  await client.next('transfer');
  await client.seen();
  t.equal(a!.outcomes.length + b!.outcomes.length, 7);
  client.disposition(9, 8);
  t.equal((await client.next('end')).error?.condition, 'amqp:invalid-field');
  t.same(a!.left?.unsettled, [5]);
});

t.test('outgoing: a receiver that settles second hears that we have settled', async (t) => {
  const { nodes, client } = await start(t);
  await client.receiver('q', 100, { receiverSettleMode: 1 });
  client.disposition(0, 0x7fff_ffff, { settled: false });
  await client.seen();
  t.same(client.kinds(), [], 'nothing has been sent');
  nodes.source.put('0', '1', '2', '3');
  await client.many('transfer', 4);
  client.disposition(0, 1, { settled: false });
  client.disposition(2, 0xff, { settled: false, state: RELEASED });
  t.match(await client.next('disposition'), { role: 'sender', first: 0, last: 1, settled: true, state: ACCEPTED });
  t.match(await client.next('disposition'), { role: 'sender', first: 2, last: 3, settled: true, state: RELEASED });
  client.disposition(0, 3);
  await client.seen();
  t.same(
    nodes.source.outcomes.map(({ kept }) => kept),
    [0, 1, 2, 3],
  );
});

t.test('outgoing: presettled, and larger than the receiver takes', async (t) => {
  const { nodes, client } = await start(t);
  await client.receiver('q', 10, { senderSettleMode: 1, maxMessageSize: 3 });
  await client.seen();
  const { source } = nodes;
  t.ok(source.link.isPresettled);
  source.put('a', 'long', 'b');
  t.same(
    (await client.many('transfer', 2)).map(({ settled, payload }) => [settled, payload.toString()]),
    [
      [true, 'a'],
      [true, 'b'],
    ],
  );
  await client.seen();
  t.match(source.outcomes, [
    { kept: 1, state: { kind: 'rejected', error: { condition: 'amqp:link:message-size-exceeded' } } },
  ]);
  t.equal(source.link.room, 8);
  await client.detach();
  t.same(source.left, { closed: true, isClean: true, unsettled: [] });
});

t.test('outgoing: drains of all kinds', async (t) => {
  const { nodes, client } = await start(t);
  await client.receiver('q');
  const { source } = nodes;
  // Without credit, twice: answered each time.
  for (let i = 0; i < 2; i++) {
    client.flow({ handle: 0, deliveryCount: 0, linkCredit: 0, drain: true });
    t.match(await client.next('flow'), { deliveryCount: 0, linkCredit: 0, drain: true });
  }
  t.equal(source.drains, 0);
  // The node takes its time, and there is more credit meanwhile.
  source.drainsAtOnce = false;
  source.onAvailable = () => 3;
  client.flow({ handle: 0, deliveryCount: 0, linkCredit: 5, drain: true });
  client.flow({ handle: 0, deliveryCount: 0, linkCredit: 7, drain: true, echo: true });
  t.match(await client.next('flow'), { deliveryCount: 0, linkCredit: 7, available: 3, drain: true });
  t.equal(source.drains, 1);
  source.put('a', 'b');
  await client.many('transfer', 2);
  source.link.drained();
  t.match(await client.next('flow'), { deliveryCount: 7, linkCredit: 0, drain: true });
  source.link.drained();
  await client.seen();
  t.same(client.kinds(), [], 'nothing is given back twice');
  // Called off before the node has answered.
  client.flow({ handle: 0, deliveryCount: 7, linkCredit: 4, drain: true });
  client.flow({ handle: 0, deliveryCount: 7, linkCredit: 4 });
  await client.seen();
  t.equal(source.drains, 2);
  source.link.drained();
  source.put('c');
  await client.next('transfer');
  await client.seen();
  t.same(client.kinds(), []);
  // Credit that is taken back.
  client.flow({ handle: 0, deliveryCount: 7, linkCredit: 1 });
  await client.seen();
  t.equal(source.link.room, 0);
});

t.test('outgoing: nothing is given back while it is only the window that stops a drain', async (t) => {
  const { nodes, client } = await start(t);
  await client.receiver('q');
  // It says so each time it was asked, whether it could send all or not.
  nodes.source.queue.push(...['0', '1', '2', '3', '4'].map((text) => Buffer.from(text)));
  client.incomingWindow = 2;
  client.flow({ handle: 0, deliveryCount: 0, linkCredit: 9, drain: true });
  for (const count of [2, 2]) {
    await client.many('transfer', count);
    t.notOk(client.kinds().includes('flow'));
    client.flow();
  }
  await client.next('transfer');
  t.match(await client.next('flow', ({ drain }) => drain), { deliveryCount: 9, linkCredit: 0, available: 0 });
});

t.test('outgoing: how many messages wait is told to who asks', async (t) => {
  const { nodes, client } = await start(t);
  // Asked behind the attach, and before its answer.
  client.send(attachFrame({ role: 'receiver', source: sourceOf('late') }));
  client.flow({ handle: 0, deliveryCount: 0, linkCredit: 0, echo: true });
  await client.seen();
  nodes.onSource = (source) => (source.onAvailable = () => 7);
  nodes.letOpen();
  await client.next('attach');
  t.match(await client.next('flow'), { handle: 0, deliveryCount: 0, linkCredit: 0, available: 7, drain: false });
  const { source } = nodes;
  let counted = 0;
  source.onAvailable = () => ++counted;
  // Not without being asked, whatever else is said.
  source.put('a', 'b');
  client.flow({ handle: 0, deliveryCount: 0, linkCredit: 1 });
  await client.next('transfer');
  client.flow({ handle: 0, deliveryCount: 1, linkCredit: 0 });
  client.disposition(0);
  await client.seen();
  t.equal(counted, 0);
  // A drain asks, too; where credit is left nothing waits.
  client.flow({ handle: 0, deliveryCount: 1, linkCredit: 1, drain: true });
  t.match(await client.next('flow'), { deliveryCount: 2, linkCredit: 0, available: 1, drain: true });
  client.flow({ handle: 0, deliveryCount: 2, linkCredit: 3, drain: true });
  t.match(await client.next('flow'), { deliveryCount: 5, linkCredit: 0, available: 0, drain: true });
  t.equal(counted, 1);
  client.flow({ handle: 0, deliveryCount: 5, linkCredit: 0, drain: true, echo: true });
  t.match(await client.next('flow'), { deliveryCount: 5, linkCredit: 0, available: 2, drain: true });
});

t.test('outgoing: counting what waits may take its time', async (t) => {
  const { nodes, client } = await start(t);
  await client.receiver('q');
  const { source } = nodes;
  const counts: ((count: number) => void)[] = [];
  source.onAvailable = () => new Promise((resolve) => counts.push(resolve));
  const ask = (deliveryCount: number, linkCredit: number): void =>
    client.flow({ handle: 0, deliveryCount, linkCredit, echo: true });
  for (let i = 0; i < 100; i++) ask(0, 0);
  ask(0, 2);
  source.put('a', 'b', 'c');
  await client.many('transfer', 2);
  await client.seen();
  t.same([counts.length, client.kinds()], [1, []]);
  client.flow({ handle: 0, deliveryCount: 2, linkCredit: 0, drain: true });
  t.match(await client.next('flow'), { deliveryCount: 2, drain: true, available: undefined }, 'a drain is not held up');
  counts[0]!(3);
  // As it is when it is said: behind two messages.
  t.match(await client.next('flow'), { deliveryCount: 2, linkCredit: 0, available: 3 });
  await client.seen();
  t.equal(counts.length, 2, 'all that asked meanwhile get one more answer');
  counts[1]!(1);
  t.match(await client.next('flow'), { deliveryCount: 2, linkCredit: 0, available: 1 });
  await client.seen();
  t.same([counts.length, client.kinds()], [2, []]);

  const faults: (() => number | Promise<number>)[] = [
    () => {
      throw new Error('a fault of the node');
    },
    () => Promise.reject(new Error('a fault of what it asks')),
  ];
  for (const fault of faults) {
    source.onAvailable = fault;
    ask(2, 0);
    t.match(await client.next('flow'), { deliveryCount: 2, available: undefined }, 'answered all the same');
  }
  source.onAvailable = () => new Promise((resolve) => counts.push(resolve));
  ask(2, 0);
  await client.detach();
  counts[2]!(1);
  await settled();
  await client.seen();
  t.same(client.kinds(), [], 'who has gone is told nothing');
});

t.test('outgoing: who is gone leaves what it had', async (t) => {
  const { nodes, server, client } = await start(t);
  const ways: [string, (client: RawAmqpClient) => unknown, object][] = [
    ['end', async (one) => one.send({ kind: 'end' }), { closed: false, isClean: true, unsettled: [0, 2] }],
    ['close', async (one) => one.close(), { closed: false, isClean: true, unsettled: [0, 2] }],
    ['loss', async (one) => one.destroy(), { closed: false, isClean: false, unsettled: [0, 2] }],
    [
      'fault',
      async (one) => one.write(rawFrame(0, Buffer.from([1]))),
      { closed: false, isClean: false, unsettled: [0, 2] },
    ],
  ];
  for (const [what, leave, left] of ways) {
    const one = await RawAmqpClient.opened(server.port);
    await one.receiver('q', 10);
    await one.seen();
    const { source } = nodes;
    const gone = new Promise<void>((resolve) => source.link.session.onEnd(resolve));
    source.put('0', '1', '2');
    await one.many('transfer', 3);
    one.disposition(1);
    await one.seen();
    await leave(one);
    await gone;
    t.same(source.left, left, what);
    one.destroy();
  }
  await client.seen();
});

t.test('a client that does not read gets no more, and is not read', async (t) => {
  const { nodes, server, client } = await start(t, { outputBytesMax: 256 * 1024, idleTimeoutMs: 10_000 });
  const stuck = await RawAmqpClient.opened(server.port, {}, { incomingWindow: 0x7fff_ffff });
  t.teardown(() => stuck.destroy());
  stuck.incomingWindow = 0x7fff_ffff;
  await stuck.receiver('q', 1_000_000);
  await stuck.seen();
  const stuckSource = nodes.source;
  await client.receiver('q', 10);
  await client.seen();
  stuck.stream.pause();
  const message = Buffer.alloc(60_000, 1);
  const full = new Promise<void>((resolve) => {
    const more = (): void => {
      for (let i = 0; i < 10; i++) stuckSource.queue.push(message);
      stuckSource.link.ready();
      setImmediate(() => (stuckSource.queue.length > 100 ? resolve() : more()));
    };
    more();
  });
  await full;
  t.equal(stuckSource.link.room, 0);
  const all = stuckSource.sent + stuckSource.queue.length;
  nodes.source.put('others go on');
  await client.next('transfer');
  stuck.stream.resume();
  await stuck.many('transfer', all);
  t.equal(stuckSource.queue.length, 0, 'and all of it comes when it reads again');

  stuck.stream.pause();
  for (let i = 0; i < 1000; i++) stuckSource.queue.push(message);
  stuckSource.link.ready();
  const gone = new Promise<void>((resolve) => stuckSource.link.session.onEnd(resolve));
  await client.seen();
  await server.clock.advance(11_000);
  await gone;
  t.match(stuckSource.left, { isClean: false });
});

t.test('a connection is written to once in a turn of the event loop, however much there is to say', async (t) => {
  const { nodes, server } = await start(t);
  const [ours, theirs] = streamPair();
  server.adapter.handleConnection({ stream: ours, remoteAddress: '' });
  const client = RawAmqpClient.over(theirs);
  client.header('amqp');
  client.send(openFrame(), beginFrame());
  await client.next('begin');
  t.equal(ours.writes, 1, 'header, open and begin');
  await client.receiver('q', 0, { handle: 0 });
  await client.sender('q', { name: 'other', handle: 1 });
  const { source, target } = nodes;
  target.onDelivery = ({ deliveryId }) => target.link.answer(deliveryId, deliveryId % 2 === 0 ? ACCEPTED : RELEASED);
  source.put(...Array.from({ length: 500 }, () => Buffer.alloc(1000)));
  const before = ours.writes;
  client.write(
    ...Array.from({ length: 80 }, (_, deliveryId) => transferFrame({ handle: 1, deliveryId }, BODY)),
    encodeFrame(0, flowFrame({ handle: 0, deliveryCount: 0, linkCredit: 500, echo: true })),
  );
  await client.many('transfer', 500);
  await client.many('disposition', 80);
  t.match(await client.next('flow', ({ handle }) => handle === 0), { available: 500 });
  t.equal(ours.writes - before, 1, 'half a megabyte, 80 answers, credit');
  await client.close();
});

t.test('everything in one packet, without SASL', async (t) => {
  const { nodes, server } = await start(t);
  const client = await RawAmqpClient.connect(server.port);
  nodes.onSource = (source) => source.put('first');
  client.write(
    PROTOCOL_HEADERS.amqp,
    ...[
      openFrame(),
      beginFrame(),
      attachFrame({ role: 'receiver', source: sourceOf('q') }),
      flowFrame({ nextIncomingId: undefined, handle: 0, deliveryCount: undefined, linkCredit: 1 }),
    ].map((performative) => encodeFrame(0, performative)),
  );
  t.equal((await client.next('transfer')).payload.toString(), 'first');
  t.same(client.kinds(), ['header', 'open', 'begin', 'attach']);
  await client.close();
});

t.test('what was decided is said before the end of a connection', async (t) => {
  const { nodes, server } = await start(t);
  nodes.onTarget = (target) => {
    target.onDelivery = ({ deliveryId }) => target.link.answer(deliveryId, ACCEPTED);
  };
  for (const end of [
    encodeFrame(0, { kind: 'close' }),
    encodeFrame(0, { kind: 'end' }),
    encodeFrame(0, { kind: 'detach', handle: 0, closed: true }),
    rawFrame(0, Buffer.from([1])),
  ]) {
    const client = await RawAmqpClient.opened(server.port);
    await client.sender('q');
    client.write(transferFrame({ deliveryId: 0 }, BODY), end);
    t.same((await client.next('disposition')).state, ACCEPTED);
    client.destroy();
  }
});

/** What a client sends that knows the protocol, and is wrong now and then. */
class CarelessClient {
  private readonly random: Random;
  private readonly faults: number;
  private readonly roles = new Map<number, Role>();
  private deliveryId = 0;
  private attached = 0;

  /** @param faults the part of its frames that are wrong */
  constructor(random: Random, faults: number) {
    this.random = random;
    this.faults = faults;
  }

  /** It has begun a session. */
  reset(): void {
    this.roles.clear();
    this.deliveryId = 0;
  }

  frame(): Buffer {
    const { random } = this;
    if (random.chance(this.faults)) return this.wrong();
    const handles = [...this.roles.keys()];
    if (handles.length < 2 || random.chance(0.05)) return this.attach();
    const handle = random.pick(handles);
    if (random.chance(0.02)) {
      this.roles.delete(handle);
      return encodeFrame(0, { kind: 'detach', handle, closed: random.chance(0.5) });
    }
    return this.roles.get(handle) === 'sender' ? this.transfer(handle) : this.receive(handle);
  }

  private attach(): Buffer {
    const { random } = this;
    const handle = this.roles.size === 0 ? 0 : Math.max(...this.roles.keys()) + 1;
    const role = random.pick(['sender', 'receiver'] as const);
    const address = random.pick(['q', 'q', 'q', 'q', 'denied', 'broken', 'late', 'late denied']);
    const terminus = role === 'sender' ? { target: targetOf(address) } : { source: sourceOf(address) };
    const modes = {
      senderSettleMode: random.pick([0, 1, 2] as const),
      receiverSettleMode: random.pick([0, 1] as const),
    };
    const maxMessageSize = random.pick([0, 0, 0, 1000]);
    // Sometimes that of a link there is.
    const name = random.chance(0.1) ? 'same' : `link ${this.attached++}`;
    this.roles.set(handle, role);
    return encodeFrame(0, attachFrame({ role, name, handle, maxMessageSize, ...modes, ...terminus }));
  }

  private transfer(handle: number): Buffer {
    const { random } = this;
    const state = random.chance(0.1) ? ACCEPTED : undefined;
    const first = transferFrame(
      { handle, deliveryId: this.deliveryId++, settled: random.chance(0.3), state },
      random.bytes(100),
    );
    if (!random.chance(0.2)) return first;
    const more = transferFrame({ handle, deliveryId: this.deliveryId++, more: true }, random.bytes(100));
    const last = transferFrame({ handle, aborted: random.chance(0.3) }, random.bytes(100));
    return Buffer.concat([first, more, last]);
  }

  private receive(handle: number): Buffer {
    const { random } = this;
    if (random.chance(0.5)) {
      const first = random.int(0, 50);
      const state = random.pick([ACCEPTED, RELEASED, REJECTED, undefined]);
      const settled = random.chance(0.7);
      return encodeFrame(0, {
        kind: 'disposition',
        role: 'receiver',
        first,
        last: first + random.int(0, 20),
        settled,
        state,
      });
    }
    const flags = { drain: random.chance(0.2), echo: random.chance(0.2) };
    const credit = { deliveryCount: random.int(0, 10), linkCredit: random.int(0, 30) };
    return encodeFrame(
      0,
      flowFrame({ nextIncomingId: undefined, incomingWindow: random.int(0, 100), handle, ...credit, ...flags }),
    );
  }

  private wrong(): Buffer {
    const { random } = this;
    const number = (): number => random.pick([0, 1, 2, 3, 100, 0x7fff_ffff, 0xffff_ffff]);
    const handle = random.int(0, 5);
    const channel = random.pick([0, 0, 0, 1]);
    return random.pick([
      () => encodeFrame(channel, { kind: 'end' }),
      () => encodeFrame(channel, { kind: 'detach', handle: number(), closed: true }),
      () => encodeFrame(channel, attachFrame({ role: 'sender', handle: number(), target: targetOf('q') })),
      () =>
        encodeFrame(
          channel,
          flowFrame({ handle, deliveryCount: number(), linkCredit: number(), drain: true, nextIncomingId: number() }),
        ),
      () => transferFrame({ handle, deliveryId: number(), more: random.chance(0.5) }, random.bytes(10), channel),
      () =>
        encodeFrame(channel, {
          kind: 'disposition',
          role: 'receiver',
          first: number(),
          last: number(),
          settled: random.chance(0.5),
        }),
      () => rawFrame(0, random.bytes(20)),
    ])();
  }
}

for (const seed of seeds(3)) {
  t.test(`whatever comes, only its own connection ends: GANTRY_SEED=${seed}`, async (t) => {
    const random = new Random(seed);
    const nodes = new TestNodes();
    const failures: string[] = [];
    const error = (fields: object): void => void failures.push(String((fields as { err: unknown }).err));
    const server = await startAmqpServer(nodes, { log: { ...SILENT, error } });
    t.teardown(() => server.close());
    nodes.onSource = (source) => source.put(...Array.from({ length: 20 }, () => random.bytes(2000)));
    nodes.onTarget = (target) => {
      target.onDelivery = ({ deliveryId }) => {
        if (random.chance(0.7)) target.link.answer(deliveryId, random.pick([ACCEPTED, REJECTED, RELEASED]));
        else if (random.chance(0.02)) target.link.detach({ condition: 'amqp:resource-deleted' });
      };
    };
    for (let life = 0; life < 100; life++) {
      const client = await RawAmqpClient.opened(server.port, { maxFrameSize: random.pick([512, 5000]) });
      const careless = new CarelessClient(random, random.pick([0, 0.01, 0.1]));
      for (let burst = random.int(1, 20); burst > 0 && !client.isEnded; burst--) {
        const chunk = Buffer.concat(Array.from({ length: random.int(1, 10) }, () => careless.frame()));
        client.write(chunk);
        if (random.chance(0.5)) nodes.letOpen();
        for (let turn = random.int(1, 5); turn > 0; turn--) await new Promise((resolve) => setImmediate(resolve));
        if (!client.kinds().includes('end')) continue;
        client.received.length = 0;
        client.send({ kind: 'end' }, beginFrame());
        careless.reset();
      }
      if (random.chance(0.5)) client.stream.end();
      else client.destroy();
      await client.ended();
    }
    t.same(
      failures.filter((failure) => !failure.includes('a fault of the node')),
      [],
    );
    nodes.onSource = () => {};
    const client = await RawAmqpClient.opened(server.port);
    await client.sender('q');
    await client.close();
    nodes.letOpen();
    await settled();
    t.ok(
      [...nodes.sources, ...nodes.targets].every(({ left }) => left !== undefined),
      'every node was left',
    );
    let told = 0;
    let taken = 0;
    for (const { outcomes, left, link, sent } of nodes.sources) {
      const all = [...outcomes.map(({ kept }) => kept), ...left!.unsettled];
      told += outcomes.length;
      if (new Set(all).size !== all.length) t.fail('a verdict was told twice');
      if (!link.isPresettled && all.length !== sent) t.fail(`${all.length} verdicts for ${sent} messages`);
    }
    for (const { deliveries } of nodes.targets) taken += deliveries.length;
    t.comment(`${nodes.sources.length} sources, ${told} verdicts, ${taken} messages taken`);
    t.ok(told > 50 && taken > 50, 'it was not all nonsense');
  });
}
