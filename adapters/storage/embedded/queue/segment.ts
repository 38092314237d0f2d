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
  /** Source bytes not copied yet: messages that lie side by side where they were made are copied at once. */
  private run: Buffer | undefined;
  private runStart = 0;
  private runEnd = 0;

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

  /** Takes the message in; its bytes must stay as they are until `flush`. False when there is no room left. */
  append(message: Message, storedAt: number): boolean {
    const at = this.positions[this.count]!;
    const end = at + message.bytes;
    if (end > this.buffer.length || this.count === this.storedAts.length) return false;
    if (message.buffer !== this.run || message.start !== this.runEnd) {
      this.flush();
      this.run = message.buffer;
      this.runStart = message.start;
    }
    this.runEnd = message.end;
    this.storedAts[this.count] = storedAt;
    this.youngestAt = storedAt;
    this.positions[++this.count] = end;
    return true;
  }

  /** Copies what was taken in. */
  flush(): void {
    if (this.run === undefined) return;
    const end = this.positions[this.count]!;
    this.run.copy(this.buffer, end - (this.runEnd - this.runStart), this.runStart, this.runEnd);
    this.run = undefined;
  }

  get(offset: number, topic: string, queue: number): StoredMessage {
    if (this.run !== undefined) this.flush();
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
