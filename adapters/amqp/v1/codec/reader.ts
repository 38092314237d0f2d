import { isAscii, readUint16, readUint32, readUtf8 } from './bytes.ts';
import { decodeError } from './codec-error.ts';
import { Code, sizeBytesOf, TYPE_OF, widthOf } from './constructors.ts';
import { DESCRIPTOR_OF } from './descriptors.ts';
import type { AmqpMap } from './performatives.ts';
import type { AmqpValue } from './values.ts';

/** How deep lists, maps, arrays and descriptors may be in each other. */
export const DEPTH_MAX = 32;
/** How many array elements without a byte of their own one frame or message may have: they are work that nobody sent. */
export const EMPTY_ELEMENTS_MAX = 4096;

const NULL: AmqpValue = { type: 'null' };
const TRUE: AmqpValue = { type: 'boolean', value: true };
const FALSE: AmqpValue = { type: 'boolean', value: false };

/**
 * Reads values of AMQP part 1 from the bytes [at, end) and checks them on the way: nothing is allocated or looped over
 * for a size or a count before it is known to fit into the bytes that are there. Binaries are views of the buffer.
 * What goes wrong is named by `what`: `open.container-id`.
 */
export class Reader {
  buffer: Buffer;
  at: number;
  end: number;
  /** Fields of the innermost list that were not read yet. */
  #left = 0;
  #depth = 0;
  #emptyElements = 0;

  constructor(buffer: Buffer, at: number, end: number) {
    this.buffer = buffer;
    this.at = at;
    this.end = end;
  }

  /** For a reader used again, also after it threw. */
  reset(buffer: Buffer, at: number, end: number): void {
    this.buffer = buffer;
    this.at = at;
    this.end = end;
    this.#left = 0;
    this.#depth = 0;
    this.#emptyElements = 0;
  }

  /** The next byte: a constructor. */
  code(what: string): number {
    if (this.at >= this.end) throw truncated(what);
    return this.buffer[this.at++]!;
  }

  /** Where the next `bytes` bytes begin; they are there, and count as read. */
  #take(bytes: number, what: string): number {
    const { at } = this;
    if (bytes > this.end - at) throw truncated(what);
    this.at = at + bytes;
    return at;
  }

  /** The size or count behind a constructor. */
  #size(sizeBytes: 0 | 1 | 4, what: string): number {
    const at = this.#take(sizeBytes, what);
    return sizeBytes === 1 ? this.buffer[at]! : readUint32(this.buffer, at);
  }

  // Described lists: performatives and what is in them.

  /** The number of the descriptor that comes next, 0x00 before it; -1 when the standard has no such descriptor. */
  descriptor(what: string): number {
    if (this.code(what) !== Code.described) throw decodeError(`${what} has no descriptor`);
    const code = this.code(what);
    if (code === Code.smallulong) return this.buffer[this.#take(1, what)]!;
    if (code === Code.ulong) {
      const at = this.#take(8, what);
      return readUint32(this.buffer, at) === 0 ? readUint32(this.buffer, at + 4) : -1;
    }
    if (code === Code.ulong0) return 0;
    if (code === Code.sym8 || code === Code.sym32) return DESCRIPTOR_OF.get(this.#text(code, what)) ?? -1;
    throw wrongType(what, code, 'ulong or symbol, as a descriptor is');
  }

  /** Goes into a list: its fields are read next, as many as there are. To be followed by `leave`. */
  enter(what: string, fieldsMax: number): void {
    const code = this.code(what);
    if (code === Code.list0) {
      this.#left = 0;
      this.end = this.at;
    } else if (code === Code.list8 || code === Code.list32) {
      const sizeBytes = sizeBytesOf(code);
      const size = this.#size(sizeBytes, what);
      if (size > this.end - this.at) throw truncated(what);
      this.end = this.at + size;
      this.#left = this.#size(sizeBytes, what);
      if (this.#left > fieldsMax) throw decodeError(`${what} has ${this.#left} fields, not ${fieldsMax}`);
    } else {
      throw wrongType(what, code, 'list');
    }
  }

  /** @param outerEnd what `end` was before `enter` */
  leave(what: string, outerEnd: number): void {
    if (this.#left > 0) throw decodeError(`${what} has more fields than expected`);
    if (this.at !== this.end) throw decodeError(`${what} is longer than its fields`);
    this.end = outerEnd;
  }

  /** A list inside of a list; `read` takes its fields. */
  list<T>(what: string, fieldsMax: number, read: (reader: Reader) => T): T {
    const outerEnd = this.end;
    const outerLeft = this.#left;
    this.#down(what);
    this.enter(what, fieldsMax);
    const result = read(this);
    this.leave(what, outerEnd);
    this.#left = outerLeft;
    this.#depth--;
    return result;
  }

  /** Goes on to the next field of the list. Whether it is there: not left out and not null. */
  has(what: string): boolean {
    if (this.#left === 0) return false;
    this.#left--;
    if (this.at >= this.end) throw truncated(what);
    if (this.buffer[this.at] !== Code.null) return true;
    this.at++;
    return false;
  }

  #down(what: string): void {
    if (++this.#depth > DEPTH_MAX) throw decodeError(`${what} is nested more than ${DEPTH_MAX} deep`);
  }

  // Single values of a known type.

  uint(what: string): number {
    const code = this.code(what);
    if (code === Code.smalluint) return this.buffer[this.#take(1, what)]!;
    if (code === Code.uint0) return 0;
    if (code === Code.uint) return readUint32(this.buffer, this.#take(4, what));
    throw wrongType(what, code, 'uint');
  }

  ushort(what: string): number {
    const code = this.code(what);
    if (code !== Code.ushort) throw wrongType(what, code, 'ushort');
    return readUint16(this.buffer, this.#take(2, what));
  }

  ubyte(what: string): number {
    const code = this.code(what);
    if (code !== Code.ubyte) throw wrongType(what, code, 'ubyte');
    return this.buffer[this.#take(1, what)]!;
  }

  ulong(what: string): bigint {
    const code = this.code(what);
    if (code !== Code.ulong0 && code !== Code.smallulong && code !== Code.ulong) throw wrongType(what, code, 'ulong');
    return (this.#valueOf(code, what) as { value: bigint }).value;
  }

  /** A ulong that counts bytes: what is beyond 2^53 is as good as 2^53. */
  size(what: string): number {
    return Math.min(Number(this.ulong(what)), Number.MAX_SAFE_INTEGER);
  }

  boolean(what: string): boolean {
    const code = this.code(what);
    if (code === Code.true) return true;
    if (code === Code.false) return false;
    if (code === Code.boolean) return this.#booleanByte(what);
    throw wrongType(what, code, 'boolean');
  }

  #booleanByte(what: string): boolean {
    const byte = this.buffer[this.#take(1, what)]!;
    if (byte > 1) throw decodeError(`${what} is a boolean of ${byte}`);
    return byte === 1;
  }

  string(what: string): string {
    const code = this.code(what);
    if (code !== Code.str8 && code !== Code.str32) throw wrongType(what, code, 'string');
    return this.#text(code, what);
  }

  /** Also takes a string of ASCII: some clients do not make the difference. */
  symbol(what: string): string {
    const code = this.code(what);
    if (code === Code.sym8 || code === Code.str8) return this.#text(Code.sym8, what);
    if (code === Code.sym32 || code === Code.str32) return this.#text(Code.sym32, what);
    throw wrongType(what, code, 'symbol');
  }

  /** A symbol, or an array of them (AMQP 1.4, `multiple`). */
  symbols(what: string): readonly string[] {
    const code = this.buffer[this.at];
    if (code !== Code.array8 && code !== Code.array32) return [this.symbol(what)];
    const { value } = this.value(what) as Extract<AmqpValue, { type: 'array' }>;
    return value.map((element) => {
      if (element.type === 'symbol') return element.value;
      if (element.type === 'string' && isAsciiText(element.value)) return element.value;
      throw decodeError(`${what} is an array of ${element.type}, not of symbol`);
    });
  }

  /** A view. */
  binary(what: string): Buffer {
    const start = this.binaryStart(what);
    return this.buffer.subarray(start, this.at);
  }

  /** Where the bytes of a binary begin; they end at `at`. */
  binaryStart(what: string): number {
    const code = this.code(what);
    if (code !== Code.bin8 && code !== Code.bin32) throw wrongType(what, code, 'binary');
    return this.#take(this.#size(sizeBytesOf(code), what), what);
  }

  #text(code: number, what: string): string {
    const start = this.#take(this.#size(sizeBytesOf(code), what), what);
    if (code === Code.sym8 || code === Code.sym32) {
      if (!isAscii(this.buffer, start, this.at)) throw decodeError(`${what} is a symbol with more than ASCII in it`);
      return this.buffer.toString('latin1', start, this.at);
    }
    const text = readUtf8(this.buffer, start, this.at);
    if (text === undefined) throw decodeError(`${what} is not UTF-8`);
    return text;
  }

  /** A map with symbols (or strings) as keys, each once. */
  fields(what: string): AmqpMap {
    const map = new Map<string, AmqpValue>();
    const code = this.code(what);
    if (code !== Code.map8 && code !== Code.map32) throw wrongType(what, code, 'map');
    const outerEnd = this.end;
    for (let pairs = this.#enterMap(code, what); pairs > 0; pairs--) {
      const key = this.symbol(what);
      if (map.has(key)) throw decodeError(`${what} has ${key} twice`);
      map.set(key, this.value(what));
    }
    this.#leaveCompound(what, outerEnd);
    return map;
  }

  // Values of any type.

  value(what: string): AmqpValue {
    return this.#valueOf(this.code(what), what);
  }

  #valueOf(code: number, what: string): AmqpValue {
    const type = TYPE_OF[code];
    switch (type) {
      case undefined:
        throw decodeError(`${what} has the constructor 0x${hex(code)}, which there is not`);
      case 'null':
        return NULL;
      case 'boolean':
        return code === Code.true || (code === Code.boolean && this.#booleanByte(what)) ? TRUE : FALSE;
      case 'string':
      case 'symbol':
        return { type, value: this.#text(code, what) };
      case 'binary': {
        const start = this.#take(this.#size(sizeBytesOf(code), what), what);
        return { type, value: this.buffer.subarray(start, this.at) };
      }
      case 'list':
        return this.#listValue(code, what);
      case 'map':
        return this.#mapValue(code, what);
      case 'array':
        return this.#arrayValue(code, what);
      case 'described':
        return this.#describedValue(what);
      default:
        return this.#fixedValue(code, this.#take(widthOf(code), what), what);
    }
  }

  #fixedValue(code: number, at: number, what: string): AmqpValue {
    const { buffer } = this;
    switch (code) {
      case Code.uint0:
        return { type: 'uint', value: 0 };
      case Code.smalluint:
        return { type: 'uint', value: buffer[at]! };
      case Code.uint:
        return { type: 'uint', value: readUint32(buffer, at) };
      case Code.ulong0:
        return { type: 'ulong', value: 0n };
      case Code.smallulong:
        return { type: 'ulong', value: BigInt(buffer[at]!) };
      case Code.ulong:
        return { type: 'ulong', value: buffer.readBigUInt64BE(at) };
      case Code.smallint:
        return { type: 'int', value: buffer.readInt8(at) };
      case Code.int:
        return { type: 'int', value: buffer.readInt32BE(at) };
      case Code.smalllong:
        return { type: 'long', value: BigInt(buffer.readInt8(at)) };
      case Code.long:
        return { type: 'long', value: buffer.readBigInt64BE(at) };
      case Code.timestamp:
        return { type: 'timestamp', value: buffer.readBigInt64BE(at) };
      case Code.ubyte:
        return { type: 'ubyte', value: buffer[at]! };
      case Code.byte:
        return { type: 'byte', value: buffer.readInt8(at) };
      case Code.ushort:
        return { type: 'ushort', value: readUint16(buffer, at) };
      case Code.short:
        return { type: 'short', value: buffer.readInt16BE(at) };
      case Code.float:
        return { type: 'float', value: buffer.readFloatBE(at) };
      case Code.double:
        return { type: 'double', value: buffer.readDoubleBE(at) };
      case Code.char:
        return { type: 'char', value: this.#codePoint(at, what) };
      default: {
        const type = TYPE_OF[code] as 'decimal32' | 'decimal64' | 'decimal128' | 'uuid';
        return { type, value: buffer.subarray(at, this.at) };
      }
    }
  }

  #codePoint(at: number, what: string): number {
    const value = readUint32(this.buffer, at);
    if (value > 0x10_ffff || (value >= 0xd800 && value <= 0xdfff)) {
      throw decodeError(`${what} is a char of 0x${hex(value)}, which Unicode has not`);
    }
    return value;
  }

  #describedValue(what: string): AmqpValue {
    this.#down(what);
    const descriptor = this.value(what);
    const value = this.value(what);
    this.#depth--;
    return { type: 'described', descriptor, value };
  }

  #listValue(code: number, what: string): AmqpValue {
    if (code === Code.list0) return { type: 'list', value: [] };
    const outerEnd = this.end;
    const count = this.#enterCompound(code, what);
    if (count > this.end - this.at) throw tooMany(what, count, 'values');
    const value: AmqpValue[] = [];
    for (let i = 0; i < count; i++) value.push(this.value(what));
    this.#leaveCompound(what, outerEnd);
    return { type: 'list', value };
  }

  #mapValue(code: number, what: string): AmqpValue {
    const outerEnd = this.end;
    const value: [AmqpValue, AmqpValue][] = [];
    for (let pairs = this.#enterMap(code, what); pairs > 0; pairs--) value.push([this.value(what), this.value(what)]);
    this.#leaveCompound(what, outerEnd);
    return { type: 'map', value };
  }

  /** How many pairs follow. */
  #enterMap(code: number, what: string): number {
    const count = this.#enterCompound(code, what);
    if (count > this.end - this.at) throw tooMany(what, count, 'values');
    if (count % 2 !== 0) throw decodeError(`${what} is a map with a key without a value`);
    return count / 2;
  }

  /** Narrows `end` to a list, map or array; how many values follow. To be followed by #leaveCompound. */
  #enterCompound(code: number, what: string): number {
    this.#down(what);
    const sizeBytes = sizeBytesOf(code);
    const size = this.#size(sizeBytes, what);
    if (size > this.end - this.at) throw truncated(what);
    this.end = this.at + size;
    return this.#size(sizeBytes, what);
  }

  #leaveCompound(what: string, outerEnd: number): void {
    if (this.at !== this.end) throw decodeError(`${what} is longer than what is in it`);
    this.end = outerEnd;
    this.#depth--;
  }

  #arrayValue(arrayCode: number, what: string): AmqpValue {
    const outerEnd = this.end;
    const count = this.#enterCompound(arrayCode, what);
    const outerDepth = this.#depth;
    const descriptors: AmqpValue[] = [];
    // An empty one without a constructor is not quite right, but clear.
    let code: number = count === 0 && this.at === this.end ? Code.null : this.code(what);
    while (code === Code.described) {
      this.#down(what);
      descriptors.push(this.value(what));
      code = this.code(what);
    }
    const type = TYPE_OF[code];
    if (type === undefined) throw decodeError(`${what} has elements of the constructor 0x${hex(code)}`);
    this.#countElements(count, widthOf(code), what);
    const value: AmqpValue[] = [];
    for (let i = 0; i < count; i++) {
      let element = this.#valueOf(code, what);
      for (let d = descriptors.length - 1; d >= 0; d--) {
        element = { type: 'described', descriptor: descriptors[d]!, value: element };
      }
      value.push(element);
    }
    this.#depth = outerDepth;
    this.#leaveCompound(what, outerEnd);
    return { type: 'array', value, elementType: descriptors.length > 0 ? 'described' : type };
  }

  #countElements(count: number, width: number, what: string): void {
    if (width > 0) {
      if (count > (this.end - this.at) / width) throw tooMany(what, count, 'elements');
      return;
    }
    this.#emptyElements += count;
    if (this.#emptyElements > EMPTY_ELEMENTS_MAX) {
      throw decodeError(`${what} has more than ${EMPTY_ELEMENTS_MAX} array elements without bytes`);
    }
  }

  /** Goes past a value without looking into it. Returns its constructor, that behind descriptors. */
  skip(what: string): number {
    let code = this.code(what);
    for (let descriptors = 0; code === Code.described; descriptors++) {
      if (descriptors === DEPTH_MAX) throw decodeError(`${what} is nested more than ${DEPTH_MAX} deep`);
      const descriptorCode = this.code(what);
      if (descriptorCode === Code.described) throw decodeError(`${what} has a descriptor with a descriptor`);
      this.#skipBehind(descriptorCode, what);
      code = this.code(what);
    }
    this.#skipBehind(code, what);
    return code;
  }

  #skipBehind(code: number, what: string): void {
    if (TYPE_OF[code] === undefined)
      throw decodeError(`${what} has the constructor 0x${hex(code)}, which there is not`);
    const sizeBytes = sizeBytesOf(code);
    const size = sizeBytes === 0 ? widthOf(code) : this.#size(sizeBytes, what);
    this.#take(size, what);
  }
}

/** The value that fills the bytes [start, end). */
export function readValue(buffer: Buffer, start: number, end: number, what = 'value'): AmqpValue {
  const reader = new Reader(buffer, start, end);
  const value = reader.value(what);
  if (reader.at !== end) throw decodeError(`${what} is followed by something`);
  return value;
}

function isAsciiText(text: string): boolean {
  return Buffer.byteLength(text) === text.length;
}

function truncated(what: string): Error {
  return decodeError(`${what} ends too early`);
}

function tooMany(what: string, count: number, of: string): Error {
  return decodeError(`${what} says it has ${count} ${of}, more than there are bytes`);
}

function wrongType(what: string, code: number, expected: string): Error {
  return decodeError(`${what} is ${TYPE_OF[code] ?? `of the constructor 0x${hex(code)}`}, not ${expected}`);
}

function hex(value: number): string {
  return value.toString(16).padStart(2, '0');
}
