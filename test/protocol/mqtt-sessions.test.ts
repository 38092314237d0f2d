import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { ConnectPacket, Packet, ProtocolVersion, PublishPacket } from '../../adapters/mqtt/codec/packet.ts';
import { openEmbeddedEngine } from '../../adapters/storage/embedded/open.ts';
import { ManualClock } from '../helpers/manual-clock.ts';
import { fresh, kept, PLAIN_SUBSCRIPTION, puback, publishPacket, RawMqttClient } from '../helpers/mqtt-client.ts';
import { startMqttServer, type MqttServer } from '../helpers/mqtt-server.ts';

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5];
/** MQTT 3 keeps every session that is not clean. */
const KEPT = { cleanStart: false, properties: { sessionExpiryIntervalS: 3600 } } as const;

const server = await startMqttServer();
const { port } = server;
t.teardown(() => server.close());

async function open(
  at: number,
  version: ProtocolVersion,
  fields: Partial<ConnectPacket>,
): Promise<{ client: RawMqttClient; sessionPresent: boolean }> {
  const client = await RawMqttClient.open(at, version);
  const { reasonCode, sessionPresent } = await client.connect(fields);
  if (reasonCode !== 0) throw new Error(`refused with ${reasonCode}`);
  return { client, sessionPresent };
}

function texts(packets: readonly PublishPacket[]): string[] {
  return packets.map(({ payload }) => payload.toString());
}

/** Publishes each at the QoS, through all of its acknowledgements. */
async function publishAll(publisher: RawMqttClient, qos: 0 | 1 | 2, topic: string, payloads: string[]): Promise<void> {
  for (const [i, payload] of payloads.entries()) {
    const packetIdentifier = i + 1;
    publisher.send(publishPacket(topic, payload, qos === 0 ? {} : { qos, packetIdentifier }));
    if (qos === 1) await publisher.next('puback');
    if (qos !== 2) continue;
    await publisher.next('pubrec');
    publisher.send({ type: 'pubrel', packetIdentifier, reasonCode: 0 });
    await publisher.next('pubcomp');
  }
  if (qos === 0) await publisher.fence();
}

function numbered(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, i) => `${from + i}`);
}

t.test('QoS 2', async (t) => {
  await t.test('from a publisher: once, whatever is sent again', async (t) => {
    for (const version of VERSIONS) {
      const topic = fresh('q/');
      const subscriber = await RawMqttClient.connected(port, version);
      t.same(await subscriber.subscribe(2, topic), [2]);
      const publisher = await RawMqttClient.connected(port, version);
      const packet = publishPacket(topic, 'once', { qos: 2, packetIdentifier: 7 });
      publisher.send(packet);
      t.match(await publisher.next('pubrec'), { packetIdentifier: 7, reasonCode: 0 });
      publisher.send({ ...packet, dup: true });
      t.match(await publisher.next('pubrec'), { packetIdentifier: 7, reasonCode: 0 });
      publisher.send({ type: 'pubrel', packetIdentifier: 7, reasonCode: 0 });
      t.match(await publisher.next('pubcomp'), { packetIdentifier: 7, reasonCode: 0 });
      publisher.send({ type: 'pubrel', packetIdentifier: 7, reasonCode: 0 });
      t.match(await publisher.next('pubcomp'), { packetIdentifier: 7, reasonCode: version === 5 ? 0x92 : 0 });
      publisher.send(publishPacket(topic, 'another', { qos: 2, packetIdentifier: 7 }));
      await publisher.next('pubrec');
      const two = await subscriber.many('publish', 2);
      t.same(texts(two), ['once', 'another']);
      t.ok(two.every(({ qos, dup }) => qos === 2 && !dup));
      t.same(await subscriber.fence(), []);
      publisher.destroy();
      subscriber.destroy();
    }
  });

  await t.test('to a subscriber: PUBREC, PUBREL, PUBCOMP', async (t) => {
    for (const version of VERSIONS) {
      for (const isKept of [false, true]) {
        const topic = fresh('q/');
        const fields = isKept ? kept(version, fresh('c')) : {};
        const { client } = await open(port, version, fields);
        await client.subscribe(2, topic);
        const publisher = await RawMqttClient.connected(port);
        await publishAll(publisher, 2, topic, ['a', 'b']);
        await publishAll(publisher, 1, topic, ['c']);
        const three = await client.many('publish', 3);
        t.same(
          three.map(({ qos, packetIdentifier }) => [qos, packetIdentifier]),
          [
            [2, 1],
            [2, 2],
            [1, 3],
          ],
        );
        client.send({ type: 'pubrec', packetIdentifier: 1, reasonCode: 0 });
        t.match(await client.next('pubrel'), { packetIdentifier: 1, reasonCode: 0 });
        client.send({ type: 'pubrec', packetIdentifier: 1, reasonCode: 0 });
        t.match(await client.next('pubrel'), { packetIdentifier: 1, reasonCode: 0 }, 'again');
        client.send({ type: 'pubcomp', packetIdentifier: 1, reasonCode: 0 });
        client.send({ type: 'pubrec', packetIdentifier: 1, reasonCode: 0 });
        t.match(await client.next('pubrel'), { reasonCode: version === 5 ? 0x92 : 0 }, 'not known any more');
        if (version === 5) {
          client.send({ type: 'pubrec', packetIdentifier: 2, reasonCode: 0x80 });
          t.same(await client.fence(), [], 'refused: no PUBREL');
        }
        client.send({ type: 'pubcomp', packetIdentifier: 3, reasonCode: 0 });
        const rest = await client.rest();
        t.match(rest, version === 5 ? [{ type: 'disconnect', reasonCode: 0x82 }] : [], 'PUBCOMP for QoS 1');
        publisher.destroy();
      }
    }
  });

  await t.test('the lower QoS counts', async (t) => {
    const topic = fresh('q/');
    const publisher = await RawMqttClient.connected(port);
    const clients = await Promise.all([0, 1, 2].map(() => RawMqttClient.connected(port)));
    for (const [qos, client] of clients.entries()) await client.subscribe(qos as 0 | 1 | 2, topic);
    for (const qos of [0, 1, 2] as const) await publishAll(publisher, qos, topic, ['x']);
    for (const [granted, client] of clients.entries()) {
      const three = await client.many('publish', 3);
      t.same(
        three.map(({ qos }) => qos).toSorted((a, b) => a - b),
        [0, 1, 2].map((qos) => Math.min(qos, granted)).toSorted((a, b) => a - b),
      );
      client.destroy();
    }
    publisher.destroy();
  });
});

t.test('a session', async (t) => {
  await t.test('goes on with what was on its way, then the backlog, then what is new, in order', async (t) => {
    for (const version of VERSIONS) {
      for (const qos of [1, 2] as const) {
        const topic = fresh('s/');
        const clientIdentifier = fresh('c');
        const { client, sessionPresent } = await open(port, version, kept(version, clientIdentifier));
        t.equal(sessionPresent, false);
        await client.subscribe(qos, topic);
        const publisher = await RawMqttClient.connected(port);
        await publishAll(publisher, qos, topic, numbered(0, 3));
        const first = await client.many('publish', 3);
        t.ok(first.every(({ dup }) => !dup));
        if (qos === 1) client.send(puback(2));
        else client.send({ type: 'pubrec', packetIdentifier: 2, reasonCode: 0 });
        if (qos === 2) await client.next('pubrel');
        await client.leave();
        await publishAll(publisher, qos, topic, numbered(3, 205));
        const again = await open(port, version, kept(version, clientIdentifier));
        t.equal(again.sessionPresent, version !== 3, 'MQTT 3.1 has no flag for it');
        const resent: Packet[] = [];
        for (let i = 0; i < (qos === 1 ? 2 : 3); i++) resent.push((await again.client.take())!);
        t.match(resent, [
          { type: 'publish', packetIdentifier: 1, dup: true, qos, payload: Buffer.from('0') },
          ...(qos === 2 ? [{ type: 'pubrel', packetIdentifier: 2 }] : []),
          { type: 'publish', packetIdentifier: 3, dup: true, qos, payload: Buffer.from('2') },
        ]);
        const got: string[] = [];
        await publishAll(publisher, qos, topic, ['new']);
        while (got.at(-1) !== 'new') {
          const packet = (await again.client.take())!;
          if (packet.type !== 'publish') continue;
          if (packet.dup) t.fail('sent for the first time');
          got.push(packet.payload.toString());
          const packetIdentifier = packet.packetIdentifier!;
          const done: Packet = { type: 'pubcomp', packetIdentifier, reasonCode: 0 };
          if (got.length === 1) for (const old of [1, 2, 3]) acknowledge(again.client, qos, old);
          if (qos === 1) again.client.send(puback(packetIdentifier));
          else again.client.send({ type: 'pubrec', packetIdentifier, reasonCode: 0 }, done);
        }
        t.same(got, [...numbered(3, 205), 'new']);
        again.client.destroy();
        publisher.destroy();
      }
    }
  });

  await t.test('clean start ends it; so does its expiry, also one that DISCONNECT changed', async (t) => {
    const clientIdentifier = fresh('c');
    const present = async (fields: Partial<ConnectPacket>): Promise<boolean> => {
      const { client, sessionPresent } = await open(port, 5, { clientIdentifier, ...fields });
      await client.leave();
      return sessionPresent;
    };
    t.equal(await present(KEPT), false);
    t.equal(await present(KEPT), true);
    t.equal(await present({ ...KEPT, cleanStart: true }), false);
    await server.clock.advance(3_590_000);
    t.equal(await present(KEPT), true);
    await server.clock.advance(3_610_000);
    t.equal(await present(KEPT), false, 'expired');
    t.equal(await present({ cleanStart: false }), true, 'one that is there goes on');
    t.equal(await present({ cleanStart: false }), false, 'and ends with the connection');
    const { client } = await open(port, 5, { clientIdentifier, ...KEPT });
    client.send({ type: 'disconnect', reasonCode: 0, properties: { sessionExpiryIntervalS: 10 } });
    await client.rest();
    await server.clock.advance(11_000);
    t.equal(await present(KEPT), false, 'after the time in DISCONNECT');
    const passing = await open(port, 5, { clientIdentifier, cleanStart: true });
    passing.client.send({ type: 'disconnect', reasonCode: 0, properties: { sessionExpiryIntervalS: 10 } });
    t.match(await passing.client.rest(), [{ type: 'disconnect', reasonCode: 0x82 }]);
  });

  await t.test('the expiry is limited by the configuration', async (t) => {
    const limited = await startMqttServer({ sessionExpiryMaxS: 60 });
    t.teardown(() => limited.close());
    const client = await RawMqttClient.open(limited.port);
    const { properties } = await client.connect({ ...KEPT, clientIdentifier: 'a' });
    t.equal(properties?.sessionExpiryIntervalS, 60);
    client.destroy();
  });

  await t.test('take-over: the new connection goes on, the old one is told', async (t) => {
    for (const version of VERSIONS) {
      const topic = fresh('s/');
      const clientIdentifier = fresh('c');
      const { client: first } = await open(port, version, kept(version, clientIdentifier));
      await first.subscribe(1, topic);
      const publisher = await RawMqttClient.connected(port);
      await publishAll(publisher, 1, topic, ['x']);
      await first.next('publish');
      const { client: second, sessionPresent } = await open(port, version, kept(version, clientIdentifier));
      t.match(await first.rest(), version === 5 ? [{ type: 'disconnect', reasonCode: 0x8e }] : []);
      t.equal(sessionPresent, version !== 3);
      t.match(await second.next('publish'), { packetIdentifier: 1, dup: true });
      second.destroy();
      publisher.destroy();
    }
  });

  await t.test('a smaller Receive Maximum of the next connection', async (t) => {
    const topic = fresh('s/');
    const clientIdentifier = fresh('c');
    const { client } = await open(port, 5, kept(5, clientIdentifier));
    await client.subscribe(1, topic);
    const publisher = await RawMqttClient.connected(port);
    await publishAll(publisher, 1, topic, numbered(0, 10));
    await client.many('publish', 10);
    client.destroy();
    const fields = { ...KEPT, clientIdentifier, properties: { ...KEPT.properties, receiveMaximum: 2 } };
    const again = await open(port, 5, fields);
    const got: number[] = [];
    while (got.length < 10) {
      const two = await again.client.many('publish', 2);
      t.same(await again.client.fence(), [], 'no more than two');
      for (const { packetIdentifier } of two) got.push(packetIdentifier!);
      again.client.send(...two.map(({ packetIdentifier }) => puback(packetIdentifier)));
    }
    t.same(got, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    again.client.destroy();
    publisher.destroy();
  });

  await t.test('QoS 0 is for those who are there', async (t) => {
    const topic = fresh('s/');
    const clientIdentifier = fresh('c');
    const { client } = await open(port, 5, kept(5, clientIdentifier));
    await client.subscribe(0, topic);
    await client.leave();
    const publisher = await RawMqttClient.connected(port);
    await publishAll(publisher, 1, topic, ['missed']);
    const again = await open(port, 5, kept(5, clientIdentifier));
    await publishAll(publisher, 1, topic, ['seen']);
    t.match(await again.client.next('publish'), { payload: Buffer.from('seen'), qos: 0 });
    again.client.destroy();
    publisher.destroy();
  });

  await t.test('unsubscribed, what was on its way is still sent again', async (t) => {
    const topic = fresh('s/');
    const clientIdentifier = fresh('c');
    const { client } = await open(port, 5, kept(5, clientIdentifier));
    await client.subscribe(1, topic);
    const publisher = await RawMqttClient.connected(port);
    await publishAll(publisher, 1, topic, ['x']);
    await client.next('publish');
    client.send({ type: 'unsubscribe', packetIdentifier: 1, topicFilters: [topic] });
    t.same((await client.next('unsuback')).reasonCodes, [0]);
    await publisher.publish(topic, 'missed');
    client.destroy();
    const again = await open(port, 5, kept(5, clientIdentifier));
    t.match(await again.client.next('publish'), { dup: true, packetIdentifier: 1, payload: Buffer.from('x') });
    t.same(await again.client.fence(), []);
    again.client.destroy();
    publisher.destroy();
  });

  await t.test('the number of sessions is limited', async (t) => {
    const small = await startMqttServer({}, [], { sessions: { countMax: 2 } });
    t.teardown(() => small.close());
    const first = await open(small.port, 5, kept(5, 'a'));
    await first.client.leave();
    const passing = await RawMqttClient.connected(small.port);
    for (const [version, code] of [
      [5, 0x97],
      [4, 3],
    ] as const) {
      const refused = await RawMqttClient.open(small.port, version);
      t.equal((await refused.connect()).reasonCode, code);
      t.same(await refused.rest(), []);
    }
    t.equal((await open(small.port, 5, kept(5, 'a'))).sessionPresent, true, 'one that is there');
    await passing.leave();
    await RawMqttClient.connected(small.port);
  });
});

function acknowledge(client: RawMqttClient, qos: 1 | 2, packetIdentifier: number): void {
  if (qos === 1) return packetIdentifier === 2 ? undefined : client.send(puback(packetIdentifier));
  const done: Packet = { type: 'pubcomp', packetIdentifier, reasonCode: 0 };
  if (packetIdentifier === 2) client.send(done);
  else client.send({ type: 'pubrec', packetIdentifier, reasonCode: 0 }, done);
}

t.test('subscriptions', async (t) => {
  await t.test('overlapping: one delivery, the highest QoS, all identifiers', async (t) => {
    const client = await RawMqttClient.connected(port);
    const root = fresh('o');
    for (const [filter, qos, identifier] of [
      [`${root}/#`, 0, 1],
      [`${root}/+/c`, 2, 2],
      [`${root}/b/c`, 1, 268_435_455],
      [`${root}/other`, 2, 4],
    ] as const) {
      client.send({
        type: 'subscribe',
        packetIdentifier: 1,
        subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter: filter, qos }],
        properties: { subscriptionIdentifiers: [identifier] },
      });
      await client.next('suback');
    }
    const publisher = await RawMqttClient.connected(port);
    await publishAll(publisher, 2, `${root}/b/c`, ['x']);
    const publish = await client.next('publish');
    t.equal(publish.qos, 2);
    t.same(
      publish.properties?.subscriptionIdentifiers?.toSorted((a, b) => a - b),
      [1, 2, 268_435_455],
    );
    t.same(await client.fence(), []);
    await publishAll(publisher, 2, `${root}/z`, ['y']);
    t.match(await client.next('publish'), { qos: 0, properties: { subscriptionIdentifiers: [1] } });
    t.same(await client.fence(), []);
    client.destroy();
    publisher.destroy();
  });

  await t.test('no local', async (t) => {
    const topic = fresh('n/');
    for (const qos of [0, 1] as const) {
      const { client } = await open(port, 5, { clientIdentifier: fresh('c') });
      const other = await RawMqttClient.connected(port);
      client.send({
        type: 'subscribe',
        packetIdentifier: 1,
        subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter: topic, qos, noLocal: true }],
      });
      await client.next('suback');
      await publishAll(client, 1, topic, ['mine']);
      await publishAll(other, 1, topic, ['yours']);
      t.match(await client.next('publish'), { payload: Buffer.from('yours') });
      t.same(await client.fence(), []);
      client.destroy();
      other.destroy();
    }
  });

  await t.test('PUBACK says when nobody is there', async (t) => {
    const topic = fresh('n/');
    const publisher = await RawMqttClient.connected(port);
    t.equal(await publisher.publish(topic, 'x'), 0x10);
    const subscriber = await RawMqttClient.connected(port);
    await subscriber.subscribe(0, topic);
    t.equal(await publisher.publish(topic, 'x'), 0);
    subscriber.destroy();
    publisher.destroy();
  });
});

t.test('retained messages', async (t) => {
  await t.test('are sent to who subscribes, as retain handling says; the flag is theirs alone', async (t) => {
    for (const version of VERSIONS) {
      const root = fresh('r');
      const publisher = await RawMqttClient.connected(port, version);
      await publisher.subscribe(1, `${root}/#`);
      for (const name of ['a', 'b']) publisher.send(publishPacket(`${root}/${name}`, name, { retain: true }));
      for (const name of ['a', 'b'])
        t.match(await publisher.next('publish'), { retain: false, payload: Buffer.from(name) });
      const client = await RawMqttClient.connected(port, version);
      t.same(await client.subscribe(1, `${root}/+`), [1]);
      t.same(texts(await client.many('publish', 2)).toSorted(), ['a', 'b']);
      await client.subscribe(1, `${root}/a`);
      t.match(await client.next('publish'), { retain: true, topicName: `${root}/a`, qos: 0 });
      t.same(await client.subscribe(0, `${root}/none`), [0]);
      t.same(await client.fence(), []);
      if (version === 5) {
        for (const [retainHandling, count] of [
          [0, 1],
          [1, 0],
          [2, 0],
        ] as const) {
          client.send({
            type: 'subscribe',
            packetIdentifier: 1,
            subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter: `${root}/a`, qos: 1, retainHandling }],
          });
          await client.next('suback');
          t.equal((await client.fence()).length, count, `retain handling ${retainHandling}`);
        }
      }
      publisher.send(publishPacket(`${root}/a`, '', { retain: true }));
      await publisher.fence();
      const late = await RawMqttClient.connected(port, version);
      await late.subscribe(0, `${root}/#`);
      t.same(texts(await late.many('publish', 1)), ['b'], 'an empty one clears');
      t.same(await late.fence(), []);
      for (const one of [publisher, client, late]) one.destroy();
    }
  });

  await t.test('retain as published', async (t) => {
    const topic = fresh('r/');
    for (const [qos, retainAsPublished] of [
      [0, false],
      [0, true],
      [1, false],
      [1, true],
    ] as const) {
      const client = await RawMqttClient.connected(port);
      client.send({
        type: 'subscribe',
        packetIdentifier: 1,
        subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter: topic, qos, retainAsPublished, retainHandling: 2 }],
      });
      await client.next('suback');
      const publisher = await RawMqttClient.connected(port);
      await publisher.publish(topic, 'kept', { retain: true });
      await publisher.publish(topic, 'not');
      const two = await client.many('publish', 2);
      t.same(
        two.map(({ retain }) => retain),
        [retainAsPublished, false],
      );
      client.destroy();
      publisher.destroy();
    }
  });

  await t.test('more than the client takes at once, at QoS 2, with what is published meanwhile', async (t) => {
    const root = fresh('r');
    const publisher = await RawMqttClient.connected(port);
    for (let i = 0; i < 20; i++) await publisher.publish(`${root}/${i}`, `${i}`, { retain: true });
    const clientIdentifier = fresh('c');
    const fields = { ...KEPT, clientIdentifier, properties: { ...KEPT.properties, receiveMaximum: 3 } };
    const { client } = await open(port, 5, fields);
    await client.subscribe(1, `${root}/#`);
    const three = await client.many('publish', 3);
    t.ok(three.every(({ retain, qos }) => retain && qos === 1));
    await publisher.publish(`${root}/new`, 'new');
    client.destroy();
    const again = await open(port, 5, fields);
    const got: PublishPacket[] = [];
    while (got.at(-1)?.payload.toString() !== 'new') {
      const packet = await again.client.next('publish');
      got.push(packet);
      again.client.send(puback(packet.packetIdentifier));
    }
    t.same(
      new Set(texts(got.filter(({ retain }) => retain))),
      new Set(numbered(0, 20)),
      'all of them, in spite of the lost connection',
    );
    t.same(
      got.slice(0, 3).map(({ dup, packetIdentifier }) => [dup, packetIdentifier]),
      [
        [true, 1],
        [true, 2],
        [true, 3],
      ],
    );
    again.client.destroy();
    publisher.destroy();
  });
});

t.test('wills', async (t) => {
  const watcher = await RawMqttClient.connected(port);
  const will = (topicName: string, properties = {}) => {
    return { topicName, payload: Buffer.from('gone'), qos: 1, retain: false, properties } as const;
  };

  await t.test('are published when the connection ends without a farewell', async (t) => {
    for (const version of VERSIONS) {
      const topic = fresh('w/');
      await watcher.subscribe(0, topic);
      const fields = { clientIdentifier: fresh('c'), will: { ...will(topic), retain: true } };
      const lost = await open(port, version, fields);
      lost.client.destroy();
      t.match(await watcher.next('publish'), { topicName: topic, payload: Buffer.from('gone'), retain: false });
      const polite = await open(port, version, fields);
      await polite.client.leave();
      t.same(await watcher.fence(), []);
      if (version === 5) {
        const asking = await open(port, version, fields);
        await asking.client.leave(0x04);
        t.match(await watcher.next('publish'), { topicName: topic }, 'DISCONNECT with will');
      }
      const bad = await open(port, version, fields);
      bad.client.send(Buffer.from([0xf0, 0]));
      await bad.client.rest();
      t.match(await watcher.next('publish'), { topicName: topic }, 'a protocol error');
      const late = await RawMqttClient.connected(port);
      await late.subscribe(0, topic);
      t.match(await late.next('publish'), { retain: true, payload: Buffer.from('gone') }, 'a retained will');
      late.destroy();
    }
  });

  await t.test('wait for their delay, and properties are those of a PUBLISH', async (t) => {
    const topic = fresh('w/');
    await watcher.subscribe(0, topic);
    const clientIdentifier = fresh('c');
    const properties = {
      willDelayIntervalS: 10,
      messageExpiryIntervalS: 100,
      contentType: 'x',
      userProperties: [['a', 'b']] as [string, string][],
    };
    const fields = { ...KEPT, clientIdentifier, will: will(topic, properties) };
    const first = await open(port, 5, fields);
    first.client.destroy();
    await server.clock.advance(8_000);
    const back = await open(port, 5, fields);
    await server.clock.advance(20_000);
    t.same(await watcher.fence(), [], 'it came back in time');
    back.client.destroy();
    await server.clock.advance(12_000);
    t.match(await watcher.next('publish'), {
      topicName: topic,
      properties: { messageExpiryIntervalS: 100, contentType: 'x', userProperties: [['a', 'b']] },
    });
    const third = await open(port, 5, fields);
    third.client.destroy();
    const clean = await open(port, 5, { clientIdentifier, cleanStart: true });
    t.match(await watcher.next('publish'), { topicName: topic }, 'a clean start ends the session');
    clean.client.destroy();
    const short = { ...fields, properties: { sessionExpiryIntervalS: 3 } };
    const fourth = await open(port, 5, short);
    fourth.client.destroy();
    await server.clock.advance(5_000);
    t.match(await watcher.next('publish'), { topicName: topic }, 'the session ends before the delay');
  });

  await t.test('take-over publishes a will without a delay', async (t) => {
    const topic = fresh('w/');
    await watcher.subscribe(0, topic);
    const fields = { ...KEPT, clientIdentifier: fresh('c'), will: will(topic) };
    await open(port, 5, fields);
    const second = await open(port, 5, fields);
    t.match(await watcher.next('publish'), { topicName: topic });
    await second.client.leave();
    t.same(await watcher.fence(), []);
  });
  watcher.destroy();
});

t.test('topic aliases, both ways', async (t) => {
  const [one, two] = [fresh('t/'), fresh('t/')];
  const subscriber = await RawMqttClient.connected(port, 5, { properties: { topicAliasMaximum: 1 } });
  await subscriber.subscribe(1, one, two);
  const publisher = await RawMqttClient.connected(port);
  await publisher.publish(one, 'a', { properties: { topicAlias: 3 } });
  await publisher.publish('', 'b', { properties: { topicAlias: 3 } });
  await publisher.publish(two, 'c', { properties: { topicAlias: 3 } });
  await publisher.publish('', 'd', { properties: { topicAlias: 3 } });
  const four = await subscriber.many('publish', 4);
  t.same(
    four.map(({ topicName, payload, properties }) => [topicName, payload.toString(), properties?.topicAlias]),
    [
      [one, 'a', 1],
      ['', 'b', 1],
      [two, 'c', undefined],
      [two, 'd', undefined],
    ],
  );
  subscriber.destroy();
  publisher.destroy();
});

t.test('response information, payload format, publish rate', async (t) => {
  const options = { payloadFormatCheck: true, publishRateMax: 10 };
  const strict = await startMqttServer(options);
  t.teardown(() => strict.close());
  const client = await RawMqttClient.open(strict.port);
  const asked = { clientIdentifier: 'me', properties: { requestResponseInformation: true } };
  t.equal((await client.connect(asked)).properties?.responseInformation, 'response/me/');
  const text = { properties: { payloadFormatIndicator: 1 } } as const;
  t.equal(await client.publish('a', 'é', text), 0x10);
  client.send(publishPacket('a', Buffer.from([0xff]), { ...text, qos: 1, packetIdentifier: 1 }));
  t.match(await client.next('puback'), { reasonCode: 0x99 });
  for (let i = 1; i <= 30; i++) client.send(publishPacket('a', 'x', { qos: 1, packetIdentifier: i }));
  let acknowledged = 0;
  while (acknowledged < 30) {
    const packet = client.take();
    // The rest is read as time passes.
    for (let waited = 0; waited < 50; waited++) await strict.clock.advance(100);
    if ((await packet)?.type === 'puback') acknowledged++;
  }
  t.equal(acknowledged, 30, 'read more slowly, and nothing is lost');
  client.destroy();
});

t.test('a gateway that is stopped and started again', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'gantry-sessions-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const clock = new ManualClock();
  const start = (): Promise<MqttServer> => startMqttServer({}, [], { engine: openEmbeddedEngine({ dir }), clock });
  let running = await start();
  const fields = { ...KEPT, clientIdentifier: 'device' };
  const { client } = await open(running.port, 5, {
    ...fields,
    will: { topicName: 'will', payload: Buffer.from('gone'), qos: 1, retain: true },
  });
  await client.subscribe(2, 'a/#');
  const publisher = await RawMqttClient.connected(running.port);
  await publishAll(publisher, 2, 'a/b', numbered(0, 5));
  await publisher.publish('kept', 'r', { retain: true });
  await client.many('publish', 5);
  client.send({ type: 'pubrec', packetIdentifier: 1, reasonCode: 0 });
  await client.next('pubrel');
  client.send(publishPacket('x', 'from me', { qos: 2, packetIdentifier: 9 }));
  await client.next('pubrec');
  await running.close();

  running = await start();
  const again = await open(running.port, 5, fields);
  t.equal(again.sessionPresent, true);
  t.match(await again.client.next('pubrel'), { packetIdentifier: 1 });
  const four = await again.client.many('publish', 4);
  t.same(
    four.map(({ packetIdentifier, dup, payload }) => [packetIdentifier, dup, payload.toString()]),
    [1, 2, 3, 4].map((i) => [i + 1, true, `${i}`]),
  );
  again.client.send(publishPacket('x', 'from me', { qos: 2, packetIdentifier: 9, dup: true }));
  t.match(await again.client.next('pubrec'), { packetIdentifier: 9 });
  again.client.send({ type: 'pubrel', packetIdentifier: 9, reasonCode: 0 });
  t.match(await again.client.next('pubcomp'), { reasonCode: 0 }, 'the identifier was known');
  const late = await RawMqttClient.connected(running.port);
  await late.subscribe(0, 'kept', 'will');
  t.same(new Set(texts(await late.many('publish', 2))), new Set(['r', 'gone']), 'retained; the will is published');
  await running.close();
});

t.test('$SYS: what the gateway says of itself', async (t) => {
  const own = await startMqttServer();
  t.teardown(() => own.close());
  const client = await RawMqttClient.connected(own.port);
  t.same(await client.subscribe(1, '$SYS/broker/clients/+', '$SYS/broker/version', '#'), [0, 0, 1]);
  const first = (await client.fence()).filter((packet) => packet.type === 'publish');
  t.ok(first.every(({ retain, qos }) => retain && qos === 0));
  const named = new Map(first.map(({ topicName, payload }) => [topicName, payload.toString()]));
  t.match(named.get('$SYS/broker/version'), /^gantry test$/);
  t.equal(named.get('$SYS/broker/clients/connected'), '0', 'as it was when last looked at');
  await own.clock.advance(10_000);
  const changed = (await client.fence()).filter((packet) => packet.type === 'publish');
  t.match(
    changed.map(({ topicName, payload, retain }) => `${topicName} ${payload.toString()} ${retain}`).toSorted(),
    [
      '$SYS/broker/clients/connected 1 false',
      '$SYS/broker/clients/maximum 1 false',
      '$SYS/broker/clients/total 1 false',
    ],
    'what changed, and not to # [MQTT-4.7.2-1]',
  );
  t.equal(await client.publish('$SYS/broker/version', 'mine'), 0x90);
  const quiet = await startMqttServer({ sysIntervalS: 0 });
  t.teardown(() => quiet.close());
  const other = await RawMqttClient.connected(quiet.port);
  await other.subscribe(0, '$SYS/#');
  t.same(await other.fence(), []);
  other.destroy();
  client.destroy();
});

t.test('a subscription that starts with what is stored', async (t) => {
  const own = await startMqttServer();
  t.teardown(() => own.close());
  const publisher = await RawMqttClient.connected(own.port);
  const root = fresh('replay');
  for (let i = 0; i < 250; i++) await publisher.publish(`${root}/${i % 2}`, `${i}`);
  await publisher.publish('elsewhere', 'x');
  await own.clock.advance(1000);
  const time = own.clock.now();
  for (let i = 250; i < 260; i++) await publisher.publish(`${root}/${i % 2}`, `${i}`);
  const subscribe = async (client: RawMqttClient, topicFilter: string, qos: 0 | 1 | 2, start: string) => {
    client.send({
      type: 'subscribe',
      packetIdentifier: 1,
      subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter, qos }],
      properties: { userProperties: [['start', start]] },
    });
    return (await client.next('suback')).reasonCodes;
  };
  const read = async (client: RawMqttClient, count: number): Promise<string[]> => {
    const got: string[] = [];
    while (got.length < count) {
      const packet = await client.next('publish');
      got.push(packet.payload.toString());
      client.send(puback(packet.packetIdentifier));
    }
    return got;
  };
  const even = (from: number, to: number): string[] => numbered(from, to).filter((text) => Number(text) % 2 === 0);
  const all = await RawMqttClient.connected(own.port);
  t.same(await subscribe(all, `${root}/0`, 1, 'earliest'), [1]);
  const reading = read(all, 131);
  await publisher.publish(`${root}/0`, '260');
  t.same(await reading, even(0, 261), 'in order, then what comes');
  for (const start of [`${time}`, new Date(time).toISOString()]) {
    const some = await RawMqttClient.connected(own.port);
    await subscribe(some, `+/0`, 1, start);
    t.same(await read(some, 6), even(250, 261));
    t.same(await some.fence(), []);
    some.destroy();
  }
  const none = await RawMqttClient.connected(own.port);
  t.same(await subscribe(none, `${root}/#`, 1, 'latest'), [1]);
  t.same(await subscribe(none, `${root}/0`, 1, 'soon'), [0x83]);
  t.same(await none.fence(), []);

  const fields = { ...KEPT, clientIdentifier: fresh('c'), properties: { ...KEPT.properties, receiveMaximum: 10 } };
  const { client } = await open(own.port, 5, fields);
  await subscribe(client, `${root}/1`, 2, 'earliest');
  const first = await client.many('publish', 10);
  for (const { packetIdentifier } of first.slice(0, 5)) client.send(puback(packetIdentifier));
  const more = await client.many('publish', 5);
  await client.fence();
  await client.leave();
  const again = await open(own.port, 5, fields);
  const resent = await again.client.many('publish', 10);
  t.ok(resent.every(({ dup }) => dup));
  t.same(texts(resent), texts([...first.slice(5), ...more]));
  again.client.send(...resent.map(({ packetIdentifier }) => puback(packetIdentifier)));
  const rest = await read(again.client, 130 - 15);
  t.same(
    [...texts(first), ...texts(more), ...rest],
    numbered(0, 260).filter((text) => Number(text) % 2 === 1),
  );
  for (const one of [publisher, all, none, again.client]) one.destroy();
});

t.test('a subscription narrowed by SQL92, or by tags', async (t) => {
  const topic = fresh('f/');
  const publisher = await RawMqttClient.connected(port);
  const narrowed = async (qos: 0 | 1, name: string, value: string): Promise<RawMqttClient> => {
    const client = await RawMqttClient.connected(port);
    client.send({
      type: 'subscribe',
      packetIdentifier: 1,
      subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter: topic, qos }],
      properties: { userProperties: [[name, value]] },
    });
    t.same((await client.next('suback')).reasonCodes, [value === 'a >' ? 0x8f : qos]);
    return client;
  };
  const clients = await Promise.all([
    narrowed(0, 'filter', "temperature > 20 AND room = 'hall'"),
    narrowed(1, 'filter', "temperature > 20 AND room = 'hall'"),
    narrowed(1, 'tag', 'alarm || warning'),
    narrowed(1, 'filter', 'a >'),
  ]);
  for (const [payload, ...userProperties] of [
    ['warm', ['temperature', '21'], ['room', 'hall'], ['tag', 'warning']],
    ['cold', ['temperature', '19'], ['room', 'hall']],
    ['alarm', ['tag', 'alarm']],
  ] as [string, ...[string, string][]][]) {
    await publisher.publish(topic, payload, { properties: { userProperties } });
  }
  const got = await Promise.all(clients.map((client) => client.fence()));
  t.same(
    got.map((packets) => texts(packets.filter((packet) => packet.type === 'publish'))),
    [['warm'], ['warm'], ['warm', 'alarm'], []],
  );
  for (const client of [publisher, ...clients]) client.destroy();
});

t.test('limits: at the limit, and one above; counted', async (t) => {
  const limited = await startMqttServer({
    subscriptionsPerClientMax: 2,
    topicLevelsMax: 4,
    inflightMax: 2,
    publishBytesRateMax: 2000,
  });
  t.teardown(() => limited.close());
  const client = await RawMqttClient.connected(limited.port);
  t.same(await client.subscribe(1, 'a/b/c/d', 'a/b/c/d/e', 'b', 'c'), [1, 0x8f, 1, 0x97]);
  t.same(await client.subscribe(0, 'b'), [0], 'one that is there may change');
  const publisher = await RawMqttClient.connected(limited.port);
  t.equal(await publisher.publish('a/b/c/d/e', 'x'), 0x90);
  for (let i = 0; i < 4; i++) t.equal(await publisher.publish('a/b/c/d', `${i}`), 0);
  const two = await client.many('publish', 2);
  t.same(await client.fence(), [], 'no more than two on their way');
  client.send(...two.map(({ packetIdentifier }) => puback(packetIdentifier)));
  await client.many('publish', 2);
  const big = 'x'.repeat(1500);
  t.equal(await publisher.publish('a/b/c/d', big), 0);
  publisher.send(publishPacket('a/b/c/d', big, { qos: 1, packetIdentifier: 2 }));
  t.match(await publisher.take(), { packetIdentifier: 2 }, 'what came is taken, and then nothing is read for a while');
  publisher.send(publishPacket('a/b/c/d', 'late', { qos: 1, packetIdentifier: 3 }));
  const late = publisher.take();
  for (let i = 0; i < 20; i++) await limited.clock.advance(200);
  t.match(await late, { type: 'puback', packetIdentifier: 3, reasonCode: 0 });
  const watcher = await RawMqttClient.connected(limited.port);
  await watcher.subscribe(0, '$SYS/broker/refused/+', '$SYS/broker/clients/slowed down');
  const counts = (await watcher.fence()).filter((packet) => packet.type === 'publish');
  await limited.clock.advance(10_000);
  counts.push(...(await watcher.fence()).filter((packet) => packet.type === 'publish'));
  const latest = new Map(counts.map(({ topicName, payload }) => [topicName.split('/').at(-1), payload.toString()]));
  t.match(Object.fromEntries(latest), { publishes: '1', subscriptions: '2', 'slowed down': /^[1-9]/ });
  watcher.destroy();
  client.destroy();
  publisher.destroy();
});

t.test('a refused message says why, unless the client wants no words [MQTT-3.1.2-29]', async (t) => {
  // Reason code, length of the properties, and a Reason String.
  const words = 1 + 1 + 3 + 'topic name invalid'.length;
  for (const [requestProblemInformation, bytes] of [
    [true, 4 + words],
    [false, 4 + 1],
  ] as const) {
    const client = await RawMqttClient.connected(port, 5, { properties: { requestProblemInformation } });
    for (const qos of [1, 2] as const) {
      const before = client.bytes;
      client.send(publishPacket('$no/x', 'x', { qos, packetIdentifier: 1 }));
      const packet = await client.take();
      t.match(packet, { type: qos === 1 ? 'puback' : 'pubrec', reasonCode: 0x90 });
      t.equal(client.bytes - before, bytes);
    }
    client.destroy();
  }
});
