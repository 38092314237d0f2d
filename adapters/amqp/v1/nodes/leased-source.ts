import type { FilterExpression } from '../../../../core/model/filter.ts';
import type { Source as MessageSource } from '../../../../core/model/topic.ts';
import type { Delivery, Selector, SettleAction } from '../../../../core/ports/message-engine.ts';
import type { LeaseHolder } from '../../../../core/broker.ts';
import type { AmqpError, DeliveryState, Source } from '../codec/performatives.ts';
import type { OutgoingLink, SourceNode } from '../node.ts';
import type { NodeContext } from './node-context.ts';
import { ACK, isDeferral, NOT_DEFERRED, RELEASE, RELEASE_COUNTED, verdictOf } from './verdicts.ts';

/** What a link reads, and as a member of which group. */
export interface Reading {
  readonly group: string;
  readonly from: MessageSource;
  /** What the group does not want at all. */
  readonly filter: FilterExpression;
  /** What this link does not want, and leaves to others of the group. */
  readonly selector?: FilterExpression | undefined;
  /** The group is this link's own: what its connection sent is not for it. */
  readonly noLocal?: boolean | undefined;
  /** Azure's clients want more in a message, and count what they abandon. */
  readonly azure?: boolean | undefined;
  /** The link is gone. */
  readonly onDetached?: ((closed: boolean) => void) | undefined;
}

/** Renewed while the link lives. */
export const LEASE_MS = 60_000;
/** A source that waits is asked again after this, which costs next to nothing. */
const WAIT_MS = 60_000;
/** What one receive brings at most: what there is no room for when it comes goes back, which is work for nothing. */
const RECEIVE_MAX = 1_024;
const RECEIVE_BYTES_MAX = 512 * 1024;

/** Messages of a consumer group: leased as the link has room for them, settled as the client says. */
export class LeasedSource implements SourceNode, LeaseHolder {
  readonly source: Source;
  private readonly context: NodeContext;
  private readonly link: OutgoingLink;
  private readonly reading: Reading;
  private readonly select: Selector | undefined;
  private abort = new AbortController();
  private isReceiving = false;
  private isDraining = false;
  private isDetached = false;
  private readonly membership: Disposable;

  /** @throws BrokerError ILLEGAL_FILTER_EXPRESSION */
  constructor(context: NodeContext, link: OutgoingLink, source: Source, reading: Reading) {
    this.context = context;
    this.link = link;
    this.source = source;
    this.reading = reading;
    this.select = reading.selector && context.broker.selector(reading.selector);
    this.membership = context.consumers.add(reading.group);
    context.leases.add(this);
  }

  pull(): void {
    if (!this.isReceiving && this.link.room > 0) this.receive();
  }

  drain(): void {
    this.isDraining = true;
    // A wait ends; a look that does not wait follows it, and that says whether something is there.
    if (this.isReceiving) this.abort.abort();
    else this.pull();
  }

  async available(): Promise<number> {
    const { group, from } = this.reading;
    const states = await this.context.broker.groupState(group, from);
    return states.reduce((sum, { lag, leased }) => sum + lag - leased, 0);
  }

  outcome(kept: unknown, state: DeliveryState | undefined): AmqpError | void {
    const delivery = kept as Delivery;
    const { context, link } = this;
    if (this.reading.azure === true) context.locks.delete(delivery.receipt);
    if (state?.kind === 'accepted') {
      context.annotations.forget(delivery);
      context.settling.settle(delivery.receipt, ACK);
      return;
    }
    if (this.reading.azure === true && isDeferral(state)) {
      context.settling.settle(delivery.receipt, RELEASE_COUNTED);
      return NOT_DEFERRED;
    }
    if (state?.kind === 'transactional') {
      context.transactions.retire(link, state, delivery, (outcome) => this.verdict(delivery, outcome));
      return;
    }
    context.settling.settle(delivery.receipt, this.verdict(delivery, state));
  }

  detached(closed: boolean, isClean: boolean, unsettled: readonly unknown[]): void {
    this.isDetached = true;
    this.membership[Symbol.dispose]();
    this.context.leases.delete(this);
    this.abort.abort();
    const back = isClean ? RELEASE : RELEASE_COUNTED;
    for (const { receipt } of unsettled as readonly Delivery[]) {
      if (this.reading.azure === true) this.context.locks.delete(receipt);
      this.context.settling.settle(receipt, back);
    }
    this.reading.onDetached?.(closed);
  }

  held(): Iterable<Delivery> {
    return this.link.unsettled() as Iterable<Delivery>;
  }

  private verdict(delivery: Delivery, state: DeliveryState | undefined): SettleAction {
    const { context, reading } = this;
    const outcome = state ?? this.source.defaultOutcome;
    const action = verdictOf(outcome, {
      delivery,
      retry: context.broker.groups.get(reading.group)?.retry,
      nowMs: context.broker.clock.now(),
      azure: reading.azure === true,
      added: context.annotations.of(delivery),
    });
    if (action.kind !== 'release') context.annotations.forget(delivery);
    else if (outcome?.kind === 'modified' && outcome.messageAnnotations !== undefined) {
      context.annotations.keep(delivery, outcome.messageAnnotations);
    }
    return action;
  }

  private receive(): void {
    const { context, link, reading } = this;
    if (this.abort.signal.aborted) this.abort = new AbortController();
    const { signal } = this.abort;
    this.isReceiving = true;
    const call = {
      group: reading.group,
      source: reading.from,
      filter: reading.filter,
      ...(this.select !== undefined && { select: this.select }),
      max: Math.min(Math.max(link.room, 0), RECEIVE_MAX),
      bytesMax: RECEIVE_BYTES_MAX,
      waitMs: this.isDraining ? 0 : WAIT_MS,
      leaseMs: LEASE_MS,
      member: this,
    };
    context.broker.receive(call, signal).then(
      (deliveries) => this.received(deliveries, signal),
      (error: unknown) => this.failed(error),
    );
  }

  private received(deliveries: readonly Delivery[], signal: AbortSignal): void {
    const { link, context } = this;
    const nowMs = context.broker.clock.now();
    let goesBack = false;
    for (const delivery of deliveries) {
      // Gone, or its credit taken back meanwhile.
      goesBack ||= this.isDetached || link.room <= 0;
      if (goesBack) context.settling.settle(delivery.receipt, RELEASE);
      else this.send(delivery, nowMs);
    }
    const isEmpty = deliveries.length === 0 && !signal.aborted;
    // Of a message group, what follows would overtake what goes back.
    if (goesBack) context.settling.whenSettled(() => this.goOn(isEmpty));
    else this.goOn(isEmpty);
  }

  private goOn(isEmpty: boolean): void {
    this.isReceiving = false;
    if (this.isDetached) return;
    const { link } = this;
    if (this.isDraining && (isEmpty || link.isSpent)) {
      this.isDraining = false;
      link.drained();
    }
    // Also behind a drain: the client may have taken it back, and has credit then.
    if (link.room > 0) this.receive();
  }

  private send(delivery: Delivery, nowMs: number): void {
    const { context, link, reading } = this;
    const { message, attempt, receipt } = delivery;
    if (reading.noLocal === true && message.publisher === link.peer.containerId) {
      context.settling.settle(receipt, ACK);
      return;
    }
    const isSent =
      reading.azure === true
        ? context.sendAzure(link, delivery, nowMs, link.isPresettled ? undefined : delivery.visibleAt)
        : context.send(link, delivery, message, attempt, nowMs, context.annotations.of(delivery));
    if (isSent && link.isPresettled) context.settling.settle(receipt, ACK);
  }

  private failed(error: unknown): void {
    this.isReceiving = false;
    if (this.isDetached) return;
    const { condition, ...told } = this.context.errorOf(error, 'a link cannot be read from');
    // It was there when the link was attached.
    this.link.detach({ ...told, condition: condition === 'amqp:not-found' ? 'amqp:resource-deleted' : condition });
  }
}
