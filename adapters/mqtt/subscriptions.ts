import type { Arrival, ReplayStart } from '../../core/broker.ts';
import { BrokerError } from '../../core/model/broker-error.ts';
import { compileFilter } from '../../core/model/filter.ts';
import type { Message } from '../../core/model/message.ts';
import type { Principal } from '../../core/ports/authenticator.ts';
import type {
  Properties,
  ProtocolVersion,
  SubackPacket,
  SubscribePacket,
  Subscription,
  UnsubackPacket,
  UnsubscribePacket,
} from './codec/packet.ts';
import { ReasonCode } from './codec/reason-code.ts';
import type { MqttContext } from './mqtt-context.ts';
import type { Outbound } from './outbound.ts';
import { REASON_OF } from './reasons.ts';
import type { Feed } from './session/feed.ts';
import type { MqttSession } from './session/mqtt-session.ts';
import { arrivalOf, feedOptions, grantedQos, startOf, subscriptionRefusal } from './session/subscribe.ts';

/** Subscribes and unsubscribes: the session's part, and at QoS 0 that of the connection. */
export class Subscriptions {
  private readonly context: MqttContext;
  private readonly session: MqttSession;
  private readonly outbound: Outbound;
  private readonly principal: Principal;
  /** By topic filter. */
  private readonly live = new Map<string, Disposable>();
  /** Subscribed to, and the retained messages there were then. */
  private awaitingRetained: { readonly feed: Feed; readonly messages: readonly Message[] }[] = [];
  private isClosed = false;

  constructor(context: MqttContext, session: MqttSession, outbound: Outbound, principal: Principal) {
    this.context = context;
    this.session = session;
    this.outbound = outbound;
    this.principal = principal;
  }

  /** Goes on with the subscriptions the session had. */
  resume(): void {
    for (const feed of this.session.feeds.values()) if (isLive(feed)) this.openLive(feed);
  }

  /** The SUBACK, when the subscriptions are durable. */
  async subscribe(packet: SubscribePacket, version: ProtocolVersion): Promise<SubackPacket> {
    const { packetIdentifier, properties } = packet;
    const reasonCodes: number[] = [];
    for (const subscription of packet.subscriptions) {
      const reasonCode = await this.add(subscription, properties);
      if (reasonCode >= 0x80) this.context.metrics.subscriptionsRefused++;
      // MQTT 3.1.1 has one code for every failure [MQTT-3.9.3-2].
      reasonCodes.push(reasonCode >= 0x80 && version !== 5 ? 0x80 : reasonCode);
    }
    await this.changed();
    return { type: 'suback', packetIdentifier, reasonCodes };
  }

  /** To be called when SUBACK is on its way. */
  deliverRetained(): void {
    const awaiting = this.awaitingRetained;
    this.awaitingRetained = [];
    for (const { feed, messages } of awaiting) this.outbound.deliverRetained(feed, messages);
  }

  async unsubscribe({ packetIdentifier, topicFilters }: UnsubscribePacket): Promise<UnsubackPacket> {
    const reasonCodes: number[] = [];
    for (const topicFilter of topicFilters) {
      const isKnown = await this.remove(topicFilter);
      reasonCodes.push(isKnown ? ReasonCode.success : ReasonCode.noSubscriptionExisted);
    }
    await this.changed();
    return { type: 'unsuback', packetIdentifier, reasonCodes };
  }

  /** The connection is gone; the session keeps its subscriptions. */
  close(): void {
    this.isClosed = true;
    for (const live of this.live.values()) live[Symbol.dispose]();
    this.live.clear();
  }

  private async changed(): Promise<void> {
    this.outbound.update();
    await this.session.core.save();
  }

  /** @returns the reason code for SUBACK */
  private async add(asked: Subscription, properties: Properties | undefined): Promise<number> {
    const subscription = { ...asked, qos: grantedQos(asked) };
    const { topicFilter, qos, retainHandling } = subscription;
    const before = this.session.feeds.get(topicFilter);
    const others = this.session.feeds.size - (before === undefined ? 0 : 1);
    const refused = subscriptionRefusal(subscription, others, this.context.options) ?? this.forbidden(topicFilter);
    if (refused !== undefined) return refused;
    // [MQTT-3.3.1-9] to [MQTT-3.3.1-11]
    const arrival = arrivalOf(subscription);
    // Nor are they sent to shared subscriptions (section 4.8.2).
    const wantsRetained =
      typeof arrival === 'string' && (retainHandling === 0 || (retainHandling === 1 && before === undefined));
    try {
      const options = { ...feedOptions(subscription, properties), awaitsRetained: wantsRetained };
      // Throws here for what cannot be understood, before anything has changed.
      if (options.expression !== undefined) compileFilter(options.expression);
      const start = before === undefined && arrival === 'cursor' ? startOf(properties) : undefined;
      const feed = await this.open(topicFilter, options, arrival, before, start);
      if (wantsRetained) this.awaitRetained(feed);
      return qos;
    } catch (error) {
      if (error instanceof BrokerError) return REASON_OF[error.code];
      throw error;
    }
  }

  /** What is retained from now on comes as any other message, and must not come a second time when the client is back. */
  private awaitRetained(feed: Feed): void {
    const messages = this.context.retained(feed.filter);
    if (messages.length > 0) this.awaitingRetained.push({ feed, messages });
    else feed.options = { ...feed.options, awaitsRetained: false };
  }

  /** The same subscription again goes on without a gap [MQTT-3.8.4-3]. */
  private async open(
    topicFilter: string,
    options: Feed['options'],
    arrival: Arrival,
    before: Feed | undefined,
    start: ReplayStart | undefined,
  ): Promise<Feed> {
    const { core } = this.session;
    const isOther = before !== undefined && typeof arrival === 'string' && isLive(before) !== (arrival === 'live');
    if (isOther) core.unsubscribe(topicFilter);
    const feed = (await core.subscribe(topicFilter, options, arrival)) as Feed;
    this.outbound.update();
    if (start !== undefined) await this.replay(feed, start);
    if (isLive(feed)) this.openLive(feed);
    else if (feed.share !== undefined) this.outbound.share(feed);
    else if (before?.cursor === undefined) this.outbound.markReady(feed);
    if (isOther) await this.closeFeed(before, true);
    return feed;
  }

  /** After the cursor is there: what is published in between may come twice, but is never missed. */
  private async replay(feed: Feed, start: ReplayStart): Promise<void> {
    const replay = await this.context.broker.replay.ranges(feed.filter, start);
    feed.options = { ...feed.options, replay };
    this.outbound.replay(feed);
  }

  private async remove(topicFilter: string): Promise<boolean> {
    const feed = this.session.core.unsubscribe(topicFilter) as Feed | undefined;
    if (feed === undefined) return false;
    await this.closeFeed(feed, false);
    return true;
  }

  /** What was sent can be sent again; what another subscription left to this one still comes. */
  private async closeFeed(feed: Feed, isReplaced: boolean): Promise<void> {
    const { filter, share } = feed;
    if (share !== undefined) {
      this.outbound.shared.remove(feed);
      return this.session.core.close(feed);
    }
    if (isLive(feed)) {
      this.live.get(filter)?.[Symbol.dispose]();
      this.live.delete(filter);
      return;
    }
    // Written down before the cursor closes: afterwards they cannot be read again.
    if (await this.session.keepInflight(feed)) await this.session.core.save();
    await this.outbound.retire(feed, isReplaced);
  }

  private openLive(feed: Feed): void {
    if (this.isClosed || this.live.has(feed.filter)) return;
    this.live.set(feed.filter, this.context.broker.subscribeLive(feed.filter, this.outbound));
  }

  private forbidden(topicFilter: string): number | undefined {
    const resource = { kind: 'topic' as const, topic: topicFilter, address: topicFilter };
    return this.context.broker.isAllowed(this.principal, 'SUB', resource) ? undefined : ReasonCode.notAuthorized;
  }
}

function isLive({ cursor, share }: Feed): boolean {
  return cursor === undefined && share === undefined;
}
