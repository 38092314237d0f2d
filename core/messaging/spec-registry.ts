import { BrokerError } from '../model/broker-error.ts';
import type { MetaStore } from '../ports/meta-store.ts';

/**
 * Topics or consumer groups by name: kept in memory for the hot path, in the meta store for the next start, and made known
 * to the engine before anyone uses them.
 */
export class SpecRegistry<T extends { readonly name: string }> {
  private readonly specs = new Map<string, T>();
  private readonly creating = new Map<string, Promise<T>>();
  private readonly kind: string;
  private readonly meta: MetaStore;
  private readonly ensureInEngine: (spec: T) => Promise<void>;
  private readonly countMax: number;

  constructor(kind: 'topic' | 'group', meta: MetaStore, countMax: number, ensureInEngine: (spec: T) => Promise<void>) {
    this.kind = kind;
    this.meta = meta;
    this.countMax = countMax;
    this.ensureInEngine = ensureInEngine;
  }

  /** Reads what earlier runs left. */
  async load(): Promise<void> {
    for (const entry of await this.meta.list(`${this.kind}/`)) {
      const spec = JSON.parse(Buffer.from(entry.value).toString('utf8')) as T;
      await this.ensureInEngine(spec);
      this.specs.set(spec.name, spec);
    }
  }

  get(name: string): T | undefined {
    return this.specs.get(name);
  }

  list(): T[] {
    return [...this.specs.values()];
  }

  /** Creates or changes; callers who ask for the same name at the same time share one creation. */
  async put(spec: T): Promise<T> {
    const { name } = spec;
    const running = this.creating.get(name);
    if (running !== undefined) return running;
    if (!this.specs.has(name) && this.count() >= this.countMax) {
      throw new BrokerError('LIMIT_EXCEEDED', `there are ${this.countMax} ${this.kind}s already, the configured limit`);
    }
    const creation = this.store(spec).finally(() => this.creating.delete(name));
    this.creating.set(name, creation);
    return creation;
  }

  /** Those there are and those about to be; a change of one that exists counts once. */
  private count(): number {
    let count = this.specs.size;
    for (const name of this.creating.keys()) if (!this.specs.has(name)) count++;
    return count;
  }

  private async store(spec: T): Promise<T> {
    await this.ensureInEngine(spec);
    await this.meta.put(`${this.kind}/${spec.name}`, Buffer.from(JSON.stringify(spec)));
    this.specs.set(spec.name, spec);
    return spec;
  }
}
