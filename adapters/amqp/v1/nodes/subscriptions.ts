import { createHash } from 'node:crypto';
import type { FilterExpression } from '../../../../core/model/filter.ts';
import { LIMITS } from '../../../../core/model/limits.ts';
import { encodeTopicName } from '../../../../core/model/names.ts';
import type { Attach, Source } from '../codec/performatives.ts';
import { LinkError, type OutgoingLink } from '../node.ts';
import type { NodeContext } from './node-context.ts';
import { OwnerCounts } from './owner-counts.ts';
import { GROUP_RULES } from './queues.ts';

/** What a subscription is on. Another one under the same name takes its place. */
export interface SubscriptionTerms {
  /** As the core names it. */
  readonly topic: string;
  /** A filter over addresses, where not everything of the topic is wanted. */
  readonly address: string | undefined;
  readonly selector: string | undefined;
  readonly noLocal: boolean;
  readonly binding: FilterExpression['binding'];
}

/** One that is in use, or was in this process: it lives with its links, for some time after them, or until it is closed. */
interface Subscription {
  readonly group: string;
  readonly isShared: boolean;
  readonly isDurable: boolean;
  readonly terms: string;
  readonly links: Set<OutgoingLink>;
  /** Seconds after the last link was detached; undefined: never. */
  expiresAfterS: number | undefined;
  expiry: Disposable | undefined;
}

/** The terminus a client gets to see again when it looks its subscription up. */
interface SubscriptionRecord {
  readonly terms: string;
  readonly source: StoredSource;
  readonly isShared: boolean;
  /** Whose messages it does not want, whatever link reads it or none. */
  readonly noLocal?: string | undefined;
}

type StoredSource = Pick<Source, 'address' | 'durable' | 'expiryPolicy' | 'timeoutS' | 'capabilities'>;

/**
 * Subscriptions on topics: each is a consumer group of its own (AMQP 3.5, durable and expiring termini; the capabilities
 * `shared` and `global` as JMS clients use them).
 */
export class Subscriptions {
  /** Containers of durable subscriptions that do not want what their own container publishes (Jakarta Messaging 8.3.5). */
  readonly noLocalContainers = new OwnerCounts();
  private readonly context: NodeContext;
  private readonly noLocalMarks = new Map<string, Disposable>();
  private readonly open = new Map<string, Subscription>();
  /** What is being done to a group; the next thing waits for it. */
  private readonly busy = new Map<string, Promise<unknown>>();

  constructor(context: NodeContext) {
    this.context = context;
  }

  /** Those of earlier runs that do not last for ever: their time begins anew. */
  start(): void {
    for (const { group } of this.context.broker.subscriptions.list()) {
      const record = this.record(group);
      this.mark(group, record?.noLocal);
      if (record === undefined || record.source.expiryPolicy === 'never') continue;
      const { terms, isShared, source } = record;
      const subscription = this.add({ group, isShared, isDurable: true, terms });
      subscription.expiresAfterS = source.timeoutS;
      this.expireLater(subscription);
    }
  }

  stop(): void {
    for (const { expiry } of this.open.values()) expiry?.[Symbol.dispose]();
  }

  /**
   * Joins the subscription the attach names; makes it where there is none.
   * @returns its group, and what to call when the link is gone
   */
  async join(
    link: OutgoingLink,
    source: Source,
    terms: SubscriptionTerms,
  ): Promise<{ readonly group: string; readonly leave: (closed: boolean) => void }> {
    const isShared = source.capabilities.includes('shared');
    const isDurable = source.durable > 0 || source.expiryPolicy === 'never';
    const group = isDurable ? groupOf(link, source) : this.passingGroupOf(link, source);
    return this.inTurn(group, () => this.joinGroup(group, { isShared, isDurable }, link, source, terms));
  }

  /** JMS: one that is shared and does not last is another one than that which lasts under the same name. */
  private passingGroupOf(link: OutgoingLink, { capabilities }: Source): string {
    const { subscriptions } = this.context.broker;
    if (!capabilities.includes('shared')) return subscriptions.newPassingGroup();
    return withinLimit(subscriptions.passingGroup(groupNameOf(link, capabilities)));
  }

  private async joinGroup(
    group: string,
    { isShared, isDurable }: Pick<Subscription, 'isShared' | 'isDurable'>,
    link: OutgoingLink,
    source: Source,
    terms: SubscriptionTerms,
  ): Promise<{ readonly group: string; readonly leave: (closed: boolean) => void }> {
    const text = JSON.stringify(terms);
    await this.makeWay(group, isShared, text);
    const subscription = this.open.get(group) ?? this.add({ group, isShared, isDurable, terms: text });
    subscription.links.add(link);
    subscription.expiry?.[Symbol.dispose]();
    subscription.expiry = undefined;
    subscription.expiresAfterS = source.expiryPolicy === 'never' ? undefined : source.timeoutS;
    try {
      await this.store(subscription, source, terms, link);
    } catch (error) {
      this.forget(subscription, link);
      throw error;
    }
    return { group, leave: (closed) => this.leave(subscription, link, closed) };
  }

  /** The source of a subscription that a client asks for by name, to end it (JMS unsubscribe). */
  lookUp(attach: Attach, link: OutgoingLink): Source | undefined {
    const group = groupOf(link, { capabilities: attach.desiredCapabilities });
    const record = this.record(group);
    if (record === undefined) return undefined;
    return { ...EMPTY_SOURCE, ...record.source };
  }

  /** Ends the subscription looked up before. */
  unsubscribe(attach: Attach, link: OutgoingLink): void {
    const group = groupOf(link, { capabilities: attach.desiredCapabilities });
    if ((this.open.get(group)?.links.size ?? 0) > 0) return;
    this.remove(group);
  }

  isActive(attach: Attach, link: OutgoingLink): boolean {
    const group = groupOf(link, { capabilities: attach.desiredCapabilities });
    return (this.open.get(group)?.links.size ?? 0) > 0;
  }

  /** Ends what is in the way of the one asked for: another link of the same name, or other terms. */
  private async makeWay(group: string, isShared: boolean, terms: string): Promise<void> {
    const open = this.open.get(group);
    if (open !== undefined && open.links.size > 0) {
      if (open.isShared !== isShared) throw locked('it is in use in another way');
      if (isShared && open.terms !== terms) throw locked('others use it with another topic or selector');
      if (!isShared) {
        const stolen = {
          condition: 'amqp:link:stolen',
          description: 'the subscription was taken over by another link',
        };
        const links = [...open.links];
        // First, so that none of them is the last to leave.
        open.links.clear();
        for (const link of links) link.detach(stolen);
      }
    }
    const record = this.record(group);
    if (record !== undefined && (record.terms !== terms || record.isShared !== isShared)) {
      this.close(group);
      this.unmark(group);
      await this.context.broker.subscriptions.delete(group);
    }
  }

  /** Runs what is done to one group one after the other. */
  private inTurn<T>(group: string, run: () => Promise<T>): Promise<T> {
    const before = this.busy.get(group);
    const running = before === undefined ? run() : before.then(run);
    const over = running.then(
      () => undefined,
      () => undefined,
    );
    this.busy.set(group, over);
    void over.then(() => {
      if (this.busy.get(group) === over) this.busy.delete(group);
    });
    return running;
  }

  private close(group: string): void {
    this.open.get(group)?.expiry?.[Symbol.dispose]();
    this.open.delete(group);
  }

  private add(made: Pick<Subscription, 'group' | 'isShared' | 'isDurable' | 'terms'>): Subscription {
    const subscription: Subscription = { ...made, links: new Set(), expiresAfterS: undefined, expiry: undefined };
    this.open.set(made.group, subscription);
    return subscription;
  }

  private async store(
    { group, isShared, isDurable }: Subscription,
    source: Source,
    terms: SubscriptionTerms,
    { peer }: OutgoingLink,
  ): Promise<void> {
    const { address, durable, expiryPolicy, timeoutS, capabilities } = source;
    const record: SubscriptionRecord = {
      terms: JSON.stringify(terms),
      source: { address, durable, expiryPolicy, timeoutS, capabilities },
      isShared,
      noLocal: isDurable && terms.noLocal ? peer.containerId : undefined,
    };
    const subscription = { group, topic: terms.topic, durable: isDurable, details: JSON.stringify(record) };
    await this.context.broker.subscriptions.put(subscription, GROUP_RULES);
    this.mark(group, record.noLocal);
  }

  private leave(subscription: Subscription, link: OutgoingLink, closed: boolean): void {
    // A link that was stolen has left before.
    if (!subscription.links.delete(link) || subscription.links.size > 0) return;
    const { group, isDurable, expiresAfterS } = subscription;
    if (closed || !isDurable || expiresAfterS === 0) this.remove(group);
    else if (expiresAfterS !== undefined) this.expireLater(subscription);
  }

  private expireLater(subscription: Subscription): void {
    const { group, expiresAfterS = 0 } = subscription;
    subscription.expiry = this.context.broker.clock.schedule(expiresAfterS * 1000, () => this.remove(group));
  }

  private forget(subscription: Subscription, link: OutgoingLink): void {
    subscription.links.delete(link);
    if (subscription.links.size === 0) this.close(subscription.group);
  }

  /** What the container publishes is to say so. */
  private mark(group: string, container: string | undefined): void {
    if (container === undefined || this.noLocalMarks.has(group)) return;
    this.noLocalMarks.set(group, this.noLocalContainers.add(container));
  }

  private unmark(group: string): void {
    this.noLocalMarks.get(group)?.[Symbol.dispose]();
    this.noLocalMarks.delete(group);
  }

  private remove(group: string): void {
    this.close(group);
    this.inTurn(group, async () => {
      // Somebody who waited longer has joined it.
      if (this.open.has(group)) return;
      this.unmark(group);
      await this.context.broker.subscriptions.delete(group);
    }).catch((error: unknown) => {
      this.context.log.error({ err: error, group }, 'a subscription could not be deleted');
    });
  }

  private record(group: string): SubscriptionRecord | undefined {
    const details = this.context.broker.subscriptions.get(group)?.details;
    return details === undefined ? undefined : (JSON.parse(details) as SubscriptionRecord);
  }
}

const EMPTY_SOURCE: Source = {
  kind: 'source',
  durable: 0,
  expiryPolicy: 'session-end',
  timeoutS: 0,
  dynamic: false,
  dynamicNodeProperties: new Map(),
  filters: new Map(),
  outcomes: [],
  capabilities: [],
};

/** The group of a durable subscription. */
function groupOf(link: OutgoingLink, { capabilities }: { readonly capabilities: readonly string[] }): string {
  return withinLimit(groupNameOf(link, capabilities));
}

/**
 * Container id and link name; the first is empty where all containers share it, so that it is no queue of that name.
 * Further links of one JMS client carry a counter behind `|`.
 */
function groupNameOf({ name, peer }: OutgoingLink, capabilities: readonly string[]): string {
  const isShared = capabilities.includes('shared');
  const [subscription = name] = isShared ? name.split('|') : [name];
  const owner = capabilities.includes('global') ? '' : peer.containerId;
  return encodeTopicName(`${owner}|${subscription}`);
}

function withinLimit(group: string): string {
  if (group.length <= LIMITS.groupNameCharsMax) return group;
  const digest = createHash('sha256').update(group).digest('hex').slice(0, 32);
  return `${group.slice(0, LIMITS.groupNameCharsMax - digest.length - 1)}-${digest}`;
}

function locked(why: string): LinkError {
  return new LinkError('amqp:resource-locked', `the subscription cannot be joined: ${why}`);
}
