import type { LogRecord, RecordLog } from './record-log.ts';

/** A log that keeps nothing: the state machine on top of it is all there is, and ends with the process. */
export class MemoryLog implements RecordLog {
  readonly durability = 'none';
  private waiting: (() => void)[] = [];
  private closed: Promise<void> | undefined;

  async open(): Promise<void> {}

  append(_record: LogRecord, onDurable?: () => void): void {
    if (onDurable === undefined) return;
    // A batch ends with the microtask, as one of a disk would with its sync: callers see the same order of events.
    if (this.waiting.push(onDurable) === 1) queueMicrotask(() => this.commit());
  }

  close(): Promise<void> {
    return (this.closed ??= new Promise((resolve) => queueMicrotask(resolve)));
  }

  private commit(): void {
    const { waiting } = this;
    this.waiting = [];
    for (const onDurable of waiting) onDurable();
  }
}
