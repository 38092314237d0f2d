import { Descriptor } from '../../adapters/amqp/v1/codec/descriptors.ts';
import { Reader } from '../../adapters/amqp/v1/codec/reader.ts';
import type { AmqpValue } from '../../adapters/amqp/v1/codec/values.ts';
import { encodeValue } from '../../adapters/amqp/v1/codec/writer.ts';
import type { Random } from './random.ts';

/** AMQP 1.0 messages as bytes, made of sections by name, random ones, and read again for comparison. */

export type Section = readonly [name: keyof typeof Descriptor, value: AmqpValue];

export const str = (value: string): AmqpValue => ({ type: 'string', value });
export const sym = (value: string): AmqpValue => ({ type: 'symbol', value });
export const bin = (value: Buffer | string): AmqpValue => ({ type: 'binary', value: Buffer.from(value) });
export const uint = (value: number): AmqpValue => ({ type: 'uint', value });
export const ubyte = (value: number): AmqpValue => ({ type: 'ubyte', value });
export const ulong = (value: bigint): AmqpValue => ({ type: 'ulong', value });
export const time = (ms: number): AmqpValue => ({ type: 'timestamp', value: BigInt(ms) });
export const bool = (value: boolean): AmqpValue => ({ type: 'boolean', value });
export const NULL: AmqpValue = { type: 'null' };

export function mapOf(entries: Readonly<Record<string, AmqpValue>>, key = str): AmqpValue {
  return { type: 'map', value: Object.entries(entries).map(([name, value]) => [key(name), value]) };
}

const PROPERTY_NAMES = [
  'messageId',
  'userId',
  'to',
  'subject',
  'replyTo',
  'correlationId',
  'contentType',
  'contentEncoding',
  'absoluteExpiryTime',
  'creationTime',
  'groupId',
  'groupSequence',
  'replyToGroupId',
] as const;
export type PropertyValues = Partial<Record<(typeof PROPERTY_NAMES)[number], AmqpValue>>;

export function propertiesOf(values: PropertyValues): Section {
  return ['properties', { type: 'list', value: PROPERTY_NAMES.map((name) => values[name] ?? NULL) }];
}

export function bytesOf(sections: readonly Section[]): Buffer {
  return Buffer.concat(
    sections.flatMap(([name, value]) => [Buffer.from([0x00, 0x53, Descriptor[name]]), encodeValue(value)]),
  );
}

export interface ReadMessage {
  readonly header: readonly AmqpValue[];
  readonly properties: PropertyValues;
  readonly applicationProperties: ReadonlyMap<string, AmqpValue>;
  readonly messageAnnotations: ReadonlyMap<string, AmqpValue>;
  readonly deliveryAnnotations: ReadonlyMap<string, AmqpValue>;
  readonly body: readonly (readonly [name: string, value: AmqpValue])[];
  readonly footer: AmqpValue | undefined;
}

/** What a client makes of the bytes. @throws CodecError when they are no message */
export function readMessage(bytes: Buffer): ReadMessage {
  const names = new Map(Object.entries(Descriptor).map(([name, number]) => [number as number, name]));
  const reader = new Reader(bytes, 0, bytes.length);
  const sections: [string, AmqpValue][] = [];
  while (reader.at < bytes.length) {
    sections.push([names.get(reader.descriptor('section')) ?? '?', reader.value('section')]);
  }
  const one = (name: string): AmqpValue | undefined => sections.find((section) => section[0] === name)?.[1];
  const list = (name: string): readonly AmqpValue[] =>
    one(name)?.type === 'list' ? (one(name) as never)['value'] : [];
  const properties: PropertyValues = {};
  for (const [i, value] of list('properties').entries()) {
    if (value.type !== 'null') properties[PROPERTY_NAMES[i]!] = value;
  }
  return {
    header: list('header'),
    properties,
    applicationProperties: textMap(one('applicationProperties')),
    messageAnnotations: textMap(one('messageAnnotations')),
    deliveryAnnotations: textMap(one('deliveryAnnotations')),
    body: sections.filter(([name]) => ['data', 'amqpValue', 'amqpSequence'].includes(name)),
    footer: one('footer'),
  };
}

function textMap(value: AmqpValue | undefined): ReadonlyMap<string, AmqpValue> {
  if (value?.type !== 'map') return new Map();
  return new Map(
    value.value
      .map(([key, element]): [string, AmqpValue] => [(key as { value: string }).value, element])
      .toSorted(byKey),
  );
}

function byKey([one]: readonly [string, AmqpValue], [other]: readonly [string, AmqpValue]): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

/** A value of any scalar type. */
export function randomScalar(random: Random): AmqpValue {
  const integer = (bits: number, isSigned: boolean): bigint => {
    const value = BigInt(random.int(0, 2 ** 26)) ** BigInt(random.int(0, 3));
    return isSigned ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
  };
  const type = random.pick(SCALARS);
  switch (type) {
    case 'null':
      return { type };
    case 'boolean':
      return { type, value: random.chance(0.5) };
    case 'ubyte':
    case 'ushort':
    case 'uint':
      return { type, value: Number(integer({ ubyte: 8, ushort: 16, uint: 32 }[type], false)) };
    case 'byte':
    case 'short':
    case 'int':
      return { type, value: Number(integer({ byte: 8, short: 16, int: 32 }[type], true)) };
    case 'ulong':
      return { type, value: integer(64, false) };
    case 'long':
    case 'timestamp':
      return { type, value: integer(64, true) };
    case 'float':
      return { type, value: Math.fround(random.pick([0, -0, 1.5, NaN, Infinity, -Infinity, random.next() * 1e9])) };
    case 'double':
      return { type, value: random.pick([0, -0, 0.1, NaN, Infinity, Number.MAX_VALUE, random.next() * 1e-9]) };
    case 'char':
      return { type, value: random.pick([0, 32, 65, 0x20ac, 0x1d11e]) };
    case 'decimal32':
      return { type, value: randomBytes(random, 4) };
    case 'decimal64':
      return { type, value: randomBytes(random, 8) };
    case 'decimal128':
    case 'uuid':
      return { type, value: randomBytes(random, 16) };
    case 'binary':
      return { type, value: random.bytes(20) };
    case 'symbol':
      return { type, value: random.pick(['', 'sym', 'a:b', 'x y']) };
    case 'string':
      return { type, value: random.pick(['', 'true', '5', 'null\0inside', random.text(12)]) };
  }
}

const SCALARS = [
  'null',
  'boolean',
  'ubyte',
  'ushort',
  'uint',
  'ulong',
  'byte',
  'short',
  'int',
  'long',
  'float',
  'double',
  'decimal32',
  'decimal64',
  'decimal128',
  'char',
  'timestamp',
  'uuid',
  'binary',
  'string',
  'symbol',
] as const;

/** A value of any type. */
export function randomValue(random: Random, depth = 2): AmqpValue {
  if (depth === 0 || random.chance(0.6)) return randomScalar(random);
  const many = (): AmqpValue[] => Array.from({ length: random.int(0, 4) }, () => randomValue(random, depth - 1));
  switch (random.int(0, 3)) {
    case 0:
      return { type: 'list', value: many() };
    case 1:
      return { type: 'map', value: many().map((value, i) => [str(`k${i}`), value]) };
    case 2:
      return { type: 'array', value: many().map((_, i) => uint(i)), elementType: 'uint' };
    default:
      return { type: 'described', descriptor: sym('a:described'), value: randomValue(random, depth - 1) };
  }
}

function randomBytes(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.int(0, 255)));
}

export function randomId(random: Random): AmqpValue {
  return random.pick<() => AmqpValue>([
    () => str(random.pick(['', 'id-1', 'urn:uuid:0c1e7b3a-8d5f-4c2b-9a61-3f0d2e4b5a69', random.text(9)])),
    () => ({ type: 'uuid', value: randomBytes(random, 16) }),
    () => ulong(BigInt(random.int(0, 2 ** 31)) ** 2n),
    () => bin(random.bytes(12)),
    () => bin('text'),
  ])();
}

/** The body sections of a message, every kind of them. */
export function randomBody(random: Random): Section[] {
  const data = (): Section => ['data', bin(random.bytes(random.pick([0, 8, 300])))];
  return random.pick<() => Section[]>([
    () => [data()],
    () => [data(), data(), data()],
    () => [['amqpValue', str(random.text(random.pick([0, 10, 300])))]],
    () => [['amqpValue', bin(random.bytes(30))]],
    () => [['amqpValue', NULL]],
    () => [['amqpValue', randomValue(random)]],
    () => [['amqpSequence', { type: 'list', value: [randomValue(random), randomValue(random)] }]],
    () => [
      ['amqpSequence', { type: 'list', value: [uint(1)] }],
      ['amqpSequence', { type: 'list', value: [] }],
    ],
    () => [],
  ])();
}

/** The sections of a message without header and delivery annotations. */
export function randomBare(random: Random, nowMs: number): Section[] {
  const maybe = <T>(probability: number, value: () => T): T | undefined =>
    random.chance(probability) ? value() : undefined;
  const text = (): AmqpValue => str(random.pick(['', 'text', random.text(10)]));
  const properties = Object.fromEntries(
    Object.entries<AmqpValue | undefined>({
      messageId: maybe(0.5, () => randomId(random)),
      userId: maybe(0.2, () => bin(random.bytes(6))),
      to: maybe(0.5, () => str(random.pick(['/queues/q', 'devices/7', '']))),
      subject: maybe(0.4, text),
      replyTo: maybe(0.4, () => str(random.pick(REPLY_ADDRESSES))),
      correlationId: maybe(0.5, () => randomId(random)),
      contentType: maybe(0.4, () => sym(random.pick(['', 'text/plain', 'application/vnd.amqp']))),
      contentEncoding: maybe(0.2, () => sym('gzip')),
      absoluteExpiryTime: maybe(0.3, () => time(nowMs + random.int(1, 1e6) * 1000)),
      creationTime: maybe(0.3, () => time(nowMs - random.int(1, 1e6))),
      groupId: maybe(0.3, text),
      groupSequence: maybe(0.2, () => uint(random.int(0, 2 ** 32 - 1))),
      replyToGroupId: maybe(0.2, text),
    }).filter(([, value]) => value !== undefined),
  );
  const names = random.some(APPLICATION_PROPERTY_NAMES, 0.25);
  const annotations = random.some(ANNOTATION_NAMES, 0.3);
  const valued = (all: readonly string[], value: (name: string) => AmqpValue) =>
    Object.fromEntries(all.map((name) => [name, value(name)]));
  const sections: (Section | undefined)[] = [
    maybe(0.4, () => [
      'messageAnnotations',
      mapOf(
        valued(annotations, () => randomValue(random)),
        sym,
      ),
    ]),
    maybe(0.7, () => propertiesOf(properties)),
    maybe(0.6, () => ['applicationProperties', mapOf(valued(names, (name) => randomProperty(random, name)))]),
    ...randomBody(random),
    maybe(0.1, () => ['footer', mapOf({ 'x-crc': uint(7) }, sym)]),
  ];
  return sections.filter((section) => section !== undefined);
}

/** MQTT cannot say a null character in the fields of the core. */
function randomProperty(random: Random, name: string): AmqpValue {
  const value = randomScalar(random);
  const isField = name === 'keys' || name === 'traceparent';
  return isField && (value.type === 'string' || value.type === 'char') ? str(random.pick(['', 'a,b', 'x'])) : value;
}

const REPLY_ADDRESSES = [
  '/queues/a%2Fb',
  'replies',
  'queue://r/1',
  'topic://t',
  '/topics/t',
  '/topics/t/a/b%20c//d',
  '/topics/t/',
  '/exchanges/x/key',
  'orders::group',
  '/queues/%zz',
  '$reply/q/x',
  '',
];
const APPLICATION_PROPERTY_NAMES = [
  'p',
  'é',
  '',
  'keys',
  'traceparent',
  'tracestate',
  'tag',
  'priority',
  'message-id',
  'content-type',
  'correlation-id',
  'KEYS',
  '__proto__',
  'gantry-',
  'gantry-keys',
  'gantry-tag',
  'gantry-types',
  'gantry-amqp',
  'gantry-gantry-amqp',
  'gantry-address',
];
const ANNOTATION_NAMES = ['x-opt-a', 'x-opt-jms-msg-type', 'x-opt-jms-dest', 'x-opt-address', 'x-opt-deaths', 'x'];

/** A message as a client may send it. */
export function randomMessage(random: Random, nowMs: number): Section[] {
  const header: AmqpValue = {
    type: 'list',
    value: [
      random.pick([NULL, bool(true), bool(false)]),
      random.pick([NULL, ubyte(random.int(0, 9))]),
      random.pick([NULL, uint(random.int(1, 1e6) * 1000)]),
    ].slice(0, random.int(0, 3)),
  };
  const sections: Section[] = randomBare(random, nowMs);
  if (random.chance(0.3)) sections.unshift(['deliveryAnnotations', mapOf({ 'x-hop': uint(1) }, sym)]);
  if (random.chance(0.6)) sections.unshift(['header', header]);
  return sections;
}
