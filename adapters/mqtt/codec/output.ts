import { STRING_BYTES_MAX } from './utf8.ts';
import { varintLength, writeUint16, writeVarint } from './bytes.ts';

/**
 * Where the fields of a packet are written one after the other. Without a target it only measures, so that the length
 * and the bytes of a packet come from the same code. The caller sees to it that the target has room.
 */
export class Output {
  at: number;
  readonly #target: Buffer | null;

  constructor(target: Buffer | null, at: number) {
    this.#target = target;
    this.at = at;
  }

  byte(value: number): void {
    if (this.#target !== null) this.#target[this.at] = value;
    this.at += 1;
  }

  uint16(value: number): void {
    if (this.#target !== null) writeUint16(this.#target, this.at, value);
    this.at += 2;
  }

  uint32(value: number): void {
    if (this.#target !== null) this.#target.writeUInt32BE(value, this.at);
    this.at += 4;
  }

  varint(value: number): void {
    if (this.#target !== null) writeVarint(this.#target, this.at, value);
    this.at += varintLength(value);
  }

  /** A UTF-8 Encoded String. Lone surrogates become U+FFFD. Throws RangeError above 65,535 bytes or with U+0000. */
  string(value: string): void {
    const length = Buffer.byteLength(value);
    if (length > STRING_BYTES_MAX) throw new RangeError(`a string of ${length} bytes is too long for MQTT`);
    if (value.includes('\0')) throw new RangeError('MQTT strings cannot contain U+0000 [MQTT-1.5.4-2]');
    this.uint16(length);
    if (this.#target !== null) this.#target.write(value, this.at, length);
    this.at += length;
  }

  /** Binary Data: two bytes of length, then the bytes. Throws RangeError above 65,535 bytes. */
  binary(value: Buffer): void {
    if (value.length > STRING_BYTES_MAX) throw new RangeError(`${value.length} bytes are too many for binary data`);
    this.uint16(value.length);
    this.bytes(value);
  }

  bytes(value: Buffer): void {
    if (this.#target !== null) value.copy(this.#target, this.at);
    this.at += value.length;
  }
}
