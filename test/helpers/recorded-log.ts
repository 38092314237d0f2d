import type { Logger } from '../../core/ports/logger.ts';

export interface LogEntry {
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

/** Keeps everything that is logged, and lets a test wait for it. */
export class RecordedLog implements Logger {
  readonly entries: LogEntry[] = [];
  private readonly waiting = new Set<() => void>();

  debug(fields: object, message: string): void {
    this.entries.push({ fields: { ...fields }, message });
    for (const wake of this.waiting) wake();
  }

  info(fields: object, message: string): void {
    this.debug(fields, message);
  }

  warn(fields: object, message: string): void {
    this.debug(fields, message);
  }

  error(fields: object, message: string): void {
    this.debug(fields, message);
  }

  /** Resolves to the first entry that fits, now or later. */
  async find(fits: (entry: LogEntry) => boolean): Promise<LogEntry> {
    for (;;) {
      const found = this.entries.find(fits);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.waiting.delete(wake);
          resolve();
        };
        this.waiting.add(wake);
      });
    }
  }
}
