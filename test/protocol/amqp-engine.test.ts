import t from 'tap';
import { ACCEPTED, RELEASED, type DeliveryState, type Open } from '../../adapters/amqp/v1/codec/performatives.ts';
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
import { TestNodes } from '../helpers/amqp-nodes.ts';
import { startAmqpServer, type AmqpServer } from '../helpers/amqp-server.ts';
import { ScramClient } from '../helpers/scram-client.ts';

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
    client.disposition(next, deliveryId!);
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

t.test("headers: TLS is the transport's, where it offers it", async (t) => {
  let received: Buffer | undefined;
  const nodes = new TestNodes();
  const server = await startAmqpServer(nodes, {
    handler: (adapter) => ({
      handleConnection: ({ stream, remoteAddress }) => {
        const startTls = (bytes: Buffer): void => {
          received = bytes;
          // What follows would be encrypted; here it goes on as it is.
          if (bytes.length > 0) stream.unshift(bytes);
          adapter.handleConnection({ stream, remoteAddress, certificateUser: 'device' });
          stream.resume();
        };
        adapter.handleConnection({ stream, remoteAddress, startTls });
      },
    }),
  });
  t.teardown(() => server.close());
  const client = await RawAmqpClient.connect(server.port);
  client.write(PROTOCOL_HEADERS.tls.subarray(0, 5));
  client.write(PROTOCOL_HEADERS.tls.subarray(5), PROTOCOL_HEADERS.sasl);
  t.equal((await client.next('header')).protocol, 'tls');
  t.equal((await client.next('header')).protocol, 'sasl');
  t.same(received, PROTOCOL_HEADERS.sasl);
  t.same((await client.next('sasl-mechanisms')).mechanisms, ['EXTERNAL', 'PLAIN', 'ANONYMOUS']);
  client.sendSasl({ kind: 'sasl-init', mechanism: 'EXTERNAL', initialResponse: Buffer.alloc(0) });
  t.equal((await client.next('sasl-outcome')).code, 0);
  client.header('amqp');
  await client.open();
  await client.begin();
  await client.receiver('q');
  t.same(nodes.source.link.peer.principal, { name: 'device', anonymous: false });
  await client.close();
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
  const client = await RawAmqpClient.connect(server.port);
  client.header('amqp');
  const open = await client.open({ idleTimeOutMs: 1000 });
  t.match(open, { containerId: 'here', maxFrameSize: 4096, channelMax: 7, idleTimeOutMs: 30_000 });
  t.same(open.offeredCapabilities, ['ANONYMOUS-RELAY', 'DELAYED_DELIVERY', 'SHARED-SUBS']);
  const text = Object.fromEntries([...open.properties].map(([key, value]) => [key, 'value' in value && value.value]));
  t.match(text, {
    product: 'gantry',
    version: 'test',
    platform: /^Node/,
    'queue-prefix': 'queue://',
    'topic-prefix': 'topic://',
  });
  // Half of the client's idle time-out.
  await server.clock.advance(400);
  t.equal((await client.next('empty')).channel, 0);
  await client.close();

  const faults: [Partial<Open>, string][] = [
    [{ maxFrameSize: 511 }, 'amqp:invalid-field'],
    [{ idleTimeOutMs: 10 }, 'amqp:not-allowed'],
  ];
  for (const [fields, condition] of faults) {
    const faulty = await RawAmqpClient.connect(server.port);
    faulty.header('amqp');
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
