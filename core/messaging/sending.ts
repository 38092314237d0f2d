import { BrokerError, failed, succeeded, type Outcome } from '../model/broker-error.ts';
import { hashText } from '../model/address.ts';
import type { Message } from '../model/message.ts';
import { isDeadLetterTopic } from '../model/names.ts';
import { priorityQueue } from '../model/priority.ts';
import type { MessageType, TopicSpec } from '../model/topic.ts';
import type { MessageEngine, OutgoingMessage, Placed, Settlement } from '../ports/message-engine.ts';
import type { AddressRoute, AddressRouter } from '../routing/address-router.ts';
import type { RetainedMessages } from '../sessions/retained-messages.ts';
import type { Topics } from './topics.ts';

/** Where messages of one topic and address go. Batches are mostly runs of them, so this is looked up once a run. */
interface Destination {
  readonly topic: string;
  readonly address: string;
  readonly spec: TopicSpec | undefined;
  readonly route: AddressRoute;
  /** The types the topic takes. */
  readonly accepted: readonly MessageType[];
  /** The message queue of the address. */
  readonly queue: number;
}

/** A message with something left to do when the engine has answered. */
interface Unfinished {
  readonly outgoing: OutgoingMessage;
  /** Who gets it then. */
  readonly live: AddressRoute['live'];
  /** Its place among those that were not refused before. */
  readonly accepted: number;
}

/** Of topics that are not there, or cannot take what is sent to them. */
type TopicProblems = ReadonlyMap<string, BrokerError>;

const NOBODY: AddressRoute['live'] = [];

const ALL_TYPES: readonly MessageType[] = ['NORMAL', 'FIFO', 'DELAY', 'TRANSACTION'];

/** Takes messages in: checks them, chooses their queue, finds who else gets them, and stores them. */
export class Sending {
  private readonly engine: MessageEngine;
  private readonly topics: Topics;
  private readonly router: AddressRouter;
  private readonly retained: RetainedMessages;
  private readonly bodyBytesMax: number;
  private roundRobin = 0;
  /** Set while topics are being created: later batches line up here, so that none overtakes. */
  private waiting: (() => void)[] | undefined;

  constructor(
    engine: MessageEngine,
    topics: Topics,
    router: AddressRouter,
    retained: RetainedMessages,
    bodyBytesMax: number,
  ) {
    this.engine = engine;
    this.topics = topics;
    this.router = router;
    this.retained = retained;
    this.bodyBytesMax = bodyBytesMax;
  }

  /** One outcome per message, in order, when all of them are durable or refused. */
  send(batch: readonly OutgoingMessage[]): Promise<Outcome<Placed>[]> {
    const { waiting } = this;
    if (waiting !== undefined) return new Promise((resolve) => waiting.push(() => resolve(this.send(batch))));
    const unready = this.unreadyTopics(batch);
    if (unready.length === 0) return this.sendKnown(batch);
    return this.withTopics(unready, (problems) => this.sendKnown(batch, problems));
  }

  /**
   * Stores all messages and carries out all verdicts, or nothing of it: the first problem is the outcome. Live subscribers
   * get the messages when that is durable, whatever their QoS.
   */
  async transact(batch: readonly OutgoingMessage[], verdicts: readonly Settlement[]): Promise<Outcome<Placed[]>> {
    const { waiting } = this;
    if (waiting !== undefined)
      return new Promise((resolve) => waiting.push(() => resolve(this.transact(batch, verdicts))));
    const unready = this.unreadyTopics(batch);
    if (unready.length === 0) return this.transactKnown(batch, verdicts);
    return this.withTopics(unready, (problems) => this.transactKnown(batch, verdicts, problems));
  }

  /** Delayed messages are in their queues now: live subscribers get them as well. */
  deliverDue(messages: readonly Message[], now: number): void {
    for (const message of messages) {
      const { address } = message;
      if (!message.isExpired(now)) deliverLive({ message, address }, this.router.route(address).live);
    }
  }

  /** Topics that are not there, or have no message queue for the priority of a message. */
  private unreadyTopics(batch: readonly OutgoingMessage[]): string[] {
    const unready: string[] = [];
    let last: string | undefined;
    let priorityMax = Infinity;
    for (let i = 0; i < batch.length; i++) {
      const { topic, message } = batch[i]!;
      // Batches are mostly runs of one topic.
      if (topic !== last) {
        last = topic;
        const spec = this.topics.get(topic);
        if (spec === undefined) unready.push(topic);
        priorityMax = spec?.queues === 1 ? (spec.priorityFrom ?? Infinity) : Infinity;
      }
      if (priorityMax === Infinity || (message.priority ?? 0) <= priorityMax) continue;
      unready.push(topic);
      priorityMax = Infinity;
    }
    return unready;
  }

  /** Creates the topics, or their levels of priority, and then sends, with the problems there were. */
  private async withTopics<T>(names: readonly string[], send: (problems: TopicProblems) => Promise<T>): Promise<T> {
    const waiting: (() => void)[] = [];
    this.waiting = waiting;
    const problems = new Map<string, BrokerError>();
    await Promise.all(
      [...new Set(names)].map((name) =>
        this.makeReady(name).catch((error: unknown) => problems.set(name, problemOf(name, error))),
      ),
    );
    this.waiting = undefined;
    const sent = send(problems);
    // In the same turn: a batch sent from now on comes behind all of these.
    for (const sendNext of waiting) sendNext();
    return sent;
  }

  private makeReady(topic: string): Promise<TopicSpec> {
    return this.topics.get(topic) === undefined ? this.topics.use(topic) : this.topics.addPriorities(topic);
  }

  private async transactKnown(
    batch: readonly OutgoingMessage[],
    verdicts: readonly Settlement[],
    problems?: TopicProblems,
  ): Promise<Outcome<Placed[]>> {
    const lives: AddressRoute['live'][] = [];
    const retained: OutgoingMessage[] = [];
    let error: BrokerError | undefined;
    for (const outgoing of batch) {
      const { message } = outgoing;
      const to = this.destination(outgoing);
      error = this.problemOf(outgoing, to, problems);
      if (error !== undefined) break;
      if (message.isRetained) retained.push(outgoing);
      outgoing.lightQueues = to.route.lightQueues;
      outgoing.queue = this.chooseQueue(message, to);
      lives.push(to.route.live);
    }
    const outcome: Outcome<Placed[]> =
      error === undefined ? await this.engine.transact(batch, verdicts) : { ok: false, error };
    retained.forEach((outgoing) => this.retained.settle(outgoing, outcomeAt(outcome, batch.indexOf(outgoing))));
    if (!outcome.ok) return outcome;
    batch.forEach((outgoing, i) => {
      if (isVisible(outgoing.message, outcomeAt(outcome, i))) deliverLive(outgoing, lives[i]!);
    });
    return outcome;
  }

  private sendKnown(batch: readonly OutgoingMessage[], problems?: TopicProblems): Promise<Outcome<Placed>[]> {
    let refused: Map<number, BrokerError> | undefined;
    let unfinished: Unfinished[] | undefined;
    let to: Destination | undefined;
    for (let i = 0; i < batch.length; i++) {
      const outgoing = batch[i]!;
      const { message } = outgoing;
      // Neither a subscription nor a topic can change between two messages of a batch.
      if (outgoing.address !== to?.address || outgoing.topic !== to.topic) to = this.destination(outgoing);
      const error = this.problemOf(outgoing, to, problems);
      if (error !== undefined) {
        (refused ??= new Map()).set(i, error);
        continue;
      }
      const { route } = to;
      const { live } = route;
      outgoing.lightQueues = route.lightQueues;
      outgoing.queue = message.isPlain ? to.queue : this.chooseQueue(message, to);
      const isLive = live.length > 0;
      // At most once is handed over at once; anything stronger becomes visible when durable, or when it is due.
      const isLate = isLive && (message.qos > 0 || message.hasDeliveryTime);
      if (isLive && !isLate) deliverLive(outgoing, live);
      if (!isLate && !message.isRetained) continue;
      (unfinished ??= []).push({ outgoing, live: isLate ? live : NOBODY, accepted: i - (refused?.size ?? 0) });
    }
    const accepted = refused === undefined ? batch : batch.filter((_, i) => !refused.has(i));
    const sent = accepted.length === 0 ? Promise.resolve([]) : this.engine.send(accepted);
    if (refused === undefined && unfinished === undefined) return sent;
    return sent.then((outcomes) => {
      for (const { outgoing, live, accepted: at } of unfinished ?? []) this.finish(outgoing, live, outcomes[at]);
      return refused === undefined ? outcomes : mergeRefused(batch.length, outcomes, refused);
    });
  }

  private finish(outgoing: OutgoingMessage, live: AddressRoute['live'], outcome: Outcome<Placed> | undefined): void {
    if (outgoing.message.isRetained) this.retained.settle(outgoing, outcome);
    if (isVisible(outgoing.message, outcome)) deliverLive(outgoing, live);
  }

  private destination({ topic, address }: OutgoingMessage): Destination {
    const spec = this.topics.get(topic);
    const route = this.router.route(address);
    if (spec === undefined) return { topic, address, spec, route, accepted: [], queue: -1 };
    const accepted = isDeadLetterTopic(topic) ? ALL_TYPES : this.topics.acceptedTypes(spec);
    const queue = spec.priorityFrom === undefined ? route.hash % spec.queues : 0;
    return { topic, address, spec, route, accepted, queue };
  }

  /** Why the message cannot be taken in. A retained one is taken over where there is no problem. */
  private problemOf(outgoing: OutgoingMessage, to: Destination, problems?: TopicProblems): BrokerError | undefined {
    const { message } = outgoing;
    return (
      problems?.get(to.topic) ??
      this.check(message, to) ??
      (message.isRetained ? this.retained.take(outgoing) : undefined)
    );
  }

  private check(message: Message, { topic, spec, accepted }: Destination): BrokerError | undefined {
    if (spec === undefined) {
      return new BrokerError('TOPIC_NOT_FOUND', `the topic ${topic} does not exist and could not be created`);
    }
    if (message.bodyBytes > this.bodyBytesMax) {
      return new BrokerError('MESSAGE_BODY_TOO_LARGE', `the body is larger than ${this.bodyBytesMax} bytes`);
    }
    const type = messageType(message);
    if (accepted.includes(type)) return undefined;
    if (spec.type === 'MIXED') return new BrokerError('UNSUPPORTED', `${type} messages are not supported yet`);
    return new BrokerError(
      'MESSAGE_PROPERTY_CONFLICT_WITH_TYPE',
      `TopicMessageType validate failed, the expected type is ${spec.type}, but actual type is ${type}`,
    );
  }

  private chooseQueue(message: Message, { spec, queue }: Destination): number {
    const { queues, priorityFrom } = spec!;
    if (queues === 1) return 0;
    const group = message.hasSystemFields ? message.messageGroup : undefined;
    if (priorityFrom !== undefined) {
      // The order inside a message group is a promise, its priority a wish.
      return group === undefined ? priorityQueue(message.priority, priorityFrom, queues) : 0;
    }
    if (group !== undefined) return hashText(group) % queues;
    if (!message.isAddressDerived) return queue;
    this.roundRobin = (this.roundRobin + 1) % queues;
    return this.roundRobin;
  }
}

function outcomeAt(outcome: Outcome<Placed[]>, i: number): Outcome<Placed> {
  return outcome.ok ? succeeded(outcome.value[i]!) : outcome;
}

function problemOf(topic: string, error: unknown): BrokerError {
  if (error instanceof BrokerError) return error;
  return new BrokerError('INTERNAL', `the topic ${topic} could not be created or changed`, { cause: error });
}

function messageType(message: Message): MessageType {
  if (message.isPlain) return 'NORMAL';
  if (message.deliverAt > 0) return 'DELAY';
  if (message.hasSystemFields && message.messageGroup !== undefined) return 'FIFO';
  return 'NORMAL';
}

/** Whether the message was stored and is not one for later. */
function isVisible(message: Message, outcome: Outcome<Placed> | undefined): boolean {
  return outcome?.ok === true && (!message.hasDeliveryTime || outcome.value.offset >= 0);
}

function deliverLive(
  { message, address }: Pick<OutgoingMessage, 'message' | 'address'>,
  live: AddressRoute['live'],
): void {
  for (let i = 0; i < live.length; i++) live[i]!.deliver(message, address);
}

function mergeRefused(
  length: number,
  outcomes: readonly Outcome<Placed>[],
  refused: ReadonlyMap<number, BrokerError>,
): Outcome<Placed>[] {
  let next = 0;
  return Array.from({ length }, (_, i) => {
    const error = refused.get(i);
    return error === undefined ? (outcomes[next++] ?? failed('INTERNAL', 'no outcome')) : { ok: false, error };
  });
}
