import { isAscii, readUint16, readUint32, readUtf8 } from './bytes.ts';
import { decodeError } from './codec-error.ts';
import { Code, sizeBytesOf, TYPE_OF, widthOf } from './constructors.ts';
import { DESCRIPTOR_OF } from './descriptors.ts';

/** How deep lists, maps, arrays and descriptors may be in each other. */
export const DEPTH_MAX = 32;

/** The half of Reader that knows what type comes next: described lists and single values. */
export class ScalarReader {
  buffer: Buffer;
  at: number;
  end: number;
  /** Fields of the innermost list that were not read yet. */
  #left = 0;
  protected depth = 0;
  protected emptyElements = 0;

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
    this.depth = 0;
    this.emptyElements = 0;
  }

  /** The next byte: a constructor. */
  code(what: string): number {
    if (this.at >= this.end) throw truncated(what);
    return this.buffer[this.at++]!;
  }

  /** Where the next `bytes` bytes begin; they are there, and count as read. */
  protected take(bytes: number, what: string): number {
    const { at } = this;
    if (bytes > this.end - at) throw truncated(what);
    this.at = at + bytes;
    return at;
  }

  /** The size or count behind a constructor. */
  protected sizeOf(sizeBytes: 0 | 1 | 4, what: string): number {
    const at = this.take(sizeBytes, what);
    return sizeBytes === 1 ? this.buffer[at]! : readUint32(this.buffer, at);
  }

  // Described lists: performatives and what is in them.

  /** The number of the descriptor that comes next, 0x00 before it; -1 when the standard has no such descriptor. */
  descriptor(what: string): number {
    if (this.code(what) !== Code.described) throw decodeError(`${what} has no descriptor`);
    const code = this.code(what);
    if (code === Code.smallulong) return this.buffer[this.take(1, what)]!;
    if (code === Code.ulong) {
      const at = this.take(8, what);
      return readUint32(this.buffer, at) === 0 ? readUint32(this.buffer, at + 4) : -1;
    }
    if (code === Code.ulong0) return 0;
    if (code === Code.sym8 || code === Code.sym32) return DESCRIPTOR_OF.get(this.text(code, what)) ?? -1;
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
      const size = this.sizeOf(sizeBytes, what);
      if (size > this.end - this.at) throw truncated(what);
      this.end = this.at + size;
      this.#left = this.sizeOf(sizeBytes, what);
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
  list<T>(what: string, fieldsMax: number, read: (reader: this) => T): T {
    const outerEnd = this.end;
    const outerLeft = this.#left;
    this.down(what);
    this.enter(what, fieldsMax);
    const result = read(this);
    this.leave(what, outerEnd);
    this.#left = outerLeft;
    this.depth--;
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

  protected down(what: string): void {
    if (++this.depth > DEPTH_MAX) throw decodeError(`${what} is nested more than ${DEPTH_MAX} deep`);
  }

  // Single values of a known type.

  uint(what: string): number {
    const code = this.code(what);
    if (code === Code.smalluint) return this.buffer[this.take(1, what)]!;
    if (code === Code.uint0) return 0;
    if (code === Code.uint) return readUint32(this.buffer, this.take(4, what));
    throw wrongType(what, code, 'uint');
  }

  ushort(what: string): number {
    const code = this.code(what);
    if (code !== Code.ushort) throw wrongType(what, code, 'ushort');
    return readUint16(this.buffer, this.take(2, what));
  }

  ubyte(what: string): number {
    const code = this.code(what);
    if (code !== Code.ubyte) throw wrongType(what, code, 'ubyte');
    return this.buffer[this.take(1, what)]!;
  }

  ulong(what: string): bigint {
    const code = this.code(what);
    if (code !== Code.ulong0 && code !== Code.smallulong && code !== Code.ulong) throw wrongType(what, code, 'ulong');
    const at = this.take(widthOf(code), what);
    if (code === Code.ulong) return this.buffer.readBigUInt64BE(at);
    return code === Code.ulong0 ? 0n : BigInt(this.buffer[at]!);
  }

  /** A ulong that counts bytes: what is beyond 2^53 is as good as 2^53. */
  size(what: string): number {
    return Math.min(Number(this.ulong(what)), Number.MAX_SAFE_INTEGER);
  }

  boolean(what: string): boolean {
    const code = this.code(what);
    if (code === Code.true) return true;
    if (code === Code.false) return false;
    if (code === Code.boolean) return this.booleanByte(what);
    throw wrongType(what, code, 'boolean');
  }

  protected booleanByte(what: string): boolean {
    const byte = this.buffer[this.take(1, what)]!;
    if (byte > 1) throw decodeError(`${what} is a boolean of ${byte}`);
    return byte === 1;
  }

  string(what: string): string {
    const code = this.code(what);
    if (code !== Code.str8 && code !== Code.str32) throw wrongType(what, code, 'string');
    return this.text(code, what);
  }

  /** Also takes a string of ASCII: some clients do not make the difference. */
  symbol(what: string): string {
    const code = this.code(what);
    if (code === Code.sym8 || code === Code.str8) return this.text(Code.sym8, what);
    if (code === Code.sym32 || code === Code.str32) return this.text(Code.sym32, what);
    throw wrongType(what, code, 'symbol');
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
    return this.take(this.sizeOf(sizeBytesOf(code), what), what);
  }

  protected text(code: number, what: string): string {
    const start = this.take(this.sizeOf(sizeBytesOf(code), what), what);
    if (code === Code.sym8 || code === Code.sym32) {
      if (!isAscii(this.buffer, start, this.at)) throw decodeError(`${what} is a symbol with more than ASCII in it`);
      return this.buffer.toString('latin1', start, this.at);
    }
    const text = readUtf8(this.buffer, start, this.at);
    if (text === undefined) throw decodeError(`${what} is not UTF-8`);
    return text;
  }
}

export function truncated(what: string): Error {
  return decodeError(`${what} ends too early`);
}

export function wrongType(what: string, code: number, expected: string): Error {
  return decodeError(`${what} is ${TYPE_OF[code] ?? `of the constructor 0x${hex(code)}`}, not ${expected}`);
}

export function hex(value: number): string {
  return value.toString(16).padStart(2, '0');
}
