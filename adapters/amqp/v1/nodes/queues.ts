import type { Broker } from '../../../../core/broker.ts';
import type { GroupSpec } from '../../../../core/model/consumer-group.ts';
import { deadLetterTopic, encodeTopicName } from '../../../../core/model/names.ts';
import { DEFAULT_PRIORITY } from '../../../../core/model/priority.ts';
import { QUEUE_RETENTION, type Retention } from '../../../../core/model/topic.ts';
import type { NodeAddress } from './address.ts';

/** As other AMQP brokers do: a message group stays with one consumer, and what comes back, comes back at once. */
export const GROUP_RULES: Pick<GroupSpec, 'order' | 'retry'> = {
  order: 'messageGroup',
  retry: { attemptsMax: 10, backoff: { kind: 'listed', delaysMs: [0] } },
};

/** What the core calls a queue: the topic and the group of its name. */
export interface QueueNames {
  readonly topic: string;
  readonly group: string;
}

/** Point-to-point queues: a topic with one message queue, so that order is total, and the group of its name. */
export class Queues {
  private readonly broker: Broker;

  constructor(broker: Broker) {
    this.broker = broker;
  }

  /**
   * The queue, made where it is not there yet. An existing topic of that name is a queue as it is.
   * @throws BrokerError ILLEGAL_TOPIC, TOPIC_NOT_FOUND, LIMIT_EXCEEDED, ...
   */
  async use(queue: string): Promise<QueueNames> {
    const names = namesOfQueue(queue);
    await this.useTopic(names.topic, QUEUE_RETENTION);
    await this.useGroup(names.group);
    return names;
  }

  /** What is read as a member of a group, made where it is not there yet; undefined for an address without one. */
  async useReadable(node: NodeAddress): Promise<QueueNames | undefined> {
    if (node.kind === 'queue') return this.use(node.queue);
    const names = this.namesOf(node);
    if (names === undefined) return undefined;
    if (node.kind === 'group') await this.useTopic(names.topic);
    else await this.broker.topics.use(names.topic);
    await this.useGroup(names.group);
    return names;
  }

  /** Topic and group of what consumers share; undefined for every other address. */
  namesOf(node: NodeAddress): QueueNames | undefined {
    switch (node.kind) {
      case 'queue':
        return namesOfQueue(node.queue);
      case 'group':
        return { topic: encodeTopicName(node.topic), group: encodeTopicName(node.group) };
      case 'deadLetter': {
        const group = encodeTopicName(node.group);
        return { topic: deadLetterTopic(group), group };
      }
      default:
        return undefined;
    }
  }

  /** A group on a topic. */
  async useGroup(group: string): Promise<void> {
    const { groups, options } = this.broker;
    if (groups.get(group) !== undefined || !options.groups.autoCreate) await groups.use(group);
    else await groups.put({ ...GROUP_RULES, name: group });
  }

  /**
   * A topic; a new one has a single message queue, because AMQP clients expect the order in which they sent, and more only for
   * what is to overtake: messages of more than the default priority.
   */
  async useTopic(topic: string, retention?: Retention): Promise<void> {
    const { topics, options } = this.broker;
    if (topics.get(topic) !== undefined || !options.topics.autoCreate) {
      await topics.use(topic);
      return;
    }
    const defaults = topics.defaultsOf(topic);
    const levels = defaults.queues === undefined ? { queues: 1, priorityFrom: DEFAULT_PRIORITY } : undefined;
    await topics.put({ ...levels, ...defaults, ...(retention && { retention }), name: topic });
  }
}

function namesOfQueue(queue: string): QueueNames {
  const name = encodeTopicName(queue);
  return { topic: name, group: name };
}
