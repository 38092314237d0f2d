import { writeVectorFully, type DiskFile, type FileSystem } from '../disk/file-system.ts';
import { Block, DamagedBlockError } from './block.ts';
import type { BlockEntry, BlockPlace, BlockStore } from './block-store.ts';

export interface BlockFilesOptions {
  readonly directory: string;
  /** A queue goes on in another file after this. */
  readonly fileBytes: number;
  /** Memory that blocks may take which are on disk too. */
  readonly cacheBytes: number;
  /** Smaller blocks go beside the checkpoint. */
  readonly blockBytesMin: number;
}

/** One file of a queue: blocks one behind the other. */
interface SegmentFile {
  readonly queueSerial: number;
  readonly base: number;
  position: number;
  /** Blocks in it that their queue still has. */
  live: number;
}

type FilePlace = Extract<BlockPlace, { kind: 'file' }>;

/** Written blocks whose sync is still to come keep their file open: an error would be lost with the handle. */
const DIRTY_FILES_MAX = 128;
/** Of one queue: few large writes cost less than many small ones. */
const BLOCKS_PER_WRITE_MAX = 8;

/** Blocks of message queues in files, `<queue serial>-<base offset>.seg`, and a cache of those in memory. */
export class BlockFiles implements BlockStore {
  /** Memory of blocks that wait to be written. */
  pendingBytes = 0;
  private readonly fileSystem: FileSystem;
  private readonly options: BlockFilesOptions;
  private readonly readInline: (entry: BlockEntry) => Promise<Buffer | undefined>;
  private readonly files = new Map<string, SegmentFile>();
  /** The file that a queue is writing. */
  private readonly current = new Map<number, SegmentFile>();
  private readonly dirtyFiles = new Map<string, DiskFile>();
  /** In the order they are dropped: what was loaded or written last is last. */
  private readonly cached = new Set<BlockEntry>();
  private cachedBytes = 0;
  /** Blocks to be written, by the serial of their queue. The queue whose turn it is comes first. */
  private readonly waiting = new Map<number, BlockEntry[]>();
  private writing: Promise<void> | undefined;
  private readonly drained: (() => void)[] = [];
  /** In files that were not synced since. */
  private readonly placed: BlockEntry[] = [];
  private readonly durable: BlockEntry[] = [];
  private readonly removedEntries: BlockEntry[] = [];
  private readonly unused: string[] = [];
  /** While the log is replayed nobody holds messages: blocks that are on disk give their memory to the next ones. */
  private replayed: Block[] | undefined = [];

  constructor(
    fileSystem: FileSystem,
    options: BlockFilesOptions,
    readInline: (entry: BlockEntry) => Promise<Buffer | undefined>,
  ) {
    this.fileSystem = fileSystem;
    this.options = options;
    this.readInline = readInline;
  }

  block(baseOffset: number, dataBytes: number): Block {
    return this.replayed?.pop()?.reused(baseOffset, dataBytes) ?? Block.empty(baseOffset, dataBytes);
  }

  sealed(entry: BlockEntry): void {
    if (entry.bytes >= this.options.blockBytesMin) this.write(entry);
  }

  /** Whether it goes into a file by itself. */
  isForFile(entry: BlockEntry): boolean {
    return entry.bytes >= this.options.blockBytesMin;
  }

  /** Into its queue's file, in the background. */
  write(entry: BlockEntry): void {
    const waiting = this.waiting.get(entry.queueSerial);
    if (waiting === undefined) this.waiting.set(entry.queueSerial, [entry]);
    else waiting.push(entry);
    this.pendingBytes += entry.bytes;
    this.startWriting();
  }

  load(entry: BlockEntry): Promise<void> {
    return (entry.loading ??= this.read(entry)
      .then((content) => {
        entry.content = content;
        this.keep(entry);
      })
      .finally(() => (entry.loading = undefined)));
  }

  /** The content, without keeping it in memory. @throws DamagedBlockError */
  async read(entry: BlockEntry): Promise<Block> {
    if (entry.content !== undefined) return entry.content;
    const { place } = entry;
    const bytes = place?.kind === 'file' ? await this.readFile(entry, place) : await this.readInline(entry);
    if (bytes === undefined) throw new DamagedBlockError(`messages from offset ${entry.baseOffset} are missing`);
    return Block.decode(bytes, entry.queueSerial, entry.baseOffset);
  }

  removed(entry: BlockEntry): void {
    this.forget(entry);
    this.removedEntries.push(entry);
    if (entry.place?.kind === 'file') this.release(this.fileOf(entry.queueSerial, entry.place.file));
  }

  /** On disk from here on: its memory may be used for something else. */
  keep(entry: BlockEntry): void {
    if (entry.isRemoved || entry.content === undefined || this.cached.has(entry)) return;
    this.cached.add(entry);
    this.cachedBytes += entry.content.capacityBytes;
    for (const oldest of this.cached) {
      if (this.cachedBytes <= this.options.cacheBytes || oldest === entry) break;
      this.forget(oldest);
      oldest.content = undefined;
    }
  }

  /** A block of an earlier run. */
  restore(entry: BlockEntry, place: FilePlace): void {
    const file = this.fileOf(entry.queueSerial, place.file);
    file.live++;
    file.position = Math.max(file.position, place.position + place.bytes);
    const current = this.current.get(entry.queueSerial);
    if (current === undefined || current.base < file.base) this.current.set(entry.queueSerial, file);
  }

  /** The log is read. Removes files no checkpoint knows: an earlier run wrote them and did not come to tell. */
  async endReplay(): Promise<void> {
    const { directory } = this.options;
    this.replayed = undefined;
    // A block of the replay may be on its way into a file of the same name.
    while (this.writing !== undefined) await this.writing.catch(() => undefined);
    for (const name of await this.fileSystem.list(directory)) {
      if (!this.files.has(name)) await this.fileSystem.unlink(`${directory}/${name}`);
    }
  }

  /** Resolves when all blocks that go into files are there, durably. @throws the disk's error */
  async flush(): Promise<void> {
    // No write is running when this ends: no file is closed under one.
    while (this.waiting.size > 0 || this.writing !== undefined) {
      this.startWriting();
      await this.writing;
    }
    await this.syncDirty();
  }

  /** Resolves when no more than that many bytes wait to be written. */
  pressure(bytesMax: number): Promise<void> | undefined {
    if (this.pendingBytes <= bytesMax) return undefined;
    this.startWriting();
    return new Promise((resolve) => this.drained.push(resolve));
  }

  /** Blocks that came into files, and are safe there, since the last call. */
  takePlaced(): BlockEntry[] {
    return this.durable.splice(0);
  }

  /** Blocks that their queues do not have any more, since the last call. */
  takeRemoved(): BlockEntry[] {
    return this.removedEntries.splice(0);
  }

  /** Files that no block of the last checkpoint is in. */
  takeUnused(): string[] {
    return this.unused.splice(0);
  }

  async remove(paths: readonly string[]): Promise<void> {
    for (const path of paths) {
      await this.dirtyFiles.get(path)?.close();
      this.dirtyFiles.delete(path);
      await this.fileSystem.unlink(path);
    }
  }

  async close(): Promise<void> {
    for (const file of this.dirtyFiles.values()) await file.close();
  }

  private startWriting(): void {
    if (this.waiting.size === 0) return;
    this.writing ??= this.writeWaiting().finally(() => {
      this.writing = undefined;
      // Also when it failed: a checkpoint waits for the log, and the log must not wait for what only a checkpoint tries again.
      for (const resolve of this.drained.splice(0)) resolve();
    });
    // Whoever waits for it sees the failure; the next block or checkpoint tries again.
    this.writing.catch(() => undefined);
  }

  private async writeWaiting(): Promise<void> {
    for (const [queueSerial, entries] of this.waiting) {
      const written = await this.writeRun(entries);
      // Behind the others; to a map that is being walked through this adds at the end.
      this.waiting.delete(queueSerial);
      if (entries.length > written.length) this.waiting.set(queueSerial, entries.slice(written.length));
      for (const { bytes } of written) this.pendingBytes -= bytes;
      for (const resolve of this.drained.splice(0)) resolve();
    }
  }

  /** Writes the first of the blocks, as many as go into one write. @returns those, and what need not be written any more */
  private async writeRun(entries: readonly BlockEntry[]): Promise<BlockEntry[]> {
    const done: BlockEntry[] = [];
    const run: BlockEntry[] = [];
    let segment: SegmentFile | undefined;
    let end = 0;
    for (const entry of entries.slice(0, BLOCKS_PER_WRITE_MAX)) {
      if (!entry.isRemoved) {
        const bytes = entry.content!.encodedBytes;
        if (segment !== undefined && end + bytes > this.options.fileBytes) break;
        segment ??= this.segmentFor(entry, bytes);
        end = (run.length === 0 ? segment.position : end) + bytes;
        run.push(entry);
      }
      done.push(entry);
    }
    if (segment !== undefined) await this.writeTo(segment, run);
    return done;
  }

  private async writeTo(segment: SegmentFile, run: readonly BlockEntry[]): Promise<void> {
    const encoded = run.map((entry) => entry.content!.encode(entry.queueSerial));
    // Counted first: it must not be taken for unused while it is written.
    segment.live += run.length;
    try {
      await writeVectorFully(await this.dirtyFile(segment), encoded, segment.position);
    } catch (error) {
      // These are not tried again.
      for (const entry of run) if (entry.isRemoved) this.release(segment);
      // Not `release`: the next try goes into the same file, which must not be removed then.
      for (const entry of run) if (!entry.isRemoved) segment.live--;
      throw error;
    }
    for (const [i, entry] of run.entries()) this.written(entry, segment, encoded[i]!.length);
  }

  private written(entry: BlockEntry, segment: SegmentFile, bytes: number): void {
    const { base, position } = segment;
    segment.position += bytes;
    if (entry.isRemoved) return this.release(segment);
    entry.place = { kind: 'file', file: base, position, bytes };
    this.placed.push(entry);
    if (this.replayed === undefined) return this.keep(entry);
    this.replayed.push(entry.content!);
    entry.content = undefined;
  }

  /** What is written from here on is for the next call. */
  private async syncDirty(): Promise<void> {
    const files = [...this.dirtyFiles.values()];
    this.dirtyFiles.clear();
    const placed = this.placed.splice(0);
    try {
      for (const file of files) {
        await file.sync();
        await file.close();
      }
      await this.fileSystem.syncDirectory(this.options.directory);
    } catch (error) {
      // Whatever the reason: what was written may be gone, and another sync would not say so.
      throw new Error('segment files could not be synced', { cause: error });
    }
    this.durable.push(...placed);
  }

  private segmentFor(entry: BlockEntry, bytes: number): SegmentFile {
    const current = this.current.get(entry.queueSerial);
    if (current !== undefined && current.position + bytes <= this.options.fileBytes) return current;
    const next = this.fileOf(entry.queueSerial, entry.baseOffset);
    this.current.set(entry.queueSerial, next);
    return next;
  }

  private fileOf(queueSerial: number, base: number): SegmentFile {
    const name = fileName(queueSerial, base);
    let file = this.files.get(name);
    if (file === undefined) this.files.set(name, (file = { queueSerial, base, position: 0, live: 0 }));
    return file;
  }

  private async dirtyFile({ queueSerial, base }: SegmentFile): Promise<DiskFile> {
    const path = `${this.options.directory}/${fileName(queueSerial, base)}`;
    const open = this.dirtyFiles.get(path);
    if (open !== undefined) return open;
    if (this.dirtyFiles.size >= DIRTY_FILES_MAX) await this.syncDirty();
    const file = await this.fileSystem.open(path, { mode: 'readWrite', create: true });
    this.dirtyFiles.set(path, file);
    return file;
  }

  private async readFile({ queueSerial }: BlockEntry, { file: base, position, bytes }: FilePlace): Promise<Buffer> {
    const path = `${this.options.directory}/${fileName(queueSerial, base)}`;
    const file = await this.fileSystem.open(path, { mode: 'read' });
    try {
      const buffer = Buffer.allocUnsafeSlow(bytes);
      const read = await file.read(buffer, position);
      return buffer.subarray(0, read);
    } finally {
      await file.close();
    }
  }

  private forget(entry: BlockEntry): void {
    if (this.cached.delete(entry)) this.cachedBytes -= entry.content!.capacityBytes;
  }

  private release(segment: SegmentFile): void {
    if (--segment.live > 0) return;
    const name = fileName(segment.queueSerial, segment.base);
    this.files.delete(name);
    if (this.current.get(segment.queueSerial) === segment) this.current.delete(segment.queueSerial);
    this.unused.push(`${this.options.directory}/${name}`);
  }
}

export function fileName(queueSerial: number, base: number): string {
  return `${queueSerial.toString(16).padStart(8, '0')}-${base.toString(16).padStart(14, '0')}.seg`;
}
