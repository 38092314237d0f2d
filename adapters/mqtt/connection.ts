import type { Socket } from 'node:net';
import type { LiveSubscriber } from '../../core/broker.ts';
import type { Message } from '../../core/model/message.ts';
import type { Credentials, Principal } from '../../core/ports/authenticator.ts';
import { OutgoingMessage } from '../../core/ports/message-engine.ts';
import { CodecError } from './codec/codec-error.ts';
import { Decoder, type PacketHandler, type PublishView } from './codec/decoder.ts';
import {
  ACKNOWLEDGEMENT_BYTES_MAX,
  encodeAcknowledgement,
  encodePacketInto,
  encodePublish,
  packetLength,
  publishLength,
} from './codec/encoder.ts';
import {
  PacketType,
  type AcknowledgementType,
  type ConnackPacket,
  type ConnectPacket,
  type Packet,
  type ProtocolVersion,
  type Qos,
} from './codec/packet.ts';
import { ReasonCode } from './codec/reason-code.ts';
import type { MqttContext, PublishTarget } from './mqtt-context.ts';
import { Output } from './output.ts';
import { agree, refusal } from './session/connect.ts';
import { SendWindow } from './session/send-window.ts';
import { Subscriptions } from './subscriptions.ts';
import { addedProperties } from './translate.ts';

/** Messages read from the store for one connection before another one has its turn. */
const PULL_MAX = 1000;
const PULL_BYTES_MAX = 256 * 1024;
/** How long a peer may take to close its side after ours is closed. */
const LINGER_MS = 5_000;

type Phase = 'new' | 'connected' | 'closing' | 'closed';

/** One MQTT client: owns its socket, keeps the order of what has to be awaited, and serves its subscriptions. */
export class Connection implements PacketHandler, LiveSubscriber {
  clientIdentifier = '';
  private readonly context: MqttContext;
  private readonly socket: Socket;
  private readonly decoder: Decoder;
  private readonly output: Output;
  private readonly subscriptions: Subscriptions;
  private version: ProtocolVersion = 4;
  private phase: Phase = 'new';
  private principal: Principal = { name: '', anonymous: true };
  private sendWindow = new SendWindow(0);
  private packetBytesMax = Infinity;
  /** 0: no limit. */
  private idleMsMax: number;
  private lastReceivedAt: number;
  private lastTopicName: string | undefined;
  private lastTarget: PublishTarget | undefined;
  /** QoS 1 messages received and not yet stored. */
  private storing = 0;
  /** A packet that has to be awaited holds back those behind it. */
  private isWaiting = false;
  /** The gateway goes down: nothing more is taken in. */
  private isStopped = false;
  private isReady = false;
  private isDirty = false;
  /** The socket has more to write than it should: nothing is read from the store until it drains. */
  private isBlocked = false;

  constructor(context: MqttContext, socket: Socket) {
    this.context = context;
    this.socket = socket;
    this.output = new Output(socket);
    this.decoder = new Decoder(this, { packetBytesMax: context.options.connectPacketBytesMax });
    this.subscriptions = new Subscriptions(context, this, () => this.becomeReady());
    this.idleMsMax = context.options.connectTimeoutMs;
    this.lastReceivedAt = context.nowMs;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.receive(chunk));
    socket.on('drain', () => this.drained());
    socket.on('end', () => socket.end());
    socket.on('error', (error) =>
      context.log.debug({ err: error, client: this.clientIdentifier }, 'MQTT socket error'),
    );
    socket.on('close', () => this.closed());
  }

  /** Called about once a second: ends what has been silent for too long. */
  checkIdle(nowMs: number): void {
    const idleMs = nowMs - this.lastReceivedAt;
    if (this.phase === 'closing') {
      if (idleMs > LINGER_MS) this.socket.destroy();
    } else if (this.idleMsMax > 0 && idleMs > this.idleMsMax) {
      this.disconnect(ReasonCode.keepAliveTimeout, 'nothing was received within one and a half keep alive periods');
    }
  }

  onPublish(publish: PublishView): void {
    const problem = this.unsupported(publish);
    if (problem !== undefined) {
      this.disconnect(problem, 'the PUBLISH uses something that CONNACK said is not available');
      return;
    }
    const { topicName, packetIdentifier } = publish;
    const target = this.targetOf(topicName);
    const { turn, translator } = this.context;
    if (target.refusal !== 0) turn.refuse(this, packetIdentifier, target.refusal);
    else {
      const message = translator.message(publish, this.context.nowMs);
      turn.publish(this, packetIdentifier, new OutgoingMessage(target.topic, topicName, message));
    }
    // Clients are known to ignore Receive Maximum: one that sends more is read more slowly instead of cut off.
    if (packetIdentifier !== 0 && ++this.storing === this.context.options.receiveMaximum) this.socket.pause();
  }

  /** The message of an incoming PUBLISH is stored, or refused with the reason. */
  published(packetIdentifier: number, reasonCode: number): void {
    if (this.storing-- === this.context.options.receiveMaximum) this.resumeReading();
    if (this.phase !== 'connected') return;
    if (reasonCode >= 0x80 && this.version !== 5) {
      // MQTT 3 cannot refuse a message; without PUBACK the client will send it again.
      this.disconnect(reasonCode, 'a message was refused');
      return;
    }
    this.output.reserve(ACKNOWLEDGEMENT_BYTES_MAX);
    const { chunk, used } = this.output;
    this.output.used = encodeAcknowledgement(
      chunk,
      used,
      PacketType.puback,
      packetIdentifier,
      reasonCode,
      this.version,
    );
    this.becomeDirty();
  }

  onAcknowledgement(type: AcknowledgementType, packetIdentifier: number, _reasonCode: number): void {
    if (type === PacketType.puback) {
      if (this.sendWindow.acknowledge(packetIdentifier) && this.subscriptions.hasReady) this.becomeReady();
    } else if (type === PacketType.pubrel) {
      const reasonCode = ReasonCode.packetIdentifierNotFound;
      this.write({ type: 'pubcomp', packetIdentifier, reasonCode });
    } else this.disconnect(ReasonCode.protocolError, 'no QoS 2 message was sent on this connection');
  }

  onPacket(packet: Packet): void {
    switch (packet.type) {
      case 'connect':
        return this.inOrder(this.connect(packet));
      case 'subscribe':
        return this.inOrder(this.subscriptions.subscribe(packet, this.version).then((suback) => this.write(suback)));
      case 'unsubscribe':
        return this.inOrder(this.subscriptions.unsubscribe(packet).then((unsuback) => this.write(unsuback)));
      case 'pingreq':
        return this.write({ type: 'pingresp' });
      case 'disconnect':
        return this.end('client disconnected');
      default:
        return this.disconnect(ReasonCode.protocolError, `${packet.type.toUpperCase()} is not expected here`);
    }
  }

  /** A QoS 0 subscription: now or never. */
  deliver(message: Message): void {
    if (this.isBlocked || this.output.isOver(this.context.options.outputBytesMax)) {
      this.context.droppedQos0++;
      return;
    }
    this.sendPublish(message, 0);
  }

  /** Reads from the store what the client has room for. */
  pull(): void {
    this.isReady = false;
    if (this.phase !== 'connected' || this.isBlocked) return;
    const { nowMs } = this.context;
    let pulled = 0;
    while (this.sendWindow.room > 0 && !this.output.isOver(this.context.options.outputBytesMax)) {
      const messages = this.subscriptions.read(Math.min(this.sendWindow.room, PULL_MAX), PULL_BYTES_MAX);
      if (messages === undefined) return;
      for (let i = 0; i < messages.length; i++) {
        const message = messages[i]!;
        if (!message.isExpired(nowMs)) this.sendPublish(message, 1);
      }
      pulled += messages.length;
      if (pulled >= PULL_MAX) {
        this.becomeReady();
        return;
      }
    }
  }

  flush(): void {
    this.isDirty = false;
    if (this.phase === 'closed') return;
    this.output.flush();
    this.isBlocked = this.socket.writableLength > this.context.options.outputBytesMax;
    // Reading ended at the output's limit, or was held back by it, and the socket has taken everything: no drain follows.
    if (!this.isBlocked && this.subscriptions.hasReady && this.sendWindow.room > 0) this.becomeReady();
  }

  /** Ends the connection from our side; MQTT 5 clients are told why. */
  disconnect(reasonCode: number, reason: string): void {
    if (this.phase === 'connected' && this.version === 5) {
      this.write({ type: 'disconnect', reasonCode, properties: { reasonString: reason } });
    }
    this.end(reason);
  }

  /** Takes nothing more in; what was taken in is still acknowledged. */
  stopReading(): void {
    this.isStopped = true;
    this.socket.pause();
    this.decoder.pause();
  }

  destroy(): void {
    this.socket.destroy();
  }

  private receive(chunk: Buffer): void {
    this.context.readClock();
    this.lastReceivedAt = this.context.nowMs;
    try {
      this.decoder.push(chunk);
    } catch (error) {
      this.failed(error);
    }
  }

  /** What the client sent cannot be taken: answered in its protocol's own words, and only this connection ends. */
  private failed(error: unknown): void {
    const { log } = this.context;
    if (!(error instanceof CodecError)) {
      log.error({ err: error, client: this.clientIdentifier }, 'MQTT connection failed');
      this.disconnect(ReasonCode.unspecifiedError, 'internal error');
      return;
    }
    const { reasonCode, message, protocolLevel } = error;
    log.debug({ client: this.clientIdentifier, reasonCode, from: this.socket.remoteAddress }, message);
    if (this.phase !== 'new') this.disconnect(reasonCode, message);
    else if (reasonCode === ReasonCode.unsupportedProtocolVersion) {
      // [MQTT-3.1.2-2]: a level from the future is answered in MQTT 5, any other in MQTT 3.1.1.
      this.version = (protocolLevel ?? 0) > 5 ? 5 : 4;
      this.refuse(reasonCode, message);
    } else if (this.decoder.version === 5) {
      this.version = 5;
      this.refuse(reasonCode, message);
    } else this.end(message);
  }

  /** Holds back the packets behind one that has to wait for the core. */
  private inOrder(work: Promise<void>): void {
    this.isWaiting = true;
    this.decoder.pause();
    this.socket.pause();
    work
      .then(() => {
        this.isWaiting = false;
        if (!this.isStopped) this.decoder.resume();
        this.resumeReading();
      })
      .catch((error: unknown) => this.failed(error));
  }

  /** Reads on, unless there is another reason not to. */
  private resumeReading(): void {
    const isFull = this.storing >= this.context.options.receiveMaximum;
    if (!this.isStopped && !this.isWaiting && !isFull) this.socket.resume();
  }

  private async connect(packet: ConnectPacket): Promise<void> {
    const { context } = this;
    this.version = packet.protocolVersion;
    // [MQTT-3.2.2-19]: it holds for a CONNACK that refuses, too.
    this.packetBytesMax = packet.properties?.maximumPacketSizeBytes ?? Infinity;
    const refused = refusal(packet);
    if (refused !== undefined) return this.refuse(refused.reasonCode, refused.reason);
    if (context.isFull) return this.refuse(ReasonCode.quotaExceeded, 'the limit of connections is reached');
    const principal = await context.broker.authenticate(credentialsOf(packet));
    if (this.phase !== 'new') return undefined;
    if (principal === undefined) {
      const reasonCode = packet.username === undefined ? ReasonCode.notAuthorized : ReasonCode.badUserNameOrPassword;
      return this.refuse(reasonCode, 'the user name or password is not right');
    }
    const agreement = agree(packet, context.options, context.newClientIdentifier());
    this.principal = principal;
    this.clientIdentifier = agreement.clientIdentifier;
    this.sendWindow = new SendWindow(agreement.inflightMax);
    this.packetBytesMax = agreement.packetBytesMax;
    // [MQTT-3.1.2-22]: one and a half keep alive periods.
    this.idleMsMax = agreement.keepAliveS * 1500;
    this.decoder.packetBytesMax = context.options.packetBytesMax;
    this.phase = 'connected';
    context.takeOver(this);
    return this.write(agreement.connack);
  }

  private refuse(reasonCode: number, reason: string): void {
    const connack: ConnackPacket = { type: 'connack', sessionPresent: false, reasonCode };
    if (this.version === 5) connack.properties = { reasonString: reason };
    this.write(connack);
    this.end(reason);
  }

  private unsupported(publish: PublishView): number | undefined {
    if (publish.qos === 2) return ReasonCode.qosNotSupported;
    if (publish.retain) return ReasonCode.retainNotSupported;
    if (publish.topicAlias !== 0) return ReasonCode.topicAliasInvalid;
    return undefined;
  }

  private targetOf(topicName: string): PublishTarget {
    // The decoder hands out the same string for the same bytes, so this rarely compares characters.
    if (topicName === this.lastTopicName && this.lastTarget !== undefined) return this.lastTarget;
    const target = this.context.publishTarget(topicName, this.principal);
    this.lastTopicName = topicName;
    this.lastTarget = target;
    return target;
  }

  private sendPublish(message: Message, grantedQos: 0 | 1): void {
    const { context, output, version } = this;
    const qos: Qos = message.qos < grantedQos ? message.qos : grantedQos;
    if (message.isPlain && version !== 5 && qos === message.qos) {
      output.append(message.buffer, message.start, message.end);
      if (qos !== 0) output.patchUint16(message.end - message.addressEnd, this.sendWindow.take());
      this.becomeDirty();
      return;
    }
    const added = addedProperties(message, version, context.nowMs);
    const source = context.outbound.publishSource(message);
    const bytes = publishLength(source, version, qos, added);
    // [MQTT-3.1.2-24]: a packet larger than the client takes is as if it had been sent.
    if (bytes > this.packetBytesMax) return;
    output.reserve(bytes);
    const packetIdentifier = qos === 0 ? 0 : this.sendWindow.take();
    const { chunk, used } = output;
    output.used = encodePublish(chunk, used, source, version, qos, false, false, packetIdentifier, added);
    this.becomeDirty();
  }

  private write(packet: Packet): void {
    if (this.phase === 'closing' || this.phase === 'closed') return;
    const bytes = packetLength(packet, this.version);
    // [MQTT-3.14.2-3] and its like: properties that only explain are left out where the packet would be too large.
    if (bytes > this.packetBytesMax && 'properties' in packet) delete packet.properties;
    this.output.reserve(bytes);
    this.output.used = encodePacketInto(packet, this.version, this.output.chunk, this.output.used);
    this.becomeDirty();
  }

  private becomeDirty(): void {
    if (this.isDirty) return;
    this.isDirty = true;
    this.context.turn.addDirty(this);
  }

  private becomeReady(): void {
    if (this.isReady || this.isBlocked || this.phase !== 'connected') return;
    this.isReady = true;
    this.context.turn.addReady(this);
  }

  private drained(): void {
    if (!this.isBlocked) return;
    this.isBlocked = false;
    if (this.subscriptions.hasReady) this.becomeReady();
  }

  /** Sends what is left, closes our side, and waits a little for the peer to close its own. */
  private end(reason: string): void {
    if (this.phase === 'closing' || this.phase === 'closed') return;
    this.context.log.debug({ client: this.clientIdentifier, reason }, 'MQTT connection ends');
    this.phase = 'closing';
    this.decoder.close();
    this.leave();
    this.output.flush();
    this.socket.resume();
    this.socket.end();
  }

  private closed(): void {
    this.phase = 'closed';
    this.decoder.close();
    this.leave();
    this.context.remove(this);
  }

  private leave(): void {
    this.context.release(this);
    this.subscriptions.close();
  }
}

function credentialsOf({ username, password }: ConnectPacket): Credentials {
  if (username === undefined) return { kind: 'none' };
  return { kind: 'password', username, password: password ?? Buffer.alloc(0) };
}
