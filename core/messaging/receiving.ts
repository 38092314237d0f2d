import { LIMITS } from '../model/limits.ts';
import { BrokerError, type Outcome } from '../model/broker-error.ts';
import { compileFilter, type Filter, type FilterExpression } from '../model/filter.ts';
import type { Message } from '../model/message.ts';
import type { MessageView } from '../model/message-view.ts';
import type { Source } from '../model/topic.ts';
import type { Clock } from '../ports/clock.ts';
import type { Delivery, MessageEngine, Selector, Settled, Settlement } from '../ports/message-engine.ts';
import type { ConsumerGroups } from './consumer-groups.ts';
import type { LeaseRenewal } from './lease-renewal.ts';
import type { Topics } from './topics.ts';

export interface ReceiveCall {
  readonly group: string;
  readonly source: Source;
  readonly filter: FilterExpression;
  /** Demand: at most this many messages. */
  readonly max: number;
  /** Messages come while those before them have fewer bytes together. */
  readonly bytesMax?: number;
  readonly waitMs: number;
  readonly leaseMs: number;
  readonly attemptId?: string;
  /** Which messages this member of the group takes; others stay for other members. See `ReceiveRequest.select`. */
  readonly select?: Selector;
  /** See `ReceiveRequest.member`. */
  readonly member?: object;
  /** See `ReceiveRequest.perMessageGroupMax`. */
  readonly perMessageGroupMax?: number;
  /** Renew the leases for as long as this owner (a client id) lives. */
  readonly renewFor?: string;
}

/** Messages of one receive; a protocol may have a lower limit of its own. */
const RECEIVE_MAX = 1_024;
/** Bytes of one receive; the rest comes with the next one. */
const RECEIVE_BYTES_MAX = 128 * 1024 * 1024;

/** Hands messages to consumer groups under a lease, and takes the verdict on them. */
export class Receiving {
  private readonly engine: MessageEngine;
  private readonly topics: Topics;
  private readonly groups: ConsumerGroups;
  private readonly renewal: LeaseRenewal;
  private readonly clock: Clock;
  /** Topics that were read by a group since the start. */
  private readonly topicsRead = new Set<string>();
  private readonly view: (message: Message) => MessageView;
  private readonly shared: (group: string, topic: string) => Source | undefined;

  constructor(
    engine: MessageEngine,
    topics: Topics,
    groups: ConsumerGroups,
    renewal: LeaseRenewal,
    clock: Clock,
    view: (message: Message) => MessageView,
    shared: (group: string, topic: string) => Source | undefined,
  ) {
    this.engine = engine;
    this.topics = topics;
    this.groups = groups;
    this.renewal = renewal;
    this.clock = clock;
    this.view = view;
    this.shared = shared;
  }

  /**
   * Waits for messages that pass the filter. What does not pass is acknowledged for the whole group, as RocketMQ does.
   * @throws BrokerError for a group, topic or filter that cannot be used
   */
  async receive(call: ReceiveCall, signal: AbortSignal): Promise<Delivery[]> {
    const filter = compileFilter(call.filter);
    if (call.select !== undefined && !this.engine.capabilities.selectors) {
      throw new BrokerError('UNSUPPORTED', 'the storage engine has no selectors');
    }
    if (call.source.kind === 'topic') {
      await this.topics.use(call.source.topic);
      this.topicsRead.add(call.source.topic);
    }
    await this.groups.use(call.group);
    const deadline = this.clock.now() + call.waitMs;
    for (;;) {
      const waitMs = Math.max(0, deadline - this.clock.now());
      // Members of a shared subscription and RocketMQ clients of its group share the work.
      const source = call.source.kind === 'topic' ? this.shared(call.group, call.source.topic) : undefined;
      const request = {
        ...call,
        source: source ?? call.source,
        max: Math.min(call.max, RECEIVE_MAX),
        bytesMax: Math.min(call.bytesMax ?? RECEIVE_BYTES_MAX, RECEIVE_BYTES_MAX),
        waitMs,
      };
      const received = await this.engine.receive(request, signal);
      const wanted = filter === undefined ? received : await this.acknowledgeUnwanted(received, filter);
      if (wanted.length > 0 && call.renewFor !== undefined) this.renewal.add(wanted, call.renewFor);
      if (wanted.length > 0 || received.length === 0 || signal.aborted) return wanted;
    }
  }

  isRead(topic: string): boolean {
    return this.topicsRead.has(topic);
  }

  /** Verdicts, one outcome each, when durable. */
  async settle(batch: readonly Settlement[]): Promise<Outcome<Settled>[]> {
    this.settled(batch);
    return this.engine.settle(batch);
  }

  /** The verdicts were carried out elsewhere, as part of a transaction. */
  settled(batch: readonly Settlement[]): void {
    if (this.renewal.isEmpty) return;
    for (const { receipt } of batch) this.renewal.remove(receipt);
  }

  private async acknowledgeUnwanted(received: readonly Delivery[], filter: Filter): Promise<Delivery[]> {
    const wanted: Delivery[] = [];
    const unwanted: Settlement[] = [];
    for (const delivery of received) {
      if (filter(delivery.message, () => this.view(delivery.message))) wanted.push(delivery);
      else unwanted.push({ receipt: delivery.receipt, action: { kind: 'ack' } });
    }
    if (unwanted.length > 0) await this.engine.settle(unwanted);
    return wanted;
  }
}

/** @throws BrokerError ILLEGAL_INVISIBLE_TIME; the wording is the RocketMQ proxy's, which its test suite looks for */
export function checkInvisibleDuration(ms: number, minMs: number): void {
  if (ms < minMs) {
    throw new BrokerError('ILLEGAL_INVISIBLE_TIME', `the invisibleTime is too small. min is ${minMs}`);
  }
  if (ms > LIMITS.invisibleMaxMs) {
    throw new BrokerError('ILLEGAL_INVISIBLE_TIME', `the invisibleTime is too large. max is ${LIMITS.invisibleMaxMs}`);
  }
}
