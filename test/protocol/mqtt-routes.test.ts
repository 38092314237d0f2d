import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import type { ProtocolVersion } from '../../adapters/mqtt/codec/packet.ts';
import type { Delivery } from '../../core/ports/message-engine.ts';
import { MATCH_ALL } from '../../core/model/filter.ts';
import type { Broker } from '../../core/broker.ts';
import { Routes } from '../../core/routing/routes.ts';
import { parseConfig } from '../../gateway/config/load.ts';
import { startTestGateway } from '../helpers/gateway.ts';
import { puback, publishPacket, RawMqttClient } from '../helpers/mqtt-client.ts';
import { startMqttServer } from '../helpers/mqtt-server.ts';

const NEVER_ABORTED = new AbortController().signal;
const ROUTES = `mqtt.routes=[
  { filter: 'devices/{deviceId}/telemetry/#', topic: telemetry, messageGroup: '{deviceId}', keys: ['{deviceId}'], tag: '{rest}', queues: 8 },
  { filter: 'ordered/{id}', topic: ordered, type: FIFO, queues: 2, messageGroup: '{id}' },
  { filter: 'normal/{id}', topic: normal, type: NORMAL, messageGroup: '{id}' },
]`;

const { gateway, mqttPort: port } = await startTestGateway([ROUTES, 'engine.type=memory', 'topicsMax=8']);
t.teardown(() => gateway.stop());

async function connected(t: Test, version: ProtocolVersion = 5): Promise<RawMqttClient> {
  const client = await RawMqttClient.connected(port, version);
  t.teardown(() => client.destroy());
  return client;
}

async function received(broker: Broker, topic: string, max: number, waitMs = 10_000): Promise<Delivery[]> {
  const call = {
    group: 'g',
    source: { kind: 'topic' as const, topic },
    filter: MATCH_ALL,
    max,
    waitMs,
    leaseMs: 30_000,
  };
  const deliveries: Delivery[] = [];
  while (deliveries.length < max) {
    const some = await broker.receive(call, NEVER_ABORTED);
    if (some.length === 0) break;
    deliveries.push(...some);
  }
  await broker.settle(deliveries.map(({ receipt }) => ({ receipt, action: { kind: 'ack' } })));
  return deliveries;
}

t.test('docs/routes.md shows what happens', async (t) => {
  const page = readFileSync('docs/routes.md', 'utf8');
  const [, yaml] = /```yaml\n(.*?)```/s.exec(page)!;
  const routes = new Routes(parseConfig(yaml!, 'docs/routes.md').mqtt.routes);
  const [, table] = /published to.*?\n.*?\n(.*?)\n\n/s.exec(page)!;
  for (const row of table!.split('\n')) {
    const [address, ...said] = row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', ''));
    const { topic, messageGroup = '', keys, tag = '' } = routes.resolve(address!);
    t.same([topic, messageGroup, keys.join(','), tag], said, address!);
  }
  const config = { topic: 'telemetry', keys: [], tag: 'config' };
  t.equal(routes.addressOf({ ...config, messageGroup: 'd7' }), 'devices/d7/telemetry/config');
  t.equal(routes.addressOf(config), 'telemetry/config');
});

t.test('a route gives topic, message group, keys and tag; subscribers see nothing of it', async (t) => {
  for (const version of [4, 5] as const) {
    const client = await connected(t, version);
    await client.subscribe(1, 'devices/#');
    const address = `devices/v${version}/telemetry/temp/c`;
    t.equal(await client.publish(address, '21'), 0);
    const packet = await client.next('publish');
    const { packetIdentifier, ...plain } = packet;
    client.send(puback(packetIdentifier));
    const expected = {
      type: 'publish',
      topicName: address,
      payload: Buffer.from('21'),
      qos: 1,
      dup: false,
      retain: false,
    };
    t.match(plain, expected);
    t.notOk(packet.properties?.userProperties, 'nothing was added to what was published');
    const [delivery] = await received(gateway.broker, 'telemetry', 1);
    const { tag, keys, messageGroup } = gateway.broker.view(delivery!.message);
    t.same({ tag, keys, messageGroup }, { tag: 'temp/c', keys: [`v${version}`], messageGroup: `v${version}` });
    t.equal(delivery!.message.address, address);
    client.destroy();
  }
  t.match(gateway.broker.topics.get('telemetry'), { type: 'MIXED', queues: 8 });
});

t.test('what the publisher says itself counts first, and arrives as it was said', async (t) => {
  const client = await connected(t);
  const other = await connected(t);
  await other.subscribe(1, 'devices/+/telemetry/x');
  const userProperties: [string, string][] = [
    ['tag', 'mine'],
    ['a', '1'],
    ['a', '2'],
  ];
  const properties = { userProperties, messageExpiryIntervalS: 100 };
  t.equal(await client.publish('devices/7/telemetry/x', 'b', { properties }), 0);
  const packet = await other.next('publish');
  t.same(packet.properties, { userProperties, messageExpiryIntervalS: 100 });
  const [delivery] = await received(gateway.broker, 'telemetry', 1);
  const view = gateway.broker.view(delivery!.message);
  t.match(view, { tag: 'mine', keys: ['7'], messageGroup: '7' });
  t.ok(view.expiresAt > 0);
  const all: [string, string][] = [
    ['message-group', 'g'],
    ['keys', 'k1,k2'],
  ];
  t.equal(await client.publish('devices/7/telemetry', 'c', { properties: { userProperties: all } }), 0);
  const [second] = await received(gateway.broker, 'telemetry', 1);
  t.match(gateway.broker.view(second!.message), { tag: undefined, keys: ['k1', 'k2'], messageGroup: 'g' });
});

t.test('QoS 0 takes the same route', async (t) => {
  const client = await connected(t, 4);
  await client.subscribe(0, 'devices/q0/telemetry/#');
  client.send(publishPacket('devices/q0/telemetry/y', 'b'));
  t.match(await client.next('publish'), { topicName: 'devices/q0/telemetry/y', payload: Buffer.from('b') });
  const [delivery] = await received(gateway.broker, 'telemetry', 1);
  t.match(gateway.broker.view(delivery!.message), { tag: 'y', messageGroup: 'q0' });
  t.notOk(delivery!.message.isPlain);
  t.equal(await client.publish('devices/q0/log', 'b'), 0);
  const [other] = await received(gateway.broker, 'devices', 1);
  t.ok(other!.message.isPlain, 'what gets nothing from its route keeps the form it came in');
});

t.test('types and queues of topics', async (t) => {
  const client = await connected(t);
  t.equal(await client.publish('ordered/1', 'x'), 0x10);
  t.match(gateway.broker.topics.get('ordered'), { type: 'FIFO', queues: 2 });
  t.equal(await client.publish('ordered/', 'x'), 0x83, 'no message group, and the topic takes nothing else');
  t.equal(await client.publish('normal/1', 'x'), 0x83, 'a message group, and the topic takes none');
  t.equal(await client.publish(`ordered/${'x'.repeat(64)}`, 'x'), 0x90, 'no message group is that long');
});

t.test('topics are created up to topicsMax, and the next one is refused', async (t) => {
  const client = await connected(t);
  const names = gateway.broker.topics.list().length;
  for (let i = names; i < 8; i++) t.equal(await client.publish(`limit${i}/x`, 'x'), 0x10);
  t.equal(gateway.broker.topics.list().length, 8);
  t.equal(await client.publish('one-more/x', 'x'), 0x97);
  t.equal(await client.publish('one-more/x', 'x'), 0x97, 'again');
  t.equal(await client.publish('limit7/y', 'x'), 0x10, 'those there are go on');
  const v4 = await connected(t, 4);
  v4.send(publishPacket('one-more/x', 'x', { qos: 1, packetIdentifier: 1 }));
  t.same(await v4.rest(), [], 'MQTT 3 can only close');
});

t.test('$delayed', async (t) => {
  const server = await startMqttServer();
  const { broker, clock } = server;
  t.teardown(() => server.close());
  const client = await RawMqttClient.connected(server.port);
  const subscriber = await RawMqttClient.connected(server.port, 4);
  t.teardown(() => [client, subscriber].forEach((one) => one.destroy()));
  await subscriber.subscribe(1, 'later/#');

  await t.test('is delivered after that many seconds, under its own name', async (t) => {
    const properties = { userProperties: [['a', '1']] as [string, string][] };
    t.equal(await client.publish('$delayed/10/later/é', 'one', { properties }), 0);
    client.send(publishPacket('$delayed/10/later/0', 'zero'));
    t.same(await client.fence(), []);
    await clock.advance(9_999);
    t.same(await subscriber.fence(), [], 'not before');
    await clock.advance(1_001);
    const got = [await subscriber.next('publish'), await subscriber.next('publish')];
    const texts = got.map(({ topicName, payload, qos }) => `${topicName} ${payload.toString()} ${qos}`);
    t.same(texts.toSorted(), ['later/0 zero 0', 'later/é one 1']);
    for (const { packetIdentifier } of got) {
      if (packetIdentifier !== undefined) subscriber.send(puback(packetIdentifier));
    }
    const deliveries = await received(broker, 'later', 2, 0);
    t.same(deliveries.map(({ message }) => message.address).toSorted(), ['later/0', 'later/é']);
    const one = deliveries.find(({ message }) => message.qos === 1)!.message;
    t.same(broker.view(one).properties, [['a', '1']]);
    t.equal(one.deliverAt - clock.now(), -1_000, 'it says when it was due');
  });

  await t.test('whoever is there when it is due gets it, at QoS 0 too', async (t) => {
    t.equal(await client.publish('$delayed/10/due/1', 'x'), 0x10);
    client.send(publishPacket('$delayed/10/due/0', 'y'));
    t.equal(await client.publish('$delayed/10/due/2', 'z', { properties: { messageExpiryIntervalS: 5 } }), 0x10);
    const late = await RawMqttClient.connected(server.port);
    t.teardown(() => late.destroy());
    await late.subscribe(1, 'due/1');
    const live = await RawMqttClient.connected(server.port, 4);
    t.teardown(() => live.destroy());
    await live.subscribe(0, 'due/#');
    await clock.advance(11_000);
    t.match(await late.next('publish'), { topicName: 'due/1', qos: 1 });
    const names = [await live.next('publish'), await live.next('publish')].map(({ topicName }) => topicName);
    t.same(names.toSorted(), ['due/0', 'due/1']);
    t.same(await live.fence(), [], 'nothing that has expired');
  });

  await t.test('a time that is past is now', async (t) => {
    const live = await RawMqttClient.connected(server.port, 4);
    t.teardown(() => live.destroy());
    await live.subscribe(0, 'past/x');
    const properties = { userProperties: [['deliver-at', '5']] as [string, string][] };
    t.equal(await client.publish('past/x', 'x', { properties }), 0);
    t.match(await live.next('publish'), { topicName: 'past/x', qos: 0 });
  });

  await t.test('permission is that of the topic name behind', async (t) => {
    const asked: string[] = [];
    const everyone = broker.isAllowed.bind(broker);
    t.teardown(() => (broker.isAllowed = everyone));
    broker.isAllowed = (_principal, action, resource) => {
      if (resource.kind === 'topic') asked.push(`${action} ${resource.topic} ${resource.address}`);
      return resource.kind === 'topic' && resource.topic !== 'secret';
    };
    t.equal(await client.publish('$delayed/5/secret/x', 'x'), 0x87);
    t.equal(await client.publish('$delayed/5/later/x', 'x'), 0);
    t.same(asked, ['PUB secret secret/x', 'PUB later later/x']);
  });

  await t.test('the longest delay', async (t) => {
    const most = broker.delayMsMax / 1000;
    t.equal(await client.publish(`$delayed/${most}/later/x`, 'x'), 0);
    t.equal(await client.publish(`$delayed/${most + 1}/later/x`, 'x'), 0x90);
  });

  const refused = [
    '$delayed/0/a',
    '$delayed/00/a',
    '$delayed/-1/a',
    '$delayed/1.5/a',
    '$delayed/x/a',
    '$delayed/99999999999/a',
    '$delayed//a',
    '$delayed/5',
    '$delayed/5/',
    '$delayed/5/$SYS/a',
    '$delayed/5/$delayed/5/a',
    `$delayed/5/${'a/'.repeat(32)}a`,
    `$delayed/5/${'x'.repeat(128)}`,
    '$delayed/5/TBW102/x',
    '$delayed',
    '$Delayed/5/a',
  ];
  for (const topicName of refused) {
    t.equal(await client.publish(topicName, 'x'), 0x90, topicName.slice(0, 40));
    client.send(publishPacket(topicName, 'x'));
  }
  t.equal(await client.publish(`$delayed/5/${'a/'.repeat(31)}a`, 'x'), 0x10, 'its two levels do not count');
  t.same(await client.fence(), []);
});
