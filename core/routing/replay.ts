import { BrokerError } from '../model/broker-error.ts';
import { matchesAddress } from '../model/address.ts';
import type { StoredMessage } from '../model/message.ts';
import { isDeadLetterTopic } from '../model/names.ts';
import type { TopicSpec } from '../model/topic.ts';
import type { MessageEngine } from '../ports/message-engine.ts';

/** What is still to be read of one message queue; plain JSON. */
export interface ReplayRange {
  readonly topic: string;
  readonly queue: number;
  readonly next: number;
  readonly end: number;
}

/** Where a subscription starts to read what was published before it. */
export type ReplayStart = 'earliest' | { readonly time: number };

/** Reads stored messages again by their address, whoever has consumed them. */
export class Replay {
  private readonly engine: MessageEngine;
  private readonly topics: () => readonly TopicSpec[];
  /** The only topic that addresses of the filter can be in; undefined where that cannot be said. */
  private readonly topicOf: (filter: string) => string | undefined;

  constructor(
    engine: MessageEngine,
    topics: () => readonly TopicSpec[],
    topicOf: (filter: string) => string | undefined,
  ) {
    this.engine = engine;
    this.topics = topics;
    this.topicOf = topicOf;
  }

  /** What there is to read, up to the messages stored by now. */
  async ranges(filter: string, start: ReplayStart): Promise<ReplayRange[]> {
    const only = this.topicOf(filter);
    const topics = this.topics().filter(
      ({ name }) => !isDeadLetterTopic(name) && (only === undefined || name === only),
    );
    const ranges = topics.flatMap(({ name, queues }) =>
      Array.from({ length: queues }, (_, queue) => this.range(name, queue, start)),
    );
    return (await Promise.all(ranges)).filter(({ next, end }) => next < end);
  }

  /** The next messages of a range that the filter matches, and what is left of it. */
  async read(
    filter: string,
    range: ReplayRange,
    max: number,
    bytesMax: number,
  ): Promise<{ readonly messages: readonly StoredMessage[]; readonly rest: ReplayRange }> {
    const { topic, queue, next, end } = range;
    try {
      const source = { kind: 'topic', topic, queue } as const;
      const read = await this.engine.read(source, next, Math.min(max, end - next), bytesMax);
      const after = read.next === next ? end : read.next;
      const messages = read.messages.filter(({ address }) => matchesAddress(filter, address));
      return { messages, rest: { ...range, next: after } };
    } catch (error) {
      // Its topic was deleted meanwhile.
      if (error instanceof BrokerError) return { messages: [], rest: { ...range, next: end } };
      throw error;
    }
  }

  private async range(topic: string, queue: number, start: ReplayStart): Promise<ReplayRange> {
    const source = { kind: 'topic', topic, queue } as const;
    const { first, next: end } = await this.engine.offsets(source);
    const next = start === 'earliest' ? first : await this.engine.offsetAt(source, start.time);
    return { topic, queue, next, end };
  }
}
