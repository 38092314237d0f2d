import type { StoredMessage } from '../../../../core/model/message.ts';
import type { Retention } from '../../../../core/model/topic.ts';
import type { ReadResult } from '../../../../core/ports/message-engine.ts';
import { Block, type MessageBytes } from './block.ts';
import { BlockEntry, type BlockStore } from './block-store.ts';

/** Bytes of all messages, shared by all queues of an engine. */
export interface Usage {
  bytes: number;
}

/** What leases and cursors need of a queue, ordinary or light. */
export interface ReadableQueue {
  /** Identifies the queue inside the engine; never reused. */
  readonly serial: number;
  readonly first: number;
  /** One behind the last message that is durable and may be handed out. */
  readonly visible: number;
  /** Whether `get` can answer at once. */
  isLoaded(offset: number): boolean;
  /** Makes `get` able to answer. */
  load(offset: number): Promise<void>;
  /** Undefined when retention removed it. Only where `isLoaded`. */
  get(offset: number): StoredMessage | undefined;
}

const FIRST_BLOCK_BYTES = 4 * 1024;
/** Room for messages in one block: what one read from disk brings in. */
export const BLOCK_BYTES_MAX = 256 * 1024;

/** An append-only sequence of messages with offsets 0, 1, 2, ... */
export class MessageQueue implements ReadableQueue {
  readonly serial: number;
  readonly topic: string;
  readonly id: number;
  first = 0;
  appended = 0;
  visible = 0;
  /** Whether it waits in the state's list of queues to make visible. */
  isTouched = false;
  /** Whether it changed since the last checkpoint. */
  isDirty = false;
  /** Records up to this one are in the checkpoint it was read from. */
  savedSequence = 0;
  /** Whether its topic removes what was consumed. */
  removesConsumed = false;
  /** Of all its blocks. */
  bytes = 0;
  /** In the order of their offsets, without gaps. */
  blocks: BlockEntry[] = [];
  /** Content of the newest of them while it is being filled. */
  private active: Block | undefined;
  private nextBlockBytes: number;
  private readonly blockBytesMax: number;
  private readonly usage: Usage;
  private readonly store: BlockStore;

  constructor(
    serial: number,
    topic: string,
    id: number,
    shared: { readonly usage: Usage; readonly store: BlockStore; readonly blockBytesMax: number },
  ) {
    this.serial = serial;
    this.topic = topic;
    this.id = id;
    this.usage = shared.usage;
    this.store = shared.store;
    this.blockBytesMax = shared.blockBytesMax;
    this.nextBlockBytes = Math.min(FIRST_BLOCK_BYTES, this.blockBytesMax);
  }

  /** @returns the offset of the message */
  append(message: MessageBytes, storedAt: number): number {
    let active = this.active;
    if (active === undefined || !active.append(message, storedAt)) {
      this.seal();
      active = this.addBlock(message.end - message.start);
      active.append(message, storedAt);
    }
    return this.appended++;
  }

  /** Copies the messages appended so far; before that their bytes must not change. */
  flush(): void {
    this.active?.flush();
  }

  /** Closes the block being filled: what is written to disk never changes. */
  seal(): void {
    const { active } = this;
    const entry = this.blocks.at(-1);
    if (active === undefined || entry === undefined || active.count === 0) return;
    active.flush();
    entry.count = active.count;
    entry.youngestAt = active.youngestAt;
    this.resize(entry, active.encodedBytes);
    this.active = undefined;
    // As large as what comes between two checkpoints.
    const isFull = active.dataBytes * 2 > this.nextBlockBytes;
    this.nextBlockBytes = isFull ? this.nextBlockBytes * 4 : Math.max(FIRST_BLOCK_BYTES, active.dataBytes * 2);
    this.nextBlockBytes = Math.min(this.nextBlockBytes, this.blockBytesMax);
    this.store.sealed(entry);
  }

  isLoaded(offset: number): boolean {
    if (offset < this.first || offset >= this.appended) return true;
    return this.entryOf(offset).content !== undefined;
  }

  load(offset: number): Promise<void> {
    return this.store.load(this.entryOf(offset));
  }

  get(offset: number): StoredMessage | undefined {
    if (offset < this.first || offset >= this.appended) return undefined;
    return this.entryOf(offset).content!.get(offset, this.topic, this.id);
  }

  read(from: number, max: number, bytesMax: number): ReadResult | Promise<ReadResult> {
    const messages: StoredMessage[] = [];
    let next = Math.max(from, this.first);
    let bytes = 0;
    while (next < this.visible && messages.length < max && bytes < bytesMax) {
      const { content } = this.entryOf(next);
      if (content === undefined) {
        if (messages.length > 0) break;
        return this.load(next).then(() => this.read(from, max, bytesMax));
      }
      const end = Math.min(this.visible, content.nextOffset);
      while (next < end && messages.length < max && bytes < bytesMax) {
        const message = content.get(next++, this.topic, this.id);
        messages.push(message);
        bytes += message.bytes;
      }
    }
    return { messages, next };
  }

  /** The first offset stored at or after the time; `visible` when there is none. */
  async offsetAt(time: number): Promise<number> {
    const entry = this.blocks.find((block) => (block.content?.youngestAt ?? block.youngestAt) >= time);
    if (entry === undefined) return this.visible;
    if (entry.content === undefined) await this.store.load(entry);
    return Math.min(Math.max(entry.content!.offsetAt(time), this.first), this.visible);
  }

  /** The offset up to which retention allows to remove messages, whole blocks only; the newest block stays. */
  removableBefore(retention: Retention, now: number, consumed: number): number {
    let { bytes } = this;
    let before = this.first;
    for (const block of this.blocks.slice(0, -1)) {
      const isOld = block.youngestAt + retention.ms < now;
      if (!isOld && bytes <= retention.bytesPerQueue && block.nextOffset > consumed) break;
      bytes -= block.bytes;
      before = block.nextOffset;
    }
    return Math.min(before, this.visible);
  }

  /** What lies below the offset is gone; its memory and files go by whole blocks. */
  trim(before: number): void {
    // Not `visible`: nothing is while the log is replayed, and the record has to do then what it did before.
    this.first = Math.max(this.first, Math.min(before, this.appended));
    let gone = 0;
    while (gone < this.blocks.length && this.isGone(this.blocks[gone]!)) {
      this.remove(this.blocks[gone]!);
      gone++;
    }
    if (gone > 0) this.blocks = this.blocks.slice(gone);
  }

  /** Its topic is deleted. */
  clear(): void {
    for (const entry of this.blocks) this.remove(entry);
    this.blocks = [];
    this.active = undefined;
    this.first = this.appended;
  }

  /** A block from a checkpoint. */
  restore(entry: BlockEntry): void {
    this.blocks.push(entry);
    this.count(entry.bytes);
  }

  /** Puts one block with the same messages in the place of several that follow each other. */
  replace(old: readonly BlockEntry[], merged: BlockEntry): void {
    this.blocks.splice(this.blocks.indexOf(old[0]!), old.length, merged);
    for (const entry of old) this.remove(entry);
    this.count(merged.bytes);
  }

  /** Nothing is added to these any more. */
  get sealedBlocks(): readonly BlockEntry[] {
    return this.active === undefined ? this.blocks : this.blocks.slice(0, -1);
  }

  private isGone(entry: BlockEntry): boolean {
    const isActive = this.active !== undefined && entry.content === this.active;
    return !isActive && entry.nextOffset <= this.first;
  }

  private remove(entry: BlockEntry): void {
    this.count(-entry.bytes);
    entry.isRemoved = true;
    this.store.removed(entry);
  }

  private resize(entry: BlockEntry, bytes: number): void {
    this.count(bytes - entry.bytes);
    entry.bytes = bytes;
  }

  private count(bytes: number): void {
    this.bytes += bytes;
    this.usage.bytes += bytes;
  }

  private addBlock(messageBytes: number): Block {
    const entry = new BlockEntry(this.serial, this.appended);
    const block = this.store.block(this.appended, Math.max(this.nextBlockBytes, messageBytes));
    entry.content = block;
    this.blocks.push(entry);
    this.resize(entry, block.capacityBytes);
    this.active = block;
    return block;
  }

  private entryOf(offset: number): BlockEntry {
    const { blocks } = this;
    let high = blocks.length - 1;
    // Nearly every read is at the tail.
    if (blocks[high]!.baseOffset <= offset) return blocks[high]!;
    let low = 0;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (blocks[middle]!.baseOffset <= offset) low = middle;
      else high = middle - 1;
    }
    return blocks[low]!;
  }
}
