import type { LiveSubscriber } from '../../core/broker.ts';
import type { Message, StoredMessage } from '../../core/model/message.ts';
import type { Delivery } from '../../core/ports/message-engine.ts';
import { encodePublish, publishLength } from './codec/encoder.ts';
import { PacketType, type AcknowledgementType, type ProtocolVersion, type Qos } from './codec/packet.ts';
import { ReasonCode } from './codec/reason-code.ts';
import type { MqttContext } from './mqtt-context.ts';
import type { PublishOutput } from './publish-output.ts';
import type { Agreement } from './session/connect.ts';
import type { Feed } from './session/feed.ts';
import { Phase, type Inflight, type InflightMessage } from './session/inflight.ts';
import { Matching, type Match } from './session/matching.ts';
import type { MqttSession } from './session/mqtt-session.ts';
import { OutboundAliases } from './session/topic-aliases.ts';
import { Replays, type ReplayTarget } from './replays.ts';
import { isLease, SharedFeeds } from './shared-feeds.ts';
import { addedProperties } from './translate.ts';

/** Messages read from the store for one connection before another one has its turn. */
const PULL_MAX = 1000;
const PULL_BYTES_MAX = 256 * 1024;

/** What the deliveries need of the connection they go out on. */
export interface Link {
  readonly version: ProtocolVersion;
  readonly isOpen: boolean;
  /** The socket has more to write than it should. */
  readonly isBlocked: boolean;
  readonly output: PublishOutput;
  becomeDirty(): void;
  /** `pull` is called in this turn. */
  becomeReady(): void;
  /** Without words, whatever the reason. */
  writeAcknowledgement(type: AcknowledgementType, packetIdentifier: number, reasonCode: number): void;
  disconnect(reasonCode: number, reason: string): void;
}

interface Held {
  readonly message: Message;
  readonly match: Match;
  readonly qos: 1 | 2;
  readonly packetIdentifier: number;
  readonly retain: boolean;
}

/** Messages from the subscriptions of a session to its client. */
export class Outbound implements LiveSubscriber, ReplayTarget {
  readonly matching: Matching;
  private readonly context: MqttContext;
  private readonly link: Link;
  private readonly session: MqttSession;
  private readonly inflight: Inflight;
  private readonly packetBytesMax: number;
  private readonly aliases: OutboundAliases | undefined;
  readonly shared: SharedFeeds;
  /** Subscriptions that may have something to read. */
  private readonly ready = new Set<Feed>();
  /** Unsubscribed, and up to where they are read. */
  private readonly retiring = new Map<Feed, number>();
  private readonly replays: Replays;
  private readonly retained: { readonly feed: Feed; readonly messages: Iterator<Message> }[] = [];
  private isResending = false;
  /** A QoS 2 message is sent, and released, when it is written down how far it is: a crash must not double it. */
  private held: Held[] = [];
  private releases: number[] = [];
  private isSaving = false;
  private isHolding = false;

  constructor(context: MqttContext, link: Link, session: MqttSession, agreement: Agreement) {
    this.context = context;
    this.link = link;
    this.session = session;
    this.inflight = session.inflight;
    this.packetBytesMax = agreement.packetBytesMax;
    this.matching = new Matching(session.core.clientId, (message) => context.broker.view(message));
    this.aliases = agreement.topicAliasMax > 0 ? new OutboundAliases(agreement.topicAliasMax) : undefined;
    this.replays = new Replays(context, this);
    this.inflight.begin(agreement.inflightMax);
    session.core.onReady = (subscription) => this.markReady(subscription as Feed);
    this.shared = new SharedFeeds(context, `${session.core.clientId} ${context.newConnectionNumber()}`, () =>
      link.becomeReady(),
    );
  }

  get hasReady(): boolean {
    return this.ready.size > 0 || this.retained.length > 0 || !this.shared.isEmpty || !this.replays.isEmpty;
  }

  /** Goes on where the last connection ended: first what was on its way, in its order [MQTT-4.4.0-1], then the rest. */
  resume(): void {
    this.update();
    for (const feed of this.session.feeds.values()) {
      if (feed.cursor !== undefined) this.ready.add(feed);
      if (feed.share !== undefined) this.shared.add(feed);
      if (feed.options.replay !== undefined) this.replays.add(feed);
      if (feed.options.awaitsRetained === true) this.deliverRetained(feed, this.context.retained(feed.filter));
    }
    if (this.inflight.isResent) this.link.becomeReady();
    else this.resend();
  }

  /** The subscriptions changed. */
  update(): void {
    this.matching.update(this.session.feeds.values());
  }

  markReady(feed: Feed): void {
    this.ready.add(feed);
    this.link.becomeReady();
  }

  /** Sends stored messages first. */
  replay(feed: Feed): void {
    this.replays.add(feed);
    this.link.becomeReady();
  }

  get room(): number {
    const { link, inflight } = this;
    if (!link.isOpen || link.isBlocked || this.isHolding) return 0;
    return link.output.isOver(this.context.options.outputBytesMax) ? 0 : inflight.room;
  }
  get isOpen(): boolean {
    return this.link.isOpen;
  }

  sendStored(feed: Feed, message: StoredMessage): void {
    const match = message.isExpired(this.context.nowMs) ? undefined : this.matching.alone(feed, message);
    if (match === undefined) return;
    this.sendNew(message, match, isMarked(message, match), undefined, 0, message);
  }

  progressed(): void {
    this.session.core.touch();
  }

  replayed(): void {
    this.link.becomeReady();
  }

  /** Takes part in a shared subscription. */
  share(feed: Feed): void {
    this.shared.add(feed);
    this.link.becomeReady();
  }

  /**
   * The subscription is gone. Where others may have left messages to it, or another one replaces it [MQTT-3.8.4-4], what
   * is in its light queue still comes before it is closed.
   */
  async retire(feed: Feed, isReplaced: boolean): Promise<void> {
    this.replays.remove(feed);
    const cursor = feed.cursor!;
    const end = isReplaced || this.matching.mayOverlap ? await cursor.end() : cursor.offset;
    if (cursor.offset < end && this.link.isOpen) {
      this.retiring.set(feed, end);
      return this.markReady(feed);
    }
    this.ready.delete(feed);
    await cursor.close();
  }

  /** The connection is gone. */
  close(): void {
    for (const feed of this.retiring.keys()) this.closeCursor(feed);
    this.retiring.clear();
    this.ready.clear();
    if (this.shared.isIdle) return;
    // Leases go to the others, but what was begun at QoS 2 is for this client or nobody [MQTT-4.8.2-4], [MQTT-4.8.2-5].
    for (const { packetIdentifier, phase, kept } of this.inflight.all()) {
      if (!isLease(kept) || phase === Phase.released) continue;
      if (phase === Phase.published) this.inflight.done(packetIdentifier);
      else {
        this.inflight.keep(packetIdentifier, kept.message, false);
        this.shared.acknowledge(kept);
      }
    }
    this.shared.close();
  }

  /** Sends retained messages that the subscription's filter matches, before what is published from now on. */
  deliverRetained(feed: Feed, messages: readonly Message[]): void {
    this.retained.push({ feed, messages: messages[Symbol.iterator]() });
    this.link.becomeReady();
  }

  /** At QoS 0: now or never. */
  deliver(message: Message, address: string): void {
    const { link, context } = this;
    const match = this.matching.live(message, address);
    if (match === undefined) return;
    if (link.isBlocked || link.output.isOver(context.options.outputBytesMax)) {
      context.metrics.droppedQos0++;
      return;
    }
    this.send(message, match, 0, 0, false, isMarked(message, match));
  }

  /** Reads from the store what the client has room for; not before the last of what is sent again is on its way. */
  pull(): void {
    const { link, inflight } = this;
    if (!link.isOpen || link.isBlocked || this.isHolding || this.isResending || !inflight.isResent) return;
    if (this.retained.length > 0 && !this.pullRetained()) return;
    if (!this.shared.isEmpty) this.pullShared();
    if (!this.replays.isEmpty) return this.replays.run();
    let pulled = 0;
    for (let { room } = this; room > 0; room = this.room) {
      const count = this.pullSome(Math.min(room, PULL_MAX));
      if (count === 0) return;
      pulled += count;
      if (pulled >= PULL_MAX) return link.becomeReady();
    }
  }

  onAcknowledgement(type: 4 | 5 | 7, packetIdentifier: number, reasonCode: number): void {
    const phase = this.inflight.phase(packetIdentifier);
    if (type === PacketType.pubrec) return this.onPubrec(packetIdentifier, phase, reasonCode);
    const awaited = type === PacketType.puback ? Phase.published : Phase.released;
    if (phase === awaited) {
      if (type === PacketType.puback) this.settleShared(packetIdentifier, reasonCode);
      this.done(packetIdentifier);
    } else if (phase !== Phase.none) {
      this.link.disconnect(ReasonCode.protocolError, 'the acknowledgement is not the one this message is waiting for');
    }
  }

  private onPubrec(packetIdentifier: number, phase: Phase, reasonCode: number): void {
    if (phase === Phase.published) {
      return this.link.disconnect(ReasonCode.protocolError, 'PUBREC answers a QoS 1 message');
    }
    if (phase === Phase.publishedOnce) {
      this.settleShared(packetIdentifier, reasonCode);
      // [MQTT-4.3.3-4]: with 0x80 or more the message is not released but done.
      if (reasonCode >= 0x80) return this.done(packetIdentifier);
      this.inflight.release(packetIdentifier);
      if (this.session.core.isDurable) {
        this.releases.push(packetIdentifier);
        return this.saveSoon();
      }
    }
    const isKnown = phase !== Phase.none;
    if (!isKnown && reasonCode >= 0x80) return;
    return this.sendPubrel(packetIdentifier, isKnown ? ReasonCode.success : ReasonCode.packetIdentifierNotFound);
  }

  /** The answer of a client that shares the work with others decides over the message's lease. */
  private settleShared(packetIdentifier: number, reasonCode: number): void {
    if (this.shared.isIdle) return;
    const kept = this.inflight.keptOf(packetIdentifier);
    if (!isLease(kept)) return;
    if (reasonCode >= 0x80 && this.context.options.sharedRetry) this.shared.retry(kept);
    else this.shared.acknowledge(kept);
  }

  private done(packetIdentifier: number): void {
    this.inflight.done(packetIdentifier);
    this.session.core.touch();
    if (!this.inflight.isResent) this.resend();
    else if (this.hasReady) this.link.becomeReady();
  }

  /** @returns how many messages were read; 0 when there are none at hand */
  private pullSome(max: number): number {
    for (const feed of this.ready) {
      // Off the list first: a cursor that comes back empty may call back at once.
      this.ready.delete(feed);
      const cursor = feed.cursor!;
      const messages = cursor.read(max, PULL_BYTES_MAX);
      if (messages.length === 0) continue;
      // Last in line, so that no subscription starves the others.
      this.ready.add(feed);
      this.sendAll(feed, messages, cursor.readFrom);
      if (this.retiring.size > 0) this.checkRetired(feed);
      this.session.core.touch();
      return messages.length;
    }
    return 0;
  }

  private checkRetired(feed: Feed): void {
    if (feed.cursor!.offset < (this.retiring.get(feed) ?? Infinity)) return;
    this.retiring.delete(feed);
    this.ready.delete(feed);
    this.closeCursor(feed);
  }

  private closeCursor({ cursor }: Feed): void {
    cursor!.close().catch((error: unknown) => this.context.log.error({ err: error }, 'a cursor could not be closed'));
  }

  private sendAll(feed: Feed, messages: readonly StoredMessage[], from: number): void {
    const { matching } = this;
    const { nowMs } = this.context;
    for (let i = 0; i < messages.length; i++) {
      const message = messages[i]!;
      if (message.isExpired(nowMs)) continue;
      const match = matching.of(feed, message);
      if (match !== undefined) this.sendNew(message, match, isMarked(message, match), feed, from + i, undefined);
    }
  }

  /**
   * For the first time, at the lower of the two qualities [MQTT-3.8.4-8]; from QoS 1 on it is known by its feed and place
   * there, or kept.
   * @returns the QoS
   */
  private sendNew(
    message: Message,
    match: Match,
    retain: boolean,
    feed: Feed | undefined,
    position: number,
    kept: Message | Delivery | undefined,
  ): Qos {
    const qos: Qos = message.qos < match.qos ? message.qos : match.qos;
    if (qos === 0) this.send(message, match, 0, 0, false, retain);
    else this.sendOrHold(message, match, qos, this.inflight.take(qos, feed, position, kept), retain);
    return qos;
  }

  private sendOrHold(message: Message, match: Match, qos: 1 | 2, packetIdentifier: number, retain: boolean): void {
    // In the order they were read, so one that has to wait holds back those behind it.
    if (this.isHolding || (qos === 2 && this.session.core.isDurable)) {
      this.held.push({ message, match, qos, packetIdentifier, retain });
      this.isHolding = true;
      this.saveSoon();
    } else if (!this.send(message, match, qos, packetIdentifier, false, retain)) this.inflight.done(packetIdentifier);
  }

  private pullShared(): void {
    const { shared, context } = this;
    while (this.room > 0) {
      const leased = shared.next();
      if (leased === undefined) return;
      const { feed, delivery } = leased;
      const { message } = delivery;
      const match = message.isExpired(context.nowMs) ? undefined : this.matching.alone(feed, message);
      const qos = match === undefined ? 0 : this.sendNew(message, match, false, feed, 0, delivery);
      // Nobody answers for it.
      if (qos === 0) shared.acknowledge(delivery);
    }
  }

  /** @returns false when there is no room for all of them */
  private pullRetained(): boolean {
    for (let next = this.retained[0]; next !== undefined; next = this.retained[0]) {
      const { feed, messages } = next;
      for (;;) {
        const { output } = this.link;
        if (this.inflight.room === 0 || output.isOver(this.context.options.outputBytesMax)) return false;
        const { done, value: message } = messages.next();
        if (done === true) break;
        this.sendRetained(feed, message);
      }
      this.retained.shift();
      // Also undefined when it was unsubscribed meanwhile.
      if (feed.options.awaitsRetained === true) feed.options = { ...feed.options, awaitsRetained: false };
      this.session.core.touch();
    }
    return true;
  }

  private sendRetained(feed: Feed, message: Message): void {
    if (message.isExpired(this.context.nowMs)) return;
    const match = this.matching.alone(feed, message);
    // [MQTT-3.3.1-8]: the flag says that it is an old message.
    if (match !== undefined) this.sendNew(message, match, true, feed, 1, message);
  }

  private resend(): void {
    if (this.isResending) return;
    this.isResending = true;
    this.resendAll().catch((error: unknown) => {
      this.context.log.error({ err: error, client: this.session.core.clientId }, 'messages could not be read again');
      this.link.disconnect(ReasonCode.unspecifiedError, 'messages could not be read again');
    });
  }

  private async resendAll(): Promise<void> {
    for (let next = this.inflight.nextResent(); next !== undefined; next = this.inflight.nextResent()) {
      if (next.phase === Phase.released) {
        this.sendPubrel(next.packetIdentifier, ReasonCode.success);
        continue;
      }
      const message = await this.messageAgain(next);
      if (!this.link.isOpen) return;
      if (message === undefined || !this.sendAgain(next, message)) this.inflight.done(next.packetIdentifier);
    }
    this.isResending = false;
    if (this.inflight.isResent) this.link.becomeReady();
  }

  private async messageAgain({ feed, position, kept }: InflightMessage): Promise<Message | undefined> {
    return kept === undefined ? feed?.cursor?.again(position) : (kept as Message);
  }

  private sendAgain({ packetIdentifier, phase, feed, position, kept }: InflightMessage, message: Message): boolean {
    const { matching } = this;
    const match = feed && (kept === undefined ? matching.again(feed, message) : matching.alone(feed, message));
    const retain = kept === undefined ? match?.retainAsPublished === true && message.isRetained : position === 1;
    return this.send(message, match, phase === Phase.published ? 1 : 2, packetIdentifier, true, retain);
  }

  /** What is held is sent when the session, as it is at the end of this turn, is durable. */
  private saveSoon(): void {
    if (this.isSaving) return;
    this.isSaving = true;
    this.context.broker.clock.soon(() => void this.save());
  }

  private async save(): Promise<void> {
    while (this.held.length > 0 || this.releases.length > 0) {
      const { held, releases } = this;
      this.held = [];
      this.releases = [];
      await this.session.core.save();
      if (!this.link.isOpen) return;
      for (const packetIdentifier of releases) this.sendPubrel(packetIdentifier, ReasonCode.success);
      for (const { message, match, qos, packetIdentifier, retain } of held) {
        if (!this.send(message, match, qos, packetIdentifier, false, retain)) this.inflight.done(packetIdentifier);
      }
      this.isHolding = this.held.length > 0;
    }
    this.isSaving = false;
    if (this.hasReady) this.link.becomeReady();
  }

  private sendPubrel(packetIdentifier: number, reasonCode: number): void {
    this.link.writeAcknowledgement(PacketType.pubrel, packetIdentifier, reasonCode);
  }

  /** @returns false when the packet is larger than the client takes: it is as if it had been sent [MQTT-3.1.2-25] */
  private send(
    message: Message,
    match: Match | undefined,
    qos: Qos,
    packetIdentifier: number,
    dup: boolean,
    retain: boolean,
  ): boolean {
    const { context, link } = this;
    const { metrics } = context;
    const { output, version } = link;
    if (message.isPlain && version !== 5 && qos === message.qos && !dup && !retain) {
      if (message.bytes > this.packetBytesMax) return false;
      metrics.messagesSent++;
      metrics.publishSent++;
      output.append(message.buffer, message.start, message.end);
      if (qos !== 0) output.patchUint16(message.end - message.addressEnd, packetIdentifier);
      link.becomeDirty();
      return true;
    }
    const source = context.outbound.publishSource(message);
    const alias = this.aliases?.use(message.address, source);
    const added =
      version === 5 ? addedProperties(message, match?.identifiers ?? null, alias, context.broker.clock) : null;
    const bytes = publishLength(source, version, qos, added);
    if (bytes > this.packetBytesMax) {
      if (alias !== undefined) this.aliases!.unsent(message.address);
      return false;
    }
    metrics.messagesSent++;
    metrics.publishSent++;
    output.reserve(bytes);
    const { chunk, used } = output;
    output.used = encodePublish(chunk, used, source, version, qos, dup, retain, packetIdentifier, added);
    link.becomeDirty();
    return true;
  }
}

/** Whether the RETAIN flag of its PUBLISH goes on to the subscriber [MQTT-3.3.1-13]. */
function isMarked(message: Message, { retainAsPublished }: Match): boolean {
  return retainAsPublished && message.isRetained;
}
