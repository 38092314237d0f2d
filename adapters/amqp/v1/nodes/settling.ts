import type { Broker } from '../../../../core/broker.ts';
import type { Logger } from '../../../../core/ports/logger.ts';
import type { Receipt, SettleAction, Settlement } from '../../../../core/ports/message-engine.ts';

/** The verdicts of all AMQP clients in one turn of the event loop, as one batch for the broker. */
export class Settling {
  private readonly broker: Broker;
  private readonly log: Logger;
  private batch: Settlement[] = [];
  private scheduled = false;
  private durable: (() => void)[] = [];

  constructor(broker: Broker, log: Logger) {
    this.broker = broker;
    this.log = log;
  }

  /** @param onDurable called when it has taken effect for good, or can no more */
  settle(receipt: Receipt, action: SettleAction, onDurable?: () => void): void {
    this.batch.push({ receipt, action });
    if (onDurable !== undefined) this.durable.push(onDurable);
    if (this.scheduled) return;
    this.scheduled = true;
    this.broker.clock.soon(() => this.flush());
  }

  private flush(): void {
    this.scheduled = false;
    const { batch, durable } = this;
    this.batch = [];
    this.durable = [];
    this.broker
      .settle(batch)
      .catch((error: unknown) => this.log.error({ err: error }, 'verdicts on messages could not be stored'))
      .finally(() => {
        for (const done of durable) done();
      });
  }
}
