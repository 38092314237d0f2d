import type { StoredMessage } from '../../../../core/model/message.ts';
import type { ReadResult } from '../../../../core/ports/message-engine.ts';
import type { MessageQueue, ReadableQueue } from './message-queue.ts';

const CHUNK_ENTRIES_MAX = 4096;
const ENTRY_BYTES = 12;

/** Never changed. */
const NO_REFERENCES = new Map<number, number>();

/** A run of entries: the serial of a message queue and an offset in it, each. */
export class LightChunk {
  static readonly entryBytes = ENTRY_BYTES;
  readonly base: number;
  /** Serial and offset by turns: a plain array, since most light queues have an entry or two, and typed arrays are large. */
  private readonly entries: number[];

  constructor(base: number, entries: number[] = []) {
    this.base = base;
    this.entries = entries;
  }

  static decode(base: number, bytes: Buffer): LightChunk {
    const chunk = new LightChunk(base);
    for (let at = 0; at < bytes.length; at += ENTRY_BYTES)
      chunk.add(bytes.readUInt32LE(at), bytes.readDoubleLE(at + 4));
    return chunk;
  }

  get count(): number {
    return this.entries.length / 2;
  }
  get isFull(): boolean {
    return this.count === CHUNK_ENTRIES_MAX;
  }
  get end(): number {
    return this.base + this.count;
  }

  add(queueSerial: number, offset: number): void {
    this.entries.push(queueSerial, offset);
  }

  queueAt(offset: number): number {
    return this.entries[2 * (offset - this.base)]!;
  }

  offsetAt(offset: number): number {
    return this.entries[2 * (offset - this.base) + 1]!;
  }

  encode(): Buffer {
    const bytes = Buffer.allocUnsafe(this.count * ENTRY_BYTES);
    for (let i = 0; i < this.count; i++) {
      bytes.writeUInt32LE(this.entries[2 * i]!, i * ENTRY_BYTES);
      bytes.writeDoubleLE(this.entries[2 * i + 1]!, i * ENTRY_BYTES + 4);
    }
    return bytes;
  }
}

/** What all light queues of an engine share. */
export interface LightStore {
  queueBySerial(serial: number): MessageQueue | undefined;
  /** The stored chunk that holds the offset. @throws Error when it cannot be read */
  loadChunk(serial: number, offset: number): Promise<LightChunk>;
}

/** An index of references to messages of ordinary queues, in the order they were stored. An idle one is this object alone. */
export class LightQueue implements ReadableQueue {
  readonly serial: number;
  readonly name: string;
  /** Ends with the process otherwise: its records are not logged. */
  readonly isDurable: boolean;
  first = 0;
  appended = 0;
  visible = 0;
  isTouched = false;
  isDirty = false;
  savedSequence = 0;
  /** Who wants to know of arrivals; none for most. */
  listeners: Set<() => void> | undefined;
  /** Where the entries begin of which the references are known. */
  referencesFrom = 0;
  /**
   * The first entry of each message queue whose topic removes what was consumed; undefined while nobody looked. Known only where
   * it is needed: most light queues have none.
   */
  private references: Map<number, number> | undefined;
  /** Entries from here on may be in the checkpoint. */
  storedFrom = 0;
  /** Entries not in a checkpoint yet. Those before are loaded when they are read. */
  private chunks: LightChunk[] | undefined;
  /** The stored chunk read last. */
  private loaded: LightChunk | undefined;
  private readonly store: LightStore;

  constructor(serial: number, name: string, isDurable: boolean, store: LightStore) {
    this.serial = serial;
    this.name = name;
    this.isDurable = isDurable;
    this.store = store;
  }

  append(queueSerial: number, offset: number): void {
    const chunk = this.chunks?.at(-1);
    if (chunk === undefined || chunk.isFull) {
      const begun = new LightChunk(this.appended, [queueSerial, offset]);
      if (this.chunks === undefined) this.chunks = [begun];
      else this.chunks.push(begun);
    } else chunk.add(queueSerial, offset);
    this.appended++;
  }

  /** The entry appended last refers to a message of a topic that removes what was consumed. */
  referenced(queueSerial: number, offset: number): void {
    if (this.references === undefined || this.references.has(queueSerial)) return;
    if (this.references === NO_REFERENCES) this.references = new Map();
    this.references.set(queueSerial, offset);
  }

  forgetReferences(): void {
    this.references = undefined;
  }

  /** Whether `firstReference` can answer. */
  get hasReferences(): boolean {
    return this.references !== undefined;
  }

  /** The first message of the queue that an entry from `referencesFrom` on refers to; undefined for none. */
  firstReference(queueSerial: number): number | undefined {
    return this.references?.get(queueSerial);
  }

  /** Finds the first references of the entries from the offset on. @throws Error when entries cannot be read */
  async findReferences(from: number): Promise<void> {
    const found = new Map<number, number>();
    let chunk: LightChunk | undefined;
    for (let at = Math.max(from, this.first); at < this.appended; at++) {
      if (chunk === undefined || at >= chunk.end || at < chunk.base) {
        chunk = this.chunkOf(at) ?? (await this.store.loadChunk(this.serial, at));
      }
      const serial = chunk.queueAt(at);
      if (!found.has(serial) && this.store.queueBySerial(serial)?.removesConsumed === true) {
        found.set(serial, chunk.offsetAt(at));
      }
    }
    this.references = found.size === 0 ? NO_REFERENCES : found;
    this.referencesFrom = from;
  }

  isLoaded(offset: number): boolean {
    if (offset < this.first || offset >= this.appended) return true;
    const chunk = this.chunkOf(offset);
    return chunk !== undefined && (this.target(chunk, offset)?.isLoaded(chunk.offsetAt(offset)) ?? true);
  }

  async load(offset: number): Promise<void> {
    if (this.chunkOf(offset) === undefined) this.loaded = await this.store.loadChunk(this.serial, offset);
    const chunk = this.chunkOf(offset)!;
    const queue = this.target(chunk, offset);
    const at = chunk.offsetAt(offset);
    if (queue?.isLoaded(at) === false) await queue.load(at);
  }

  get(offset: number): StoredMessage | undefined {
    if (offset < this.first || offset >= this.appended) return undefined;
    const chunk = this.chunkOf(offset)!;
    return this.target(chunk, offset)?.get(chunk.offsetAt(offset));
  }

  read(from: number, max: number, bytesMax: number): ReadResult | Promise<ReadResult> {
    const messages: StoredMessage[] = [];
    let at = Math.max(from, this.first);
    let bytes = 0;
    while (at < this.visible && messages.length < max && bytes < bytesMax) {
      const chunk = this.chunkOf(at);
      if (chunk === undefined || this.target(chunk, at)?.isLoaded(chunk.offsetAt(at)) === false) {
        if (messages.length > 0) break;
        return this.load(at).then(() => this.read(at, max, bytesMax));
      }
      const message = this.get(at++);
      if (message === undefined) continue;
      messages.push(message);
      bytes += message.bytes;
    }
    return { messages, next: at };
  }

  /** Entries below the offset are gone; their chunks go as soon as nothing else is in them. */
  trim(before: number): void {
    // Not `visible`: nothing is while the log is replayed, and the record has to do then what it did before.
    this.first = Math.max(this.first, Math.min(before, this.appended));
    if (this.chunks === undefined) return;
    const keep = this.chunks.findIndex((chunk) => chunk.end > this.first);
    if (keep === -1) this.chunks = undefined;
    else if (keep > 0) this.chunks = this.chunks.slice(keep);
  }

  /** Entries that no checkpoint has; what is appended from now on is not among them. */
  takeUnsaved(): readonly LightChunk[] {
    const unsaved = (this.chunks ?? []).filter(({ count }) => count > 0);
    // A chunk that is written must not change.
    if (unsaved.length > 0) this.chunks = [...unsaved, new LightChunk(this.appended)];
    return unsaved;
  }

  /** A checkpoint has the entries from `first` to `end`: they need not stay in memory. */
  saved(first: number, end: number): void {
    this.storedFrom = first;
    const kept = this.chunks?.filter((chunk) => chunk.base >= end);
    const isEmpty = kept === undefined || kept.every((chunk) => chunk.count === 0);
    this.chunks = isEmpty ? undefined : kept;
  }

  private target(chunk: LightChunk, offset: number): MessageQueue | undefined {
    return this.store.queueBySerial(chunk.queueAt(offset));
  }

  private chunkOf(offset: number): LightChunk | undefined {
    const { chunks, loaded } = this;
    if (chunks !== undefined && chunks[0]!.base <= offset) {
      let i = chunks.length - 1;
      while (chunks[i]!.base > offset) i--;
      return chunks[i]!;
    }
    return loaded !== undefined && loaded.base <= offset && offset < loaded.end ? loaded : undefined;
  }
}
