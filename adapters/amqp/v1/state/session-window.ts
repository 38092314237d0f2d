import type { FlowFrame } from '../codec/hot-frames.ts';
import type { Begin } from '../codec/performatives.ts';
import { after, distance } from './serial.ts';

/** The transfers a session may carry in both directions (AMQP 2.5.6). */
export class SessionWindow {
  /** Of the transfer we expect next. */
  nextIncomingId = 0;
  /** Transfers the peer may still send. */
  incoming: number;
  /** Of the transfer we send next. */
  nextOutgoingId = 0;
  /** Transfers we may still send: the peer's remote incoming window. */
  outgoing = 0;
  private readonly incomingMax: number;

  constructor(incomingMax: number) {
    this.incoming = incomingMax;
    this.incomingMax = incomingMax;
  }

  /** Half of the window is used: the peer is to hear that it is whole again, before it has to wait. */
  get isReplenishDue(): boolean {
    return this.incoming <= this.incomingMax >> 1;
  }

  onBegin({ nextOutgoingId, incomingWindow }: Begin): void {
    this.nextIncomingId = nextOutgoingId;
    this.outgoing = incomingWindow;
  }

  /** Whether the peer was allowed to send the transfer. */
  onTransfer(): boolean {
    if (this.incoming === 0) return false;
    this.incoming--;
    this.nextIncomingId = after(this.nextIncomingId);
    return true;
  }

  onFlow({ nextIncomingId, incomingWindow, nextOutgoingId }: FlowFrame): void {
    this.nextIncomingId = nextOutgoingId;
    // A peer that has not seen our begin counts from where we did, which is 0.
    const inFlight = Math.max(0, distance(nextIncomingId < 0 ? 0 : nextIncomingId, this.nextOutgoingId));
    this.outgoing = Math.max(0, incomingWindow - inFlight);
  }

  sent(): void {
    this.nextOutgoingId = after(this.nextOutgoingId);
    this.outgoing--;
  }

  /** To be told to the peer with the next flow. */
  replenish(): void {
    this.incoming = this.incomingMax;
  }
}
