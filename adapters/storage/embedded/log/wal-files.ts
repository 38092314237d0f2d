import { randomInt } from 'node:crypto';
import type { Clock } from '../../../../core/ports/clock.ts';
import { isDiskFull, writeFully, type DiskFile, type FileSystem } from '../disk/file-system.ts';
import {
  decodeFileHeader,
  decodeFrame,
  encodeFileHeader,
  isDamagedHeader,
  SECTOR_BYTES,
  type Salt,
} from './wal-format.ts';
import { CorruptLogError, framesOf, hasSyncedFrameBehind, type FramePayload, type ScannedFile } from './wal-scan.ts';

export interface WalFile {
  readonly number: number;
  readonly salt: Salt;
  readonly file: DiskFile;
  /** Frames that would end behind this go into the next file. */
  readonly bytes: number;
  /** Where the next frame goes. */
  position: number;
}

interface SealedFile {
  readonly number: number;
  readonly lastSequence: number;
  readonly bytes: number;
}

export interface WalFilesOptions {
  readonly directory: string;
  readonly fileBytes: number;
  /** Whether each write has to be durable when it resolves. */
  readonly durableWrites: boolean;
}

const MARK_MAX = 2 ** 32;
const ZEROS = Buffer.alloc(1024 * 1024);
const SPARE_RETRY_MS = 250;
/** Files kept to be used again: those of two checkpoints. What is freed beyond that is given back to the disk. */
const REUSABLE_MAX = 8;
/** The log is replayed in slices, with time between them for what replaying writes. */
const REPLAY_SLICE_BYTES = 256 * 1024;

/** The files of the write-ahead log: found and read at start, one filled ahead, used again after a checkpoint. */
export class WalFiles {
  /** Whether the disk had no room for the file ahead. */
  isShortOfSpace = false;
  private readonly fileSystem: FileSystem;
  private readonly options: WalFilesOptions;
  private readonly clock: Clock;
  private sealed: SealedFile[] = [];
  private reusable: SealedFile[] = [];
  private currentNumber = 0;
  private spare: Promise<WalFile> | undefined;
  private isClosed = false;
  /** Of this log: that of its files, or a new one. */
  private salt: Salt = { mark: randomInt(1, MARK_MAX), seed: randomInt(MARK_MAX) };

  constructor(fileSystem: FileSystem, options: WalFilesOptions, clock: Clock) {
    this.fileSystem = fileSystem;
    this.options = options;
    this.clock = clock;
  }

  /** Bytes in the files before the current one. */
  get bytesBefore(): number {
    return this.sealed.reduce((bytes, file) => bytes + file.bytes, 0);
  }

  /**
   * Replays the log behind the checkpoint and makes sure that what was read is on disk and that nothing behind it can ever
   * be read again.
   * @throws CorruptLogError when acknowledged records are missing
   */
  async recover(
    checkpointed: number,
    replay: (frame: FramePayload) => void,
    pressure: () => Promise<void> | undefined,
  ): Promise<{ file: WalFile; lastSequence: number }> {
    const nextTurn = (): Promise<void> => new Promise((resolve) => this.clock.soon(resolve));
    const scan = new LogScan(checkpointed, replay, () => pressure() ?? nextTurn());
    let last: WalFile | undefined;
    const numbers = await this.numbers();
    // Two buffers by turns: one file is read while the one before is replayed.
    let spareBuffer: Buffer = Buffer.alloc(0);
    let next = this.read(numbers[0], spareBuffer);
    for (const [i, number] of numbers.entries()) {
      const { file, content } = (await next)!;
      next = this.read(numbers[i + 1], spareBuffer);
      // Nobody asks for it when this file stops the start.
      next.catch(() => undefined);
      spareBuffer = content;
      const scanned = await scan.scan(content, number);
      if (scanned === undefined) {
        // A disk that reads wrong now and then must not make us throw away what is sound.
        if (!(await hasSameHeader(file, content))) throw missing(number, scan.nextSequence);
        await this.discard(number, file);
        continue;
      }
      if (last !== undefined) await this.sealRecovered(last, scan.firstSequence - 1);
      this.salt = scan.salt!;
      const bytes = Math.max(content.length, this.options.fileBytes);
      last = { number, salt: this.salt, file, bytes, position: scanned.end };
    }
    if (last === undefined) last = await this.begin(1, checkpointed + 1);
    else if (scan.endsBelowCheckpoint) {
      // Damaged where the checkpoint has everything: the log goes on in a new file, since sequences in one have no gaps.
      await eraseBehind(last, scan.nextInFile);
      await this.sealRecovered(last, checkpointed);
      last = await this.begin(last.number + 1, checkpointed + 1);
    } else await eraseBehind(last, scan.nextSequence);
    this.currentNumber = last.number;
    return { file: last, lastSequence: scan.nextSequence - 1 };
  }

  /** The file ahead; waits until there is room for one. */
  async next(firstSequence: number, current: WalFile): Promise<WalFile> {
    this.prepareSpare();
    const spare = await this.spare!;
    this.sealed.push({ number: current.number, lastSequence: firstSequence - 1, bytes: current.position });
    this.currentNumber = spare.number;
    this.spare = undefined;
    return spare;
  }

  /** Gets a file ready ahead, in the background, so that the log never waits for one. */
  prepareSpare(): void {
    if (this.spare !== undefined) return;
    this.spare = this.makeSpare(this.currentNumber + 1);
    // Whoever needs it sees the failure.
    this.spare.catch(() => undefined);
  }

  /** Files with nothing behind the checkpoint are used again or given back. */
  async release(checkpointed: number): Promise<void> {
    const released = this.sealed.filter(({ lastSequence }) => lastSequence <= checkpointed);
    if (released.length === 0) return;
    this.sealed = this.sealed.filter(({ lastSequence }) => lastSequence > checkpointed);
    for (const file of released) {
      const isStandard = file.bytes <= this.options.fileBytes;
      if (isStandard && this.reusable.length < REUSABLE_MAX && !this.isShortOfSpace) this.reusable.push(file);
      else await this.fileSystem.unlink(this.path(file.number));
    }
    await this.fileSystem.syncDirectory(this.options.directory);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    const spare = await this.spare?.catch(() => undefined);
    await spare?.file.close();
  }

  private async makeSpare(number: number): Promise<WalFile> {
    for (;;) {
      try {
        const file = await this.fill(number);
        this.isShortOfSpace = false;
        return { number, salt: this.salt, file, bytes: this.options.fileBytes, position: 0 };
      } catch (error) {
        if (!isDiskFull(error) || this.isClosed) throw error;
        this.isShortOfSpace = true;
        await new Promise<void>((resolve) => this.clock.schedule(SPARE_RETRY_MS, resolve));
      }
    }
  }

  /** Blocks that were written before are cheaper to write than new ones: no allocation has to become durable. */
  private async fill(number: number): Promise<DiskFile> {
    const old = this.reusable.pop();
    // Its frames have lower sequences than any that will be expected in it.
    if (old !== undefined) await this.fileSystem.rename(this.path(old.number), this.path(number));
    const file = await this.open(number);
    try {
      if (old === undefined) await writeZeros(file, 0, this.options.fileBytes);
      await file.sync();
      await this.fileSystem.syncDirectory(this.options.directory);
    } catch (error) {
      await file.close();
      // What was written of it takes room others need.
      await this.fileSystem.unlink(this.path(number)).catch(() => undefined);
      throw error;
    }
    return file;
  }

  /** A file that goes on from nothing before it. */
  private async begin(number: number, firstSequence: number): Promise<WalFile> {
    const file = await this.fill(number);
    await writeFully(file, encodeFileHeader({ number, firstSequence, salt: this.salt }), 0);
    await file.sync();
    return { number, salt: this.salt, file, bytes: this.options.fileBytes, position: SECTOR_BYTES };
  }

  private async sealRecovered(file: WalFile, lastSequence: number): Promise<void> {
    this.sealed.push({ number: file.number, lastSequence, bytes: file.position });
    await file.file.close();
  }

  /** Filled ahead and never begun, or begun by a write that did not get through: its rests must never be read. */
  private async discard(number: number, file: DiskFile): Promise<void> {
    await file.close();
    await this.fileSystem.unlink(this.path(number));
    await this.fileSystem.syncDirectory(this.options.directory);
  }

  /** All of a file, into the buffer where it is large enough. */
  private async read(
    number: number | undefined,
    buffer: Buffer,
  ): Promise<{ file: DiskFile; content: Buffer } | undefined> {
    if (number === undefined) return undefined;
    const file = await this.open(number);
    const size = await file.size();
    const target = buffer.length < size ? Buffer.allocUnsafeSlow(size) : buffer.subarray(0, size);
    const bytes = await file.read(target, 0);
    return { file, content: target.subarray(0, bytes) };
  }

  private open(number: number): Promise<DiskFile> {
    const { durableWrites } = this.options;
    return this.fileSystem.open(this.path(number), { mode: 'readWrite', create: true, durableWrites });
  }

  private path(number: number): string {
    return `${this.options.directory}/${number.toString().padStart(8, '0')}.wal`;
  }

  private async numbers(): Promise<number[]> {
    const names = await this.fileSystem.list(this.options.directory);
    const found = names.flatMap((name) => (/^\d{8}\.wal$/.test(name) ? [Number.parseInt(name, 10)] : []));
    return found.toSorted((a, b) => a - b);
  }
}

/** Follows the sequence of records through the files. */
class LogScan {
  /** Sequence expected in the next frame. */
  nextSequence: number;
  /** Of the file scanned last. */
  firstSequence = 0;
  /** Expected behind its last sound frame. */
  nextInFile = 0;
  /** Of the files so far. */
  salt: Salt | undefined;
  private readonly checkpointed: number;
  private readonly replay: (frame: FramePayload) => void;
  private readonly pause: () => Promise<void>;

  constructor(checkpointed: number, replay: (frame: FramePayload) => void, pause: () => Promise<void>) {
    this.checkpointed = checkpointed;
    this.replay = replay;
    this.pause = pause;
    this.nextSequence = checkpointed + 1;
  }

  get endsBelowCheckpoint(): boolean {
    return this.nextInFile <= this.checkpointed;
  }

  /** Undefined when the file is not part of the log. @throws CorruptLogError */
  async scan(content: Buffer, number: number): Promise<ScannedFile | undefined> {
    const header = decodeFileHeader(content, number);
    if (header === undefined) {
      if (isDamagedHeader(content) && this.hasRecords(content)) throw missing(number, this.nextSequence);
      return undefined;
    }
    // Files below the checkpoint may be left over, with gaps between them.
    if (header.firstSequence > Math.max(this.nextSequence, this.checkpointed + 1))
      throw missing(number, this.nextSequence);
    this.firstSequence = header.firstSequence;
    const { salt } = header;
    this.salt = salt;
    const scanned = await this.replayFrames(framesOf(content, salt, header.firstSequence));
    // What the checkpoint has need not be there.
    const needed = { ...scanned, nextSequence: Math.max(scanned.nextSequence, this.checkpointed) };
    if (hasSyncedFrameBehind(content, salt, needed)) throw missing(number, scanned.nextSequence);
    this.nextInFile = scanned.nextSequence;
    this.nextSequence = Math.max(scanned.nextSequence, this.checkpointed + 1);
    return scanned;
  }

  private async replayFrames(frames: Generator<FramePayload, ScannedFile>): Promise<ScannedFile> {
    let sliceBytes = 0;
    for (;;) {
      const { done, value } = frames.next();
      if (done === true) return value;
      if (value.firstSequence + value.count - 1 > this.checkpointed) this.replay(value);
      sliceBytes += value.end - value.start;
      if (sliceBytes < REPLAY_SLICE_BYTES) continue;
      sliceBytes = 0;
      await this.pause();
    }
  }

  /** A write that was cut short may leave a part of a header, but no whole frame behind it. */
  private hasRecords(content: Buffer): boolean {
    if (this.salt === undefined) return !isZero(content.subarray(SECTOR_BYTES));
    // The first frame is of the same write as the header: only one behind it shows that this was acknowledged.
    return hasSyncedFrameBehind(content, this.salt, { end: SECTOR_BYTES, nextSequence: this.checkpointed });
  }
}

async function hasSameHeader(file: DiskFile, content: Buffer): Promise<boolean> {
  const again = Buffer.alloc(Math.min(SECTOR_BYTES, content.length));
  await file.read(again, 0);
  return again.equals(content.subarray(0, again.length));
}

function missing(number: number, sequence: number): CorruptLogError {
  return new CorruptLogError(
    `the write-ahead log is damaged: record ${sequence}, in or before file ${number}, was acknowledged and cannot be read`,
  );
}

/** @throws CorruptLogError when a second look finds something else than the first */
async function eraseBehind({ number, salt, file, position }: WalFile, nextSequence: number): Promise<void> {
  const size = await file.size();
  const rest = Buffer.allocUnsafeSlow(Math.max(0, size - position));
  const again = Buffer.allocUnsafeSlow(rest.length);
  await file.read(rest, position);
  await file.read(again, position);
  // A disk that reads wrong now and then must not make us erase what is sound.
  const isSound = decodeFrame(rest, 0, salt)?.firstSequence === nextSequence;
  if (isSound || !rest.equals(again)) throw missing(number, nextSequence);
  if (!isZero(rest)) await writeZeros(file, position, size);
  // A process that was killed left its last writes to the operating system; from here on they count as stored.
  await file.sync();
}

async function writeZeros(file: DiskFile, from: number, to: number): Promise<void> {
  for (let at = from; at < to; at += ZEROS.length) {
    await writeFully(file, ZEROS.subarray(0, Math.min(ZEROS.length, to - at)), at);
  }
}

function isZero(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const part = bytes.subarray(at, at + ZEROS.length);
    if (!part.equals(ZEROS.subarray(0, part.length))) return false;
  }
  return true;
}
