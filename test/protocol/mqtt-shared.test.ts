import t from 'tap';
import type { ConnectPacket, ProtocolVersion } from '../../adapters/mqtt/codec/packet.ts';
import { scramVerifierOf } from '../../gateway/security/scram.ts';
import { fresh, PLAIN_SUBSCRIPTION, puback, publishPacket, RawMqttClient } from '../helpers/mqtt-client.ts';
import { startMqttServer } from '../helpers/mqtt-server.ts';
import { ScramClient } from '../helpers/scram-client.ts';

const server = await startMqttServer();
const { port, broker, clock } = server;
t.teardown(() => server.close());

async function member(
  share: string,
  qos: 0 | 1 | 2 = 1,
  fields: Partial<ConnectPacket> = {},
  version: ProtocolVersion = 5,
) {
  const client = await RawMqttClient.connected(port, version, fields);
  t.same(await client.subscribe(qos, share), [qos]);
  return client;
}

/** Takes what comes for the clients until `count` messages have come, and acknowledges. */
async function collect(clients: readonly RawMqttClient[], count: number): Promise<string[][]> {
  const taken = clients.map((): string[] => []);
  let left = count;
  await new Promise<void>((resolve) => {
    const take = async (client: RawMqttClient, mine: string[]): Promise<void> => {
      for (let packet = await client.take(); packet !== undefined; packet = await client.take()) {
        if (packet.type !== 'publish') continue;
        mine.push(packet.payload.toString());
        if (packet.qos === 1) client.send(puback(packet.packetIdentifier));
        if (--left === 0) resolve();
      }
    };
    for (const [i, client] of clients.entries()) void take(client, taken[i]!);
  });
  return taken;
}

t.test('shared subscriptions', async (t) => {
  await t.test('members share the work: every message once, nobody starves', async (t) => {
    for (const version of [4, 5] as const) {
      const root = fresh('s');
      const members = await Promise.all([1, 2, 3].map(() => member(`$share/g/${root}/#`, 1, {}, version)));
      const alone = await RawMqttClient.connected(port);
      await alone.subscribe(1, `${root}/#`);
      const publisher = await RawMqttClient.connected(port);
      const taking = collect(members, 300);
      const all = collect([alone], 300);
      for (let i = 0; i < 300; i++)
        publisher.send(publishPacket(`${root}/${i % 7}`, `${i}`, { qos: 1, packetIdentifier: i + 1 }));
      await publisher.many('puback', 300);
      const taken = await taking;
      t.same(taken.flat().toSorted(), Array.from({ length: 300 }, (_, i) => `${i}`).toSorted());
      t.ok(
        taken.every((mine) => mine.length > 20),
        taken.map((mine) => mine.length).join(', '),
      );
      t.equal((await all).flat().length, 300, 'who does not share gets all');
      for (const client of [...members, alone, publisher]) client.destroy();
    }
  });

  await t.test('QoS 0 and 2, no retained messages, and the subscription identifier', async (t) => {
    const topic = fresh('s/');
    const publisher = await RawMqttClient.connected(port);
    await publisher.publish(topic, 'old', { retain: true });
    const client = await RawMqttClient.connected(port);
    client.send({
      type: 'subscribe',
      packetIdentifier: 1,
      subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter: `$share/g/${topic}`, qos: 2 }],
      properties: { subscriptionIdentifiers: [7] },
    });
    await client.next('suback');
    t.same(await client.fence(), [], 'nothing retained');
    publisher.send(publishPacket(topic, 'x', { qos: 2, packetIdentifier: 1 }));
    t.match(await client.next('publish'), {
      qos: 2,
      packetIdentifier: 1,
      properties: { subscriptionIdentifiers: [7] },
    });
    client.send({ type: 'pubrec', packetIdentifier: 1, reasonCode: 0 });
    await client.next('pubrel');
    client.send({ type: 'pubcomp', packetIdentifier: 1, reasonCode: 0 });
    await client.subscribe(0, `$share/g/${topic}`);
    await publisher.next('pubrec');
    t.equal(await publisher.publish(topic, 'y'), 0);
    t.match(await client.next('publish'), { qos: 0, payload: Buffer.from('y') });
    await clock.advance(120_000);
    t.same(await client.fence(), [], 'both are acknowledged for good');
    client.destroy();
    publisher.destroy();
  });

  await t.test('what a member held when it went goes to the others at once', async (t) => {
    const topic = fresh('s/');
    const publisher = await RawMqttClient.connected(port);
    const first = await member(`$share/g/${topic}`);
    for (let i = 0; i < 5; i++) await publisher.publish(topic, `${i}`);
    await first.many('publish', 5);
    first.send(puback(2));
    await first.fence();
    const second = await member(`$share/g/${topic}`);
    t.same(await second.fence(), []);
    first.destroy();
    const rest = await second.many('publish', 4);
    t.same(rest.map(({ payload }) => payload.toString()).toSorted(), ['0', '2', '3', '4']);
    second.destroy();
    publisher.destroy();
  });

  await t.test('refused with 0x80 or more: again after the pause, in the end a dead letter', async (t) => {
    const topic = fresh('s/');
    await broker.groups.put({
      name: 'tries',
      retry: { attemptsMax: 3, backoff: { kind: 'listed', delaysMs: [1000, 2000] } },
    });
    const publisher = await RawMqttClient.connected(port);
    const client = await member(`$share/tries/${topic}`);
    await publisher.publish(topic, 'bad');
    for (const pauseMs of [1000, 2000, 0]) {
      const { packetIdentifier } = await client.next('publish');
      client.send({ type: 'puback', packetIdentifier: packetIdentifier!, reasonCode: 0x83 });
      t.same(await client.fence(), []);
      await clock.advance(pauseMs - 100);
      t.same(await client.fence(), [], 'not before');
      await clock.advance(200);
    }
    await clock.advance(60_000);
    t.same(await client.fence(), [], 'no fourth attempt');
    const dead = await broker.receive(
      {
        group: 'undertaker',
        source: { kind: 'topic', topic: '%DLQ%tries' },
        filter: { type: 'TAG', expression: '*' },
        max: 10,
        waitMs: 0,
        leaseMs: 10_000,
      },
      new AbortController().signal,
    );
    t.same(
      dead.map(({ message }) => message.body.toString()),
      ['bad'],
    );
    client.destroy();
    publisher.destroy();
  });

  await t.test('a fifo group keeps the order of a message group', async (t) => {
    const root = fresh('s');
    await broker.groups.put({ name: 'ordered', order: 'fifo' });
    const publisher = await RawMqttClient.connected(port);
    const members = await Promise.all([1, 2].map(() => member(`$share/ordered/${root}/#`)));
    const taking = collect(members, 60);
    for (let i = 0; i < 60; i++) {
      const properties = { userProperties: [['message-group', `device${i % 3}`]] as [string, string][] };
      await publisher.publish(`${root}/x`, `${i % 3} ${i}`, { properties });
    }
    for (const mine of await taking) {
      for (const device of ['0', '1', '2']) {
        const numbers = mine.filter((text) => text.startsWith(device)).map((text) => Number(text.split(' ')[1]));
        t.same(
          numbers,
          numbers.toSorted((a, b) => a - b),
        );
      }
    }
    for (const client of [...members, publisher]) client.destroy();
  });

  await t.test('with a session: waits for its members, and ends with the last', async (t) => {
    const topic = fresh('s/');
    const fields = { clientIdentifier: fresh('c'), cleanStart: false, properties: { sessionExpiryIntervalS: 100 } };
    const publisher = await RawMqttClient.connected(port);
    const first = await member(`$share/kept/${topic}`, 1, fields);
    first.send({ type: 'disconnect', reasonCode: 0 });
    await first.rest();
    await publisher.publish(topic, 'waits');
    const back = await RawMqttClient.connected(port, 5, fields);
    t.match(await back.next('publish'), { payload: Buffer.from('waits'), dup: false });
    back.send(puback(1));
    back.send({ type: 'unsubscribe', packetIdentifier: 1, topicFilters: [`$share/kept/${topic}`] });
    t.same((await back.next('unsuback')).reasonCodes, [0]);
    t.equal(await publisher.publish(topic, 'nobody'), 0x10);
    const late = await member(`$share/kept/${topic}`);
    t.same(await late.fence(), []);
    for (const client of [publisher, back, late]) client.destroy();
  });

  await t.test('a RocketMQ consumer of the group shares the work', async (t) => {
    const root = fresh('rocket');
    const client = await member(`$share/both/${root}/#`);
    const publisher = await RawMqttClient.connected(port);
    const consumed: string[] = [];
    const call = {
      group: 'both',
      source: { kind: 'topic', topic: root },
      filter: { type: 'TAG', expression: '*' },
      max: 32,
      waitMs: 0,
      leaseMs: 30_000,
    } as const;
    const consume = async (): Promise<void> => {
      for (;;) {
        const deliveries = await broker.receive(call, new AbortController().signal);
        if (deliveries.length === 0) return;
        for (const { message } of deliveries) consumed.push(message.body.toString());
        await broker.settle(deliveries.map(({ receipt }) => ({ receipt, action: { kind: 'ack' } })));
      }
    };
    for (let i = 0; i < 300; i++) await publisher.publish(`${root}/x`, `${i}`);
    const held = await client.many('publish', 100);
    t.same(await client.fence(), [], 'no more than it has room for');
    await consume();
    t.ok(consumed.length >= 100, `${consumed.length} went to the consumer`);
    client.send(...held.slice(0, 50).map(({ packetIdentifier }) => puback(packetIdentifier)));
    client.send({ type: 'disconnect', reasonCode: 0 });
    await client.rest();
    t.equal(
      new Set([...consumed, ...held.slice(0, 50).map(({ payload }) => payload.toString())]).size,
      consumed.length + 50,
    );
    publisher.destroy();
  });
});

t.test('enhanced authentication', async (t) => {
  const users = [{ name: 'meter', scram: await scramVerifierOf('secret', 4096) }];
  const guarded = await startMqttServer({}, users);
  t.teardown(() => guarded.close());
  async function login(password: string, client: RawMqttClient) {
    const scram = new ScramClient('meter', password);
    client.send({
      type: 'connect',
      protocolVersion: 5,
      clientIdentifier: 'm',
      cleanStart: true,
      keepAliveS: 0,
      properties: { authenticationMethod: 'SCRAM-SHA-256', authenticationData: scram.first() },
    });
    const challenge = await client.next('auth');
    t.match(challenge, { reasonCode: 0x18, properties: { authenticationMethod: 'SCRAM-SHA-256' } });
    const authenticationData = scram.final(challenge.properties!.authenticationData!);
    client.send({
      type: 'auth',
      reasonCode: 0x18,
      properties: { authenticationMethod: 'SCRAM-SHA-256', authenticationData },
    });
    return scram;
  }

  await t.test('SCRAM-SHA-256, and again later', async (t) => {
    const client = await RawMqttClient.open(guarded.port);
    const scram = await login('secret', client);
    const connack = await client.next('connack');
    t.match(connack, { reasonCode: 0, properties: { authenticationMethod: 'SCRAM-SHA-256' } });
    t.ok(scram.isServer(connack.properties!.authenticationData!), 'the server has proved who it is');
    t.same(await client.fence(), []);
    const again = new ScramClient('meter', 'secret');
    const auth = (reasonCode: number, authenticationData: Buffer, authenticationMethod = 'SCRAM-SHA-256') =>
      client.send({ type: 'auth', reasonCode, properties: { authenticationMethod, authenticationData } });
    auth(0x19, again.first());
    const challenge = await client.next('auth');
    auth(0x18, again.final(challenge.properties!.authenticationData!));
    t.match(await client.next('auth'), { reasonCode: 0 });
    auth(0x19, again.first(), 'OTHER');
    t.match(await client.rest(), [{ type: 'disconnect', reasonCode: 0x82 }]);
  });

  await t.test('refused', async (t) => {
    const wrong = await RawMqttClient.open(guarded.port);
    await login('Secret', wrong);
    t.match(await wrong.rest(), [{ type: 'connack', reasonCode: 0x87 }]);
    const unknown = await RawMqttClient.open(guarded.port);
    t.match(await unknown.connect({ properties: { authenticationMethod: 'NTLM' } }), { reasonCode: 0x8c });
    const impatient = await RawMqttClient.open(guarded.port);
    const scram = new ScramClient('meter', 'secret');
    const properties = { authenticationMethod: 'SCRAM-SHA-256', authenticationData: scram.first() };
    impatient.send({
      type: 'connect',
      protocolVersion: 5,
      clientIdentifier: '',
      cleanStart: true,
      keepAliveS: 0,
      properties,
    });
    await impatient.next('auth');
    impatient.send(publishPacket('a', 'x'));
    t.match(await impatient.rest(), [{ type: 'connack', reasonCode: 0x82 }]);
    const plain = await RawMqttClient.open(guarded.port);
    await plain.connect({ username: 'meter', password: Buffer.from('secret') });
    plain.send({ type: 'auth', reasonCode: 0x19, properties: { authenticationMethod: 'SCRAM-SHA-256' } });
    t.match(await plain.rest(), [{ type: 'disconnect', reasonCode: 0x82 }], 'CONNECT had no method');
  });
});
