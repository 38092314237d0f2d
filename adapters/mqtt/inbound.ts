import { isUtf8 } from 'node:buffer';
import type { Principal } from '../../core/ports/authenticator.ts';
import { OutgoingMessage } from '../../core/ports/message-engine.ts';
import type { PublishView } from './codec/decoder.ts';
import { PacketType, type AcknowledgementType } from './codec/packet.ts';
import { ReasonCode } from './codec/reason-code.ts';
import type { MqttContext, PublishTarget } from './mqtt-context.ts';
import { extended, type RouteAddition } from './route-addition.ts';
import type { Publisher } from './publish-turn.ts';
import type { Answerer, MqttSession } from './session/mqtt-session.ts';
import { InboundAliases } from './session/topic-aliases.ts';

/** What the messages of a client need of the connection they come in on. */
export interface Receiver {
  /** Acknowledges; a reason code that the version cannot say ends the connection. */
  acknowledge(type: AcknowledgementType, packetIdentifier: number, reasonCode: number): void;
  disconnect(reasonCode: number, reason: string): void;
  /** There is room for more again, or no more. */
  setFull(isFull: boolean): void;
}

/** Messages from a client to the broker. */
export class Inbound implements Publisher, Answerer {
  private readonly context: MqttContext;
  private readonly receiver: Receiver;
  private readonly session: MqttSession;
  private readonly principal: Principal;
  private readonly aliases = new InboundAliases();
  private isNamed = false;
  private lastTopicName: string | undefined;
  private lastTarget: PublishTarget | undefined;
  private lastExtended: { target: PublishTarget; isAliased: boolean; addition: RouteAddition } | undefined;
  /** QoS 1 and 2 messages received and not yet stored. */
  private storing = 0;
  /** Packet identifiers of the QoS 2 messages among them. */
  private readonly storingOnce = new Set<number>();

  constructor(context: MqttContext, receiver: Receiver, session: MqttSession, principal: Principal) {
    this.context = context;
    this.receiver = receiver;
    this.session = session;
    this.principal = principal;
  }

  /** Whether the client's messages bear its name, because it wants not to get them itself. */
  set named(isNamed: boolean) {
    this.isNamed = isNamed;
    this.lastExtended = undefined;
  }

  publish(publish: PublishView): void {
    const topicName = this.topicNameOf(publish);
    if (topicName === undefined) return;
    const { packetIdentifier, qos } = publish;
    // [MQTT-4.3.3-10]: sent again, for lack of an answer.
    if (qos === 2 && this.session.core.received.has(packetIdentifier)) return this.repeated(packetIdentifier);
    const target = this.targetOf(topicName);
    const { turn, options } = this.context;
    const refusal = target.refusal === 0 ? this.problemWith(publish) : target.refusal;
    if (qos === 2) {
      this.storingOnce.add(packetIdentifier);
      this.session.storing.set(packetIdentifier, this);
    }
    if (refusal !== 0) turn.answer(this, packetIdentifier, refusal);
    else if (target.isLive === true) this.announce(publish, target, topicName);
    else turn.publish(this, packetIdentifier, this.outgoing(publish, target, topicName));
    // Clients are known to ignore Receive Maximum: one that sends more is read more slowly instead of cut off.
    if (packetIdentifier !== 0 && ++this.storing === options.receiveMaximum) this.receiver.setFull(true);
  }

  private announce(publish: PublishView, target: PublishTarget, topicName: string): void {
    this.context.broker.announce(this.outgoing(publish, target, topicName).message);
    this.context.turn.answer(this, publish.packetIdentifier, ReasonCode.success);
  }

  /** The message is stored, or refused with the reason. */
  published(packetIdentifier: number, reasonCode: number): void {
    if (this.storing-- === this.context.options.receiveMaximum) this.receiver.setFull(false);
    if (reasonCode >= 0x80) this.context.metrics.publishRefused++;
    if (!this.storingOnce.delete(packetIdentifier)) {
      return this.receiver.acknowledge(PacketType.puback, packetIdentifier, reasonCode);
    }
    const { storing } = this.session;
    const answerer = storing.get(packetIdentifier);
    storing.delete(packetIdentifier);
    if (reasonCode >= 0x80) this.forget(packetIdentifier, () => {});
    answerer?.answerOnce(packetIdentifier, reasonCode);
  }

  answerOnce(packetIdentifier: number, reasonCode: number): void {
    this.receiver.acknowledge(PacketType.pubrec, packetIdentifier, reasonCode);
  }

  /** PUBREL: the client does not send the message again, and the identifier may stand for another one. */
  release(packetIdentifier: number): void {
    const { core, storing } = this.session;
    const isKnown = core.received.has(packetIdentifier) && !storing.has(packetIdentifier);
    const reasonCode = isKnown ? ReasonCode.success : ReasonCode.packetIdentifierNotFound;
    if (storing.has(packetIdentifier)) this.receiver.acknowledge(PacketType.pubcomp, packetIdentifier, reasonCode);
    else {
      // Forgotten first: a crash after PUBCOMP must not take the next message of that identifier for this one.
      this.forget(packetIdentifier, () => this.receiver.acknowledge(PacketType.pubcomp, packetIdentifier, reasonCode));
    }
  }

  private forget(packetIdentifier: number, onForgotten: () => void): void {
    const forgotten = this.session.core.release(packetIdentifier);
    if (forgotten === undefined) return onForgotten();
    forgotten.then(onForgotten, (error: unknown) =>
      this.context.log.error({ err: error }, 'a packet identifier could not be released'),
    );
  }

  private repeated(packetIdentifier: number): void {
    const { storing } = this.session;
    // Still being stored, maybe from the last connection: the answer comes, over this one.
    if (storing.has(packetIdentifier)) storing.set(packetIdentifier, this);
    else this.answerOnce(packetIdentifier, ReasonCode.success);
  }

  private outgoing(publish: PublishView, target: PublishTarget, topicName: string): OutgoingMessage {
    const { translator, nowMs } = this.context;
    const message = translator.message(publish, nowMs, this.additionOf(publish, target, topicName));
    const outgoing = new OutgoingMessage(target.topic, target.address, message);
    if (publish.qos === 2) outgoing.changes = this.session.core.receive(publish.packetIdentifier);
    return outgoing;
  }

  /** What the target adds, and what only this connection knows of the message. */
  private additionOf(publish: PublishView, target: PublishTarget, topicName: string): RouteAddition | undefined {
    const isAliased = publish.topicName === '';
    if (!isAliased && !this.isNamed) return target.addition;
    const { lastExtended } = this;
    if (lastExtended?.target === target && lastExtended.isAliased === isAliased) return lastExtended.addition;
    const publisher = this.isNamed ? this.session.core.clientId : undefined;
    const addition = extended(target.addition, isAliased ? topicName : undefined, publisher);
    this.lastExtended = { target, isAliased, addition };
    return addition;
  }

  /** Undefined when the connection ends for it. */
  private topicNameOf({ topicName, topicAlias }: PublishView): string | undefined {
    if (topicAlias === 0) return topicName;
    if (topicAlias > this.context.options.topicAliasMax) {
      this.receiver.disconnect(ReasonCode.topicAliasInvalid, 'the topic alias is larger than the maximum in CONNACK');
      return undefined;
    }
    if (topicName !== '') {
      this.aliases.set(topicAlias, topicName);
      return topicName;
    }
    const known = this.aliases.get(topicAlias);
    if (known === undefined) this.receiver.disconnect(ReasonCode.protocolError, 'the topic alias stands for nothing');
    return known;
  }

  /** A reason code, 0 for none. */
  private problemWith({ buffer, isText, payloadStart, payloadEnd }: PublishView): number {
    if (!isText || !this.context.options.payloadFormatCheck) return 0;
    return isUtf8(buffer.subarray(payloadStart, payloadEnd)) ? 0 : ReasonCode.payloadFormatInvalid;
  }

  private targetOf(topicName: string): PublishTarget {
    // The decoder hands out the same string for the same bytes, so this rarely compares characters.
    if (topicName === this.lastTopicName && this.lastTarget !== undefined) return this.lastTarget;
    const target = this.context.publishTarget(topicName, this.principal);
    this.lastTopicName = topicName;
    this.lastTarget = target;
    return target;
  }
}
