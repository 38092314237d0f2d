import type { ByteStream } from './transport.ts';

/** Whatever finds packets in the bytes of a stream, and keeps those that come while it is paused. */
export interface Pausable {
  pause(): void;
  resume(): void;
}

type AnyReason<Reason> =
  | Reason
  /** A packet has to be awaited, and holds back those behind it. */
  | 'waiting'
  /** The gateway goes down. */
  | 'stopped';

/** Reads from a stream as long as there is no reason not to; a protocol has reasons of its own besides. */
export class ReadGate<Reason extends string = never> {
  private readonly stream: ByteStream;
  private readonly decoder: Pausable;
  private readonly reasons = new Set<AnyReason<Reason>>();

  constructor(stream: ByteStream, decoder: Pausable) {
    this.stream = stream;
    this.decoder = decoder;
  }

  get isHeld(): boolean {
    return this.reasons.size > 0;
  }

  has(reason: Reason): boolean {
    return this.reasons.has(reason);
  }

  hold(reason: AnyReason<Reason>): void {
    if (this.reasons.size === 0) this.stream.pause();
    this.reasons.add(reason);
  }

  release(reason: AnyReason<Reason>): void {
    if (this.reasons.delete(reason) && this.reasons.size === 0) this.stream.resume();
  }

  /**
   * Holds back what comes behind a packet until the work for it is done and `proceed` has been called with what came of it.
   * There is one such packet at a time: the decoder finds no other. `failed` hears of every fault, also of what was held back.
   */
  holdFor<T>(work: Promise<T>, proceed: (result: T) => void, failed: (error: unknown) => void): void {
    this.hold('waiting');
    this.decoder.pause();
    work
      .then((result) => {
        proceed(result);
        // Before what was held back, which may hold back again what is behind it.
        this.release('waiting');
        if (!this.reasons.has('stopped')) this.decoder.resume();
      })
      .catch(failed);
  }

  /** Takes nothing more in, what was held back neither. */
  stop(): void {
    this.hold('stopped');
    this.decoder.pause();
  }
}
