import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { connectAsync, type IPublishPacket, type MqttClient } from 'mqtt';
import rhea from 'rhea';
import t, { type Test } from 'tap';
import type { Message__Output } from '../../adapters/grpc/proto/generated/apache/rocketmq/v2/Message.ts';
import { fromMs } from '../../adapters/grpc/time.ts';
import { JMS, JMS_COMMAND } from '../helpers/amqp-drivers.ts';
import { startTestGateway } from '../helpers/gateway.ts';
import { GrpcTestClient } from '../helpers/grpc-client.ts';
import { bodyText, dataBody, RheaClient, type RheaReceiver } from '../helpers/rhea-client.ts';

/** AMQP 1.0 applications, RocketMQ clients and MQTT devices in one conversation: rhea, Qpid JMS, MQTT.js and bare gRPC. */

const { types } = rhea;
const { gateway, mqttPort, amqpPorts, grpcPort } = await startTestGateway(['engine.type=memory']);
const amqpPort = amqpPorts[0]!;
t.teardown(() => gateway.stop());

let used = 0;
const fresh = (what: string): string => `${what}-${++used}`;

interface Clients {
  readonly amqp: RheaClient;
  readonly grpc: GrpcTestClient;
  readonly device: Device;
}

/** With a client of each protocol. */
function crossing(title: string, run: (t: Test, clients: Clients) => Promise<void>): void {
  t.test(title, { timeout: 30_000 }, async (t) => {
    const amqp = await RheaClient.connect(amqpPort);
    const grpc = new GrpcTestClient(grpcPort);
    const device = await Device.connected();
    t.teardown(async () => {
      grpc.close();
      await device.client.endAsync();
      await amqp.close();
    });
    await run(t, { amqp, grpc, device });
  });
}

/** An MQTT 5 device through MQTT.js. */
class Device {
  readonly client: MqttClient;
  private readonly inbox: IPublishPacket[] = [];
  private wake: (() => void) | undefined;

  private constructor(client: MqttClient) {
    this.client = client;
    client.on('message', (_topicName, _payload, packet) => {
      this.inbox.push(packet);
      this.wake?.();
    });
  }

  static async connected(): Promise<Device> {
    return new Device(await connectAsync(`mqtt://127.0.0.1:${mqttPort}`, { protocolVersion: 5, reconnectPeriod: 0 }));
  }

  async next(): Promise<IPublishPacket> {
    while (this.inbox.length === 0) await new Promise<void>((resolve) => (this.wake = resolve));
    return this.inbox.shift()!;
  }

  publish(topicName: string, text: string, properties: IPublishPacket['properties'] = {}): Promise<unknown> {
    return this.client.publishAsync(topicName, text, { qos: 1, properties });
  }

  /** Answers what it was asked, in capitals, to where it is told to. */
  async answer(): Promise<IPublishPacket> {
    const question = await this.next();
    const { responseTopic, correlationData } = question.properties!;
    await this.publish(responseTopic!, question.payload.toString().toUpperCase(), {
      correlationData: correlationData!,
      contentType: 'text/plain',
      userProperties: { unit: 'C' },
    });
    return question;
  }
}

async function acknowledge(grpc: GrpcTestClient, group: string, topic: string, got: readonly Message__Output[]) {
  const entries = got.map(({ systemProperties }) => ({
    messageId: systemProperties!.messageId,
    receiptHandle: systemProperties!.receiptHandle!,
  }));
  await grpc.call('AckMessage', { group: { name: group }, topic: { name: topic }, entries });
}

crossing('AMQP receivers and RocketMQ consumers of one group share its work', async (t, { amqp, grpc }) => {
  const [topic, group] = [fresh('topic'), fresh('group')];
  const count = 400;
  const seen: string[] = [];
  const shares = { amqp: 0, grpc: 0 };
  // Few at a time, so that both have their share.
  const receivers = await Promise.all(
    [1, 2].map(() => amqp.receiver(`/groups/${group}/topics/${topic}`, { credit_window: 5, autoaccept: true })),
  );
  let allSeen!: () => void;
  const all = new Promise<void>((resolve) => (allSeen = resolve));
  const see = (who: keyof typeof shares, text: string): void => {
    shares[who]++;
    if (seen.push(text) === count) allSeen();
  };
  for (const { link } of receivers) link.on('message', ({ message }) => see('amqp', bodyText(message)));
  const consume = async (): Promise<void> => {
    while (seen.length < count) {
      const got = await grpc.receive(group, topic, { batchSize: 5, longPollingTimeout: fromMs(500) });
      for (const { body } of got) see('grpc', Buffer.from(body).toString());
      if (got.length > 0) await acknowledge(grpc, group, topic, got);
    }
  };
  const consuming = [consume(), consume()];
  const sender = await amqp.sender(`/topics/${topic}`);
  for (let i = 0; i < count; i += 8) {
    await sender.sendAll([0, 1, 2, 3].map((n) => ({ body: dataBody(`${i + n}`) })));
    for (const n of [4, 5, 6, 7]) await grpc.send(topic, `${i + n}`);
  }
  await all;
  await Promise.all(consuming);
  for (const receiver of receivers) await receiver.close();
  t.same(seen.toSorted(), Array.from({ length: count }, (_, i) => `${i}`).toSorted(), 'each message once');
  t.ok(shares.amqp > 0 && shares.grpc > 0, `${shares.amqp} through AMQP, ${shares.grpc} through gRPC`);
  const state = await gateway.broker.groupState(group, { kind: 'topic', topic });
  t.same(
    state.filter(({ lag, inflight }) => lag > 0 || inflight > 0),
    [],
    'and all of it is done',
  );
});

crossing('a RocketMQ producer reaches an AMQP consumer', async (t, { amqp, grpc }) => {
  const queue = fresh('queue');
  const receiver = (await amqp.receiver(queue)).credit(10);
  const { messageGroup, keys } = { messageGroup: 'of one device', keys: ['k1', 'k2'] };
  const system = { tag: 'restart', keys, messageGroup, messageType: 'FIFO', messageId: 'ID7' };
  await grpc.send(queue, 'now €', system, { reason: 'update', 'content-type': 'text/plain', 'correlation-id': 'c 1' });
  const { message, delivery } = await receiver.next();
  t.match(message, {
    subject: 'restart',
    group_id: 'of one device',
    content_type: 'text/plain',
    correlation_id: 'c 1',
    application_properties: { reason: 'update', keys: 'k1,k2' },
  });
  t.equal(bodyText(message), 'now €');
  t.ok(message.message_id);
  delivery.accept();
  const at = Date.now() + 700;
  await grpc.send(queue, 'later', {
    messageType: 'DELAY',
    deliveryTimestamp: { seconds: Math.floor(at / 1000), nanos: (at % 1000) * 1e6 },
  });
  await grpc.send(queue, 'at once');
  t.equal(bodyText((await receiver.next()).message), 'at once');
  t.equal(bodyText((await receiver.next()).message), 'later');
  t.ok(Date.now() >= at - 5, 'not before its time');
});

crossing('an AMQP producer reaches a RocketMQ consumer', async (t, { amqp, grpc }) => {
  const [queue, group] = [fresh('queue'), fresh('group')];
  const sender = await amqp.sender(queue);
  await grpc.receive(group, queue, { longPollingTimeout: fromMs(0) });
  await sender.send({
    subject: 'restart',
    group_id: 'of one device',
    content_type: 'text/plain',
    correlation_id: 'c 1',
    reply_to: 'answers',
    application_properties: { keys: 'k1,k2', reason: 'update', times: types.wrap_int(3), sure: true },
    body: dataBody('now €'),
  });
  const [got] = await grpc.receive(group, queue);
  t.match(got!.systemProperties, { tag: 'restart', keys: ['k1', 'k2'], messageGroup: 'of one device' });
  t.match(got!.userProperties, {
    reason: 'update',
    times: '3',
    sure: 'true',
    'content-type': 'text/plain',
    'correlation-id': 'c 1',
    'reply-to': '$reply/q/answers',
  });
  t.equal(Buffer.from(got!.body).toString(), 'now €');
  await acknowledge(grpc, group, queue, [got!]);
  const at = Date.now() + 700;
  await sender.sendAll([
    { message_annotations: { 'x-opt-delivery-time': types.wrap_long(at) }, body: dataBody('later') },
    { body: dataBody('at once') },
  ]);
  const texts: string[] = [];
  while (texts.length < 2) {
    for (const { body } of await grpc.receive(group, queue)) texts.push(Buffer.from(body).toString());
  }
  t.same(texts, ['at once', 'later']);
  t.ok(Date.now() >= at - 5, 'not before its time');
  t.same(await grpc.receive(group, queue, { longPollingTimeout: fromMs(0), filterExpression: { type: 'TAG' } }), []);
});

/** What a device sends with a reading that wants an answer. */
const reading = (answers: string): IPublishPacket['properties'] => ({
  contentType: 'text/plain',
  payloadFormatIndicator: true,
  correlationData: Buffer.from('reading 1'),
  responseTopic: answers,
  userProperties: { sensor: 's1', tag: 'warm' },
});

crossing("a device's reading reaches an AMQP listener, and its answer the device", async (t, { amqp, device }) => {
  const [site, answers] = [fresh('site'), fresh('answers')];
  const listener = (await amqp.receiver(`/topics/${site}`)).credit(1);
  await device.client.subscribeAsync(`${answers}/#`, { qos: 1 });
  await device.publish(`${site}/kitchen/temperature`, '21.5 °', reading(`${answers}/to me`));
  const { message, delivery } = await listener.next();
  t.match(message, {
    content_type: 'text/plain',
    correlation_id: 'reading 1',
    reply_to: `/topics/${answers}/${answers}/to%20me`,
    subject: 'warm',
    application_properties: { sensor: 's1' },
    to: `${site}/kitchen/temperature`,
  });
  t.equal(bodyText(message), '21.5 °');
  delivery.accept();
  const replies = await amqp.sender({});
  const { reply_to: to, correlation_id } = message;
  const reply = {
    to: to!,
    correlation_id: correlation_id!,
    content_type: 'text/plain',
    application_properties: { ok: true },
    body: 'heard',
  };
  t.match(await replies.send(reply), { kind: 'accepted' });
  const answer = await device.next();
  t.equal(answer.topic, `${answers}/to me`);
  t.equal(answer.payload.toString(), 'heard');
  t.equal(answer.properties!.correlationData!.toString(), 'reading 1');
  t.match(answer.properties, { contentType: 'text/plain', userProperties: { ok: 'true' } });
  t.equal(answer.qos, 1);
});

async function ask(
  t: Test,
  { amqp, device }: Clients,
  replyTo: string,
  replies: RheaReceiver,
  responseTopic: string | undefined,
): Promise<void> {
  const site = fresh('site');
  await device.client.subscribeAsync(`${site}/+/get`, { qos: 1 });
  const sender = await amqp.sender(`/topics/${site}/${site}/7/get`);
  for (const i of [1, 2, 3]) {
    const request = { reply_to: replyTo, correlation_id: `question ${i}`, body: dataBody(`how warm ${i}`) };
    const asked = sender.send(request);
    const question = await device.answer();
    t.match(await asked, { kind: 'accepted' });
    t.equal(question.topic, `${site}/7/get`);
    if (responseTopic !== undefined) t.equal(question.properties!.responseTopic, responseTopic);
    t.match(question.properties!.responseTopic, /^\$reply\/q\//);
    const { message, delivery } = await replies.next();
    t.match(message, {
      correlation_id: `question ${i}`,
      content_type: 'text/plain',
      application_properties: { unit: 'C' },
    });
    t.equal(bodyText(message), `HOW WARM ${i}`);
    delivery.accept();
  }
}

crossing('an AMQP requester asks a device, and is answered in its dynamic queue', async (t, clients) => {
  const replies = (await clients.amqp.receiver({ address: '', dynamic: true })).credit(10);
  await ask(t, clients, replies.address, replies, undefined);
  const topics = gateway.broker.topics.list().map(({ name }) => name);
  t.same(
    topics.filter((name) => name.includes('temporary')),
    [],
    'no topic is made for it',
  );
});

crossing('an AMQP requester asks a device, and is answered in a queue', async (t, clients) => {
  const queue = `${fresh('replies')} of é/me`;
  const replies = (await clients.amqp.receiver(`/queues/${encodeURIComponent(queue)}`)).credit(10);
  const address = `/queues/${encodeURIComponent(queue)}`;
  await ask(t, clients, address, replies, `$reply/q/${encodeURIComponent(queue)}`);
});

if (JMS.missing !== undefined || process.env['GANTRY_WITHOUT_JMS']) {
  t.comment(`NOT TRIED: a JMS listener (${JMS.missing ?? 'Maven cannot get the client'})`);
} else {
  crossing("a device's reading reaches a JMS MessageListener, and its answer the device", async (t, { device }) => {
    const [site, answers] = [fresh('site'), fresh('answers')];
    const [java, ...flags] = JMS_COMMAND;
    const args = [...flags.slice(0, -1), 'Listener', `127.0.0.1:${amqpPort}`, site];
    const listener = spawn(java, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    t.teardown(() => listener.kill('SIGKILL'));
    const closed = once(listener, 'close');
    await device.client.subscribeAsync(`${answers}/#`, { qos: 1 });
    const got: Record<string, string> = {};
    for await (const line of createInterface({ input: listener.stdout })) {
      if (line === 'READY') await device.publish(`${site}/kitchen`, '21.5 °c', reading(`${answers}/me`));
      const [, name, value] = /^([^=]+)=(.*)$/.exec(line) ?? [];
      if (name !== undefined) got[name] = value!;
    }
    await closed;
    t.match(got, {
      class: 'TextMessage',
      text: '21.5 °c',
      JMSCorrelationID: 'reading 1',
      JMSReplyTo: `/topics/${answers}/${answers}/me`,
      JMSType: 'warm',
      sensor: 's1',
    });
    const answer = await device.next();
    t.equal(answer.topic, `${answers}/me`);
    t.equal(answer.payload.toString(), '21.5 °C');
    t.equal(answer.properties!.correlationData!.toString(), 'reading 1');
    t.match(answer.properties!.userProperties, { answered: 'yes' });
  });
}
