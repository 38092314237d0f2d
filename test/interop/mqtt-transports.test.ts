import { connect as connectLater, connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import t from 'tap';
import { startTestGateway } from '../helpers/gateway.ts';
import { TestAuthority } from '../helpers/test-authority.ts';

/** MQTT.js, as applications use it, over every transport and in both versions; with a client certificate where there is TLS. */

const authority = await TestAuthority.create();
const tls = {
  ...(await authority.serverFiles()),
  caFile: authority.caFile,
  requireClientCertificate: true,
  certificateAsUser: true,
};
const listeners = [
  { port: 0 },
  { port: 0, tls },
  { port: 0, transport: 'ws' },
  { port: 0, transport: 'ws', path: '/broker', tls },
];
const { gateway, mqttPorts } = await startTestGateway([
  'engine.type=memory',
  `mqtt.listeners=${JSON.stringify(listeners)}`,
]);
t.teardown(() => gateway.stop());

const { cert, key } = await authority.issue('js-client');
const secrets = { ca: authority.cert, cert, key };
const urls = [
  `mqtt://127.0.0.1:${mqttPorts[0]}`,
  `mqtts://127.0.0.1:${mqttPorts[1]}`,
  `ws://127.0.0.1:${mqttPorts[2]}/mqtt`,
  `wss://127.0.0.1:${mqttPorts[3]}/broker`,
];

function isSecure(url: string): boolean {
  return url.startsWith('mqtts:') || url.startsWith('wss:');
}

function connect(url: string, options: IClientOptions): Promise<MqttClient> {
  // MQTT.js takes a certificate as a wish for TLS.
  return connectAsync(url, { ...(isSecure(url) && secrets), reconnectPeriod: 0, ...options });
}

for (const protocolVersion of [4, 5] as const) {
  t.test(`MQTT.js, protocol version ${protocolVersion}`, async (t) => {
    const clients = await Promise.all(urls.map((url) => connect(url, { protocolVersion })));
    const topic = `transports/${protocolVersion}`;
    const total = urls.length * 20;
    const receiving = clients.map(
      (client) =>
        new Promise<Map<string, number>>((resolve) => {
          const seen = new Map<string, number>();
          client.on('message', (name, payload) => {
            seen.set(name, payload.length);
            if (seen.size === total) resolve(seen);
          });
        }),
    );
    for (const client of clients) await client.subscribeAsync(`${topic}/#`, { qos: 1 });
    for (const [i, client] of clients.entries()) {
      for (let n = 0; n < 20; n++) {
        await client.publishAsync(`${topic}/${i}/${n}`, Buffer.alloc(n * 9000, n), { qos: n % 2 === 0 ? 1 : 0 });
      }
    }
    for (const [i, seen] of (await Promise.all(receiving)).entries()) {
      const sizes = urls.map((_, from) => seen.get(`${topic}/${from}/19`));
      t.same(sizes, [171_000, 171_000, 171_000, 171_000], `everything came over ${urls[i]!}`);
    }
    await Promise.all(clients.map((client) => client.endAsync()));
  });
}

t.test('a gateway that stops says why, over every transport', async (t) => {
  const own = await startTestGateway(['engine.type=memory', `mqtt.listeners=${JSON.stringify(listeners)}`]);
  const clients = await Promise.all(
    urls.map((url, i) => connect(url.replace(String(mqttPorts[i]), String(own.mqttPorts[i])), { protocolVersion: 5 })),
  );
  const told = clients.map((client) => new Promise((resolve) => client.once('disconnect', resolve)));
  const closed = clients.map((client) => new Promise<void>((resolve) => client.once('close', resolve)));
  await own.gateway.stop();
  for (const packet of await Promise.all(told)) t.match(packet, { reasonCode: 0x8b });
  await Promise.all(closed);
});

t.test('MQTT.js is refused where it should be', async (t) => {
  for (const url of [urls[1]!, urls[3]!]) {
    await t.rejects(connectAsync(url, { ca: authority.cert, reconnectPeriod: 0 }, false), 'without a certificate');
    await t.rejects(connect(url, { ca: (await TestAuthority.create()).cert }), 'the client does not know the server');
  }
  const lost = connectLater(urls[2]!.replace('/mqtt', '/other'), { reconnectPeriod: 0 });
  await new Promise<void>((resolve) => lost.once('close', resolve));
  t.notOk(lost.connected, 'another path');
});
