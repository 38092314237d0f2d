import type { Clock } from '../../../../core/ports/clock.ts';
import type { MetaChange, MetaEntry, MetaEvent, MetaStore, PutOptions } from '../../../../core/ports/meta-store.ts';
import type { Journal } from '../journal.ts';
import { VisibilityHeap } from '../pop/visibility-heap.ts';
import type { MetaState, MetaValue } from './meta-state.ts';

/** The meta store of an engine: the same log, the same checkpoints. All of it is in memory: it is meant for small state. */
export class EmbeddedMetaStore implements MetaStore {
  private readonly watchers = new Set<{ prefix: string; listener: (event: MetaEvent) => void }>();
  private journal!: Journal;
  private clock!: Clock;
  /** (expiry, revision) of everything that expires; entries changed since are skipped. */
  private readonly expiries = new VisibilityHeap();
  private readonly expiringKeys = new Map<number, string>();
  private timer: Disposable | undefined;
  private isStopped = false;

  /** Called by the engine when its state is there. */
  start(journal: Journal, clock: Clock): void {
    this.journal = journal;
    this.clock = clock;
    for (const [key, { revision, expiresAt }] of this.state.entries) this.expireLater(key, revision, expiresAt);
    this.arm();
  }

  stop(): void {
    this.isStopped = true;
    this.timer?.[Symbol.dispose]();
  }

  async get(key: string): Promise<MetaEntry | undefined> {
    const value = this.current(key);
    return value && entryOf(key, value);
  }

  async put(key: string, value: Uint8Array, options: PutOptions = {}): Promise<number | undefined> {
    const before = this.current(key);
    const { ifRevision, ttlMs } = options;
    if (ifRevision === 'absent' && before !== undefined) return undefined;
    if (typeof ifRevision === 'number' && before?.revision !== ifRevision) return undefined;
    const revision = this.state.lastRevision + 1;
    const expiresAt = ttlMs === undefined ? 0 : this.clock.now() + ttlMs;
    const text = Buffer.from(value).toString('base64');
    this.journal.write({ type: 'metaPut', key, value: text, revision, expiresAt });
    this.expireLater(key, revision, expiresAt);
    this.arm();
    const entry = entryOf(key, this.state.entries.get(key)!);
    await this.journal.durable();
    this.emit(key, { kind: 'put', entry });
    return revision;
  }

  async delete(key: string, ifRevision?: number): Promise<boolean> {
    const before = this.current(key);
    if (before === undefined || (ifRevision !== undefined && before.revision !== ifRevision)) return false;
    await this.remove(key);
    return true;
  }

  async list(prefix: string): Promise<MetaEntry[]> {
    const keys = [...this.state.entries.keys()].filter((key) => key.startsWith(prefix)).toSorted();
    return keys.flatMap((key) => {
      const value = this.current(key);
      return value === undefined ? [] : [entryOf(key, value)];
    });
  }

  watch(prefix: string, listener: (event: MetaEvent) => void): Disposable {
    const watcher = { prefix, listener };
    this.watchers.add(watcher);
    return { [Symbol.dispose]: () => void this.watchers.delete(watcher) };
  }

  /** Adds changes to the commit in progress. @returns what `announce` tells when it is durable */
  change(changes: readonly MetaChange[]): MetaEvent[] {
    const events: MetaEvent[] = [];
    for (const change of changes) {
      const { kind, key } = change;
      if (kind === 'delete' && this.current(key) === undefined) continue;
      const value = kind === 'put' ? change.value : undefined;
      this.journal.change({ key, value, revision: this.state.lastRevision + 1 });
      events.push(kind === 'put' ? { kind, entry: entryOf(key, this.state.entries.get(key)!) } : { kind, key });
    }
    return events;
  }

  announce(events: readonly MetaEvent[]): void {
    for (const event of events) this.emit(event.kind === 'put' ? event.entry.key : event.key, event);
  }

  private get state(): MetaState {
    return this.journal.state.meta;
  }

  /** What expired is gone, whether its timer ran or not. */
  private current(key: string): MetaValue | undefined {
    const value = this.state.entries.get(key);
    const isExpired = value !== undefined && value.expiresAt !== 0 && value.expiresAt <= this.clock.now();
    return isExpired ? undefined : value;
  }

  private async remove(key: string): Promise<void> {
    this.journal.write({ type: 'metaDelete', key, revision: this.state.lastRevision + 1 });
    await this.journal.durable();
    this.emit(key, { kind: 'delete', key });
  }

  private expireLater(key: string, revision: number, expiresAt: number): void {
    if (expiresAt === 0) return;
    this.expiries.push(expiresAt, revision);
    this.expiringKeys.set(revision, key);
  }

  private arm(): void {
    if (this.expiries.size === 0 || this.isStopped) return;
    this.timer?.[Symbol.dispose]();
    const delayMs = Math.max(0, this.expiries.topTime - this.clock.now());
    this.timer = this.clock.schedule(delayMs, () => this.expire());
  }

  private expire(): void {
    const now = this.clock.now();
    while (this.expiries.topTime <= now) {
      const revision = this.expiries.topOffset;
      const key = this.expiringKeys.get(revision)!;
      this.expiries.pop();
      this.expiringKeys.delete(revision);
      if (this.state.entries.get(key)?.revision === revision) void this.remove(key);
    }
    this.arm();
  }

  private emit(key: string, event: MetaEvent): void {
    for (const { prefix, listener } of this.watchers) if (key.startsWith(prefix)) listener(event);
  }
}

function entryOf(key: string, { value, revision }: MetaValue): MetaEntry {
  return { key, value, revision };
}
