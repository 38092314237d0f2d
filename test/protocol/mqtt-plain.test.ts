import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { encodePacket } from '../../adapters/mqtt/codec/encoder.ts';
import type { ProtocolVersion, PublishPacket } from '../../adapters/mqtt/codec/packet.ts';
import { MATCH_ALL } from '../../core/model/filter.ts';
import { puback, publishPacket, RawMqttClient } from '../helpers/mqtt-client.ts';
import { startMqttServer } from '../helpers/mqtt-server.ts';
import { Random, testSeed } from '../helpers/random.ts';

/** Plain packets are stored and forwarded as they came, in runs. Subscribers must not see a difference. */

const server = await startMqttServer();
const { port } = server;
t.teardown(() => server.close());

function randomPublishes(random: Random, topic: string, count: number): PublishPacket[] {
  const sizes = [0, 1, 64, 100, 120, 127, 128, 300, 5000, 70_000];
  return Array.from({ length: count }, (_, i) => {
    const payload = Buffer.alloc(4 + random.pick(sizes), i & 0xff);
    payload.writeUInt32BE(i);
    const isQos1 = random.chance(0.3);
    const fields = isQos1 ? { qos: 1 as const, packetIdentifier: i + 1, dup: random.chance(0.1) } : {};
    return publishPacket(random.chance(0.7) ? topic : `${topic}/${random.below(3)}`, payload, fields);
  });
}

/** Writes the bytes in pieces that end anywhere, each most likely a chunk of its own to the server. */
async function sendInPieces(client: RawMqttClient, bytes: Buffer, random: Random): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + random.pick([1, 2, 3, 70, 1000, 20_000, 200_000]));
    client.send(bytes.subarray(at, end));
    at = end;
    await turn();
    await turn();
  }
}

async function receive(client: RawMqttClient, count: number): Promise<PublishPacket[]> {
  const received: PublishPacket[] = [];
  while (received.length < count) {
    const publish = await client.next('publish');
    if (publish.qos === 1) client.send(puback(publish.packetIdentifier));
    received.push(publish);
  }
  return received;
}

/** What is wrong with what was received, QoS 0 and 1 taken for themselves: they may overtake each other. */
function faults(received: readonly PublishPacket[], sent: readonly PublishPacket[], qosMax: 0 | 1): string[] {
  const wrong: string[] = [];
  for (const qos of [0, 1] as const) {
    const expected = sent.filter((publish) => publish.qos === qos);
    const got = received.filter(({ payload }) => sent[payload.readUInt32BE(0)]?.qos === qos);
    if (got.length !== expected.length) wrong.push(`${got.length} of ${expected.length} at QoS ${qos}`);
    for (const [i, { topicName, payload }] of expected.entries()) {
      const publish = got[i];
      const isSame = publish?.topicName === topicName && !publish.dup && publish.payload.equals(payload);
      if (!isSame || publish.qos !== Math.min(qos, qosMax)) wrong.push(`message ${i} of QoS ${qos}`);
    }
  }
  return wrong;
}

t.test('runs of packets, however they are cut, reach every version and quality', { timeout: 60_000 }, async (t) => {
  const random = new Random(testSeed());
  t.comment(`seed ${random.seed}`);
  for (const version of [3, 4, 5] as const) {
    const topic = `runs/${version}`;
    const kinds: [ProtocolVersion, 0 | 1][] = [
      [3, 0],
      [4, 0],
      [4, 1],
      [5, 0],
      [5, 1],
    ];
    const publisher = await RawMqttClient.connected(port, version);
    const subscribers = await Promise.all(kinds.map(([kind]) => RawMqttClient.connected(port, kind)));
    for (const [i, subscriber] of subscribers.entries()) await subscriber.subscribe(kinds[i]![1], `${topic}/#`);
    const sent = randomPublishes(random, topic, 400);
    const receiving = subscribers.map((subscriber) => receive(subscriber, sent.length));
    await sendInPieces(publisher, Buffer.concat(sent.map((publish) => encodePacket(publish, version))), random);
    for (const [i, received] of (await Promise.all(receiving)).entries()) {
      const [kind, qos] = kinds[i]!;
      t.same(faults(received, sent, qos), [], `version ${version} to version ${kind}, QoS ${qos}`);
    }
    for (const client of [publisher, ...subscribers]) client.destroy();
  }
});

t.test('a subscriber that stops reading in the middle of a run loses whole messages only', async (t) => {
  const slowServer = await startMqttServer({ outputBytesMax: 65_536 });
  t.teardown(() => slowServer.close());
  const publisher = await RawMqttClient.connected(slowServer.port, 4);
  const [slow, fast] = await Promise.all([1, 2].map(() => RawMqttClient.connected(slowServer.port, 4)));
  await slow!.subscribe(0, 'run/#');
  await fast!.subscribe(1, 'run/#');
  slow!.socket.pause();
  const RUNS = 100;
  const RUN = 1000;
  const payload = Buffer.alloc(300, 'p');
  const numbers: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const packets = Array.from({ length: RUN }, (_, i) => {
      payload.writeUInt32BE(run * RUN + i);
      return encodePacket(publishPacket('run/a', payload), 4);
    });
    publisher.send(...packets);
    for (const publish of await receive(fast!, RUN)) numbers.push(publish.payload.readUInt32BE(0));
  }
  t.ok(
    numbers.length === RUNS * RUN && numbers.every((number, i) => number === i),
    'the other subscriber gets everything in order',
  );
  slow!.socket.resume();
  const got = (await slow!.fence()) as PublishPacket[];
  t.ok(got.length > 0 && got.length < RUNS * RUN, `${got.length} of ${RUNS * RUN}, the rest is dropped`);
  const isWhole = got.every(
    (publish, i) =>
      publish.payload.length === payload.length &&
      publish.payload.subarray(4).equals(payload.subarray(4)) &&
      (i === 0 || publish.payload.readUInt32BE(0) > got[i - 1]!.payload.readUInt32BE(0)),
  );
  t.ok(isWhole, 'whole, and in order');
  publisher.send(publishPacket('run/again', ''));
  t.match(await slow!.next('publish'), { topicName: 'run/again' }, 'and it is served again');
  for (const client of [publisher, slow!, fast!]) client.destroy();
});

t.test('a remaining length that is padded is not passed on', async (t) => {
  const [publisher, subscriber] = await Promise.all([1, 2].map(() => RawMqttClient.connected(port, 4)));
  await subscriber!.subscribe(1, 'pad/#');
  for (const [firstByte, text] of [
    [0x30, '\0\x05pad/abody'],
    [0x32, '\0\x05pad/a\0\x07body'],
  ] as const) {
    const before = subscriber!.bytes;
    const body = Buffer.from(text);
    publisher!.send(Buffer.concat([Buffer.from([firstByte, body.length | 0x80, 0x80, 0]), body]));
    t.match(await subscriber!.next('publish'), { topicName: 'pad/a', payload: Buffer.from('body') });
    t.equal(subscriber!.bytes - before, 2 + body.length);
  }
  for (const client of [publisher!, subscriber!]) client.destroy();
});

t.test('consumer groups read plain packets of both qualities', async (t) => {
  const { broker, clock } = server;
  const publisher = await RawMqttClient.connected(port, 4);
  publisher.send(...['one', 'two'].map((payload) => publishPacket('grouped/a', payload)));
  await publisher.publish('grouped/a', 'three');
  const source = { kind: 'topic', topic: 'grouped' } as const;
  const call = { group: 'qos0-readers', source, filter: MATCH_ALL, max: 10, waitMs: 0, leaseMs: 10_000 };
  const deliveries = await broker.receive(call, new AbortController().signal);
  const seen = deliveries.map(({ message }) => {
    const { address, body, bornAt, tag, properties } = broker.view(message);
    return { address, body: body.toString(), bornAt, tag, properties };
  });
  const common = { address: 'grouped/a', bornAt: clock.now(), tag: undefined, properties: [] };
  t.same(
    seen,
    ['one', 'two', 'three'].map((body) => ({ ...common, body })),
  );
  publisher.destroy();
});
