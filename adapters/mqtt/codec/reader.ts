import { ownCopy, readUint16, readVarint, varintLength } from './bytes.ts';
import { malformed, protocolError } from './codec-error.ts';
import type { Properties } from './packet.ts';
import { readProperties, validateProperties } from './properties.ts';
import type { PropertyOwner } from './property-table.ts';
import { isUtf8 } from './utf8.ts';

/** Reads the fields of one packet one after the other. Every method throws CodecError 0x81 at the packet's end. */
export class Reader {
  readonly buffer: Buffer;
  at: number;
  readonly end: number;

  constructor(buffer: Buffer, at: number, end: number) {
    this.buffer = buffer;
    this.at = at;
    this.end = end;
  }

  get hasMore(): boolean {
    return this.at < this.end;
  }

  byte(field: string): number {
    this.#need(1, field);
    return this.buffer[this.at++]!;
  }

  uint16(field: string): number {
    this.#need(2, field);
    const value = readUint16(this.buffer, this.at);
    this.at += 2;
    return value;
  }

  /** @throws CodecError 0x82 when it is 0 ([MQTT-2.2.1-3]). */
  packetIdentifier(): number {
    const value = this.uint16('packet identifier');
    if (value === 0) throw protocolError('the packet identifier is 0');
    return value;
  }

  string(field: string): string {
    const length = this.uint16(field);
    this.#need(length, field);
    const start = this.at;
    this.at += length;
    if (!isUtf8(this.buffer, start, this.at)) throw malformed(`the ${field} is not valid UTF-8`);
    return this.buffer.toString('utf8', start, this.at);
  }

  binary(field: string): Buffer {
    const length = this.uint16(field);
    this.#need(length, field);
    this.at += length;
    return ownCopy(this.buffer, this.at - length, this.at);
  }

  /** A property length and its section, as an object; undefined when the section is empty. */
  properties(owner: PropertyOwner): Properties | undefined {
    const length = readVarint(this.buffer, this.at, this.end);
    const start = this.at + varintLength(length);
    this.at = start;
    this.#need(length, 'property section');
    this.at += length;
    validateProperties(this.buffer, start, this.at, owner);
    return length === 0 ? undefined : readProperties(this.buffer, start, this.at);
  }

  /** @throws CodecError 0x81 when anything is left. */
  finish(): void {
    if (this.hasMore) throw malformed('the packet has bytes after its last field');
  }

  #need(length: number, field: string): void {
    if (this.at + length > this.end) throw malformed(`the packet ends inside its ${field}`);
  }
}
