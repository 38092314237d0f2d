import { Output } from '../../connection/output.ts';
import { ReadGate } from '../../connection/read-gate.ts';
import type { ByteStream } from '../../connection/transport.ts';
import type { Dirty } from '../../connection/turn.ts';
import type { AmqpContext } from './amqp-context.ts';
import { CodecError } from './codec/codec-error.ts';
import { FrameDecoder, type FrameHandler } from './codec/frame-decoder.ts';
import type { DispositionFrame, FlowFrame, TransferFrame } from './codec/hot-frames.ts';
import type { RarePerformative } from './codec/performative-reader.ts';
import type { AmqpError, Begin, Open, SaslPerformative } from './codec/performatives.ts';
import type { HeaderProtocol } from './codec/protocol-header.ts';
import { Condition } from './condition.ts';
import { Entrance, type EntranceHost } from './entrance.ts';
import { FrameSink } from './frame-sink.ts';
import { faultOf, openFor, SOLE_CONNECTION } from './negotiation.ts';
import type { Peer } from './node.ts';
import type { AmqpOptions } from './options.ts';
import { Session } from './session.ts';
import { lowestFree } from './state/lowest-free.ts';
import type { AmqpTransport } from './transport.ts';

/** How long a peer may take to answer our close, and to close its side of the stream. */
const LINGER_MS = 5_000;
/** How long before it is due at the latest a heartbeat is sent: connections are looked at that often. */
export const IDLE_SCAN_MS = 250;

/** Why nothing is read from a client for now: it does not take what is sent to it. */
type HoldReason = 'blocked';

/** `closing`: we have closed, and wait for the peer to do so. */
type Phase = 'entering' | 'open' | 'closing' | 'closed';

/** One AMQP client: owns its stream, knows who it is, and leads frames to their sessions. */
export class Connection implements FrameHandler, EntranceHost, Dirty {
  readonly context: AmqpContext;
  readonly options: AmqpOptions;
  readonly writer: FrameSink;
  private readonly transport: AmqpTransport;
  private readonly stream: ByteStream;
  private readonly output: Output;
  private readonly gate: ReadGate<HoldReason>;
  private readonly decoder: FrameDecoder;
  private readonly entrance: Entrance;
  private phase: Phase = 'entering';
  private known: Peer | undefined;
  /** By the peer's channel. */
  private readonly sessions = new Map<number, Session>();
  /** By ours. */
  private readonly channels: (Session | undefined)[] = [];
  private remoteChannelMax = 0;
  /** Bytes of messages that have begun and not ended. */
  private assemblyBytes = 0;
  private dirtySessions: Session[] = [];
  private isDirty = false;
  /** The stream has not taken what it was given. */
  private isBlocked = false;
  /** How much it had not taken when it was looked at last. */
  private blockedBytes = 0;
  /** Nothing more is taken in or sent out. */
  private isStopping = false;
  /** Somebody found no room in the output. */
  private isStarved = false;
  /** 0: the peer sets no limit. */
  private heartbeatMs = 0;
  private lastSentAt: number;
  private readonly acceptedAt: number;
  /** When the last whole frame came. */
  private lastFrameAt: number;
  /** The connection is destroyed at this time. */
  private lingerUntil = Infinity;
  /** Its container id, where it is to have no other connection. */
  private soleContainer: string | undefined;

  constructor(context: AmqpContext, transport: AmqpTransport) {
    const { stream, options = context.options } = transport;
    this.context = context;
    this.transport = transport;
    this.stream = stream;
    this.options = options;
    this.output = new Output(stream);
    this.writer = new FrameSink(this.output);
    this.decoder = new FrameDecoder(this, { frameBytesMax: options.maxFrameSizeBytes });
    this.gate = new ReadGate(stream, this.decoder);
    this.entrance = new Entrance(this, transport, this.writer, this.decoder);
    this.lastSentAt = context.nowMs;
    this.lastFrameAt = context.nowMs;
    this.acceptedAt = context.nowMs;
    this.listen();
  }

  get peer(): Peer {
    return this.known!;
  }

  /** Whether more may be written for now. Whoever hears that not, is woken when it may. */
  get hasRoom(): boolean {
    if (!this.isBlocked && !this.isStopping && !this.output.isOver(this.options.outputBytesMax)) return true;
    this.isStarved = true;
    return false;
  }

  onProtocolHeader(protocol: HeaderProtocol): void {
    this.lastFrameAt = this.context.nowMs;
    this.entrance.onProtocolHeader(protocol);
  }

  onSasl(performative: SaslPerformative): void {
    this.lastFrameAt = this.context.nowMs;
    this.entrance.onSasl(performative);
  }

  onPerformative(channel: number, performative: RarePerformative): void {
    this.lastFrameAt = this.context.nowMs;
    if (performative.kind === 'open') return this.onOpen(performative);
    if (this.phase !== 'open') return this.tooEarly();
    switch (performative.kind) {
      case 'begin':
        return this.onBegin(channel, performative);
      case 'attach':
        return this.sessionAt(channel)?.onAttach(performative);
      case 'detach':
        return this.sessionAt(channel)?.onDetach(performative);
      case 'end':
        return this.onEnd(channel);
      case 'close':
        this.settleSessions();
        this.leave(true);
        this.writer.performative(0, { kind: 'close' });
        return this.end('the client closed');
    }
  }

  onTransfer(channel: number, transfer: TransferFrame): void {
    this.lastFrameAt = this.context.nowMs;
    this.sessionAt(channel)?.onTransfer(transfer);
  }

  onDisposition(channel: number, disposition: DispositionFrame): void {
    this.lastFrameAt = this.context.nowMs;
    this.sessionAt(channel)?.onDisposition(disposition);
  }

  onFlow(channel: number, flow: FlowFrame): void {
    this.lastFrameAt = this.context.nowMs;
    this.sessionAt(channel)?.onFlow(flow);
  }

  onEmptyFrame(): void {
    this.lastFrameAt = this.context.nowMs;
  }

  /** Ends the connection because of what the peer did, or for the gateway's own reasons; the peer is told. */
  fail(condition: string, description: string, info?: AmqpError['info']): void {
    if (this.isOver) return;
    // AMQP 2.4.3: nothing comes before open, close neither.
    const { isThrough } = this.entrance;
    if (this.phase === 'entering' && isThrough) {
      this.writer.performative(0, openFor(this.options, this.context.version, true));
    }
    this.settleSessions();
    this.leave(false);
    if (isThrough) {
      this.writer.performative(0, { kind: 'close', error: { condition, description, info } });
    }
    this.end(description);
  }

  /** Holds back what comes behind a step of the login. */
  holdFor<T>(work: Promise<T>, proceed: (result: T) => void): void {
    this.gate.holdFor(
      work,
      (result) => {
        if (!this.isOver) proceed(result);
      },
      (error) => this.failed(error),
    );
  }

  /** Sends what is left, closes our side, and waits a little for the peer to close its own. */
  end(reason: string): void {
    // What was decided in this turn is still said; a fault of that ends the connection, too.
    if (!this.isOver) this.settleSessions();
    if (this.isOver) return;
    this.context.log.debug({ client: this.name, reason }, 'AMQP connection ends');
    this.phase = 'closing';
    this.lingerUntil = this.context.broker.clock.now() + LINGER_MS;
    this.decoder.close();
    this.leave(false);
    this.output.flush();
    this.stream.resume();
    this.stream.end();
  }

  /** Looked at every `IDLE_SCAN_MS`: ends what has been silent for too long, and tells the peer that we are there. */
  checkIdle(nowMs: number): void {
    const { connectTimeoutMs, idleTimeoutMs } = this.options;
    if (this.phase === 'closing') {
      if (nowMs > this.lingerUntil) this.stream.destroy();
      return;
    }
    if (this.phase !== 'open') {
      if (nowMs - this.acceptedAt > connectTimeoutMs)
        this.fail(Condition.resourceLimitExceeded, 'open did not come in time');
      return;
    }
    if (this.isHeard()) this.lastFrameAt = nowMs;
    if (idleTimeoutMs > 0 && nowMs - this.lastFrameAt > idleTimeoutMs) {
      return this.fail(Condition.resourceLimitExceeded, `nothing was received for ${idleTimeoutMs} ms`);
    }
    if (this.heartbeatMs > 0 && !this.isBlocked && nowMs - this.lastSentAt >= this.heartbeatMs - IDLE_SCAN_MS) {
      this.writer.empty();
      this.becomeDirty();
    }
  }

  /** Takes nothing more in; what was taken in is still answered. */
  stopReading(): void {
    this.isStopping = true;
    this.gate.stop();
  }

  destroy(): void {
    this.stream.destroy();
  }

  addDirty(session: Session): void {
    this.dirtySessions.push(session);
    this.becomeDirty();
  }

  becomeDirty(): void {
    if (this.isDirty) return;
    this.isDirty = true;
    this.context.turn.addDirty(this);
  }

  flush(): void {
    this.settleSessions();
    this.isDirty = false;
    if (this.isOver) return;
    this.output.flush();
    this.lastSentAt = this.context.nowMs;
    const waiting = this.stream.writableLength;
    if (waiting > this.options.outputBytesMax) {
      this.isBlocked = true;
      this.blockedBytes = waiting;
      this.gate.hold('blocked');
    } else if (this.isStarved) this.wake();
  }

  /** @returns whether there is room for so many more bytes of messages that have begun; they count in any case */
  takeAssemblyBytes(bytes: number): boolean {
    this.assemblyBytes += bytes;
    return this.assemblyBytes <= this.options.assemblyBytesMax;
  }

  private listen(): void {
    const { stream } = this;
    stream.on('data', (chunk) => this.receive(chunk));
    stream.on('drain', () => this.drained());
    stream.on('end', () => this.end('the client closed its side'));
    stream.on('error', (err) => this.context.log.debug({ err, client: this.name }, 'AMQP socket error'));
    stream.on('close', () => this.closed());
  }

  private receive(chunk: Buffer): void {
    this.context.connections.readClock();
    try {
      this.decoder.push(chunk);
    } catch (error) {
      this.failed(error);
    }
  }

  /** Bytes that are no AMQP, or an error of our own: only this connection ends. */
  private failed(error: unknown): void {
    const { log } = this.context;
    if (error instanceof CodecError) {
      log.debug({ client: this.name, condition: error.condition, from: this.transport.remoteAddress }, error.message);
      return this.fail(error.condition, error.message);
    }
    log.error({ err: error, client: this.name }, 'AMQP connection failed');
    return this.fail(Condition.internalError, 'internal error');
  }

  private onOpen(open: Open): void {
    if (this.phase !== 'entering') return this.fail(Condition.illegalState, 'the connection is open already');
    const { options, context, transport } = this;
    const fault = faultOf(open, context.soleContainers) ?? this.refusal();
    if (fault !== undefined) return this.fail(fault.condition, fault.description!, fault.info);
    if (open.desiredCapabilities.includes(SOLE_CONNECTION)) {
      context.soleContainers.add((this.soleContainer = open.containerId));
    }
    this.known = {
      owner: context.newOwner(),
      containerId: open.containerId,
      hostname: open.hostname,
      principal: this.entrance.principal!,
      remoteAddress: transport.remoteAddress,
    };
    this.phase = 'open';
    this.remoteChannelMax = open.channelMax;
    this.heartbeatMs = (open.idleTimeOutMs ?? 0) / 2;
    this.writer.frameBytesMax = Math.min(open.maxFrameSize, options.maxFrameSizeBytes);
    this.writer.performative(0, openFor(options, context.version, false));
    return this.becomeDirty();
  }

  private refusal(): AmqpError | undefined {
    if (this.transport.refusal?.() === undefined) return undefined;
    return { condition: Condition.resourceLimitExceeded, description: 'the limit of connections is reached' };
  }

  private onBegin(channel: number, begin: Begin): void {
    const { channelMax } = this.options;
    if (channel > channelMax) {
      // AMQP 2.7.1
      return this.fail(Condition.framingError, `channel ${channel} is above ${channelMax}`);
    }
    if (begin.remoteChannel !== undefined) return this.fail(Condition.notAllowed, 'there is no session to be answered');
    if (this.sessions.has(channel)) return this.fail(Condition.illegalState, `channel ${channel} has a session`);
    const ours = lowestFree(this.channels);
    if (ours > this.remoteChannelMax) {
      return this.fail(Condition.resourceLimitExceeded, 'the peer takes no further channel');
    }
    const session = new Session(this, ours, channel, begin);
    this.sessions.set(channel, session);
    this.channels[ours] = session;
    return undefined;
  }

  private onEnd(channel: number): void {
    const session = this.sessionAt(channel);
    if (session === undefined) return;
    session.onRemoteEnd();
    this.sessions.delete(channel);
    this.channels[session.channel] = undefined;
  }

  private sessionAt(channel: number): Session | undefined {
    const session = this.sessions.get(channel);
    if (session === undefined) {
      if (this.phase === 'entering') this.tooEarly();
      else this.fail(Condition.notAllowed, `channel ${channel} has no session`);
    }
    return session;
  }

  private tooEarly(): void {
    this.fail(Condition.illegalState, 'open has to come first');
  }

  private settleSessions(): void {
    const { dirtySessions } = this;
    if (dirtySessions.length === 0) return;
    this.dirtySessions = [];
    try {
      for (const session of dirtySessions) session.settleTurn();
    } catch (error) {
      // A node has said what cannot be written.
      this.failed(error);
    }
  }

  private drained(): void {
    if (!this.isBlocked) return;
    this.isBlocked = false;
    this.gate.release('blocked');
    if (this.isStarved) this.wake();
  }

  private wake(): void {
    this.isStarved = false;
    for (const session of this.sessions.values()) session.wake();
  }

  /** Whether the peer cannot be blamed for its silence: it is not read. One that takes nothing at all is silent. */
  private isHeard(): boolean {
    if (!this.gate.isHeld) return false;
    if (!this.isBlocked) return true;
    const waiting = this.stream.writableLength;
    const takes = waiting !== this.blockedBytes;
    this.blockedBytes = waiting;
    return takes;
  }

  private closed(): void {
    this.phase = 'closed';
    this.decoder.close();
    this.leave(false);
    this.context.connections.remove(this);
  }

  private leave(isClean: boolean): void {
    if (this.soleContainer !== undefined) this.context.soleContainers.delete(this.soleContainer);
    this.soleContainer = undefined;
    for (const session of this.sessions.values()) session.lost(isClean);
    this.sessions.clear();
  }

  private get isOver(): boolean {
    return this.phase === 'closing' || this.phase === 'closed';
  }

  private get name(): string {
    return this.known?.containerId ?? '';
  }
}
