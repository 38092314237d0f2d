import type { HeldEntry, HeldKey } from '../log/record-log.ts';
import { VisibilityHeap } from '../pop/visibility-heap.ts';
import type { LightQueue } from '../queue/light-queue.ts';

/** Where delayed messages are that need not be in memory, ordered by when they are due. */
export interface HeldStore {
  /** Undefined for those that are not there. */
  load(keys: readonly HeldKey[]): Promise<(HeldEntry | undefined)[]>;
  /** The delayed messages with from <= dueAt < to. */
  between(from: number, to: number): Promise<HeldKey[]>;
}

/** Everything stays in memory. */
export const MEMORY_HELD: HeldStore = {
  load: (keys) => Promise.resolve(keys.map(() => undefined)),
  between: () => Promise.resolve([]),
};

/** Delayed messages due within this time are known in memory, by their key alone where a checkpoint has the rest. */
export const NEAR_MS = 10 * 60_000;

interface Delayed {
  readonly key: HeldKey;
  /** Undefined when it has to be loaded. */
  entry: HeldEntry | undefined;
}

/** For a checkpoint. */
export interface HeldChanges {
  readonly added: readonly HeldKey[];
  readonly removed: readonly HeldKey[];
}

/** Messages taken in that are not in their queue yet: delayed ones, and halves of transactions. */
export class HeldMessages {
  /** Halves by id, in the order they came. Transactions are short: all are in memory. */
  readonly halves = new Map<number, HeldEntry>();
  /** Changes since the last checkpoint. */
  private unsaved = new Map<number, HeldKey>();
  private removed = new Map<number, HeldKey>();
  /** Removals of which a checkpoint in progress may not be done yet. */
  private removing = new Map<number, HeldKey>();
  private readonly store: HeldStore;
  private readonly near = new Map<number, Delayed>();
  /** Light queues that end with the process, of the messages that go to some: nothing of them is stored. */
  private readonly passing = new Map<number, readonly LightQueue[]>();
  private readonly heap = new VisibilityHeap();
  /** Everything due before this is in `near`. */
  private horizon = 0;
  private advancing: Promise<void> | undefined;

  constructor(store: HeldStore) {
    this.store = store;
  }

  add(entry: HeldEntry): void {
    const { id, kind, dueAt } = entry;
    this.unsaved.set(id, { id, kind, dueAt });
    if (kind === 'half') this.halves.set(id, entry);
    else this.addNear({ id, kind, dueAt }, entry);
  }

  /** The message goes to these as well, if they are still there then. */
  addPassingTargets(id: number, lightQueues: readonly LightQueue[]): void {
    if (lightQueues.length > 0) this.passing.set(id, lightQueues);
  }

  passingTargets(id: number): readonly LightQueue[] {
    return this.passing.get(id) ?? [];
  }

  /** From a checkpoint. */
  restoreHalf(entry: HeldEntry): void {
    this.halves.set(entry.id, entry);
  }

  remove(key: HeldKey): void {
    this.halves.delete(key.id);
    this.passing.delete(key.id);
    this.near.delete(key.id);
    this.unsaved.delete(key.id);
    // A checkpoint, also one being written, may have it.
    this.removed.set(key.id, key);
  }

  /** The producer of a half is asked; not again before `dueAt`. */
  ask(id: number, dueAt: number): void {
    const half = this.halves.get(id);
    if (half === undefined) return;
    this.halves.set(id, { ...half, dueAt });
    this.unsaved.set(id, { id, kind: 'half', dueAt });
  }

  /** When the next delayed message known is due; Infinity for none. */
  get nextDueAt(): number {
    while (this.heap.size > 0 && !this.near.has(this.heap.topOffset)) this.heap.pop();
    return this.heap.topTime;
  }

  /** Up to `max` delayed messages that are due, loaded; they stay until they are removed. */
  async due(now: number, max: number): Promise<HeldEntry[]> {
    const due: Delayed[] = [];
    while (due.length < max && this.nextDueAt <= now) {
      due.push(this.near.get(this.heap.topOffset)!);
      this.heap.pop();
    }
    try {
      await this.loadEntries(due);
    } finally {
      // Until they are removed they are due.
      for (const { key } of due) if (this.near.has(key.id)) this.heap.push(key.dueAt, key.id);
    }
    return due.flatMap(({ key, entry }) => (this.near.has(key.id) && entry !== undefined ? [entry] : []));
  }

  /** A held message by its key, undefined when there is none. */
  async find(key: HeldKey): Promise<HeldEntry | undefined> {
    const known = key.kind === 'half' ? this.halves.get(key.id) : this.near.get(key.id)?.entry;
    if (known !== undefined || key.kind === 'half') return known;
    const [stored] = await this.store.load([key]);
    return this.isRemoved(key.id) ? undefined : stored;
  }

  /** Gets to know the messages that come near by `now`. */
  advance(now: number): Promise<void> {
    // Looked for in good time, so that none is late because the disk is slow.
    if (now + NEAR_MS / 2 < this.horizon) return Promise.resolve();
    return (this.advancing ??= this.loadNear(now + NEAR_MS).finally(() => (this.advancing = undefined)));
  }

  /** Not for long after it was removed. */
  isRemoved(id: number): boolean {
    return this.removed.has(id) || this.removing.has(id);
  }

  /** What changed since the last call; removals again until `saved` says that they reached the disk. */
  takeChanges(): HeldChanges {
    for (const [id, key] of this.removed) this.removing.set(id, key);
    const changes = { added: [...this.unsaved.values()], removed: [...this.removing.values()] };
    this.unsaved = new Map();
    this.removed = new Map();
    return changes;
  }

  /** A checkpoint holds these changes: what is not near need not be known. */
  saved({ added, removed }: HeldChanges): void {
    for (const { id } of removed) this.removing.delete(id);
    for (const key of added) {
      const delayed = this.near.get(key.id);
      if (delayed === undefined) continue;
      if (key.dueAt >= this.horizon) this.near.delete(key.id);
      else delayed.entry = undefined;
    }
  }

  /** For a checkpoint. */
  entry(key: HeldKey): HeldEntry | undefined {
    return key.kind === 'half' ? this.halves.get(key.id) : this.near.get(key.id)?.entry;
  }

  private async loadNear(horizon: number): Promise<void> {
    const from = this.horizon;
    // First: what a checkpoint saves in the meantime must stay known.
    this.horizon = horizon;
    const keys = await this.store.between(from, horizon).catch((error: unknown) => {
      this.horizon = from;
      throw error;
    });
    for (const key of keys) if (!this.near.has(key.id) && !this.isRemoved(key.id)) this.addNear(key, undefined);
  }

  private async loadEntries(due: readonly Delayed[]): Promise<void> {
    const missing = due.filter(({ entry }) => entry === undefined);
    if (missing.length === 0) return;
    const entries = await this.store.load(missing.map(({ key }) => key));
    missing.forEach((delayed, i) => {
      delayed.entry = entries[i];
      // Its removal reached the disk while its key was being read.
      if (delayed.entry === undefined) this.near.delete(delayed.key.id);
    });
  }

  private addNear(key: HeldKey, entry: HeldEntry | undefined): void {
    this.near.set(key.id, { key, entry });
    this.heap.push(key.dueAt, key.id);
  }
}
