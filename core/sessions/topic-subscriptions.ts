import type { GroupSpec } from '../model/consumer-group.ts';
import type { ConsumerGroups } from '../messaging/consumer-groups.ts';
import type { MetaStore } from '../ports/meta-store.ts';

/** A subscription on a topic: a consumer group of its own, which starts at the end of the topic. */
export interface TopicSubscription {
  readonly group: string;
  readonly topic: string;
  /** Outlives the process. */
  readonly durable: boolean;
  /** What its protocol has to know of it later; kept as it is. */
  readonly details: string;
}

const PREFIX = 'subscription/';
/** What begins with it did not mean to outlive the process. */
const PASSING_PREFIX = '%SUB%';

/** The subscriptions whose members come and go: durable ones of AMQP clients, and those that last as long as a link. */
export class TopicSubscriptions {
  private readonly groups: ConsumerGroups;
  private readonly meta: MetaStore;
  private readonly subscriptions = new Map<string, TopicSubscription>();
  private lastPassing = 0;

  constructor(groups: ConsumerGroups, meta: MetaStore) {
    this.groups = groups;
    this.meta = meta;
  }

  /** Reads the durable ones of earlier runs; what was not to last is cleared away. */
  async load(): Promise<void> {
    for (const { key, value } of await this.meta.list(PREFIX)) {
      const subscription = JSON.parse(Buffer.from(value).toString('utf8')) as TopicSubscription;
      if (subscription.durable) this.subscriptions.set(subscription.group, subscription);
      else await this.remove(subscription.group, key);
    }
    const left = this.groups.list().filter(({ name }) => name.startsWith(PASSING_PREFIX));
    for (const { name } of left) await this.groups.delete(name);
  }

  get(group: string): TopicSubscription | undefined {
    return this.subscriptions.get(group);
  }

  list(): TopicSubscription[] {
    return [...this.subscriptions.values()];
  }

  /** The name of a group that ends with the process. */
  newPassingGroup(): string {
    return `${PASSING_PREFIX}${++this.lastPassing}`;
  }

  /** The same for one that several know by its name, which has a character that is no digit. */
  passingGroup(name: string): string {
    return `${PASSING_PREFIX}${name}`;
  }

  /**
   * Makes the subscription, or changes its details: it goes on where it was then.
   * @param rules of its group, where it is a new one
   * @throws BrokerError ILLEGAL_CONSUMER_GROUP, TOPIC_NOT_FOUND, LIMIT_EXCEEDED
   */
  async put(subscription: TopicSubscription, rules: Partial<GroupSpec> = {}): Promise<void> {
    const { group, topic } = subscription;
    const isNamed = !group.startsWith(PASSING_PREFIX);
    // Written down first: what a crash leaves behind is a subscription, not a group that nobody ends.
    if (isNamed) await this.meta.put(PREFIX + group, Buffer.from(JSON.stringify(subscription)));
    this.subscriptions.set(group, subscription);
    if (this.groups.get(group) === undefined) await this.groups.put({ ...rules, name: group });
    await this.groups.subscribe(group, { kind: 'topic', topic }, 'latest');
  }

  async delete(group: string): Promise<void> {
    if (this.subscriptions.delete(group)) await this.remove(group, PREFIX + group);
  }

  private async remove(group: string, key: string): Promise<void> {
    await this.groups.delete(group);
    if (!group.startsWith(PASSING_PREFIX)) await this.meta.delete(key);
  }
}
