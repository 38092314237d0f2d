import type { FrameSink } from '../frame-sink.ts';

/** A message whose first transfer is written: what is left of it, for want of room in that frame or in the window. */
export class PartialTransfer {
  readonly handle: number;
  private readonly head: Buffer;
  private headAt = 0;
  private readonly buffer: Buffer;
  private at: number;
  private readonly end: number;

  /** @param written bytes that have gone, of head and [start, end) together */
  constructor(
    handle: number,
    head: Buffer,
    headEnd: number,
    buffer: Buffer,
    start: number,
    end: number,
    written: number,
  ) {
    this.handle = handle;
    // The head is the caller's again.
    this.head = written < headEnd ? Buffer.from(head.subarray(written, headEnd)) : EMPTY;
    this.buffer = buffer;
    this.at = start + Math.max(0, written - headEnd);
    this.end = end;
  }

  get isDone(): boolean {
    return this.headAt === this.head.length && this.at === this.end;
  }

  /** Writes one transfer. */
  writeTo(sink: FrameSink, channel: number): void {
    const { head, headAt, buffer, at, end } = this;
    const written = sink.furtherTransfer(channel, this.handle, head, headAt, buffer, at, end);
    const ofHead = Math.min(written, head.length - headAt);
    this.headAt += ofHead;
    this.at += written - ofHead;
  }
}

const EMPTY = Buffer.alloc(0);
