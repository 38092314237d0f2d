import type { ClientSession, Will } from '../../core/broker.ts';
import { BrokerError } from '../../core/model/broker-error.ts';
import type { Principal } from '../../core/ports/authenticator.ts';
import { ReadGate } from '../connection/read-gate.ts';
import type { ByteStream } from '../connection/transport.ts';
import type { Dirty, Ready } from '../connection/turn.ts';
import { CodecError } from './codec/codec-error.ts';
import { Decoder, type PacketHandler, type PublishView } from './codec/decoder.ts';
import { ACKNOWLEDGEMENT_BYTES_MAX, encodeAcknowledgement, encodePacketInto, packetLength } from './codec/encoder.ts';
import {
  ACKNOWLEDGEMENT_NAMES,
  PacketType,
  type AcknowledgementType,
  type AuthPacket,
  type ConnackPacket,
  type ConnectPacket,
  type DisconnectPacket,
  type Packet,
  type Properties,
  type ProtocolVersion,
} from './codec/packet.ts';
import { isReasonCodeOf, ReasonCode, reasonText } from './codec/reason-code.ts';
import { Inbound, type Receiver } from './inbound.ts';
import { Login, type LoginStep } from './login.ts';
import type { MqttContext } from './mqtt-context.ts';
import type { MqttOptions } from './options.ts';
import { Outbound, type Link } from './outbound.ts';
import { PublishOutput } from './publish-output.ts';
import { REASON_OF } from './reasons.ts';
import { agree, connack, grantedExpiryMs, refusal, willOf, type Agreement } from './session/connect.ts';
import { MqttSession } from './session/mqtt-session.ts';
import { PublishPace } from './session/publish-pace.ts';
import { Subscriptions } from './subscriptions.ts';
import { willMessage } from './translate.ts';
import type { MqttTransport } from './transport.ts';

/** How long a peer may take to close its side after ours is closed. */
const LINGER_MS = 5_000;

/** Why nothing is read from a client for now. */
type HoldReason =
  /** More messages are on their way into the store than were agreed on. */
  | 'full'
  /** The client published faster than it may. */
  | 'paced';

type Phase = 'new' | 'connected' | 'closing' | 'closed';

/** What there is once CONNECT is accepted. */
interface Connected {
  readonly agreement: Agreement;
  readonly session: MqttSession;
  readonly inbound: Inbound;
  readonly outbound: Outbound;
  readonly subscriptions: Subscriptions;
}

/** One MQTT client: owns its socket, keeps the order of what has to be awaited, and knows who it is. */
export class Connection implements PacketHandler, Link, Receiver, Ready, Dirty {
  clientIdentifier = '';
  version: ProtocolVersion = 4;
  readonly output: PublishOutput;
  /** The socket has more to write than it should: nothing is read from the store until it drains. */
  isBlocked = false;
  private readonly context: MqttContext;
  private readonly transport: MqttTransport;
  private readonly socket: ByteStream;
  private readonly options: MqttOptions;
  private readonly decoder: Decoder;
  private phase: Phase = 'new';
  private principal: Principal = { name: '', anonymous: true };
  private core: ClientSession | undefined;
  private connected: Connected | undefined;
  private readonly login: Login;
  /** Waits until it is known who the client is. */
  private connectPacket: ConnectPacket | undefined;
  private packetBytesMax = Infinity;
  private readonly pace: PublishPace | undefined;
  /** Since the pace was looked at: what was held back counts with the chunk that comes behind it. */
  private published = 0;
  /** 0: no limit. */
  private idleMsMax: number;
  private lastReceivedAt: number;
  private readonly gate: ReadGate<HoldReason>;
  /** The client said good-bye: its will is not published [MQTT-3.14.4-3]. */
  private isFarewell = false;
  private hasLeft = false;
  private isReady = false;
  private isDirty = false;

  constructor(context: MqttContext, transport: MqttTransport) {
    const { stream: socket, options = context.options } = transport;
    this.context = context;
    this.transport = transport;
    this.socket = socket;
    this.options = options;
    this.output = new PublishOutput(socket);
    this.login = new Login(context.broker);
    this.decoder = new Decoder(this, { packetBytesMax: options.connectPacketBytesMax });
    this.gate = new ReadGate(socket, this.decoder);
    this.idleMsMax = options.connectTimeoutMs;
    this.lastReceivedAt = context.nowMs;
    this.pace = PublishPace.of(options, context.nowMs);
    socket.on('data', (chunk) => this.receive(chunk));
    socket.on('drain', () => this.drained());
    socket.on('end', () => {
      // Where our side is closed already, closing it again would make an error nobody sees.
      if (this.phase !== 'closing') socket.end();
    });
    socket.on('error', (error) =>
      context.log.debug({ err: error, client: this.clientIdentifier }, 'MQTT socket error'),
    );
    socket.on('close', () => this.closed());
  }

  get isOpen(): boolean {
    return this.phase === 'connected';
  }

  /** Called about once a second: ends what has been silent for too long. */
  checkIdle(nowMs: number): void {
    // Nobody is silent whom the gateway does not read.
    if (this.phase === 'connected' && this.gate.isHeld) this.lastReceivedAt = nowMs;
    const idleMs = nowMs - this.lastReceivedAt;
    if (this.phase === 'closing') {
      if (idleMs > LINGER_MS) this.socket.destroy();
    } else if (this.idleMsMax > 0 && idleMs > this.idleMsMax) {
      this.disconnect(ReasonCode.keepAliveTimeout, 'nothing was received within one and a half keep alive periods');
    }
  }

  onPublish(publish: PublishView): void {
    this.published++;
    this.context.metrics.publishReceived++;
    this.context.metrics.messagesReceived++;
    if (this.connected === undefined) this.faulty('PUBLISH comes before CONNACK');
    else this.connected.inbound.publish(publish);
  }

  onAcknowledgement(type: AcknowledgementType, packetIdentifier: number, reasonCode: number): void {
    this.context.metrics.messagesReceived++;
    if (this.connected === undefined) return this.faulty('an acknowledgement comes before CONNACK');
    const { inbound, outbound } = this.connected;
    if (type === PacketType.pubrel) inbound.release(packetIdentifier);
    else outbound.onAcknowledgement(type, packetIdentifier, reasonCode);
  }

  onPacket(packet: Packet): void {
    this.context.metrics.messagesReceived++;
    if (packet.type === 'connect') this.inOrder(this.connect(packet));
    else if (packet.type === 'auth') this.onAuth(packet);
    else if (this.connected !== undefined) this.serve(packet, this.connected);
    // Between the packets of an exchange the client may give up.
    else if (packet.type === 'disconnect') this.end('client disconnected');
    else this.faulty(`${packet.type.toUpperCase()} comes before CONNACK`);
  }

  private serve(packet: Packet, { subscriptions, inbound, outbound }: Connected): void {
    switch (packet.type) {
      case 'subscribe': {
        const subscribed = subscriptions.subscribe(packet, this.version);
        return this.inOrder(subscribed, (suback) => {
          inbound.named = outbound.matching.hasNoLocal;
          this.write(suback);
          subscriptions.deliverRetained();
        });
      }
      case 'unsubscribe':
        return this.inOrder(subscriptions.unsubscribe(packet), (unsuback) => this.write(unsuback));
      case 'pingreq':
        return this.write({ type: 'pingresp' });
      case 'disconnect':
        return this.onDisconnect(packet);
      default:
        return this.disconnect(ReasonCode.protocolError, `${packet.type.toUpperCase()} is not expected here`);
    }
  }

  pull(): void {
    this.isReady = false;
    this.connected?.outbound.pull();
  }

  flush(): void {
    this.isDirty = false;
    if (this.phase === 'closed') return;
    this.context.metrics.bytesSent += this.output.bytes;
    this.output.flush();
    this.isBlocked = this.socket.writableLength > this.options.outputBytesMax;
    // Reading ended at the output's limit, or was held back by it, and the socket has taken everything: no drain follows.
    const outbound = this.connected?.outbound;
    if (outbound?.hasReady === true && outbound.room > 0) this.becomeReady();
  }

  acknowledge(type: AcknowledgementType, packetIdentifier: number, reasonCode: number): void {
    if (this.phase !== 'connected') return;
    if (reasonCode >= 0x80 && this.version !== 5 && type !== PacketType.pubcomp) {
      // MQTT 3 cannot refuse a message; without PUBACK the client will send it again.
      return this.disconnect(reasonCode, 'a message was refused');
    }
    if (reasonCode >= 0x80 && this.version === 5 && this.connected!.agreement.explains) {
      const properties = { reasonString: reasonText(reasonCode) };
      return this.write({ type: ACKNOWLEDGEMENT_NAMES[type], packetIdentifier, reasonCode, properties });
    }
    this.writeAcknowledgement(type, packetIdentifier, reasonCode);
  }

  writeAcknowledgement(type: AcknowledgementType, packetIdentifier: number, reasonCode: number): void {
    this.output.reserve(ACKNOWLEDGEMENT_BYTES_MAX);
    this.context.metrics.messagesSent++;
    const { chunk, used } = this.output;
    this.output.used = encodeAcknowledgement(chunk, used, type, packetIdentifier, reasonCode, this.version);
    this.becomeDirty();
  }

  setFull(isFull: boolean): void {
    if (!isFull) return this.gate.release('full');
    this.context.metrics.slowedDown++;
    this.gate.hold('full');
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
    this.gate.stop();
  }

  destroy(): void {
    this.socket.destroy();
  }

  becomeDirty(): void {
    if (this.isDirty) return;
    this.isDirty = true;
    this.context.turn.addDirty(this);
  }

  becomeReady(): void {
    if (this.isReady || this.isBlocked || this.phase !== 'connected') return;
    this.isReady = true;
    this.context.turn.addReady(this);
  }

  private receive(chunk: Buffer): void {
    const { context } = this;
    context.connections.readClock();
    this.lastReceivedAt = context.nowMs;
    context.metrics.bytesReceived += chunk.length;
    try {
      this.decoder.push(chunk);
    } catch (error) {
      this.failed(error);
    }
    if (this.pace !== undefined) this.keepPace(this.pace.take(this.published, chunk.length, context.nowMs));
    this.published = 0;
  }

  private keepPace(waitMs: number): void {
    if (waitMs === 0 || this.gate.has('paced')) return;
    this.context.metrics.slowedDown++;
    this.gate.hold('paced');
    this.context.broker.clock.schedule(waitMs, () => this.gate.release('paced'));
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
    log.debug({ client: this.clientIdentifier, reasonCode, from: this.transport.remoteAddress }, message);
    if (this.phase !== 'new') this.disconnect(reasonCode, message);
    else if (reasonCode === ReasonCode.unsupportedProtocolVersion) {
      // [MQTT-3.1.2-2]: a level from the future is answered in MQTT 5, any other in MQTT 3.1.1.
      this.version = (protocolLevel ?? 0) > 5 ? 5 : 4;
      this.refuse(reasonCode, message);
    } else if (this.decoder.version === 5) {
      this.version = 5;
      // [MQTT-3.2.2-8]: between the packets of an AUTH exchange it may be the fault of any packet.
      const isOfConnack = isReasonCodeOf(PacketType.connack, reasonCode);
      this.refuse(isOfConnack ? reasonCode : ReasonCode.protocolError, message);
    } else this.end(message);
  }

  /** Holds back the packets behind one that has to wait for the core. */
  private inOrder<T>(work: Promise<T>, proceed: (result: T) => void = () => {}): void {
    this.gate.holdFor(work, proceed, (error) => this.failed(error));
  }

  private async connect(packet: ConnectPacket): Promise<void> {
    const { certificateUser, certificateClientIdentifier } = this.transport;
    this.version = packet.protocolVersion;
    if (certificateClientIdentifier !== undefined && packet.clientIdentifier !== '') {
      packet.clientIdentifier = certificateClientIdentifier;
    }
    // [MQTT-3.2.2-19]: it holds for a CONNACK that refuses, too.
    this.packetBytesMax = packet.properties?.maximumPacketSizeBytes ?? Infinity;
    const refused = refusal(packet);
    if (refused !== undefined) return this.refuse(refused.reasonCode, refused.reason);
    const limit = this.transport.refusal?.();
    if (limit !== undefined) return this.refuse(ReasonCode[limit], 'the limit of connections is reached');
    this.connectPacket = packet;
    return this.loggedIn(await this.login.begin(packet, certificateUser));
  }

  private onAuth(packet: AuthPacket): void {
    if (!this.login.expects(packet)) return this.faulty('AUTH is not expected here, or not by this method');
    return this.inOrder(this.login.goOn(packet).then((step) => this.loggedIn(step)));
  }

  private loggedIn(step: LoginStep): Promise<void> | void {
    if (this.phase === 'closing' || this.phase === 'closed') return;
    if (step.kind === 'continue') return this.write(step.packet);
    const { connectPacket } = this;
    this.connectPacket = undefined;
    if (step.kind === 'refused') {
      if (connectPacket !== undefined) return this.refuse(step.reasonCode, step.reason);
      return this.disconnect(step.reasonCode, step.reason);
    }
    this.principal = step.principal;
    if (connectPacket !== undefined) return this.admit(connectPacket, step.properties);
    return this.write({ type: 'auth', reasonCode: ReasonCode.success, properties: step.properties! });
  }

  /** A protocol error, before or after CONNACK. */
  private faulty(reason: string): void {
    if (this.phase === 'new') this.refuse(ReasonCode.protocolError, reason);
    else this.disconnect(ReasonCode.protocolError, reason);
  }

  /** The client is who it says. */
  private async admit(packet: ConnectPacket, proof: Properties | undefined): Promise<void> {
    const { context, options } = this;
    const will = this.readWill(packet);
    if (typeof will === 'number') return this.refuse(will, 'the will cannot be published');
    const assigned = this.transport.certificateClientIdentifier ?? context.newClientIdentifier();
    const agreement = agree(packet, options, assigned);
    Object.assign(agreement.granted ?? {}, proof);
    return this.open(agreement, will);
  }

  /** Gets the client its session, and answers. */
  private async open(agreement: Agreement, will: Will | undefined): Promise<void> {
    const { context } = this;
    const { sessions, wills } = context.broker;
    const { clientIdentifier, isClean, sessionExpiryMs } = agreement;
    this.clientIdentifier = clientIdentifier;
    context.takeOver(this);
    let isPresent: boolean;
    try {
      const opened = await sessions.open(clientIdentifier, { isClean, expiryMs: sessionExpiryMs });
      this.core = opened.session;
      isPresent = opened.isPresent;
    } catch (error) {
      if (error instanceof BrokerError) return this.refuse(REASON_OF[error.code], error.message);
      throw error;
    }
    // Closed meanwhile. Where another connection of the client came, the session is with that one.
    if (this.phase !== 'new') return context.isTaken(clientIdentifier) ? undefined : sessions.detach(this.core);
    await wills.returned(clientIdentifier, { isPresent });
    if (this.phase !== 'new') return undefined;
    const packet = connack(agreement, isPresent);
    // Before there is a will, which would be published for a client that never came in.
    if (packetLength(packet, this.version) > this.packetBytesMax) {
      return this.refuse(ReasonCode.packetTooLarge, 'the answer is larger than the client takes');
    }
    if (will !== undefined) await wills.set(clientIdentifier, will, sessionExpiryMs);
    if (this.phase === 'new') this.begin(agreement, packet);
    return undefined;
  }

  private begin(agreement: Agreement, answer: ConnackPacket): void {
    const { context } = this;
    const session = MqttSession.of(this.core!);
    const outbound = new Outbound(context, this, session, agreement);
    const inbound = new Inbound(context, this, session, this.principal);
    const subscriptions = new Subscriptions(context, session, outbound, this.principal);
    this.connected = { agreement, session, inbound, outbound, subscriptions };
    // [MQTT-3.1.2-22]: one and a half keep alive periods.
    this.idleMsMax = agreement.keepAliveS * 1500;
    this.decoder.packetBytesMax = this.options.packetBytesMax;
    this.phase = 'connected';
    this.write(answer);
    subscriptions.resume();
    outbound.resume();
    inbound.named = outbound.matching.hasNoLocal;
  }

  /** The reason code where it cannot be published. */
  private readWill(packet: ConnectPacket): Will | number | undefined {
    const { will } = packet;
    if (will === undefined) return undefined;
    const { context } = this;
    const target = context.publishTarget(will.topicName, this.principal);
    if (target.refusal !== 0) return target.refusal;
    return willOf(packet, target.topic, willMessage(will, target.address, target.addition, context.nowMs));
  }

  private refuse(reasonCode: number, reason: string): void {
    this.context.metrics.connectionsRefused++;
    const packet: ConnackPacket = { type: 'connack', sessionPresent: false, reasonCode };
    if (this.version === 5) packet.properties = { reasonString: reason };
    this.write(packet);
    this.end(reason);
  }

  private onDisconnect({ reasonCode, properties }: DisconnectPacket): void {
    const { agreement, session } = this.connected!;
    const expiryS = properties?.sessionExpiryIntervalS;
    if (expiryS !== undefined) {
      if (agreement.sessionExpiryMs === 0 && expiryS > 0) {
        // [MQTT-3.14.2-2]
        return this.disconnect(ReasonCode.protocolError, 'a session that ends with its connection cannot be kept');
      }
      session.core.expiryMs = grantedExpiryMs(expiryS, this.options);
    }
    this.isFarewell = reasonCode === ReasonCode.normalDisconnection;
    this.end('client disconnected');
  }

  private write(packet: Packet): void {
    if (this.phase === 'closing' || this.phase === 'closed') return;
    let bytes = packetLength(packet, this.version);
    // [MQTT-3.14.2-3] and its like: properties that only explain are left out where the packet would be too large.
    if (bytes > this.packetBytesMax && 'properties' in packet && packet.type !== 'auth') {
      delete packet.properties;
      bytes = packetLength(packet, this.version);
    }
    if (bytes > this.packetBytesMax) return this.tooLarge(packet);
    this.output.reserve(bytes);
    this.context.metrics.messagesSent++;
    this.output.used = encodePacketInto(packet, this.version, this.output.chunk, this.output.used);
    this.becomeDirty();
  }

  /** [MQTT-3.1.2-24]: it is not sent; without an answer the client could not go on. */
  private tooLarge({ type }: Packet): void {
    const reason = `${type.toUpperCase()} would be larger than the client takes`;
    if (type === 'connack' || type === 'disconnect') this.end(reason);
    else if (this.phase === 'new') this.refuse(ReasonCode.packetTooLarge, reason);
    else this.disconnect(ReasonCode.packetTooLarge, reason);
  }

  private drained(): void {
    if (!this.isBlocked) return;
    this.isBlocked = false;
    if (this.connected?.outbound.hasReady === true) this.becomeReady();
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
    this.context.connections.remove(this);
  }

  private leave(): void {
    if (this.hasLeft) return;
    this.hasLeft = true;
    const { context, core, connected } = this;
    context.release(this);
    connected?.subscriptions.close();
    connected?.outbound.close();
    if (core === undefined) return;
    const { sessions, wills } = context.broker;
    const work: Promise<void>[] = [];
    if (this.isFarewell) work.push(wills.clear(core.clientId));
    else if (!context.isStopping) wills.connectionLost(core.clientId, core.expiryMs);
    work.push(sessions.detach(core));
    Promise.all(work).catch((error: unknown) => context.log.error({ err: error }, 'a session could not be kept'));
  }
}
