import { readUint16, readUint32 } from './bytes.ts';
import { decodeError } from './codec-error.ts';
import { Code, SIZED, sizeBytesOf, skipOf, TYPE_OF, widthOf } from './constructors.ts';
import type { AmqpMap } from './performatives.ts';
import { DEPTH_MAX, hex, ScalarReader, truncated, wrongType } from './scalar-reader.ts';
import type { AmqpValue } from './values.ts';

/** How many array elements without a byte of their own one frame may have: they are work that nobody sent. */
export const EMPTY_ELEMENTS_MAX = 4096;

const NULL: AmqpValue = { type: 'null' };
const TRUE: AmqpValue = { type: 'boolean', value: true };
const FALSE: AmqpValue = { type: 'boolean', value: false };

/**
 * Reads values of AMQP part 1 from the bytes [at, end) and checks them on the way: nothing is allocated or looped over
 * for a size or a count before it is known to fit into the bytes that are there. Binaries are views of the buffer.
 * What goes wrong is named by `what`: `open.container-id`.
 */
export class Reader extends ScalarReader {
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
        return code === Code.true || (code === Code.boolean && this.booleanByte(what)) ? TRUE : FALSE;
      case 'string':
      case 'symbol':
        return { type, value: this.text(code, what) };
      case 'binary': {
        const start = this.take(this.sizeOf(sizeBytesOf(code), what), what);
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
        return this.#fixedValue(code, this.take(widthOf(code), what), what);
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
    this.down(what);
    const descriptor = this.value(what);
    const value = this.value(what);
    this.depth--;
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
    this.down(what);
    const sizeBytes = sizeBytesOf(code);
    const size = this.sizeOf(sizeBytes, what);
    if (size > this.end - this.at) throw truncated(what);
    this.end = this.at + size;
    return this.sizeOf(sizeBytes, what);
  }

  #leaveCompound(what: string, outerEnd: number): void {
    if (this.at !== this.end) throw decodeError(`${what} is longer than what is in it`);
    this.end = outerEnd;
    this.depth--;
  }

  #arrayValue(arrayCode: number, what: string): AmqpValue {
    const outerEnd = this.end;
    const count = this.#enterCompound(arrayCode, what);
    const outerDepth = this.depth;
    const descriptors: AmqpValue[] = [];
    // An empty one without a constructor is not quite right, but clear.
    let code: number = count === 0 && this.at === this.end ? Code.null : this.code(what);
    while (code === Code.described) {
      this.down(what);
      descriptors.push(this.value(what));
      code = this.code(what);
    }
    const type = TYPE_OF[code];
    if (type === undefined) throw decodeError(`${what} has elements of the constructor 0x${hex(code)}`);
    this.#countElements(count, widthOf(code), descriptors.length, what);
    const value: AmqpValue[] = [];
    for (let i = 0; i < count; i++) {
      let element = this.#valueOf(code, what);
      for (let d = descriptors.length - 1; d >= 0; d--) {
        element = { type: 'described', descriptor: descriptors[d]!, value: element };
      }
      value.push(element);
    }
    this.depth = outerDepth;
    this.#leaveCompound(what, outerEnd);
    return { type: 'array', value, elementType: descriptors.length > 0 ? 'described' : type };
  }

  /** Refuses more elements than bytes; what is more work than the bytes stand for has a limit of its own. */
  #countElements(count: number, width: number, descriptors: number, what: string): void {
    if (width > 0 && count > (this.end - this.at) / width) throw tooMany(what, count, 'elements');
    // A descriptor is written once and read for every element.
    this.emptyElements += count * ((width === 0 ? 1 : 0) + Math.max(0, descriptors - 1));
    if (this.emptyElements > EMPTY_ELEMENTS_MAX) {
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
    let bytes = skipOf(code);
    if (bytes < 0) throw decodeError(`${what} has the constructor 0x${hex(code)}, which there is not`);
    if (bytes > SIZED) bytes = this.sizeOf(bytes === SIZED + 1 ? 1 : 4, what);
    this.take(bytes, what);
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

function tooMany(what: string, count: number, of: string): Error {
  return decodeError(`${what} says it has ${count} ${of}, more than there are bytes`);
}
