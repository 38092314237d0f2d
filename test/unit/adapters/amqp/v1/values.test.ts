import t from 'tap';
import { CodecError } from '../../../../../adapters/amqp/v1/codec/codec-error.ts';
import { TYPE_OF } from '../../../../../adapters/amqp/v1/codec/constructors.ts';
import {
  bigintOf,
  booleanOf,
  longValue,
  mapOf,
  numberOf,
  stringMapValue,
  stringValue,
  symbolValue,
  textOf,
  timestampValue,
  ubyteValue,
} from '../../../../../adapters/amqp/v1/codec/plain-values.ts';
import { Descriptor, descriptorOf } from '../../../../../adapters/amqp/v1/codec/descriptors.ts';
import { EMPTY_ELEMENTS_MAX, Reader, readValue } from '../../../../../adapters/amqp/v1/codec/reader.ts';
import { DEPTH_MAX } from '../../../../../adapters/amqp/v1/codec/scalar-reader.ts';
import type { AmqpValue } from '../../../../../adapters/amqp/v1/codec/values.ts';
import { encodeValue } from '../../../../../adapters/amqp/v1/codec/writer.ts';
import { AMQP_TYPES, randomValue, valueOf } from '../../../../helpers/amqp-samples.ts';
import { Random, seeds } from '../../../../helpers/random.ts';

/** AMQP part 1: values read and written, and what is refused. */

const RUNS = 2000;

function read(hex: string): AmqpValue {
  const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  return readValue(bytes, 0, bytes.length);
}

function refusal(bytes: Buffer): CodecError | undefined {
  try {
    readValue(bytes, 0, bytes.length);
    return undefined;
  } catch (error) {
    if (error instanceof CodecError) return error;
    throw error;
  }
}

const bin = (hex: string): Buffer => Buffer.from(hex, 'hex');

t.test('every constructor', async (t) => {
  const cases: readonly (readonly [string, AmqpValue])[] = [
    ['40', { type: 'null' }],
    ['41', { type: 'boolean', value: true }],
    ['42', { type: 'boolean', value: false }],
    ['56 01', { type: 'boolean', value: true }],
    ['56 00', { type: 'boolean', value: false }],
    ['43', { type: 'uint', value: 0 }],
    ['52 ff', { type: 'uint', value: 255 }],
    ['70 ffffffff', { type: 'uint', value: 4_294_967_295 }],
    ['44', { type: 'ulong', value: 0n }],
    ['53 80', { type: 'ulong', value: 128n }],
    ['80 ffffffffffffffff', { type: 'ulong', value: 2n ** 64n - 1n }],
    ['50 80', { type: 'ubyte', value: 128 }],
    ['51 80', { type: 'byte', value: -128 }],
    ['60 8000', { type: 'ushort', value: 32_768 }],
    ['61 8000', { type: 'short', value: -32_768 }],
    ['54 ff', { type: 'int', value: -1 }],
    ['71 80000000', { type: 'int', value: -2_147_483_648 }],
    ['55 ff', { type: 'long', value: -1n }],
    ['81 8000000000000000', { type: 'long', value: -(2n ** 63n) }],
    ['72 3fc00000', { type: 'float', value: 1.5 }],
    ['82 3fb999999999999a', { type: 'double', value: 0.1 }],
    ['73 0001f600', { type: 'char', value: 0x1f600 }],
    ['83 00000000000003e8', { type: 'timestamp', value: 1000n }],
    ['74 01020304', { type: 'decimal32', value: bin('01020304') }],
    ['84 0102030405060708', { type: 'decimal64', value: bin('0102030405060708') }],
    ['94 000102030405060708090a0b0c0d0e0f', { type: 'decimal128', value: bin('000102030405060708090a0b0c0d0e0f') }],
    ['98 000102030405060708090a0b0c0d0e0f', { type: 'uuid', value: bin('000102030405060708090a0b0c0d0e0f') }],
    ['a0 02 00ff', { type: 'binary', value: bin('00ff') }],
    ['b0 00000002 00ff', { type: 'binary', value: bin('00ff') }],
    ['a1 02 c3a9', { type: 'string', value: 'é' }],
    ['b1 00000002 c3a9', { type: 'string', value: 'é' }],
    ['a3 01 61', { type: 'symbol', value: 'a' }],
    ['b3 00000001 61', { type: 'symbol', value: 'a' }],
    ['45', { type: 'list', value: [] }],
    ['c0 01 00', { type: 'list', value: [] }],
    ['c0 02 01 40', { type: 'list', value: [{ type: 'null' }] }],
    ['d0 00000005 00000001 40', { type: 'list', value: [{ type: 'null' }] }],
    ['c1 01 00', { type: 'map', value: [] }],
    [
      'c1 03 02 43 41',
      {
        type: 'map',
        value: [
          [
            { type: 'uint', value: 0 },
            { type: 'boolean', value: true },
          ],
        ],
      },
    ],
    ['d1 00000006 00000002 40 40', { type: 'map', value: [[{ type: 'null' }, { type: 'null' }]] }],
    ['e0 04 02 50 01 02', { type: 'array', elementType: 'ubyte', value: [ubyteValue(1), ubyteValue(2)] }],
    ['f0 00000006 00000001 50 01', { type: 'array', elementType: 'ubyte', value: [ubyteValue(1)] }],
    ['e0 02 02 41', { type: 'array', elementType: 'boolean', value: [read('41'), read('41')] }],
    ['e0 02 00 a3', { type: 'array', elementType: 'symbol', value: [] }],
    ['e0 01 00', { type: 'array', elementType: 'null', value: [] }],
    [
      'e0 06 01 00 a3 01 78 43',
      {
        type: 'array',
        elementType: 'described',
        value: [{ type: 'described', descriptor: symbolValue('x'), value: { type: 'uint', value: 0 } }],
      },
    ],
    ['00 53 75 a0 01 61', { type: 'described', descriptor: { type: 'ulong', value: 0x75n }, value: read('a0 01 61') }],
    ['00 a3 01 78 40', { type: 'described', descriptor: symbolValue('x'), value: { type: 'null' } }],
  ];
  const seen = new Set<number>();
  for (const [hex, value] of cases) {
    t.strictSame(read(hex), value, hex);
    seen.add(Number.parseInt(hex.slice(0, 2), 16));
  }
  t.strictSame(
    TYPE_OF.flatMap((type, code) => (type === undefined || seen.has(code) ? [] : [code.toString(16)])),
    [],
    'none is left out',
  );
});

t.test('what is written is read as it was', async (t) => {
  for (const seed of seeds(RUNS)) {
    const random = new Random(seed);
    const value = valueOf(random, random.pick(AMQP_TYPES), 4);
    const bytes = encodeValue(value);
    // Of an empty array of described values the descriptor is not kept.
    if (!t.strictSame(readValue(bytes, 0, bytes.length), value, `GANTRY_SEED=${seed}`)) return;
    const reader = new Reader(bytes, 0, bytes.length);
    reader.skip('value');
    if (!t.equal(reader.at, bytes.length, 'skipped')) return;
  }
});

t.test('long texts, long lists, arrays of everything', async (t) => {
  const long = 'é'.repeat(200);
  const values: AmqpValue[] = [
    { type: 'list', value: Array.from({ length: 256 }, () => ({ type: 'null' })) },
    {
      type: 'list',
      value: [
        { type: 'binary', value: Buffer.alloc(300, 7) },
        { type: 'string', value: long },
      ],
    },
    { type: 'array', elementType: 'string', value: [stringValue('a'), stringValue(long)] },
    { type: 'array', elementType: 'symbol', value: [symbolValue('a'), symbolValue('b'.repeat(300))] },
    { type: 'array', elementType: 'list', value: [read('45'), read('c0 02 01 41')] },
    { type: 'array', elementType: 'array', value: [read('e0 02 00 43'), read('e0 04 02 50 01 02')] },
    { type: 'array', elementType: 'map', value: [read('c1 01 00'), read('c1 03 02 43 41')] },
    { type: 'array', elementType: 'boolean', value: [read('41'), read('42')] },
    { type: 'array', elementType: 'described', value: [read('00 53 01 c0 02 01 41'), read('00 53 01 45')] },
  ];
  for (const value of values) {
    const bytes = encodeValue(value);
    t.strictSame(readValue(bytes, 0, bytes.length), value);
  }
  t.throws(() => encodeValue(symbolValue('é')), TypeError);
  t.throws(() => encodeValue({ type: 'array', elementType: 'uint', value: [read('43'), read('44')] }), TypeError);
});

t.test('cut off anywhere, or with more behind it, a value is refused', async (t) => {
  for (const seed of seeds(200)) {
    const bytes = encodeValue(randomValue(new Random(seed)));
    for (let end = 0; end < bytes.length; end++) {
      const isWhole = refusal(bytes.subarray(0, end)) === undefined;
      if (isWhole && !t.fail(`GANTRY_SEED=${seed}: ${end} of ${bytes.toString('hex')}`)) return;
    }
    t.ok(refusal(Buffer.concat([bytes, Buffer.from([0x40])])));
  }
});

t.test('malformed', async (t) => {
  const cases: Readonly<Record<string, [hex: string, says: RegExp]>> = {
    'no such constructor': ['46', /0x46/],
    'no such constructor of an array': ['e0 03 01 46 00', /0x46/],
    'a boolean of two': ['56 02', /boolean of 2/],
    'a surrogate as char': ['73 0000d800', /Unicode/],
    'a char beyond Unicode': ['73 00110000', /Unicode/],
    'UTF-8 that is none': ['a1 01 ff', /UTF-8/],
    'UTF-8 of a surrogate': ['a1 03 eda080', /UTF-8/],
    'UTF-8 that is overlong': ['a1 02 c080', /UTF-8/],
    'UTF-8 cut off': ['a1 01 c3', /UTF-8/],
    'a symbol that is not ASCII': ['a3 02 c3a9', /ASCII/],
    'a map with an odd count': ['c1 02 01 40', /key without a value/],
    'a list with too few values': ['c0 04 02 a1 01 61', /ends too early/],
    'a list with fewer bytes than values': ['c0 02 02 40', /more than there are bytes/],
    'a list with too many values': ['c0 03 01 40 40', /longer than/],
    'a list longer than the bytes': ['c0 09 01 40', /too early/],
    'a list whose value leaves it': ['c0 03 01 a1 05 61 61 61 61 61', /too early/],
    'an array whose elements leave it': ['e0 04 01 a1 05 61 61 61 61 61', /too early/],
    'a described value without a value': ['00 53 01', /too early/],
    'a size without bytes': ['b0 0000', /too early/],
  };
  for (const [name, [hex, says]] of Object.entries(cases)) {
    const error = refusal(bin(hex.replaceAll(' ', '')));
    t.match(error?.message, says, name);
    t.equal(error?.condition, 'amqp:decode-error', name);
  }
});

t.test('bombs: claims that no bytes stand for', async (t) => {
  const nested = (hex: string, depth: number): Buffer => Buffer.from(hex.repeat(depth), 'hex');
  const cases: Readonly<Record<string, Buffer>> = {
    'an array of 2^27 nulls': bin('f0000000050800000040'),
    'an array of 2^32-1 empty lists': bin('f000000005ffffffff45'),
    'an array of 2^32-1 described nulls': bin('f000000008ffffffff00530140'),
    'an array of 2^32-1 numbers': bin('f000000005ffffffff70'),
    'a list of 2^32-1 values': bin('d000000004ffffffff'),
    'a map of 2^32-2 keys and values': bin('d100000004fffffffe'),
    'a string of 2^32-1 bytes': bin('b1ffffffff'),
    'a symbol of 2^31 bytes': bin('b380000000'),
    'a binary of 2^32-1 bytes': bin('b0ffffffff'),
    'a list of 2^32-1 bytes': bin('d0ffffffff00000000'),
    'descriptors in descriptors': nested('00', 60_000),
    'values of descriptors': nested('005301', 60_000),
    'lists in lists': Buffer.concat([nested('d0000000ff00000001', 200), Buffer.alloc(255)]),
    'arrays of described arrays': nested('f00000ffff00000001', 7000),
    'arrays with many descriptors': Buffer.concat([bin('f00000fff000000001'), nested('005301', 20_000)]),
    'elements with 20 descriptors each': Buffer.concat([
      bin('f00000ea8d0000ea60'),
      nested('0043', 20),
      bin('50'),
      Buffer.alloc(60_000),
    ]),
    'arrays of arrays of nulls': Buffer.concat([
      bin('f000002000000000ffe0'),
      ...Array.from({ length: 2000 }, () => bin('02ff40')),
    ]),
  };
  for (const [name, bytes] of Object.entries(cases)) t.equal(refusal(bytes)?.condition, 'amqp:decode-error', name);
  t.match(refusal(cases['elements with 20 descriptors each']!)?.message, /without bytes/);
  t.match(refusal(cases['an array of 2^27 nulls']!)?.message, /without bytes/);
  const reader = new Reader(nested('00', 60_000), 0, 60_000);
  t.throws(() => reader.skip('value'), CodecError);
  const flat = Buffer.concat([bin('f000000005'), Buffer.from([0, 0, EMPTY_ELEMENTS_MAX >> 8, 0]), bin('40')]);
  const { value } = readValue(flat, 0, flat.length) as Extract<AmqpValue, { type: 'array' }>;
  t.equal(value.length, EMPTY_ELEMENTS_MAX);
  let deep: AmqpValue = { type: 'null' };
  for (let depth = 0; depth < DEPTH_MAX; depth++) deep = { type: 'list', value: [deep] };
  t.equal(refusal(encodeValue(deep)), undefined, 'as deep as it may be');
  t.match(refusal(encodeValue({ type: 'list', value: [deep] }))?.message, /deep/);
});

t.test('the work is that of the bytes received', async (t) => {
  // A hundred thousand of them within the time of one test.
  const bomb = bin('c00e0140f000000005080000004040404040');
  let refused = 0;
  for (let i = 0; i < 100_000; i++) if (refusal(bomb) !== undefined) refused++;
  t.equal(refused, 100_000);
});

t.test('plain values', async (t) => {
  const map = mapOf({
    text: stringValue('a'),
    small: ubyteValue(5),
    large: longValue(2n ** 60n),
    at: timestampValue(7),
  });
  t.equal(textOf(map.get('text')), 'a');
  t.equal(textOf(map.get('small')), undefined);
  t.equal(textOf(symbolValue('s')), 's');
  t.equal(numberOf(map.get('small')), 5);
  t.equal(numberOf(map.get('large')), undefined);
  t.equal(numberOf(map.get('at')), 7);
  t.equal(numberOf(map.get('text')), undefined);
  t.equal(bigintOf(map.get('large')), 2n ** 60n);
  t.equal(bigintOf(map.get('small')), 5n);
  t.equal(bigintOf({ type: 'double', value: 0.5 }), undefined);
  t.equal(booleanOf({ type: 'boolean', value: false }), false);
  t.equal(booleanOf(map.get('none')), undefined);
  t.strictSame(stringMapValue(mapOf({ a: ubyteValue(1) })), {
    type: 'map',
    value: [[stringValue('a'), ubyteValue(1)]],
  });
});

t.test('descriptors as numbers, whichever way they are written', async (t) => {
  t.equal(descriptorOf(read('00 53 31 45')), Descriptor.declare);
  t.equal(descriptorOf({ ...read('00 53 31 45'), descriptor: symbolValue('amqp:discharge:list') } as AmqpValue), 0x32);
  t.equal(descriptorOf({ ...read('00 53 31 45'), descriptor: symbolValue('x') } as AmqpValue), -1);
  t.equal(descriptorOf(read('00 80 0000000100000031 45')), -1);
  t.equal(descriptorOf(read('00 43 45')), -1);
  t.equal(descriptorOf(read('45')), -1);
});
