import type { Outcome } from '../../core/model/broker-error.ts';
import type { Broker } from '../../core/broker.ts';
import type { Logger } from '../../core/ports/logger.ts';
import type { OutgoingMessage, Placed } from '../../core/ports/message-engine.ts';
import { Turn } from '../connection/turn.ts';
import { ReasonCode } from './codec/reason-code.ts';
import { REASON_OF } from './reasons.ts';

/** Whoever published, and waits to hear what came of it. */
export interface Publisher {
  published(packetIdentifier: number, reasonCode: number): void;
}

/** Published messages that go to the broker together; larger turns are handed over in parts. */
const BATCH_MAX = 1024;

/** What was published in one turn, by all connections together, in the order it came. */
class PublishBatch {
  readonly outgoing: OutgoingMessage[] = [];
  // Those that wait for an acknowledgement, in columns of equal length.
  readonly publishers: Publisher[] = [];
  readonly packetIdentifiers: number[] = [];
  /** Index in `outgoing`; below 0 for a PUBLISH that is not sent on: -1 less its reason code. */
  readonly positions: number[] = [];
  outcomes: readonly Outcome<Placed>[] | undefined;

  get isEmpty(): boolean {
    return this.outgoing.length === 0 && this.publishers.length === 0;
  }

  /** Nobody waits for a packet identifier of 0, that of QoS 0. */
  awaitAcknowledgement(publisher: Publisher, packetIdentifier: number, position: number): void {
    if (packetIdentifier === 0) return;
    this.publishers.push(publisher);
    this.packetIdentifiers.push(packetIdentifier);
    this.positions.push(position);
  }
}

const NO_OUTCOMES: readonly Outcome<Placed>[] = [];

/** A turn whose first part is what the connections published: it goes to the broker as one batch. */
export class PublishTurn extends Turn {
  private readonly broker: Broker;
  private readonly log: Logger;
  private readonly onAllStored: () => void;
  private batch = new PublishBatch();
  /** Sent and not yet acknowledged to the publishers, in order [MQTT-4.6.0-2]. */
  private readonly sent: PublishBatch[] = [];
  private onDrained: (() => void) | undefined;

  /** @param onAllStored called when no published message is waited for: the broker is done with their bytes */
  constructor(broker: Broker, log: Logger, onAllStored: () => void) {
    super();
    this.broker = broker;
    this.onAllStored = onAllStored;
    this.log = log;
  }

  publish(publisher: Publisher, packetIdentifier: number, outgoing: OutgoingMessage): void {
    const { batch } = this;
    batch.awaitAcknowledgement(publisher, packetIdentifier, batch.outgoing.length);
    batch.outgoing.push(outgoing);
    if (batch.outgoing.length >= BATCH_MAX) this.sendBatch();
    else this.schedule();
  }

  /** The PUBLISH is answered with the reason, in its place among the others. */
  answer(publisher: Publisher, packetIdentifier: number, reasonCode: number): void {
    this.batch.awaitAcknowledgement(publisher, packetIdentifier, -1 - reasonCode);
    this.schedule();
  }

  /** Resolves when everything published so far is acknowledged. */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      this.onDrained = resolve;
      this.schedule();
    });
  }

  protected override run(): void {
    if (!this.batch.isEmpty) this.sendBatch();
    super.run();
    if (this.sent.length === 0) this.onDrained?.();
  }

  private sendBatch(): void {
    const { batch } = this;
    this.batch = new PublishBatch();
    this.sent.push(batch);
    if (batch.outgoing.length === 0) {
      this.complete(batch, NO_OUTCOMES);
      return;
    }
    this.broker.send(batch.outgoing).then(
      (outcomes) => this.complete(batch, outcomes),
      (error: unknown) => {
        this.log.error({ err: error }, 'a batch of published messages could not be stored');
        this.complete(batch, NO_OUTCOMES);
      },
    );
  }

  /** Acknowledges in the order of receipt, even where a later batch was stored first. */
  private complete(batch: PublishBatch, outcomes: readonly Outcome<Placed>[]): void {
    batch.outcomes = outcomes;
    while (this.sent[0]?.outcomes !== undefined) this.acknowledge(this.sent.shift()!);
    // What was stored is served at once: the next turn would come later and bring nothing more.
    super.run();
    if (this.sent.length > 0) return;
    if (this.batch.outgoing.length === 0) this.onAllStored();
    this.onDrained?.();
  }

  private acknowledge({ publishers, packetIdentifiers, positions, outgoing, outcomes }: PublishBatch): void {
    for (let i = 0; i < publishers.length; i++) {
      const position = positions[i]!;
      const reasonCode = position < 0 ? -1 - position : this.reasonOf(outcomes![position], outgoing[position]!);
      publishers[i]!.published(packetIdentifiers[i]!, reasonCode);
    }
  }

  private reasonOf(outcome: Outcome<Placed> | undefined, outgoing: OutgoingMessage): number {
    if (outcome === undefined) return ReasonCode.unspecifiedError;
    if (!outcome.ok) return REASON_OF[outcome.error.code];
    return this.broker.isHeard(outgoing) ? ReasonCode.success : ReasonCode.noMatchingSubscribers;
  }
}
