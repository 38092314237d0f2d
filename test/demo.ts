import { connectAsync } from 'mqtt';
import { ConsumeResult, Producer, PushConsumer, type MessageView } from 'rocketmq-client-nodejs';
import { startGateway } from '../gateway/compose.ts';
import { parseConfig } from '../gateway/config/load.ts';
import { createLog } from '../gateway/telemetry/log.ts';

/** What Gantry is for, in one run: a device and a backend application, neither of which knows the other's protocol. */

const TIME_LIMIT_MS = 60_000;
const SETTINGS = [
  'mqtt.listeners=[{ host: 127.0.0.1, port: 0 }]',
  'amqp.listeners=[{ host: 127.0.0.1, port: 0 }]',
  'grpc.listeners=[{ host: 127.0.0.1, port: 0 }]',
  'engine.type=memory',
  'log.level=error',
];
const quiet = { info() {}, warn() {}, error: console.error };

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A promise and the function that fulfils it. */
function expected<T>(): { promise: Promise<T>; arrived: (value: T) => void } {
  let arrived!: (value: T) => void;
  const promise = new Promise<T>((resolve) => (arrived = resolve));
  return { promise, arrived };
}

async function demonstrate(): Promise<void> {
  const config = parseConfig('', 'the demonstration', SETTINGS);
  const gateway = await startGateway(config, createLog('error'), (error) => {
    throw error;
  });
  const portOf = (protocol: string): number =>
    gateway.listeners.find((listener) => listener.protocol === protocol)!.address.port;
  say(`gateway   listens for MQTT on port ${portOf('mqtt')} and for RocketMQ 5 clients on port ${portOf('grpc')}`);
  const rocketmq = { endpoints: `127.0.0.1:${portOf('grpc')}`, namespace: '', logger: quiet };

  const reading = expected<MessageView>();
  const consumer = new PushConsumer({
    ...rocketmq,
    consumerGroup: 'billing',
    subscriptions: new Map([['devices', '*']]),
    messageListener: {
      consume(message) {
        reading.arrived(message);
        return ConsumeResult.SUCCESS;
      },
    },
  });
  await consumer.startup();
  say('backend   RocketMQ push consumer in group "billing" subscribes to topic "devices"');

  const device = await connectAsync(`mqtt://127.0.0.1:${portOf('mqtt')}`, { protocolVersion: 5, clientId: 'meter-7' });
  await device.subscribeAsync('commands/#', { qos: 1 });
  say('device    MQTT 5 client "meter-7" subscribes to "commands/#"');

  await device.publishAsync('devices/7/telemetry', '{"kWh":42}', {
    qos: 1,
    properties: { userProperties: { unit: 'kWh' } },
  });
  say('device    published {"kWh":42} to "devices/7/telemetry" at QoS 1 and got its PUBACK');
  const message = await reading.promise;
  say(
    `backend   received ${message.body.toString()} on topic "${message.topic}", delivery attempt ${message.deliveryAttempt}`,
  );
  for (const [key, value] of message.properties) say(`          property ${key} = ${value}`);

  const command = expected<string>();
  device.on('message', (topicName, payload, { properties }) => {
    command.arrived(`${payload.toString()} on "${topicName}", ${JSON.stringify(properties?.userProperties ?? {})}`);
  });
  const producer = new Producer({ ...rocketmq, topic: 'commands' });
  await producer.startup();
  const receipt = await producer.send({ topic: 'commands', tag: 'restart', body: Buffer.from('now') });
  say(`backend   RocketMQ producer sent "now" to topic "commands", tag "restart": message id ${receipt.messageId}`);
  say(`device    received ${await command.promise}`);

  await producer.shutdown();
  await consumer.shutdown();
  await device.endAsync();
  await gateway.stop();
  say('gateway   stopped');
}

const limit = setTimeout(() => {
  process.stderr.write(`the demonstration did not end within ${TIME_LIMIT_MS / 1000} s\n`);
  process.exit(1);
}, TIME_LIMIT_MS);
await demonstrate();
clearTimeout(limit);
process.exit(0);
