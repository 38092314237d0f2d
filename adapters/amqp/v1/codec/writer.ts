import { isAscii, writeUint16, writeUint32 } from './bytes.ts';
import { Code } from './constructors.ts';
import type { AmqpType, AmqpValue } from './values.ts';

/** The members of the union that can have one of the types. */
type ValueOf<T extends AmqpType, V = AmqpValue> = V extends { type: infer K }
  ? [T & K] extends [never]
    ? never
    : V
  : never;
type NumberType = keyof typeof NUMBER_BYTES;

/** Constructor, size and count of a list or map with sizes of four bytes. */
const COMPOUND_HEAD_BYTES = 9;
/** The same with sizes of one byte. */
const SHORT_HEAD_BYTES = 3;

/** Writes values of AMQP part 1 in their shortest encoding into memory that grows. */
export class Writer {
  #buffer: Buffer;
  #at = 0;

  constructor(bytes = 256) {
    this.#buffer = Buffer.allocUnsafe(bytes);
  }

  /** What was written. A view: not to be written to any more. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  /** Where `bytes` bytes are to be written. */
  #reserve(bytes: number): number {
    const at = this.#at;
    const needed = at + bytes;
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    this.#at = needed;
    return at;
  }

  byte(value: number): void {
    const at = this.#reserve(1);
    this.#buffer[at] = value;
  }

  uint16(value: number): void {
    const at = this.#reserve(2);
    writeUint16(this.#buffer, at, value);
  }

  uint32(value: number): void {
    const at = this.#reserve(4);
    writeUint32(this.#buffer, at, value);
  }

  raw(bytes: Buffer): void {
    const at = this.#reserve(bytes.length);
    bytes.copy(this.#buffer, at);
  }

  value(value: AmqpValue): void {
    switch (value.type) {
      case 'null':
        return this.byte(Code.null);
      case 'boolean':
        return this.byte(value.value ? Code.true : Code.false);
      case 'uint':
        return value.value === 0 ? this.byte(Code.uint0) : this.#shortOr(value.value < 256, Code.smalluint, value);
      case 'ulong':
        return value.value === 0n ? this.byte(Code.ulong0) : this.#shortOr(value.value < 256n, Code.smallulong, value);
      case 'int':
        return this.#shortOr(value.value >= -128 && value.value < 128, Code.smallint, value);
      case 'long':
        return this.#shortOr(value.value >= -128n && value.value < 128n, Code.smalllong, value);
      case 'string':
      case 'symbol':
      case 'binary': {
        const bytes = bytesOf(value);
        const code = variableCode(value.type, bytes.length <= 0xff);
        this.byte(code);
        return this.#variable(code, bytes);
      }
      case 'list':
        return value.value.length === 0 ? this.byte(Code.list0) : this.#compound(value);
      case 'map':
      case 'array':
        return this.#compound(value);
      case 'described':
        this.byte(Code.described);
        this.value(value.descriptor);
        return this.value(value.value);
      default:
        this.byte(FIXED_CODES[value.type]);
        return this.#body(FIXED_CODES[value.type], value);
    }
  }

  #shortOr(isShort: boolean, shortCode: number, value: ValueOf<'uint' | 'ulong' | 'int' | 'long'>): void {
    if (!isShort) {
      this.byte(FIXED_CODES[value.type]);
      return this.#body(FIXED_CODES[value.type], value);
    }
    this.byte(shortCode);
    this.byte(Number(value.value) & 0xff);
  }

  #variable(code: number, bytes: Buffer): void {
    if ((code & 0x10) === 0) this.byte(bytes.length);
    else this.uint32(bytes.length);
    this.raw(bytes);
  }

  /** With sizes of four bytes first, moved together when one is enough: how long it gets is not known before. */
  #compound(value: ValueOf<'list' | 'map' | 'array'>): void {
    const at = this.#reserve(COMPOUND_HEAD_BYTES);
    const count = this.#contents(value);
    const buffer = this.#buffer;
    const size = this.#at - at - COMPOUND_HEAD_BYTES;
    const [shortCode, longCode] = COMPOUND_CODES[value.type];
    if (size + 1 > 0xff || count > 0xff) {
      buffer[at] = longCode;
      writeUint32(buffer, at + 1, size + 4);
      writeUint32(buffer, at + 5, count);
      return;
    }
    buffer[at] = shortCode;
    buffer[at + 1] = size + 1;
    buffer[at + 2] = count;
    buffer.copyWithin(at + SHORT_HEAD_BYTES, at + COMPOUND_HEAD_BYTES, this.#at);
    this.#at -= COMPOUND_HEAD_BYTES - SHORT_HEAD_BYTES;
  }

  /** What stands behind size and count. Returns the count. */
  #contents(value: ValueOf<'list' | 'map' | 'array'>): number {
    switch (value.type) {
      case 'list':
        for (const element of value.value) this.value(element);
        return value.value.length;
      case 'map':
        for (const [key, element] of value.value) {
          this.value(key);
          this.value(element);
        }
        return value.value.length * 2;
      case 'array':
        this.#elements(value.elementType, value.value);
        return value.value.length;
    }
  }

  /** One constructor, and the elements without theirs. */
  #elements(type: AmqpType, elements: readonly AmqpValue[]): void {
    let inner = elements;
    let innerType = type;
    while (innerType === 'described') {
      const described = inner as readonly ValueOf<'described'>[];
      this.byte(Code.described);
      this.value(described[0]?.descriptor ?? { type: 'null' });
      inner = described.map((element) => element.value);
      innerType = inner[0]?.type ?? 'null';
    }
    if (inner.some((element) => element.type !== innerType)) throw new TypeError('an array has elements of one type');
    const code = elementCode(innerType, inner);
    this.byte(code);
    for (const element of inner) this.#body(code, element);
  }

  /** A value without its constructor, which is `code`: the longest one of its type, except for texts and binaries. */
  #body(code: number, value: AmqpValue): void {
    switch (value.type) {
      case 'null':
        return;
      case 'boolean':
        return this.byte(value.value ? 1 : 0);
      case 'string':
      case 'symbol':
      case 'binary':
        return this.#variable(code, bytesOf(value));
      case 'list':
      case 'map':
      case 'array': {
        const at = this.#reserve(8);
        const count = this.#contents(value);
        writeUint32(this.#buffer, at, this.#at - at - 4);
        writeUint32(this.#buffer, at + 4, count);
        return;
      }
      case 'described':
        throw new TypeError('an array of described values has one descriptor');
      case 'decimal32':
      case 'decimal64':
      case 'decimal128':
      case 'uuid':
        return this.raw(value.value);
      default:
        return this.#number(value);
    }
  }

  #number(value: ValueOf<NumberType>): void {
    const at = this.#reserve(NUMBER_BYTES[value.type]);
    const buffer = this.#buffer;
    switch (value.type) {
      case 'ubyte':
        return void buffer.writeUInt8(value.value, at);
      case 'byte':
        return void buffer.writeInt8(value.value, at);
      case 'ushort':
        return void buffer.writeUInt16BE(value.value, at);
      case 'short':
        return void buffer.writeInt16BE(value.value, at);
      case 'uint':
      case 'char':
        return void buffer.writeUInt32BE(value.value, at);
      case 'int':
        return void buffer.writeInt32BE(value.value, at);
      case 'float':
        return void buffer.writeFloatBE(value.value, at);
      case 'double':
        return void buffer.writeDoubleBE(value.value, at);
      case 'ulong':
        return void buffer.writeBigUInt64BE(value.value, at);
      case 'long':
      case 'timestamp':
        return void buffer.writeBigInt64BE(value.value, at);
    }
  }
}

/** The bytes of a value. */
export function encodeValue(value: AmqpValue): Buffer {
  const writer = new Writer();
  writer.value(value);
  return writer.bytes;
}

/** One encoding for all elements of an array: the short one only where it holds each of them. */
function elementCode(type: AmqpType, elements: readonly AmqpValue[]): number {
  switch (type) {
    case 'null':
      return Code.null;
    case 'boolean':
      return Code.boolean;
    case 'string':
    case 'symbol':
    case 'binary':
      return variableCode(
        type,
        elements.every((element) => bytesOf(element as ValueOf<'string' | 'symbol' | 'binary'>).length <= 0xff),
      );
    case 'list':
    case 'map':
    case 'array':
      return COMPOUND_CODES[type][1];
    case 'described':
      return Code.described;
    default:
      return FIXED_CODES[type];
  }
}

function variableCode(type: 'string' | 'symbol' | 'binary', isShort: boolean): number {
  switch (type) {
    case 'string':
      return isShort ? Code.str8 : Code.str32;
    case 'symbol':
      return isShort ? Code.sym8 : Code.sym32;
    case 'binary':
      return isShort ? Code.bin8 : Code.bin32;
  }
}

function bytesOf(value: ValueOf<'string' | 'symbol' | 'binary'>): Buffer {
  if (typeof value.value !== 'string') return value.value;
  const bytes = Buffer.from(value.value, 'utf8');
  if (value.type === 'symbol' && !isAscii(bytes, 0, bytes.length)) {
    throw new TypeError(`a symbol is ASCII, not ${value.value}`);
  }
  return bytes;
}

const COMPOUND_CODES = {
  list: [Code.list8, Code.list32],
  map: [Code.map8, Code.map32],
  array: [Code.array8, Code.array32],
} as const;

const FIXED_CODES = {
  ubyte: Code.ubyte,
  byte: Code.byte,
  ushort: Code.ushort,
  short: Code.short,
  uint: Code.uint,
  int: Code.int,
  ulong: Code.ulong,
  long: Code.long,
  float: Code.float,
  double: Code.double,
  char: Code.char,
  timestamp: Code.timestamp,
  decimal32: Code.decimal32,
  decimal64: Code.decimal64,
  decimal128: Code.decimal128,
  uuid: Code.uuid,
} as const;

const NUMBER_BYTES = {
  ubyte: 1,
  byte: 1,
  ushort: 2,
  short: 2,
  uint: 4,
  char: 4,
  int: 4,
  float: 4,
  double: 8,
  ulong: 8,
  long: 8,
  timestamp: 8,
} as const;
