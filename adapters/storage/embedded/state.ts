import type { GroupSpec } from '../../../core/model/consumer-group.ts';
import type { Message } from '../../../core/model/message.ts';
import type { TopicSpec } from '../../../core/model/topic.ts';
import { HeldMessages, MEMORY_HELD, type HeldChanges, type HeldStore } from './held/held-messages.ts';
import type { ChangeEntry, HeldEntry, HeldKey, LeaseRecord, LogRecord, Replay, SettleEntry } from './log/record-log.ts';
import { CorruptLogError } from './log/wal-scan.ts';
import { MetaState } from './meta/meta-state.ts';
import { Consumption, type Epochs } from './pop/consumption.ts';
import type { MessageBytes } from './queue/block.ts';
import { MEMORY_BLOCKS, type BlockStore } from './queue/block-store.ts';
import { LightQueue, type LightChunk, type LightStore } from './queue/light-queue.ts';
import { BLOCK_BYTES_MAX, MessageQueue, type ReadableQueue, type Usage } from './queue/message-queue.ts';

export interface TopicState {
  spec: TopicSpec;
  readonly queues: MessageQueue[];
  readonly listeners: Set<() => void>;
  savedSequence: number;
}

export interface GroupState {
  spec: GroupSpec;
  readonly serial: number;
  /** By queue serial. */
  readonly consumptions: Map<number, Consumption>;
  savedSequence: number;
}

/** Where the state keeps what need not be in memory. */
export interface StateStores {
  readonly blocks: BlockStore;
  readonly held: HeldStore;
  loadLightChunk(serial: number, offset: number): Promise<LightChunk>;
  readonly blockBytesMax?: number;
}

const IN_MEMORY: StateStores = {
  blocks: MEMORY_BLOCKS,
  held: MEMORY_HELD,
  loadLightChunk: () => Promise.reject(new Error('entries in memory are never loaded')),
};

/** The light queues one publish goes to. */
export interface LightTargets {
  readonly queues: readonly LightQueue[];
  /** Of those whose records are logged. */
  readonly durableSerials: readonly number[];
}

/** Serials are 32 bits; below this everything is logged. */
const FIRST_PASSING_SERIAL = 2 ** 31;
const NO_TARGETS: LightTargets = { queues: [], durableSerials: [] };

/** What changed since the last checkpoint. */
export class Dirt {
  readonly topics = new Set<string>();
  readonly groups = new Set<string>();
  queues: MessageQueue[] = [];
  lightQueues: LightQueue[] = [];
  consumptions: { readonly groupSerial: number; readonly consumption: Consumption }[] = [];
  readonly deletedQueues = new Set<number>();
  readonly deletedConsumptions: { readonly groupSerial: number; readonly queueSerial: number }[] = [];
  metaKeys: ReadonlySet<string> = new Set();
  held: HeldChanges = { added: [], removed: [] };
}

/**
 * Everything the engine knows, as a function of the records applied so far: no clock, no random, no I/O. What was appended
 * becomes visible when the log says it is durable. While a log is replayed, parts that a checkpoint holds in a later form
 * skip the records they have seen (`savedSequence`).
 */
export class EngineState implements Replay, LightStore {
  readonly topics = new Map<string, TopicState>();
  readonly groups = new Map<string, GroupState>();
  readonly groupsBySerial = new Map<number, GroupState>();
  readonly lightQueues = new Map<string, LightQueue>();
  readonly held: HeldMessages;
  readonly meta = new MetaState();
  readonly usage: Usage = { bytes: 0 };
  readonly epochs: Epochs = { base: 0 };
  dirt = new Dirt();
  /** How often the log was opened. */
  generation = 0;
  lastSerial = 0;
  private passingSerials = 0;
  lastHeldId = 0;
  private readonly stores: StateStores;
  private readonly queues = new Map<number, MessageQueue | LightQueue>();
  /** Message queues by serial: the fast way from a light queue's entry to its message. */
  private readonly messageQueues: (MessageQueue | undefined)[] = [];
  /** Queues that got messages since they were last made visible. */
  private touched: (MessageQueue | LightQueue)[] = [];
  /** Of the record being replayed; Infinity when records are new. */
  private replaySequence = Infinity;
  private lastTargetNames: readonly string[] | undefined;
  private lastTargets = NO_TARGETS;

  constructor(stores: StateStores = IN_MEMORY) {
    this.stores = stores;
    this.held = new HeldMessages(stores.held);
  }

  queue(serial: number): ReadableQueue | undefined {
    return this.queues.get(serial);
  }

  queueBySerial(serial: number): MessageQueue | undefined {
    return this.messageQueues[serial];
  }

  loadChunk(serial: number, offset: number): Promise<LightChunk> {
    return this.stores.loadLightChunk(serial, offset);
  }

  /** Whether records about the queue are logged. */
  isDurable(queueSerial: number): boolean {
    const queue = this.queues.get(queueSerial);
    return queue instanceof LightQueue ? queue.isDurable : queue !== undefined;
  }

  nextSerial(): number {
    return ++this.lastSerial;
  }

  /**
   * Of what is not logged, and so not known to the next start: groups that read it are logged, and their records must not
   * meet something else of that number there.
   */
  nextPassingSerial(): number {
    return FIRST_PASSING_SERIAL + this.passingSerials++;
  }

  nextHeldId(): number {
    return ++this.lastHeldId;
  }

  /** The log was read to its end: from here on records are new. */
  endReplay(): void {
    this.replaySequence = Infinity;
    for (const { queue, end } of this.takeTouched()) queue.visible = end;
  }

  record(sequence: number): void {
    this.replaySequence = sequence;
  }

  flush(): void {
    for (const queue of this.touched) if (queue instanceof MessageQueue) queue.flush();
  }

  apply(record: LogRecord): void {
    switch (record.type) {
      case 'start':
        return this.start(record.generation);
      case 'topic':
        return this.applyTopic(record.spec, record.serials);
      case 'deleteTopic':
        return this.deleteTopic(record.name);
      case 'group':
        return this.applyGroup(record.spec, record.serial);
      case 'deleteGroup':
        return this.deleteGroup(record.name);
      case 'lightQueue':
        return this.addLightQueue(record.name, record.serial, true);
      case 'deleteLightQueue':
        return this.deleteLightQueue(record.serial);
      case 'join':
        return this.join(record.groupSerial, record.queueSerial, record.start);
      case 'seek':
        return this.unsaved(record.groupSerial, record.queueSerial)?.applySeek(record.offset);
      case 'purge':
        this.unsaved(record.groupSerial, record.queueSerial)?.applyPurge(record.to, record.at);
        return undefined;
      case 'trim':
        return this.trim(record.queueSerial, record.before);
      case 'ask':
        return this.held.ask(record.id, record.dueAt);
      case 'metaPut':
        return this.meta.put(record.key, Buffer.from(record.value, 'base64'), record.revision, record.expiresAt);
      case 'metaDelete':
        return this.meta.delete(record.key, record.revision);
    }
  }

  lease(record: LeaseRecord): void {
    this.unsaved(record.groupSerial, record.queueSerial)?.applyLease(record);
  }

  /** Replays a message. @throws Error when the log does not go on where the queue ends */
  send(
    queueSerial: number,
    offset: number,
    message: MessageBytes,
    storedAt: number,
    lightQueueSerials: readonly number[],
  ): void {
    const queue = this.messageQueues[queueSerial];
    // A queue read from a later state has the message already, or is gone.
    if (queue !== undefined && this.replaySequence > queue.savedSequence) {
      if (offset !== queue.appended) {
        throw new CorruptLogError(
          `the log goes on at offset ${offset} of queue ${queueSerial}, not at ${queue.appended}`,
        );
      }
      queue.append(message, storedAt);
      this.touch(queue);
    }
    for (const serial of lightQueueSerials) {
      const lightQueue = this.queues.get(serial);
      if (lightQueue instanceof LightQueue && this.replaySequence > lightQueue.savedSequence) {
        lightQueue.append(queueSerial, offset);
        this.touch(lightQueue);
      }
    }
  }

  settle(entry: SettleEntry): void {
    this.applySettle(entry);
  }

  hold(entry: HeldEntry): void {
    this.lastHeldId = Math.max(this.lastHeldId, entry.id);
    this.held.add(entry);
  }

  unhold(key: HeldKey): void {
    this.held.remove(key);
  }

  change({ key, value, revision }: ChangeEntry): void {
    if (value === undefined) this.meta.delete(key, revision);
    else this.meta.put(key, new Uint8Array(value), revision, 0);
  }

  /** Stores one message and its references. @returns its offset */
  appendTo(queue: MessageQueue, message: Message, at: number, lightQueues: readonly LightQueue[]): number {
    const offset = queue.append(message, at);
    this.touch(queue);
    for (let i = 0; i < lightQueues.length; i++) {
      const lightQueue = lightQueues[i]!;
      lightQueue.append(queue.serial, offset);
      if (queue.removesConsumed) lightQueue.referenced(queue.serial, offset);
      this.touch(lightQueue);
    }
    return offset;
  }

  /** @returns the epoch of the receipt that is good from now on, for 'extend' */
  applySettle(entry: SettleEntry): number {
    const consumption = this.unsaved(entry.groupSerial, entry.queueSerial);
    if (consumption === undefined) return 0;
    switch (entry.kind) {
      case 'ack':
        consumption.applyAck(entry.offset);
        return 0;
      case 'extend':
        return consumption.applyExtend(entry.offset, entry.time, entry.flag);
      case 'release':
        consumption.applyRelease(entry.offset, entry.time, entry.flag);
        return 0;
    }
  }

  /** The light queues of that name there are. Publishes to one address give the same array. */
  lightTargets(names: readonly string[]): LightTargets {
    if (names.length === 0) return NO_TARGETS;
    if (names === this.lastTargetNames) return this.lastTargets;
    const queues = names.flatMap((name) => this.lightQueues.get(name) ?? []);
    const durableSerials = queues.filter(({ isDurable }) => isDurable).map(({ serial }) => serial);
    this.lastTargetNames = names;
    this.lastTargets = { queues, durableSerials };
    return this.lastTargets;
  }

  /** Of a held message: those that are still there. */
  lightTargetsOf({ id, lightQueueSerials }: HeldEntry): LightTargets {
    const passing = this.held.passingTargets(id);
    if (lightQueueSerials.length === 0 && passing.length === 0) return NO_TARGETS;
    const durable = lightQueueSerials.flatMap((serial) => {
      const lightQueue = this.queues.get(serial);
      return lightQueue instanceof LightQueue ? [lightQueue] : [];
    });
    const queues = [...durable, ...passing.filter((lightQueue) => this.queues.get(lightQueue.serial) === lightQueue)];
    return { queues, durableSerials: durable.map(({ serial }) => serial) };
  }

  /** What changed since the last call. */
  takeDirt(): Dirt {
    const { dirt } = this;
    this.dirt = new Dirt();
    for (const queue of dirt.queues) queue.isDirty = false;
    for (const lightQueue of dirt.lightQueues) lightQueue.isDirty = false;
    for (const { consumption } of dirt.consumptions) consumption.isDirty = false;
    dirt.metaKeys = this.meta.takeDirty();
    dirt.held = this.held.takeChanges();
    return dirt;
  }

  /** Ends a batch: hands out the queues appended to since the last call, each with the end it has now. */
  takeTouched(): { queue: MessageQueue | LightQueue; end: number }[] {
    const touched = this.touched.map((queue) => ({ queue, end: queue.appended }));
    for (const { queue } of touched) {
      queue.isTouched = false;
      if (queue instanceof MessageQueue) queue.flush();
    }
    this.touched = [];
    return touched;
  }

  addLightQueue(name: string, serial: number, isDurable: boolean): void {
    if (this.lightQueues.has(name)) return;
    this.registerLightQueue(new LightQueue(serial, name, isDurable, this));
    if (isDurable) this.dirty(this.lightQueues.get(name)!);
  }

  deleteLightQueue(serial: number): void {
    const lightQueue = this.queues.get(serial);
    if (!(lightQueue instanceof LightQueue)) return;
    // An unfinished checkpoint may have the one of that name that was made after it.
    if (this.lightQueues.get(lightQueue.name) === lightQueue) this.lightQueues.delete(lightQueue.name);
    this.lastTargetNames = undefined;
    this.forget(lightQueue);
    if (lightQueue.isDurable) this.dirt.deletedQueues.add(serial);
  }

  trim(queueSerial: number, before: number): void {
    const queue = this.queues.get(queueSerial);
    if (queue === undefined || this.replaySequence <= queue.savedSequence) return;
    queue.trim(before);
    this.dirty(queue);
  }

  /** Parts read from a checkpoint. */
  restoreTopic(spec: TopicSpec, serials: readonly number[], savedSequence: number): void {
    this.applyTopic(spec, serials);
    this.topics.get(spec.name)!.savedSequence = savedSequence;
  }
  restoreGroup(spec: GroupSpec, serial: number, savedSequence: number): void {
    this.applyGroup(spec, serial);
    this.groups.get(spec.name)!.savedSequence = savedSequence;
  }
  restoreCounters(generation: number, lastSerial: number, lastHeldId: number): void {
    this.start(generation);
    this.lastSerial = Math.max(this.lastSerial, lastSerial);
    this.lastHeldId = lastHeldId;
  }
  registerLightQueue(lightQueue: LightQueue): void {
    this.lightQueues.set(lightQueue.name, lightQueue);
    this.queues.set(lightQueue.serial, lightQueue);
    if (lightQueue.isDurable) this.lastSerial = Math.max(this.lastSerial, lightQueue.serial);
    this.lastTargetNames = undefined;
  }

  private start(generation: number): void {
    this.generation = generation;
    // Beyond every epoch given out since the last logged one.
    this.epochs.base = generation * 2 ** 32;
    for (const { serial, consumptions } of this.groups.values()) {
      for (const consumption of consumptions.values()) {
        const isNew = this.replaySequence > consumption.savedSequence;
        if (isNew && consumption.applyStart() && !consumption.isDirty) this.dirtyConsumption(serial, consumption);
      }
    }
  }

  private touch(queue: MessageQueue | LightQueue): void {
    if (queue.isTouched) return;
    queue.isTouched = true;
    this.touched.push(queue);
    if (!queue.isDirty) this.dirty(queue);
  }

  private dirty(queue: MessageQueue | LightQueue): void {
    if (queue.isDirty) return;
    queue.isDirty = true;
    if (queue instanceof MessageQueue) this.dirt.queues.push(queue);
    else if (queue.isDurable) this.dirt.lightQueues.push(queue);
  }

  /** The group's progress in the queue, about to change; undefined when a checkpoint holds it in a later form. */
  private unsaved(groupSerial: number, queueSerial: number): Consumption | undefined {
    const consumption = this.groupsBySerial.get(groupSerial)?.consumptions.get(queueSerial);
    if (consumption === undefined || this.replaySequence <= consumption.savedSequence) return undefined;
    if (!consumption.isDirty) this.dirtyConsumption(groupSerial, consumption);
    return consumption;
  }

  private dirtyConsumption(groupSerial: number, consumption: Consumption): void {
    consumption.isDirty = true;
    this.dirt.consumptions.push({ groupSerial, consumption });
  }

  private applyTopic(spec: TopicSpec, serials: readonly number[]): void {
    let topic = this.topics.get(spec.name);
    if (topic === undefined) {
      topic = { spec, queues: [], listeners: new Set(), savedSequence: 0 };
      this.topics.set(spec.name, topic);
    } else if (this.replaySequence <= topic.savedSequence) return;
    const removesConsumed = spec.retention.consumed === true;
    if (removesConsumed && topic.spec.retention.consumed !== true) {
      for (const lightQueue of this.lightQueues.values()) lightQueue.forgetReferences();
    }
    topic.spec = spec;
    this.dirt.topics.add(spec.name);
    const shared = {
      usage: this.usage,
      store: this.stores.blocks,
      blockBytesMax: this.stores.blockBytesMax ?? BLOCK_BYTES_MAX,
    };
    for (const serial of serials.slice(topic.queues.length)) {
      const queue = new MessageQueue(serial, spec.name, topic.queues.length, shared);
      topic.queues.push(queue);
      this.queues.set(serial, queue);
      this.messageQueues[serial] = queue;
      this.lastSerial = Math.max(this.lastSerial, serial);
    }
    for (const queue of topic.queues) queue.removesConsumed = removesConsumed;
  }

  private deleteTopic(name: string): void {
    const topic = this.topics.get(name);
    if (topic === undefined || this.replaySequence <= topic.savedSequence) return;
    for (const queue of topic.queues) {
      this.forget(queue);
      queue.clear();
      this.messageQueues[queue.serial] = undefined;
      this.dirt.deletedQueues.add(queue.serial);
    }
    this.topics.delete(name);
    this.dirt.topics.add(name);
  }

  private applyGroup(spec: GroupSpec, serial: number): void {
    const group = this.groups.get(spec.name);
    this.lastSerial = Math.max(this.lastSerial, serial);
    if (group === undefined) {
      const added = { spec, serial, consumptions: new Map<number, Consumption>(), savedSequence: 0 };
      this.groups.set(spec.name, added);
      this.groupsBySerial.set(serial, added);
    } else if (this.replaySequence <= group.savedSequence) return;
    else this.changeGroup(group, spec);
    this.dirt.groups.add(spec.name);
  }

  /** The order is part of how progress is kept: a change goes on at the first message not acknowledged. */
  private changeGroup(group: GroupState, spec: GroupSpec): void {
    for (const [serial, old] of group.spec.order === spec.order ? [] : group.consumptions) {
      if (this.replaySequence <= old.savedSequence) continue;
      const changed = new Consumption(old.queue, old.floor, spec.order, this.epochs, old.lastEpoch);
      changed.purgedTo = old.purgedTo;
      this.addConsumption(group, serial, changed);
    }
    group.spec = spec;
  }

  private deleteGroup(name: string): void {
    const group = this.groups.get(name);
    if (group === undefined || this.replaySequence <= group.savedSequence) return;
    this.groups.delete(name);
    this.groupsBySerial.delete(group.serial);
    this.dirt.groups.add(name);
    for (const queueSerial of group.consumptions.keys()) {
      this.dirt.deletedConsumptions.push({ groupSerial: group.serial, queueSerial });
    }
  }

  private forget(queue: ReadableQueue): void {
    this.queues.delete(queue.serial);
    for (const group of this.groups.values()) group.consumptions.delete(queue.serial);
  }

  private join(groupSerial: number, queueSerial: number, start: number): void {
    const group = this.groupsBySerial.get(groupSerial);
    const queue = this.queues.get(queueSerial);
    if (group === undefined || queue === undefined) return;
    const known = group.consumptions.get(queueSerial);
    if (known !== undefined && this.replaySequence <= known.savedSequence) return;
    const consumption = new Consumption(queue, start, group.spec.order, this.epochs);
    this.addConsumption(group, queueSerial, consumption);
  }

  private addConsumption(group: GroupState, queueSerial: number, consumption: Consumption): void {
    group.consumptions.set(queueSerial, consumption);
    this.dirtyConsumption(group.serial, consumption);
    if (this.replaySequence === Infinity) consumption.openEmptyLanes();
  }
}
