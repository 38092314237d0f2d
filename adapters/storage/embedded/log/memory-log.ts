import type { RecordLog } from './record-log.ts';

/** A log that keeps nothing: the state machine on top of it is all there is, and ends with the process. */
export class MemoryLog implements RecordLog {
  readonly durability = 'none';
  readonly sequence = 0;
  readonly isShortOfSpace = false;
  private waiting: (() => void)[] = [];
  private closed: Promise<void> | undefined;

  append(): void {}
  appendLease(): void {}
  beginCommit(): void {}
  addSend(): void {}
  addSettle(): void {}
  addHold(): void {}
  addUnhold(): void {}
  addChange(): void {}
  endCommit(): void {}

  whenDurable(callback: () => void): void {
    // A batch ends with the microtask, as one of a disk would with its sync: callers see the same order of events.
    if (this.waiting.push(callback) === 1) queueMicrotask(() => this.commit());
  }

  close(): Promise<void> {
    return (this.closed ??= new Promise((resolve) => queueMicrotask(resolve)));
  }

  private commit(): void {
    const { waiting } = this;
    this.waiting = [];
    for (const callback of waiting) callback();
  }
}
