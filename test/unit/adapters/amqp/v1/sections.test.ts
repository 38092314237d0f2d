import t from 'tap';
import { CodecError } from '../../../../../adapters/amqp/v1/codec/codec-error.ts';
import {
  HEADER_BYTES_MAX,
  type MessageHeader,
  readHeader,
  writeHeader,
} from '../../../../../adapters/amqp/v1/codec/message-header.ts';
import {
  PropertyIndex,
  PropertyRanges,
  readProperty,
  scanProperties,
} from '../../../../../adapters/amqp/v1/codec/message-properties.ts';
import {
  binaryValue,
  describedValue,
  fieldsValue,
  listValue,
  mapOf,
  NULL_VALUE,
  stringValue,
  symbolValue,
  timestampValue,
  uintValue,
  ulongValue,
} from '../../../../../adapters/amqp/v1/codec/plain-values.ts';
import {
  dataBody,
  MessageSections,
  scanSections,
  type SectionRange,
} from '../../../../../adapters/amqp/v1/codec/sections.ts';
import type { AmqpValue } from '../../../../../adapters/amqp/v1/codec/values.ts';
import { encodeValue } from '../../../../../adapters/amqp/v1/codec/writer.ts';
import { Random, seeds } from '../../../../helpers/random.ts';

/** The sections of messages (AMQP 3.2) found, checked, and read. */

const map = fieldsValue(mapOf({ a: uintValue(1) }));
const VALUES = {
  header: listValue([{ type: 'boolean', value: true }]),
  'delivery-annotations': map,
  'message-annotations': map,
  properties: listValue([stringValue('id')]),
  'application-properties': map,
  data: binaryValue(Buffer.from('abc')),
  'amqp-sequence': listValue([uintValue(1)]),
  'amqp-value': stringValue('abc'),
  footer: map,
} satisfies Record<string, AmqpValue>;
type Name = keyof typeof VALUES;
const NAMES = Object.keys(VALUES) as Name[];
const FORMS: Readonly<Record<Name, string>> = {
  header: 'list',
  'delivery-annotations': 'map',
  'message-annotations': 'map',
  properties: 'list',
  'application-properties': 'map',
  data: 'binary',
  'amqp-sequence': 'list',
  'amqp-value': '*',
  footer: 'map',
};

function section(name: Name, isSymbolic = false, value: AmqpValue = VALUES[name]): Buffer {
  const descriptor = isSymbolic ? symbolValue(`amqp:${name}:${FORMS[name]}`) : ulongValue(0x70 + NAMES.indexOf(name));
  return encodeValue(describedValue(descriptor, value));
}

function scan(bytes: Buffer): MessageSections {
  const sections = new MessageSections();
  scanSections(bytes, 0, bytes.length, sections);
  return sections;
}

function refusal(bytes: Buffer): string {
  try {
    scan(bytes);
    return 'none';
  } catch (error) {
    if (error instanceof CodecError) return `${error.condition} ${error.message}`;
    throw error;
  }
}

function rangeOf(sections: MessageSections, name: Name): SectionRange {
  switch (name) {
    case 'header':
    case 'properties':
    case 'footer':
      return sections[name];
    case 'delivery-annotations':
      return sections.deliveryAnnotations;
    case 'message-annotations':
      return sections.messageAnnotations;
    case 'application-properties':
      return sections.applicationProperties;
    default:
      return sections.body;
  }
}

t.test('all combinations of sections, numeric and symbolic, anywhere in a buffer', async (t) => {
  const sections = new MessageSections();
  for (const seed of seeds(1000)) {
    const random = new Random(seed);
    const body = random.pick(['data', 'amqp-sequence', 'amqp-value', undefined] as const);
    const isBody = (name: Name): boolean => name === 'data' || name.startsWith('amqp-');
    const names = NAMES.filter((name) => (isBody(name) ? name === body : random.chance(0.5)));
    const before = random.bytes(5);
    const parts = names.map((name) => {
      const count = name === 'data' || name === 'amqp-sequence' ? random.int(1, 3) : 1;
      return Buffer.concat(Array.from({ length: count }, () => section(name, random.chance(0.3))));
    });
    const bytes = Buffer.concat([before, ...parts, random.bytes(5)]);
    const end = before.length + parts.reduce((sum, part) => sum + part.length, 0);
    scanSections(bytes, before.length, end, sections);
    let at = before.length;
    for (const [i, name] of names.entries()) {
      const range = rangeOf(sections, name);
      const found = bytes.subarray(range.start, range.end);
      if (!t.ok(range.start === at && found.equals(parts[i]!), `GANTRY_SEED=${seed} ${name}`)) return;
      at = range.end;
    }
    t.equal(at, end);
    for (const name of NAMES) if (!names.includes(name) && !isBody(name)) t.notOk(rangeOf(sections, name).isPresent);
    t.equal(sections.bodyKind, body?.replace('amqp-', '') ?? 'none');
  }
});

t.test('the body', async (t) => {
  const several = Buffer.concat([section('data'), section('data', true, binaryValue(Buffer.alloc(300, 1)))]);
  const sections = scan(several);
  t.equal(sections.bodySections, 2);
  t.strictSame(dataBody(several, sections), Buffer.concat([Buffer.from('abc'), Buffer.alloc(300, 1)]));
  const one = section('data');
  const view = dataBody(one, scan(one));
  t.equal(view.toString(), 'abc');
  t.equal(view.buffer, one.buffer, 'of one section a view');
  const none = section('amqp-value');
  t.equal(dataBody(none, scan(none)).length, 0);
});

t.test('sections out of order, twice, of other types, unknown', async (t) => {
  for (const [first, a] of NAMES.entries()) {
    for (const [second, b] of NAMES.entries()) {
      const isBodyPair = first >= 5 && first <= 7 && second >= 5 && second <= 7;
      // The footer comes last, but rhea writes it before the body.
      const isFooterFirst = a === 'footer' && second >= 5 && second <= 7;
      const isAllowed = isBodyPair ? first === second && first < 7 : first < second || isFooterFirst;
      const said = refusal(Buffer.concat([section(a), section(b)]));
      t.equal(said === 'none', isAllowed, `${a}, ${b}: ${said}`);
    }
    if (a === 'amqp-value') continue;
    t.match(refusal(section(a, false, { type: 'uint', value: 5 })), /another type/, a);
    t.match(refusal(section(a, false, describedValue(uintValue(1), NULL_VALUE))), /another type/, a);
  }
  t.equal(refusal(section('amqp-value', false, describedValue(uintValue(1), NULL_VALUE))), 'none');
  t.match(refusal(encodeValue(describedValue(ulongValue(0x79), listValue([])))), /unknown descriptor/);
  t.match(refusal(encodeValue(describedValue(symbolValue('x'), listValue([])))), /unknown descriptor/);
  t.match(refusal(encodeValue(describedValue(ulongValue(2n ** 40n + 0x75n), VALUES.data))), /unknown descriptor/);
  t.match(refusal(encodeValue(stringValue('abc'))), /no descriptor/);
});

t.test('cut off anywhere', async (t) => {
  const parts = NAMES.filter((name) => !name.startsWith('amqp-')).map((name) => section(name));
  const bytes = Buffer.concat(parts);
  const ends = new Set(parts.map((_, i) => Buffer.concat(parts.slice(0, i)).length));
  for (let end = 0; end < bytes.length; end++) {
    t.equal(refusal(bytes.subarray(0, end)) === 'none', ends.has(end), `${end}`);
  }
});

t.test('the header, with all its defaults', async (t) => {
  const into: MessageHeader = { durable: true, priority: 9, ttlMs: 9, firstAcquirer: true, deliveryCount: 9 };
  const readBack = (bytes: Buffer): MessageHeader => {
    readHeader(bytes, scan(bytes).header, into);
    return { ...into };
  };
  const target = Buffer.alloc(HEADER_BYTES_MAX + 3);
  for (const durable of [false, true]) {
    for (const priority of [0, 4, 255]) {
      for (const ttlMs of [-1, 0, 1, 4_294_967_295]) {
        for (const firstAcquirer of [false, true]) {
          for (const deliveryCount of [0, 1, 4_294_967_295]) {
            const header = { durable, priority, ttlMs, firstAcquirer, deliveryCount };
            const end = writeHeader(target, 3, header);
            t.ok(end - 3 <= HEADER_BYTES_MAX);
            t.strictSame(readBack(target.subarray(3, end)), header);
          }
        }
      }
    }
  }
  const defaults = { durable: false, priority: 4, ttlMs: -1, firstAcquirer: false, deliveryCount: 0 };
  t.equal(writeHeader(target, 3, defaults), 3, 'nothing to say');
  t.strictSame(readBack(Buffer.from('00537045', 'hex')), defaults);
  t.throws(() => readBack(Buffer.from('005370c0020171', 'hex')), CodecError);
  t.throws(() => readBack(Buffer.from('005370c0050150014040', 'hex')), CodecError);
});

t.test('the properties by their place', async (t) => {
  const values: AmqpValue[] = [
    ulongValue(7),
    NULL_VALUE,
    stringValue('/queues/q'),
    NULL_VALUE,
    stringValue('reply'),
    { type: 'uuid', value: Buffer.alloc(16, 1) },
    symbolValue('text/plain'),
    NULL_VALUE,
    timestampValue(1000),
    NULL_VALUE,
    stringValue('group'),
    uintValue(3),
  ];
  const bytes = section('properties', false, listValue(values));
  const ranges = new PropertyRanges();
  scanProperties(bytes, scan(bytes).properties, ranges);
  for (const [name, index] of Object.entries(PropertyIndex)) {
    const value = values[index];
    const expected = value === undefined || value.type === 'null' ? undefined : value;
    t.strictSame(readProperty(bytes, ranges, index), expected, name);
  }
  scanProperties(bytes, scan(section('data')).properties, ranges);
  t.equal(readProperty(bytes, ranges, PropertyIndex.to), undefined);
  const long = section('properties', false, listValue(Array.from({ length: 14 }, () => NULL_VALUE)));
  t.throws(() => scanProperties(long, scan(long).properties, ranges), CodecError);
});
