/** Messages that can be cancelled; beyond it the oldest cannot any more. */
const COUNT_MAX = 100_000;
/** Numbers that one millisecond has; the time is in them, so that none comes again after a restart. */
const PER_MS = 4_096;

interface Scheduled {
  readonly topic: string;
  readonly handle: string;
  readonly dueAt: number;
}

/**
 * The numbers under which clients of Azure's cancel what they scheduled, and the recall handles they stand for. They are in memory:
 * what was scheduled before a restart is delivered, and cannot be cancelled.
 */
export class ScheduledMessages {
  private readonly scheduled = new Map<number, Scheduled>();
  private last = 0;

  /** @param handle undefined for what was due at once: it has a number, too, and cannot be cancelled */
  add(topic: string, handle: string | undefined, dueAt: number, nowMs: number): number {
    this.last = Math.max(this.last + 1, Math.floor(nowMs) * PER_MS);
    if (handle === undefined) return this.last;
    if (this.scheduled.size >= COUNT_MAX) this.makeRoom(nowMs);
    this.scheduled.set(this.last, { topic, handle, dueAt });
    return this.last;
  }

  /** The recall handle; undefined where the topic has no such message. */
  get(topic: string, number: number): string | undefined {
    const scheduled = this.scheduled.get(number);
    return scheduled?.topic === topic ? scheduled.handle : undefined;
  }

  delete(number: number): void {
    this.scheduled.delete(number);
  }

  private makeRoom(nowMs: number): void {
    for (const [number, { dueAt }] of this.scheduled) if (dueAt <= nowMs) this.scheduled.delete(number);
    for (const number of this.scheduled.keys()) {
      if (this.scheduled.size < COUNT_MAX) return;
      this.scheduled.delete(number);
    }
  }
}
