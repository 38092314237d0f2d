import { BrokerError, failed, succeeded, type Outcome } from '../../../core/model/broker-error.ts';
import type { GroupSpec } from '../../../core/model/consumer-group.ts';
import { sourceKey, type Source, type TopicSpec } from '../../../core/model/topic.ts';
import type { Clock } from '../../../core/ports/clock.ts';
import type {
  Capabilities,
  Delivery,
  EngineContext,
  GroupState as GroupProgress,
  MessageEngine,
  OffsetRange,
  OutgoingMessage,
  Placed,
  ReadResult,
  ReceiveRequest,
  SeekTarget,
  Settled,
  Settlement,
} from '../../../core/ports/message-engine.ts';
import type { MetaEvent } from '../../../core/ports/meta-store.ts';
import { Holding } from './held/holding.ts';
import { Journal, type Touched } from './journal.ts';
import type { EmbeddedMetaStore } from './meta/embedded-meta-store.ts';
import { ParkedReceives } from './pop/parked-receives.ts';
import { initialOffset, Receiver } from './pop/receiver.ts';
import { Settling, stale } from './pop/settling.ts';
import { LightQueue } from './queue/light-queue.ts';
import type { MessageQueue } from './queue/message-queue.ts';
import { Retaining } from './queue/retaining.ts';
import type { EngineState } from './state.ts';
import type { Storage, StorageStatistics } from './storage.ts';

/** A message may be delayed by this much. */
const DELAY_MAX_MS = 366 * 86_400_000;
const DELAY_PRECISION_MS = 100;

/**
 * The engine inside the process: one deterministic state machine (state.ts) over a log. Every method checks against the
 * state, applies and logs the change, and answers when the log says it is durable.
 */
export class EmbeddedEngine implements MessageEngine {
  readonly capabilities: Capabilities;
  private readonly storage: Storage;
  private readonly meta: EmbeddedMetaStore;
  private clock!: Clock;
  private journal!: Journal;
  private receiver!: Receiver;
  private settling!: Settling;
  private parked!: ParkedReceives;
  private holding!: Holding;
  private retaining!: Retaining;
  private stopping: Promise<void> | undefined;

  constructor(storage: Storage, meta: EmbeddedMetaStore) {
    this.storage = storage;
    this.meta = meta;
    const { durability } = storage;
    this.capabilities = {
      name: durability === 'none' ? 'memory' : 'embedded',
      multiNode: false,
      durability,
      ackDurability: durability === 'fsync' ? 'fsync' : durability === 'none' ? 'none' : 'lazy',
      offsets: 'dense',
      fifo: true,
      attemptReplay: true,
      delay: { precisionMs: DELAY_PRECISION_MS, maxMs: DELAY_MAX_MS },
      transactions: true,
      selectors: true,
      seek: new Set(['offset', 'time', 'earliest', 'latest']),
    };
  }

  /** Public for tests that compare two engines. */
  get state(): EngineState {
    return this.journal.state;
  }

  async start(context: EngineContext): Promise<void> {
    const { clock } = context;
    this.clock = clock;
    const { state, log } = await this.storage.open(context);
    this.journal = new Journal(state, log, (touched) => this.makeVisible(touched));
    this.settling = new Settling(this.journal, clock);
    this.receiver = new Receiver({
      state,
      clock,
      write: (record) => this.journal.write(record),
      writeLease: (record) => this.journal.writeLease(record),
      retire: (group, queue, gone, dead) => this.settling.retire(group, queue, gone, dead),
    });
    this.parked = new ParkedReceives(clock, this.receiver);
    this.retaining = new Retaining(
      this.journal,
      clock,
      () => this.messagesRemoved(),
      () => this.storage.tidy(),
    );
    this.retaining.start();
    this.holding = new Holding(this.journal, context);
    await this.journal.writeDurably({ type: 'start', generation: state.generation + 1 });
    await this.holding.start();
    this.meta.start(this.journal, clock);
  }

  stop(): Promise<void> {
    return (this.stopping ??= this.end());
  }

  /** Since the start. */
  statistics(): StorageStatistics {
    return this.storage.statistics();
  }

  async ensureTopic(spec: TopicSpec): Promise<void> {
    const known = this.state.topics.get(spec.name);
    const serials = known?.queues.map(({ serial }) => serial) ?? [];
    if (known !== undefined && isSame(known.spec, spec)) return;
    while (serials.length < spec.queues) serials.push(this.state.nextSerial());
    const before = known?.queues.length ?? 0;
    this.journal.write({ type: 'topic', spec, serials });
    if (before > 0) this.joinNewQueues(spec.name, before);
    return this.journal.durable();
  }

  /** Whoever reads the topic reads all that is ever in its new queues, and what is there stays until then. */
  private joinNewQueues(topic: string, before: number): void {
    const { queues } = this.state.topics.get(topic)!;
    for (const group of this.state.groups.values()) {
      const isReader = queues.some((queue, i) => i < before && group.consumptions.has(queue.serial));
      if (isReader) for (const queue of queues.slice(before)) this.receiver.join(group, queue, 0);
    }
  }

  deleteTopic(name: string): Promise<void> {
    const error = new BrokerError('TOPIC_NOT_FOUND', `the topic ${name} was deleted`);
    this.parked.endSource(sourceKey({ kind: 'topic', topic: name }), error);
    this.journal.write({ type: 'deleteTopic', name });
    this.messagesRemoved();
    return this.journal.durable();
  }
  async ensureGroup(spec: GroupSpec): Promise<void> {
    const known = this.state.groups.get(spec.name);
    if (known !== undefined && isSame(known.spec, spec)) return;
    const serial = known?.serial ?? this.state.nextSerial();
    await this.journal.writeDurably({ type: 'group', spec, serial });
  }
  deleteGroup(name: string): Promise<void> {
    const error = new BrokerError('CONSUMER_GROUP_NOT_FOUND', `the consumer group ${name} was deleted`);
    this.parked.endGroup(name, error);
    return this.journal.writeDurably({ type: 'deleteGroup', name });
  }
  async ensureLightQueue(name: string, { durable }: { readonly durable: boolean }): Promise<void> {
    if (this.state.lightQueues.has(name)) return;
    if (!durable) return this.state.addLightQueue(name, this.state.nextPassingSerial(), false);
    await this.journal.writeDurably({ type: 'lightQueue', name, serial: this.state.nextSerial() });
  }
  async deleteLightQueue(name: string): Promise<void> {
    const lightQueue = this.state.lightQueues.get(name);
    if (lightQueue === undefined) return;
    this.parked.endSource(sourceKey({ kind: 'light', name }));
    const { serial } = lightQueue;
    if (lightQueue.isDurable) await this.journal.writeDurably({ type: 'deleteLightQueue', serial });
    else this.state.deleteLightQueue(serial);
  }
  trimLightQueue(name: string, before: number): void {
    const lightQueue = this.state.lightQueues.get(name);
    if (lightQueue === undefined) return;
    if (lightQueue.isDurable) this.journal.write({ type: 'trim', queueSerial: lightQueue.serial, before });
    else lightQueue.trim(before);
  }

  send(batch: readonly OutgoingMessage[]): Promise<Outcome<Placed>[]> {
    const problem = this.problemWith(batch);
    if (problem !== undefined) return Promise.resolve(batch.map(() => ({ ok: false, error: problem })));
    const { journal } = this;
    const at = this.clock.now();
    const outcomes: Outcome<Placed>[] = [];
    let queue: MessageQueue | undefined;
    let changed: MetaEvent[] | undefined;
    journal.begin(at);
    for (let i = 0; i < batch.length; i++) {
      const outgoing = batch[i]!;
      // Batches are mostly runs of one queue.
      if (outgoing.queue !== queue?.id || outgoing.topic !== queue.topic) queue = this.queueOf(outgoing);
      if (isTooFar(outgoing, at)) {
        outcomes.push(tooFar());
        continue;
      }
      outcomes.push(queue === undefined ? noQueue(outgoing) : this.place(queue, outgoing, at));
      if (queue !== undefined && outgoing.changes.length > 0)
        (changed ??= []).push(...this.meta.change(outgoing.changes));
    }
    const sent = journal.commit(outcomes);
    return changed === undefined ? sent : this.announceAfter(sent, changed);
  }

  async receive(request: ReceiveRequest, signal: AbortSignal): Promise<Delivery[]> {
    let deliveries: Delivery[] = [];
    let rest = request;
    for (;;) {
      if (this.stopping !== undefined || signal.aborted) return deliveries;
      const more = this.receiver.receiveNow(rest);
      if (more.length > 0) this.parked.leased(request.group);
      deliveries = deliveries.length === 0 ? more : deliveries.concat(more);
      const { loading } = this.receiver;
      if (loading === undefined) break;
      // What is on disk fills the answer, but an attempt that is asked again has to give the same.
      if (deliveries.length > 0 && request.attemptId !== undefined) break;
      try {
        await loading;
      } catch (error) {
        // What is leased already is good; whoever asks next gets the error.
        if (deliveries.length > 0) break;
        throw error;
      }
      rest = restOf(request, deliveries);
    }
    return deliveries.length > 0 || request.waitMs <= 0 ? deliveries : this.parked.park(request, signal);
  }

  async settle(batch: readonly Settlement[]): Promise<Outcome<Settled>[]> {
    const loading = this.settling.messagesFor(batch);
    const dead = loading && (await loading);
    if (this.stopping !== undefined) return batch.map(shuttingDown);
    const at = this.clock.now();
    const groups = new Set<string>();
    this.journal.begin(at);
    const outcomes = batch.map((settlement) => this.settling.settle(settlement, at, groups, dead));
    if (groups.size === 0) return outcomes;
    await this.journal.commit(undefined);
    for (const group of groups) this.parked.wakeGroup(group);
    return outcomes;
  }

  async transact(send: readonly OutgoingMessage[], settle: readonly Settlement[]): Promise<Outcome<Placed[]>> {
    const loading = this.settling.messagesFor(settle);
    const dead = loading && (await loading);
    // Verdicts alone are taken on a full disk, too.
    const problem = send.length > 0 ? this.problemWith(send) : this.stopping && shuttingDown().error;
    if (problem !== undefined) return { ok: false, error: problem };
    const missing = send.find((outgoing) => this.queueOf(outgoing) === undefined);
    if (missing !== undefined) return noQueue(missing);
    const at = this.clock.now();
    if (send.some((outgoing) => isTooFar(outgoing, at))) return tooFar();
    const leases = settle.map((settlement) => this.settling.liveLease(settlement, at));
    const repeats = new Set(settle.map(({ receipt }) => receipt)).size < settle.length;
    if (repeats || leases.includes(undefined)) return stale();
    this.journal.begin(at);
    const placed = send.map((outgoing) => this.place(this.queueOf(outgoing)!, outgoing, at)).map(({ value }) => value);
    const changed = send.flatMap(({ changes }) => this.meta.change(changes));
    settle.forEach((settlement, i) => this.settling.apply(settlement, leases[i]!, at, dead));
    await this.journal.commit(undefined);
    this.meta.announce(changed);
    for (const lease of leases) this.parked.wakeGroup(lease!.group.spec.name);
    return succeeded(placed);
  }

  async prepare(
    outgoing: OutgoingMessage,
    { checkAfterMs }: { readonly checkAfterMs: number },
  ): Promise<Outcome<string>> {
    const problem = this.problemWith([outgoing]);
    if (problem !== undefined) return { ok: false, error: problem };
    if (outgoing.changes.length > 0) return failed('UNSUPPORTED', 'a half message cannot change anything else');
    const queue = this.queueOf(outgoing);
    return queue === undefined ? noQueue(outgoing) : this.holding.prepare(queue, outgoing, checkAfterMs);
  }
  resolve(transactionId: string, how: 'commit' | 'rollback'): Promise<Outcome<Placed | undefined>> {
    if (this.stopping !== undefined) return Promise.resolve(shuttingDown());
    return this.holding.resolve(transactionId, how);
  }
  orphans(max: number): ReturnType<MessageEngine['orphans']> {
    return this.holding.orphans(max);
  }
  cancelDelayed(recallHandle: string): Promise<Outcome<{ readonly messageId: string }>> {
    if (this.stopping !== undefined) return Promise.resolve(shuttingDown());
    return this.holding.recall(recallHandle);
  }

  read(source: Source, from: number, max: number, bytesMax: number): ReadResult | Promise<ReadResult> {
    return this.oneQueue(source).read(from, max, bytesMax);
  }

  async offsets(source: Source): Promise<OffsetRange> {
    const { first, visible } = this.oneQueue(source);
    return { first, next: visible };
  }

  async offsetAt(source: Source, time: number): Promise<number> {
    const queue = this.oneQueue(source);
    return queue instanceof LightQueue ? queue.first : queue.offsetAt(time);
  }

  async groupState(groupName: string, source: Source): Promise<GroupProgress[]> {
    const group = this.receiver.group(groupName);
    return this.receiver.queuesOf(source).map((queue, id) => {
      const start = initialOffset(queue);
      const unjoined = { queue: id, floor: start, cursor: start, inflight: 0, leased: 0, lag: queue.visible - start };
      return group.consumptions.get(queue.serial)?.state(id, this.clock.now()) ?? unjoined;
    });
  }

  async seek(groupName: string, source: Source, to: SeekTarget): Promise<void> {
    const group = this.receiver.group(groupName);
    const queues = this.receiver.queuesOf(source) as readonly (MessageQueue | LightQueue)[];
    const wanted = queues.filter((_, id) => to.kind !== 'offset' || to.queue === id || queues.length === 1);
    const offsets = await Promise.all(wanted.map((queue) => seekOffset(queue, to)));
    wanted.forEach((queue, i) => {
      this.receiver.join(group, queue);
      const offset = offsets[i]!;
      this.journal.write({ type: 'seek', groupSerial: group.serial, queueSerial: queue.serial, offset });
    });
    await this.journal.durable();
    this.parked.wakeGroup(groupName);
  }

  async join(groupName: string, source: Source, from: 'earliest' | 'latest'): Promise<void> {
    const group = this.receiver.group(groupName);
    for (const queue of this.receiver.queuesOf(source)) {
      this.receiver.join(group, queue, from === 'earliest' ? queue.first : queue.visible);
    }
    await this.journal.durable();
  }

  async purge(groupName: string, source: Source): Promise<number> {
    const group = this.receiver.group(groupName);
    const at = this.clock.now();
    let count = 0;
    for (const queue of this.receiver.queuesOf(source)) {
      const consumption = this.receiver.join(group, queue);
      const { lag } = consumption.state(0, at);
      const to = queue.visible;
      this.journal.write({ type: 'purge', groupSerial: group.serial, queueSerial: queue.serial, to, at });
      count += lag - consumption.state(0, at).lag;
    }
    await this.journal.durable();
    this.parked.wakeGroup(groupName);
    return count;
  }

  onArrival(source: Source, listener: () => void): Disposable {
    const listeners = this.listenersOf(source);
    listeners?.add(listener);
    return { [Symbol.dispose]: () => void listeners?.delete(listener) };
  }

  private async end(): Promise<void> {
    this.retaining.stop();
    this.holding.stop();
    this.meta.stop();
    this.parked.endAll();
    await this.journal.durable();
    await this.storage.close();
  }

  /** Adds the message to the commit in progress. */
  private place(
    queue: MessageQueue,
    outgoing: OutgoingMessage,
    at: number,
  ): { readonly ok: true; readonly value: Placed } {
    const { message } = outgoing;
    if (message.hasDeliveryTime && message.deliverAt > at) {
      const recallHandle = this.holding.delay(queue, outgoing);
      return { ok: true, value: { queue: queue.id, offset: -1, storedAt: at, recallHandle } };
    }
    const targets = this.journal.state.lightTargets(outgoing.lightQueues);
    const offset = this.journal.send(queue, message, at, targets);
    return { ok: true, value: { queue: queue.id, offset, storedAt: at } };
  }

  /** Whoever watches knows before the sender does. */
  private async announceAfter<T>(sent: Promise<T>, changed: readonly MetaEvent[]): Promise<T> {
    const outcomes = await sent;
    this.meta.announce(changed);
    return outcomes;
  }

  private makeVisible(touched: Touched): void {
    for (const { queue, end } of touched) if (queue.visible < end) queue.visible = end;
    for (const { queue } of touched) {
      if (queue instanceof LightQueue) {
        if (queue.listeners !== undefined) for (const listener of queue.listeners) listener();
        this.parked.wakeSource(sourceKey({ kind: 'light', name: queue.name }));
        continue;
      }
      const topic = this.state.topics.get(queue.topic);
      if (topic === undefined) continue;
      for (const listener of topic.listeners) listener();
      this.parked.wakeSource(queue.topic);
      this.retaining.grew(queue, topic.spec);
    }
  }

  private messagesRemoved(): void {
    for (const { consumptions } of this.state.groups.values()) {
      for (const consumption of consumptions.values()) consumption.messagesRemoved();
    }
    this.parked.wakeSelective();
  }

  private queueOf(outgoing: OutgoingMessage): MessageQueue | undefined {
    return this.state.topics.get(outgoing.topic)?.queues[outgoing.queue];
  }

  private problemWith(batch: readonly OutgoingMessage[]): BrokerError | undefined {
    if (this.stopping !== undefined) return shuttingDown().error;
    let bytes = 0;
    for (let i = 0; i < batch.length; i++) bytes += batch[i]!.message.bytes;
    return this.storage.problemWith(bytes);
  }

  private oneQueue(source: Source): MessageQueue | LightQueue {
    const queues = this.receiver.queuesOf(source);
    if (queues.length !== 1) throw new BrokerError('ILLEGAL_OFFSET', 'offsets are those of one queue: name the queue');
    return queues[0] as MessageQueue | LightQueue;
  }

  private listenersOf(source: Source): Set<() => void> | undefined {
    if (source.kind === 'topic') return this.state.topics.get(source.topic)?.listeners;
    const lightQueue = this.state.lightQueues.get(source.name);
    return lightQueue && (lightQueue.listeners ??= new Set());
  }
}

function noQueue({ queue, topic }: OutgoingMessage): { ok: false; error: BrokerError } {
  return failed('TOPIC_NOT_FOUND', `no queue ${queue} in topic ${topic}`);
}

function isTooFar({ message }: OutgoingMessage, at: number): boolean {
  return message.hasDeliveryTime && message.deliverAt > at + DELAY_MAX_MS;
}

function tooFar(): { ok: false; error: BrokerError } {
  return failed('ILLEGAL_DELIVERY_TIME', `a message can be delayed by ${DELAY_MAX_MS / 86_400_000} days at most`);
}

function shuttingDown(): { ok: false; error: BrokerError } {
  return failed('SHUTTING_DOWN', 'the engine is stopping');
}

/** What is still wanted after those. */
function restOf(request: ReceiveRequest, deliveries: readonly Delivery[]): ReceiveRequest {
  let { bytesMax } = request;
  for (const { message } of deliveries) bytesMax -= message.bytes;
  return { ...request, max: request.max - deliveries.length, bytesMax };
}

function isSame(a: object, b: object): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

async function seekOffset(queue: MessageQueue | LightQueue, to: SeekTarget): Promise<number> {
  switch (to.kind) {
    case 'earliest':
      return queue.first;
    case 'latest':
      return queue.visible;
    case 'offset':
      return Math.min(Math.max(to.offset, queue.first), queue.visible);
    case 'time':
      return queue instanceof LightQueue ? queue.first : queue.offsetAt(to.time);
  }
}
