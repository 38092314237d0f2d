import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { openEmbeddedEngine } from '../../adapters/storage/embedded/open.ts';
import { fresh, kept, PLAIN_SUBSCRIPTION, puback, publishPacket, RawMqttClient } from '../helpers/mqtt-client.ts';
import { startMqttServer } from '../helpers/mqtt-server.ts';

/** Statements about shared subscriptions. */

const server = await startMqttServer();
const { port, clock } = server;
t.teardown(() => server.close());

const publisher = await RawMqttClient.connected(port);
const send = async (topic: string, qos: 1 | 2, payload: string): Promise<void> => {
  publisher.send(publishPacket(topic, payload, { qos, packetIdentifier: 1 }));
  if (qos === 1) return void (await publisher.next('puback'));
  await publisher.next('pubrec');
  publisher.send({ type: 'pubrel', packetIdentifier: 1, reasonCode: 0 });
  await publisher.next('pubcomp');
};

t.test('each member gets its own QoS at most', async (t) => {
  const topic = fresh('s/');
  const members = await Promise.all([0, 1, 2].map(() => RawMqttClient.connected(port)));
  for (const [qos, member] of members.entries()) await member.subscribe(qos as 0 | 1 | 2, `$share/own/${topic}`);
  for (let i = 0; i < 30; i++) await send(topic, 2, `${i}`);
  let count = 0;
  for (const [qos, member] of members.entries()) {
    const mine = await member.fence();
    count += mine.length;
    t.ok(mine.length > 0);
    t.ok(mine.every((packet) => packet.type === 'publish' && packet.qos === qos));
  }
  t.equal(count, 30);
  for (const member of members) member.destroy();
});

t.test('a member that also has a subscription of its own gets two copies, each with its identifier', async (t) => {
  const topic = fresh('s/');
  const client = await RawMqttClient.connected(port);
  for (const [topicFilter, identifier] of [
    [`$share/copy/${topic}`, 7],
    [topic, 8],
  ] as const) {
    client.send({
      type: 'subscribe',
      packetIdentifier: 1,
      subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter, qos: 1 }],
      properties: { subscriptionIdentifiers: [identifier] },
    });
    await client.next('suback');
  }
  await send(topic, 1, 'x');
  const copies = await client.many('publish', 2);
  t.same(new Set(copies.map(({ properties }) => properties?.subscriptionIdentifiers?.join())), new Set(['7', '8']));
  client.destroy();
});

for (const state of ['sent', 'released'] as const) {
  const isReceived = state === 'released';
  t.test(`QoS 2, ${state}: the same member, or nobody`, async (t) => {
    for (const isBack of [true, false]) {
      const topic = fresh('s/');
      const fields = kept(5);
      const first = await RawMqttClient.connected(port, 5, fields);
      first.send({
        type: 'subscribe',
        packetIdentifier: 1,
        subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter: `$share/begun/${topic}`, qos: 2 }],
        properties: { subscriptionIdentifiers: [5] },
      });
      await first.next('suback');
      await send(topic, 2, 'begun');
      t.match(await first.next('publish'), { qos: 2, packetIdentifier: 1 });
      const second = await RawMqttClient.connected(port);
      await second.subscribe(2, `$share/begun/${topic}`);
      if (isReceived) {
        first.send({ type: 'pubrec', packetIdentifier: 1, reasonCode: 0 });
        await first.next('pubrel');
      }
      first.destroy();
      await clock.advance(120_000);
      if (isBack) {
        const again = await RawMqttClient.connected(port, 5, fields);
        const expected = isReceived ? 'pubrel' : 'publish';
        const publish = { dup: true, qos: 2, retain: false, properties: { subscriptionIdentifiers: [5] } };
        t.match(await again.next(expected), { packetIdentifier: 1, ...(!isReceived && publish) });
        again.destroy();
      } else {
        await clock.advance(3_700_000);
        const { sessionPresent } = await (await RawMqttClient.open(port)).connect(fields);
        t.equal(sessionPresent, false);
      }
      t.same(await second.fence(), []);
      second.destroy();
    }
  });
}

t.test('QoS 2, released: also when the gateway was stopped meanwhile', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'gantry-released-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const start = () => startMqttServer({}, [], { engine: openEmbeddedEngine({ dir }) });
  let running = await start();
  const fields = kept(5);
  const member = await RawMqttClient.connected(running.port, 5, fields);
  await member.subscribe(2, '$share/stopped/a');
  const sender = await RawMqttClient.connected(running.port);
  for (const packetIdentifier of [1, 2]) {
    sender.send(publishPacket('a', `${packetIdentifier}`, { qos: 2, packetIdentifier }));
    await sender.next('pubrec');
  }
  await member.many('publish', 2);
  member.send({ type: 'pubrec', packetIdentifier: 1, reasonCode: 0 });
  await member.next('pubrel');
  await running.close();
  running = await start();
  const again = await RawMqttClient.connected(running.port, 5, fields);
  t.match(await again.next('pubrel'), { packetIdentifier: 1 });
  t.match(await again.next('publish'), { packetIdentifier: 2, dup: true, payload: Buffer.from('2') });
  t.same(await again.fence(), []);
  await running.close();
});

t.test('a member that unsubscribes: its answers count, and what it does not answer goes to the others', async (t) => {
  const topic = fresh('s/');
  const share = `$share/left/${topic}`;
  const fields = kept(5);
  const first = await RawMqttClient.connected(port, 5, fields);
  await first.subscribe(1, share);
  for (const payload of ['a', 'b']) await send(topic, 1, payload);
  await first.many('publish', 2);
  const second = await RawMqttClient.connected(port);
  await second.subscribe(1, share);
  first.send({ type: 'unsubscribe', packetIdentifier: 1, topicFilters: [share] }, puback(1));
  t.same((await first.next('unsuback')).reasonCodes, [0]);
  await first.fence();
  await clock.advance(120_000);
  t.same(await second.fence(), []);
  first.destroy();
  t.match(await second.next('publish'), { payload: Buffer.from('b') });
  await clock.advance(120_000);
  t.same(await second.fence(), []);
  const again = await RawMqttClient.connected(port, 5, fields);
  t.same(await again.fence(), [], 'it is not the session of the first any more');
  for (const each of [second, again]) each.destroy();
});

t.test('without mqtt.sharedRetry a refused message goes to no other member', async (t) => {
  const strict = await startMqttServer({ sharedRetry: false });
  t.teardown(() => strict.close());
  const members = await Promise.all([1, 2].map(() => RawMqttClient.connected(strict.port)));
  for (const member of members) await member.subscribe(2, '$share/refused/r');
  const sender = await RawMqttClient.connected(strict.port);
  for (let i = 0; i < 10; i++) await sender.publish('r', `${i}`);
  sender.send(publishPacket('r', 'once', { qos: 2, packetIdentifier: 3 }));
  await sender.next('pubrec');
  let count = 0;
  for (const member of members) {
    for (const packet of await member.fence()) {
      if (packet.type !== 'publish') continue;
      count++;
      const type = packet.qos === 1 ? 'puback' : 'pubrec';
      member.send({ type, packetIdentifier: packet.packetIdentifier!, reasonCode: 0x80 });
    }
  }
  t.equal(count, 11);
  for (const member of members) t.same(await member.fence(), []);
  await strict.clock.advance(3_600_000);
  for (const member of members) t.same(await member.fence(), []);
  for (const each of [...members, sender]) each.destroy();
});
t.teardown(() => publisher.destroy());
