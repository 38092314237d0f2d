import type { EngineContext } from '../../../../core/ports/message-engine.ts';
import { isDiskFull } from '../disk/file-system.ts';
import type { KeyValueOperation, KeyValueStore } from '../disk/key-value-store.ts';
import type { WalLog } from '../log/wal-log.ts';
import type { BlockFiles } from '../queue/block-files.ts';
import type { BlockEntry } from '../queue/block-store.ts';
import type { LightQueue } from '../queue/light-queue.ts';
import type { MessageQueue } from '../queue/message-queue.ts';
import type { Dirt, EngineState } from '../state.ts';
import {
  blockKey,
  CHECKPOINT_KEY,
  chunkKey,
  consumptionKey,
  groupKey,
  heldKey,
  inlineKey,
  lightQueueKey,
  metaKey,
  queueKey,
  rangesOfQueue,
  topicKey,
} from './keys.ts';
import { SmallBlocks } from './small-blocks.ts';
import { encodeConsumption, encodeHeld, encodeJson, encodeMeta, type StoredBlock } from './values.ts';

export interface CheckpointerOptions {
  readonly blockBytesMax: number;
  /** Parts written at once; between them the event loop goes on. */
  readonly operationsPerWrite: number;
}

/**
 * Writes what changed since the last checkpoint into the key-value store, part by part, each with the sequence of the last
 * record in it; then the log behind is not needed any more. Parts may be of different moments: the log is durable beyond
 * all of them first, and its replay skips what a part has.
 */
export class Checkpointer {
  private readonly state: EngineState;
  private readonly log: WalLog;
  private readonly store: KeyValueStore;
  private readonly blocks: BlockFiles;
  private readonly small: SmallBlocks;
  private readonly context: EngineContext;
  private readonly options: CheckpointerOptions;
  /** Of checkpoints that failed. */
  private carried: Dirt[] = [];
  private carriedUnused: string[] = [];
  private running: Promise<void> | undefined;
  private failure: Error | undefined;
  /** For the next write. What a full disk refused stays: blocks that were merged go together with what takes their place. */
  private operations: KeyValueOperation[];
  /** Keys of what was deleted as a whole. Until the checkpoint is complete the log may still replay what led up to that. */
  private deletions: string[] = [];
  /** What can be dropped from memory when the parts are written. */
  private afterwards: (() => void)[] = [];

  /** @param garbage keys found at start that belong to nothing */
  constructor(
    state: EngineState,
    log: WalLog,
    store: KeyValueStore,
    blocks: BlockFiles,
    context: EngineContext,
    garbage: readonly string[],
    options: CheckpointerOptions,
  ) {
    this.state = state;
    this.log = log;
    this.store = store;
    this.blocks = blocks;
    this.small = new SmallBlocks(blocks, options.blockBytesMax);
    this.context = context;
    this.options = options;
    this.operations = garbage.map((key) => ({ type: 'del', key }));
  }

  /**
   * One at a time; who asks while one is running gets that one. A full disk is tried again with the next one; after any other
   * error nothing can be trusted.
   * @throws the disk's or the store's error
   */
  run(): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    this.running ??= this.write()
      .catch((error: Error) => this.fail(error))
      .finally(() => (this.running = undefined));
    return this.running;
  }

  /** For who does not wait. */
  runInBackground(): void {
    // Reported where it happened.
    this.run().catch(() => undefined);
  }

  private fail(error: Error): never {
    if (isDiskFull(error))
      this.context.log.warn({ err: error }, 'the disk is full: there was no room for a checkpoint');
    else {
      this.failure = error;
      this.context.onFailure(error);
    }
    throw error;
  }

  private async write(): Promise<void> {
    const { mark } = this.log.wal;
    if (this.operations.length > 0) await this.writeOperations();
    const dirts = [...this.carried, this.state.takeDirt()];
    const unused = [...this.carriedUnused, ...this.blocks.takeUnused()];
    this.carried = dirts;
    this.carriedUnused = unused;
    this.afterwards = [];
    this.small.reset();
    this.deletions = [];
    for (const dirt of dirts) await this.addParts(dirt);
    const { generation, lastSerial, lastHeldId, meta } = this.state;
    for (const key of this.deletions) this.operations.push({ type: 'del', key });
    // Last: without it the parts before are only later than the log needs.
    this.put(
      CHECKPOINT_KEY,
      encodeJson({ sequence: mark.sequence, generation, lastSerial, lastHeldId, lastRevision: meta.lastRevision }),
    );
    await this.writeOperations();
    this.carried = [];
    this.carriedUnused = [];
    for (const done of this.afterwards) done();
    for (const dirt of dirts) this.state.held.saved(dirt.held);
    await this.blocks.remove(unused);
    await this.log.wal.release(mark);
  }

  private async addParts(dirt: Dirt): Promise<void> {
    for (const name of dirt.topics) this.addTopic(name);
    for (const name of dirt.groups) this.addGroup(name);
    for (const serial of dirt.deletedQueues) await this.deleteQueue(serial);
    for (const { groupSerial, queueSerial } of dirt.deletedConsumptions) {
      this.deletions.push(consumptionKey(queueSerial, groupSerial));
    }
    for (const queue of dirt.queues) if (this.isCurrent(queue)) await this.addQueue(queue);
    for (const lightQueue of dirt.lightQueues) if (this.isCurrent(lightQueue)) await this.addLightQueue(lightQueue);
    for (const { groupSerial, consumption } of dirt.consumptions) {
      const { serial } = consumption.queue;
      const isCurrent = this.state.groupsBySerial.get(groupSerial)?.consumptions.get(serial) === consumption;
      if (!isCurrent || !this.state.isDurable(serial)) continue;
      this.put(consumptionKey(serial, groupSerial), encodeConsumption(consumption.snapshot(), this.log.sequence));
      await this.writeSome();
    }
    await this.addHeldAndMeta(dirt);
  }

  private addTopic(name: string): void {
    const topic = this.state.topics.get(name);
    if (topic === undefined) this.deletions.push(topicKey(name));
    else {
      const serials = topic.queues.map(({ serial }) => serial);
      this.put(topicKey(name), encodeJson({ spec: topic.spec, serials, sequence: this.log.sequence }));
    }
  }

  private addGroup(name: string): void {
    const group = this.state.groups.get(name);
    if (group === undefined) this.deletions.push(groupKey(name));
    else {
      const { spec, serial } = group;
      this.put(groupKey(name), encodeJson({ spec, serial, sequence: this.log.sequence }));
    }
  }

  private async deleteQueue(serial: number): Promise<void> {
    this.deletions.push(queueKey(serial), lightQueueKey(serial));
    for (const range of rangesOfQueue(serial)) {
      for await (const [key] of this.store.range(...range)) this.deletions.push(key);
    }
  }

  /** Everything that is in the queue now gets a place: in its file, or inline. */
  private async addQueue(queue: MessageQueue): Promise<void> {
    queue.seal();
    const { first, appended } = queue;
    this.put(queueKey(queue.serial), encodeJson({ first, appended, sequence: this.log.sequence }));
    const inline = await this.small.take(queue, appended);
    // First: a merged block stands where the first of its parts stood.
    this.addRemovedBlocks();
    for (const entry of inline) this.addInline(entry);
    await this.writeSome();
  }

  private addInline(entry: BlockEntry): void {
    const { queueSerial, baseOffset } = entry;
    this.put(inlineKey(queueSerial, baseOffset), entry.content!.encode(queueSerial));
    this.put(blockKey(queueSerial, baseOffset), storedBlock(entry, { kind: 'inline' }));
    this.afterwards.push(() => this.small.written(entry));
  }

  private addRemovedBlocks(): void {
    for (const { queueSerial, baseOffset } of this.blocks.takeRemoved()) {
      for (const key of [blockKey(queueSerial, baseOffset), inlineKey(queueSerial, baseOffset)]) {
        this.operations.push({ type: 'del', key });
      }
    }
  }

  /** Blocks that came into files since the last time. */
  private addPlacedBlocks(): void {
    this.addRemovedBlocks();
    for (const entry of this.blocks.takePlaced()) {
      if (entry.isRemoved) continue;
      this.put(blockKey(entry.queueSerial, entry.baseOffset), storedBlock(entry, entry.place!));
    }
  }

  private async addLightQueue(lightQueue: LightQueue): Promise<void> {
    const { serial, name, first, appended } = lightQueue;
    this.put(lightQueueKey(serial), encodeJson({ name, first, appended, sequence: this.log.sequence }));
    for (const chunk of lightQueue.takeUnsaved()) this.put(chunkKey(serial, chunk.end), chunk.encode());
    this.afterwards.push(() => lightQueue.saved(first, appended));
    if (first > lightQueue.storedFrom) {
      const range = this.store.range(chunkKey(serial, lightQueue.storedFrom), chunkKey(serial, first + 1));
      for await (const [key] of range) this.operations.push({ type: 'del', key });
    }
    await this.writeSome();
  }

  private async addHeldAndMeta({ held, metaKeys }: Dirt): Promise<void> {
    for (const key of held.added) {
      const entry = this.state.held.entry(key);
      if (entry !== undefined) this.put(heldKey(key), encodeHeld(entry));
      await this.writeSome();
    }
    for (const key of held.removed) this.operations.push({ type: 'del', key: heldKey(key) });
    for (const key of metaKeys) {
      const value = this.state.meta.entries.get(key);
      if (value === undefined) this.operations.push({ type: 'del', key: metaKey(key) });
      else this.put(metaKey(key), encodeMeta(value));
      await this.writeSome();
    }
  }

  private isCurrent(queue: MessageQueue | LightQueue): boolean {
    return this.state.queue(queue.serial) === queue;
  }

  private put(key: string, value: Buffer): void {
    this.operations.push({ type: 'put', key, value });
  }

  private writeSome(): Promise<void> | undefined {
    return this.operations.length < this.options.operationsPerWrite ? undefined : this.writeOperations();
  }

  /**
   * Parts must not get ahead of the log: what a crash takes from it must not be in them. And the part of a queue counts on
   * its blocks, since replay skips what it has: those in files are durable first, and in the same write.
   */
  private async writeOperations(): Promise<void> {
    await this.blocks.flush();
    this.addPlacedBlocks();
    await this.log.wal.sync();
    await this.store.write(this.operations);
    this.operations = [];
  }
}

function storedBlock({ count, bytes, youngestAt }: BlockEntry, place: StoredBlock['place']): Buffer {
  return encodeJson({ count, bytes, youngestAt, place } satisfies StoredBlock);
}
