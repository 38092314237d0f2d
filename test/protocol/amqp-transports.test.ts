import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as connectTls, type ConnectionOptions as TlsOptions, type TLSSocket } from 'node:tls';
import type { Connection } from 'rhea';
import t, { type Test } from 'tap';
import { createWebSocketStream } from 'ws';
import { encodeFrame } from '../../adapters/amqp/v1/codec/frame-encoder.ts';
import { AMQP_HEADER, AMQP_SASL_HEADER, AMQP_TLS_HEADER } from '../../gateway/listeners/amqp-header.ts';
import { attachFrame, beginFrame, flowFrame, RawAmqpClient, sourceOf, transferFrame } from '../helpers/amqp-client.ts';
import { messageOf, NodeClient } from '../helpers/amqp-node-server.ts';
import { startGatewayProcess } from '../helpers/gateway-process.ts';
import { openConnections, startListeners } from '../helpers/listeners.ts';
import { proxyHeader, proxyV2 } from '../helpers/proxy-headers.ts';
import { RecordedLog } from '../helpers/recorded-log.ts';
import {
  closeRhea,
  openRhea,
  openRheaOverWebSocket,
  externalMechanism,
  type RheaOptions,
} from '../helpers/rhea-connections.ts';
import { TestAuthority } from '../helpers/test-authority.ts';
import { allOf, openTcp, openTls, openWebSocket, until, writeByteByByte } from '../helpers/transport-clients.ts';

const authority = await TestAuthority.create();
const stranger = await TestAuthority.create();
const tls = await authority.serverFiles();
const { caFile } = authority;
const trust = { ca: authority.cert };
const proxyProtocol = { trusted: ['127.0.0.0/8'] };
/** `open` with the container id `x`, and `close`. */
const OPEN = Buffer.from([0, 0, 0, 17, 2, 0, 0, 0, 0, 0x53, 0x10, 0xc0, 4, 1, 0xa1, 1, 0x78]);
const CLOSE = Buffer.from([0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x18, 0x45]);
const MESSAGE = transferFrame({ deliveryId: 0 }, messageOf('x'));
const AMQP_0_9_1_HEADER = Buffer.from('AMQP\0\0\x09\x01', 'latin1');

const start = (t: Test, listeners: object[], overrides: string[] = [], log?: RecordedLog) =>
  startListeners(t, 'amqp', listeners, overrides, log);

/** Asks for TLS by the AMQP TLS header, and starts it. */
async function openTlsByHeader(port: number, options: TlsOptions, header?: Buffer): Promise<TLSSocket> {
  const socket = await openTcp(port, header);
  socket.write(AMQP_TLS_HEADER);
  const answer = await readBytes(socket, 8);
  if (!answer.equals(AMQP_TLS_HEADER)) throw new Error(`answered with ${answer.toString('hex')}`);
  const secure = connectTls({ servername: 'localhost', ...options, socket });
  await once(secure, 'secureConnect');
  secure.on('error', () => {});
  return secure;
}

/** A client's side that sends the TLS header together with what comes first, and does not wait for the answer. */
class HeaderFirst extends Duplex {
  private readonly socket: Socket;
  private isFirst = true;

  constructor(socket: Socket) {
    super();
    this.socket = socket;
    void readBytes(socket, 8).then(() => {
      socket.on('data', (chunk: Buffer) => this.push(chunk));
      socket.on('end', () => this.push(null));
    });
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: () => void): void {
    this.socket.write(this.isFirst ? Buffer.concat([AMQP_TLS_HEADER, chunk]) : chunk, written);
    this.isFirst = false;
  }

  override _final(done: () => void): void {
    this.socket.end(done);
  }
}

async function readBytes(socket: Socket, count: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(count) as Buffer | null;
    if (bytes !== null) return bytes;
    await once(socket, 'readable');
  }
}

/** Opens, says good-bye. */
async function comeAndGo(connecting: Promise<Connection>): Promise<void> {
  const connection = await connecting;
  await closeRhea(connection);
}

const ANONYMOUS: RheaOptions = { username: 'anonymous' };
/** Also where rhea cannot see that there is TLS below. */
const EXTERNAL_ALONE: RheaOptions = { sasl_mechanisms: externalMechanism() };

t.test('the protocol header', async (t) => {
  const server = await start(t, [{}, { tls }, { connectTimeoutMs: 150 }]);
  const [tcp, secure, hasty] = server.amqpPorts as [number, number, number];
  await comeAndGo(openRhea(await openTcp(tcp), ANONYMOUS));
  await comeAndGo(openRhea(await openTcp(tcp)));
  t.pass('with SASL and without');

  for (const header of [AMQP_SASL_HEADER, AMQP_HEADER]) {
    for (const write of [
      async (socket: Socket) => void socket.write(header),
      (socket: Socket) => writeByteByByte(socket, header),
    ]) {
      const socket = await openTcp(tcp);
      await write(socket);
      t.same(await readBytes(socket, 8), header, 'answered in kind');
      socket.destroy();
    }
  }

  const conversation = Buffer.concat([AMQP_HEADER, OPEN, CLOSE]);
  for (const [what, socket] of [
    ['tcp', await openTcp(tcp)],
    ['tls', await openTls(secure, trust)],
    ['byte by byte', await openTcp(tcp)],
  ] as const) {
    if (what === 'byte by byte') await writeByteByByte(socket, conversation);
    else socket.write(conversation);
    const answer = await allOf(socket);
    t.same(answer.subarray(0, 8), AMQP_HEADER, `${what}: everything at once`);
    t.ok(answer.indexOf(Buffer.from([0, 0x53, 0x10])) > 0, 'open is answered');
    t.same(answer.subarray(-12), CLOSE, 'so is close');
  }

  const others: [string, Buffer][] = [
    ['0-9-1', AMQP_0_9_1_HEADER],
    ['AMQP 1.1', Buffer.from('AMQP\0\x01\x01\0', 'latin1')],
    ['TLS where there is none', AMQP_TLS_HEADER],
    ['a TLS handshake', Buffer.from([0x16, 3, 1, 2, 0, 1])],
    ['HTTP', Buffer.from(`GET / HTTP/1.1\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`)],
    ['MQTT', Buffer.from('\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0', 'latin1')],
    ['a long-winded client', Buffer.concat([AMQP_0_9_1_HEADER, Buffer.alloc(1_000_000)])],
  ];
  for (const [what, bytes] of others) {
    const socket = await openTcp(tcp, bytes);
    t.same(await allOf(socket), AMQP_SASL_HEADER, what);
  }
  const slow = await openTcp(tcp);
  await writeByteByByte(slow, AMQP_0_9_1_HEADER);
  t.same(await allOf(slow), AMQP_SASL_HEADER, '0-9-1 byte by byte');
  const overTls = await openTls(secure, trust);
  overTls.write(AMQP_0_9_1_HEADER);
  t.same(await allOf(overTls), AMQP_SASL_HEADER, '0-9-1 over TLS');

  for (const bytes of [Buffer.alloc(0), AMQP_HEADER.subarray(0, 7)]) {
    t.equal((await allOf(await openTcp(hasty, bytes))).length, 0, `${bytes.length} bytes and no more`);
    const gone = await openTcp(tcp, bytes);
    gone.end();
    t.equal((await allOf(gone)).length, 0, `${bytes.length} bytes and the end`);
  }
  const stubborn = connectTcp({ port: hasty, host: '127.0.0.1', allowHalfOpen: true });
  stubborn.write(AMQP_0_9_1_HEADER);
  t.same(await readBytes(stubborn, 8), AMQP_SASL_HEADER);
  await until(() => openConnections(server, 'amqp') === 0);
  stubborn.destroy();
  t.pass('a client that does not close is closed');
});

t.test('TLS', async (t) => {
  const server = await start(t, [{ tls }]);
  const [port] = server.amqpPorts as [number];
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const versions = { minVersion: version, maxVersion: version };
    await comeAndGo(openRhea(await openTls(port, { ...trust, ...versions }), ANONYMOUS));
    t.pass(version);
  }
  t.equal((await allOf(await openTcp(port, AMQP_SASL_HEADER))).includes('AMQP'), false, 'AMQP without TLS');
  const twice = await openTls(port, trust);
  twice.write(AMQP_TLS_HEADER);
  t.same(await allOf(twice), AMQP_SASL_HEADER, 'TLS inside TLS');
  await until(() => openConnections(server, 'amqp') === 0);
});

t.test('TLS by the AMQP TLS header', async (t) => {
  const log = new RecordedLog();
  const clients = { caFile, requireClientCertificate: true, certificateAsUser: true };
  const server = await start(
    t,
    [
      { tls: { ...tls, onRequest: true } },
      { tls: { ...tls, onRequest: true, ...clients } },
      { tls: { ...tls, onRequest: true }, connectTimeoutMs: 150 },
      { tls: { ...tls, onRequest: true }, connectRateMax: 100 },
    ],
    [],
    log,
  );
  const [port, certified, hasty, paced] = server.amqpPorts as [number, number, number, number];
  t.same(
    server.gateway.listeners.filter(({ protocol }) => protocol === 'amqp').map(({ transport }) => transport),
    ['tcp', 'tcp', 'tcp', 'tcp'],
  );
  for (const one of [port, paced]) {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const versions = { minVersion: version, maxVersion: version };
      await comeAndGo(openRhea(await openTlsByHeader(one, { ...trust, ...versions }), ANONYMOUS));
      t.pass(version);
    }
    await comeAndGo(openRhea(await openTcp(one), ANONYMOUS));
    t.pass('and plain on the same port');
  }

  const slow = await openTcp(port);
  await writeByteByByte(slow, AMQP_TLS_HEADER);
  t.same(await readBytes(slow, 8), AMQP_TLS_HEADER);
  const secure = connectTls({ servername: 'localhost', ...trust, socket: slow });
  await once(secure, 'secureConnect');
  await comeAndGo(openRhea(secure, ANONYMOUS));
  t.pass('byte by byte');

  const hurried = connectTls({ servername: 'localhost', ...trust, socket: new HeaderFirst(await openTcp(port)) });
  await once(hurried, 'secureConnect');
  await comeAndGo(openRhea(hurried, ANONYMOUS));
  t.pass('a handshake that does not wait for the answer');

  const twice = await openTlsByHeader(port, trust);
  twice.write(AMQP_TLS_HEADER);
  t.same(await allOf(twice), AMQP_SASL_HEADER, 'TLS inside TLS');

  for (const header of [AMQP_SASL_HEADER, AMQP_HEADER]) {
    t.same(await allOf(await openTcp(certified, header)), AMQP_TLS_HEADER, 'nobody without a certificate');
  }
  const meter = await authority.issue('meter-7');
  const external = { enable_sasl_external: true, cert: meter.cert };
  await comeAndGo(openRhea(await openTlsByHeader(certified, { ...trust, ...meter }), external));
  t.pass('with a certificate');

  const bystander = await openRhea(await openTlsByHeader(port, trust), ANONYMOUS);
  for (const bytes of [Buffer.alloc(0), Buffer.from([0x16, 3, 1, 2, 0, 1])]) {
    t.same(await allOf(await openTcp(hasty, Buffer.concat([AMQP_TLS_HEADER, bytes]))), AMQP_TLS_HEADER, 'no handshake');
    const cut = await openTcp(port, Buffer.concat([AMQP_TLS_HEADER, bytes]));
    cut.end();
    await allOf(cut);
  }
  await allOf(await openTcp(port, Buffer.concat([AMQP_TLS_HEADER, AMQP_SASL_HEADER])));
  await log.find(({ message }) => message === 'the TLS handshake failed');
  await closeRhea(bystander);
  await until(() => openConnections(server, 'amqp') === 0);
});

t.test('mutual TLS', async (t) => {
  const server = await start(
    t,
    [
      { tls: { ...tls, caFile, requireClientCertificate: true, certificateAsUser: true } },
      { tls: { ...tls, caFile, requestClientCertificate: true, certificateAsUser: true } },
      { tls: { ...tls, caFile, requireClientCertificate: true } },
      { transport: 'ws', tls: { ...tls, caFile, requireClientCertificate: true, certificateAsUser: true } },
      { tls: { ...tls, onRequest: true, caFile, requestClientCertificate: true, certificateAsUser: true } },
    ],
    ['anonymous=false', 'users=[{ name: other, secretKey: x }]'],
  );
  const [required, requested, unnamed, wss, byHeader] = server.amqpPorts as [number, number, number, number, number];
  const meter = await authority.issue('meter-7');
  const external = { enable_sasl_external: true, cert: meter.cert };
  await comeAndGo(openRhea(await openTls(required, { ...trust, ...meter }), external));
  await comeAndGo(openRhea(await openTls(requested, { ...trust, ...meter }), external));
  await comeAndGo(openRhea(await openTlsByHeader(byHeader, { ...trust, ...meter }), external));
  await comeAndGo(openRheaOverWebSocket(wss, { ...trust, ...meter }, EXTERNAL_ALONE));
  t.pass('EXTERNAL by certificate');

  const refused: [string, () => Promise<Connection>][] = [
    ['no certificate, no user', async () => openRhea(await openTls(requested, trust), ANONYMOUS)],
    ['no certificate', async () => openRhea(await openTls(requested, trust), EXTERNAL_ALONE)],
    ['a certificate that names nobody', async () => openRhea(await openTls(unnamed, { ...trust, ...meter }), external)],
    ['no TLS', async () => openRhea(await openTcp(byHeader), ANONYMOUS)],
    [
      'a stranger',
      async () => openRhea(await openTls(requested, { ...trust, ...(await stranger.issue('meter-7')) }), external),
    ],
    [
      'two names',
      async () => openRhea(await openTls(required, { ...trust, ...(await authority.issue('a', 'b')) }), external),
    ],
  ];
  for (const [what, opening] of refused) await t.rejects(opening(), what);
  await until(() => openConnections(server, 'amqp') === 0);
});

t.test('WebSocket', async (t) => {
  const origins = ['https://example.org'];
  const server = await start(t, [
    { transport: 'ws' },
    { transport: 'ws', tls },
    { transport: 'ws', path: '/broker', origins },
    { transport: 'ws', maxFrameSizeBytes: 10_000 },
  ]);
  const [ws, wss, custom, narrow] = server.amqpPorts as [number, number, number, number];
  await comeAndGo(openRheaOverWebSocket(ws, {}, ANONYMOUS));
  await comeAndGo(openRheaOverWebSocket(ws));
  await comeAndGo(openRheaOverWebSocket(wss, trust, ANONYMOUS));
  await comeAndGo(openRheaOverWebSocket(custom, { path: '/broker', origin: origins[0]! }, ANONYMOUS));
  await comeAndGo(openRheaOverWebSocket(ws, { protocols: ['x', 'amqp'] }, ANONYMOUS));
  t.pass('rhea');

  const ask = await openTcp(ws, Buffer.from('GET /amqp HTTP/1.1\r\nHost: x\r\n\r\n'));
  t.match((await allOf(ask)).toString(), /^HTTP\/1\.1 426 [^]*AMQP/);
  const amqp = { path: '/amqp', protocols: ['amqp'] };
  await t.rejects(openWebSocket(ws, { ...amqp, protocols: ['mqtt'] }), { message: /400/ });
  await t.rejects(openWebSocket(ws, { ...amqp, protocols: [] }), { message: /400/ });
  await t.rejects(openWebSocket(ws, { ...amqp, path: '/mqtt' }), { message: /404/ });
  await t.rejects(openWebSocket(custom, { ...amqp, path: '/broker', origin: 'https://example.com' }), {
    message: /403/,
  });

  for (const header of [AMQP_0_9_1_HEADER, AMQP_TLS_HEADER]) {
    const webSocket = await openWebSocket(ws, amqp);
    for (const byte of header) webSocket.send(Buffer.of(byte));
    const [answer, isBinary] = (await once(webSocket, 'message')) as [Buffer, boolean];
    t.same([answer, isBinary], [AMQP_SASL_HEADER, true], 'not spoken here');
    const [code] = (await once(webSocket, 'close')) as [number];
    t.equal(code, 1000);
  }
  const slow = await openWebSocket(ws, amqp);
  for (const byte of AMQP_SASL_HEADER) slow.send(Buffer.of(byte));
  t.same(((await once(slow, 'message')) as [Buffer])[0].subarray(0, 8), AMQP_SASL_HEADER);
  slow.send('text');
  t.equal(((await once(slow, 'close')) as [number])[0], 1003, 'binary frames only');
  const large = await openWebSocket(narrow, amqp);
  large.send(AMQP_SASL_HEADER);
  await once(large, 'message');
  large.send(Buffer.alloc(10_000 + 1024 * 1024 + 1));
  t.equal(((await once(large, 'close')) as [number])[0], 1009, 'a message that is too large');
  const early = await openWebSocket(ws, amqp);
  early.send(Buffer.alloc(900_000));
  t.ok([1009, 1006].includes(((await once(early, 'close')) as [number])[0]), 'much before the first answer');
  await until(() => openConnections(server, 'amqp') === 0);
});

t.test('PROXY protocol', async (t) => {
  const log = new RecordedLog();
  const server = await start(
    t,
    [
      { proxyProtocol },
      { proxyProtocol, tls },
      { proxyProtocol, tls: { ...tls, onRequest: true } },
      { proxyProtocol, transport: 'ws' },
      { proxyProtocol, transport: 'ws', tls },
      { proxyProtocol: { trusted: ['10.0.0.0/8', '::1'] } },
    ],
    [],
    log,
  );
  const [tcp, secure, byHeader, ws, wss, distrustful] = server.amqpPorts as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const kinds: [string, (header: Buffer) => Promise<Connection>][] = [
    ['tcp', async (header) => openRhea(await openTcp(tcp, header), ANONYMOUS)],
    ['tls', async (header) => openRhea(await openTls(secure, trust, header), ANONYMOUS)],
    ['tls by header', async (header) => openRhea(await openTlsByHeader(byHeader, trust, header), ANONYMOUS)],
    [
      'ws',
      async (header) => {
        const socket = await openTcp(ws, header);
        return openRheaOverWebSocket(ws, { createConnection: () => socket }, ANONYMOUS);
      },
    ],
    [
      'wss',
      async (header) => {
        const socket = await openTls(wss, trust, header);
        return openRheaOverWebSocket(wss, { createConnection: () => socket }, ANONYMOUS);
      },
    ],
  ];
  const headers = [proxyHeader(1), proxyHeader(2), Buffer.from('PROXY UNKNOWN\r\n'), proxyV2(0x20, 0)];
  for (const [kind, open] of kinds) {
    for (const header of headers) await comeAndGo(open(header));
    t.pass(kind);
  }
  for (const version of [1, 2] as const) {
    const joined = await openTcp(tcp, Buffer.concat([proxyHeader(version), AMQP_SASL_HEADER]));
    t.same(await readBytes(joined, 8), AMQP_SASL_HEADER, 'both headers at once');
    const slowly = await openTcp(tcp);
    await writeByteByByte(slowly, Buffer.concat([proxyHeader(version), AMQP_SASL_HEADER]));
    t.same(await readBytes(slowly, 8), AMQP_SASL_HEADER, 'byte by byte');
    joined.destroy();
    slowly.destroy();
  }
  const strange = Buffer.concat([AMQP_HEADER, Buffer.from([0, 0, 0, 4])]);
  for (const [kind, socket] of [
    ['tcp', await openTcp(tcp, proxyHeader(2))],
    ['tls', await openTls(secure, trust, proxyHeader(1))],
    ['tls by header', await openTlsByHeader(byHeader, trust, proxyHeader(2))],
  ] as const) {
    log.entries.length = 0;
    socket.write(strange);
    await allOf(socket);
    await log.find(({ fields }) => fields['from'] === '192.0.2.7' && fields['condition'] !== undefined);
    t.pass(`${kind}: the client's own address`);
  }
  const closed: [string, number, Buffer][] = [
    ['no header', tcp, AMQP_SASL_HEADER],
    ['no header before that for TLS', byHeader, AMQP_TLS_HEADER],
    ['a source that is not trusted', distrustful, Buffer.concat([proxyHeader(1), AMQP_SASL_HEADER])],
  ];
  for (const [what, port, bytes] of closed) t.equal((await allOf(await openTcp(port, bytes))).length, 0, what);
  await until(() => openConnections(server, 'amqp') === 0);
});

/** What the server says when it does not let the client in. */
async function refusalOf(opening: Promise<Connection>): Promise<string | undefined> {
  try {
    await opening;
    return undefined;
  } catch (error) {
    return (error as { condition?: string }).condition;
  }
}

t.test('the limit of connections', async (t) => {
  const server = await start(
    t,
    [{ connectionsMax: 2 }, { transport: 'ws', connectionsMax: 2 }, { tls, connectionsMax: 2 }, {}],
    ['amqp.connectionsMax=5'],
  );
  const [tcp, ws, secure, rest] = server.amqpPorts as [number, number, number, number];
  const kinds: [string, () => Promise<Connection>, () => Promise<Socket>][] = [
    ['tcp', async () => openRhea(await openTcp(tcp), ANONYMOUS), () => openTcp(tcp)],
    ['ws', () => openRheaOverWebSocket(ws, {}, ANONYMOUS), () => openTcp(ws)],
    ['tls', async () => openRhea(await openTls(secure, trust), ANONYMOUS), () => openTcp(secure)],
  ];
  for (const [kind, open, openOnly] of kinds) {
    const first = await open();
    const silent = await openOnly();
    await until(() => openConnections(server, 'amqp') === 2);
    t.equal(await refusalOf(open()), 'amqp:resource-limit-exceeded', `${kind}: one above, a handshake counted`);
    silent.destroy();
    await until(() => openConnections(server, 'amqp') === 1);
    await closeRhea(await open());
    t.pass(`${kind}: there is room again`);
    await closeRhea(first);
    await until(() => openConnections(server, 'amqp') === 0);
  }
  const others = [];
  for (const port of [tcp, tcp, secure, secure]) others.push(await openTcp(port));
  await until(() => openConnections(server, 'amqp') === 4);
  const last = await openRhea(await openTcp(rest), ANONYMOUS);
  const above = openRhea(await openTcp(rest), ANONYMOUS);
  t.equal(await refusalOf(above), 'amqp:resource-limit-exceeded', 'the limit of all listeners together');
  await closeRhea(last);
  for (const socket of others) socket.destroy();
});

t.test('limits of a listener go before those of all', async (t) => {
  const own = { maxFrameSizeBytes: 1000, idleTimeoutMs: 30_000, saslMechanisms: ['PLAIN'] };
  const server = await start(t, [{}, own], ['amqp.maxFrameSizeBytes=2000', 'amqp.idleTimeoutMs=60000']);
  const granted = [];
  for (const port of server.amqpPorts) {
    const connection = await openRhea(await openTcp(port), { username: 'anyone', password: 'at all' });
    granted.push([connection.max_frame_size, connection.idle_time_out]);
    await closeRhea(connection);
  }
  t.same(granted, [
    [2000, 30_000],
    [1000, 15_000],
  ]);
  await t.rejects(openRhea(await openTcp(server.amqpPorts[1]!), ANONYMOUS), { message: /PLAIN/ });
});

t.test('the rate of connections', async (t) => {
  const server = await start(t, [
    { connectRateMax: 2 },
    { connectRateMax: 2, tls },
    { connectRateMax: 2, transport: 'ws' },
  ]);
  const [tcp, secure, ws] = server.amqpPorts as [number, number, number];
  const opening: [string, () => Promise<Connection>][] = [
    ['tcp', async () => openRhea(await openTcp(tcp), ANONYMOUS)],
    ['tls', async () => openRhea(await openTls(secure, trust), ANONYMOUS)],
    ['ws', () => openRheaOverWebSocket(ws, {}, ANONYMOUS)],
  ];
  await Promise.all(
    opening.map(async ([kind, open]) => {
      const startedAt = performance.now();
      const connections = await Promise.all(Array.from({ length: 4 }, open));
      t.ok(performance.now() - startedAt > 900, `${kind}: two at once, two later`);
      await Promise.all(connections.map(closeRhea));
    }),
  );
  const crowd = await Promise.all(Array.from({ length: 20 }, () => openTcp(tcp)));
  const refused = crowd.map(async (socket) => {
    const condition = await refusalOf(openRhea(socket, ANONYMOUS));
    if (condition !== 'amqp:resource-limit-exceeded') throw new Error(`let in, or ${condition}`);
  });
  await Promise.any(refused);
  t.pass('who cannot even wait is told so');
  for (const socket of crowd) socket.destroy();
});

/** What lies below a socket of Node's: its calls are those of the operating system. */
interface TcpHandle {
  getsockname(into: { port?: number }): void;
  setNoDelay: (this: TcpHandle, enabled: boolean) => number;
}

/** What the operating system is told of the sockets of each local port, as long as the test runs. */
function watchNoDelay(t: Test, socket: Socket): ReadonlyMap<number, boolean> {
  const handles = Object.getPrototypeOf(Reflect.get(socket, '_handle')) as TcpHandle;
  const { setNoDelay } = handles;
  const told = new Map<number, boolean>();
  handles.setNoDelay = function (enabled) {
    const name: { port?: number } = {};
    this.getsockname(name);
    told.set(name.port!, enabled);
    return setNoDelay.call(this, enabled);
  };
  t.teardown(() => (handles.setNoDelay = setNoDelay));
  return told;
}

t.test('defect 27: no accepted socket waits for more before it sends', async (t) => {
  const listeners = [{}, { tls }, { tls: { ...tls, onRequest: true } }, { transport: 'ws' }, { proxyProtocol }];
  const server = await start(t, listeners);
  const [tcp, secure, onRequest, ws, proxied] = server.amqpPorts as [number, number, number, number, number];
  const told = watchNoDelay(t, await openTcp(tcp));
  const amqp = { path: '/amqp', protocols: ['amqp'] };
  const streams: [number, Duplex][] = [
    [tcp, await openTcp(tcp)],
    [secure, await openTls(secure, trust)],
    [onRequest, await openTlsByHeader(onRequest, trust)],
    [ws, createWebSocketStream(await openWebSocket(ws, amqp), { allowHalfOpen: false })],
    [proxied, await openTcp(proxied, proxyHeader(2))],
  ];
  for (const [port, stream] of streams) {
    const client = RawAmqpClient.over(stream);
    client.header('amqp');
    await client.open();
    t.equal(told.get(port), true, `port ${server.amqpPorts.indexOf(port)}`);
    await client.close();
  }
});

/** The condition of the next detach, end or close. */
async function endOf(client: RawAmqpClient): Promise<string | undefined> {
  for (;;) {
    const next = await client.take();
    if (next === undefined) return undefined;
    if (next.kind === 'detach' || next.kind === 'end' || next.kind === 'close') return next.error?.condition;
  }
}

t.test('defect 12b: whatever a client does wrong, the process lives and serves the others', async (t) => {
  const gateway = await startGatewayProcess(['anonymous=true']);
  t.teardown(() => gateway.child.kill('SIGKILL'));
  const { amqpPort } = gateway;
  const other = new NodeClient(await RawAmqpClient.opened(amqpPort));
  await other.sender(0, '/queues/q');
  await other.receiver(1, '/queues/q', 1_000);
  const receiver = attachFrame({ role: 'receiver', source: sourceOf('/queues/other') });
  const faults: [string, (client: RawAmqpClient) => void][] = [
    ['a transfer for no link', (client) => client.transfer({ handle: 77, deliveryId: 0 })],
    ['a flow for no link', (client) => client.flow({ handle: 77, deliveryCount: 0, linkCredit: 1 })],
    ['a detach of no link', (client) => client.send({ kind: 'detach', handle: 77, closed: true })],
    ['a handle too large', (client) => client.send({ ...receiver, handle: 0xffff_ffff })],
    ['a handle in use', (client) => client.send(receiver, { ...receiver, name: 'another' })],
    ['an attach where there is no session', (client) => client.sendOn(5, receiver)],
    ['a channel too large', (client) => client.sendOn(0xffff, beginFrame())],
    ['a transfer where there is no session', (client) => client.write(transferFrame({ deliveryId: 0 }, undefined, 9))],
    ['a transfer to a receiver', (client) => client.write(encodeFrame(0, receiver), MESSAGE)],
    ['a flow where there is no session', (client) => client.sendOn(3, flowFrame({ handle: 0 }))],
    ['no AMQP', (client) => client.write(Buffer.alloc(64, 0xff))],
    ['no AMQP inside of a frame', (client) => client.write(Buffer.from([0, 0, 0, 12, 2, 0, 0, 0, 0xff, 0, 0xff, 0]))],
  ];
  for (const [what, fault] of faults) {
    const client = await RawAmqpClient.opened(amqpPort);
    fault(client);
    t.match(await endOf(client), /^amqp:/, what);
    client.destroy();
    t.equal(await other.send(0, what), 'accepted');
    t.same(await other.texts(1), [what]);
  }
  // Gone in the middle of a frame.
  const cut = await RawAmqpClient.opened(amqpPort);
  cut.write(MESSAGE.subarray(0, 9));
  (cut.stream as Socket).resetAndDestroy();
  t.equal(await other.send(0, 'still'), 'accepted');
  t.equal(gateway.child.exitCode, null);
  t.same(
    gateway.log.filter(({ level }) => (level as number) >= 50),
    [],
  );
  gateway.child.kill('SIGTERM');
  t.equal(await gateway.exited, 0);
});

t.test('clients are told that the gateway stops', async (t) => {
  const server = await start(t, [{}, { tls }, { transport: 'ws' }]);
  const [tcp, secure, ws] = server.amqpPorts as [number, number, number];
  const connections = [
    await openRhea(await openTcp(tcp), ANONYMOUS),
    await openRhea(await openTls(secure, trust), ANONYMOUS),
    await openRheaOverWebSocket(ws, {}, ANONYMOUS),
  ];
  const closed = connections.map((connection) => once(connection, 'connection_close'));
  const waiting = await openTcp(tcp, AMQP_SASL_HEADER.subarray(0, 4));
  await server.gateway.stop();
  await Promise.all(closed);
  for (const { error } of connections) t.match(error, { condition: 'amqp:connection:forced' });
  t.equal((await allOf(waiting)).length, 0, 'in the middle of its header');
});

t.test('a certificate that cannot be used stops the start', async (t) => {
  for (const listener of [
    { tls: { ...tls, certFile: '/nowhere.crt' } },
    { tls: { certFile: tls.keyFile, keyFile: tls.certFile, onRequest: true } },
  ]) {
    await t.rejects(start(t, [{}, listener]), { message: /^amqp\.listeners\[1\]: / });
  }
});
