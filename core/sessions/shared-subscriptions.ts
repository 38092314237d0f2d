import { encodeTopicName } from '../model/names.ts';
import type { Source } from '../model/topic.ts';
import type { MessageEngine } from '../ports/message-engine.ts';

/** Entries acknowledged before those that all have acknowledged are given up. */
const TRIM_EVERY = 4096;

/** Writes references to messages whose address the filter matches to the light queue, until disposed; the router's. */
export type BindLightQueue = (filter: string, lightQueue: string) => Disposable;

interface Shared {
  readonly group: string;
  readonly filter: string;
  readonly lightQueue: string;
  members: number;
  binding: Disposable | undefined;
  acknowledged: number;
}

/**
 * Consumer groups over what an address filter matches: made by the first session that subscribes, gone with the last. Its
 * members share the work by the rules of consumer groups: leases, retries, dead letters, and order per message group.
 */
export class SharedSubscriptions {
  private readonly engine: MessageEngine;
  private readonly bind: BindLightQueue;
  /** Makes the group known; throws for a name that cannot be one. */
  private readonly useGroup: (group: string) => Promise<unknown>;
  private readonly topicOf: (address: string) => string;
  private readonly byLightQueue = new Map<string, Shared>();

  constructor(
    engine: MessageEngine,
    bind: BindLightQueue,
    useGroup: (group: string) => Promise<unknown>,
    topicOf: (address: string) => string,
  ) {
    this.engine = engine;
    this.bind = bind;
    this.useGroup = useGroup;
    this.topicOf = topicOf;
  }

  get count(): number {
    return this.byLightQueue.size;
  }

  /** One more member. @throws BrokerError ILLEGAL_CONSUMER_GROUP, CONSUMER_GROUP_NOT_FOUND, LIMIT_EXCEEDED */
  async join(shareName: string, filter: string): Promise<void> {
    const group = groupOf(shareName);
    await this.useGroup(group);
    const lightQueue = lightQueueOf(group, filter);
    let shared = this.byLightQueue.get(lightQueue);
    if (shared === undefined) {
      shared = { group, filter, lightQueue, members: 0, binding: undefined, acknowledged: 0 };
      this.byLightQueue.set(lightQueue, shared);
    }
    shared.members++;
    await this.engine.ensureLightQueue(lightQueue, { durable: true });
    // Left again meanwhile, or joined by another member.
    if (shared.members > 0) shared.binding ??= this.bind(filter, lightQueue);
  }

  /** One member less. Without any, what nobody has acknowledged is dropped, as with every subscription that ends. */
  async leave(shareName: string, filter: string): Promise<void> {
    const lightQueue = lightQueueOf(groupOf(shareName), filter);
    const shared = this.byLightQueue.get(lightQueue);
    if (shared === undefined || --shared.members > 0) return;
    this.byLightQueue.delete(lightQueue);
    shared.binding?.[Symbol.dispose]();
    await this.engine.deleteLightQueue(lightQueue);
  }

  /** Where members read from, and the name of their consumer group. */
  source(shareName: string, filter: string): { readonly group: string; readonly source: Source } {
    const group = groupOf(shareName);
    return { group, source: { kind: 'light', name: lightQueueOf(group, filter) } };
  }

  /** Where a consumer of the topic reads from when its group is that of a shared subscription on it. */
  sourceOfTopic(group: string, topic: string): Source | undefined {
    for (const shared of this.byLightQueue.values()) {
      if (shared.group === group && this.topicOf(shared.filter) === topic) {
        return { kind: 'light', name: shared.lightQueue };
      }
    }
    return undefined;
  }

  /** Members have acknowledged so many messages. */
  acknowledged(source: Source, count: number): void {
    const shared = source.kind === 'light' ? this.byLightQueue.get(source.name) : undefined;
    if (shared === undefined) return;
    shared.acknowledged += count;
    if (shared.acknowledged < TRIM_EVERY) return;
    shared.acknowledged = 0;
    void this.trim(shared, source);
  }

  private async trim({ group, lightQueue }: Shared, source: Source): Promise<void> {
    const [state] = await this.engine.groupState(group, source);
    if (state !== undefined) this.engine.trimLightQueue(lightQueue, state.floor);
  }
}

/** Share names may have characters that RocketMQ does not allow in the name of a group. */
function groupOf(shareName: string): string {
  return encodeTopicName(shareName);
}

function lightQueueOf(group: string, filter: string): string {
  return `%SHARE%${group}/${filter}`;
}
