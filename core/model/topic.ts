/** What a topic accepts. MIXED is every kind the engine can do. */
export const TOPIC_TYPES = ['NORMAL', 'FIFO', 'DELAY', 'TRANSACTION', 'PRIORITY', 'LITE', 'MIXED'] as const;
export type TopicType = (typeof TOPIC_TYPES)[number];

/** The kind of one message, derived from its content (TRANSACTION > DELAY > FIFO > PRIORITY > LITE > NORMAL). */
export type MessageType = Exclude<TopicType, 'MIXED'>;

export interface Retention {
  /** Age after which messages may be removed, whether consumed or not. */
  readonly ms: number;
  /** Bytes one message queue keeps; the oldest go first. */
  readonly bytesPerQueue: number;
  /**
   * What all groups reading the queue have acknowledged may go before its time, unless it waits in a light queue. While no
   * group reads the queue everything stays.
   */
  readonly consumed?: boolean;
}

export interface TopicSpec {
  readonly name: string;
  readonly type: TopicType;
  /** Number of message queues. */
  readonly queues: number;
  readonly retention: Retention;
  /**
   * Where it is given, each message queue is a level of priority, and receives take from the last one first: queue 0 has
   * messages of this priority, of a lower one and of none, queue i those of `priorityFrom + i`, the last all above. A topic with one
   * queue gets the others with the first message that needs them.
   */
  readonly priorityFrom?: number;
}

/** RocketMQ: fileReservedTime 72 h. */
export const DEFAULT_RETENTION: Retention = { ms: 72 * 3_600_000, bytesPerQueue: 8 * 1024 ** 3 };
/** A retention that never ends; Infinity is no number in JSON. */
export const FOREVER_MS = Number.MAX_SAFE_INTEGER;
/** Of a topic that is used as a queue: a message stays until all its consumer groups are done with it. */
export const QUEUE_RETENTION: Retention = { ms: FOREVER_MS, bytesPerQueue: Number.MAX_SAFE_INTEGER, consumed: true };
export const DEFAULT_QUEUES = 4;

/** Where messages are read from: a topic (all its message queues, or one), or a light queue. */
export type Source =
  | { readonly kind: 'topic'; readonly topic: string; readonly queue?: number }
  | { readonly kind: 'light'; readonly name: string };

/** A key for maps; the two kinds cannot collide because a topic name has no space. */
export function sourceKey(source: Source): string {
  return source.kind === 'topic' ? source.topic : `light ${source.name}`;
}
