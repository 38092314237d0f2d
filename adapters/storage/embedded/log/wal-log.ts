import type { Message } from '../../../../core/model/message.ts';
import type { Capabilities } from '../../../../core/ports/message-engine.ts';
import { CommitEncoder, readRecords, writeJson, writeLease } from './record-codec.ts';
import type {
  ChangeEntry,
  HeldEntry,
  HeldKey,
  LeaseRecord,
  LogRecord,
  RecordLog,
  Replay,
  SettleEntry,
} from './record-log.ts';
import type { Wal } from './wal.ts';

/** Records in the write-ahead log. */
export class WalLog implements RecordLog {
  readonly durability: Capabilities['durability'];
  readonly wal: Wal;
  private readonly commit = new CommitEncoder();

  constructor(wal: Wal, durability: Capabilities['durability']) {
    this.wal = wal;
    this.durability = durability;
  }

  get sequence(): number {
    return this.wal.lastSequence;
  }
  get isShortOfSpace(): boolean {
    return this.wal.isShortOfSpace;
  }

  /** Replays everything behind the checkpoint. */
  open(checkpointed: number, replay: Replay): Promise<void> {
    return this.wal.open(checkpointed, ({ buffer, start, end, firstSequence }) => {
      readRecords(buffer, start, end, firstSequence, replay);
      replay.flush();
    });
  }

  append(record: LogRecord): void {
    writeJson(this.wal, record);
  }
  appendLease(record: LeaseRecord): void {
    writeLease(this.wal, record);
  }
  beginCommit(at: number): void {
    this.commit.begin(at);
  }
  addSend(queueSerial: number, offset: number, message: Message, lightQueueSerials: readonly number[]): void {
    this.commit.addSend(queueSerial, offset, message, lightQueueSerials);
  }
  addSettle(entry: SettleEntry): void {
    this.commit.addSettle(entry);
  }
  addHold(entry: HeldEntry): void {
    this.commit.addHold(entry);
  }
  addUnhold(key: HeldKey): void {
    this.commit.addUnhold(key);
  }
  addChange(entry: ChangeEntry): void {
    this.commit.addChange(entry);
  }
  endCommit(): void {
    this.commit.writeTo(this.wal);
  }
  whenDurable(callback: () => void): void {
    this.wal.whenDurable(callback);
  }
  close(): Promise<void> {
    return this.wal.close();
  }
}
