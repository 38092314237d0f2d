import type { GroupSpec } from '../model/consumer-group.ts';
import type { Message, StoredMessage } from '../model/message.ts';
import type { Outcome } from '../model/broker-error.ts';
import type { Source, TopicSpec } from '../model/topic.ts';
import type { Clock } from './clock.ts';
import type { Logger } from './logger.ts';
import type { MetaChange } from './meta-store.ts';

/** What an engine can do. The core asks these, never the engine's name. */
export interface Capabilities {
  readonly name: string;
  readonly multiNode: boolean;
  /** What `send` and `settle` have reached when they resolve. */
  readonly durability: 'none' | 'process' | 'fsync' | 'quorum' | 'quorum+fsync';
  readonly ackDurability: 'none' | 'lazy' | 'fsync' | 'quorum';
  /** dense: every offset from first to next is a message. */
  readonly offsets: 'dense' | 'sparse';
  readonly fifo: boolean;
  /** A repeated `attemptId` gets the same messages again instead of waiting for their lease to end. */
  readonly attemptReplay: boolean;
  readonly delay: { readonly precisionMs: number; readonly maxMs: number } | false;
  readonly transactions: boolean;
  /** `ReceiveRequest.select`. */
  readonly selectors: boolean;
  readonly seek: ReadonlySet<'offset' | 'time' | 'earliest' | 'latest'>;
}

/** A message on its way in. The core fills in `queue` and `lightQueues`. */
export class OutgoingMessage {
  readonly topic: string;
  /** The message's address, as text: known to whoever took it in, so nobody decodes it again. */
  readonly address: string;
  readonly message: Message;
  /** The message queue it goes to; -1 until chosen. */
  queue = -1;
  /** Names of the light queues that get a reference to it. */
  lightQueues: readonly string[] = NO_LIGHT_QUEUES;
  /** What changes in the meta store when the message is taken in, delayed or not: both become durable, or neither. */
  changes: readonly MetaChange[] = NO_CHANGES;

  constructor(topic: string, address: string, message: Message) {
    this.topic = topic;
    this.address = address;
    this.message = message;
  }
}

const NO_LIGHT_QUEUES: readonly string[] = [];
const NO_CHANGES: readonly MetaChange[] = [];

/** Where a message went. */
export interface Placed {
  readonly queue: number;
  /** -1 for a delayed message: it gets its place when it is due. */
  readonly offset: number;
  readonly storedAt: number;
  /** Takes a delayed message back, by `cancelDelayed`. */
  readonly recallHandle?: string;
}

/** Opaque, portable between the nodes of one engine; good for one lease. */
export type Receipt = string;

export interface Delivery {
  readonly message: StoredMessage;
  /** From 1. */
  readonly attempt: number;
  readonly receipt: Receipt;
  /** When the lease ends and the message comes back, milliseconds since the epoch. */
  readonly visibleAt: number;
}

/**
 * Which messages of a group's a receive wants. It is known by its identity: the engine remembers how far each has looked,
 * so whoever asks again gives the same function, and its answer for one message stays the same. Must not throw.
 */
export type Selector = (message: StoredMessage) => boolean;

export interface ReceiveRequest {
  readonly group: string;
  readonly source: Source;
  readonly max: number;
  readonly bytesMax: number;
  /** How long to wait for a first message; 0 answers at once. */
  readonly waitMs: number;
  readonly leaseMs: number;
  /** FIFO groups: a retried receive names the attempt it repeats. */
  readonly attemptId?: string;
  /**
   * Only these are leased; the others stay in place for other members of the group, who get them first. At most 4,096 messages
   * are left so in a queue; beyond that somebody has to take them. In a fifo group a message group goes on only with its
   * oldest message: where that is not selected, the message group waits for who selects it, and others go on.
   */
  readonly select?: Selector;
  /**
   * Who receives, one receive at a time, known by its identity. While messages of a message group that is kept in order are
   * leased, it goes on only for the member that has all of them, and for nobody while one backs off. The leases of members
   * end with the process.
   */
  readonly member?: object;
  /** Where message groups are kept in order: how many messages of one this receive may get. For who handles them side by side. */
  readonly perMessageGroupMax?: number;
}

export type SettleAction =
  | { readonly kind: 'ack' }
  /** The lease ends `ms` from now. A new receipt replaces the old one, unless `keepReceipt`. */
  | { readonly kind: 'extend'; readonly ms: number; readonly keepReceipt?: boolean }
  /** Visible again at its old place after `delayMs`; the receipt is void. */
  | { readonly kind: 'release'; readonly delayMs: number; readonly countAttempt: boolean }
  /** Reason, description and details (of the consumer's protocol) stay with the message in the dead letter topic. */
  | {
      readonly kind: 'deadLetter';
      readonly reason: string;
      readonly description?: string | undefined;
      readonly details?: Uint8Array | undefined;
    };

export interface Settlement {
  readonly receipt: Receipt;
  /** Where given, a receipt of another group counts as stale: clients name their group, and may only touch that. */
  readonly group?: string;
  readonly action: SettleAction;
}

export interface Settled {
  /** The receipt that replaces the old one, after `extend`. */
  readonly receipt?: Receipt;
}

export interface GroupState {
  readonly queue: number;
  /** First offset not yet acknowledged. */
  readonly floor: number;
  /** Next offset never delivered. */
  readonly cursor: number;
  /** Delivered or waiting for retry, not yet acknowledged. */
  readonly inflight: number;
  /** Of those in flight: with a lease that is live. */
  readonly leased: number;
  /** Messages the group still has to acknowledge. */
  readonly lag: number;
}

export type SeekTarget =
  | { readonly kind: 'offset'; readonly queue: number; readonly offset: number }
  | { readonly kind: 'time'; readonly time: number }
  | { readonly kind: 'earliest' }
  | { readonly kind: 'latest' };

export interface OffsetRange {
  readonly first: number;
  /** One behind the last visible message. */
  readonly next: number;
}

/** Asked for messages whose time has come: others than when they were sent may want them. */
export interface DueMessages {
  /** The names of the light queues that get a reference too. */
  lightQueuesOf(message: Message): readonly string[];
  /** They are durable in their queues. */
  arrived(messages: readonly Message[]): void;
}

export interface EngineContext {
  readonly clock: Clock;
  readonly log: Logger;
  /** The engine cannot keep its promise any more: nothing is acknowledged from here on, and the process has to end. */
  readonly onFailure: (error: Error) => void;
  readonly due?: DueMessages;
}

/**
 * The pluggable storage backend, drawn at the level of groups (docs/adr/0003). Names of topics, groups and light queues
 * are checked by the core before they come here. Every failure of one item is an Outcome; a rejected promise is a defect or
 * a call the engine's capabilities rule out.
 */
export interface MessageEngine {
  readonly capabilities: Capabilities;
  start(context: EngineContext): Promise<void>;
  /** Resolves when everything accepted is durable; waiting receives end empty. */
  stop(): Promise<void>;

  /** Creates the topic, or changes its type and retention and adds queues; queues are never taken away. */
  ensureTopic(spec: TopicSpec): Promise<void>;
  /** Waiting receives of what is deleted are rejected with TOPIC_NOT_FOUND or CONSUMER_GROUP_NOT_FOUND. */
  deleteTopic(name: string): Promise<void>;
  ensureGroup(spec: GroupSpec): Promise<void>;
  deleteGroup(name: string): Promise<void>;
  /** A light queue that is not durable ends with the process. */
  ensureLightQueue(name: string, options: { readonly durable: boolean }): Promise<void>;
  /** Its waiting receives end empty. */
  deleteLightQueue(name: string): Promise<void>;
  /** Entries below the offset are not needed any more. */
  trimLightQueue(name: string, before: number): void;

  /** Resolves when durable, one outcome each, in order. The bytes of the messages may be overwritten after that. */
  send(batch: readonly OutgoingMessage[]): Promise<Outcome<Placed>[]>;
  receive(request: ReceiveRequest, signal: AbortSignal): Promise<Delivery[]>;
  settle(batch: readonly Settlement[]): Promise<Outcome<Settled>[]>;
  /** All or nothing: the first problem is the outcome and nothing happened. */
  transact(send: readonly OutgoingMessage[], settle: readonly Settlement[]): Promise<Outcome<Placed[]>>;

  /** A half message: stored, invisible until resolved. UNSUPPORTED for one with changes. */
  prepare(outgoing: OutgoingMessage, transaction: { readonly checkAfterMs: number }): Promise<Outcome<string>>;
  resolve(transactionId: string, how: 'commit' | 'rollback'): Promise<Outcome<Placed | undefined>>;
  /** Half messages whose producer should be asked, leased so that one node asks. */
  orphans(max: number): Promise<{ readonly transactionId: string; readonly message: StoredMessage }[]>;
  cancelDelayed(recallHandle: string): Promise<Outcome<{ readonly messageId: string }>>;

  /**
   * Reads without any group state, from the offset on; messages removed by retention are skipped. `next` is where to go
   * on; it is `from` only at the end. There may be fewer than `max`: what is at hand, where the rest has to be fetched.
   * Answers at once when it can, so that a session on a cursor costs no promise.
   */
  read(source: Source, from: number, max: number, bytesMax: number): ReadResult | Promise<ReadResult>;
  /** Of a light queue or one message queue. */
  offsets(source: Source): Promise<OffsetRange>;
  /** The first offset stored at or after the time. */
  offsetAt(source: Source, time: number): Promise<number>;
  groupState(group: string, source: Source): Promise<GroupState[]>;
  seek(group: string, source: Source, to: SeekTarget): Promise<void>;
  /** Makes the group begin there in the queues of the source it does not read yet; nothing changes in the others. */
  join(group: string, source: Source, from: 'earliest' | 'latest'): Promise<void>;
  /** Acknowledges for the group all that is not leased. @returns how many */
  purge(group: string, source: Source): Promise<number>;
  /** A hint, at most one per batch: something became visible in the source. */
  onArrival(source: Source, listener: () => void): Disposable;
}

export interface ReadResult {
  readonly messages: readonly StoredMessage[];
  readonly next: number;
}
