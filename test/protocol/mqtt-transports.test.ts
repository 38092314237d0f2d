import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { WebSocket } from 'ws';
import { encodePacket } from '../../adapters/mqtt/codec/encoder.ts';
import type { Packet, ProtocolVersion } from '../../adapters/mqtt/codec/packet.ts';
import { openConnections, startListeners } from '../helpers/listeners.ts';
import { connectPacket, puback, publishPacket, RawMqttClient } from '../helpers/mqtt-client.ts';
import { proxyHeader, proxyV2 } from '../helpers/proxy-headers.ts';
import { RecordedLog } from '../helpers/recorded-log.ts';
import { TestAuthority } from '../helpers/test-authority.ts';
import {
  allOf,
  mqttOver,
  openMqttOverWebSocket,
  openTcp,
  openTls,
  openWebSocket,
  until,
  writeByteByByte,
} from '../helpers/transport-clients.ts';

const authority = await TestAuthority.create();
const stranger = await TestAuthority.create();
const serverFiles = await authority.serverFiles();
const tls = serverFiles;
const { caFile } = authority;
const trust = { ca: authority.cert };
const LOCAL_PROXY = { trusted: ['127.0.0.0/8'] };

const start = (t: Test, listeners: object[], overrides: string[] = [], log?: RecordedLog) =>
  startListeners(t, 'mqtt', listeners, overrides, log);

/** Subscribes, publishes to itself, small and large, and takes both back. */
async function roundTrip(t: Test, client: RawMqttClient, topic: string): Promise<void> {
  t.same(await client.subscribe(1, `${topic}/#`), [1]);
  for (const payload of ['small', 'x'.repeat(300_000)]) {
    client.send(publishPacket(`${topic}/a`, payload, { qos: 1, packetIdentifier: 7 }));
    const both = [await client.take(), await client.take()];
    const publish = both.find((packet) => packet?.type === 'publish');
    t.equal(publish?.payload.length, payload.length, `${payload.length} bytes`);
    client.send(puback(publish?.packetIdentifier));
  }
}

async function connackOf(client: RawMqttClient, fields: Parameters<RawMqttClient['connect']>[0] = {}) {
  const { reasonCode } = await client.connect(fields);
  return reasonCode;
}

t.test('TLS', async (t) => {
  const log = new RecordedLog();
  const server = await start(t, [{ tls }, { tls, connectTimeoutMs: 150 }], [], log);
  const [port, hasty] = server.mqttPorts as [number, number];

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const socket = await openTls(port, { ...trust, minVersion: version, maxVersion: version });
    const client = RawMqttClient.over(socket);
    t.equal(await connackOf(client), 0, version);
    await roundTrip(t, client, version);
    client.send({ type: 'disconnect', reasonCode: 0 });
    t.same(await client.rest(), []);
  }
  await t.rejects(
    openTls(port, { ...trust, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' }),
    'TLS 1.1 is too old',
  );
  await log.find(({ message }) => message === 'the TLS handshake failed');

  const bystander = RawMqttClient.over(await openTls(port, trust));
  await bystander.connect();
  const plain = await openTcp(port, encodePacket(connectPacket(4), 4));
  await allOf(plain);
  const cut = await openTcp(port, Buffer.from([0x16, 3, 1, 2, 0, 1]));
  cut.end();
  await allOf(cut);
  for (const bytes of [Buffer.alloc(0), Buffer.from([0x16, 3, 1, 2, 0, 1])]) {
    await allOf(await openTcp(hasty, bytes));
    t.pass('a handshake that takes too long');
  }
  t.same(await bystander.fence(), [], 'nobody else is disturbed');
  bystander.destroy();
  await until(() => openConnections(server, 'mqtt') === 0);
});

t.test('the last packet before the end arrives', async (t) => {
  const server = await start(t, [{}, { tls }, { transport: 'ws' }, { transport: 'ws', tls }]);
  const [tcp, secure, ws, wss] = server.mqttPorts as [number, number, number, number];
  const opened = async (): Promise<RawMqttClient[]> => [
    RawMqttClient.over(await openTcp(tcp)),
    RawMqttClient.over(await openTls(secure, trust)),
    await openMqttOverWebSocket(ws),
    await openMqttOverWebSocket(wss, trust),
  ];
  for (const client of await opened()) {
    await client.connect();
    client.send(Buffer.from([0x00, 0x00]));
    t.match(await client.rest(), [{ type: 'disconnect', reasonCode: 0x81 }]);
  }
  for (const client of await opened()) {
    client.send({ ...connectPacket(5), properties: { authenticationMethod: 'x' } });
    t.match(await client.rest(), [{ type: 'connack', reasonCode: 0x8c }]);
  }
  for (const client of await opened()) {
    await client.connect();
    client.socket.end();
    t.same(await client.rest(), [], 'the client closes first');
  }
  for (const client of await opened()) {
    await client.connect();
    client.destroy();
  }
  await until(() => openConnections(server, 'mqtt') === 0);
  const last = await opened();
  for (const client of last) await client.connect();
  const stopped = server.gateway.stop();
  for (const client of last) t.match(await client.rest(), [{ type: 'disconnect', reasonCode: 0x8b }]);
  await stopped;
});

t.test('mutual TLS', async (t) => {
  const names = { certificateAsUser: true, certificateAsClientIdentifier: true };
  const log = new RecordedLog();
  const server = await start(
    t,
    [
      { tls: { ...tls, caFile, requireClientCertificate: true, ...names } },
      { tls: { ...tls, caFile, requestClientCertificate: true, certificateAsUser: true } },
      { tls: { ...tls, caFile, requireClientCertificate: true } },
      { transport: 'ws', tls: { ...tls, caFile, requireClientCertificate: true, ...names } },
    ],
    ['anonymous=false', 'users=[{ name: other, secretKey: x }]'],
    log,
  );
  const [required, requested, unnamed, wss] = server.mqttPorts as [number, number, number, number];
  const meter = await authority.issue('meter-7');
  const open = async (port: number, certificate: object): Promise<RawMqttClient> =>
    RawMqttClient.over(await openTls(port, { ...trust, ...certificate }));

  const first = await open(required, meter);
  const connack = await first.connect({ clientIdentifier: '' });
  t.equal(connack.properties?.assignedClientIdentifier, 'meter-7', 'the client is told its identifier');
  const second = await open(required, meter);
  const fields = { clientIdentifier: 'whatever', username: 'nobody', password: Buffer.from('wrong') };
  t.equal(await connackOf(second, fields), 0, 'the certificate is the proof');
  t.match(await first.rest(), [{ type: 'disconnect', reasonCode: 0x8e }], 'both are meter-7');
  const third = await openMqttOverWebSocket(wss, { ...trust, ...meter }, 4);
  t.equal(await connackOf(third, { clientIdentifier: 'web' }), 0, 'also over WebSocket and in MQTT 3.1.1');
  t.match(await second.rest(), [{ type: 'disconnect', reasonCode: 0x8e }]);
  third.destroy();

  t.equal(await connackOf(await open(requested, {})), 0x87, 'without a certificate there has to be another proof');
  t.equal(await connackOf(await open(requested, meter), { clientIdentifier: 'own' }), 0);
  t.equal(await connackOf(await open(unnamed, meter)), 0x87, 'a certificate that names nobody to the gateway');

  const bad = [
    ['no certificate', required, {}],
    ['a certificate of somebody else', required, await stranger.issue('meter-7')],
    ['a certificate of somebody else, though none is needed', requested, await stranger.issue('meter-7')],
    ['two common names', required, await authority.issue('meter-7', 'meter-8')],
    ['an empty common name', required, await authority.issue('')],
    ['a common name that is no name', requested, await authority.issue('meter\u00017')],
  ] as const;
  for (const [what, port, certificate] of bad) {
    const packets = await open(port, certificate).then(
      (client) => {
        client.send(connectPacket(5));
        return client.rest();
      },
      () => [],
    );
    t.same(packets, [], what);
  }
  await log.find(({ message }) => message === 'the certificate of the client has no usable common name');
});

t.test('WebSocket handshake', async (t) => {
  const origins = ['https://example.org'];
  const server = await start(t, [
    { transport: 'ws' },
    { transport: 'ws', path: '/broker', origins },
    { transport: 'ws', connectTimeoutMs: 150 },
  ]);
  const [port, custom, hasty] = server.mqttPorts as [number, number, number];
  const ask = async (request: string): Promise<string> =>
    (await allOf(await openTcp(port, Buffer.from(`${request}\r\nHost: x\r\n\r\n`)))).toString();
  t.match(await ask('GET /mqtt HTTP/1.1'), /^HTTP\/1\.1 426 [^]*\r\nUpgrade: websocket\r\n[^]*\r\n\r\n.*MQTT/);
  t.match(await ask('GET /mqtt?x=1 HTTP/1.0'), /^HTTP\/1\.1 426 /);
  t.match(await ask('POST / HTTP/1.1\r\nContent-Length: 0'), /^HTTP\/1\.1 404 /);
  t.match(await ask('GET /mqtt HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c'), /^HTTP\/1\.1 400 /);
  t.match(await ask('\x10\x0c\x00\x04MQTT'), /^HTTP\/1\.1 400 /, 'no HTTP');
  t.match(await ask(`GET /mqtt HTTP/1.1\r\nX: ${'x'.repeat(20_000)}`), /^HTTP\/1\.1 431 /);

  await t.rejects(openWebSocket(port, { path: '/' }), { message: /404/ });
  await t.rejects(openWebSocket(port, { path: '/mqtt/x' }), { message: /404/ });
  await t.rejects(openWebSocket(port, { protocols: [] }), { message: /400/ });
  await t.rejects(openWebSocket(port, { protocols: ['amqp', 'mqttx'] }), { message: /400/ });
  await t.rejects(openWebSocket(custom), { message: /404/ });
  const away = { path: '/broker', origin: 'https://example.com' };
  await t.rejects(openWebSocket(custom, away), { message: /403/ });
  for (const headers of [{ path: '/broker' }, { path: '/broker', origin: origins[0]! }]) {
    (await openWebSocket(custom, headers)).terminate();
  }
  const both = await openWebSocket(port, { protocols: ['mqttv3.1', 'mqtt'], path: '/mqtt?token=1' });
  t.match(both, { protocol: 'mqtt', extensions: '' });
  both.terminate();
  const old = await openWebSocket(port, { protocols: ['mqttv3.1'] });
  t.equal(old.protocol, 'mqttv3.1');
  t.equal(await connackOf(mqttOver(old, 3)), 0);
  old.terminate();
  for (const bytes of ['', 'GET /mqtt HTTP/1.1\r\nHo']) await allOf(await openTcp(hasty, Buffer.from(bytes)));
  await until(() => openConnections(server, 'mqtt') === 0);
});

/** The messages of a WebSocket as they come. */
function framesOf(webSocket: WebSocket): { take(): Promise<Buffer> } {
  const frames: Buffer[] = [];
  webSocket.on('message', (data: Buffer) => frames.push(data));
  return {
    async take() {
      await until(() => frames.length > 0);
      return frames.shift()!;
    },
  };
}

t.test('WebSocket frames', async (t) => {
  const server = await start(t, [{ transport: 'ws', packetBytesMax: 100_000 }]);
  const [port] = server.mqttPorts as [number];
  const bytesOf = (packet: Packet, version: ProtocolVersion = 4): Buffer => encodePacket(packet, version);
  const ping = bytesOf({ type: 'pingreq' });
  const pong = bytesOf({ type: 'pingresp' }).toString('hex');

  await t.test('a packet in many frames, many packets in one', async (t) => {
    const webSocket = await openWebSocket(port);
    const frames = framesOf(webSocket);
    for (const byte of bytesOf(connectPacket(4))) webSocket.send(Buffer.of(byte));
    t.equal((await frames.take()).toString('hex'), '20020000');
    webSocket.send(Buffer.concat([ping, ping, ping]));
    t.equal((await frames.take()).toString('hex'), pong.repeat(3), 'one frame for what is answered in one turn');
    webSocket.send(ping.subarray(0, 1), { fin: false });
    webSocket.ping();
    webSocket.send(Buffer.concat([ping.subarray(1), ping]), { fin: true });
    t.equal((await frames.take()).toString('hex'), pong.repeat(2), 'fragments');
    webSocket.send(Buffer.alloc(0));
    webSocket.send(Buffer.concat([ping, ping.subarray(0, 1)]));
    webSocket.send(ping.subarray(1));
    const answers = [(await frames.take()).toString('hex')];
    if (answers[0] === pong) answers.push((await frames.take()).toString('hex'));
    t.equal(answers.join(''), pong.repeat(2), 'an empty frame, and a packet over the border of two');
    webSocket.close();
    const [code] = (await once(webSocket, 'close')) as [number];
    t.equal(code, 1005, 'the close frame comes back as it was');
  });

  await t.test('whole conversations', async (t) => {
    const client = await openMqttOverWebSocket(port);
    await client.connect();
    t.same(await client.subscribe(1, 'frames/#'), [1]);
    for (let i = 0; i < 50; i++) {
      client.send(publishPacket('frames/a', Buffer.alloc(90_000, i), { qos: 1, packetIdentifier: i + 1 }));
    }
    let next = 0;
    for (let acknowledged = 0; next < 50 || acknowledged < 50;) {
      const packet = await client.take();
      if (packet?.type === 'puback') acknowledged++;
      if (packet?.type !== 'publish') continue;
      if (packet.payload[0] !== next++) t.fail(`message ${next} is out of order`);
      client.send(puback(packet.packetIdentifier));
    }
    client.destroy();
  });

  const refusals: [string, (webSocket: WebSocket) => void, number][] = [
    ['a text frame', (webSocket) => webSocket.send('text'), 1003],
    ['a text frame of MQTT', (webSocket) => webSocket.send(ping.toString('latin1')), 1003],
    ['a message that is too large', (webSocket) => webSocket.send(Buffer.alloc(100_000 + 1024 * 1024 + 1)), 1009],
  ];
  for (const [what, send, expected] of refusals) {
    await t.test(what, async (t) => {
      const webSocket = await openWebSocket(port);
      const frames = framesOf(webSocket);
      webSocket.send(bytesOf(connectPacket(4)));
      await frames.take();
      send(webSocket);
      const [code] = (await once(webSocket, 'close')) as [number];
      t.equal(code, expected);
    });
  }

  await t.test('much before CONNECT', async (t) => {
    const webSocket = await openWebSocket(port);
    webSocket.send(Buffer.alloc(900_000));
    const [code] = (await once(webSocket, 'close')) as [number];
    t.ok([1009, 1006].includes(code), `closed with ${code}`);
  });

  await t.test('bytes that are no frames', async (t) => {
    const webSocket = await openWebSocket(port);
    const { _socket: socket } = webSocket as unknown as { _socket: NodeJS.WritableStream };
    socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]));
    const [code] = (await once(webSocket, 'close')) as [number];
    t.equal(code, 1002);
  });
  await until(() => openConnections(server, 'mqtt') === 0);
});

t.test('a subscriber over WebSocket that does not read', async (t) => {
  const server = await start(t, [{ transport: 'ws' }, { transport: 'ws', tls }]);
  const slow = [
    await openMqttOverWebSocket(server.mqttPorts[0]!),
    await openMqttOverWebSocket(server.mqttPorts[1]!, trust),
  ];
  for (const client of slow) {
    await client.connect();
    await client.subscribe(1, 'slow');
    client.socket.pause();
  }
  const publisher = await openMqttOverWebSocket(server.mqttPorts[0]!);
  await publisher.connect();
  const count = 400;
  for (let i = 0; i < count; i++) {
    publisher.send(publishPacket('slow', Buffer.alloc(40_000, i & 0xff), { qos: 1, packetIdentifier: i + 1 }));
  }
  await publisher.many('puback', count);
  for (const client of slow) {
    client.socket.resume();
    for (let i = 0; i < count; i++) {
      const publish = await client.next('publish');
      if (publish.payload[0] !== (i & 0xff)) t.fail(`message ${i} is out of order`);
      client.send(puback(publish.packetIdentifier));
    }
    t.same(await client.fence(), [], 'everything came, once');
    client.destroy();
  }
  publisher.destroy();
});

t.test('the limit of connections', async (t) => {
  const server = await start(
    t,
    [
      { connectionsMax: 2 },
      { transport: 'ws', connectionsMax: 2 },
      { tls, connectionsMax: 2 },
      { connectionsMax: 3 },
      {},
    ],
    ['mqtt.connectionsMax=8'],
  );
  const [tcp, ws, secure, wide, rest] = server.mqttPorts as [number, number, number, number, number];
  const kinds: [string, (version: ProtocolVersion) => Promise<RawMqttClient>, () => Promise<{ destroy(): void }>][] = [
    ['tcp', async (version) => RawMqttClient.over(await openTcp(tcp), version), () => openTcp(tcp)],
    ['ws', (version) => openMqttOverWebSocket(ws, {}, version), () => openTcp(ws)],
    ['tls', async (version) => RawMqttClient.over(await openTls(secure, trust), version), () => openTcp(secure)],
  ];
  for (const [kind, open, openOnly] of kinds) {
    const first = await open(5);
    t.equal(await connackOf(first), 0);
    const silent = await openOnly();
    await until(() => openConnections(server, 'mqtt') === 2);
    t.equal(await connackOf(await open(5)), 0x97, `${kind}: one above, a handshake counted`);
    t.equal(await connackOf(await open(4)), 3, `${kind}: MQTT 3 has no better word`);
    silent.destroy();
    await until(() => openConnections(server, 'mqtt') === 1);
    const second = await open(5);
    t.equal(await connackOf(second), 0, `${kind}: there is room again`);
    const late = await open(5);
    await until(() => openConnections(server, 'mqtt') === 3);
    first.destroy();
    await until(() => openConnections(server, 'mqtt') === 2);
    t.equal(await connackOf(late), 0, `${kind}: what counts is the moment of CONNECT`);
    second.destroy();
    late.destroy();
    await until(() => openConnections(server, 'mqtt') === 0);
  }

  const sockets = await Promise.all(Array.from({ length: 2 + 64 }, () => openTcp(tcp)));
  await until(() => openConnections(server, 'mqtt') === 66);
  await allOf(await openTcp(tcp));
  t.pass('further ones are closed at once');
  t.equal(await connackOf(RawMqttClient.over(sockets[65]!)), 0x97);
  for (const socket of sockets) socket.destroy();
  await until(() => openConnections(server, 'mqtt') === 0);

  const clients = [];
  for (const port of [tcp, tcp, secure, secure, wide, wide, wide]) clients.push(await openTcp(port));
  await until(() => openConnections(server, 'mqtt') === 7);
  const last = await RawMqttClient.open(rest);
  t.equal(await connackOf(last), 0, 'the last place of all');
  t.equal(await connackOf(await RawMqttClient.open(rest)), 0x97, 'the limit of all listeners together');
  for (const client of [...clients, last]) client.destroy();
});

t.test('limits of a listener go before those of all', async (t) => {
  const server = await start(
    t,
    [{}, { packetBytesMax: 5000, keepAliveMaxS: 30, connectPacketBytesMax: 200 }],
    ['mqtt.packetBytesMax=9000', 'mqtt.keepAliveMaxS=60'],
  );
  const granted = [];
  for (const port of server.mqttPorts) {
    const client = await RawMqttClient.open(port);
    const { properties } = await client.connect({ keepAliveS: 100 });
    granted.push([properties?.maximumPacketSizeBytes, properties?.serverKeepAliveS]);
    client.send(publishPacket('large', Buffer.alloc(6000), { qos: 1, packetIdentifier: 1 }));
    const answer = await client.take();
    t.match(answer, port === server.mqttPort ? { type: 'puback' } : { type: 'disconnect', reasonCode: 0x95 });
    client.destroy();
  }
  t.same(granted, [
    [9000, 60],
    [5000, 30],
  ]);
  const long = await RawMqttClient.open(server.mqttPorts[1]!);
  long.send(connectPacket(5, { clientIdentifier: 'x'.repeat(300) }));
  t.match(await long.rest(), { length: 0 }, 'a CONNECT that is too large');
});

t.test('the rate of connections', async (t) => {
  const server = await start(t, [
    { connectRateMax: 2 },
    { connectRateMax: 2, tls },
    { connectRateMax: 2, transport: 'ws' },
  ]);
  const [tcp, secure, ws] = server.mqttPorts as [number, number, number];
  const opening: [string, () => Promise<RawMqttClient>][] = [
    ['tcp', () => RawMqttClient.open(tcp)],
    ['tls', async () => RawMqttClient.over(await openTls(secure, trust))],
    ['ws', () => openMqttOverWebSocket(ws)],
  ];
  await Promise.all(
    opening.map(async ([kind, open]) => {
      const startedAt = performance.now();
      const clients = await Promise.all(Array.from({ length: 4 }, open));
      t.same(await Promise.all(clients.map((client) => connackOf(client))), [0, 0, 0, 0], `${kind}: nobody is lost`);
      const tookMs = performance.now() - startedAt;
      t.ok(tookMs > 900, `${kind}: two at once, two later: ${Math.round(tookMs)} ms`);
      for (const client of clients) client.destroy();
    }),
  );
  const crowd = await Promise.all(Array.from({ length: 20 }, () => openTcp(tcp)));
  const answers = crowd.map(async (socket, i) => {
    const client = RawMqttClient.over(socket, i % 2 === 0 ? 5 : 4);
    client.send(connectPacket(client.version));
    const packet = await client.take();
    client.destroy();
    return packet?.type === 'connack' ? packet.reasonCode : -1;
  });
  t.ok([0x9f, 3].includes(await Promise.any(answers.map(refusalOf))), 'who cannot even wait is told so');
  for (const socket of crowd) socket.destroy();
  const many = await Promise.all(Array.from({ length: 14 }, () => openTcp(secure)));
  await Promise.any(many.map((socket) => allOf(socket)));
  t.pass('over TLS it is closed: the handshake is what is to be saved');
  for (const socket of many) socket.destroy();
});

async function refusalOf(answer: Promise<number>): Promise<number> {
  const code = await answer;
  if (code <= 0) throw new Error('let in');
  return code;
}

t.test('PROXY protocol', async (t) => {
  const log = new RecordedLog();
  const proxyProtocol = LOCAL_PROXY;
  const server = await start(
    t,
    [
      { proxyProtocol },
      { proxyProtocol, tls },
      { proxyProtocol, transport: 'ws' },
      { proxyProtocol, transport: 'ws', tls },
      { proxyProtocol: { trusted: ['10.0.0.0/8', '::1'] } },
      { proxyProtocol, connectTimeoutMs: 150 },
    ],
    [],
    log,
  );
  const [tcp, secure, ws, wss, distrustful, hasty] = server.mqttPorts as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  /** A WebSocket client that says the header first. */
  const openWs = (port: number, header: Buffer): Promise<RawMqttClient> => {
    const createConnection = () => {
      const socket = connectTcp({ port, host: '127.0.0.1', noDelay: true });
      socket.write(header);
      return socket;
    };
    return openMqttOverWebSocket(port, { createConnection });
  };
  const openWss = async (port: number, header: Buffer): Promise<RawMqttClient> => {
    const socket = await openTls(port, trust, header);
    return openMqttOverWebSocket(port, { createConnection: () => socket });
  };
  const kinds: [string, (header: Buffer) => Promise<RawMqttClient>][] = [
    ['tcp', async (header) => RawMqttClient.over(await openTcp(tcp, header))],
    ['tls', async (header) => RawMqttClient.over(await openTls(secure, trust, header))],
    ['ws', (header) => openWs(ws, header)],
    ['wss', (header) => openWss(wss, header)],
  ];
  const headers: [string, Buffer, string][] = [
    ['version 1', proxyHeader(1), '192.0.2.7'],
    ['version 2', proxyHeader(2), '192.0.2.7'],
    ['UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n'), '127.0.0.1'],
    ['LOCAL', proxyV2(0x20, 0), '127.0.0.1'],
  ];
  for (const [kind, open] of kinds) {
    for (const [name, header, from] of headers) {
      const client = await open(header);
      t.equal(await connackOf(client), 0, `${kind}, ${name}`);
      if (name === 'version 2') await roundTrip(t, client, `proxy/${kind}`);
      log.entries.length = 0;
      client.send(Buffer.from([0x00, 0x00]));
      await client.rest();
      const { fields } = await log.find((entry) => entry.fields['reasonCode'] === 0x81);
      t.equal(fields['from'], from, `${kind}, ${name}: the client's own address`);
    }
  }

  for (const version of [1, 2] as const) {
    const joined = await openTcp(tcp, Buffer.concat([proxyHeader(version), encodePacket(connectPacket(4), 4)]));
    t.match(await RawMqttClient.over(joined, 4).next('connack'), { reasonCode: 0 }, 'header and CONNECT at once');
    const slowly = await openTcp(tcp);
    await writeByteByByte(slowly, Buffer.concat([proxyHeader(version), encodePacket(connectPacket(4), 4)]));
    t.match(await RawMqttClient.over(slowly, 4).next('connack'), { reasonCode: 0 }, 'byte by byte');
    joined.destroy();
    slowly.destroy();
  }

  const connect = encodePacket(connectPacket(4), 4);
  const closed: [string, number, Buffer][] = [
    ['no header', tcp, connect],
    ['a malformed header', tcp, Buffer.concat([Buffer.from('PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n'), connect])],
    ['a malformed header before TLS', secure, Buffer.from('PROXY TCP4 x\r\n')],
    ['TLS without a header', secure, Buffer.from([0x16, 3, 1, 2, 0, 1])],
    ['HTTP without a header', ws, Buffer.from('GET /mqtt HTTP/1.1\r\n\r\n')],
    ['a source that is not trusted', distrustful, Buffer.concat([proxyHeader(1), connect])],
    ['a header that does not end', hasty, Buffer.from('PROXY TCP4 ')],
    ['nothing', hasty, Buffer.alloc(0)],
  ];
  for (const [what, port, bytes] of closed) t.equal((await allOf(await openTcp(port, bytes))).length, 0, what);
  await until(() => openConnections(server, 'mqtt') === 0);
});

t.test('a certificate that cannot be used stops the start', async (t) => {
  const other = await authority.issue('localhost');
  t.ok(other.key);
  const listeners = [
    { tls: { ...tls, certFile: '/nowhere.crt' } },
    { tls: { certFile: tls.keyFile, keyFile: tls.certFile } },
    { tls: { ...tls, caFile: '/nowhere.ca', requireClientCertificate: true } },
  ];
  for (const listener of listeners) await t.rejects(start(t, [{}, listener]), { message: /^mqtt\.listeners\[1\]: / });
  await turn();
});
