import { BrokerError, type Outcome } from '../../../../core/model/broker-error.ts';
import type { Message } from '../../../../core/model/message.ts';
import type { OutgoingMessage } from '../../../../core/ports/message-engine.ts';
import { decodeError } from '../codec/codec-error.ts';
import {
  ACCEPTED,
  RELEASED,
  type DeliveryState,
  type Outcome as AmqpOutcome,
  type Target,
  type TransactionalState,
} from '../codec/performatives.ts';
import { BATCH_MESSAGE_FORMAT, batchedMessages } from '../translate/batched-messages.ts';
import { LinkError, type IncomingLink, type TargetNode } from '../node.ts';
import { refusalOf } from './conditions.ts';
import type { Destination } from './destinations.ts';
import type { NodeContext } from './node-context.ts';
import { copiesFor, copyOf, outgoingFor } from './outgoing.ts';
import type { Publisher } from './publishing.ts';
import type { TemporaryNode } from './temporary-nodes.ts';

/** Bytes that one link may have on their way to the storage before its client gets no more credit. */
const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024;
/** How long a link waits for room in the storage before it is let in again. */
const FULL_RETRY_MS = 1_000;
/** Stands for the id of a transfer that nobody waits for. */
const SETTLED = -1;

/** One transfer of several messages has one outcome. */
interface BatchInFlight {
  remaining: number;
  failure: DeliveryState | undefined;
}

/** Messages that a client sends: into a topic, a temporary queue, or wherever each of them says. */
export class StoreTarget implements TargetNode, Publisher {
  readonly target: Target;
  readonly maxMessageSize: number;
  readonly creditMax: number;
  private readonly context: NodeContext;
  private readonly link: IncomingLink;
  /** Undefined: the anonymous terminus (a null address), where each message names its destination. */
  private readonly destination: Destination | undefined;
  private readonly onDetached: (() => void) | undefined;
  private readonly batches = new Map<number, BatchInFlight>();
  /** Transfers behind one whose destination has to be looked up first: order is kept on a link. */
  private behind: (() => void)[] | undefined;
  private resolving: Promise<unknown> = Promise.resolve();
  private inFlightBytes = 0;
  private isWithheld = false;
  private isDetached = false;
  private full: Disposable | undefined;

  constructor(
    context: NodeContext,
    link: IncomingLink,
    target: Target,
    destination: Destination | undefined,
    onDetached?: () => void,
  ) {
    this.context = context;
    this.link = link;
    this.target = target;
    this.destination = destination;
    this.onDetached = onDetached;
    this.maxMessageSize = context.options.messageBytesMax;
    this.creditMax = context.options.linkCredit;
  }

  deliver(
    deliveryId: number,
    settled: boolean,
    messageFormat: number,
    buffer: Buffer,
    start: number,
    end: number,
    state: DeliveryState | undefined,
  ): void {
    const id = settled ? SETTLED : deliveryId;
    if (messageFormat !== BATCH_MESSAGE_FORMAT) {
      this.take(id, messageFormat, buffer, start, end, state);
      return;
    }
    try {
      this.takeBatch(id, buffer, batchedMessages(buffer, start, end), state);
    } catch (error) {
      this.refuse(id, this.rejection(error), state);
    }
  }

  stored(deliveryId: number, { message }: OutgoingMessage, outcome: Outcome<unknown> | undefined): void {
    this.inFlightBytes -= message.bytes;
    if (outcome?.ok === true) this.answer(deliveryId, ACCEPTED);
    else {
      const error = outcome?.error ?? new BrokerError('UNKNOWN_OUTCOME', 'the storage has failed');
      if (error.code === 'STORE_FULL') this.waitForRoom();
      this.answer(deliveryId, refusalOf(error));
    }
    if (this.full === undefined && this.inFlightBytes < IN_FLIGHT_BYTES_MAX / 2) this.grant();
  }

  detached(): void {
    this.isDetached = true;
    this.full?.[Symbol.dispose]();
    this.full = undefined;
    this.onDetached?.();
  }

  private takeBatch(
    id: number,
    buffer: Buffer,
    messages: readonly (readonly [start: number, end: number])[],
    state: DeliveryState | undefined,
  ): void {
    if (messages.length === 0) return this.answer(id, ACCEPTED);
    if (id !== SETTLED) this.batches.set(id, { remaining: messages.length, failure: undefined });
    for (const [start, end] of messages) this.take(id, 0, buffer, start, end, state);
  }

  private take(
    id: number,
    format: number,
    buffer: Buffer,
    start: number,
    end: number,
    state: DeliveryState | undefined,
  ): void {
    try {
      // Every client writes a section at least (AMQP 3.2): what comes so has lost its message on the way.
      if (start === end) throw decodeError('there is no message in the transfer');
      if (this.behind !== undefined) {
        this.behind.push(() => this.take(id, format, buffer, start, end, state));
        this.expect(state);
        return;
      }
      const { destination = this.addressed(id, format, buffer, start, end, state) } = this;
      if (destination !== undefined) this.put(destination, id, format, buffer, start, end, state);
    } catch (error) {
      this.refuse(id, this.rejection(error), state);
    }
  }

  /** The destination a message names; undefined where that is looked up first, and the message comes again then. */
  private addressed(
    id: number,
    format: number,
    buffer: Buffer,
    start: number,
    end: number,
    state: DeliveryState | undefined,
  ) {
    this.context.inbound.scan(buffer, start, end, format);
    const { to, jmsDestination } = this.context.inbound;
    if (to === undefined) throw new LinkError('amqp:precondition-failed', 'a message without `to` has no destination');
    const { destinations } = this.context;
    const known = destinations.peek(this.link, to, jmsDestination);
    if (known !== undefined) return known;
    const behind: (() => void)[] = (this.behind = []);
    this.resolving = destinations
      .resolve(this.link, to, jmsDestination === undefined ? [] : [jmsDestination])
      .then((destination) => this.put(destination, id, format, buffer, start, end, state))
      .catch((error: unknown) => this.refuse(id, this.rejection(error), state))
      .finally(() => {
        this.behind = undefined;
        for (const take of behind) take();
      });
    this.expect(state);
    return undefined;
  }

  /** The transaction must not end before what waits here has got to it. */
  private expect(state: DeliveryState | undefined): void {
    if (state?.kind === 'transactional') this.context.transactions.expect(state.txnId, this.resolving);
  }

  private put(
    destination: Destination,
    id: number,
    format: number,
    buffer: Buffer,
    start: number,
    end: number,
    state: DeliveryState | undefined,
  ): void {
    const { context, link } = this;
    const outgoing = outgoingFor(context, destination, format, buffer, start, end, link.peer);
    if (destination.kind === 'temporary') this.offer(destination.node, id, outgoing.message, state);
    else if (destination.kind === 'exchange') this.routeTo(destination, id, outgoing, state);
    else if (state?.kind === 'transactional') this.answerWith(id, context.transactions.send(link, state, outgoing));
    else {
      this.onItsWay(outgoing);
      context.publishing.publish(this, id, outgoing);
    }
  }

  private onItsWay({ message }: OutgoingMessage): void {
    this.inFlightBytes += message.bytes;
    if (this.inFlightBytes > IN_FLIGHT_BYTES_MAX) this.withhold();
  }

  private offer(node: TemporaryNode, id: number, message: Message, state: DeliveryState | undefined): void {
    if (this.context.temporary.get(node.name) !== node) {
      const error = { condition: 'amqp:resource-deleted', description: `${node.name} is gone` };
      this.refuse(id, { kind: 'rejected', error }, state);
      this.link.detach(error);
    } else if (state?.kind !== 'transactional') this.answer(id, node.offer(message) ? ACCEPTED : QUEUE_FULL);
    else {
      const copy = copyOf(message);
      const { transactions } = this.context;
      this.answerWith(
        id,
        transactions.sendLater(this.link, state, copy.bytes, () => node.offer(copy)),
      );
    }
  }

  /** To every queue that is bound, all or none of them. */
  private routeTo(
    { exchange, key }: Destination & { kind: 'exchange' },
    id: number,
    outgoing: OutgoingMessage,
    state: DeliveryState | undefined,
  ): void {
    const { context, link } = this;
    const copies = copiesFor(context, exchange, key, outgoing);
    // Nothing is bound: the message would be gone (RabbitMQ answers the same).
    if (copies.length === 0) this.refuse(id, RELEASED, state);
    else if (state?.kind === 'transactional') {
      let answer: TransactionalState | undefined;
      for (const copy of copies) answer = context.transactions.send(link, state, copy);
      this.answerWith(id, answer);
    } else {
      const [first] = copies;
      this.onItsWay(first!);
      context.broker.transact(copies, []).then(
        (outcome) => this.stored(id, first!, outcome),
        (error: unknown) => {
          context.log.error({ err: error }, 'a message could not be stored');
          this.stored(id, first!, undefined);
        },
      );
    }
  }

  /** Undefined: the link was ended. */
  private answerWith(id: number, state: DeliveryState | undefined): void {
    if (state !== undefined) this.answer(id, state);
  }

  private answer(id: number, state: DeliveryState): void {
    if (id === SETTLED) return;
    const batch = this.batches.get(id);
    if (batch === undefined) return this.link.answer(id, state);
    const { kind } = state.kind === 'transactional' ? (state.outcome ?? state) : state;
    if (kind === 'rejected' || kind === 'released') batch.failure ??= state;
    if (--batch.remaining > 0) return;
    this.batches.delete(id);
    this.link.answer(id, batch.failure ?? state);
  }

  /** AMQP 4.4.1: also what is not taken is told as part of the transaction it was sent in. */
  private refuse(id: number, outcome: AmqpOutcome, state: DeliveryState | undefined): void {
    if (state?.kind !== 'transactional') this.answer(id, outcome);
    else this.answerWith(id, this.context.transactions.refuse(this.link, state, outcome));
  }

  private rejection(error: unknown): AmqpOutcome {
    return { kind: 'rejected', error: this.context.errorOf(error, 'a message could not be taken in') };
  }

  private withhold(): void {
    if (this.isWithheld) return;
    this.isWithheld = true;
    this.link.withholdCredit();
  }

  private grant(): void {
    if (!this.isWithheld) return;
    this.isWithheld = false;
    this.link.grantCredit();
  }

  private waitForRoom(): void {
    if (this.isDetached) return;
    this.withhold();
    this.full ??= this.context.broker.clock.schedule(FULL_RETRY_MS, () => {
      this.full = undefined;
      this.grant();
    });
  }
}

const QUEUE_FULL: AmqpOutcome = {
  kind: 'rejected',
  error: { condition: 'amqp:resource-limit-exceeded', description: 'the temporary queue is full' },
};
