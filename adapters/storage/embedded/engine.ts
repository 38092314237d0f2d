import { BrokerError, failed, succeeded, type Outcome } from '../../../core/model/broker-error.ts';
import type { GroupSpec } from '../../../core/model/consumer-group.ts';
import { deadLetterCopy } from '../../../core/model/dead-letter.ts';
import type { StoredMessage } from '../../../core/model/message.ts';
import { deadLetterTopic } from '../../../core/model/names.ts';
import { DEFAULT_RETENTION, sourceKey, type Source, type TopicSpec } from '../../../core/model/topic.ts';
import type { Clock } from '../../../core/ports/clock.ts';
import {
  OutgoingMessage,
  type Capabilities,
  type Delivery,
  type EngineContext,
  type GroupState as GroupProgress,
  type MessageEngine,
  type OffsetRange,
  type Placed,
  type ReadResult,
  type ReceiveRequest,
  type SeekTarget,
  type Settled,
  type Settlement,
} from '../../../core/ports/message-engine.ts';
import type { LogRecord, RecordLog, SettleEntry } from './log/record-log.ts';
import { ParkedReceives } from './pop/parked-receives.ts';
import { initialOffset, Receiver } from './pop/receiver.ts';
import { LightQueue } from './queue/light-queue.ts';
import { MessageQueue } from './queue/message-queue.ts';
import { formatReceipt, parseReceipt, type ReceiptParts } from './receipt.ts';
import { EngineState, type GroupState } from './state.ts';

export interface EmbeddedEngineOptions {
  /** Memory the messages may take; beyond it sends are refused with STORE_FULL. */
  readonly bytesMax: number;
}

type Touched = readonly { readonly queue: MessageQueue | LightQueue; readonly end: number }[];

const NO_SETTLES: readonly SettleEntry[] = [];
const RETENTION_SCAN_MS = 10_000;

/**
 * The engine inside the process: one deterministic state machine (state.ts) over a log. Every method checks against the
 * state, applies one record, appends it to the log, and answers when the log says it is durable.
 */
export class EmbeddedEngine implements MessageEngine {
  readonly capabilities: Capabilities;
  /** Public for tests that compare two engines. */
  readonly state = new EngineState();
  private readonly log: RecordLog;
  private readonly options: EmbeddedEngineOptions;
  private clock!: Clock;
  private receiver!: Receiver;
  private parked!: ParkedReceives;
  private retentionTimer: Disposable | undefined;
  private stopping = false;

  constructor(log: RecordLog, options: EmbeddedEngineOptions) {
    this.log = log;
    this.options = options;
    this.capabilities = {
      name: log.durability === 'none' ? 'memory' : 'embedded',
      multiNode: false,
      durability: log.durability,
      ackDurability: log.durability === 'none' ? 'none' : 'fsync',
      offsets: 'dense',
      fifo: true,
      attemptReplay: true,
      delay: false,
      transactions: false,
      seek: new Set(['offset', 'time', 'earliest', 'latest']),
    };
  }

  async start(context: EngineContext): Promise<void> {
    this.clock = context.clock;
    await this.log.open((record) => this.state.apply(record));
    this.makeVisible(this.state.takeTouched());
    this.receiver = new Receiver({
      state: this.state,
      clock: this.clock,
      write: (record) => this.write(record),
      retire: (group, queueSerial, gone, dead) => this.retire(group, queueSerial, gone, dead),
    });
    this.parked = new ParkedReceives(this.clock, this.receiver);
    this.armRetention();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    this.retentionTimer?.[Symbol.dispose]();
    this.parked.endAll();
    await this.log.close();
  }

  ensureTopic(spec: TopicSpec): Promise<void> {
    return this.writeDurably({ type: 'topic', spec });
  }
  deleteTopic(name: string): Promise<void> {
    this.parked.endSource(sourceKey({ kind: 'topic', topic: name }));
    return this.writeDurably({ type: 'deleteTopic', name });
  }
  ensureGroup(spec: GroupSpec): Promise<void> {
    return this.writeDurably({ type: 'group', spec });
  }
  deleteGroup(name: string): Promise<void> {
    this.parked.endGroup(name);
    return this.writeDurably({ type: 'deleteGroup', name });
  }
  ensureLightQueue(name: string): Promise<void> {
    return this.writeDurably({ type: 'lightQueue', name });
  }
  deleteLightQueue(name: string): Promise<void> {
    this.parked.endSource(sourceKey({ kind: 'light', name }));
    return this.writeDurably({ type: 'deleteLightQueue', name });
  }
  trimLightQueue(name: string, before: number): void {
    const lightQueue = this.state.lightQueues.get(name);
    if (lightQueue !== undefined) this.write({ type: 'trim', queueSerial: lightQueue.serial, before });
  }

  send(batch: readonly OutgoingMessage[]): Promise<Outcome<Placed>[]> {
    const problem = this.roomFor(batch);
    if (problem !== undefined) return Promise.resolve(batch.map(() => ({ ok: false, error: problem })));
    const at = this.clock.now();
    const outcomes: Outcome<Placed>[] = [];
    let sends = batch;
    let queue: MessageQueue | undefined;
    for (let i = 0; i < batch.length; i++) {
      const outgoing = batch[i]!;
      // Batches are mostly runs of one queue.
      if (outgoing.queue !== queue?.id || outgoing.topic !== queue.topic) queue = this.queueOf(outgoing);
      if (queue !== undefined) outcomes.push(succeeded(this.state.appendTo(queue, outgoing, at)));
      else {
        outcomes.push(failed('TOPIC_NOT_FOUND', `no queue ${outgoing.queue} in topic ${outgoing.topic}`));
        sends = sends.filter((other) => other !== outgoing);
      }
    }
    return this.appendCommit({ type: 'commit', at, sends, settles: NO_SETTLES }, outcomes);
  }

  receive(request: ReceiveRequest, signal: AbortSignal): Promise<Delivery[]> {
    if (this.stopping || signal.aborted) return Promise.resolve([]);
    try {
      const deliveries = this.receiver.receiveNow(request);
      if (deliveries.length > 0 || request.waitMs <= 0) return Promise.resolve(deliveries);
      return this.parked.park(request, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async settle(batch: readonly Settlement[]): Promise<Outcome<Settled>[]> {
    const at = this.clock.now();
    const sends: OutgoingMessage[] = [];
    const settles: SettleEntry[] = [];
    const groups = new Set<string>();
    const outcomes = batch.map((settlement): Outcome<Settled> => {
      const lease = this.liveLease(settlement, at);
      if (lease === undefined) return stale();
      groups.add(lease.group.spec.name);
      const entry = this.settleEntry(settlement, lease, at, sends);
      settles.push(entry);
      const epoch = this.state.applySettle(entry);
      if (entry.kind !== 'extend') return succeeded({});
      const { group, parts } = lease;
      return succeeded({ receipt: formatReceipt(group.serial, parts.queueSerial, parts.offset, epoch) });
    });
    if (settles.length === 0) return outcomes;
    for (const outgoing of sends) this.state.append(outgoing, at);
    await this.appendCommit({ type: 'commit', at, sends, settles }, outcomes);
    for (const group of groups) this.parked.wakeGroup(group);
    return outcomes;
  }

  async transact(send: readonly OutgoingMessage[], settle: readonly Settlement[]): Promise<Outcome<Placed[]>> {
    const problem = this.roomFor(send);
    if (problem !== undefined) return { ok: false, error: problem };
    const at = this.clock.now();
    const missing = send.find((outgoing) => this.queueOf(outgoing) === undefined);
    if (missing !== undefined) return failed('TOPIC_NOT_FOUND', `no queue ${missing.queue} in topic ${missing.topic}`);
    const leases = settle.map((settlement) => this.liveLease(settlement, at));
    const repeats = new Set(settle.map(({ receipt }) => receipt)).size < settle.length;
    if (repeats || leases.includes(undefined)) return stale();
    const sends = [...send];
    const settles = settle.map((settlement, i) => this.settleEntry(settlement, leases[i]!, at, sends));
    const placed = sends.map((outgoing) => this.state.append(outgoing, at)).slice(0, send.length);
    for (const entry of settles) this.state.applySettle(entry);
    await this.appendCommit({ type: 'commit', at, sends, settles }, undefined);
    for (const lease of leases) this.parked.wakeGroup(lease!.group.spec.name);
    return succeeded(placed);
  }

  prepare(): Promise<Outcome<string>> {
    return Promise.resolve(failed('UNSUPPORTED', 'transactions are not supported yet'));
  }
  resolve(): Promise<Outcome<Placed | undefined>> {
    return Promise.resolve(failed('UNSUPPORTED', 'transactions are not supported yet'));
  }
  orphans(): Promise<{ transactionId: string; message: StoredMessage }[]> {
    return Promise.resolve([]);
  }
  cancelDelayed(): Promise<Outcome<{ messageId: string }>> {
    return Promise.resolve(failed('UNSUPPORTED', 'delayed messages are not supported yet'));
  }

  read(source: Source, from: number, max: number, bytesMax: number): ReadResult {
    return this.oneQueue(source).read(from, max, bytesMax);
  }

  async offsets(source: Source): Promise<OffsetRange> {
    const { first, visible } = this.oneQueue(source);
    return { first, next: visible };
  }

  async offsetAt(source: Source, time: number): Promise<number> {
    const queue = this.oneQueue(source);
    return queue instanceof MessageQueue ? queue.offsetAt(time) : queue.first;
  }

  async groupState(groupName: string, source: Source): Promise<GroupProgress[]> {
    const group = this.receiver.group(groupName);
    return this.receiver.queuesOf(source).map((queue, id) => {
      const start = initialOffset(queue);
      const unjoined = { queue: id, floor: start, cursor: start, inflight: 0, lag: queue.visible - start };
      return group.consumptions.get(queue.serial)?.state(id) ?? unjoined;
    });
  }

  async seek(groupName: string, source: Source, to: SeekTarget): Promise<void> {
    const group = this.receiver.group(groupName);
    const queues = this.receiver.queuesOf(source);
    for (const [id, queue] of queues.entries()) {
      if (to.kind === 'offset' && to.queue !== id && queues.length > 1) continue;
      this.receiver.join(group, queue);
      const offset = seekOffset(queue as MessageQueue | LightQueue, to);
      this.write({ type: 'seek', group: groupName, queueSerial: queue.serial, offset });
    }
    await this.durable();
    this.parked.wakeGroup(groupName);
  }

  onArrival(source: Source, listener: () => void): Disposable {
    const listeners = this.listenersOf(source);
    listeners?.add(listener);
    return { [Symbol.dispose]: () => void listeners?.delete(listener) };
  }

  private write(record: LogRecord): void {
    this.state.apply(record);
    this.log.append(record);
  }

  private writeDurably(record: LogRecord): Promise<void> {
    this.state.apply(record);
    return new Promise((resolve) => this.log.append(record, resolve));
  }

  /** Resolves when everything written so far is durable. */
  private durable(): Promise<void> {
    return this.writeDurably({ type: 'commit', at: this.clock.now(), sends: [], settles: [] });
  }

  /** The commit was applied already; its messages become visible when it is durable. */
  private appendCommit<T>(record: LogRecord, result: T): Promise<T> {
    const touched = this.state.takeTouched();
    return new Promise((resolve) => {
      this.log.append(record, () => {
        this.makeVisible(touched);
        resolve(result);
      });
    });
  }

  private makeVisible(touched: Touched): void {
    for (const { queue, end } of touched) if (queue.visible < end) queue.visible = end;
    for (const { queue } of touched) {
      if (queue instanceof LightQueue) {
        for (const listener of queue.listeners) listener();
        this.parked?.wakeSource(sourceKey({ kind: 'light', name: queue.name }));
        continue;
      }
      const topic = this.state.topics.get(queue.topic);
      if (topic === undefined) continue;
      for (const listener of topic.listeners) listener();
      this.parked?.wakeSource(queue.topic);
      if (queue.bytes > topic.spec.retention.bytesPerQueue) this.retain(queue, topic.spec);
    }
  }

  private retire(
    group: GroupState,
    queueSerial: number,
    gone: readonly number[],
    dead: readonly StoredMessage[],
  ): void {
    const sends = dead.map((message) => this.deadLetter(group.spec.name, message));
    const settles = gone.map((offset) => ({ kind: 'ack' as const, group: group.spec.name, queueSerial, offset }));
    const record: LogRecord = { type: 'commit', at: this.clock.now(), sends, settles };
    this.state.apply(record);
    void this.appendCommit(record, undefined);
  }

  /** The copy for the group's dead letter topic, which is created when it is first needed. */
  private deadLetter(group: string, message: StoredMessage): OutgoingMessage {
    const name = deadLetterTopic(group);
    if (!this.state.topics.has(name)) {
      this.write({ type: 'topic', spec: { name, type: 'MIXED', queues: 1, retention: DEFAULT_RETENTION } });
    }
    const outgoing = new OutgoingMessage(name, message.address, deadLetterCopy(message));
    outgoing.queue = 0;
    return outgoing;
  }

  private liveLease(settlement: Settlement, now: number): { group: GroupState; parts: ReceiptParts } | undefined {
    const parts = parseReceipt(settlement.receipt);
    const group = parts && this.state.groupsBySerial.get(parts.groupSerial);
    if (parts === undefined || group === undefined) return undefined;
    if (settlement.group !== undefined && settlement.group !== group.spec.name) return undefined;
    const consumption = group.consumptions.get(parts.queueSerial);
    return consumption?.isLeased(parts.offset, parts.epoch, now) === true ? { group, parts } : undefined;
  }

  /** The record entry of a verdict; a dead letter adds its copy to `sends`. */
  private settleEntry(
    { action }: Settlement,
    { group, parts }: { group: GroupState; parts: ReceiptParts },
    at: number,
    sends: OutgoingMessage[],
  ): SettleEntry {
    const place = { group: group.spec.name, queueSerial: parts.queueSerial, offset: parts.offset };
    switch (action.kind) {
      case 'ack':
        return { ...place, kind: 'ack' };
      case 'extend':
        return { ...place, kind: 'extend', until: at + action.ms, keepReceipt: action.keepReceipt === true };
      case 'release':
        return { ...place, kind: 'release', visibleAt: at + action.delayMs, countAttempt: action.countAttempt };
      case 'deadLetter': {
        const message = this.state.queue(parts.queueSerial)?.get(parts.offset);
        if (message !== undefined) sends.push(this.deadLetter(group.spec.name, message));
        return { ...place, kind: 'ack' };
      }
    }
  }

  private queueOf(outgoing: OutgoingMessage): MessageQueue | undefined {
    return this.state.topics.get(outgoing.topic)?.queues[outgoing.queue];
  }

  private roomFor(batch: readonly OutgoingMessage[]): BrokerError | undefined {
    if (this.stopping) return new BrokerError('SHUTTING_DOWN', 'the engine is stopping');
    let bytes = this.state.usage.bytes;
    for (let i = 0; i < batch.length; i++) bytes += batch[i]!.message.bytes;
    if (bytes <= this.options.bytesMax) return undefined;
    return new BrokerError('STORE_FULL', `the store holds its limit of ${this.options.bytesMax} bytes`);
  }

  private oneQueue(source: Source): MessageQueue | LightQueue {
    const queues = this.receiver.queuesOf(source);
    if (queues.length !== 1) throw new BrokerError('ILLEGAL_OFFSET', 'offsets are those of one queue: name the queue');
    return queues[0] as MessageQueue | LightQueue;
  }

  private listenersOf(source: Source): Set<() => void> | undefined {
    return source.kind === 'light'
      ? this.state.lightQueues.get(source.name)?.listeners
      : this.state.topics.get(source.topic)?.listeners;
  }

  private retain(queue: MessageQueue, spec: TopicSpec): void {
    const before = queue.removableBefore(spec.retention, this.clock.now());
    if (before > queue.first) this.write({ type: 'trim', queueSerial: queue.serial, before });
  }

  private armRetention(): void {
    this.retentionTimer = this.clock.schedule(RETENTION_SCAN_MS, () => {
      for (const { spec, queues } of this.state.topics.values()) for (const queue of queues) this.retain(queue, spec);
      this.armRetention();
    });
  }
}

function stale(): { ok: false; error: BrokerError } {
  return failed('STALE_RECEIPT', 'the receipt was acknowledged, superseded, expired or never issued');
}

function seekOffset(queue: MessageQueue | LightQueue, to: SeekTarget): number {
  switch (to.kind) {
    case 'earliest':
      return queue.first;
    case 'latest':
      return queue.visible;
    case 'offset':
      return Math.min(Math.max(to.offset, queue.first), queue.visible);
    case 'time':
      return queue instanceof MessageQueue ? queue.offsetAt(to.time) : queue.first;
  }
}
