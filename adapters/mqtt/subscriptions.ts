import type { Arrival } from '../../core/broker.ts';
import { BrokerError } from '../../core/model/broker-error.ts';
import { compileFilter } from '../../core/model/filter.ts';
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
import { arrivalOf, feedOptions, subscriptionRefusal } from './session/subscribe.ts';

/** Subscribes and unsubscribes: the session's part, and at QoS 0 that of the connection. */
export class Subscriptions {
  private readonly context: MqttContext;
  private readonly session: MqttSession;
  private readonly outbound: Outbound;
  private readonly principal: Principal;
  /** By topic filter. */
  private readonly live = new Map<string, Disposable>();
  /** Subscribed to, and their retained messages not sent. */
  private awaitingRetained: Feed[] = [];
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
      // MQTT 3.1.1 has one code for every failure [MQTT-3.9.3-2].
      reasonCodes.push(reasonCode >= 0x80 && version !== 5 ? 0x80 : reasonCode);
    }
    await this.changed();
    return { type: 'suback', packetIdentifier, reasonCodes };
  }

  /** To be called when SUBACK is on its way. */
  deliverRetained(): void {
    const feeds = this.awaitingRetained;
    this.awaitingRetained = [];
    for (const feed of feeds) this.outbound.deliverRetained(feed);
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
  private async add(subscription: Subscription, properties: Properties | undefined): Promise<number> {
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
      // Throws where it cannot be read, before the session has it.
      if (options.expression !== undefined) compileFilter(options.expression);
      const feed = await this.open(topicFilter, options, arrival, before);
      if (wantsRetained) this.awaitingRetained.push(feed);
      return qos;
    } catch (error) {
      if (error instanceof BrokerError) return REASON_OF[error.code];
      throw error;
    }
  }

  /** The same subscription again goes on without a gap [MQTT-3.8.4-3]. */
  private async open(
    topicFilter: string,
    options: Feed['options'],
    arrival: Arrival,
    before: Feed | undefined,
  ): Promise<Feed> {
    const { core } = this.session;
    const isOther = before !== undefined && typeof arrival === 'string' && isLive(before) !== (arrival === 'live');
    if (isOther) core.unsubscribe(topicFilter);
    const feed = (await core.subscribe(topicFilter, options, arrival)) as Feed;
    if (isLive(feed)) this.openLive(feed);
    else if (feed.share !== undefined) this.outbound.share(feed);
    else if (before?.cursor === undefined) this.outbound.markReady(feed);
    if (isOther) {
      this.outbound.update();
      await this.closeFeed(before, true);
    }
    return feed;
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
    await this.session.keepInflight(feed);
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
