import { ConsumerGroups, type GroupOptions } from './messaging/consumer-groups.ts';
import { LeaseRenewal, type LeaseHolder } from './messaging/lease-renewal.ts';
import { Receiving, type ReceiveCall } from './messaging/receiving.ts';
import { Sending } from './messaging/sending.ts';
import { Topics, type TopicOptions } from './messaging/topics.ts';
import type { Outcome } from './model/broker-error.ts';
import { compileFilter, type FilterExpression } from './model/filter.ts';
import type { Message } from './model/message.ts';
import type { EnvelopeProtocol } from './model/message-layout.ts';
import { viewMessage, type EnvelopeReader, type MessageView } from './model/message-view.ts';
import type { AuthExchange, Authenticator, Credentials, Principal } from './ports/authenticator.ts';
import type { Action, Authorizer, Resource } from './ports/authorizer.ts';
import type { Clock } from './ports/clock.ts';
import type { Logger } from './ports/logger.ts';
import type { Source } from './model/topic.ts';
import type {
  Delivery,
  GroupState,
  OffsetRange,
  MessageEngine,
  OutgoingMessage,
  Placed,
  ReadResult,
  Selector,
  Settled,
  Settlement,
} from './ports/message-engine.ts';
import type { MetaStore } from './ports/meta-store.ts';
import { AddressRouter, type LiveSubscriber } from './routing/address-router.ts';
import type { Cursor } from './routing/cursor.ts';
import {
  Exchanges,
  EXCHANGE_TYPES,
  type Exchange,
  type ExchangeBinding,
  type ExchangeType,
} from './routing/exchanges.ts';
import { Replay, type ReplayRange, type ReplayStart } from './routing/replay.ts';
import { topicOfReplyAddress } from './routing/reply-address.ts';
import { Routes, type RoutedFields, type RouteRule } from './routing/routes.ts';
import type { Arrival, ClientSession, SessionState, SessionSubscription } from './sessions/client-session.ts';
import { ClientSessions, DEFAULT_SESSIONS_OPTIONS, type SessionsOptions } from './sessions/client-sessions.ts';
import { DEFAULT_RETAINED_OPTIONS, RetainedMessages, type RetainedOptions } from './sessions/retained-messages.ts';
import { SharedSubscriptions } from './sessions/shared-subscriptions.ts';
import { TopicSubscriptions } from './sessions/topic-subscriptions.ts';
import { Wills, type Will } from './sessions/wills.ts';

export { EXCHANGE_TYPES };
export { checkInvisibleDuration } from './messaging/receiving.ts';

export type {
  Exchange,
  ExchangeBinding,
  ExchangeType,
  ReplayRange,
  ReplayStart,
  Arrival,
  ClientSession,
  Cursor,
  LeaseHolder,
  LiveSubscriber,
  RoutedFields,
  SessionState,
  SessionSubscription,
  Will,
};

export interface BrokerPorts {
  readonly engine: MessageEngine;
  readonly meta: MetaStore;
  readonly authenticator: Authenticator;
  readonly authorizer: Authorizer;
  readonly clock: Clock;
  readonly log: Logger;
  readonly envelopeReaders: readonly EnvelopeReader[];
  /** The engine cannot keep its promise any more: the process has to end. */
  readonly onFailure: (error: Error) => void;
}

export interface BrokerOptions {
  readonly topics: TopicOptions;
  readonly groups: GroupOptions;
  readonly sessions?: SessionsOptions;
  readonly bodyBytesMax: number;
  /** The first that matches an address decides. */
  readonly routes?: readonly RouteRule[];
  readonly retained?: RetainedOptions;
}

/** The facade of the core: the only thing an adapter talks to. */
export class Broker {
  readonly topics: Topics;
  readonly groups: ConsumerGroups;
  readonly sessions: ClientSessions;
  readonly wills: Wills;
  readonly shared: SharedSubscriptions;
  readonly subscriptions: TopicSubscriptions;
  readonly exchanges: Exchanges;
  readonly replay: Replay;
  readonly clock: Clock;
  readonly options: BrokerOptions;
  private readonly ports: BrokerPorts;
  private readonly router: AddressRouter;
  private readonly routes: Routes;
  private readonly retainedMessages: RetainedMessages;
  private readonly sending: Sending;
  private readonly receiving: Receiving;
  private readonly renewal: LeaseRenewal;
  private readonly envelopeReaders: ReadonlyMap<EnvelopeProtocol, EnvelopeReader>;

  constructor(ports: BrokerPorts, options: BrokerOptions) {
    const { engine, meta, clock } = ports;
    this.ports = ports;
    this.options = options;
    this.clock = clock;
    this.envelopeReaders = new Map(ports.envelopeReaders.map((reader) => [reader.protocol, reader]));
    this.routes = new Routes(options.routes);
    this.topics = new Topics(engine, meta, options.topics, (name) => this.routes.topicDefaults(name));
    this.groups = new ConsumerGroups(engine, meta, options.groups);
    this.subscriptions = new TopicSubscriptions(this.groups, meta);
    this.exchanges = new Exchanges(meta);
    this.router = new AddressRouter(engine);
    this.retainedMessages = new RetainedMessages(meta, clock, options.retained ?? DEFAULT_RETAINED_OPTIONS);
    this.sending = new Sending(engine, this.topics, this.router, this.retainedMessages, options.bodyBytesMax);
    const { router } = this;
    this.replay = new Replay(
      engine,
      () => this.topics.list(),
      (filter) => this.routes.topicOfFilter(filter),
    );
    this.shared = new SharedSubscriptions(
      engine,
      (filter, lightQueue) => router.bindLightQueue(filter, lightQueue),
      (group) => this.groups.use(group),
      (address) => this.topicOf(address),
    );
    this.sessions = new ClientSessions(
      meta,
      { openCursor: (filter, onReady, how) => router.openCursor(filter, onReady, how), shared: this.shared },
      clock,
      ports.log,
      options.sessions ?? DEFAULT_SESSIONS_OPTIONS,
    );
    this.wills = new Wills(meta, clock, ports.log, (batch) => this.sending.send(batch));
    this.renewal = new LeaseRenewal(engine, clock);
    const view = (message: Message): MessageView => this.view(message);
    const sharedSource = (group: string, topic: string) => this.shared.sourceOfTopic(group, topic);
    this.receiving = new Receiving(engine, this.topics, this.groups, this.renewal, clock, view, sharedSource);
  }

  async start(): Promise<void> {
    const { log, onFailure } = this.ports;
    const due = {
      lightQueuesOf: (message: Message) => this.router.route(message.address).lightQueues,
      arrived: (messages: readonly Message[]) => this.sending.deliverDue(messages, this.clock.now()),
    };
    await this.ports.engine.start({ clock: this.clock, log, onFailure, due });
    await this.topics.load();
    await this.groups.load();
    await this.subscriptions.load();
    await this.exchanges.load();
    await this.retainedMessages.load();
    await this.sessions.load();
    await this.wills.load();
  }

  /** Waiting receives end empty; resolves when everything accepted is durable. */
  async stop(): Promise<void> {
    this.renewal.stop();
    this.wills.stop();
    await this.sessions.stop();
    this.retainedMessages.stop();
    await this.ports.engine.stop();
  }

  /** Who shows these credentials; undefined when nobody may come in with them. */
  authenticate(credentials: Credentials): Promise<Principal | undefined> {
    return this.ports.authenticator.authenticate(credentials);
  }

  /** A login of several messages, by the name of its SASL mechanism; undefined for one that is not offered. */
  startExchange(method: string): AuthExchange | undefined {
    return this.ports.authenticator.exchange(method);
  }

  isAllowed(principal: Principal, action: Action, resource: Resource): boolean {
    return this.ports.authorizer.isAllowed(principal, action, resource);
  }

  /** The longest a message can be delayed; 0 where the engine has no delayed messages. */
  get delayMsMax(): number {
    const { delay } = this.ports.engine.capabilities;
    return delay === false ? 0 : delay.maxMs;
  }

  /**
   * The topic a message published under the address belongs to, and the fields it gets where its publisher gave none.
   * @throws BrokerError ILLEGAL_TOPIC, ILLEGAL_ADDRESS
   */
  routeOf(address: string): RoutedFields {
    const topic = topicOfReplyAddress(address);
    if (topic !== undefined) return { topic, keys: [] };
    return this.routes.resolve(address);
  }

  /** The topic of `routeOf`. */
  topicOf(address: string): string {
    return this.routeOf(address).topic;
  }

  /** The topic of every address the filter matches, undefined where they may have several. */
  topicOfFilter(filter: string): string | undefined {
    if (!/[+#]/.test(filter)) return this.topicOf(filter);
    return this.routes.topicOfFilter(filter);
  }

  /** The address of a message whose publisher gave none. */
  addressOf(fields: RoutedFields): string {
    return this.routes.addressOf(fields);
  }

  /** Stores messages; one outcome each, when durable. Topics are created on first use where allowed. */
  send(batch: readonly OutgoingMessage[]): Promise<Outcome<Placed>[]> {
    return this.sending.send(batch);
  }

  /** Leases messages of a source to a group; waits up to `waitMs` for the first. */
  receive(call: ReceiveCall, signal: AbortSignal): Promise<Delivery[]> {
    return this.receiving.receive(call, signal);
  }

  /**
   * The messages a filter lets through, for `ReceiveCall.select`: to be made once for each consumer. Undefined for all.
   * @throws BrokerError ILLEGAL_FILTER_EXPRESSION
   */
  selector(expression: FilterExpression): Selector | undefined {
    const filter = compileFilter(expression);
    return filter && ((message) => filter(message, () => this.view(message)));
  }

  /** Verdicts on leased messages; one outcome each, when durable. */
  settle(batch: readonly Settlement[]): Promise<Outcome<Settled>[]> {
    return this.receiving.settle(batch);
  }

  /**
   * Messages and verdicts, all or nothing, when durable; the first problem is the outcome. A verdict is `ack`, `release` or
   * `deadLetter`; `extend` only with `keepReceipt`, for nobody would get the new one. Delayed messages become due later.
   */
  async transact(send: readonly OutgoingMessage[], settle: readonly Settlement[]): Promise<Outcome<Placed[]>> {
    const outcome = await this.sending.transact(send, settle);
    // Before that the leases go on being renewed: they are still there when it failed.
    if (outcome.ok) this.receiving.settled(settle);
    return outcome;
  }

  /** Takes back a delayed message that is not delivered yet, by the handle its sending gave. */
  recall(handle: string): Promise<Outcome<{ readonly messageId: string }>> {
    return this.ports.engine.cancelDelayed(handle);
  }

  /** Renews the leases of what the holder holds until disposed: the cheap form of `renewFor`, which notes each message. */
  renewLeases(holder: LeaseHolder): Disposable {
    return this.renewal.keep(holder);
  }

  /** A client whose leases were renewed is gone: what it held comes back. */
  releaseLeasesOf(owner: string): Promise<void> {
    return this.renewal.releaseOwner(owner);
  }

  /** How far a consumer group is in each queue of a source. @throws BrokerError when there is no such group or source */
  groupState(group: string, source: Source): Promise<GroupState[]> {
    return this.ports.engine.groupState(group, source);
  }

  /** Whether anybody would get the message by now: a subscription, or a consumer group of its topic. */
  isHeard({ topic, address, lightQueues }: OutgoingMessage): boolean {
    if (lightQueues.length > 0 || this.receiving.isRead(topic)) return true;
    return this.router.route(address).live.length > 0;
  }

  /** Whether somebody subscribes live to the address itself. */
  isListenedTo(address: string): boolean {
    return this.router.route(address).live.length > 0;
  }

  /** Hands a message to whoever subscribes live, without storing it. */
  announce(message: Message): void {
    const { address } = message;
    for (const subscriber of this.router.route(address).live) subscriber.deliver(message, address);
  }

  /**
   * Messages of a source from an offset on, whoever has consumed them; `next` is where to go on, `from` at the end.
   * @throws BrokerError TOPIC_NOT_FOUND
   */
  async read(source: Source, from: number, max: number, bytesMax: number): Promise<ReadResult> {
    return this.ports.engine.read(source, from, max, bytesMax);
  }

  /** What of a source is stored and visible. @throws BrokerError TOPIC_NOT_FOUND */
  offsets(source: Source): Promise<OffsetRange> {
    return this.ports.engine.offsets(source);
  }

  /** Told when something became visible in the source, until disposed. */
  onArrival(source: Source, listener: () => void): Disposable {
    return this.ports.engine.onArrival(source, listener);
  }

  /** At most once: messages are handed over in process while the subscription lives. */
  subscribeLive(addressFilter: string, subscriber: LiveSubscriber): Disposable {
    return this.router.subscribeLive(addressFilter, subscriber);
  }

  /**
   * The last retained message of every address the filter matches, without those that expired. To be asked after the
   * subscription was made: what is published in between may come twice then, but is never missed.
   */
  retained(addressFilter: string): Message[] {
    return this.retainedMessages.match(addressFilter);
  }

  /** How many retained messages there are. */
  retainedUsage(): { readonly count: number; readonly bytes: number } {
    const { count, bytes } = this.retainedMessages;
    return { count, bytes };
  }

  /** The message as values, whatever protocol it came from. */
  view(message: Message): MessageView {
    return viewMessage(message, this.envelopeReaders);
  }
}
