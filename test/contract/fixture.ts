import { encodeMessage, type MessageFields, type StoredMessage } from '../../core/model/message.ts';
import type { GroupOrder } from '../../core/model/consumer-group.ts';
import type { Retention, Source } from '../../core/model/topic.ts';
import type { Clock } from '../../core/ports/clock.ts';
import type { MetaStore } from '../../core/ports/meta-store.ts';
import type { Random } from '../helpers/random.ts';
import {
  OutgoingMessage,
  type Delivery,
  type MessageEngine,
  type ReadResult,
  type ReceiveRequest,
  type SettleAction,
} from '../../core/ports/message-engine.ts';

/** A clock the suite can move: at once for a manual one, by waiting for a real one. */
export interface TestClock extends Clock {
  advance(ms: number): Promise<void>;
}

/** One started engine. */
export interface RunningEngine {
  readonly engine: MessageEngine;
  /** The one that shares its log. */
  readonly meta: MetaStore;
  readonly clock: TestClock;
}

/** How an engine ends: as asked, at once, or at once after it has condensed its log, where it does that. */
export const ENDINGS = ['stop', 'crash', 'checkpoint and crash'] as const;
export type Ending = (typeof ENDINGS)[number];

/** What the suite needs to know about an engine. */
export interface EngineFixture {
  readonly name: string;
  /** A started engine without any topic of this suite. */
  create(): Promise<RunningEngine>;
  /**
   * Ends the engine, one way or the other where none is given, and starts it again on what it stored; those that keep nothing
   * leave it out.
   */
  readonly restart?: (running: RunningEngine, random: Random, how?: Ending) => Promise<RunningEngine>;
  /** How much longer than asked a lease may be, in milliseconds; 0 on a manual clock. */
  readonly toleranceMs: number;
  readonly histories: number;
  readonly stepsPerHistory: number;
}

export const DEFAULT_RETENTION_FOR_TESTS: Retention = { ms: 72 * 3_600_000, bytesPerQueue: 64 * 1024 * 1024 };

/** A message whose body is its id. */
export function outgoing(
  topic: string,
  id: string,
  fields: Partial<MessageFields> & { readonly queue?: number; readonly lightQueues?: readonly string[] } = {},
): OutgoingMessage {
  const { queue = 0, lightQueues = [], ...rest } = fields;
  const message = encodeMessage({ address: `${topic}/a`, body: Buffer.from(id), bornAt: 1, messageId: id, ...rest });
  const made = new OutgoingMessage(topic, message.address, message);
  made.queue = queue;
  made.lightQueues = lightQueues;
  return made;
}

export async function addTopic(
  engine: MessageEngine,
  name: string,
  queues = 1,
  retention: Retention = DEFAULT_RETENTION_FOR_TESTS,
): Promise<void> {
  await engine.ensureTopic({ name, type: 'MIXED', queues, retention });
}

export async function addGroup(
  engine: MessageEngine,
  name: string,
  order: GroupOrder = 'concurrent',
  attemptsMax = 16,
): Promise<void> {
  await engine.ensureGroup({ name, order, retry: { attemptsMax, backoff: { kind: 'listed', delaysMs: [1000] } } });
}

/** A request that takes up to 32 messages now, leased for 30 s. */
export function request(group: string, source: Source | string, changes: Partial<ReceiveRequest> = {}): ReceiveRequest {
  const from: Source = typeof source === 'string' ? { kind: 'topic', topic: source } : source;
  return { group, source: from, max: 32, bytesMax: 1 << 24, waitMs: 0, leaseMs: 30_000, ...changes };
}

/** Reads on until there are `max` messages or no more. */
export async function readUpTo(engine: MessageEngine, source: Source, from: number, max: number): Promise<ReadResult> {
  const messages: StoredMessage[] = [];
  for (let next = from; ;) {
    const result = await engine.read(source, next, max - messages.length, 1 << 28);
    messages.push(...result.messages);
    if (result.next === next || messages.length >= max) return { messages, next: result.next };
    next = result.next;
  }
}

/** The bodies of all messages in a source. */
export async function idsIn(engine: MessageEngine, source: Source): Promise<string[]> {
  return (await readUpTo(engine, source, 0, 10_000)).messages.map(({ body }) => body.toString());
}

/** The same verdict on all of them. */
export function settle(engine: MessageEngine, deliveries: readonly Delivery[], action: SettleAction) {
  return engine.settle(deliveries.map(({ receipt }) => ({ receipt, action })));
}

export function textsOf(deliveries: readonly Delivery[]): string[] {
  return deliveries.map(({ message }) => message.body.toString());
}

export const NEVER_ABORTED = new AbortController().signal;
