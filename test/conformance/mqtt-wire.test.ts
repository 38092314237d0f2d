import t from 'tap';
import { encodePacket } from '../../adapters/mqtt/codec/encoder.ts';
import type { PublishPacket, ProtocolVersion } from '../../adapters/mqtt/codec/packet.ts';
import { connectPacket, PLAIN_SUBSCRIPTION, puback, publishPacket, RawMqttClient } from '../helpers/mqtt-client.ts';
import { startTestGateway } from '../helpers/gateway.ts';
import { startMqttServer } from '../helpers/mqtt-server.ts';
import { MALFORMED } from '../unit/adapters/mqtt/malformed-packets.ts';

/** Statements of the standards seen on the wire that no other test has a reason to look at. */

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5];
const server = await startMqttServer();
const { port } = server;
t.teardown(() => server.close());

t.test('every malformed input ends its connection, and MQTT 5 is told the reason', { timeout: 60_000 }, async (t) => {
  const wrong: string[] = [];
  for (const { name, role, version, bytes, reasonCode } of MALFORMED) {
    if (role === 'client') continue;
    const isFirst = version === undefined;
    const client = isFirst ? await RawMqttClient.open(port) : await RawMqttClient.connected(port, version);
    if (isFirst) {
      // The answer is judged by its bytes: its version depends on how far the CONNECT could be read.
      const answer: Buffer[] = [];
      client.socket.removeAllListeners('data').on('data', (chunk: Buffer) => answer.push(chunk));
      client.send(bytes);
      await client.rest();
      const isSilent = answer.length === 0;
      const code = reasonCode === 0x84 ? [1, 0x84] : [reasonCode];
      const [first, , flags, given] = Buffer.concat(answer);
      // A second CONNECT comes after a CONNACK that took the first.
      const isTaken = name.startsWith('second CONNECT') && first === 0x20 && given === 0;
      if (!isSilent && !isTaken && (first !== 0x20 || flags !== 0 || !code.includes(given!))) {
        wrong.push(`${name}: ${Buffer.concat(answer).toString('hex')}`);
      }
    } else {
      client.send(bytes);
      const rest = await client.rest();
      const last = rest.at(-1);
      const isRight =
        version === 5 ? last?.type === 'disconnect' && last.reasonCode === reasonCode : last === undefined;
      if (!isRight || rest.length > 1) wrong.push(`${name}: ${JSON.stringify(rest)}`);
    }
  }
  t.same(wrong, []);
});

t.test('topic names arrive as they were sent, with U+FEFF, unusual characters and 65,535 bytes', async (t) => {
  const long = `long/${'x'.repeat(65_530)}`;
  const names = ['\uFEFFmark/a', 'mark/\uFEFF', 'a//b', '/', 'A/é/𝄞', 'a/e\u0301', 'a/ \u007f', long];
  for (const version of VERSIONS) {
    const client = await RawMqttClient.connected(port, version);
    for (const name of names) {
      t.same(await client.subscribe(1, name), [1]);
      client.send(publishPacket(name, 'x', { qos: 1, packetIdentifier: 9 }));
      const two = [await client.take(), await client.take()].filter((packet) => packet?.type === 'publish');
      const [{ topicName, packetIdentifier }] = two as [PublishPacket];
      t.equal(topicName, name);
      client.send(puback(packetIdentifier));
    }
    const publisher = await RawMqttClient.connected(port, version);
    await publisher.publish('a/\u00e9', 'x');
    t.same(await client.fence(), [], 'no normalization: é in one code point is not e and an accent');
    for (const each of [client, publisher]) each.destroy();
  }
});

t.test('topics with $ in front are not matched by wildcards in front', async (t) => {
  const client = await RawMqttClient.connected(port);
  await client.subscribe(0, '#', '+/#', '+/x');
  const publisher = await RawMqttClient.connected(port);
  publisher.send(publishPacket('$SYS/x', 'x'), publishPacket('seen/x', 'x'));
  await publisher.fence();
  const topics = new Set((await client.fence()).map((packet) => (packet as PublishPacket).topicName));
  t.same(topics, new Set(['seen/x']));
  for (const each of [client, publisher]) each.destroy();
});

t.test(
  'SUBACK and UNSUBACK: one code for each filter in its order, under the identifier of the question',
  async (t) => {
    for (const version of VERSIONS) {
      const client = await RawMqttClient.connected(port, version);
      const subscriptions = ([0, 1, 0, 1] as const).map((qos, i) => ({
        ...PLAIN_SUBSCRIPTION,
        topicFilter: i === 2 ? Array.from({ length: 40 }, () => 'deep').join('/') : `order/${i}`,
        qos,
      }));
      client.send({ type: 'subscribe', packetIdentifier: 65_535, subscriptions });
      t.same(await client.next('suback'), {
        type: 'suback',
        packetIdentifier: 65_535,
        reasonCodes: [0, 1, version === 5 ? 0x8f : 0x80, 1],
      });
      client.send(
        { type: 'unsubscribe', packetIdentifier: 65_534, topicFilters: ['order/9', 'order/1', 'order/+'] },
        { type: 'unsubscribe', packetIdentifier: 1, topicFilters: ['order/3'] },
      );
      const answers = await client.many('unsuback', 2);
      t.same(
        answers.map(({ packetIdentifier, reasonCodes }) => [packetIdentifier, ...reasonCodes]),
        version === 5
          ? [
              [65_534, 0x11, 0, 0x11],
              [1, 0],
            ]
          : [[65_534], [1]],
        'filters are compared as text, also where nothing is removed',
      );
      const publisher = await RawMqttClient.connected(port, version);
      publisher.send(publishPacket('order/1', 'x'), publishPacket('order/0', 'x'));
      await publisher.fence();
      t.match(await client.fence(), [{ topicName: 'order/0' }], 'the others stay');
      for (const each of [client, publisher]) each.destroy();
    }
  },
);

t.test('what was sent before UNSUBSCRIBE is still acknowledged', async (t) => {
  const client = await RawMqttClient.connected(port, 5, { properties: { receiveMaximum: 2 } });
  await client.subscribe(1, 'leave/a');
  await client.subscribe(1, 'leave/b');
  const publisher = await RawMqttClient.connected(port);
  for (const topic of ['leave/a', 'leave/a', 'leave/a']) await publisher.publish(topic, 'x');
  const [first, second] = await client.many('publish', 2);
  client.send({ type: 'unsubscribe', packetIdentifier: 2, topicFilters: ['leave/a'] });
  await client.next('unsuback');
  client.send(puback(first!.packetIdentifier), puback(second!.packetIdentifier));
  t.same(await client.fence(), [], 'the third is not delivered any more');
  await publisher.publish('leave/b', 'y');
  t.match(await client.next('publish'), { topicName: 'leave/b', packetIdentifier: 3 }, 'the window is free again');
  for (const each of [client, publisher]) each.destroy();
});

t.test('DUP says only whether this server sends again', async (t) => {
  for (const version of VERSIONS) {
    const client = await RawMqttClient.connected(port, version);
    await client.subscribe(1, 'dup/a');
    client.send(publishPacket('dup/a', 'x', { qos: 1, packetIdentifier: 5, dup: true }));
    const two = [await client.take(), await client.take()];
    const publish = two.find((packet) => packet?.type === 'publish');
    t.match(publish, { qos: 1, dup: false });
    t.match(
      two.find((packet) => packet?.type === 'puback'),
      { packetIdentifier: 5 },
    );
    client.destroy();
  }
});

t.test('the same packet identifier after PUBACK is a new message', async (t) => {
  for (const version of VERSIONS) {
    const client = await RawMqttClient.connected(port, version);
    const publisher = await RawMqttClient.connected(port, version);
    await client.subscribe(0, `again/${version}`);
    for (const dup of [false, true, false]) {
      t.equal(await publisher.publish(`again/${version}`, `${dup}`, { packetIdentifier: 77, dup }), 0);
    }
    const three = await client.many('publish', 3);
    t.same(
      three.map(({ payload }) => payload.toString()),
      ['false', 'true', 'false'],
    );
    for (const each of [client, publisher]) each.destroy();
  }
});

t.test('nothing is sent again on a connection that stays', async (t) => {
  const client = await RawMqttClient.connected(port, 4, { keepAliveS: 1000 });
  await client.subscribe(1, 'once/a');
  const publisher = await RawMqttClient.connected(port, 4);
  await publisher.publish('once/a', 'x');
  await client.next('publish');
  for (let minute = 0; minute < 10; minute++) {
    await server.clock.advance(60_000);
    t.same(await client.fence(), []);
  }
  for (const each of [client, publisher]) each.destroy();
});

t.test('a refused CONNECT: nothing behind it is processed', async (t) => {
  const witness = await RawMqttClient.connected(port);
  await witness.subscribe(1, 'behind/#');
  for (const version of [4, 5] as const) {
    const client = await RawMqttClient.open(port, version);
    const bad = encodePacket(connectPacket(version), version);
    bad[8] = version === 5 ? 9 : 2; // the protocol level
    client.send(bad, publishPacket('behind/a', 'x', { qos: 1, packetIdentifier: 1 }), { type: 'pingreq' });
    const rest = await client.rest();
    t.equal(rest.length, 1, 'CONNACK alone');
    t.match(rest, [{ type: 'connack', sessionPresent: false }]);
  }
  t.same(await witness.fence(), []);
  witness.destroy();
});

t.test('explanations are left out where the client takes only small packets', async (t) => {
  const reasons = new Map<number, boolean>();
  for (const maximumPacketSizeBytes of [40, 500]) {
    const client = await RawMqttClient.connected(port, 5, { properties: { maximumPacketSizeBytes } });
    const before = client.bytes;
    client.send(Buffer.from([0xc1, 0]));
    const [disconnect] = await client.rest();
    t.match(disconnect, { type: 'disconnect', reasonCode: 0x81 });
    t.ok(client.bytes - before <= maximumPacketSizeBytes, `${client.bytes - before} bytes`);
    reasons.set(maximumPacketSizeBytes, disconnect?.type === 'disconnect' && disconnect.properties !== undefined);
  }
  t.same(
    [...reasons],
    [
      [40, false],
      [500, true],
    ],
  );
  for (const maximumPacketSizeBytes of [20, 500]) {
    const client = await RawMqttClient.open(port);
    const connack = await client.connect({ properties: { maximumPacketSizeBytes, authenticationMethod: 'none such' } });
    t.equal(connack.reasonCode, 0x8c);
    t.equal(connack.properties !== undefined, maximumPacketSizeBytes === 500);
    t.ok(client.bytes <= maximumPacketSizeBytes, `${client.bytes} bytes`);
    client.destroy();
  }
});

t.test('what was not asked for is not sent', async (t) => {
  const client = await RawMqttClient.open(port);
  const connack = await client.connect({ properties: { requestProblemInformation: false } });
  t.equal(connack.properties?.responseInformation, undefined);
  t.equal(connack.properties?.authenticationMethod, undefined);
  const subscriptions = ['a/b', Array.from({ length: 40 }, () => 'deep').join('/')].map((topicFilter) => ({
    ...PLAIN_SUBSCRIPTION,
    topicFilter,
    qos: 0 as const,
  }));
  client.send({ type: 'subscribe', packetIdentifier: 1, subscriptions });
  t.same(await client.next('suback'), { type: 'suback', packetIdentifier: 1, reasonCodes: [0, 0x8f] });
  client.send({ type: 'unsubscribe', packetIdentifier: 2, topicFilters: ['never/was'] });
  t.same(await client.next('unsuback'), { type: 'unsuback', packetIdentifier: 2, reasonCodes: [0x11] });
  const before = client.bytes;
  t.equal(await client.publish('$own/x', 'x'), 0x90);
  t.equal(client.bytes - before, 5, 'PUBACK with its reason code and nothing else');
  const publisher = await RawMqttClient.connected(port);
  for (let i = 0; i < 3; i++) await publisher.publish('a/b', `${i}`);
  const three = await client.many('publish', 3);
  t.ok(
    three.every(({ topicName, properties }) => topicName === 'a/b' && properties === undefined),
    'no topic alias',
  );
  for (const each of [client, publisher]) each.destroy();
});

t.test('client identifiers of 1 to 23 letters and digits, and others', async (t) => {
  const letters = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
  for (const version of VERSIONS) {
    for (const clientIdentifier of ['0', letters.slice(0, 23), letters.slice(-23), letters, 'é/+#$ \uFEFF']) {
      const client = await RawMqttClient.connected(port, version, { clientIdentifier });
      client.destroy();
    }
  }
  t.pass('all of them are taken');
});

t.test('a DISCONNECT of the server carries no Session Expiry Interval and is the last packet', async (t) => {
  const client = await RawMqttClient.connected(port, 5, { properties: { sessionExpiryIntervalS: 60 } });
  client.send({ type: 'pingreq' }, connectPacket(5), { type: 'pingreq' });
  const rest = await client.rest();
  t.same(
    rest.map(({ type }) => type),
    ['pingresp', 'disconnect'],
  );
  const last = rest.at(-1);
  t.equal(last?.type === 'disconnect' ? last.properties?.sessionExpiryIntervalS : 'another packet', undefined);
});

t.test(
  'a message that cannot be stored is refused, and MQTT 3, which cannot say so, loses the connection',
  async (t) => {
    const { gateway, mqttPort } = await startTestGateway(['engine.type=memory', 'engine.bytesMax=1048576']);
    t.teardown(() => gateway.stop());
    const publisher = await RawMqttClient.connected(mqttPort);
    const payload = 'x'.repeat(50_000);
    let reasonCode = 0;
    for (let i = 0; i < 100 && reasonCode < 0x80; i++) reasonCode = await publisher.publish('full/a', payload);
    t.equal(reasonCode, 0x97);
    t.same(await publisher.fence(), [], 'MQTT 5 goes on');
    const v4 = await RawMqttClient.connected(mqttPort, 4);
    v4.send(publishPacket('full/a', payload, { qos: 1, packetIdentifier: 1 }), { type: 'pingreq' });
    const rest = await v4.rest();
    t.ok(
      rest.every(({ type }) => type === 'pingresp'),
      'no PUBACK',
    );
    publisher.destroy();
  },
);
