import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { ConnectPacket, Packet } from '../../adapters/mqtt/codec/packet.ts';
import { openEmbeddedEngine } from '../../adapters/storage/embedded/open.ts';
import { scramVerifierOf } from '../../gateway/security/scram.ts';
import { ManualClock } from '../helpers/manual-clock.ts';
import { fresh, kept, PLAIN_SUBSCRIPTION, puback, publishPacket, RawMqttClient } from '../helpers/mqtt-client.ts';
import { startMqttServer } from '../helpers/mqtt-server.ts';
import { ScramClient } from '../helpers/scram-client.ts';

/** Statements about what CONNECT and CONNACK agree on, topic aliases and AUTH. */

const server = await startMqttServer();
const { port } = server;
t.teardown(() => server.close());

t.test('keep alive', async (t) => {
  await t.test('the Server Keep Alive counts where there is one, else that of the client', async (t) => {
    const strict = await startMqttServer({ keepAliveMaxS: 20 });
    t.teardown(() => strict.close());
    for (const [asked, told] of [
      [100, 20],
      [0, 20],
      [20, undefined],
      [10, undefined],
    ] as const) {
      const client = await RawMqttClient.open(strict.port);
      const { properties } = await client.connect({ keepAliveS: asked });
      t.equal(properties?.serverKeepAliveS, told);
      const granted = told ?? asked;
      await strict.clock.advance(granted * 1500 - 1000);
      t.same(await client.fence(), [], `${granted} s: not yet`);
      await strict.clock.advance(granted * 1500 + 2000);
      t.match(await client.rest(), [{ type: 'disconnect', reasonCode: 0x8d }]);
    }
  });

  await t.test('a client that is read more slowly is not silent', async (t) => {
    const slow = await startMqttServer({ publishRateMax: 10 });
    t.teardown(() => slow.close());
    const client = await RawMqttClient.connected(slow.port, 5, { keepAliveS: 4 });
    const packets = Array.from({ length: 400 }, (_, i) => publishPacket('a', 'x', { qos: 1, packetIdentifier: i + 1 }));
    client.send(...packets);
    await client.many('puback', 400);
    await slow.clock.advance(30_000);
    t.equal(client.isEnded, false);
    client.send({ type: 'pingreq' });
    const answer = client.take();
    for (let i = 0; i < 20; i++) await slow.clock.advance(1_000);
    t.match(await answer, { type: 'pingresp' });
    t.match(await client.rest(), [{ type: 'disconnect', reasonCode: 0x8d }], 'then it is');
  });
});

t.test('the Assigned Client Identifier is that of no other session, also after a restart', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'gantry-assigned-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const [time, seen] = [new ManualClock().now(), new Set<string>()];
  for (let run = 0; run < 3; run++) {
    const running = await startMqttServer({}, [], {
      engine: openEmbeddedEngine({ dir }),
      clock: new ManualClock(time),
    });
    const { properties, sessionPresent } = await (
      await RawMqttClient.open(running.port)
    ).connect({ cleanStart: false, properties: { sessionExpiryIntervalS: 3600 } });
    t.equal(sessionPresent, false);
    seen.add(properties!.assignedClientIdentifier!);
    await running.close();
  }
  t.equal(seen.size, 3);
});

t.test('no packet is larger than the client takes', async (t) => {
  const small = (maximumPacketSizeBytes: number) => ({ properties: { maximumPacketSizeBytes } });
  const topicFilters = Array.from({ length: 60 }, (_, i) => `many/${i}`);
  const subscriptions = topicFilters.map((topicFilter) => ({ ...PLAIN_SUBSCRIPTION, topicFilter, qos: 0 as const }));
  for (const packet of [
    { type: 'subscribe', packetIdentifier: 1, subscriptions },
    { type: 'unsubscribe', packetIdentifier: 1, topicFilters },
  ] satisfies Packet[]) {
    const client = await RawMqttClient.connected(port, 5, { ...small(60), clientIdentifier: fresh('c') });
    client.send(packet);
    t.match(await client.rest(), [{ type: 'disconnect', reasonCode: 0x95 }]);
  }
  const tiny = await RawMqttClient.open(port);
  tiny.send({
    type: 'connect',
    protocolVersion: 5,
    clientIdentifier: '',
    cleanStart: true,
    keepAliveS: 0,
    ...small(4),
  });
  t.same(await tiny.rest(), [], 'not even a CONNACK');
  const watcher = await RawMqttClient.connected(port);
  await watcher.subscribe(0, 'early/will');
  const refused = await RawMqttClient.open(port);
  const will = { topicName: 'early/will', payload: Buffer.from('gone'), qos: 0, retain: false } as const;
  t.match(await refused.connect({ ...small(12), will }), { reasonCode: 0x95 }, 'the CONNACK that accepts is larger');
  t.ok(refused.bytes <= 12);
  await refused.rest();
  t.same(await watcher.fence(), [], 'and no will');
  watcher.destroy();

  const client = await RawMqttClient.connected(port, 5, small(60));
  await client.subscribe(2, 'large/#');
  const publisher = await RawMqttClient.connected(port);
  for (const qos of [0, 1, 2] as const) {
    publisher.send(publishPacket('large/a', 'x'.repeat(100), { qos, ...(qos > 0 && { packetIdentifier: qos }) }));
  }
  await publisher.publish('large/a', 'fits', { packetIdentifier: 9 }).catch(() => undefined);
  t.match(await client.next('publish'), { payload: Buffer.from('fits') });
  t.same(await client.fence(), []);
  for (const each of [client, publisher]) each.destroy();
});

t.test('the send quota at QoS 2 is free again with PUBCOMP, or a PUBREC of 0x80 and above', async (t) => {
  const client = await RawMqttClient.connected(port, 5, { properties: { receiveMaximum: 1 } });
  const topic = fresh('quota/');
  await client.subscribe(2, topic);
  const publisher = await RawMqttClient.connected(port);
  for (const packetIdentifier of [1, 2, 3, 4]) {
    publisher.send(publishPacket(topic, 'x', { qos: 2, packetIdentifier }));
    await publisher.next('pubrec');
  }
  t.match(await client.next('publish'), { packetIdentifier: 1 });
  client.send({ type: 'pubrec', packetIdentifier: 1, reasonCode: 0 });
  t.match(await client.next('pubrel'), { packetIdentifier: 1 });
  t.same(await client.fence(), [], 'not with PUBREC');
  client.send({ type: 'pubcomp', packetIdentifier: 1, reasonCode: 0 });
  t.match(await client.next('publish'), { packetIdentifier: 2 });
  t.same(await client.fence(), []);
  client.send({ type: 'pubrec', packetIdentifier: 2, reasonCode: 0x83 });
  t.match(await client.next('publish'), { packetIdentifier: 3 });
  client.send({ type: 'pubrec', packetIdentifier: 77, reasonCode: 0x83 });
  t.same(await client.fence(), [], 'an unknown one changes nothing');
  for (const each of [client, publisher]) each.destroy();
});

t.test('without Request Problem Information nothing else explains itself', async (t) => {
  const client = await RawMqttClient.open(port);
  await client.connect({ properties: { requestProblemInformation: false } });
  const deep = Array.from({ length: 40 }, () => 'deep').join('/');
  const before = client.bytes;
  t.same(await client.subscribe(0, deep), [0x8f]);
  t.equal(client.bytes - before, 6, 'SUBACK: identifier, no properties, one code');
  client.send(publishPacket('$own/x', 'x', { qos: 2, packetIdentifier: 1 }));
  await client.next('pubrec');
  client.send({ type: 'pubrel', packetIdentifier: 8, reasonCode: 0 });
  t.match(await client.next('pubcomp'), { reasonCode: 0x92 });
  client.send({ type: 'pubrec', packetIdentifier: 8, reasonCode: 0 });
  t.match(await client.next('pubrel'), { reasonCode: 0x92 });
  t.equal(client.bytes - before, 6 + 3 * 5, 'PUBREC, PUBCOMP, PUBREL: a reason code and nothing else');
  client.destroy();
});

t.test('Response Information for who asks for it', async (t) => {
  for (const [requestResponseInformation, expected] of [
    [true, 'response/asking/'],
    [false, undefined],
    [undefined, undefined],
  ] as const) {
    const client = await RawMqttClient.open(port);
    const properties = requestResponseInformation === undefined ? {} : { requestResponseInformation };
    const connack = await client.connect({ clientIdentifier: 'asking', properties });
    t.equal(connack.properties?.responseInformation, expected);
    client.destroy();
  }
});

t.test('topic aliases', async (t) => {
  await t.test('every one that was granted, for one connection only', async (t) => {
    const root = fresh('t');
    const subscriber = await RawMqttClient.connected(port);
    await subscriber.subscribe(1, `${root}/#`);
    const fields = kept(5);
    const publisher = await RawMqttClient.connected(port, 5, fields);
    for (let topicAlias = 1; topicAlias <= 32; topicAlias++) {
      await publisher.publish(`${root}/${topicAlias}`, 'named', { properties: { topicAlias } });
    }
    for (let topicAlias = 32; topicAlias >= 1; topicAlias--) {
      await publisher.publish('', `${topicAlias}`, { properties: { topicAlias } });
    }
    const named = await subscriber.many('publish', 64);
    t.ok(named.slice(32).every(({ topicName, payload }) => topicName === `${root}/${payload.toString()}`));
    publisher.destroy();
    const again = await RawMqttClient.connected(port, 5, fields);
    again.send(publishPacket('', 'x', { qos: 1, packetIdentifier: 1, properties: { topicAlias: 1 } }));
    t.match(await again.rest(), [{ type: 'disconnect', reasonCode: 0x82 }]);
    subscriber.destroy();
  });

  await t.test('to the client: no more than it allows, and new ones on every connection', async (t) => {
    const root = fresh('t');
    const base = kept(5);
    const fields = { ...base, properties: { ...base.properties, topicAliasMaximum: 2 } };
    const publisher = await RawMqttClient.connected(port);
    for (const isFirst of [true, false]) {
      const subscriber = await RawMqttClient.connected(port, 5, fields);
      if (isFirst) await subscriber.subscribe(1, `${root}/#`);
      for (const name of ['a', 'b', 'c', 'a', 'b', 'c']) await publisher.publish(`${root}/${name}`, name);
      const six = await subscriber.many('publish', 6);
      t.same(
        six.map(({ topicName, properties }) => [topicName.replace(`${root}/`, ''), properties?.topicAlias]),
        [
          ['a', 1],
          ['b', 2],
          ['c', undefined],
          ['', 1],
          ['', 2],
          ['c', undefined],
        ],
      );
      subscriber.send(...six.map(({ packetIdentifier }) => puback(packetIdentifier)));
      await subscriber.fence();
      subscriber.destroy();
    }
    publisher.destroy();
  });
});

t.test('a filter expression that cannot be read is refused', async (t) => {
  const fields = kept(5);
  const client = await RawMqttClient.connected(port, 5, fields);
  client.send({
    type: 'subscribe',
    packetIdentifier: 1,
    subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter: 'expression/a', qos: 1 }],
    properties: { userProperties: [['filter', '((']] },
  });
  t.same((await client.next('suback')).reasonCodes, [0x8f]);
  client.destroy();
  (await RawMqttClient.connected(port, 5, fields)).destroy();
});

t.test('AUTH', async (t) => {
  const METHOD = 'SCRAM-SHA-256';
  const users = [{ name: 'meter', scram: await scramVerifierOf('secret', 4096) }];
  const guarded = await startMqttServer({}, users);
  t.teardown(() => guarded.close());
  const connecting = (scram: ScramClient, properties = {}): ConnectPacket => ({
    type: 'connect',
    protocolVersion: 5,
    clientIdentifier: fresh('m'),
    cleanStart: true,
    keepAliveS: 0,
    properties: { authenticationMethod: METHOD, authenticationData: scram.first(), ...properties },
  });
  const auth = (reasonCode: number, authenticationData: Buffer): Packet => {
    return { type: 'auth', reasonCode, properties: { authenticationMethod: METHOD, authenticationData } };
  };
  /** Every packet of an exchange, up to the one that ends it. */
  async function exchange(client: RawMqttClient, begin: Packet, scram: ScramClient): Promise<Packet> {
    client.send(begin);
    const challenge = await client.next('auth');
    t.match(challenge, { reasonCode: 0x18, properties: { authenticationMethod: METHOD } });
    client.send(auth(0x18, scram.final(challenge.properties!.authenticationData!)));
    return (await client.take())!;
  }

  await t.test('every packet names the method', async (t) => {
    const client = await RawMqttClient.open(guarded.port);
    const [first, second] = [new ScramClient('meter', 'secret'), new ScramClient('meter', 'secret')];
    const named = { reasonCode: 0, properties: { authenticationMethod: METHOD } };
    t.match(await exchange(client, connecting(first), first), { type: 'connack', ...named });
    t.match(await exchange(client, auth(0x19, second.first()), second), { type: 'auth', ...named });
    t.same(await client.fence(), [], 'and goes on');
    client.destroy();
  });

  await t.test('again, and failing: the connection ends', async (t) => {
    const client = await RawMqttClient.open(guarded.port);
    const [right, wrong] = [new ScramClient('meter', 'secret'), new ScramClient('meter', 'Secret')];
    t.match(await exchange(client, connecting(right), right), { type: 'connack', reasonCode: 0 });
    const end = await exchange(client, auth(0x19, wrong.first()), wrong);
    t.match(end, { type: 'disconnect', reasonCode: 0x87 });
    t.same(await client.rest(), []);
  });

  await t.test(
    'before CONNACK nothing but AUTH and DISCONNECT, and CONNACK says why in a code of its own',
    async (t) => {
      for (const [packet, reasonCode] of [
        [{ type: 'pingreq' }, 0x82],
        [publishPacket('a', 'x', { qos: 1, packetIdentifier: 1 }), 0x82],
        [puback(1), 0x82],
        [Buffer.from([0x80, 0]), 0x81],
        // A topic alias of 0 and a filter a#: their codes are not among those of CONNACK.
        [Buffer.from([0x30, 7, 0, 1, 0x61, 3, 0x23, 0, 0]), 0x82],
        [Buffer.from([0x82, 8, 0, 1, 0, 0, 2, 0x61, 0x23, 0]), 0x82],
      ] as const) {
        const client = await RawMqttClient.open(guarded.port);
        client.send(connecting(new ScramClient('meter', 'secret')));
        await client.next('auth');
        client.send(packet);
        t.match(await client.rest(), [{ type: 'connack', reasonCode }]);
      }
      const polite = await RawMqttClient.open(guarded.port);
      polite.send(connecting(new ScramClient('meter', 'secret')));
      await polite.next('auth');
      polite.send({ type: 'disconnect', reasonCode: 0 });
      t.same(await polite.rest(), []);
    },
  );

  await t.test('one that is larger than the client takes is not sent', async (t) => {
    const client = await RawMqttClient.open(guarded.port);
    client.send(connecting(new ScramClient('meter', 'secret'), { maximumPacketSizeBytes: 60 }));
    t.match(await client.rest(), [{ type: 'connack', reasonCode: 0x95 }]);
    t.ok(client.bytes <= 60);
  });
});
