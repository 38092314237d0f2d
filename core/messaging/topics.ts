import { BrokerError } from '../model/broker-error.ts';
import { LIMITS } from '../model/limits.ts';
import { checkTopicName, isDeadLetterTopic } from '../model/names.ts';
import { PRIORITY_MAX } from '../model/priority.ts';
import { DEFAULT_QUEUES, DEFAULT_RETENTION, FOREVER_MS, type MessageType, type TopicSpec } from '../model/topic.ts';
import type { Capabilities, MessageEngine } from '../ports/message-engine.ts';
import type { MetaStore } from '../ports/meta-store.ts';
import { SpecRegistry } from './spec-registry.ts';

export interface TopicOptions {
  /** Create topics on first use. */
  readonly autoCreate: boolean;
  readonly countMax: number;
}

/** What a topic is like when nobody said so by creating it. */
export type TopicDefaults = (name: string) => Pick<Partial<TopicSpec>, 'type' | 'queues'>;

const NO_DEFAULTS: TopicDefaults = () => ({});

/** The topics of this broker. */
export class Topics {
  private readonly registry: SpecRegistry<TopicSpec>;
  private readonly options: TopicOptions;
  private readonly defaults: TopicDefaults;
  private readonly mixed: readonly MessageType[];

  constructor(engine: MessageEngine, meta: MetaStore, options: TopicOptions, defaults: TopicDefaults = NO_DEFAULTS) {
    this.options = options;
    this.defaults = defaults;
    this.mixed = mixedTypes(engine.capabilities);
    this.registry = new SpecRegistry('topic', meta, options.countMax, {
      ensure: (spec) => engine.ensureTopic(spec),
      delete: (name) => engine.deleteTopic(name),
    });
  }

  load(): Promise<void> {
    return this.registry.load();
  }

  get(name: string): TopicSpec | undefined {
    return this.registry.get(name);
  }

  list(): TopicSpec[] {
    return this.registry.list();
  }

  /** Creates a topic, or changes one. */
  async put(spec: { readonly name: string } & Partial<TopicSpec>): Promise<TopicSpec> {
    checkTopicName(spec.name);
    const queues = spec.queues ?? (isDeadLetterTopic(spec.name) ? 1 : DEFAULT_QUEUES);
    if (!Number.isInteger(queues) || queues < 1 || queues > LIMITS.queuesPerTopicMax) {
      throw new BrokerError('BAD_REQUEST', `a topic has 1 to ${LIMITS.queuesPerTopicMax} queues, not ${queues}`);
    }
    const retention = spec.retention ?? DEFAULT_RETENTION;
    if (!(retention.ms > 0 && retention.ms <= FOREVER_MS && retention.bytesPerQueue > 0)) {
      throw new BrokerError('BAD_REQUEST', 'what a topic keeps is a number of milliseconds and of bytes');
    }
    const { name, type = 'MIXED', priorityFrom } = spec;
    return this.registry.put({ name, type, queues, retention, ...(priorityFrom !== undefined && { priorityFrom }) });
  }

  /**
   * Deletes a topic with its messages and what groups did with them; receives that wait for it end with TOPIC_NOT_FOUND.
   * @returns whether it was there
   */
  delete(name: string): Promise<boolean> {
    return this.registry.delete(name);
  }

  /**
   * The topic, created on first use where that is allowed.
   * @throws BrokerError ILLEGAL_TOPIC, TOPIC_NOT_FOUND, LIMIT_EXCEEDED
   */
  async use(name: string): Promise<TopicSpec> {
    const known = this.registry.get(name);
    if (known !== undefined) return known;
    checkTopicName(name);
    if (!this.options.autoCreate && !isDeadLetterTopic(name)) throw topicNotFound(name);
    return this.put({ name, ...this.defaults(name) });
  }

  /**
   * Gives the topic a message queue for each level of priority.
   * @throws BrokerError TOPIC_NOT_FOUND
   */
  async addPriorities(name: string): Promise<TopicSpec> {
    const spec = this.registry.get(name);
    if (spec?.priorityFrom === undefined) throw topicNotFound(name);
    return this.registry.put({ ...spec, queues: Math.max(spec.queues, PRIORITY_MAX - spec.priorityFrom + 1) });
  }

  /** What routes say of a topic that is not there yet. */
  defaultsOf(name: string): ReturnType<TopicDefaults> {
    return this.defaults(name);
  }

  /** The message types the topic takes, never empty. */
  acceptedTypes(spec: TopicSpec): readonly MessageType[] {
    return spec.type === 'MIXED' ? this.mixed : [spec.type];
  }
}

export function topicNotFound(name: string): BrokerError {
  // The wording RocketMQ's name server uses; its clients' users search for it.
  return new BrokerError(
    'TOPIC_NOT_FOUND',
    `CODE: 17  DESC: No topic route info in name server for the topic: ${name}`,
  );
}

function mixedTypes(capabilities: Capabilities): readonly MessageType[] {
  const types: MessageType[] = ['NORMAL'];
  if (capabilities.fifo) types.push('FIFO');
  if (capabilities.delay !== false) types.push('DELAY');
  if (capabilities.transactions) types.push('TRANSACTION');
  return types;
}
