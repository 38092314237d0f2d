import { generate, parser } from 'mqtt-packet';
import t from 'tap';
import { CodecError } from '../../../../adapters/mqtt/codec/codec-error.ts';
import { Decoder, PublishView } from '../../../../adapters/mqtt/codec/decoder.ts';
import {
  ACKNOWLEDGEMENT_BYTES_MAX,
  copyForwardableProperties,
  encodeAcknowledgement,
  encodePacket,
  encodePacketInto,
  encodePublish,
  packetLength,
  publishLength,
  type PublishSource,
} from '../../../../adapters/mqtt/codec/encoder.ts';
import type {
  Packet,
  Properties,
  ProtocolVersion,
  PublishPacket,
  Qos,
} from '../../../../adapters/mqtt/codec/packet.ts';
import { encodeProperties, readProperties, validateProperties } from '../../../../adapters/mqtt/codec/properties.ts';
import {
  type PropertyDefinition,
  PropertyOwner,
  propertyTable,
  PropertyType,
} from '../../../../adapters/mqtt/codec/property-table.ts';
import { connackReturnCodeOf, isReasonCodeOf, ReasonCode } from '../../../../adapters/mqtt/codec/reason-code.ts';
import { topicFilterFault } from '../../../../adapters/mqtt/codec/topic.ts';
import { isUtf8 } from '../../../../adapters/mqtt/codec/utf8.ts';
import { PacketCollector, randomConnect, randomPacket } from '../../../helpers/mqtt-packets.ts';
import { oracleFault } from '../../../helpers/mqtt-packet-faults.ts';
import { Random, testSeed } from '../../../helpers/random.ts';

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5];
const QOS: readonly Qos[] = [0, 1, 2];
const NO_PROPERTIES: Properties = {};
const seed = testSeed();

function publish(
  qos: Qos,
  payloadBytes: number,
  topicName: string,
  properties: Properties = NO_PROPERTIES,
): PublishPacket {
  return {
    type: 'publish',
    topicName,
    qos,
    dup: false,
    retain: false,
    payload: Buffer.alloc(payloadBytes, 0x78),
    ...(qos === 0 ? {} : { packetIdentifier: 0x1234 }),
    ...(properties === NO_PROPERTIES ? {} : { properties }),
  };
}

/** What the decoder shows of one PUBLISH, kept beyond the call. */
function viewOf(bytes: Buffer, version: ProtocolVersion, role: 'server' | 'client' = 'server'): PublishView {
  const kept = new PublishView();
  const unexpected = (): never => {
    throw new Error('not a PUBLISH');
  };
  const decoder = new Decoder(
    { onPublish: (view) => void Object.assign(kept, view), onAcknowledgement: unexpected, onPacket: unexpected },
    { packetBytesMax: 1 << 28, role },
  );
  decoder.version = version;
  decoder.push(bytes);
  return kept;
}

/** The reason code with which `run` refuses, undefined when it does not. */
function refusal(run: () => void): number | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof CodecError) return error.reasonCode;
    throw error;
  }
}

function decode(role: 'server' | 'client', version: ProtocolVersion | undefined, bytes: Buffer): Packet[] {
  const collector = new PacketCollector(role, version);
  collector.decoder.push(bytes);
  return collector.packets;
}

t.test('encodePublish writes what encodePacket writes, from every layout of the source', async (t) => {
  const wrong: string[] = [];
  const stored: Properties = { contentType: 'a/b', userProperties: [['k', 'v'], ['k', 'w']] }; // prettier-ignore
  const large: Properties = { contentType: 'x'.repeat(200) };
  const extra: Properties = { subscriptionIdentifiers: [7, 300] };
  const extraBytes = encodeProperties(extra, PropertyOwner.publish);
  let cases = 0;
  for (const fromVersion of VERSIONS) {
    for (const properties of fromVersion === 5 ? [NO_PROPERTIES, stored, large] : [NO_PROPERTIES]) {
      for (const [payloadBytes, topic] of [
        [0, 't'],
        [1, 'é'],
        [40, 'a/b'],
        [300, 'x'.repeat(130)],
        [20_000, 't'],
      ] as const) {
        // prettier-ignore
        for (const fromQos of QOS) {
          const source = viewOf(encodePacket(publish(fromQos, payloadBytes, topic, properties), fromVersion), fromVersion);
          for (const version of VERSIONS) {
            for (const qos of QOS) {
              for (const withExtra of [false, true]) {
                const all = { ...(withExtra ? extra : {}), ...properties };
                const wanted = publish(qos, payloadBytes, topic, version === 5 ? all : NO_PROPERTIES);
                const want = encodePacket({ ...wanted, dup: qos > 0, retain: withExtra, ...(qos > 0 ? { packetIdentifier: 0x5678 } : {}) }, version);
                const given = withExtra ? extraBytes : null;
                const target = Buffer.alloc(want.length + 6, 0xee);
                const end = encodePublish(target, 3, source, version, qos, qos > 0, withExtra, 0x5678, given);
                const isRight =
                  publishLength(source, version, qos, given) === want.length &&
                  end === 3 + want.length &&
                  target.subarray(3, end).equals(want) &&
                  target.subarray(0, 3).equals(Buffer.alloc(3, 0xee)) &&
                  target.subarray(end).equals(Buffer.alloc(3, 0xee));
                if (!isRight) wrong.push(`${fromVersion}/${fromQos} to ${version}/${qos}, ${payloadBytes}, ${withExtra}`);
                cases++;
              }
            }
          }
        }
      }
    }
  }
  t.ok(cases >= 1000, `${cases} cases`);
  t.same(wrong.slice(0, 5), []);
});

t.test('encodePublish does not take other bytes for the property length', async (t) => {
  // A stored record with a 1-byte field between topic and payload that is not a property length.
  const record = Buffer.from([0, 1, 0x74, 0x55, 0x70]);
  const source: PublishSource = {
    buffer: record,
    topicStart: 2,
    topicEnd: 3,
    propertiesStart: 4,
    propertiesEnd: 4,
    payloadStart: 4,
    payloadEnd: 5,
  };
  const target = Buffer.alloc(7);
  t.equal(encodePublish(target, 0, source, 5, 0, false, false, 0, null), 7);
  t.equal(target.toString('hex'), '30050001740070');
  // An empty topic needs no bytes before it: the receiver has an alias for it.
  const aliased = { ...source, topicStart: 0, topicEnd: 0 };
  const alias = encodeProperties({ topicAlias: 3 }, PropertyOwner.publish);
  const end = encodePublish(target, 0, aliased, 5, 0, false, false, 0, alias.subarray(0, 0));
  t.equal(target.toString('hex', 0, end), '300400000070');
  t.equal(publishLength(aliased, 5, 0, alias), 9);
});

t.test('forwardable properties keep their order without topic alias and expiry', async (t) => {
  const random = new Random(seed);
  const wrong: string[] = [];
  for (let i = 0; i < 500; i++) {
    const entries = Object.entries({
      topicAlias: 9,
      messageExpiryIntervalS: 0,
      contentType: random.text(60),
      responseTopic: 'r',
      correlationData: random.bytes(60),
      payloadFormatIndicator: 1,
      userProperties: [[random.text(5), random.text(5)], ['a', ''], [random.text(5), 'z']], // prettier-ignore
    } satisfies Properties).filter(() => random.chance(0.6));
    for (let j = entries.length - 1; j > 0; j--) {
      const other = random.int(0, j);
      [entries[j], entries[other]] = [entries[other]!, entries[j]!];
    }
    const properties: Properties = Object.fromEntries(entries);
    const view = viewOf(encodePacket(publish(1, 10, 't', properties), 5), 5);
    const { topicAlias, messageExpiryIntervalS, ...rest } = properties;
    const want = encodeProperties(rest, PropertyOwner.publish);
    const target = Buffer.alloc(want.length + 4, 0xee);
    const end = copyForwardableProperties(view, target, 2);
    const isPicked =
      view.topicAlias === (topicAlias ?? 0) &&
      view.messageExpiryIntervalS === (messageExpiryIntervalS ?? -1) &&
      view.hasUserProperties === (properties.userProperties !== undefined);
    if (end !== 2 + want.length || !target.subarray(2, end).equals(want) || !isPicked) {
      wrong.push(JSON.stringify(properties));
    }
  }
  t.same(wrong.slice(0, 3), [], `GANTRY_SEED=${seed}`);
});

t.test('acknowledgements in their shortest form', async (t) => {
  const target = Buffer.alloc(2 + ACKNOWLEDGEMENT_BYTES_MAX);
  const wrong: string[] = [];
  for (const [type, name] of [
    [4, 'puback'],
    [5, 'pubrec'],
    [6, 'pubrel'],
    [7, 'pubcomp'],
  ] as const) {
    // prettier-ignore
    for (const version of VERSIONS) {
      for (const reasonCode of [0, 0x92]) {
        const want = encodePacket({ type: name, packetIdentifier: 0xabcd, reasonCode }, version);
        const end = encodeAcknowledgement(target, 2, type, 0xabcd, reasonCode, version);
        if (!target.subarray(2, end).equals(want)) wrong.push(`${name} ${version} ${reasonCode}`);
      }
    }
  }
  t.same(wrong, []);
  const withReason = encodePacket({ type: 'pubrel', packetIdentifier: 1, reasonCode: 0x92 }, 5);
  t.equal(withReason.toString('hex'), '6203000192');
});

t.test('the topic name follows the bytes, and a chunk is not kept', async (t) => {
  const seen: { topicName: string; alias: number }[] = [];
  let last: PublishView | undefined;
  const decoder = new Decoder(
    {
      onPublish: (view) => {
        last = view;
        seen.push({ topicName: view.topicName, alias: view.topicAlias });
      },
      onAcknowledgement: () => {},
      onPacket: () => {},
    },
    { packetBytesMax: 100_000 },
  );
  decoder.version = 5;
  const topics = ['a/b', 'a/b', 'a/c', 'é/€', 'x'.repeat(5000), 'x'.repeat(4999) + 'y', 'a/b', 'a/b'];
  for (const topic of topics) decoder.push(encodePacket(publish(0, 8, topic), 5));
  decoder.push(encodePacket(publish(0, 8, '', { topicAlias: 4 }), 5));
  decoder.push(encodePacket(publish(0, 8, 'a/b'), 5));
  t.same(
    seen.map(({ topicName }) => topicName),
    [...topics, '', 'a/b'],
  );
  t.equal(seen[8]?.alias, 4);
  t.equal(last?.topicAlias, 0, 'nothing of the last PUBLISH is left in the view');
  t.equal(last?.buffer.length, 0, 'the view lets go of the chunk');
  let decodings = 0;
  const chunk = Buffer.concat(Array.from({ length: 3 }, () => encodePacket(publish(0, 8, 'once'), 5)));
  chunk.toString = (...range) => {
    decodings++;
    return Buffer.prototype.toString.apply(chunk, range);
  };
  decoder.push(chunk);
  t.equal(seen.length, topics.length + 5);
  t.equal(decodings, 1, 'equal topics are decoded once');
});

t.test('an incomplete packet is copied out of its chunk', async (t) => {
  const bytes = encodePacket(publish(0, 100, 'topic'), 4);
  const chunk = Buffer.concat([bytes, bytes.subarray(0, 60)]);
  const collector = new PacketCollector('server', 4);
  collector.decoder.push(chunk);
  chunk.fill(0); // the copy must not see this
  collector.decoder.push(bytes.subarray(60));
  t.same(collector.packets, [publish(0, 100, 'topic'), publish(0, 100, 'topic')]);
});

t.test('1 MiB byte by byte is linear work', async (t) => {
  const bytes = encodePacket(publish(1, 1 << 20, 'large'), 5);
  const collector = new PacketCollector('server', 5);
  const single = Buffer.alloc(1);
  for (const byte of bytes) {
    single[0] = byte; // pieces are copied at once: the caller's buffer may be the same one
    collector.decoder.push(single);
  }
  t.same(collector.packets, [publish(1, 1 << 20, 'large')]);
});

t.test('the size limit holds at the fixed header, and from the packet on that follows a change', async (t) => {
  for (const size of [10, 127, 128, 129, 130, 131, 16_383, 16_386, 16_387, 16_388, 2_097_155]) {
    const header = (total: number): Buffer => {
      for (const bytes of [1, 2, 3, 4]) {
        let rest = total - 1 - bytes;
        const out = [0x30];
        for (let i = 0; i < bytes; i++) {
          out.push((rest & 0x7f) | (i === bytes - 1 ? 0 : 0x80));
          rest >>>= 7;
        }
        const last = out.at(-1)!;
        if (rest === 0 && last < 0x80 && (bytes === 1 || last > 0)) return Buffer.from(out);
      }
      return Buffer.alloc(0); // no packet has this size
    };
    const pushed = (total: number, chunks: (bytes: Buffer) => Buffer[]): number | undefined => {
      const { decoder } = new PacketCollector('server', 5, size);
      return refusal(() => {
        for (const chunk of chunks(header(total))) decoder.push(chunk);
      });
    };
    const bytewise = (bytes: Buffer): Buffer[] => [...bytes].map((byte) => Buffer.from([byte]));
    t.equal(
      pushed(size, (bytes) => [bytes]),
      undefined,
      `${size} within the limit`,
    );
    t.equal(pushed(size + 1, (bytes) => [bytes]) ?? header(size + 1).length, header(size + 1).length === 0 ? 0 : 0x95);
    t.equal(pushed(size + 1, bytewise) ?? header(size + 1).length, header(size + 1).length === 0 ? 0 : 0x95);
  }
  const collector = new PacketCollector('server', undefined, 64);
  collector.packets.push = (...packets) => {
    collector.decoder.packetBytesMax = 1000;
    return Array.prototype.push.apply(collector.packets, packets);
  };
  const connect = encodePacket(randomConnect(new Random(1), 4), 4);
  collector.decoder.packetBytesMax = connect.length;
  collector.decoder.push(Buffer.concat([connect, encodePacket(publish(0, 900, 't'), 4)]));
  t.equal(collector.packets.length, 2);
});

t.test('after an error or a close nothing more is decoded', async (t) => {
  const good = encodePacket({ type: 'pingreq' }, 4);
  const collector = new PacketCollector('server', 4);
  t.equal(
    refusal(() => collector.decoder.push(Buffer.concat([good, Buffer.from([0xc1, 0]), good]))),
    0x81,
  );
  t.ok(collector.decoder.closed);
  collector.decoder.push(good);
  t.equal(collector.packets.length, 1);

  const throwing = new Decoder(
    {
      onPublish: () => {},
      onAcknowledgement: () => {},
      onPacket: () => {
        throw new Error('of the handler');
      },
    },
    { packetBytesMax: 100 },
  );
  throwing.version = 4;
  t.throws(() => throwing.push(good), /of the handler/);
  t.ok(throwing.closed);

  // Closed by a packet that was completed by this chunk.
  const late = new PacketCollector('server', 4);
  late.packets.push = (...packets) => {
    late.decoder.close();
    return Array.prototype.push.apply(late.packets, packets);
  };
  late.decoder.push(good.subarray(0, 1));
  late.decoder.push(Buffer.concat([good.subarray(1), good, good]));
  t.equal(late.packets.length, 1);
});

t.test('the version is known as soon as CONNECT says it, and an unsupported one is named', async (t) => {
  const collector = new PacketCollector('server');
  const badProperties = Buffer.from('101000044d51545405020 00a0321000000016'.replaceAll(' ', ''), 'hex');
  t.equal(
    refusal(() => collector.decoder.push(Buffer.concat([badProperties, Buffer.alloc(8)]))),
    0x82,
  );
  t.equal(collector.decoder.version, 5, 'the refusal can be a CONNACK of MQTT 5');
  for (const [name, level] of [
    ['MQTT', 6],
    ['MQTT', 3],
    ['MQTT', 0x84],
    ['MQIsdp', 4],
    ['MQIsdp', 0x83],
  ] as const) {
    // prettier-ignore
    const body = [0, name.length, ...Buffer.from(name), level, 2, 0, 0, 0, 1, 0x63];
    try {
      decode('server', undefined, Buffer.from([0x10, body.length, ...body]));
      t.fail(`${name} ${level} accepted`);
    } catch (error) {
      t.match(error, { reasonCode: 0x84, protocolLevel: level, name: 'CodecError' });
    }
  }
});

t.test('what MQTT 3.1 leaves unused is not refused, what 3.1.1 reserves is', async (t) => {
  const body31 = '00064d51497364700303000a000170';
  t.same(decode('server', undefined, Buffer.from(`140f${body31}`, 'hex')), [
    { type: 'connect', protocolVersion: 3, clientIdentifier: 'p', cleanStart: true, keepAliveS: 10 },
  ]);
  t.equal(
    refusal(() => decode('server', undefined, Buffer.from('140d00044d5154540402000a000170', 'hex'))),
    0x81,
  );
  t.equal(decode('server', 3, Buffer.from('6a020001', 'hex')).length, 1, 'PUBREL with DUP');
  t.equal(
    refusal(() => decode('server', 4, Buffer.from('6a020001', 'hex'))),
    0x81,
  );
  // A padded remaining length is against MQTT 5 only.
  t.equal(decode('server', 4, Buffer.from('c08000', 'hex')).length, 1);
  t.equal(
    refusal(() => decode('server', 5, Buffer.from('c08000', 'hex'))),
    0x81,
  );
  t.equal(decode('server', undefined, Buffer.from('108d0000044d5154540402000a000170', 'hex')).length, 1);
  t.equal(
    refusal(() => decode('server', undefined, Buffer.from('108e0000044d5154540502000a00000170', 'hex'))),
    0x81,
  );
});

t.test('the short forms of MQTT 5', async (t) => {
  const forms: [string, 'server' | 'client', Packet][] = [
    ['40020001', 'server', { type: 'puback', packetIdentifier: 1, reasonCode: 0 }],
    ['4003000110', 'server', { type: 'puback', packetIdentifier: 1, reasonCode: 0x10 }],
    ['400400011000', 'server', { type: 'puback', packetIdentifier: 1, reasonCode: 0x10 }],
    ['62020001', 'server', { type: 'pubrel', packetIdentifier: 1, reasonCode: 0 }],
    ['e000', 'server', { type: 'disconnect', reasonCode: 0 }],
    ['e00104', 'server', { type: 'disconnect', reasonCode: 4 }],
    ['e0020400', 'server', { type: 'disconnect', reasonCode: 4 }],
    ['f000', 'client', { type: 'auth', reasonCode: 0 }],
    ['f0020000', 'client', { type: 'auth', reasonCode: 0 }],
  ];
  for (const [hex, role, packet] of forms) t.same(decode(role, 5, Buffer.from(hex, 'hex')), [packet], hex);
  for (const hex of ['f00100', 'e0020401', '400100', '40050001000000']) {
    t.equal(
      refusal(() => decode('server', 5, Buffer.from(hex, 'hex'))),
      0x81,
      hex,
    );
  }
  t.equal(
    refusal(() => decode('server', 5, Buffer.from('f0021800', 'hex'))),
    0x82,
    'AUTH without a method',
  );
});

const LENGTH_OF_TYPE: Record<PropertyType, number> = {
  [PropertyType.byte]: 1,
  [PropertyType.flag]: 1,
  [PropertyType.uint16]: 2,
  [PropertyType.uint32]: 4,
  [PropertyType.varint]: 1,
  [PropertyType.string]: 3,
  [PropertyType.binary]: 3,
  [PropertyType.stringPair]: 6,
};

/** A valid property: numbers are 1, texts and bytes are "q". */
function sampleOf({ id, type }: PropertyDefinition): Buffer {
  const bytes = Buffer.alloc(1 + LENGTH_OF_TYPE[type]);
  bytes[0] = id;
  bytes[bytes.length - 1] = 1;
  if (type >= PropertyType.string) Buffer.from([0, 1, 0x71]).copy(bytes, 1);
  if (type === PropertyType.stringPair) Buffer.from([0, 1, 0x72]).copy(bytes, 4);
  return bytes;
}

t.test('every property in every packet: right, misplaced, twice, cut off, out of range', async (t) => {
  t.equal(propertyTable.length, 27);
  t.equal(new Set(propertyTable.map(({ id }) => id)).size, 27);
  t.equal(new Set(propertyTable.map(({ name }) => name)).size, 27);
  const wrong: string[] = [];
  let cases = 0;
  const check = (what: string, bytes: Buffer, owner: PropertyOwner, want: number | undefined): void => {
    cases++;
    const padded = Buffer.concat([Buffer.alloc(5, 0xff), bytes, Buffer.alloc(70_000, 0x71)]);
    const got = refusal(() => validateProperties(padded, 5, 5 + bytes.length, owner));
    if (got !== want) wrong.push(`${what} in ${owner}: ${got?.toString(16)} instead of ${want?.toString(16)}`);
  };
  for (const definition of propertyTable) {
    const { name, type, owners, repeatsIn, min } = definition;
    const sample = sampleOf(definition);
    for (const owner of Object.values(PropertyOwner)) {
      const isDirection =
        (owner === PropertyOwner.publishOfClient && name === 'subscriptionIdentifiers') ||
        (owner === PropertyOwner.disconnectOfServer && name === 'sessionExpiryIntervalS');
      const isAllowed = owners.includes(owner);
      check(name, sample, owner, isAllowed ? undefined : isDirection ? 0x82 : 0x81);
      if (!isAllowed) continue;
      check(`${name} twice`, Buffer.concat([sample, sample]), owner, repeatsIn.includes(owner) ? undefined : 0x82);
      for (let cut = 1; cut < sample.length; cut++)
        check(`${name} cut to ${cut}`, sample.subarray(0, cut), owner, 0x81);
      if (type < PropertyType.string) {
        const zero = Buffer.from(sample).fill(0, 1);
        check(`${name} 0`, zero, owner, min === 0 ? undefined : name === 'topicAlias' ? 0x94 : 0x82);
      }
      if (type <= PropertyType.flag) check(`${name} 2`, Buffer.from([definition.id, 2]), owner, 0x82);
      if (type === PropertyType.varint) {
        check(`${name} padded`, Buffer.from([definition.id, 0x81, 0]), owner, 0x81);
        check(`${name} of five bytes`, Buffer.from([definition.id, 0x80, 0x80, 0x80, 0x80, 1]), owner, 0x81);
      }
      if (type >= PropertyType.string) {
        const long = Buffer.concat([Buffer.from([definition.id, 0xff, 0xff]), sample.subarray(3)]);
        check(`${name} beyond its section`, long, owner, 0x81);
      }
      if (type === PropertyType.string || type === PropertyType.stringPair) {
        const nul = Buffer.from(sample);
        nul[nul.length - 1] = 0;
        check(`${name} with U+0000`, nul, owner, 0x81);
      }
    }
  }
  check('wildcard in the response topic', Buffer.from([0x08, 0, 1, 0x23]), PropertyOwner.publish, 0x90);
  for (let id = 0; id < 256; id++) {
    if (propertyTable.some((definition) => definition.id === id)) continue;
    check(`property ${id}`, Buffer.from([id, 0, 0]), PropertyOwner.publish, 0x81);
  }
  t.ok(cases > 500, `${cases} cases`);
  t.same(wrong.slice(0, 5), []);
});

t.test('properties keep their values, order and repetition', async (t) => {
  const wrong: string[] = [];
  const owners = Object.entries(PropertyOwner);
  for (const [owner, number] of owners) {
    const section = Buffer.concat(propertyTable.filter((d) => d.owners.includes(number)).map(sampleOf));
    if (section.length === 0) continue;
    validateProperties(section, 0, section.length, number);
    const again = encodeProperties(readProperties(section, 0, section.length), number);
    if (!again.equals(section)) wrong.push(owner);
  }
  t.same(wrong, []);
  const user: Properties = { userProperties: [['b', '1'], ['2', 'x'], ['b', ''], ['__proto__', ''], ['', '']] }; // prettier-ignore
  const section = encodeProperties(user, PropertyOwner.auth);
  t.same(readProperties(section, 0, section.length), user);
});

t.test('what cannot be encoded is refused', async (t) => {
  const refused: [string, () => unknown, { name: string }][] = [
    [
      'identifier 0',
      () => encodePacket({ type: 'puback', packetIdentifier: 0, reasonCode: 0 }, 4),
      { name: 'RangeError' },
    ],
    ['QoS 1 without', () => encodePacket({ ...publish(0, 1, 't'), qos: 1 }, 4), { name: 'RangeError' }],
    ['long topic', () => encodePacket(publish(0, 1, 'x'.repeat(65_536)), 4), { name: 'RangeError' }],
    ['U+0000', () => encodePacket(publish(0, 1, 'a\0'), 4), { name: 'RangeError' }],
    ['AUTH in MQTT 3', () => encodePacket({ type: 'auth', reasonCode: 0 }, 4), { name: 'TypeError' }],
    ['misplaced', () => encodePacket(publish(0, 1, 't', { receiveMaximum: 1 }), 5), { name: 'TypeError' }],
    ['value', () => encodePacket(publish(0, 1, 't', { topicAlias: 65_536 }), 5), { name: 'RangeError' }],
    ['zero', () => encodePacket(publish(0, 1, 't', { topicAlias: 0 }), 5), { name: 'RangeError' }],
    ['no room', () => encodePacketInto({ type: 'pingreq' }, 4, Buffer.alloc(3), 2), { name: 'RangeError' }],
  ];
  for (const [name, run, pattern] of refused) t.throws(run, pattern, name);
  t.equal(encodePacket(publish(0, 0, 'x'.repeat(65_535)), 4).length, 65_535 + 2 + 4, 'the longest topic');
  const target = Buffer.alloc(4);
  t.equal(encodePacketInto({ type: 'pingresp' }, 4, target, 1), 3);
  t.equal(target.toString('hex'), '00d00000');
  t.equal(packetLength({ type: 'pingreq' }, 4), 2);
});

t.test('MQTT 3 gets return codes for reason codes', async (t) => {
  const connack = (reasonCode: number): Packet => ({ type: 'connack', sessionPresent: false, reasonCode });
  t.equal(encodePacket(connack(ReasonCode.notAuthorized), 4).toString('hex'), '20020005');
  t.equal(encodePacket(connack(4), 4).toString('hex'), '20020004');
  t.equal(connackReturnCodeOf(ReasonCode.unsupportedProtocolVersion), 1);
  t.equal(connackReturnCodeOf(ReasonCode.clientIdentifierNotValid), 2);
  t.equal(connackReturnCodeOf(ReasonCode.serverBusy), 3);
  const suback: Packet = { type: 'suback', packetIdentifier: 1, reasonCodes: [1, ReasonCode.topicFilterInvalid] };
  t.equal(encodePacket(suback, 4).toString('hex'), '900400010180');
  t.notOk(isReasonCodeOf(4, 256), 'codes have one byte');
  t.notOk(isReasonCodeOf(4, -1));
  t.ok(isReasonCodeOf(14, ReasonCode.keepAliveTimeout));
});

t.test('UTF-8 is judged as the platform judges it, without U+0000', async (t) => {
  const random = new Random(seed);
  const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const wrong: string[] = [];
  const check = (bytes: Buffer): void => {
    let want = !bytes.includes(0);
    try {
      strict.decode(bytes);
    } catch {
      want = false;
    }
    if (isUtf8(Buffer.concat([Buffer.from([0xe2]), bytes, Buffer.alloc(3, 0x80)]), 1, 1 + bytes.length) !== want) {
      wrong.push(bytes.toString('hex'));
    }
  };
  // All leading pairs, alone and with continuation bytes behind them.
  for (let first = 0x7f; first < 256; first++) {
    for (let second = 0; second < 256; second++) {
      for (const tail of ['', '80', 'bf', '8080', '8041', '8080bf']) {
        check(Buffer.from([first, second, ...Buffer.from(tail, 'hex')]));
      }
    }
  }
  const bytes = [0x00, 0x41, 0x7f, 0x80, 0x9f, 0xa0, 0xbf, 0xc2, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5];
  for (let i = 0; i < 5000; i++) check(Buffer.from(Array.from({ length: random.int(0, 8) }, () => random.pick(bytes))));
  t.same(wrong.slice(0, 5), [], `GANTRY_SEED=${seed}`);
  t.notOk(isUtf8(Buffer.alloc(65_536, 0x61), 0, 65_536), 'too long for a length field');
  t.ok(isUtf8(Buffer.alloc(65_535, 0x61), 0, 65_535));
  const withMark = publish(0, 0, '\uFEFFa');
  t.same(decode('server', 4, encodePacket(withMark, 4)), [withMark], 'U+FEFF is kept [MQTT-1.5.4-3]');
});

t.test('topic filters', async (t) => {
  const valid = ['#', '+', '/', '//', 'a', 'a/b', '+/+', '+/#', 'a/+/#', '$SYS/#', '/+', '$share', '$sharex/+', ' ', 'é/+', '$share/g/#', '$share/g/+', '$share/g//', '$share/g/a/b']; // prettier-ignore
  const invalid = ['', '##', '#/', 'a#', '+#', '#+', '++', 'a+', '+a', 'a/+b/c', 'a/#/c', 'a/b#', '$share/', '$share//a', '$share/g', '$share/g/', '$share/+/a', '$share/g#/a', '$share/g/a#', '$share/g/#/b', '$share/g/+a']; // prettier-ignore
  t.same(
    valid.filter((filter) => topicFilterFault(filter) !== null),
    [],
  );
  t.same(
    invalid.filter((filter) => topicFilterFault(filter) === null),
    [],
  );
  const subscribe = (topicFilter: string): Packet => ({
    type: 'subscribe',
    packetIdentifier: 1,
    subscriptions: [{ topicFilter, qos: 1, noLocal: true, retainAsPublished: false, retainHandling: 0 }],
  });
  t.equal(
    refusal(() => decode('server', 5, encodePacket(subscribe('$share/g/a'), 5))),
    0x82,
    '[MQTT-3.8.3-4]',
  );
  t.same(decode('server', 5, encodePacket(subscribe('a'), 5)), [subscribe('a')]);
});

/** The names under which mqtt-packet has the properties that it and Properties name differently. */
const ORACLE_NAMES: Partial<Record<keyof Properties, string>> = {
  messageExpiryIntervalS: 'messageExpiryInterval',
  sessionExpiryIntervalS: 'sessionExpiryInterval',
  willDelayIntervalS: 'willDelayInterval',
  serverKeepAliveS: 'serverKeepAlive',
  maximumPacketSizeBytes: 'maximumPacketSize',
  subscriptionIdentifiers: 'subscriptionIdentifier',
  maximumQos: 'maximumQoS',
};

/** Properties as mqtt-packet has them: user properties by name (their order is lost), byte properties as booleans. */
function oracleProperties(properties: Properties | undefined): Record<string, unknown> | undefined {
  if (properties === undefined) return undefined;
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(properties)) {
    if (value !== undefined) out[ORACLE_NAMES[name as keyof Properties] ?? name] = value;
  }
  if (properties.payloadFormatIndicator !== undefined) {
    out['payloadFormatIndicator'] = properties.payloadFormatIndicator === 1;
  }
  const { subscriptionIdentifiers, userProperties } = properties;
  if (subscriptionIdentifiers?.length === 1) out['subscriptionIdentifier'] = subscriptionIdentifiers[0];
  if (userProperties !== undefined) {
    const byName: Record<string, string | string[]> = Object.create(null);
    for (const [name, value] of userProperties) {
      const values = byName[name];
      if (values === undefined) byName[name] = value;
      else byName[name] = Array.isArray(values) ? [...values, value] : [values, value];
    }
    out['userProperties'] = byName;
  }
  return out;
}

/** The packet as mqtt-packet has it, both for its generate() and as its parser gives it (as far as they agree). */
function oraclePacket(packet: Packet, version: ProtocolVersion): Record<string, unknown> {
  const out: Record<string, unknown> = { cmd: packet.type };
  if ('properties' in packet) out['properties'] = oracleProperties(packet.properties);
  if ('packetIdentifier' in packet) out['messageId'] = packet.packetIdentifier;
  if ('reasonCode' in packet && version === 5) out['reasonCode'] = packet.reasonCode;
  if ('reasonCodes' in packet && (packet.type === 'suback' || version === 5)) out['granted'] = packet.reasonCodes;
  if (packet.type === 'connack') out['sessionPresent'] = packet.sessionPresent;
  if (packet.type === 'connack' && version !== 5) out['returnCode'] = packet.reasonCode;
  if (packet.type === 'unsubscribe') out['unsubscriptions'] = packet.topicFilters;
  if (packet.type === 'publish') {
    const { topicName: topic, payload, qos, dup, retain } = packet;
    Object.assign(out, { topic, payload, qos, dup, retain });
  }
  if (packet.type === 'subscribe') {
    out['subscriptions'] = packet.subscriptions.map(
      ({ topicFilter: topic, qos, noLocal, retainAsPublished, retainHandling }) =>
        version === 5 ? { topic, qos, nl: noLocal, rap: retainAsPublished, rh: retainHandling } : { topic, qos },
    );
  }
  if (packet.type === 'connect') {
    const { clientIdentifier: clientId, cleanStart: clean, keepAliveS: keepalive, protocolVersion, will } = packet;
    const protocolId = protocolVersion === 3 ? 'MQIsdp' : 'MQTT';
    Object.assign(out, { clientId, clean, keepalive, protocolVersion, protocolId });
    if (packet.username !== undefined) out['username'] = packet.username;
    if (packet.password !== undefined) out['password'] = packet.password;
    if (will !== undefined) {
      const { topicName: topic, payload, qos, retain } = will;
      out['will'] = { topic, payload, qos, retain, properties: oracleProperties(will.properties) };
    }
  }
  return out;
}

/** One text for packets that say the same: keys in order, bytes as hex, user properties ordered by name. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null) return inner;
    if ('type' in inner && inner.type === 'Buffer' && 'data' in inner) return inner.data;
    if (Array.isArray(inner)) return inner as unknown[];
    return Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/** Ordered by name, stably: what is left of their order when mqtt-packet has written them. */
function withSortedUserProperties(packet: Packet): Packet {
  if (!('properties' in packet) || packet.properties?.userProperties === undefined) return packet;
  const userProperties = packet.properties.userProperties.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return { ...packet, properties: { ...packet.properties, userProperties } };
}

t.test('mqtt-packet reads what is encoded, and what it writes is decoded, field by field', async (t) => {
  const random = new Random(seed ^ 5);
  const problems: string[] = [];
  const skipped = new Map<string, number>();
  for (let i = 0; i < 3000; i++) {
    const version = random.pick(VERSIONS);
    const to = random.pick(['server', 'client'] as const);
    const isConnect = to === 'server' && random.chance(0.2);
    const packet = isConnect ? randomConnect(random, version) : randomPacket(random, version, to);
    const fault = oracleFault(packet);
    if (fault !== undefined) {
      skipped.set(fault, (skipped.get(fault) ?? 0) + 1);
      continue;
    }
    const expected = oraclePacket(packet, version);
    let read: object | undefined;
    const theirs = parser({ protocolVersion: version });
    theirs.on('packet', (parsed) => (read = parsed));
    theirs.on('error', (error) => problems.push(error.message));
    theirs.parse(encodePacket(packet, version));
    const fields = Object.entries(read ?? {}).filter(([name]) => Object.hasOwn(expected, name));
    const [want, got] = [textOf(expected), textOf(Object.fromEntries(fields))];
    if (want !== got) problems.push(`read: ${want}\n${got}`);

    const written = generate(expected as never, { protocolVersion: version });
    const decoded = decode(to, isConnect ? undefined : version, written);
    const [ours, again] = [[packet], decoded].map((list) => textOf(list.map(withSortedUserProperties)));
    if (ours !== again) problems.push(`written: ${ours}\n${again}`);
  }
  for (const [fault, times] of skipped) t.comment(`skipped ${times}: ${fault}`);
  t.same(problems.slice(0, 2), [], `GANTRY_SEED=${seed}`);
});
