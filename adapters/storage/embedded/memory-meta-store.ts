import type { Clock } from '../../../core/ports/clock.ts';
import type { MetaEntry, MetaEvent, MetaStore, PutOptions } from '../../../core/ports/meta-store.ts';

interface Stored extends MetaEntry {
  readonly expiry: Disposable | undefined;
}

/** Keyed state that ends with the process. */
export class MemoryMetaStore implements MetaStore {
  private readonly clock: Clock;
  private readonly entries = new Map<string, Stored>();
  private readonly watchers = new Set<{ prefix: string; listener: (event: MetaEvent) => void }>();
  private revision = 0;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  async get(key: string): Promise<MetaEntry | undefined> {
    const stored = this.entries.get(key);
    return stored && publicEntry(stored);
  }

  async put(key: string, value: Uint8Array, options: PutOptions = {}): Promise<number | undefined> {
    const before = this.entries.get(key);
    const { ifRevision, ttlMs } = options;
    if (ifRevision === 'absent' && before !== undefined) return undefined;
    if (typeof ifRevision === 'number' && before?.revision !== ifRevision) return undefined;
    before?.expiry?.[Symbol.dispose]();
    const revision = ++this.revision;
    const expiry = ttlMs === undefined ? undefined : this.clock.schedule(ttlMs, () => this.remove(key));
    // A copy: the caller may go on writing to its buffer.
    const stored: Stored = { key, value: Uint8Array.from(value), revision, expiry };
    this.entries.set(key, stored);
    this.emit(key, { kind: 'put', entry: publicEntry(stored) });
    return revision;
  }

  async delete(key: string, ifRevision?: number): Promise<boolean> {
    const before = this.entries.get(key);
    if (before === undefined || (ifRevision !== undefined && before.revision !== ifRevision)) return false;
    this.remove(key);
    return true;
  }

  async list(prefix: string): Promise<MetaEntry[]> {
    const keys = [...this.entries.keys()].filter((key) => key.startsWith(prefix)).toSorted();
    return keys.map((key) => publicEntry(this.entries.get(key)!));
  }

  watch(prefix: string, listener: (event: MetaEvent) => void): Disposable {
    const watcher = { prefix, listener };
    this.watchers.add(watcher);
    return { [Symbol.dispose]: () => void this.watchers.delete(watcher) };
  }

  private remove(key: string): void {
    const stored = this.entries.get(key);
    stored?.expiry?.[Symbol.dispose]();
    if (this.entries.delete(key)) this.emit(key, { kind: 'delete', key });
  }

  private emit(key: string, event: MetaEvent): void {
    for (const { prefix, listener } of this.watchers) if (key.startsWith(prefix)) listener(event);
  }
}

function publicEntry({ key, value, revision }: Stored): MetaEntry {
  return { key, value, revision };
}
