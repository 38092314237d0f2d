import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Packet, ProtocolVersion, PublishPacket } from '../../adapters/mqtt/codec/packet.ts';
import { openEmbeddedEngine } from '../../adapters/storage/embedded/open.ts';
import { ManualClock } from '../helpers/manual-clock.ts';
import { fresh, kept, PLAIN_SUBSCRIPTION, puback, publishPacket, RawMqttClient } from '../helpers/mqtt-client.ts';
import { startMqttServer } from '../helpers/mqtt-server.ts';

/** Statements about sessions, QoS 2, retained messages and wills that no other test has a reason to look at. */

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5];
const server = await startMqttServer();
const { port, clock } = server;
t.teardown(() => server.close());

const pubrec = (packetIdentifier: number, reasonCode = 0): Packet => ({ type: 'pubrec', packetIdentifier, reasonCode });
const pubrel = (packetIdentifier: number): Packet => ({ type: 'pubrel', packetIdentifier, reasonCode: 0 });
const pubcomp = (packetIdentifier: number): Packet => ({ type: 'pubcomp', packetIdentifier, reasonCode: 0 });

/** One message at each of the qualities, each through all of its acknowledgements. */
async function publishEach(
  publisher: RawMqttClient,
  topic: string,
  payload: string,
  qualities: readonly (0 | 1 | 2)[],
  fields: Partial<PublishPacket> = {},
): Promise<void> {
  for (const qos of qualities) {
    publisher.send(publishPacket(topic, payload, { qos, ...(qos > 0 && { packetIdentifier: 1 }), ...fields }));
    if (qos === 0) await publisher.fence();
    if (qos === 1) await publisher.next('puback');
    if (qos !== 2) continue;
    await publisher.next('pubrec');
    publisher.send(pubrel(1));
    await publisher.next('pubcomp');
  }
}

/** What a new subscription gets at once: its retained messages. */
async function retainedOf(filter: string, version: ProtocolVersion, qos: 0 | 1 | 2 = 2): Promise<PublishPacket[]> {
  const client = await RawMqttClient.connected(port, version);
  await client.subscribe(qos, filter);
  const packets = await client.fence();
  client.destroy();
  return packets as PublishPacket[];
}

t.test('QoS 2', async (t) => {
  await t.test('a message that is refused: PUBREC says so, and its identifier is free', async (t) => {
    const small = await startMqttServer({}, [], { bodyBytesMax: 1000 });
    t.teardown(() => small.close());
    const subscriber = await RawMqttClient.connected(small.port);
    await subscriber.subscribe(0, 'free/a');
    for (const fields of [{}, kept(5)]) {
      const publisher = await RawMqttClient.connected(small.port, 5, fields);
      for (const [topic, payload, reasonCode] of [
        ['$own/x', 'x', 0x90],
        ['free/a', 'x'.repeat(1001), 0x97],
      ] as const) {
        publisher.send(publishPacket(topic, payload, { qos: 2, packetIdentifier: 5 }));
        t.match(await publisher.next('pubrec'), { packetIdentifier: 5, reasonCode });
        publisher.send(publishPacket('free/a', 'new', { qos: 2, packetIdentifier: 5, dup: true }));
        t.match(await publisher.next('pubrec'), { packetIdentifier: 5, reasonCode: 0 });
        t.match(await subscriber.next('publish'), { payload: Buffer.from('new') });
        publisher.send(pubrel(5));
        t.match(await publisher.next('pubcomp'), { packetIdentifier: 5, reasonCode: 0 });
      }
      publisher.destroy();
    }
    subscriber.destroy();
  });

  await t.test('a handshake is finished although the message expires', async (t) => {
    const fields = kept(5);
    const topic = fresh('q/');
    const client = await RawMqttClient.connected(port, 5, fields);
    await client.subscribe(2, topic);
    const publisher = await RawMqttClient.connected(port, 5, { properties: { maximumPacketSizeBytes: 1000 } });
    publisher.send(
      publishPacket(topic, 'short', { qos: 2, packetIdentifier: 3, properties: { messageExpiryIntervalS: 5 } }),
    );
    await publisher.next('pubrec');
    await client.next('publish');
    client.destroy();
    await clock.advance(60_000);
    publisher.send(pubrel(3));
    t.match(await publisher.next('pubcomp'), { packetIdentifier: 3, reasonCode: 0 }, 'from the publisher');
    const again = await RawMqttClient.connected(port, 5, fields);
    t.match(await again.next('publish'), { packetIdentifier: 1, dup: true, payload: Buffer.from('short') });
    again.send(pubrec(1));
    t.match(await again.next('pubrel'), { packetIdentifier: 1, reasonCode: 0 }, 'to the subscriber');
    again.send(pubcomp(1));
    t.same(await again.fence(), []);
    for (const each of [publisher, again]) each.destroy();
  });

  await t.test('PUBREC in the order of PUBLISH, PUBREL in the order of PUBREC', async (t) => {
    for (const version of VERSIONS) {
      for (const isKept of [false, true]) {
        const topic = fresh('q/');
        const client = await RawMqttClient.connected(port, version, isKept ? kept(version) : {});
        await client.subscribe(2, topic);
        const publisher = await RawMqttClient.connected(port, version, isKept ? kept(version) : {});
        const identifiers = Array.from({ length: 30 }, (_, i) => ((i * 7) % 30) + 1);
        publisher.send(
          ...identifiers.map((packetIdentifier) => publishPacket(topic, 'x', { qos: 2, packetIdentifier })),
        );
        const received = await publisher.many('pubrec', 30);
        t.same(
          received.map(({ packetIdentifier }) => packetIdentifier),
          identifiers,
        );
        await client.many('publish', 30);
        client.send(...identifiers.map((packetIdentifier) => pubrec(packetIdentifier)));
        const released = await client.many('pubrel', 30);
        t.same(
          released.map(({ packetIdentifier }) => packetIdentifier),
          identifiers,
        );
        for (const each of [client, publisher]) each.destroy();
      }
    }
  });

  await t.test('PUBACK and PUBREC of 0x80 and above end a message for good', async (t) => {
    const fields = kept(5);
    const topic = fresh('q/');
    const client = await RawMqttClient.connected(port, 5, fields);
    await client.subscribe(2, topic);
    const publisher = await RawMqttClient.connected(port);
    await publishEach(publisher, topic, 'x', [1, 2, 1]);
    t.same(
      (await client.many('publish', 3)).map(({ qos }) => qos),
      [1, 2, 1],
    );
    client.send({ type: 'puback', packetIdentifier: 1, reasonCode: 0x80 }, pubrec(2, 0x87));
    t.same(await client.fence(), [], 'no PUBREL');
    client.destroy();
    const again = await RawMqttClient.connected(port, 5, fields);
    t.match(await again.next('publish'), { packetIdentifier: 3, dup: true }, 'the third alone');
    t.same(await again.fence(), []);
    for (const each of [again, publisher]) each.destroy();
  });
});

t.test('a session that was forgotten leaves nothing', async (t) => {
  for (const version of VERSIONS) {
    const topic = fresh('f/');
    const fields = kept(version);
    const publisher = await RawMqttClient.connected(port, version);
    const client = await RawMqttClient.connected(port, version, fields);
    await client.subscribe(1, topic);
    await publishEach(publisher, topic, 'unacknowledged', [1]);
    await client.next('publish');
    client.send(publishPacket('elsewhere', 'once', { qos: 2, packetIdentifier: 9 }));
    await client.next('pubrec');
    await client.leave();
    await publishEach(publisher, topic, 'missed', [1]);
    const clean = await RawMqttClient.open(port, version);
    const { clientIdentifier } = fields;
    t.match(await clean.connect({ clientIdentifier: clientIdentifier!, cleanStart: true }), {
      reasonCode: 0,
      sessionPresent: false,
    });
    await publishEach(publisher, topic, 'new', [0, 1]);
    t.same(await clean.fence(), [], 'no message and no subscription');
    clean.send(pubrel(9));
    t.match(await clean.next('pubcomp'), { packetIdentifier: 9, reasonCode: version === 5 ? 0x92 : 0 });
    t.same(await clean.subscribe(1, topic), [1]);
    await clean.leave();
    await publishEach(publisher, topic, 'missed too', [1]);
    const next = await RawMqttClient.open(port, version);
    t.match(await next.connect(fields), { sessionPresent: false }, 'nor is the clean one used again');
    t.same(await next.fence(), []);
    for (const each of [publisher, next]) each.destroy();
  }
});

t.test('what is sent again is what was sent: RETAIN, QoS and Subscription Identifiers', async (t) => {
  const root = fresh('a');
  const fields = kept(5);
  const publisher = await RawMqttClient.connected(port);
  const client = await RawMqttClient.connected(port, 5, fields);
  for (const [topicFilter, qos, identifier] of [
    [`${root}/x`, 1, 1],
    [`${root}/#`, 2, 2],
    [`${root}/gone`, 1, 3],
  ] as const) {
    client.send({
      type: 'subscribe',
      packetIdentifier: 1,
      subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter, qos }],
      properties: { subscriptionIdentifiers: [identifier] },
    });
    await client.next('suback');
  }
  await publishEach(publisher, `${root}/x`, 'both', [2]);
  await publishEach(publisher, `${root}/gone`, 'live', [1], { retain: true });
  const told = ({ topicName, qos, retain, properties }: PublishPacket) => {
    return { topicName, qos, retain, identifiers: properties?.subscriptionIdentifiers?.toSorted((a, b) => a - b) };
  };
  const sent = (await client.many('publish', 2)).map(told).toSorted((a, b) => a.qos - b.qos);
  t.same(sent, [
    { topicName: `${root}/gone`, qos: 1, retain: false, identifiers: [2, 3] },
    { topicName: `${root}/x`, qos: 2, retain: false, identifiers: [1, 2] },
  ]);
  client.destroy();
  const again = await RawMqttClient.connected(port, 5, fields);
  const resent = (await again.many('publish', 2)).map(told).toSorted((a, b) => a.qos - b.qos);
  t.same(resent, sent);
  again.send({ type: 'unsubscribe', packetIdentifier: 2, topicFilters: [`${root}/x`, `${root}/#`, `${root}/gone`] });
  await again.next('unsuback');
  again.destroy();
  const third = await RawMqttClient.connected(port, 5, fields);
  const live = (await third.many('publish', 2)).map(told).toSorted((a, b) => a.qos - b.qos);
  t.match(live, [
    { qos: 1, retain: false },
    { qos: 2, retain: false },
  ]);
  third.send({
    type: 'subscribe',
    packetIdentifier: 3,
    subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter: `${root}/gone`, qos: 1 }],
    properties: { subscriptionIdentifiers: [9] },
  });
  await third.next('suback');
  t.match(await third.next('publish'), { retain: true, properties: { subscriptionIdentifiers: [9] } });
  third.destroy();
  const fourth = await RawMqttClient.connected(port, 5, fields);
  const flags = (await fourth.many('publish', 3)).map(({ retain, dup, properties }) => {
    return [retain, dup, properties?.subscriptionIdentifiers];
  });
  t.same(flags.slice(0, 2), [
    [false, true, undefined],
    [false, true, undefined],
  ]);
  t.same(flags[2], [true, true, [9]], 'the retained one');
  for (const each of [publisher, fourth]) each.destroy();
});

t.test('overlapping filters in every version: once, at the highest QoS', async (t) => {
  for (const version of VERSIONS) {
    const root = fresh('o');
    const client = await RawMqttClient.connected(port, version);
    await client.subscribe(0, `${root}/#`);
    await client.subscribe(2, `${root}/+`);
    await client.subscribe(1, `${root}/a`);
    const publisher = await RawMqttClient.connected(port, version);
    await publishEach(publisher, `${root}/a`, 'x', [2]);
    t.match(await client.next('publish'), { qos: 2 });
    t.same(await client.fence(), []);
    for (const each of [client, publisher]) each.destroy();
  }
});

t.test('a subscription that is replaced loses nothing, whatever its QoS becomes', async (t) => {
  for (const version of VERSIONS) {
    for (const qos of [0, 1, 2] as const) {
      const topic = fresh('l/');
      const client = await RawMqttClient.connected(port, version);
      await client.subscribe(1, topic);
      const publisher = await RawMqttClient.connected(port, version);
      const payloads = Array.from({ length: 150 }, (_, i) => `${i}`);
      for (const payload of payloads) await publishEach(publisher, topic, payload, [1]);
      const got: PublishPacket[] = await client.many('publish', 100);
      client.send({
        type: 'subscribe',
        packetIdentifier: 1,
        subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter: topic, qos }],
      });
      await client.next('suback');
      client.send(...got.map(({ packetIdentifier }) => puback(packetIdentifier)));
      got.push(...(await client.many('publish', 50)));
      t.same(
        got.map(({ payload }) => payload.toString()),
        payloads,
        `version ${version}, then QoS ${qos}`,
      );
      client.send(...got.slice(100).map(({ packetIdentifier }) => puback(packetIdentifier)));
      await publishEach(publisher, topic, 'after', [2]);
      t.match(await client.next('publish'), { payload: Buffer.from('after'), qos });
      t.same(await client.fence(), []);
      for (const each of [client, publisher]) each.destroy();
    }
  }
});

t.test('retained messages', async (t) => {
  await t.test('are stored with their QoS, replaced, left alone and removed', async (t) => {
    for (const version of VERSIONS) {
      const topic = fresh('r/');
      const standing = await RawMqttClient.connected(port, version);
      await standing.subscribe(1, topic);
      const seen = async (): Promise<string> => {
        const packet = await standing.next('publish');
        if (packet.packetIdentifier !== undefined) standing.send(puback(packet.packetIdentifier));
        return `${packet.payload.toString()} ${packet.retain}`;
      };
      const publisher = await RawMqttClient.connected(port, version);
      await publishEach(publisher, topic, '', [1], { retain: true });
      t.equal(await seen(), ' false');
      t.same(await retainedOf(topic, version), [], 'an empty one is not stored');
      for (const qos of [2, 1, 0] as const) {
        await publishEach(publisher, topic, `at ${qos}`, [qos], { retain: true });
        t.equal(await seen(), `at ${qos} false`);
        t.match(await retainedOf(topic, version), [{ payload: Buffer.from(`at ${qos}`), retain: true, qos }]);
      }
      t.match(await retainedOf(topic, version, 0), [{ qos: 0, retain: true }]);
      await publishEach(publisher, topic, 'passing', [0, 1]);
      t.equal(await seen(), 'passing false');
      t.equal(await seen(), 'passing false');
      await publishEach(publisher, topic, '', [0, 1]);
      t.equal(await seen(), ' false');
      t.equal(await seen(), ' false');
      await publisher.leave();
      t.match(await retainedOf(topic, version), [{ payload: Buffer.from('at 0') }], 'RETAIN 0, the session has ended');
      await standing.subscribe(1, topic);
      t.match(await standing.next('publish'), { retain: true, payload: Buffer.from('at 0') }, 'subscribed again');
      const other = await RawMqttClient.connected(port, version);
      await publishEach(other, topic, '', [1], { retain: true });
      t.equal(await seen(), ' false', 'an empty one is delivered as usual');
      t.same(await retainedOf(topic, version), []);
      for (const each of [standing, other]) each.destroy();
    }
  });

  await t.test('Retain Handling', async (t) => {
    const topic = fresh('r/');
    const publisher = await RawMqttClient.connected(port);
    await publishEach(publisher, topic, 'kept', [1], { retain: true });
    for (const qos of [0, 1] as const) {
      for (const [retainHandling, first, second] of [
        [0, 1, 1],
        [1, 1, 0],
        [2, 0, 0],
      ] as const) {
        const client = await RawMqttClient.connected(port);
        for (const count of [first, second]) {
          client.send({
            type: 'subscribe',
            packetIdentifier: 1,
            subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter: topic, qos, retainHandling }],
          });
          await client.next('suback');
          t.equal((await client.fence()).length, count, `retain handling ${retainHandling}`);
        }
        client.destroy();
      }
    }
    publisher.destroy();
  });
});

t.test('wills', async (t) => {
  const watcher = await RawMqttClient.connected(port);
  const will = (topicName: string, fields = {}) => {
    return { topicName, payload: Buffer.from('gone'), qos: 1, retain: false, ...fields } as const;
  };

  await t.test('at their QoS, retained or not, and only once', async (t) => {
    for (const version of VERSIONS) {
      for (const retain of [false, true]) {
        for (const qos of [0, 1, 2] as const) {
          const topic = fresh('w/');
          await watcher.subscribe(2, topic);
          const clientIdentifier = fresh('c');
          const fields = { clientIdentifier, will: will(topic, { qos, retain }) };
          (await RawMqttClient.connected(port, version, fields)).destroy();
          const publish = await watcher.next('publish');
          t.match(publish, { topicName: topic, qos, retain: false });
          if (qos === 1) watcher.send(puback(publish.packetIdentifier));
          if (qos === 2) {
            watcher.send(pubrec(publish.packetIdentifier!));
            await watcher.next('pubrel');
            watcher.send(pubcomp(publish.packetIdentifier!));
          }
          t.equal((await retainedOf(topic, version)).length, retain ? 1 : 0);
          (await RawMqttClient.connected(port, version, { clientIdentifier })).destroy();
          await clock.advance(5_000);
          t.same(await watcher.fence(), [], 'it is gone, and without the flag there is none');
        }
      }
    }
  });

  await t.test('with the end of the session, also where the gateway was stopped meanwhile', async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'gantry-wills-'));
    t.teardown(() => rmSync(dir, { recursive: true, force: true }));
    const time = new ManualClock();
    const start = () => startMqttServer({}, [], { engine: openEmbeddedEngine({ dir }), clock: time });
    let running = await start();
    const watching = kept(5);
    const before = await RawMqttClient.connected(running.port, 5, watching);
    await before.subscribe(1, 'will/#');
    for (const sessionExpiryIntervalS of [0, 10, 1000]) {
      await RawMqttClient.connected(running.port, 5, {
        clientIdentifier: `lasts${sessionExpiryIntervalS}`,
        properties: { sessionExpiryIntervalS },
        will: will(`will/${sessionExpiryIntervalS}`, { properties: { willDelayIntervalS: 100 } }),
      });
    }
    await running.close();
    running = await start();
    const after = await RawMqttClient.connected(running.port, 5, watching);
    for (const [afterS, topicName] of [
      [0, 'will/0'],
      [12, 'will/10'],
      [100, 'will/1000'],
    ] as const) {
      if (afterS > 0) t.same(await after.fence(), [], 'not yet');
      await time.advance(afterS * 1000);
      const publish = await after.next('publish');
      t.equal(publish.topicName, topicName);
      after.send(puback(publish.packetIdentifier));
    }
    await running.close();
  });

  await t.test('when the keep alive is over', async (t) => {
    for (const version of VERSIONS) {
      const topic = fresh('w/');
      await watcher.subscribe(0, topic);
      const client = await RawMqttClient.connected(port, version, { keepAliveS: 10, will: will(topic) });
      await clock.advance(17_000);
      t.match(await watcher.next('publish'), { topicName: topic });
      await client.rest();
    }
  });

  await t.test('user properties keep their order and repetitions', async (t) => {
    const topic = fresh('w/');
    await watcher.subscribe(0, topic);
    const userProperties: [string, string][] = [
      ['b', '1'],
      ['a', '2'],
      ['b', '0'],
      ['tag', 'x'],
      ['b', '1'],
    ];
    const client = await RawMqttClient.connected(port, 5, { will: will(topic, { properties: { userProperties } }) });
    client.destroy();
    t.same((await watcher.next('publish')).properties, { userProperties });
  });
  watcher.destroy();
});
