import type { ByteStream } from './transport.ts';

/** Why nothing is read from a client for now. */
export type HoldReason =
  /** It is being found out who the client is. */
  | 'login'
  /** The client does not take what is sent to it. */
  | 'blocked'
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
    if (this.reasons.size === 0) this.stream.pause();
    this.reasons.add(reason);
  }

  release(reason: HoldReason): void {
    if (this.reasons.delete(reason) && this.reasons.size === 0) this.stream.resume();
  }
}
