import { BrokerError } from '../model/broker-error.ts';
import type { MetaStore } from '../ports/meta-store.ts';

/** Where specs take effect. */
export interface SpecTarget<T> {
  ensure(spec: T): Promise<void>;
  delete(name: string): Promise<void>;
}

/**
 * Topics or consumer groups by name: kept in memory for the hot path, in the meta store for the next start, and made known
 * to the engine before anyone uses them.
 */
export class SpecRegistry<T extends { readonly name: string }> {
  private readonly specs = new Map<string, T>();
  private readonly creating = new Map<string, Promise<T>>();
  private readonly kind: string;
  private readonly meta: MetaStore;
  private readonly deleting = new Map<string, Promise<void>>();
  private readonly engine: SpecTarget<T>;
  private readonly countMax: number;

  constructor(kind: 'topic' | 'group', meta: MetaStore, countMax: number, engine: SpecTarget<T>) {
    this.kind = kind;
    this.meta = meta;
    this.countMax = countMax;
    this.engine = engine;
  }

  /** Reads what earlier runs left. */
  async load(): Promise<void> {
    for (const entry of await this.meta.list(`${this.kind}/`)) {
      const spec = JSON.parse(Buffer.from(entry.value).toString('utf8')) as T;
      await this.engine.ensure(spec);
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
    const deletion = this.deleting.get(name);
    if (deletion !== undefined) await deletion;
    const running = this.creating.get(name);
    if (running !== undefined) return running;
    if (!this.specs.has(name) && this.count() >= this.countMax) {
      throw new BrokerError('LIMIT_EXCEEDED', `there are ${this.countMax} ${this.kind}s already, the configured limit`);
    }
    const creation = this.store(spec).finally(() => this.creating.delete(name));
    this.creating.set(name, creation);
    return creation;
  }

  /** @returns whether it was there */
  async delete(name: string): Promise<boolean> {
    // A creation that fails is told to who asked for it.
    await this.creating.get(name)?.catch(() => undefined);
    const running = this.deleting.get(name);
    if (running !== undefined) return running.then(() => false);
    if (!this.specs.delete(name)) return false;
    const deletion = this.remove(name).finally(() => this.deleting.delete(name));
    this.deleting.set(name, deletion);
    await deletion;
    return true;
  }

  /** Those there are and those about to be; a change of one that exists counts once. */
  private count(): number {
    let count = this.specs.size;
    for (const name of this.creating.keys()) if (!this.specs.has(name)) count++;
    return count;
  }

  /** The engine first: an end in between leaves something of that name that is empty, not something nobody knows of. */
  private async remove(name: string): Promise<void> {
    await this.engine.delete(name);
    await this.meta.delete(`${this.kind}/${name}`);
  }

  private async store(spec: T): Promise<T> {
    await this.engine.ensure(spec);
    await this.meta.put(`${this.kind}/${spec.name}`, Buffer.from(JSON.stringify(spec)));
    this.specs.set(spec.name, spec);
    return spec;
  }
}
