import type { Clock } from '../../../../core/ports/clock.ts';
import { isDiskFull, writeFully } from '../disk/file-system.ts';
import { encodeFileHeader, FRAME_HEADER_BYTES, sealFrame, SECTOR_BYTES } from './wal-format.ts';
import { WalFiles, type WalFile } from './wal-files.ts';
import type { FramePayload } from './wal-scan.ts';

/** sync: an acknowledgement waits for the disk. interval: for the operating system. none: the same, and nobody syncs. */
export type FlushMode = 'sync' | 'interval' | 'none';

export interface WalOptions {
  readonly flush: FlushMode;
  /** With `interval`: at most this much time is lost when the power fails. */
  readonly flushIntervalMs: number;
  /** As much is worth a write of its own while the turn goes on: the disk works beside the processor. */
  readonly earlyWriteBytes: number;
}

export interface WalHooks {
  /** Called once, when nothing can be acknowledged any more: the process has to end. */
  readonly onFailure: (error: Error) => void;
  readonly onWritten: () => void;
  /** What to wait for before more is written; undefined for nothing. */
  readonly pressure: () => Promise<void> | undefined;
}

export interface WalStatistics {
  commits: number;
  commitBytes: number;
  syncs: number;
}

const FIRST_BUFFER_BYTES = 16 * 1024;
/** A buffer that grew larger for one batch is given back after it. */
const BUFFER_BYTES_KEPT_MAX = 4 * 1024 * 1024;
const FULL_RETRY_MS = 250;
/** A disk that needs longer for a write gains more from few large writes than from being busy all the time. */
const EARLY_WRITE_MS_MAX = 1;

/** What is written with one write. */
class Batch {
  buffer = Buffer.allocUnsafeSlow(FIRST_BUFFER_BYTES);
  length = FRAME_HEADER_BYTES;
  count = 0;
  waiting: (() => void)[] = [];

  reset(): void {
    if (this.buffer.length > BUFFER_BYTES_KEPT_MAX) this.buffer = Buffer.allocUnsafeSlow(FIRST_BUFFER_BYTES);
    this.length = FRAME_HEADER_BYTES;
    this.count = 0;
    this.waiting = [];
  }
}

/**
 * The write-ahead log: group commit without linger, one write in flight. While it runs, the next batch fills. Records get
 * dense sequence numbers from 1.
 */
export class Wal {
  readonly statistics: WalStatistics = { commits: 0, commitBytes: 0, syncs: 0 };
  /** Sequence of the last record appended. */
  lastSequence = 0;
  private readonly files: WalFiles;
  private readonly options: WalOptions;
  private readonly clock: Clock;
  private readonly hooks: WalHooks;
  private checkpointedBytes = 0;
  private writtenBytes = 0;
  private current: WalFile | undefined;
  private filling = new Batch();
  private inFlight = new Batch();
  private isWriting = false;
  private writeStartedAt = 0;
  private lastWriteMs = Infinity;
  private isScheduled = false;
  private hasFailed = false;
  private syncTimer: Disposable | undefined;
  private syncing = Promise.resolve();

  constructor(files: WalFiles, options: WalOptions, clock: Clock, hooks: WalHooks) {
    this.files = files;
    this.options = options;
    this.clock = clock;
    this.hooks = hooks;
  }

  /** Replays all frames with records behind `checkpointed`, erases what a crash left behind them, and is ready to append. */
  async open(checkpointed: number, replay: (frame: FramePayload) => void): Promise<void> {
    const { file, lastSequence } = await this.files.recover(checkpointed, replay, this.hooks.pressure);
    this.current = file;
    this.lastSequence = lastSequence;
    this.writtenBytes = this.files.bytesBefore + file.position;
    this.files.prepareSpare();
  }

  /** Whether the disk had no room for the next file: only what frees space should still be written. */
  get isShortOfSpace(): boolean {
    return this.files.isShortOfSpace;
  }

  /** Bytes a recovery would have to read. */
  get bytesSinceCheckpoint(): number {
    return this.writtenBytes - this.checkpointedBytes;
  }

  /** The buffer to write into after `reserve`. */
  get buffer(): Buffer {
    return this.filling.buffer;
  }

  /** Makes room for one record of that many bytes, which the caller writes into `buffer` at once. @returns where */
  reserve(bytes: number): number {
    if (this.lastWriteMs <= EARLY_WRITE_MS_MAX && this.filling.length >= this.options.earlyWriteBytes)
      this.writeBatch();
    const { filling } = this;
    const at = filling.length;
    // One sector more, for the padding.
    if (at + bytes + SECTOR_BYTES > filling.buffer.length) this.grow(filling, at + bytes + SECTOR_BYTES);
    filling.length = at + bytes;
    filling.count++;
    this.lastSequence++;
    this.schedule();
    return at;
  }

  /** Calls back when everything reserved so far is durable; never after a failure. */
  whenDurable(callback: () => void): void {
    if (this.hasFailed) return;
    if (this.filling.count > 0) this.filling.waiting.push(callback);
    else if (this.isWriting) this.inFlight.waiting.push(callback);
    else queueMicrotask(callback);
  }

  /** Resolves when everything reserved so far would survive a power failure, whatever the flush mode. */
  async sync(): Promise<void> {
    await new Promise<void>((resolve) => this.whenDurable(resolve));
    if (this.options.flush !== 'sync') await this.syncCurrent();
  }

  /** A place in the log, for `release`. */
  get mark(): { readonly sequence: number; readonly bytes: number } {
    return { sequence: this.lastSequence, bytes: this.writtenBytes };
  }

  /** Records up to the mark are in a checkpoint: files with nothing else in them are used again. */
  release({ sequence, bytes }: Wal['mark']): Promise<void> {
    this.checkpointedBytes = bytes;
    return this.files.release(sequence);
  }

  async close(): Promise<void> {
    await this.sync();
    this.syncTimer?.[Symbol.dispose]();
    await this.files.close();
    await this.current?.file.close();
  }

  private grow(batch: Batch, bytesMin: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(bytesMin, batch.buffer.length * 2));
    batch.buffer.copy(larger, 0, 0, batch.length);
    batch.buffer = larger;
  }

  /** At the end of this turn of the event loop: everything it brings goes into one write. */
  private schedule(): void {
    if (this.isScheduled || this.isWriting || this.hasFailed) return;
    this.isScheduled = true;
    this.clock.soon(() => {
      this.isScheduled = false;
      this.writeBatch();
    });
  }

  private writeBatch(): void {
    if (this.isWriting || this.hasFailed || this.filling.count === 0) return;
    this.isWriting = true;
    this.writeStartedAt = this.clock.now();
    const pressure = this.hooks.pressure();
    // Waited for once: a full disk relieves nothing, and what is in the log may be what makes room.
    if (pressure === undefined) this.writeNow();
    else void pressure.then(() => this.writeNow());
  }

  private writeNow(): void {
    const batch = this.filling;
    this.filling = this.inFlight;
    this.inFlight = batch;
    const firstSequence = this.lastSequence - batch.count + 1;
    this.write(batch, firstSequence).then(
      (bytes) => this.written(batch, bytes),
      (error: Error) => this.fail(error),
    );
  }

  /** @returns bytes written */
  private async write(batch: Batch, firstSequence: number): Promise<number> {
    const file = this.current!;
    const { flush } = this.options;
    // All files of a log have the same salt.
    const bytes = sealFrame(batch.buffer, batch.length, firstSequence, batch.count, flush === 'sync', file.salt);
    const frame = batch.buffer.subarray(0, bytes);
    if (file.position + frame.length <= file.bytes) {
      await this.writePatiently(file, frame, file.position);
      file.position += bytes;
      return bytes;
    }
    if (flush !== 'sync') await this.syncCurrent();
    const next = await this.files.next(firstSequence, file);
    // Header and frame in one write: without a whole header the file is not part of the log yet.
    const header = encodeFileHeader({ number: next.number, firstSequence, salt: next.salt });
    await this.writePatiently(next, Buffer.concat([header, frame]), 0);
    next.position = header.length + frame.length;
    await file.file.close();
    this.current = next;
    this.files.prepareSpare();
    return bytes;
  }

  /** A full disk is waited out: nothing of the batch was acknowledged, and the same bytes may be written again. */
  private async writePatiently({ file }: WalFile, bytes: Buffer, position: number): Promise<void> {
    for (;;) {
      try {
        await writeFully(file, bytes, position);
        return;
      } catch (error) {
        if (!isDiskFull(error)) throw error;
        await new Promise<void>((resolve) => this.clock.schedule(FULL_RETRY_MS, resolve));
      }
    }
  }

  private written(batch: Batch, bytes: number): void {
    // A sync failed meanwhile: nothing is acknowledged from then on.
    if (this.hasFailed) return;
    const { statistics, options } = this;
    statistics.commits++;
    statistics.commitBytes += batch.length;
    if (options.flush === 'sync') statistics.syncs++;
    else if (options.flush === 'interval') this.armSync();
    // With what fills the last sector: small commits make a large log, too.
    this.writtenBytes += bytes;
    this.hooks.onWritten();
    this.isWriting = false;
    this.lastWriteMs = this.clock.now() - this.writeStartedAt;
    const { waiting } = batch;
    batch.reset();
    // The next write starts first: the disk works while the answers go out.
    this.writeBatch();
    for (let i = 0; i < waiting.length; i++) waiting[i]!();
  }

  private armSync(): void {
    this.syncTimer ??= this.clock.schedule(this.options.flushIntervalMs, () => {
      this.syncTimer = undefined;
      // A failure was reported already.
      this.syncCurrent().catch(() => undefined);
    });
  }

  /** One after the other, so that no file is closed under a sync. */
  private syncCurrent(): Promise<void> {
    this.syncing = this.syncing.then(async () => {
      this.statistics.syncs++;
      await this.current?.file.sync();
    });
    return this.syncing.catch((error: Error) => {
      this.fail(error);
      throw error;
    });
  }

  private fail(error: Error): void {
    if (this.hasFailed) return;
    this.hasFailed = true;
    this.hooks.onFailure(error);
  }
}
