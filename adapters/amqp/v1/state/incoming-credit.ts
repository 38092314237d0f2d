import { after, distance } from './serial.ts';

/** What the sender of an incoming link may send (AMQP 2.6.7): a window of messages that have no answer yet. */
export class IncomingCredit {
  /** Messages the sender may still send. */
  credit = 0;
  deliveryCount: number;
  /** Messages that may be on their way or without an answer; 0 until it is known. */
  private max = 0;
  /** Deliveries without an answer. */
  unanswered = 0;
  private isWithheld = false;

  constructor(initialDeliveryCount: number) {
    this.deliveryCount = initialDeliveryCount;
  }

  open(max: number): void {
    this.max = max;
  }

  /**
   * Whether the sender is to get credit again: half of it has been answered, or it has none left. Otherwise every answer
   * would be a flow.
   */
  get isGrantDue(): boolean {
    const gap = this.max - this.unanswered - this.credit;
    return !this.isWithheld && gap > 0 && (gap >= this.max / 2 || this.credit === 0);
  }

  /** A message is here, whole or aborted. */
  received(): void {
    this.deliveryCount = after(this.deliveryCount);
    if (this.credit > 0) this.credit--;
    this.unanswered++;
  }

  answered(): void {
    if (this.unanswered > 0) this.unanswered--;
  }

  /** The sender says how far it is: it used up credit without sending. */
  onDeliveryCount(deliveryCount: number): void {
    const skipped = distance(this.deliveryCount, deliveryCount);
    if (skipped <= 0) return;
    this.deliveryCount = deliveryCount;
    this.credit = Math.max(0, this.credit - skipped);
  }

  withhold(): void {
    this.isWithheld = true;
  }

  resume(): void {
    this.isWithheld = false;
  }

  /** To be told to the sender with the next flow. */
  grant(): void {
    this.credit = this.max - this.unanswered;
  }
}
