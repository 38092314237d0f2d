import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import type { ConnectPacket, Packet, Properties, ProtocolVersion } from '../../adapters/mqtt/codec/packet.ts';
import { hashPassword } from '../../gateway/security/password.ts';
import { startGatewayProcess } from '../helpers/gateway-process.ts';
import { connectPacket, PLAIN_SUBSCRIPTION, puback, publishPacket, RawMqttClient } from '../helpers/mqtt-client.ts';
import { startMqttServer } from '../helpers/mqtt-server.ts';

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5];
const WILL = { topicName: '$own/w', payload: Buffer.from('gone'), qos: 0, retain: false } as const;

const server = await startMqttServer();
const { port } = server;
t.teardown(() => server.close());

let used = 0;
/** A topic no other test uses. */
function freshTopic(): string {
  return `t${++used}/x`;
}

function connectBytes(name: string, level: number): Buffer {
  const fields = Buffer.from([level, 2, 0, 0, ...(level >= 5 ? [0] : []), 0, 1, 0x61]);
  const body = Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), fields]);
  return Buffer.concat([Buffer.from([0x10, body.length]), body]);
}

t.test('CONNECT', async (t) => {
  await t.test('client identifiers and clean start', async (t) => {
    const assigned = new Set<string | undefined>();
    for (const cleanStart of [true, false]) {
      const client = await RawMqttClient.open(port);
      const connack = await client.connect({ cleanStart });
      t.match(connack, { reasonCode: 0, sessionPresent: false });
      assigned.add(connack.properties?.assignedClientIdentifier);
      client.destroy();
    }
    t.equal(assigned.size, 2, 'every client gets an identifier of its own');
    t.notOk(assigned.has(undefined));
    const named = await RawMqttClient.open(port);
    const connack = await named.connect({ clientIdentifier: 'mine', properties: { sessionExpiryIntervalS: 60 } });
    t.same(connack.properties, {
      receiveMaximum: 1024,
      maximumPacketSizeBytes: 4 * 1024 * 1024 + 128 * 1024,
      topicAliasMaximum: 32,
    });
    named.destroy();
    const v4 = await RawMqttClient.open(port, 4);
    t.match(await v4.connect(), { reasonCode: 0, sessionPresent: false }, 'MQTT 3.1.1, empty, clean session');
    v4.destroy();
  });

  const refused: [string, ProtocolVersion, Partial<ConnectPacket>, number][] = [
    ['3.1.1, empty identifier without clean session', 4, { cleanStart: false }, 2],
    ['3.1, empty identifier', 3, { clientIdentifier: '' }, 2],
    ['3.1.1, a will nobody may publish', 4, { will: WILL }, 3],
    ['5, a will nobody may publish', 5, { will: WILL }, 0x90],
    ['5, enhanced authentication', 5, { properties: { authenticationMethod: 'SCRAM' } }, 0x8c],
  ];
  for (const [name, version, fields, reasonCode] of refused) {
    await t.test(`refused: ${name}`, async (t) => {
      const client = await RawMqttClient.open(port, version);
      t.match(await client.connect(fields), { sessionPresent: false, reasonCode });
      t.same(await client.rest(), [], 'and closed');
    });
  }

  const levels: [string, Buffer, ProtocolVersion, number][] = [
    ['level 6', connectBytes('MQTT', 6), 5, 0x84],
    ['level 2', connectBytes('MQTT', 2), 4, 1],
    ['level 3 under the name of 4', connectBytes('MQTT', 3), 4, 1],
    ['another protocol name', connectBytes('MQTX', 4), 4, 1],
  ];
  for (const [name, bytes, version, reasonCode] of levels) {
    await t.test(`refused: ${name}`, async (t) => {
      const client = await RawMqttClient.open(port, version);
      client.send(bytes);
      t.match(await client.next('connack'), { reasonCode });
      t.same(await client.rest(), []);
    });
  }

  const silent: [string, Packet | Buffer][] = [
    ['garbage', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['zeros', Buffer.alloc(64)],
    ['PINGREQ first', { type: 'pingreq' }],
    ['PUBLISH first', publishPacket('a', 'b')],
    ['a CONNECT that says it is huge', Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f])],
  ];
  for (const [name, bytes] of silent) {
    await t.test(`closed without a word: ${name}`, async (t) => {
      const client = await RawMqttClient.open(port);
      client.send(bytes);
      t.same(await client.rest(), []);
      t.equal(client.bytes, 0);
    });
  }

  await t.test('a second CONNECT is a protocol error', async (t) => {
    for (const version of VERSIONS) {
      const client = await RawMqttClient.connected(port, version);
      client.send(connectPacket(version));
      t.match(await client.rest(), version === 5 ? [{ type: 'disconnect', reasonCode: 0x82 }] : []);
    }
  });

  await t.test('no CONNECT in time', async (t) => {
    const [silentClient, slow] = await Promise.all([RawMqttClient.open(port), RawMqttClient.open(port)]);
    slow.send(connectBytes('MQTT', 5).subarray(0, 4));
    const other = await RawMqttClient.connected(port);
    await server.clock.advance(12_000);
    t.same(await silentClient.rest(), []);
    t.same(await slow.rest(), []);
    t.same(await other.fence(), [], 'keep alive 0: no limit');
    other.destroy();
  });

  await t.test('users', async (t) => {
    const password = await hashPassword('secret');
    const guarded = await startMqttServer({}, [{ name: 'meter', password }]);
    t.teardown(() => guarded.close());
    const outcomes: number[] = [];
    for (const [version, fields] of [
      [5, { username: 'meter', password: Buffer.from('secret') }],
      [5, { username: 'meter', password: Buffer.from('Secret') }],
      [5, { username: 'other', password: Buffer.from('secret') }],
      [5, {}],
      [4, { username: 'meter', password: Buffer.from('secret') }],
      [4, { username: 'meter', password: Buffer.from('x') }],
      [4, {}],
    ] as const) {
      const client = await RawMqttClient.open(guarded.port, version);
      outcomes.push((await client.connect(fields)).reasonCode);
      client.destroy();
    }
    t.same(outcomes, [0, 0x86, 0x86, 0x87, 0, 4, 5]);
  });

  await t.test('what stands behind CONNECT and SUBSCRIBE in the same chunk is served, in order', async (t) => {
    for (const version of VERSIONS) {
      const topic = freshTopic();
      const client = await RawMqttClient.open(port, version);
      client.send(
        connectPacket(version),
        {
          type: 'subscribe',
          packetIdentifier: 9,
          subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter: topic, qos: 1 }],
        },
        publishPacket(topic, 'behind', { qos: 1, packetIdentifier: 10 }),
      );
      await client.next('connack');
      t.match(await client.next('suback'), { packetIdentifier: 9, reasonCodes: [1] });
      const two = [await client.take(), await client.take()].toSorted((a, b) => a!.type.localeCompare(b!.type));
      t.match(two, [
        { type: 'puback', packetIdentifier: 10 },
        { type: 'publish', topicName: topic, packetIdentifier: 1 },
      ]);
      client.destroy();
    }
  });

  await t.test('the same client identifier again takes over', async (t) => {
    for (const version of VERSIONS) {
      const first = await RawMqttClient.connected(port, version, { clientIdentifier: 'same' });
      await first.subscribe(1, 'taken/over');
      const second = await RawMqttClient.connected(port, version, { clientIdentifier: 'same' });
      t.match(await first.rest(), version === 5 ? [{ type: 'disconnect', reasonCode: 0x8e }] : []);
      await second.publish('taken/over', 'x');
      t.same(await second.fence(), [], 'the subscription ended with its connection');
      second.send({ type: 'disconnect', reasonCode: 0 });
      t.same(await second.rest(), []);
    }
  });

  await t.test('keep alive', async (t) => {
    for (const version of VERSIONS) {
      const client = await RawMqttClient.connected(port, version, { keepAliveS: 10 });
      await server.clock.advance(14_000);
      t.same(await client.fence(), [], 'one and a half periods are not over');
      await server.clock.advance(14_000);
      t.same(await client.fence(), [], 'and begin again with every packet');
      await server.clock.advance(17_000);
      t.match(await client.rest(), version === 5 ? [{ type: 'disconnect', reasonCode: 0x8d }] : []);
    }
  });
});

t.test('QoS 0 and 1', async (t) => {
  await t.test('both ways, exact identifiers and order', async (t) => {
    for (const version of VERSIONS) {
      const topic = freshTopic();
      const [publisher, live, stored] = (await Promise.all(
        [1, 2, 3].map(() => RawMqttClient.connected(port, version)),
      )) as [RawMqttClient, RawMqttClient, RawMqttClient];
      t.same(await live.subscribe(0, topic), [0]);
      t.same(await stored.subscribe(1, topic), [1]);
      const packets: Packet[] = [];
      for (let i = 1; i <= 50; i++) packets.push(publishPacket(topic, `${i}`, { qos: 1, packetIdentifier: 1000 - i }));
      publisher.send(...packets);
      const acknowledged = await publisher.many('puback', 50);
      t.same(
        acknowledged.map(({ packetIdentifier }) => packetIdentifier),
        Array.from({ length: 50 }, (_, i) => 999 - i),
        'PUBACK in the order of PUBLISH [MQTT-4.6.0-2]',
      );
      // The order holds within one QoS [MQTT-4.6.0-5]: what waits to be stored may be overtaken by QoS 0.
      publisher.send(publishPacket(topic, 'last'));
      t.same(await publisher.fence(), [], 'none for QoS 0');
      const expected = [...Array.from({ length: 50 }, (_, i) => `${i + 1}`), 'last'];
      const got0 = await live.many('publish', 51);
      t.same(
        got0.map(({ payload }) => payload.toString()),
        expected,
      );
      t.ok(got0.every(({ qos, dup, retain }) => qos === 0 && !dup && !retain));
      const got1 = await stored.many('publish', 51);
      t.same(
        got1.map(({ payload }) => payload.toString()),
        expected,
      );
      t.same(
        got1.map(({ packetIdentifier }) => packetIdentifier),
        [...Array.from({ length: 50 }, (_, i) => i + 1), undefined],
        'the lower QoS of the two counts [MQTT-3.8.4-8]',
      );
      stored.send(...got1.slice(0, 50).map(({ packetIdentifier }) => puback(packetIdentifier)));
      t.same(await stored.fence(), []);
      for (const client of [publisher, live, stored]) client.destroy();
    }
  });

  await t.test('Receive Maximum of the client', async (t) => {
    const topic = freshTopic();
    const client = await RawMqttClient.connected(port, 5, { properties: { receiveMaximum: 3 } });
    await client.subscribe(2, topic);
    const publisher = await RawMqttClient.connected(port);
    for (let i = 1; i <= 6; i++) t.equal(await publisher.publish(topic, `${i}`), 0);
    const first = await client.many('publish', 3);
    t.same(await client.fence(), [], 'no more than three are unacknowledged');
    client.send(puback(first[0]!.packetIdentifier));
    t.match(await client.next('publish'), { packetIdentifier: 4, payload: Buffer.from('4') });
    t.same(await client.fence(), []);
    client.send(puback(4), puback(2), puback(3));
    const rest = await client.many('publish', 2);
    t.same(
      rest.map(({ packetIdentifier }) => packetIdentifier),
      [5, 6],
    );
    client.send(puback(77));
    t.same(await client.fence(), [], 'an unknown PUBACK is ignored');
    client.destroy();
    publisher.destroy();
  });

  await t.test('a client that ignores the Receive Maximum of the server loses nothing', async (t) => {
    const small = await startMqttServer({ receiveMaximum: 4 });
    t.teardown(() => small.close());
    const client = await RawMqttClient.connected(small.port);
    const packets = Array.from({ length: 500 }, (_, i) =>
      publishPacket('a/b', 'x'.repeat(500), { qos: 1, packetIdentifier: i + 1 }),
    );
    for (const packet of packets) client.send(packet);
    const acknowledged = await client.many('puback', 500);
    t.ok(acknowledged.every(({ packetIdentifier }, i) => packetIdentifier === i + 1));
    client.destroy();
  });

  await t.test('a packet larger than the server takes', async (t) => {
    const small = await startMqttServer({ packetBytesMax: 1024 });
    t.teardown(() => small.close());
    for (const version of VERSIONS) {
      const client = await RawMqttClient.connected(small.port, version);
      client.send(publishPacket('a', 'x'.repeat(1024), { qos: 1, packetIdentifier: 1 }));
      t.match(await client.rest(), version === 5 ? [{ type: 'disconnect', reasonCode: 0x95 }] : []);
    }
  });

  await t.test('a delivery larger than the client takes is as if it had been sent', async (t) => {
    const topic = freshTopic();
    const client = await RawMqttClient.connected(port, 5, { properties: { maximumPacketSizeBytes: 100 } });
    const publisher = await RawMqttClient.connected(port);
    for (const qos of [0, 1] as const) {
      await client.subscribe(qos, topic);
      await publisher.publish(topic, 'x'.repeat(200));
      await publisher.publish(topic, 'fits');
      t.match(await client.next('publish'), { qos, payload: Buffer.from('fits') });
      t.same(await client.fence(), []);
    }
    client.destroy();
    publisher.destroy();
  });
});

t.test('a topic alias beyond the maximum, and one that stands for nothing', async (t) => {
  for (const [topicName, topicAlias, reasonCode] of [
    ['a/b', 33, 0x94],
    ['', 32, 0x82],
  ] as const) {
    const client = await RawMqttClient.connected(port);
    client.send(publishPacket(topicName, 'x', { properties: { topicAlias } }));
    t.match(await client.rest(), [{ type: 'disconnect', reasonCode }]);
  }
});

t.test('addresses', async (t) => {
  await t.test("names that start with $ are the gateway's own", async (t) => {
    const client = await RawMqttClient.connected(port);
    await client.subscribe(1, '$own/#', '#');
    t.equal(await client.publish('$own/x', 'x'), 0x90);
    client.send(publishPacket('$own/x', 'x'));
    t.same(await client.fence(), [], 'not delivered either');
    client.destroy();
    const v4 = await RawMqttClient.connected(port, 4);
    v4.send(publishPacket('$own/x', 'x', { qos: 1, packetIdentifier: 1 }));
    t.same(await v4.rest(), []);
  });

  await t.test('a first level RocketMQ has no name for is percent-encoded, the address stays', async (t) => {
    const client = await RawMqttClient.connected(port);
    const address = 'Haus é.1/x y';
    await client.subscribe(1, address);
    t.equal(await client.publish(address, 'x'), 0);
    t.match(await client.next('publish'), { topicName: address });
    const topic = server.broker.topicOf(address);
    t.match(topic, /^Haus%20%C3%A9%2[eE]1$/);
    client.destroy();
  });

  await t.test('an empty first level has a topic', async (t) => {
    const client = await RawMqttClient.connected(port);
    await client.subscribe(1, '/lead/+');
    t.equal(await client.publish('/lead/1', 'x'), 0);
    t.match(await client.next('publish'), { topicName: '/lead/1' });
    client.destroy();
  });
});

t.test('SUBSCRIBE and UNSUBSCRIBE', async (t) => {
  await t.test('one that cannot be granted does not fail its neighbours', async (t) => {
    for (const version of VERSIONS) {
      const client = await RawMqttClient.connected(port, version);
      const deep = Array.from({ length: 33 }, () => 'l').join('/');
      t.same(await client.subscribe(1, 'fine/1', deep, 'fine/2'), version === 5 ? [1, 0x8f, 1] : [1, 0x80, 1]);
      client.destroy();
    }
  });

  await t.test('unsubscribe', async (t) => {
    for (const version of VERSIONS) {
      const topic = freshTopic();
      const client = await RawMqttClient.connected(port, version);
      await client.subscribe(1, topic, `${topic}/#`);
      client.send({ type: 'unsubscribe', packetIdentifier: 3, topicFilters: [topic, 'never/was', `${topic}/#`] });
      const unsuback = await client.next('unsuback');
      t.equal(unsuback.packetIdentifier, 3);
      t.same(unsuback.reasonCodes, version === 5 ? [0, 0x11, 0] : []);
      await client.publish(topic, 'x');
      t.same(await client.fence(), [], 'nothing is delivered any more');
      client.destroy();
    }
  });

  await t.test('overlapping filters: one delivery, at the highest QoS', async (t) => {
    const topic = freshTopic();
    const client = await RawMqttClient.connected(port);
    await client.subscribe(0, `${topic.split('/')[0]}/#`);
    await client.subscribe(1, topic);
    const publisher = await RawMqttClient.connected(port);
    await publisher.publish(topic, 'x');
    t.match(await client.next('publish'), { qos: 1 });
    t.same(await client.fence(), []);
    client.destroy();
    publisher.destroy();
  });

  await t.test('the same filter again changes the QoS and delivers once', async (t) => {
    const topic = freshTopic();
    const client = await RawMqttClient.connected(port);
    const publisher = await RawMqttClient.connected(port);
    for (const qos of [0, 1, 1, 0] as const) {
      t.same(await client.subscribe(qos, topic), [qos]);
      await publisher.publish(topic, 'x');
      const publish = await client.next('publish');
      t.equal(publish.qos, qos);
      if (publish.packetIdentifier !== undefined) client.send(puback(publish.packetIdentifier));
      t.same(await client.fence(), []);
    }
    client.destroy();
    publisher.destroy();
  });
});

t.test('properties', async (t) => {
  await t.test('user properties keep their order and repetitions, the others their values', async (t) => {
    const topic = freshTopic();
    const properties: Properties = {
      payloadFormatIndicator: 1,
      contentType: 'text/plain',
      responseTopic: 'reply/here',
      correlationData: Buffer.from([0, 255, 1]),
      userProperties: [
        ['b', '1'],
        ['a', '2'],
        ['b', '3'],
        ['b', '1'],
        ['', 'é'],
      ],
    };
    const publisher = await RawMqttClient.connected(port);
    for (const qos of [0, 1] as const) {
      const client = await RawMqttClient.connected(port);
      await client.subscribe(qos, topic);
      await publisher.publish(topic, 'x', { properties });
      t.same((await client.next('publish')).properties, properties);
      client.destroy();
    }
    const v4 = await RawMqttClient.connected(port, 4);
    await v4.subscribe(1, topic);
    await publisher.publish(topic, 'x', { properties });
    t.match(await v4.next('publish'), { topicName: topic, payload: Buffer.from('x') });
    v4.destroy();
    publisher.destroy();
  });

  await t.test('message expiry', async (t) => {
    const topic = freshTopic();
    const client = await RawMqttClient.connected(port, 5, { properties: { receiveMaximum: 1 } });
    await client.subscribe(1, topic);
    const publisher = await RawMqttClient.connected(port);
    const intervals = [100, 100, 5, undefined];
    for (const [i, messageExpiryIntervalS] of intervals.entries()) {
      const properties = messageExpiryIntervalS === undefined ? {} : { messageExpiryIntervalS };
      t.equal(await publisher.publish(topic, `${i}`, { properties }), 0);
    }
    const first = await client.next('publish');
    t.equal(first.properties?.messageExpiryIntervalS, 100);
    await server.clock.advance(29_500);
    client.send(puback(first.packetIdentifier));
    const second = await client.next('publish');
    t.equal(second.properties?.messageExpiryIntervalS, 71, 'what is left, rounded up');
    client.send(puback(second.packetIdentifier));
    const third = await client.next('publish');
    t.equal(third.payload.toString(), '3', 'the expired one is left out');
    t.equal(third.properties, undefined);
    client.destroy();
    publisher.destroy();
  });
});

t.test('the end', async (t) => {
  for (const version of VERSIONS) {
    const client = await RawMqttClient.connected(port, version);
    t.same(await client.fence(), [], 'PINGREQ is answered');
    client.send({ type: 'disconnect', reasonCode: version === 5 ? 0x04 : 0 });
    t.same(await client.rest(), []);
  }
  const client = await RawMqttClient.connected(port);
  client.send({ type: 'pubrec', packetIdentifier: 1, reasonCode: 0 });
  t.match(await client.next('pubrel'), { packetIdentifier: 1, reasonCode: 0x92 }, 'PUBREC without QoS 2');
  client.destroy();
});

t.test('a subscriber that does not read', { timeout: 60_000 }, async (t) => {
  const MESSAGES = 500;
  const slowServer = await startMqttServer({ inflightMax: 65_535, outputBytesMax: 65_536 });
  t.teardown(() => slowServer.close());
  const [publisher, fast, slow0, slow1] = (await Promise.all(
    [1, 2, 3, 4].map(() => RawMqttClient.connected(slowServer.port)),
  )) as [RawMqttClient, RawMqttClient, RawMqttClient, RawMqttClient];
  await fast.subscribe(1, 'big/#');
  await slow0.subscribe(0, 'big/#');
  await slow1.subscribe(1, 'big/#');
  slow0.socket.pause();
  slow1.socket.pause();
  const padding = 'x'.repeat(65_536);
  for (let i = 0; i < MESSAGES; i++) {
    const reasonCode = await publisher.publish(`big/${i}`, padding);
    const publish = await fast.next('publish');
    if (reasonCode !== 0 || publish.topicName !== `big/${i}`) t.fail(`message ${i} did not get through`);
    fast.send(puback(publish.packetIdentifier));
  }
  slow1.socket.resume();
  const stored = await slow1.many('publish', MESSAGES);
  t.ok(
    stored.every(({ topicName, packetIdentifier }, i) => topicName === `big/${i}` && packetIdentifier === i + 1),
    'QoS 1: all of them, in order',
  );
  slow0.socket.resume();
  const live = await slow0.fence();
  t.ok(live.length > 0 && live.length < MESSAGES, `QoS 0: ${live.length} of ${MESSAGES}, the rest is dropped`);
  await publisher.publish('big/again', 'x');
  t.match(await slow0.next('publish'), { topicName: 'big/again' }, 'and it is served again');
  for (const client of [publisher, fast, slow0, slow1]) client.destroy();
});

t.test('1,000 malformed connections disturb nobody', { timeout: 60_000 }, async (t) => {
  const topic = freshTopic();
  const client = await RawMqttClient.connected(port);
  await client.subscribe(1, topic);
  const bad = [
    Buffer.from('garbage in'),
    Buffer.from([0x10, 0x80, 0x80, 0x80, 0x80, 0x01]),
    connectBytes('MQTT', 9),
    Buffer.concat([connectBytes('MQTT', 5), Buffer.from([0xf0, 0x01, 0x18])]),
    Buffer.concat([connectBytes('MQTT', 4), Buffer.from([0x36, 0x02, 0, 0])]),
    Buffer.concat([connectBytes('MQTT', 5), Buffer.from([0x82, 0x06, 0, 1, 0, 0, 1, 0x61])]),
  ];
  for (let round = 0; round < 20; round++) {
    await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const socket = connect(port, '127.0.0.1');
        socket.on('error', () => {});
        socket.resume();
        socket.write(bad[i % bad.length]!);
        await once(socket, 'close');
      }),
    );
    client.send(publishPacket(topic, `${round}`, { qos: 1, packetIdentifier: 5 }));
    const two = [await client.take(), await client.take()];
    t.same(new Set(two.map((packet) => packet?.type)), new Set(['puback', 'publish']));
    client.send(puback(round + 1));
  }
  t.same(await client.fence(), []);
  client.destroy();
});

t.test('SIGTERM while clients publish', { timeout: 60_000 }, async (t) => {
  const gateway = await startGatewayProcess();
  t.teardown(() => gateway.child.kill('SIGKILL'));
  const idle = await RawMqttClient.connected(gateway.mqttPort);
  const v4 = await RawMqttClient.connected(gateway.mqttPort, 4);
  const publisher = await RawMqttClient.connected(gateway.mqttPort);
  const send = (from: number, to: number): void => {
    for (let i = from; i <= to; i++)
      publisher.send(publishPacket('a/b', 'x'.repeat(200), { qos: 1, packetIdentifier: i }));
  };
  send(1, 1000);
  await publisher.many('puback', 500);
  gateway.child.kill('SIGTERM');
  send(1001, 3000);
  const rest = await publisher.rest();
  t.match(rest.pop(), { type: 'disconnect', reasonCode: 0x8b });
  t.ok(
    rest.every(
      (packet, i) => packet.type === 'puback' && packet.packetIdentifier === 501 + i && packet.reasonCode === 0x10,
    ),
    'what was taken in is acknowledged, without a gap',
  );
  t.match(await idle.rest(), [{ type: 'disconnect', reasonCode: 0x8b }]);
  t.same(await v4.rest(), []);
  t.equal(await gateway.exited, 0);
  t.match(gateway.log.at(-1), { msg: 'stopped' });
});
