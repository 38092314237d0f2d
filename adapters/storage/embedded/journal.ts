import type { Message } from '../../../core/model/message.ts';
import type {
  ChangeEntry,
  HeldEntry,
  HeldKey,
  LeaseRecord,
  LogRecord,
  RecordLog,
  SettleEntry,
} from './log/record-log.ts';
import type { LightQueue } from './queue/light-queue.ts';
import type { MessageQueue } from './queue/message-queue.ts';
import type { EngineState, LightTargets } from './state.ts';

export type Touched = readonly { readonly queue: MessageQueue | LightQueue; readonly end: number }[];

/** Changes the state and logs the change, always both and in the same order. */
export class Journal {
  readonly state: EngineState;
  readonly log: RecordLog;
  private readonly onDurable: (touched: Touched) => void;

  /** @param onDurable makes the messages of a commit visible, before its callers are answered */
  constructor(state: EngineState, log: RecordLog, onDurable: (touched: Touched) => void) {
    this.state = state;
    this.log = log;
    this.onDurable = onDurable;
  }

  write(record: LogRecord): void {
    this.state.apply(record);
    this.log.append(record);
  }

  writeLease(record: LeaseRecord): void {
    this.state.lease(record);
    this.log.appendLease(record);
  }

  /** Resolves when the record is durable. */
  writeDurably(record: LogRecord): Promise<void> {
    this.write(record);
    return this.durable();
  }

  /** Resolves when everything written so far is durable. */
  durable(): Promise<void> {
    return new Promise((resolve) => this.log.whenDurable(resolve));
  }

  /** Starts a commit: what follows up to `commit` is all or nothing. */
  begin(at: number): void {
    this.log.beginCommit(at);
  }

  /** @returns the offset */
  send(queue: MessageQueue, message: Message, at: number, targets: LightTargets): number {
    const offset = this.state.appendTo(queue, message, at, targets.queues);
    this.log.addSend(queue.serial, offset, message, targets.durableSerials);
    return offset;
  }

  /** @returns the epoch of the receipt that is good from now on, for 'extend' */
  settle(entry: SettleEntry): number {
    this.log.addSettle(entry);
    return this.state.applySettle(entry);
  }

  hold(entry: HeldEntry): void {
    this.log.addHold(entry);
    this.state.hold(entry);
  }

  unhold(key: HeldKey): void {
    this.log.addUnhold(key);
    this.state.unhold(key);
  }

  change(entry: ChangeEntry): void {
    this.log.addChange(entry);
    this.state.change(entry);
  }

  /** Ends the commit. @returns the result, when all of it is durable and visible */
  commit<T>(result: T): Promise<T> {
    this.log.endCommit();
    const touched = this.state.takeTouched();
    return new Promise((resolve) => {
      this.log.whenDurable(() => {
        this.onDurable(touched);
        resolve(result);
      });
    });
  }
}
