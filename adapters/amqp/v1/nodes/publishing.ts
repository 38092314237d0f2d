import type { Broker } from '../../../../core/broker.ts';
import type { Outcome } from '../../../../core/model/broker-error.ts';
import type { Logger } from '../../../../core/ports/logger.ts';
import type { OutgoingMessage, Placed } from '../../../../core/ports/message-engine.ts';

/** Whoever sent a message in, and is told what came of it. */
export interface Publisher {
  /** @param outcome undefined: it is not known, the storage has failed */
  stored(deliveryId: number, outgoing: OutgoingMessage, outcome: Outcome<Placed> | undefined): void;
}

/** Messages that go to the broker together; larger turns are handed over in parts. */
const BATCH_MAX = 1024;

class Batch {
  readonly outgoing: OutgoingMessage[] = [];
  // Columns of the same length.
  readonly publishers: Publisher[] = [];
  readonly deliveryIds: number[] = [];
}

/** What all AMQP clients sent in one turn of the event loop, as one batch for the broker. */
export class Publishing {
  private readonly broker: Broker;
  private readonly log: Logger;
  private readonly onAllStored: () => void;
  private batch = new Batch();
  private scheduled = false;
  private running = 0;

  /** @param onAllStored called when nothing is on its way: the broker is done with the bytes of the messages */
  constructor(broker: Broker, log: Logger, onAllStored: () => void) {
    this.broker = broker;
    this.log = log;
    this.onAllStored = onAllStored;
  }

  publish(publisher: Publisher, deliveryId: number, outgoing: OutgoingMessage): void {
    const { batch } = this;
    batch.outgoing.push(outgoing);
    batch.publishers.push(publisher);
    batch.deliveryIds.push(deliveryId);
    if (batch.outgoing.length >= BATCH_MAX) this.send();
    else if (!this.scheduled) {
      this.scheduled = true;
      setImmediate(() => {
        this.scheduled = false;
        if (this.batch.outgoing.length > 0) this.send();
      });
    }
  }

  private send(): void {
    const { batch } = this;
    this.batch = new Batch();
    this.running++;
    this.broker.send(batch.outgoing).then(
      (outcomes) => this.complete(batch, outcomes),
      (error: unknown) => {
        this.log.error({ err: error }, 'messages could not be stored');
        this.complete(batch, []);
      },
    );
  }

  private complete({ outgoing, publishers, deliveryIds }: Batch, outcomes: readonly Outcome<Placed>[]): void {
    for (let i = 0; i < publishers.length; i++) {
      publishers[i]!.stored(deliveryIds[i]!, outgoing[i]!, outcomes[i]);
    }
    if (--this.running === 0 && this.batch.outgoing.length === 0) this.onAllStored();
  }
}
