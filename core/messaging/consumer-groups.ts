import { BrokerError } from '../model/broker-error.ts';
import { DEFAULT_RETRY_POLICY, type GroupSpec } from '../model/consumer-group.ts';
import { checkGroupName } from '../model/names.ts';
import type { Source } from '../model/topic.ts';
import type { MessageEngine } from '../ports/message-engine.ts';
import type { MetaStore } from '../ports/meta-store.ts';
import { SpecRegistry } from './spec-registry.ts';

export interface GroupOptions {
  /** Create consumer groups on first use. */
  readonly autoCreate: boolean;
  readonly countMax: number;
}

/** The consumer groups of this broker. */
export class ConsumerGroups {
  private readonly registry: SpecRegistry<GroupSpec>;
  private readonly options: GroupOptions;

  private readonly engine: MessageEngine;

  constructor(engine: MessageEngine, meta: MetaStore, options: GroupOptions) {
    this.engine = engine;
    this.options = options;
    this.registry = new SpecRegistry('group', meta, options.countMax, {
      ensure: (spec) => engine.ensureGroup(spec),
      delete: (name) => engine.deleteGroup(name),
    });
  }

  load(): Promise<void> {
    return this.registry.load();
  }

  get(name: string): GroupSpec | undefined {
    return this.registry.get(name);
  }

  list(): GroupSpec[] {
    return this.registry.list();
  }

  /** Creates a group, or changes one. */
  async put(spec: { readonly name: string } & Partial<GroupSpec>): Promise<GroupSpec> {
    checkGroupName(spec.name);
    return this.registry.put({
      name: spec.name,
      order: spec.order ?? 'concurrent',
      retry: spec.retry ?? DEFAULT_RETRY_POLICY,
    });
  }

  /**
   * Deletes a group and its progress, not its dead letters; its receives that wait end with CONSUMER_GROUP_NOT_FOUND.
   * @returns whether it was there
   */
  delete(name: string): Promise<boolean> {
    return this.registry.delete(name);
  }

  /**
   * Makes the group read the source: from `latest`, every message whose sending begins after this resolved and none that was
   * stored before. Where it reads already it goes on. The group is created on first use where that is allowed.
   * @throws BrokerError of `use`, TOPIC_NOT_FOUND
   */
  async subscribe(name: string, source: Source, from: 'earliest' | 'latest'): Promise<GroupSpec> {
    const spec = await this.use(name);
    await this.engine.join(name, source, from);
    return spec;
  }

  /**
   * Acknowledges for the group what waits in the source; what is leased right now stays.
   * @returns how many messages
   * @throws BrokerError CONSUMER_GROUP_NOT_FOUND, TOPIC_NOT_FOUND
   */
  purge(name: string, source: Source): Promise<number> {
    return this.engine.purge(name, source);
  }

  /**
   * The group, created on first use where that is allowed.
   * @throws BrokerError ILLEGAL_CONSUMER_GROUP, CONSUMER_GROUP_NOT_FOUND, LIMIT_EXCEEDED
   */
  async use(name: string): Promise<GroupSpec> {
    const known = this.registry.get(name);
    if (known !== undefined) return known;
    checkGroupName(name);
    if (!this.options.autoCreate) {
      throw new BrokerError('CONSUMER_GROUP_NOT_FOUND', `the consumer group ${name} does not exist`);
    }
    return this.put({ name });
  }
}
