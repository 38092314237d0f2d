import { crc32 } from 'node:zlib';
import { StoredMessage, type Message } from '../../../../core/model/message.ts';

/**
 * A run of consecutive messages of one queue: their bytes back to back, and an index. This is what is written to disk and
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
 * | 32 | 4         | bytes of the messages                                    |
 * | 36 |           | the messages (message-layout.ts), zeros up to 4 bytes    |
 * |    | 4 * count | where each message ends, from the start of the messages  |
 * |    | 4 * count | when it was stored, milliseconds after the first         |
 */
const HEADER_BYTES = 36;
const MAGIC = 0x4b4c4247;
/** Messages average more than this; a block whose index is full is closed like one whose bytes are full. */
const BYTES_PER_ENTRY = 64;
const ENTRIES_MIN = 16;

/** What of a message is stored: all a queue needs to know of it. */
export type MessageBytes = Pick<Message, 'buffer' | 'start' | 'end'>;

export class DamagedBlockError extends Error {
  override readonly name = 'DamagedBlockError';
  readonly code = 'CORRUPT';
}

export class Block {
  readonly baseOffset: number;
  count = 0;
  /** The header's place, the messages, and room for the index: it is written without being copied again. */
  private readonly buffer: Buffer;
  /** Behind the last byte for messages. */
  private readonly dataLimit: number;
  private readonly ends: Uint32Array;
  private readonly ages: Uint32Array;
  private baseTime = 0;
  /** Source bytes not copied yet: messages that lie side by side where they were made are copied at once. */
  private run: Buffer | undefined;
  private runStart = 0;
  private runEnd = 0;

  private constructor(baseOffset: number, buffer: Buffer, dataLimit: number, ends: Uint32Array, ages: Uint32Array) {
    this.baseOffset = baseOffset;
    this.buffer = buffer;
    this.dataLimit = dataLimit;
    this.ends = ends;
    this.ages = ages;
  }

  /** An empty one with room for that many bytes of messages. */
  static empty(baseOffset: number, dataBytes: number): Block {
    return Block.sized(baseOffset, dataBytes, Math.max(ENTRIES_MIN, Math.ceil(dataBytes / BYTES_PER_ENTRY)));
  }

  /** An empty one in the memory of this one, whose messages nobody holds any more. Undefined when its room is not that large. */
  reused(baseOffset: number, dataBytes: number): Block | undefined {
    if (this.dataLimit !== HEADER_BYTES + dataBytes) return undefined;
    return new Block(baseOffset, this.buffer, this.dataLimit, this.ends, this.ages);
  }

  /** One with the messages of several that follow each other. */
  static merge(blocks: readonly Block[]): Block {
    const sum = (of: (block: Block) => number): number => blocks.reduce((total, block) => total + of(block), 0);
    const [first] = blocks;
    const merged = Block.sized(
      first!.baseOffset,
      sum((block) => block.dataBytes),
      sum((block) => block.count),
    );
    merged.baseTime = first!.baseTime;
    for (const block of blocks) merged.addAll(block);
    return merged;
  }

  private static sized(baseOffset: number, dataBytes: number, entries: number): Block {
    const dataLimit = HEADER_BYTES + dataBytes;
    const buffer = Buffer.allocUnsafeSlow(roundUp(dataLimit) + 8 * entries);
    return new Block(baseOffset, buffer, dataLimit, new Uint32Array(entries), new Uint32Array(entries));
  }

  /** Memory it takes. */
  get capacityBytes(): number {
    return this.buffer.length + this.ends.byteLength * 2;
  }
  get dataBytes(): number {
    return this.count === 0 ? 0 : this.ends[this.count - 1]!;
  }
  get encodedBytes(): number {
    return roundUp(HEADER_BYTES + this.dataBytes) + 8 * this.count;
  }
  get nextOffset(): number {
    return this.baseOffset + this.count;
  }
  /** When the youngest message was stored. */
  get youngestAt(): number {
    return this.count === 0 ? 0 : this.baseTime + this.ages[this.count - 1]!;
  }

  /** Takes the message in; its bytes must stay as they are until `flush`. False when there is no room left. */
  append(message: MessageBytes, storedAt: number): boolean {
    const { count } = this;
    const end = (count === 0 ? 0 : this.ends[count - 1]!) + message.end - message.start;
    if (HEADER_BYTES + end > this.dataLimit || count === this.ends.length) return false;
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
    const end = HEADER_BYTES + this.dataBytes;
    this.run.copy(this.buffer, end - (this.runEnd - this.runStart), this.runStart, this.runEnd);
    this.run = undefined;
  }

  private addAll(other: Block): void {
    other.flush();
    const { dataBytes } = this;
    other.buffer.copy(this.buffer, HEADER_BYTES + dataBytes, HEADER_BYTES, HEADER_BYTES + other.dataBytes);
    for (let i = 0; i < other.count; i++) {
      this.ends[this.count + i] = dataBytes + other.ends[i]!;
      this.ages[this.count + i] = other.baseTime + other.ages[i]! - this.baseTime;
    }
    this.count += other.count;
  }

  get(offset: number, topic: string, queue: number): StoredMessage {
    if (this.run !== undefined) this.flush();
    const i = offset - this.baseOffset;
    const start = HEADER_BYTES + (i === 0 ? 0 : this.ends[i - 1]!);
    const end = HEADER_BYTES + this.ends[i]!;
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

  /** The bytes for the disk. Nothing may be appended afterwards: they are its own. */
  encode(queueSerial: number): Buffer {
    this.flush();
    const { buffer, count, dataBytes } = this;
    buffer.writeUInt32LE(MAGIC, 4);
    buffer.writeUInt32LE(queueSerial, 8);
    buffer.writeUInt32LE(count, 12);
    buffer.writeDoubleLE(this.baseOffset, 16);
    buffer.writeDoubleLE(this.baseTime, 24);
    buffer.writeUInt32LE(dataBytes, 32);
    const dataEnd = HEADER_BYTES + dataBytes;
    const indexAt = roundUp(dataEnd);
    buffer.fill(0, dataEnd, indexAt);
    uint32s(buffer, indexAt, count).set(this.ends.subarray(0, count));
    uint32s(buffer, indexAt + 4 * count, count).set(this.ages.subarray(0, count));
    const bytes = buffer.subarray(0, this.encodedBytes);
    bytes.writeUInt32LE(crc32(bytes.subarray(4)), 0);
    return bytes;
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
    const dataLimit = HEADER_BYTES + buffer.readUInt32LE(32);
    const indexAt = roundUp(dataLimit);
    const [ends, ages] = [uint32s(buffer, indexAt, count), uint32s(buffer, indexAt + 4 * count, count)];
    const block = new Block(baseOffset, buffer, dataLimit, ends, ages);
    block.count = count;
    block.baseTime = buffer.readDoubleLE(24);
    return block;
  }
}

/** To where numbers of 4 bytes may stand. */
function roundUp(bytes: number): number {
  return (bytes + 3) & ~3;
}

function uint32s(buffer: Buffer, at: number, count: number): Uint32Array {
  return new Uint32Array(buffer.buffer, buffer.byteOffset + at, count);
}
