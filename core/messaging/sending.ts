import { BrokerError, failed, type Outcome } from '../model/broker-error.ts';
import { hashText } from '../model/address.ts';
import type { Message } from '../model/message.ts';
import { isDeadLetterTopic } from '../model/names.ts';
import type { MessageType, TopicSpec } from '../model/topic.ts';
import type { MessageEngine, OutgoingMessage, Placed } from '../ports/message-engine.ts';
import type { AddressRoute, AddressRouter } from '../routing/address-router.ts';
import type { Topics } from './topics.ts';

/** Takes messages in: checks them, chooses their queue, finds who else gets them, and stores them. */
export class Sending {
  private readonly engine: MessageEngine;
  private readonly topics: Topics;
  private readonly router: AddressRouter;
  private readonly bodyBytesMax: number;
  private roundRobin = 0;
  /** Set while topics are being created: later batches line up here, so that none overtakes. */
  private waiting: (() => void)[] | undefined;

  constructor(engine: MessageEngine, topics: Topics, router: AddressRouter, bodyBytesMax: number) {
    this.engine = engine;
    this.topics = topics;
    this.router = router;
    this.bodyBytesMax = bodyBytesMax;
  }

  /** One outcome per message, in order, when all of them are durable or refused. */
  send(batch: readonly OutgoingMessage[]): Promise<Outcome<Placed>[]> {
    const { waiting } = this;
    if (waiting !== undefined) return new Promise((resolve) => waiting.push(() => resolve(this.send(batch))));
    const missing = this.missingTopics(batch);
    return missing.length === 0 ? this.sendKnown(batch) : this.createAndSend(missing, batch);
  }

  private missingTopics(batch: readonly OutgoingMessage[]): string[] {
    const missing: string[] = [];
    let last: string | undefined;
    for (let i = 0; i < batch.length; i++) {
      const { topic } = batch[i]!;
      // Batches are mostly runs of one topic.
      if (topic === last) continue;
      last = topic;
      if (this.topics.get(topic) === undefined && !missing.includes(topic)) missing.push(topic);
    }
    return missing;
  }

  private async createAndSend(names: readonly string[], batch: readonly OutgoingMessage[]): Promise<Outcome<Placed>[]> {
    const waiting: (() => void)[] = [];
    this.waiting = waiting;
    // A topic that cannot be created shows when its messages are checked.
    await Promise.allSettled(names.map((name) => this.topics.use(name)));
    this.waiting = undefined;
    const sent = this.sendKnown(batch);
    // In the same turn: a batch sent from now on comes behind all of these.
    for (const sendNext of waiting) sendNext();
    return sent;
  }

  private sendKnown(batch: readonly OutgoingMessage[]): Promise<Outcome<Placed>[]> {
    let refused: Map<number, BrokerError> | undefined;
    let waitingLive: { message: Message; to: AddressRoute; accepted: number }[] | undefined;
    let spec: TopicSpec | undefined;
    let route: AddressRoute | undefined;
    let routedAddress: string | undefined;
    for (let i = 0; i < batch.length; i++) {
      const outgoing = batch[i]!;
      const before = i === 0 ? undefined : batch[i - 1];
      if (outgoing.topic !== before?.topic) spec = this.topics.get(outgoing.topic);
      const error = spec === undefined ? this.missing(outgoing.topic) : this.check(outgoing.message, spec);
      if (error !== undefined) {
        (refused ??= new Map()).set(i, error);
        continue;
      }
      // A subscription cannot change between two messages of a batch.
      if (route === undefined || outgoing.address !== routedAddress) {
        routedAddress = outgoing.address;
        route = this.router.route(routedAddress);
      }
      outgoing.lightQueues = route.lightQueues;
      outgoing.queue = this.chooseQueue(outgoing.message, route, spec!.queues);
      if (route.live.length === 0) continue;
      // At most once is handed over at once; anything stronger becomes visible when durable.
      if (outgoing.message.qos === 0) deliverLive(outgoing.message, route);
      else (waitingLive ??= []).push({ message: outgoing.message, to: route, accepted: i - (refused?.size ?? 0) });
    }
    const accepted = refused === undefined ? batch : batch.filter((_, i) => !refused.has(i));
    const sent = accepted.length === 0 ? Promise.resolve([]) : this.engine.send(accepted);
    if (refused === undefined && waitingLive === undefined) return sent;
    return sent.then((outcomes) => {
      for (const { message, to, accepted: at } of waitingLive ?? [])
        if (outcomes[at]?.ok === true) deliverLive(message, to);
      return refused === undefined ? outcomes : mergeRefused(batch.length, outcomes, refused);
    });
  }

  private missing(topic: string): BrokerError {
    return new BrokerError('TOPIC_NOT_FOUND', `the topic ${topic} does not exist and could not be created`);
  }

  private check(message: Message, spec: TopicSpec): BrokerError | undefined {
    if (message.bodyBytes > this.bodyBytesMax) {
      return new BrokerError('MESSAGE_BODY_TOO_LARGE', `the body is larger than ${this.bodyBytesMax} bytes`);
    }
    const type = messageType(message);
    const accepted = this.topics.acceptedTypes(spec);
    if (accepted.includes(type) || isDeadLetterTopic(spec.name)) return undefined;
    if (spec.type === 'MIXED') return new BrokerError('UNSUPPORTED', `${type} messages are not supported yet`);
    return new BrokerError(
      'MESSAGE_PROPERTY_CONFLICT_WITH_TYPE',
      `TopicMessageType validate failed, the expected type is ${spec.type}, but actual type is ${type}`,
    );
  }

  private chooseQueue(message: Message, route: AddressRoute, queues: number): number {
    if (queues === 1) return 0;
    const group = message.hasSystemFields ? message.messageGroup : undefined;
    if (group !== undefined) return hashText(group) % queues;
    if (!message.isAddressDerived) return route.hash % queues;
    this.roundRobin = (this.roundRobin + 1) % queues;
    return this.roundRobin;
  }
}

function messageType(message: Message): MessageType {
  if (message.deliverAt > 0) return 'DELAY';
  if (message.hasSystemFields && message.messageGroup !== undefined) return 'FIFO';
  return 'NORMAL';
}

function deliverLive(message: Message, route: AddressRoute): void {
  const { live } = route;
  for (let i = 0; i < live.length; i++) live[i]!.deliver(message);
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
