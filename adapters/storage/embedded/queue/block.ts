import { crc32 } from 'node:zlib';
import { StoredMessage, type Message } from '../../../../core/model/message.ts';

/**
 * A run of consecutive messages of one queue: an index and their bytes back to back. This is what is written to disk and
 * read back, whole. Numbers are little endian.
 *
 * | at | size      | field                                                    |
 * |----|-----------|----------------------------------------------------------|
 * | 0  | 4         | CRC of everything behind it                              |
 * | 4  | 4         | magic                                                    |
 * | 8  | 4         | serial of the queue                                      |
 * | 12 | 4         | count of messages                                        |
 * | 16 | 8         | offset of the first message                              |
 * | 24 | 8         | when it was stored, milliseconds                         |
 * | 32 | 4 * count | where each message ends, from the start of the messages  |
 * |    | 4 * count | when it was stored, milliseconds after the first         |
 * |    |           | the messages (message-layout.ts)                         |
 */
const HEADER_BYTES = 32;
const MAGIC = 0x4b4c4247;
/** Messages average more than this; a block whose index is full is closed like one whose bytes are full. */
const BYTES_PER_ENTRY = 64;
const ENTRIES_MIN = 16;

export class DamagedBlockError extends Error {
  override readonly name = 'DamagedBlockError';
  readonly code = 'CORRUPT';
}

export class Block {
  readonly baseOffset: number;
  count = 0;
  private readonly buffer: Buffer;
  /** Where the messages start in the buffer. */
  private readonly dataStart: number;
  private readonly ends: Uint32Array;
  private readonly ages: Uint32Array;
  private baseTime = 0;
  /** Source bytes not copied yet: messages that lie side by side where they were made are copied at once. */
  private run: Buffer | undefined;
  private runStart = 0;
  private runEnd = 0;

  private constructor(baseOffset: number, buffer: Buffer, dataStart: number, ends: Uint32Array, ages: Uint32Array) {
    this.baseOffset = baseOffset;
    this.buffer = buffer;
    this.dataStart = dataStart;
    this.ends = ends;
    this.ages = ages;
  }

  /** An empty one with room for that many bytes of messages. */
  static empty(baseOffset: number, dataBytes: number): Block {
    const entries = Math.max(ENTRIES_MIN, Math.ceil(dataBytes / BYTES_PER_ENTRY));
    const buffer = Buffer.allocUnsafeSlow(dataBytes);
    return new Block(baseOffset, buffer, 0, new Uint32Array(entries), new Uint32Array(entries));
  }

  /** One with the messages of several that follow each other. */
  static merge(blocks: readonly Block[]): Block {
    const sum = (of: (block: Block) => number): number => blocks.reduce((total, block) => total + of(block), 0);
    const count = sum((block) => block.count);
    const [first] = blocks;
    const buffer = Buffer.allocUnsafeSlow(sum((block) => block.dataBytes));
    const merged = new Block(first!.baseOffset, buffer, 0, new Uint32Array(count), new Uint32Array(count));
    merged.baseTime = first!.baseTime;
    for (const block of blocks) merged.addAll(block);
    return merged;
  }

  /** Memory it takes. */
  get capacityBytes(): number {
    return this.buffer.length + (this.dataStart === 0 ? this.ends.byteLength * 2 : 0);
  }
  get dataBytes(): number {
    return this.count === 0 ? 0 : this.ends[this.count - 1]!;
  }
  get encodedBytes(): number {
    return HEADER_BYTES + 8 * this.count + this.dataBytes;
  }
  get nextOffset(): number {
    return this.baseOffset + this.count;
  }
  /** When the youngest message was stored. */
  get youngestAt(): number {
    return this.count === 0 ? 0 : this.baseTime + this.ages[this.count - 1]!;
  }

  /** Takes the message in; its bytes must stay as they are until `flush`. False when there is no room left. */
  append(message: Message, storedAt: number): boolean {
    const { count } = this;
    const end = (count === 0 ? 0 : this.ends[count - 1]!) + message.bytes;
    if (end > this.buffer.length || count === this.ends.length) return false;
    if (count === 0) this.baseTime = storedAt;
    const age = storedAt - this.baseTime;
    if (age > 0xffff_ffff) return false;
    if (message.buffer !== this.run || message.start !== this.runEnd) {
      this.flush();
      this.run = message.buffer;
      this.runStart = message.start;
    }
    this.runEnd = message.end;
    this.ages[count] = age;
    this.ends[count] = end;
    this.count = count + 1;
    return true;
  }

  /** Copies what was taken in. */
  flush(): void {
    if (this.run === undefined) return;
    const end = this.dataBytes;
    this.run.copy(this.buffer, end - (this.runEnd - this.runStart), this.runStart, this.runEnd);
    this.run = undefined;
  }

  private addAll(other: Block): void {
    other.flush();
    const { dataBytes } = this;
    other.buffer.copy(this.buffer, dataBytes, other.dataStart, other.dataStart + other.dataBytes);
    for (let i = 0; i < other.count; i++) {
      this.ends[this.count + i] = dataBytes + other.ends[i]!;
      this.ages[this.count + i] = other.baseTime + other.ages[i]! - this.baseTime;
    }
    this.count += other.count;
  }

  get(offset: number, topic: string, queue: number): StoredMessage {
    if (this.run !== undefined) this.flush();
    const i = offset - this.baseOffset;
    const start = this.dataStart + (i === 0 ? 0 : this.ends[i - 1]!);
    const end = this.dataStart + this.ends[i]!;
    return new StoredMessage(this.buffer, start, end, topic, queue, offset, this.baseTime + this.ages[i]!);
  }

  /** The first offset stored at or after the time; `nextOffset` when there is none. */
  offsetAt(time: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.baseTime + this.ages[middle]! < time) low = middle + 1;
      else high = middle;
    }
    return this.baseOffset + low;
  }

  /** The bytes for the disk. */
  encode(queueSerial: number): Buffer {
    this.flush();
    const { count, dataBytes } = this;
    const target = Buffer.allocUnsafeSlow(this.encodedBytes);
    target.writeUInt32LE(MAGIC, 4);
    target.writeUInt32LE(queueSerial, 8);
    target.writeUInt32LE(count, 12);
    target.writeDoubleLE(this.baseOffset, 16);
    target.writeDoubleLE(this.baseTime, 24);
    new Uint32Array(target.buffer, HEADER_BYTES, count).set(this.ends.subarray(0, count));
    new Uint32Array(target.buffer, HEADER_BYTES + 4 * count, count).set(this.ages.subarray(0, count));
    this.buffer.copy(target, HEADER_BYTES + 8 * count, this.dataStart, this.dataStart + dataBytes);
    target.writeUInt32LE(crc32(target.subarray(4)), 0);
    return target;
  }

  /** @throws DamagedBlockError when the bytes are not those that were written for this queue and offset */
  static decode(bytes: Buffer, queueSerial: number, baseOffset: number): Block {
    const isSound =
      bytes.length >= HEADER_BYTES &&
      bytes.readUInt32LE(0) === crc32(bytes.subarray(4)) &&
      bytes.readUInt32LE(4) === MAGIC &&
      bytes.readUInt32LE(8) === queueSerial &&
      bytes.readDoubleLE(16) === baseOffset;
    if (!isSound) throw new DamagedBlockError(`messages from offset ${baseOffset} of queue ${queueSerial} are damaged`);
    // The index is read in place, which needs it aligned.
    const buffer = bytes.byteOffset % 4 === 0 ? bytes : Buffer.from(Uint8Array.from(bytes).buffer);
    const count = buffer.readUInt32LE(12);
    const ends = new Uint32Array(buffer.buffer, buffer.byteOffset + HEADER_BYTES, count);
    const ages = new Uint32Array(buffer.buffer, buffer.byteOffset + HEADER_BYTES + 4 * count, count);
    const block = new Block(baseOffset, buffer, HEADER_BYTES + 8 * count, ends, ages);
    block.count = count;
    block.baseTime = buffer.readDoubleLE(24);
    return block;
  }
}
