import type { ByteStream } from './transport.ts';

/** Why nothing is read from a client for now. */
export type HoldReason =
  /** A packet has to be awaited, and holds back those behind it. */
  | 'waiting'
  /** More messages are on their way into the store than were agreed on. */
  | 'full'
  /** The client published faster than it may. */
  | 'paced'
  /** The gateway goes down. */
  | 'stopped';

/** Reads from a stream as long as there is no reason not to. */
export class ReadGate {
  private readonly stream: ByteStream;
  private readonly reasons = new Set<HoldReason>();

  constructor(stream: ByteStream) {
    this.stream = stream;
  }

  get isHeld(): boolean {
    return this.reasons.size > 0;
  }

  has(reason: HoldReason): boolean {
    return this.reasons.has(reason);
  }

  hold(reason: HoldReason): void {
    this.reasons.add(reason);
    this.stream.pause();
  }

  release(reason: HoldReason): void {
    this.reasons.delete(reason);
    if (this.reasons.size === 0) this.stream.resume();
  }
}
