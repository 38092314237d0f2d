import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type IPublishPacket, type MqttClient } from 'mqtt';
import type { MessageView } from 'rocketmq-client-nodejs';
import t from 'tap';
import { selfSignedCertificate } from '../../gateway/security/certificate.ts';
import { deferred } from '../helpers/deferred.ts';

const MESSAGES = 1000;
const DEVICES = 10;
const quiet = { info() {}, warn() {}, error() {} };

// The official Node client verifies against the roots named here, read when the gRPC library is loaded.
const folder = mkdtempSync(join(tmpdir(), 'gantry-interop-'));
const certificate = await selfSignedCertificate(Date.now());
const [certFile, keyFile] = [join(folder, 'tls.crt'), join(folder, 'tls.key')];
writeFileSync(certFile, certificate.cert);
writeFileSync(keyFile, certificate.key);
process.env['GRPC_DEFAULT_SSL_ROOTS_FILE_PATH'] = certFile;
const { ConsumeResult, Producer, PushConsumer, SimpleConsumer } = await import('rocketmq-client-nodejs');

const { startTestGateway } = await import('../helpers/gateway.ts');
const { gateway, mqttPort, grpcPort } = await startTestGateway([
  `grpc.tls={ certFile: ${certFile}, keyFile: ${keyFile} }`,
  `engine.dir=${join(folder, 'data')}`,
]);
const base = { endpoints: `127.0.0.1:${grpcPort}`, namespace: '', logger: quiet };
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
t.teardown(() => {
  // The push consumer of rocketmq-client-nodejs 1.0.8 goes on trying to receive after its shutdown. That keeps the process
  // alive, and fails with nobody to handle it when the gateway goes away: so the gateway ends with the process.
  setTimeout(() => process.exit(), 500);
});

const device = (protocolVersion: 4 | 5): Promise<MqttClient> =>
  connectAsync(`mqtt://127.0.0.1:${mqttPort}`, { protocolVersion, reconnectPeriod: 0 });

function bodyOf(i: number): string {
  return JSON.stringify({ i, text: 'é€𝄞' });
}

/** What is wrong with the messages a group got; empty when each is there once and intact. */
function faults(received: readonly MessageView[]): string[] {
  const wrong: string[] = [];
  const seen = new Set<number>();
  for (const message of received) {
    const { i } = JSON.parse(message.body.toString()) as { i: number };
    if (seen.has(i)) wrong.push(`${i} twice`);
    seen.add(i);
    const isV5 = i % 2 === 1;
    if (message.topic !== 'devices') wrong.push(`${i}: topic ${message.topic}`);
    if (message.corrupted) wrong.push(`${i}: corrupted`);
    if (message.body.toString() !== bodyOf(i)) wrong.push(`${i}: body`);
    if (message.properties.get('gantry-address') !== `devices/${i % DEVICES}/telemetry`) wrong.push(`${i}: address`);
    if (isV5 && message.properties.get('sensor') !== `s${i}`) wrong.push(`${i}: user property`);
    if (isV5 && message.properties.get('content-type') !== 'application/json') wrong.push(`${i}: content type`);
    if (isV5 && message.tag !== 'odd') wrong.push(`${i}: tag ${message.tag}`);
    if (message.deliveryAttempt !== 1) wrong.push(`${i}: attempt ${message.deliveryAttempt}`);
  }
  if (seen.size !== MESSAGES) wrong.push(`${seen.size} of ${MESSAGES} messages`);
  return wrong;
}

t.test(
  '1,000 MQTT messages reach a simple and a push consumer in two groups, once each',
  { timeout: 100_000 },
  async (t) => {
    const pushed: MessageView[] = [];
    const allPushed = deferred<void>();
    const push = new PushConsumer({
      ...base,
      consumerGroup: 'pushing',
      subscriptions: new Map([['devices', '*']]),
      messageListener: {
        consume(message) {
          pushed.push(message);
          if (pushed.length === MESSAGES) allPushed.resolve();
          return ConsumeResult.SUCCESS;
        },
      },
    });
    await push.startup();
    const [v4, v5] = [await device(4), await device(5)];
    const published: Promise<unknown>[] = [];
    for (let i = 0; i < MESSAGES; i++) {
      const properties = { contentType: 'application/json', userProperties: { sensor: `s${i}`, tag: 'odd' } };
      const client = i % 2 === 1 ? v5 : v4;
      const options = i % 2 === 1 ? { qos: 1 as const, properties } : { qos: 1 as const };
      published.push(client.publishAsync(`devices/${i % DEVICES}/telemetry`, bodyOf(i), options));
    }
    await Promise.all(published);

    const simple = new SimpleConsumer({
      ...base,
      consumerGroup: 'simple',
      subscriptions: new Map([['devices', '*']]),
      awaitDuration: 5000,
    });
    await simple.startup();
    const received: MessageView[] = [];
    let withheld: MessageView | undefined;
    while (received.length < MESSAGES) {
      const messages = await simple.receive(32, 10_000);
      if (messages.length === 0) break;
      received.push(...messages);
      // One stays unacknowledged until its invisible duration is over.
      const toAck = withheld === undefined ? messages.slice(1) : messages;
      withheld ??= messages[0];
      await Promise.all(toAck.map((message) => simple.ack(message)));
    }
    t.same(faults(received), []);
    await allPushed.promise;
    t.same(faults(pushed), []);

    let again: MessageView[] = [];
    for (let tries = 0; again.length === 0 && tries < 4; tries++) again = await simple.receive(32, 10_000);
    t.equal(again.length, 1, 'only the unacknowledged message returns');
    t.equal(again[0]?.messageId, withheld?.messageId);
    t.equal(again[0]?.deliveryAttempt, 2);
    await simple.ack(again[0]!);
    t.same(await simple.receive(32, 10_000), [], 'and nothing after it');
    t.equal(pushed.length, MESSAGES, 'nothing twice for the push consumer');
    const source = { kind: 'topic', topic: 'devices' } as const;
    const lags = await Promise.all(['pushing', 'simple'].map((group) => gateway.broker.groupState(group, source)));
    t.same(
      lags.flat().filter(({ lag, inflight }) => lag > 0 || inflight > 0),
      [],
      'both groups have acknowledged everything',
    );
    await Promise.all([push.shutdown(), simple.shutdown(), v4.endAsync(), v5.endAsync()]);
  },
);

for (const sslEnabled of [false, true]) {
  t.test(`a RocketMQ producer ${sslEnabled ? 'over TLS' : 'in plaintext'} reaches MQTT subscribers`, async (t) => {
    const producer = new Producer({ ...base, sslEnabled, topic: 'commands' });
    await producer.startup();
    const clients = [await device(4), await device(5)] as const;
    const deliveries: { topicName: string; text: string; packet: IPublishPacket }[][] = [[], []];
    const both = deferred<void>();
    clients.forEach((client, i) =>
      client.on('message', (topicName, payload, packet) => {
        deliveries[i]!.push({ topicName, text: payload.toString(), packet });
        if (deliveries.every((got) => got.length === 2)) both.resolve();
      }),
    );
    for (const client of clients) await client.subscribeAsync(['commands/#', 'plain/+'], { qos: 1 });
    const first = await producer.send({
      topic: 'commands',
      tag: 'restart',
      keys: ['k1', 'k2'],
      body: Buffer.from('now €'),
      properties: new Map([['reason', 'update']]),
    });
    await producer.send({
      topic: 'commands',
      body: Buffer.from('addressed'),
      properties: new Map([['gantry-address', 'plain/7']]),
    });
    await both.promise;
    for (const got of deliveries) {
      t.same(got.map(({ topicName }) => topicName).toSorted(), ['commands/restart', 'plain/7']);
      t.same(got.map(({ text }) => text).toSorted(), ['addressed', 'now €']);
      t.ok(got.every(({ packet }) => packet.qos === 1));
    }
    const user = deliveries[1]!.find(({ topicName }) => topicName === 'commands/restart')!.packet.properties
      ?.userProperties;
    t.match(user, { reason: 'update', tag: 'restart', keys: 'k1,k2', 'message-id': first.messageId });
    await Promise.all([producer.shutdown(), ...clients.map((client) => client.endAsync())]);
  });
}
