import type { Message } from '../../../../core/model/message.ts';
import { StoredMessage } from '../../../../core/model/message.ts';

/** Messages average more than this; a segment whose index is full is closed like one whose bytes are full. */
const BYTES_PER_ENTRY = 64;

/** A run of consecutive messages of one queue: their bytes back to back, and an index of where each starts. */
export class Segment {
  readonly baseOffset: number;
  count = 0;
  /** When the youngest message was stored; retention by age looks at this. */
  youngestAt = 0;
  private readonly buffer: Buffer;
  /** Entry i starts at positions[i] and ends at positions[i + 1]. */
  private readonly positions: Uint32Array;
  private readonly storedAts: Float64Array;

  constructor(baseOffset: number, bytes: number) {
    this.baseOffset = baseOffset;
    this.buffer = Buffer.allocUnsafeSlow(bytes);
    const entries = Math.max(16, Math.ceil(bytes / BYTES_PER_ENTRY));
    this.positions = new Uint32Array(entries + 1);
    this.storedAts = new Float64Array(entries);
  }

  /** Memory it holds, index included. */
  get bytes(): number {
    return this.buffer.length + this.positions.byteLength + this.storedAts.byteLength;
  }
  get nextOffset(): number {
    return this.baseOffset + this.count;
  }

  /** Copies the message in; false when there is no room left. */
  append(message: Message, storedAt: number): boolean {
    const at = this.positions[this.count]!;
    const end = at + message.bytes;
    if (end > this.buffer.length || this.count === this.storedAts.length) return false;
    message.buffer.copy(this.buffer, at, message.start, message.end);
    this.storedAts[this.count] = storedAt;
    this.youngestAt = storedAt;
    this.positions[++this.count] = end;
    return true;
  }

  get(offset: number, topic: string, queue: number): StoredMessage {
    const i = offset - this.baseOffset;
    return new StoredMessage(
      this.buffer,
      this.positions[i]!,
      this.positions[i + 1]!,
      topic,
      queue,
      offset,
      this.storedAts[i]!,
    );
  }

  storedAt(offset: number): number {
    return this.storedAts[offset - this.baseOffset]!;
  }
}
