import type { FilterExpression } from '../../../../core/model/filter.ts';
import type { Source as MessageSource } from '../../../../core/model/topic.ts';
import type { Delivery, Selector, SettleAction } from '../../../../core/ports/message-engine.ts';
import type { DeliveryState, Source } from '../codec/performatives.ts';
import type { OutgoingLink, SourceNode } from '../node.ts';
import type { NodeContext } from './node-context.ts';
import { RELEASE, verdictOf } from './verdicts.ts';

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
  /** Azure's clients find the lock token in the delivery tag, and count what they abandon. */
  readonly azure?: boolean | undefined;
  /** The link is gone. */
  readonly onDetached?: ((closed: boolean) => void) | undefined;
}

/** Renewed while the link lives. */
const LEASE_MS = 60_000;
/** A source that waits is asked again after this, which costs next to nothing. */
const WAIT_MS = 60_000;
/** What one receive brings at most. */
const RECEIVE_MAX = 256;

/** Messages of a consumer group: leased as the link has room for them, settled as the client says. */
export class LeasedSource implements SourceNode {
  readonly source: Source;
  private readonly context: NodeContext;
  private readonly link: OutgoingLink;
  private readonly reading: Reading;
  private readonly select: Selector | undefined;
  private receiving: AbortController | undefined;
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
  }

  pull(): void {
    if (this.receiving === undefined && this.link.room > 0) this.receive();
  }

  drain(): void {
    this.isDraining = true;
    // A wait ends; a look that does not wait follows it, and that says whether something is there.
    if (this.receiving !== undefined) this.receiving.abort();
    else this.pull();
  }

  outcome(kept: unknown, state: DeliveryState | undefined): void {
    const delivery = kept as Delivery;
    const { context, link } = this;
    if (state?.kind === 'transactional') {
      context.transactions.retire(link, state, delivery.receipt, (outcome) => this.verdict(delivery, outcome));
      return;
    }
    context.settling.settle(delivery.receipt, this.verdict(delivery, state));
  }

  detached(closed: boolean, isClean: boolean, unsettled: readonly unknown[]): void {
    this.isDetached = true;
    this.membership[Symbol.dispose]();
    this.receiving?.abort();
    const back = isClean ? RELEASE : RELEASE_COUNTED;
    for (const delivery of unsettled as readonly Delivery[]) this.context.settling.settle(delivery.receipt, back);
    this.reading.onDetached?.(closed);
  }

  private verdict(delivery: Delivery, state: DeliveryState | undefined): SettleAction {
    const { context, reading } = this;
    const outcome = state ?? this.source.defaultOutcome;
    const action = verdictOf(outcome, {
      delivery,
      retry: context.broker.groups.get(reading.group)?.retry,
      nowMs: context.broker.clock.now(),
      countsModified: reading.azure === true,
    });
    if (action.kind !== 'release') context.annotations.forget(delivery);
    else if (outcome?.kind === 'modified' && outcome.messageAnnotations !== undefined) {
      context.annotations.keep(delivery, outcome.messageAnnotations);
    }
    return action;
  }

  private receive(): void {
    const { context, link, reading } = this;
    const abort = new AbortController();
    this.receiving = abort;
    const call = {
      group: reading.group,
      source: reading.from,
      filter: reading.filter,
      ...(this.select !== undefined && { select: this.select }),
      max: Math.min(Math.max(link.room, 0), RECEIVE_MAX),
      waitMs: this.isDraining ? 0 : WAIT_MS,
      leaseMs: LEASE_MS,
      renewFor: link.peer.owner,
    };
    context.broker.receive(call, abort.signal).then(
      (deliveries) => this.received(deliveries, abort),
      (error: unknown) => this.failed(error),
    );
  }

  private received(deliveries: readonly Delivery[], abort: AbortController): void {
    this.receiving = undefined;
    const { link, context } = this;
    for (const delivery of deliveries) {
      // Gone, or its credit taken back meanwhile.
      if (this.isDetached || link.room <= 0) context.settling.settle(delivery.receipt, RELEASE);
      else this.send(delivery);
    }
    if (this.isDetached) return;
    const isEmpty = deliveries.length === 0 && !abort.signal.aborted;
    if (this.isDraining && (isEmpty || link.isSpent)) {
      this.isDraining = false;
      link.drained();
    }
    // Also behind a drain: the client may have taken it back, and has credit then.
    if (link.room > 0) this.receive();
  }

  private send(delivery: Delivery): void {
    const { context, link, reading } = this;
    const { message, attempt, receipt } = delivery;
    if (reading.noLocal === true && message.publisher === link.peer.containerId) {
      context.settling.settle(receipt, ACK);
      return;
    }
    if (link.isPresettled) context.settling.settle(receipt, ACK);
    const tag = reading.azure === true ? context.lockToken() : undefined;
    context.send(link, delivery, message, attempt, context.annotations.of(delivery), tag);
  }

  private failed(error: unknown): void {
    this.receiving = undefined;
    if (this.isDetached) return;
    this.link.detach(this.context.errorOf(error, 'a link cannot be read from'));
  }
}

const ACK = { kind: 'ack' } as const;
const RELEASE_COUNTED = { kind: 'release', delayMs: 0, countAttempt: true } as const;
