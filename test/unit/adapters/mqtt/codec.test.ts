import { generate, parser } from 'mqtt-packet';
import t from 'tap';
import { CodecError } from '../../../../adapters/mqtt/codec/codec-error.ts';
import { encodePacket } from '../../../../adapters/mqtt/codec/encoder.ts';
import type { Packet, ProtocolVersion } from '../../../../adapters/mqtt/codec/packet.ts';
import { oracleFault } from '../../../helpers/mqtt-packet-faults.ts';
import { PacketCollector, randomConnect, randomPacket } from '../../../helpers/mqtt-packets.ts';
import { Random, testSeed } from '../../../helpers/random.ts';
import { MALFORMED } from './malformed-packets.ts';

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5];
const ROUNDS = 1500;
const seed = testSeed();

/** One text for equal packets, whatever the order of their keys. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}

function decode(role: 'server' | 'client', version: ProtocolVersion | undefined, chunks: readonly Buffer[]): Packet[] {
  const collector = new PacketCollector(role, version);
  for (const chunk of chunks) collector.decoder.push(chunk);
  return collector.packets;
}

/** The bytes at a non-zero offset of a larger buffer, as Node's pool hands them out. */
function pooled(bytes: Buffer): Buffer {
  const pool = Buffer.alloc(bytes.length + 13, 0xff);
  bytes.copy(pool, 7);
  return pool.subarray(7, 7 + bytes.length);
}

t.test(`round trip of random packets, whole, pooled, split and joined (GANTRY_SEED=${seed})`, async (t) => {
  const random = new Random(seed);
  const problems: unknown[] = [];
  const check = (what: string, expected: readonly Packet[], actual: readonly Packet[]): void => {
    const [want, got] = [textOf(expected), textOf(actual)];
    if (want !== got) problems.push({ what, want, got });
  };
  for (let i = 0; i < ROUNDS; i++) {
    const version = random.pick(VERSIONS);
    const to = random.pick(['server', 'client'] as const);
    const isConnect = to === 'server' && random.chance(0.15);
    const packet = isConnect ? randomConnect(random, version) : randomPacket(random, version, to);
    const bytes = encodePacket(packet, version);
    const state = isConnect ? undefined : version;
    check('whole', [packet], decode(to, state, [bytes]));
    check('pooled', [packet], decode(to, state, [pooled(bytes)]));
    const at = random.int(0, bytes.length);
    check(`split at ${at}`, [packet], decode(to, state, [bytes.subarray(0, at), bytes.subarray(at)]));
    if (isConnect) continue;
    const other = randomPacket(random, version, to);
    const both = Buffer.concat([bytes, encodePacket(other, version)]);
    check('two in one chunk', [packet, other], decode(to, version, [pooled(both)]));
  }
  t.same(problems.slice(0, 3), []);
});

t.test('every kind of packet at every split point and byte by byte', async (t) => {
  const random = new Random(seed ^ 1);
  const problems: unknown[] = [];
  for (const version of VERSIONS) {
    for (const to of ['server', 'client'] as const) {
      const seen = new Map<string, Packet>();
      if (to === 'server') seen.set('connect', randomConnect(random, version));
      for (let i = 0; i < 400; i++) {
        const packet = randomPacket(random, version, to);
        const kind = packet.type === 'publish' ? `publish${packet.qos}` : packet.type;
        if (encodePacket(packet, version).length < 400) seen.set(kind, packet);
      }
      for (const packet of seen.values()) {
        const bytes = encodePacket(packet, version);
        const state = packet.type === 'connect' ? undefined : version;
        const want = textOf([packet]);
        for (let at = 0; at <= bytes.length; at++) {
          const got = textOf(decode(to, state, [bytes.subarray(0, at), bytes.subarray(at)]));
          if (got !== want) problems.push({ version, at, want, got });
        }
        const single = textOf(
          decode(
            to,
            state,
            [...bytes].map((byte) => Buffer.from([byte])),
          ),
        );
        if (single !== want) problems.push({ version, byByte: true, want, got: single });
      }
      t.ok(seen.size >= (to === 'server' ? 9 : 8), `${seen.size} kinds to the ${to} in version ${version}`);
    }
  }
  t.same(problems.slice(0, 3), []);
});

t.test(`${MALFORMED.length} malformed inputs, each refused with its reason`, async (t) => {
  t.ok(MALFORMED.length >= 150);
  const wrong: string[] = [];
  for (const { name, version, role, bytes, reasonCode } of MALFORMED) {
    for (const chunks of [[bytes], [...bytes].map((byte) => Buffer.from([byte]))]) {
      let refused: unknown;
      try {
        decode(role, version, chunks);
      } catch (error) {
        refused = error;
      }
      if (!(refused instanceof CodecError))
        wrong.push(`${name}: ${refused instanceof Error ? refused.message : 'accepted'}`);
      else if (refused.reasonCode !== reasonCode) {
        wrong.push(
          `${name}: 0x${refused.reasonCode.toString(16)} (${refused.message}) instead of 0x${reasonCode.toString(16)}`,
        );
      }
    }
  }
  t.same(wrong, []);
});

t.test('mqtt-packet agrees with valid packets', async (t) => {
  const random = new Random(seed ^ 2);
  const problems: string[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const version = random.pick(VERSIONS);
    const to = random.pick(['server', 'client'] as const);
    const isConnect = to === 'server' && random.chance(0.2);
    const packet = isConnect ? randomConnect(random, version) : randomPacket(random, version, to);
    if (oracleFault(packet) !== undefined) continue;
    const bytes = encodePacket(packet, version);
    const theirs = parser({ protocolVersion: version });
    let read: { cmd: string } | undefined;
    theirs.on('packet', (theirPacket) => (read = theirPacket));
    theirs.on('error', (error) => problems.push(`${packet.type}: ${error.message} ${bytes.toString('hex')}`));
    theirs.parse(bytes);
    if (read?.cmd !== packet.type) problems.push(`${packet.type} read as ${read?.cmd} ${bytes.toString('hex')}`);
    // Its own encoding of what it read, read by us.
    if (read === undefined) continue;
    const theirBytes = Buffer.from(generate(read as never, { protocolVersion: version }));
    const back = decode(to, isConnect ? undefined : version, [theirBytes]);
    const [want, got] = [comparable(packet), comparable(back[0]!)];
    if (want !== got) problems.push(`${want}\n${got}`);
  }
  t.same(problems.slice(0, 3), []);
});

/**
 * Left out, as faults of mqtt-packet 9.0.2: it reorders user properties (compared sorted), reads byte properties as
 * booleans, and writes an empty property section where there was none.
 */
function comparable(packet: Packet): string {
  const copy = structuredClone(packet) as { properties?: Record<string, unknown>; will?: Record<string, unknown> };
  const user = (copy.properties?.['userProperties'] ?? []) as unknown[];
  delete copy.properties;
  delete copy.will?.['properties'];
  return textOf({ ...copy, userProperties: user.map((pair) => JSON.stringify(pair)).toSorted() });
}

t.test('20,000 mutations of valid packets end in packets or a CodecError', async (t) => {
  const random = new Random(seed ^ 3);
  let refused = 0;
  for (let i = 0; i < 20_000; i++) {
    const version = random.pick(VERSIONS);
    const isConnect = random.chance(0.2);
    const packet = isConnect ? randomConnect(random, version) : randomPacket(random, version, 'server');
    const bytes = encodePacket(packet, version);
    for (let m = random.int(1, 4); m > 0; m--) bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
    const cut = random.chance(0.2) ? bytes.subarray(0, random.int(0, bytes.length)) : bytes;
    try {
      decode('server', isConnect ? undefined : version, [cut]);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      refused++;
    }
  }
  t.ok(refused > 5000, `${refused} refused`);
});

t.test('limits, large packets, pausing', async (t) => {
  const publish = (bytes: number): Buffer =>
    encodePacket(
      { type: 'publish', topicName: 't', qos: 0, dup: false, retain: false, payload: Buffer.alloc(bytes, 1) },
      4,
    );
  const limit = publish(1000);
  t.equal(decodeWithin(limit.length, [limit]), 1, 'at the limit');
  t.throws(() => decodeWithin(limit.length - 1, [limit.subarray(0, 3)]), /larger than/);
  const large = publish(1024 * 1024);
  const pieces: Buffer[] = [];
  for (let at = 0; at < large.length; at += 1460) pieces.push(large.subarray(at, at + 1460));
  t.equal(decodeWithin(2 ** 21, pieces), 1, '1 MiB in small pieces');

  const collector = new PacketCollector('server', 4);
  collector.decoder.pause();
  collector.decoder.push(limit);
  t.equal(collector.packets.length, 0, 'paused');
  collector.decoder.push(limit.subarray(0, 5));
  collector.decoder.resume();
  collector.decoder.push(limit.subarray(5));
  t.equal(collector.packets.length, 2, 'resumed in order');

  const closing = new PacketCollector('server', 4);
  closing.packets.push = (...packets) => {
    closing.decoder.close();
    return Array.prototype.push.apply(closing.packets, packets);
  };
  closing.decoder.push(Buffer.concat([limit, limit, limit]));
  t.equal(closing.packets.length, 1, 'nothing behind a close');
});

function decodeWithin(packetBytesMax: number, chunks: readonly Buffer[]): number {
  const collector = new PacketCollector('server', 4, packetBytesMax);
  for (const chunk of chunks) collector.decoder.push(chunk);
  return collector.packets.length;
}
