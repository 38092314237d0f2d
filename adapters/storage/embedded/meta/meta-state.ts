export interface MetaValue {
  readonly value: Uint8Array;
  readonly revision: number;
  /** Milliseconds since the epoch; 0 never. */
  readonly expiresAt: number;
}

/** Small keyed state, all in memory. Revisions grow with every change of any key, also over a deletion. */
export class MetaState {
  readonly entries = new Map<string, MetaValue>();
  lastRevision = 0;
  /** Keys changed since the last checkpoint. */
  private dirty = new Set<string>();

  put(key: string, value: Uint8Array, revision: number, expiresAt: number): void {
    if (!this.isNews(key, revision)) return;
    this.entries.set(key, { value, revision, expiresAt });
    this.dirty.add(key);
  }

  delete(key: string, revision: number): void {
    if (!this.isNews(key, revision)) return;
    this.entries.delete(key);
    this.dirty.add(key);
  }

  /** Keys changed since the last call. */
  takeDirty(): ReadonlySet<string> {
    const { dirty } = this;
    this.dirty = new Set();
    return dirty;
  }

  /** From a checkpoint. */
  restore(key: string, value: MetaValue): void {
    this.entries.set(key, value);
    this.lastRevision = Math.max(this.lastRevision, value.revision);
  }

  /** A replayed record may be older than what a checkpoint holds. */
  private isNews(key: string, revision: number): boolean {
    this.lastRevision = Math.max(this.lastRevision, revision);
    return revision > (this.entries.get(key)?.revision ?? 0);
  }
}
