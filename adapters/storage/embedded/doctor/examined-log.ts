import type { FileSystem } from '../disk/file-system.ts';
import { readRecords } from '../log/record-codec.ts';
import type { Replay } from '../log/record-log.ts';
import { decodeFileHeader, isDamagedHeader, isTornFrame, type Salt } from '../log/wal-format.ts';
import { findSyncedFrameBehind, scanFrames, type FramePayload, type ScannedFile } from '../log/wal-scan.ts';

/** Gets what is found, one line each. */
export interface Findings {
  damage(line: string): void;
  /** Something to know that is no damage. */
  note(line: string): void;
}

export interface LogFigures {
  files: number;
  /** Of the files, with what is not written yet. */
  bytes: number;
  /** Behind the checkpoint: what the next start has to replay. */
  records: number;
  recordBytes: number;
}

/** Reads the write-ahead log as a start does, but changes nothing and goes on behind damage. */
export class ExaminedLog {
  readonly figures: LogFigures = { files: 0, bytes: 0, records: 0, recordBytes: 0 };
  /** Sequence of the record behind the last that was read. */
  nextSequence: number;
  private readonly fileSystem: FileSystem;
  private readonly directory: string;
  private readonly checkpointed: number;
  private readonly findings: Findings;
  private replay: Replay | undefined;
  /** Of the last file with a sound header. */
  private salt: Salt | undefined;
  private hasBegunFile = false;
  /** About the last file that was begun. */
  private torn: string | undefined;

  /** @param replay gets the records behind the checkpoint, as far as there are no gaps; undefined for nobody */
  constructor(
    fileSystem: FileSystem,
    directory: string,
    checkpointed: number,
    findings: Findings,
    replay: Replay | undefined,
  ) {
    this.fileSystem = fileSystem;
    this.directory = directory;
    this.checkpointed = checkpointed;
    this.findings = findings;
    this.replay = replay;
    this.nextSequence = checkpointed + 1;
  }

  /** Whether all records could be replayed. */
  get isWhole(): boolean {
    return this.replay !== undefined;
  }

  async examine(): Promise<void> {
    const names = await this.fileSystem.list(this.directory);
    for (const name of names.filter((other) => /^\d{8}\.wal$/.test(other)).toSorted()) {
      this.examineFile(name, await this.contentOf(name));
    }
    // The file in use is never removed.
    if (!this.hasBegunFile && this.checkpointed > 0) this.damage('wal: there is a checkpoint, but no file of the log');
    if (this.torn !== undefined) this.findings.note(this.torn);
  }

  private async contentOf(name: string): Promise<Buffer> {
    const file = await this.fileSystem.open(`${this.directory}/${name}`, { mode: 'read' });
    try {
      const content = Buffer.allocUnsafeSlow(await file.size());
      return content.subarray(0, await file.read(content, 0));
    } finally {
      await file.close();
    }
  }

  private examineFile(name: string, content: Buffer): void {
    this.figures.files++;
    this.figures.bytes += content.length;
    const header = decodeFileHeader(content, Number.parseInt(name, 10));
    if (header === undefined) {
      if (isDamagedHeader(content)) {
        this.hasBegunFile = true;
        this.damage(`wal/${name}: the header is damaged`);
      }
      // Else filled ahead and not begun, or begun by a write that a crash cut off: unless later frames prove that it was.
      if (this.salt !== undefined)
        this.goOnBehind(name, content, this.salt, { end: 0, nextSequence: this.nextSequence });
      return;
    }
    this.hasBegunFile = true;
    const { firstSequence, salt } = header;
    this.salt = salt;
    if (firstSequence > this.nextSequence) {
      this.damage(`wal/${name}: begins with record ${firstSequence}, and ${this.nextSequence} is in no file before it`);
    }
    const scanned = scanFrames(content, salt, firstSequence, (frame) => this.take(name, frame));
    this.goOnBehind(name, content, salt, scanned);
    this.nextSequence = Math.max(this.nextSequence, scanned.nextSequence, this.checkpointed + 1);
  }

  /** Looks for sound frames behind the first that is not, each of which proves that what is missing before it was there. */
  private goOnBehind(name: string, content: Buffer, salt: Salt, scanned: ScannedFile): void {
    let before = scanned;
    for (;;) {
      const found = findSyncedFrameBehind(content, salt, before);
      if (found === undefined) break;
      const { end, nextSequence } = before;
      const last = found.firstSequence - 1;
      const records = last > nextSequence ? `records ${nextSequence} to ${last}` : `record ${nextSequence}`;
      this.damage(`wal/${name}: damaged at byte ${end}: ${records} cannot be read although acknowledged`);
      before = scanFrames(content, salt, found.firstSequence, (frame) => this.take(name, frame), found.at);
      this.nextSequence = Math.max(this.nextSequence, before.nextSequence);
    }
    const { end, nextSequence } = before;
    if (end === 0) return;
    const isTorn = isTornFrame(content, end, nextSequence, salt);
    this.torn = isTorn
      ? `wal/${name}: the last write, at byte ${end}, is not whole: a crash cut it off, and the next start erases it`
      : undefined;
  }

  private take(name: string, frame: FramePayload): void {
    const { buffer, start, end, firstSequence, count } = frame;
    if (firstSequence + count - 1 <= this.checkpointed) return;
    this.figures.records += count;
    this.figures.recordBytes += end - start;
    if (this.replay === undefined) return;
    try {
      readRecords(buffer, start, end, firstSequence, this.replay);
      this.replay.flush();
    } catch (error) {
      this.damage(`wal/${name}: the records from ${firstSequence} on do not fit: ${(error as Error).message}`);
    }
  }

  /** Behind it nothing can be replayed: that would only find more that does not fit. */
  private damage(line: string): void {
    this.replay = undefined;
    this.findings.damage(line);
  }
}
