import type { Cursor, LiveSubscriber } from '../../core/broker.ts';
import { BrokerError } from '../../core/model/broker-error.ts';
import type { StoredMessage } from '../../core/model/message.ts';
import type {
  ProtocolVersion,
  SubackPacket,
  SubscribePacket,
  Subscription,
  UnsubackPacket,
  UnsubscribePacket,
} from './codec/packet.ts';
import { ReasonCode } from './codec/reason-code.ts';
import type { MqttContext } from './mqtt-context.ts';
import { REASON_OF } from './reasons.ts';
import { grantedQos, subscriptionRefusal } from './session/subscribe.ts';

/** What the core holds for one topic filter: a live subscription for QoS 0, a cursor for QoS 1. */
interface Feed {
  readonly qos: 0 | 1;
  readonly live: Disposable | undefined;
  readonly cursor: Cursor | undefined;
}

/** The subscriptions of one connection and which of them have something to read. */
export class Subscriptions {
  private readonly context: MqttContext;
  private readonly subscriber: LiveSubscriber;
  private readonly onReady: () => void;
  private readonly feeds = new Map<string, Feed>();
  private readonly ready = new Set<Cursor>();
  private closed = false;

  constructor(context: MqttContext, subscriber: LiveSubscriber, onReady: () => void) {
    this.context = context;
    this.subscriber = subscriber;
    this.onReady = onReady;
  }

  get hasReady(): boolean {
    return this.ready.size > 0;
  }

  async subscribe(packet: SubscribePacket, version: ProtocolVersion): Promise<SubackPacket> {
    const { packetIdentifier, properties } = packet;
    const reasonCodes: number[] = [];
    for (const subscription of packet.subscriptions) {
      const reasonCode =
        properties?.subscriptionIdentifiers === undefined
          ? await this.add(subscription)
          : ReasonCode.subscriptionIdentifiersNotSupported;
      // MQTT 3.1.1 has one code for every failure [MQTT-3.9.3-2].
      reasonCodes.push(reasonCode >= 0x80 && version !== 5 ? 0x80 : reasonCode);
    }
    return { type: 'suback', packetIdentifier, reasonCodes };
  }

  async unsubscribe({ packetIdentifier, topicFilters }: UnsubscribePacket): Promise<UnsubackPacket> {
    const reasonCodes: number[] = [];
    for (const topicFilter of topicFilters) {
      const feed = this.feeds.get(topicFilter);
      this.feeds.delete(topicFilter);
      if (feed !== undefined) await this.closeFeed(feed);
      reasonCodes.push(feed === undefined ? ReasonCode.noSubscriptionExisted : ReasonCode.success);
    }
    return { type: 'unsuback', packetIdentifier, reasonCodes };
  }

  /** The next messages of the subscriptions that have some; undefined when none has. */
  read(max: number, bytesMax: number): readonly StoredMessage[] | undefined {
    for (const cursor of this.ready) {
      // Off the list first: a cursor that comes back empty may call back at once.
      this.ready.delete(cursor);
      const messages = cursor.read(max, bytesMax);
      if (messages.length === 0) continue;
      // Last in line, so that no subscription starves the others.
      this.ready.add(cursor);
      return messages;
    }
    return undefined;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.ready.clear();
    const closing = [...this.feeds.values()].map((feed) => this.closeFeed(feed));
    this.feeds.clear();
    Promise.all(closing).catch((error: unknown) => {
      this.context.log.error({ err: error }, 'subscriptions could not be closed');
    });
  }

  private async add(subscription: Subscription): Promise<number> {
    const { topicFilter } = subscription;
    const before = this.feeds.get(topicFilter);
    const others = this.feeds.size - (before === undefined ? 0 : 1);
    const refused = subscriptionRefusal(subscription, others, this.context.options);
    if (refused !== undefined) return refused;
    const qos = grantedQos(subscription.qos);
    // The same subscription again goes on without a gap [MQTT-3.8.4-3].
    if (before?.qos === qos) return qos;
    try {
      const feed = await this.open(topicFilter, qos);
      if (this.closed) await this.closeFeed(feed);
      else this.feeds.set(topicFilter, feed);
    } catch (error) {
      if (error instanceof BrokerError) return REASON_OF[error.code];
      throw error;
    }
    if (before !== undefined) await this.closeFeed(before);
    return qos;
  }

  private async open(topicFilter: string, qos: 0 | 1): Promise<Feed> {
    const { broker } = this.context;
    if (qos === 0) return { qos, live: broker.subscribeLive(topicFilter, this.subscriber), cursor: undefined };
    const cursor: Cursor = await broker.openCursor(topicFilter, () => this.markReady(cursor));
    // The first read parks it.
    this.markReady(cursor);
    return { qos, live: undefined, cursor };
  }

  private markReady(cursor: Cursor): void {
    this.ready.add(cursor);
    this.onReady();
  }

  private async closeFeed({ live, cursor }: Feed): Promise<void> {
    live?.[Symbol.dispose]();
    if (cursor === undefined) return;
    this.ready.delete(cursor);
    await cursor.close();
  }
}
