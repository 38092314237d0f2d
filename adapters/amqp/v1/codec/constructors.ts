import type { AmqpType } from './values.ts';

/** The constructors of AMQP 1.6, by the names of their encodings. */
export const Code = {
  described: 0x00,
  null: 0x40,
  true: 0x41,
  false: 0x42,
  uint0: 0x43,
  ulong0: 0x44,
  list0: 0x45,
  ubyte: 0x50,
  byte: 0x51,
  smalluint: 0x52,
  smallulong: 0x53,
  smallint: 0x54,
  smalllong: 0x55,
  boolean: 0x56,
  ushort: 0x60,
  short: 0x61,
  uint: 0x70,
  int: 0x71,
  float: 0x72,
  char: 0x73,
  decimal32: 0x74,
  ulong: 0x80,
  long: 0x81,
  double: 0x82,
  timestamp: 0x83,
  decimal64: 0x84,
  decimal128: 0x94,
  uuid: 0x98,
  bin8: 0xa0,
  str8: 0xa1,
  sym8: 0xa3,
  bin32: 0xb0,
  str32: 0xb1,
  sym32: 0xb3,
  list8: 0xc0,
  map8: 0xc1,
  list32: 0xd0,
  map32: 0xd1,
  array8: 0xe0,
  array32: 0xf0,
} as const;

const TYPES = Object.entries({
  null: [Code.null],
  boolean: [Code.true, Code.false, Code.boolean],
  ubyte: [Code.ubyte],
  ushort: [Code.ushort],
  uint: [Code.uint0, Code.smalluint, Code.uint],
  ulong: [Code.ulong0, Code.smallulong, Code.ulong],
  byte: [Code.byte],
  short: [Code.short],
  int: [Code.smallint, Code.int],
  long: [Code.smalllong, Code.long],
  float: [Code.float],
  double: [Code.double],
  decimal32: [Code.decimal32],
  decimal64: [Code.decimal64],
  decimal128: [Code.decimal128],
  char: [Code.char],
  timestamp: [Code.timestamp],
  uuid: [Code.uuid],
  binary: [Code.bin8, Code.bin32],
  string: [Code.str8, Code.str32],
  symbol: [Code.sym8, Code.sym32],
  list: [Code.list0, Code.list8, Code.list32],
  map: [Code.map8, Code.map32],
  array: [Code.array8, Code.array32],
  described: [Code.described],
} satisfies Record<AmqpType, readonly number[]>) as [AmqpType, readonly number[]][];

/** By constructor; undefined where AMQP has none. */
export const TYPE_OF: readonly (AmqpType | undefined)[] = Array.from(
  { length: 256 },
  (_, code) => TYPES.find(([, codes]) => codes.includes(code))?.[0],
);

/** By the first half of a constructor: how many bytes follow it at least; those of a fixed encoding exactly. */
const WIDTHS = [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 1, 4, 2, 8, 2, 8];

export function widthOf(code: number): number {
  return WIDTHS[code >>> 4]!;
}

/** More than any fixed width. */
export const SIZED = 32;

/** By constructor, what `skipOf` answers: one look-up in place of three. */
const SKIPS = Int8Array.from({ length: 256 }, (_, code) => {
  if (TYPE_OF[code] === undefined) return -1;
  const sizeBytes = sizeBytesOf(code);
  return sizeBytes === 0 ? widthOf(code) : SIZED + sizeBytes;
});

/** The bytes behind the constructor; SIZED and the bytes of the size where that says it; -1: there is no such constructor. */
export function skipOf(code: number): number {
  return SKIPS[code]!;
}

/** Whether a size stands behind the constructor: 1 or 4 bytes of it; 0 for fixed encodings. */
export function sizeBytesOf(code: number): 0 | 1 | 4 {
  if (code < Code.bin8) return 0;
  return (code & 0x10) === 0 ? 1 : 4;
}
