/** Receives whose answer can be repeated. */
const ATTEMPTS_REMEMBERED_MAX = 1024;

/** What one receive got. */
export interface Attempt {
  readonly offsets: readonly number[];
  readonly epochs: readonly number[];
}

/** The last receives with an attempt id. */
export class Attempts {
  private readonly byId = new Map<string, Attempt>();

  get entries(): (readonly [attemptId: string, Attempt])[] {
    return [...this.byId];
  }

  get(attemptId: string): Attempt | undefined {
    return this.byId.get(attemptId);
  }

  remember(attemptId: string, attempt: Attempt): void {
    if (this.byId.size >= ATTEMPTS_REMEMBERED_MAX) {
      const oldest = this.byId.keys().next();
      if (oldest.done !== true) this.byId.delete(oldest.value);
    }
    this.byId.set(attemptId, attempt);
  }

  clear(): void {
    this.byId.clear();
  }
}
