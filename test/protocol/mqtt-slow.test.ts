import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Packet, PublishPacket } from '../../adapters/mqtt/codec/packet.ts';
import { openEmbeddedEngine, openMemoryEngine } from '../../adapters/storage/embedded/open.ts';
import type { MqttOptions } from '../../adapters/mqtt/options.ts';
import { deferred } from '../helpers/deferred.ts';
import { collectGarbage } from '../helpers/heap.ts';
import { kept, PLAIN_SUBSCRIPTION, puback, publishPacket, RawMqttClient } from '../helpers/mqtt-client.ts';
import { startMqttServer, type MqttServer } from '../helpers/mqtt-server.ts';

const MIB = 1024 * 1024;
const BATCH = 100;

/** What cannot be collected, in bytes: server and clients together. */
async function memory(): Promise<number> {
  // What a turn of the event loop still holds is let go first.
  for (let turn = 0; turn < 3; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    collectGarbage();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** With a real disk: what waits must not wait in memory. */
async function start(t: Test, options: Partial<MqttOptions> = {}): Promise<MqttServer> {
  const dir = mkdtempSync(join(tmpdir(), 'gantry-slow-'));
  const engine = openEmbeddedEngine({ dir, flush: 'none', cacheBytes: 4 * MIB });
  const server = await startMqttServer(options, [], { engine });
  t.teardown(async () => {
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  });
  return server;
}

/** Publishes a batch at QoS 1, and waits until it is stored. */
async function publishBatch(publisher: RawMqttClient, topic: string, from: number, padding: string): Promise<void> {
  const packets = Array.from({ length: BATCH }, (_, i) =>
    publishPacket(topic, `${from + i} ${padding}`, { qos: 1, packetIdentifier: i + 1 }),
  );
  publisher.send(...packets);
  await publisher.many('puback', BATCH);
}

function subscribePacket(packetIdentifier: number, topicFilter: string): Packet {
  return { type: 'subscribe', packetIdentifier, subscriptions: [{ ...PLAIN_SUBSCRIPTION, topicFilter, qos: 1 }] };
}

function numberOf({ payload }: PublishPacket): number {
  return Number.parseInt(payload.toString('latin1', 0, 10), 10);
}

/** Takes messages and acknowledges them. @returns how many were not the next one */
async function takeInOrder(client: RawMqttClient, from: number, to: number): Promise<number> {
  let faults = 0;
  let owed: Packet[] = [];
  for (let i = from; i < to; i++) {
    const packet = await client.next('publish');
    if (numberOf(packet) !== i) faults++;
    if (packet.qos > 0) owed.push(puback(packet.packetIdentifier));
    if (owed.length < 25 && i < to - 1) continue;
    if (owed.length > 0) client.send(...owed);
    owed = [];
  }
  return faults;
}

t.test('a subscriber that stops reading delays nobody and costs no memory', async (t) => {
  const server = await start(t, { outputBytesMax: 256 * 1024 });
  const connect = async (qos: 0 | 1, fields = {}): Promise<RawMqttClient> => {
    const client = await RawMqttClient.connected(server.port, 5, fields);
    await client.subscribe(qos, 'load/#');
    return client;
  };
  const [healthy0, healthy1] = [await connect(0), await connect(1)];
  const [frozen0, frozen1] = [await connect(0), await connect(1, kept(5, 'frozen'))];
  frozen0.socket.pause();
  frozen1.socket.pause();
  const publisher = await RawMqttClient.connected(server.port);
  const padding = 'x'.repeat(1000);
  const [warm, total] = [10_000, 50_000];
  let faults = 0;
  let before = 0;
  let dropped = 0;
  for (let sent = 0; sent < total; sent += BATCH) {
    if (sent === warm) {
      before = await memory();
      dropped = server.metrics.droppedQos0;
      t.ok(dropped > 0, 'QoS 0 is dropped, and counted');
    }
    const taken = [healthy0, healthy1].map((client) => takeInOrder(client, sent, sent + BATCH));
    await publishBatch(publisher, 'load/1', sent, padding);
    for (const wrong of await Promise.all(taken)) faults += wrong;
    await server.clock.advance(1000);
  }
  t.equal(faults, 0, 'the others get everything, in order');
  t.equal(server.metrics.droppedQos0 - dropped, total - warm, 'from then on every one of one subscriber');
  const grownBytes = (await memory()) - before;
  t.comment(`${total - warm} messages of 1 KB past two frozen subscribers: ${(grownBytes / MIB).toFixed(1)} MiB more`);
  t.ok(grownBytes < 8 * MIB, `memory is flat: ${grownBytes} bytes more`);

  frozen1.socket.resume();
  t.equal(await takeInOrder(frozen1, 0, total), 0, 'QoS 1 comes later, all of it, in order');
  frozen0.socket.resume();
  const seen: number[] = [];
  const first = await frozen0.fence();
  for (const packet of first) seen.push(numberOf(packet as PublishPacket));
  t.equal(seen.length, total - server.metrics.droppedQos0, 'what was not dropped at QoS 0');
  t.ok(seen.every((number, i) => i === 0 || number > seen[i - 1]!));
  await publishBatch(publisher, 'load/1', total, padding);
  t.equal(await takeInOrder(frozen0, total, total + BATCH), 0, 'and what comes now');
  for (const client of [healthy0, healthy1, frozen0, frozen1, publisher]) client.destroy();
});

t.test('200 sessions that are away share what waits for them', async (t) => {
  const [sessions, messages] = [200, 5_000];
  const server = await start(t);
  for (let i = 0; i < sessions; i++) {
    const client = await RawMqttClient.connected(server.port, 5, kept(5, `away-${i}`));
    await client.subscribe(1, 'news');
    client.send({ type: 'disconnect', reasonCode: 0 });
    await client.rest();
  }
  const publisher = await RawMqttClient.connected(server.port);
  const padding = 'x'.repeat(50);
  for (let sent = 0; sent < messages; sent += BATCH) await publishBatch(publisher, 'other', sent, padding);
  const before = await memory();
  for (let sent = 0; sent < messages; sent += BATCH) await publishBatch(publisher, 'news', sent, padding);
  const grownBytes = (await memory()) - before;
  t.comment(`${sessions * messages} waiting deliveries: ${(grownBytes / MIB).toFixed(2)} MiB more`);
  t.ok(grownBytes < 10 * MIB, `${grownBytes} bytes for ${sessions * messages} waiting deliveries`);
  const startedAt = performance.now();
  let faults = 0;
  for (let i = 0; i < sessions; i += 20) {
    const drained = Array.from({ length: 20 }, async (_, j) => {
      const client = await RawMqttClient.connected(server.port, 5, kept(5, `away-${i + j}`));
      const wrong = await takeInOrder(client, 0, messages);
      const rest = await client.fence();
      client.destroy();
      return wrong + rest.length;
    });
    for (const wrong of await Promise.all(drained)) faults += wrong;
  }
  t.equal(faults, 0, 'each gets all of them, once, in order');
  t.comment(`drained in ${Math.round(performance.now() - startedAt)} ms`);
  publisher.destroy();
});

t.test(
  'a store that takes its time: QoS 2 is answered when the message is stored, over the latest connection',
  async (t) => {
    const opened = openMemoryEngine(64 * MIB);
    const server = await startMqttServer({}, [], { engine: opened });
    t.teardown(() => server.close());
    let store!: () => void;
    const send = opened.engine.send.bind(opened.engine);
    const connect = () => RawMqttClient.connected(server.port, 5, kept(5, 'publisher'));
    const first = await connect();
    await first.publish('a', 'so that the topic is there');
    const reached = new Promise<void>((resolve) => {
      opened.engine.send = async (batch) => {
        resolve();
        await new Promise<void>((stored) => (store = stored));
        return send(batch);
      };
    });
    const packet = publishPacket('a', 'once', { qos: 2, packetIdentifier: 7 });
    first.send(packet);
    await reached;
    first.destroy();
    const second = await connect();
    second.send({ ...packet, dup: true });
    t.same(await second.fence(), [], 'no PUBREC before the message is stored');
    opened.engine.send = send;
    store();
    t.match(await second.next('pubrec'), { packetIdentifier: 7, reasonCode: 0x10 });
    second.send({ type: 'pubrel', packetIdentifier: 7, reasonCode: 0 });
    t.match(await second.next('pubcomp'), { packetIdentifier: 7, reasonCode: 0 });
    second.destroy();
  },
);

t.test('a client that sends on while packets have to wait is not read', async (t) => {
  const opened = openMemoryEngine(64 * MIB);
  const server = await startMqttServer({}, [], { engine: opened });
  t.teardown(() => server.close());
  const client = await RawMqttClient.connected(server.port, 5, kept(5, 'hasty'));
  const other = await RawMqttClient.connected(server.port);
  await other.publish('d', 'so that the topic is there');
  const saves = [1, 2, 3].map(() => ({ reached: deferred<void>(), isSaved: deferred<void>() }));
  const put = opened.meta.put.bind(opened.meta);
  let saving = 0;
  opened.meta.put = async (...change) => {
    const save = saves[saving++];
    save?.reached.resolve();
    await save?.isSaved.promise;
    return put(...change);
  };
  client.send(subscribePacket(1, 'a'), subscribePacket(2, 'b'), subscribePacket(3, 'c'));
  const flood = 32;
  const padding = 'x'.repeat(MIB);
  for (let i = 0; i < flood; i++) client.send(publishPacket('d', padding));
  const before = server.metrics.bytesReceived;
  for (const [i, { reached, isSaved }] of saves.entries()) {
    await reached.promise;
    // Each is a turn in which what has come could be read.
    for (let turn = 0; turn < 300; turn++) await other.fence();
    const bytes = server.metrics.bytesReceived - before;
    t.ok(bytes < MIB, `while SUBSCRIBE ${i + 1} waits, ${bytes} bytes are read`);
    isSaved.resolve();
    t.match(await client.next('suback'), { packetIdentifier: i + 1, reasonCodes: [1] });
  }
  t.same(await client.fence(), [], 'and then everything');
  t.ok(server.metrics.bytesReceived - before > flood * MIB);
  client.destroy();
  other.destroy();
});

t.test('what waited behind a SUBSCRIBE counts as published', async (t) => {
  const server = await startMqttServer({ publishRateMax: 10 });
  t.teardown(() => server.close());
  const client = await RawMqttClient.connected(server.port);
  const before = server.metrics.publishReceived;
  const publishes = Array.from({ length: 20 }, () => publishPacket('a', 'x'));
  client.send(subscribePacket(1, 'b'), ...publishes);
  t.match(await client.next('suback'), { packetIdentifier: 1 });
  t.same(await client.fence(), []);
  t.equal(server.metrics.publishReceived - before, publishes.length);
  t.equal(server.metrics.slowedDown, 1, 'and the client is read more slowly');
  client.destroy();
});
