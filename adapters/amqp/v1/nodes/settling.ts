import type { Broker } from '../../../../core/broker.ts';
import type { Outcome } from '../../../../core/model/broker-error.ts';
import type { Logger } from '../../../../core/ports/logger.ts';
import type { Receipt, SettleAction, Settled, Settlement } from '../../../../core/ports/message-engine.ts';

/** The verdicts of all AMQP clients in one turn of the event loop, as one batch for the broker. */
export class Settling {
  private readonly broker: Broker;
  private readonly log: Logger;
  private batch: Settlement[] = [];
  private waiting: (() => void)[] = [];
  private isScheduled = false;
  private running = 0;
  private last = Promise.resolve(true);

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

  /** Calls back when everything settled so far is durable, or came too late; never when the storage has not taken it. */
  whenSettled(done: () => void): void {
    if (this.batch.length > 0) this.waiting.push(done);
    else if (this.running > 0) void tellWhen(this.last, done);
    else done();
  }

  private flush(): void {
    this.isScheduled = false;
    const { batch, waiting } = this;
    this.batch = [];
    this.waiting = [];
    this.running++;
    this.last = this.store(batch, waiting);
  }

  private async store(batch: readonly Settlement[], waiting: readonly (() => void)[]): Promise<boolean> {
    let isStored = false;
    try {
      isStored = areStored(await this.broker.settle(batch));
    } catch (error) {
      this.log.error({ err: error }, 'verdicts on messages could not be stored');
    }
    this.running--;
    if (isStored) for (const done of waiting) done();
    return isStored;
  }
}

async function tellWhen(stored: Promise<boolean>, done: () => void): Promise<void> {
  if (await stored) done();
}

/** A receipt that is not good any more changes nothing, now or later. */
function areStored(outcomes: readonly Outcome<Settled>[]): boolean {
  return outcomes.every((outcome) => outcome.ok || outcome.error.code === 'STALE_RECEIPT');
}
