import type { Broker } from '../../../../core/broker.ts';
import type { Logger } from '../../../../core/ports/logger.ts';
import type { Receipt, SettleAction, Settlement } from '../../../../core/ports/message-engine.ts';

/** The verdicts of all AMQP clients in one turn of the event loop, as one batch for the broker. */
export class Settling {
  private readonly broker: Broker;
  private readonly log: Logger;
  private batch: Settlement[] = [];
  private waiting: (() => void)[] = [];
  private isScheduled = false;
  private running = 0;
  private last: Promise<unknown> = Promise.resolve();

  constructor(broker: Broker, log: Logger) {
    this.broker = broker;
    this.log = log;
  }

  settle(receipt: Receipt, action: SettleAction): void {
    this.batch.push({ receipt, action });
    if (this.isScheduled) return;
    this.isScheduled = true;
    this.broker.clock.soon(() => this.flush());
  }

  /** Calls back when everything settled so far is durable, or can take effect no more. */
  whenSettled(done: () => void): void {
    if (this.batch.length > 0) this.waiting.push(done);
    else if (this.running > 0) void this.last.finally(done);
    else done();
  }

  private flush(): void {
    this.isScheduled = false;
    const { batch, waiting } = this;
    this.batch = [];
    this.waiting = [];
    this.running++;
    this.last = this.broker
      .settle(batch)
      .catch((error: unknown) => this.log.error({ err: error }, 'verdicts on messages could not be stored'))
      .finally(() => {
        this.running--;
        for (const done of waiting) done();
      });
  }
}
