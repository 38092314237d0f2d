import type { FlowFrame } from '../codec/hot-frames.ts';
import { after, distance } from './serial.ts';

/** How many messages the receiver of an outgoing link wants (AMQP 2.6.7). */
export class OutgoingCredit {
  credit = 0;
  deliveryCount = 0;
  /** The receiver wants the rest of its credit back as soon as there is nothing to send. */
  isDraining = false;

  onFlow({ deliveryCount, linkCredit, drain }: FlowFrame): void {
    this.isDraining = drain;
    if (linkCredit < 0) return;
    // A receiver that has not seen our attach counts from where we did, which is 0. One that is ahead of us is mistaken.
    const unseen = Math.max(0, distance(deliveryCount < 0 ? 0 : deliveryCount, this.deliveryCount));
    this.credit = Math.max(0, linkCredit - unseen);
  }

  sent(): void {
    this.deliveryCount = after(this.deliveryCount);
    this.credit--;
  }

  /** Gives the rest back, at once whatever it is (AMQP 2.6.7: the delivery count moves as if it had been sent). */
  drained(): void {
    this.deliveryCount = after(this.deliveryCount, this.credit);
    this.credit = 0;
    this.isDraining = false;
  }
}
