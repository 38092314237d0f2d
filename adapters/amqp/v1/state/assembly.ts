import type { TransferFrame } from '../codec/hot-frames.ts';
import type { DeliveryState } from '../codec/performatives.ts';

const BYTES_MIN = 1024;

/**
 * A delivery that comes in several transfers (AMQP 2.6.14). Its bytes are copied together, so that they pin none of the
 * chunks they came in; the memory there is for them grows with what has come.
 */
export class Assembly {
  readonly deliveryId: number;
  readonly messageFormat: number;
  /** As the last transfer that said so has it. */
  isSettled = false;
  state: DeliveryState | undefined = undefined;
  receiverSettleMode: TransferFrame['receiverSettleMode'] = -1;
  bytes: Buffer = Buffer.allocUnsafeSlow(BYTES_MIN);
  length = 0;

  constructor({ deliveryId, messageFormat }: TransferFrame) {
    this.deliveryId = deliveryId;
    this.messageFormat = Math.max(0, messageFormat);
  }

  add({ settled, state, receiverSettleMode, buffer, payloadStart, payloadEnd }: TransferFrame): void {
    if (settled) this.isSettled = true;
    if (state !== undefined) this.state = state;
    if (receiverSettleMode >= 0) this.receiverSettleMode = receiverSettleMode;
    const length = this.length + payloadEnd - payloadStart;
    if (length > this.bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(length, this.bytes.length * 2));
      this.bytes.copy(larger, 0, 0, this.length);
      this.bytes = larger;
    }
    buffer.copy(this.bytes, this.length, payloadStart, payloadEnd);
    this.length = length;
  }
}
