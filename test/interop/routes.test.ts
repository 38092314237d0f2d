import { connectAsync } from 'mqtt';
import {
  ConsumeResult,
  FilterExpression,
  Producer,
  PushConsumer,
  SimpleConsumer,
  type MessageView,
} from 'rocketmq-client-nodejs';
import t from 'tap';
import { deferred } from '../helpers/deferred.ts';
import { startTestGateway } from '../helpers/gateway.ts';

/** As the client's generated code has it, which it does not export. */
const FILTER_TYPE_SQL = 2;
const DEVICES = 5;
const PER_DEVICE = 40;
const quiet = { info() {}, warn() {}, error() {} };

const { gateway, mqttPort, grpcPort } = await startTestGateway([
  `mqtt.routes=[{
    filter: 'devices/{deviceId}/telemetry/#',
    topic: telemetry,
    messageGroup: '{deviceId}',
    keys: ['{deviceId}'],
    tag: '{rest}'
  }]`,
  'groups=[{ name: in-order, order: fifo }]',
]);
const base = { endpoints: `127.0.0.1:${grpcPort}`, namespace: '', logger: quiet };
t.teardown(async () => {
  await gateway.stop();
  // A push consumer of rocketmq-client-nodejs 1.0.8 goes on trying to receive after its shutdown.
  setTimeout(() => process.exit(), 500);
});

const device = () => connectAsync(`mqtt://127.0.0.1:${mqttPort}`, { protocolVersion: 5, reconnectPeriod: 0 });

t.test('what a device publishes reaches a FIFO group in order per device', async (t) => {
  const received: MessageView[] = [];
  const all = deferred<void>();
  const consumer = new PushConsumer({
    ...base,
    consumerGroup: 'in-order',
    subscriptions: new Map([['telemetry', '*']]),
    messageListener: {
      consume(message) {
        received.push(message);
        if (received.length === DEVICES * PER_DEVICE) all.resolve();
        return ConsumeResult.SUCCESS;
      },
    },
  });
  await consumer.startup();
  const clients = await Promise.all(Array.from({ length: DEVICES }, device));
  const published = clients.flatMap((client, d) =>
    Array.from({ length: PER_DEVICE }, (_, i) =>
      client.publishAsync(`devices/d${d}/telemetry/s${i % 3}`, String(i), { qos: 1 }),
    ),
  );
  await Promise.all(published);
  await all.promise;
  const inOrder = Array.from({ length: PER_DEVICE }, (_, i) => String(i));
  for (let d = 0; d < DEVICES; d++) {
    const own = received.filter(({ messageGroup }) => messageGroup === `d${d}`);
    t.same(
      own.map(({ body }) => body.toString()),
      inOrder,
    );
    const strays = own.filter(
      ({ keys, tag, properties, body }) =>
        keys.join(',') !== `d${d}` ||
        tag !== `s${Number(body.toString()) % 3}` ||
        properties.get('gantry-address') !== `devices/d${d}/telemetry/${tag}`,
    );
    t.same(strays, []);
  }
  await Promise.all([consumer.shutdown(), ...clients.map((client) => client.endAsync())]);
});

t.test('what a RocketMQ producer sends reaches the device its message group names', async (t) => {
  const client = await device();
  const got: string[] = [];
  const both = deferred<void>();
  client.on('message', (topicName, payload) => {
    got.push(`${topicName} ${payload.toString()}`);
    if (got.length === 2) both.resolve();
  });
  await client.subscribeAsync(['devices/7/#', 'telemetry/#'], { qos: 1 });
  const producer = new Producer({ ...base, topic: 'telemetry' });
  await producer.startup();
  await producer.send({ topic: 'telemetry', tag: 'config', messageGroup: '7', body: Buffer.from('for one') });
  await producer.send({ topic: 'telemetry', tag: 'config', body: Buffer.from('for all') });
  await both.promise;
  t.same(got.toSorted(), ['devices/7/telemetry/config for one', 'telemetry/config for all']);
  await Promise.all([producer.shutdown(), client.endAsync()]);
});

t.test('a consumer filters by SQL92 what devices publish', async (t) => {
  const client = await device();
  for (const [i, level] of ['1', '7', 'none', '9'].entries()) {
    const properties = { userProperties: { level, tag: i === 3 ? 'other' : 'alarm' } };
    await client.publishAsync('alarms/x', level, { qos: 1, properties });
  }
  await client.publishAsync('alarms/x', 'plain', { qos: 1 });
  const filter = new FilterExpression("TAGS = 'alarm' AND level > 5", FILTER_TYPE_SQL);
  const consumer = new SimpleConsumer({
    ...base,
    consumerGroup: 'alarmed',
    subscriptions: new Map([['alarms', filter]]),
    awaitDuration: 5000,
  });
  await consumer.startup();
  const messages = await consumer.receive(10, 10_000);
  t.same(
    messages.map(({ body }) => body.toString()),
    ['7'],
  );
  await Promise.all(messages.map((message) => consumer.ack(message)));
  const states = await gateway.broker.groupState('alarmed', { kind: 'topic', topic: 'alarms' });
  t.equal(
    states.reduce((sum, { lag }) => sum + lag, 0),
    0,
    'what did not pass is acknowledged for the group',
  );
  await consumer.subscribe('alarms', new FilterExpression('level >', FILTER_TYPE_SQL));
  await t.rejects(consumer.receive(10, 10_000), { message: /filter expression, at character 8/ });
  await Promise.all([consumer.shutdown(), client.endAsync()]);
});
