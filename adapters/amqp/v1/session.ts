import type { DispositionFrame, FlowFrame, TransferFrame } from './codec/hot-frames.ts';
import type { AmqpError, Attach, Begin, DeliveryState, Detach, Performative, Role } from './codec/performatives.ts';
import type { AmqpContext } from './amqp-context.ts';
import { Condition } from './condition.ts';
import type { Connection } from './connection.ts';
import { IncomingEndpoint } from './incoming-link.ts';
import type { LinkEndpoint } from './link-endpoint.ts';
import type { Nodes, Peer, SessionScope } from './node.ts';
import type { AmqpOptions } from './options.ts';
import { OutgoingDeliveries } from './outgoing-deliveries.ts';
import { OutgoingEndpoint } from './outgoing-link.ts';
import { DispositionBatch, type DispositionWriter } from './state/disposition-batch.ts';
import { lowestFree } from './state/lowest-free.ts';
import { after, distance } from './state/serial.ts';
import { SessionWindow } from './state/session-window.ts';

/** What we say of transfers we may send; the peer's incoming window is what counts. */
const OUTGOING_WINDOW = 0x7fff_ffff;

/** The fields of a flow that are of a link. */
interface LinkFlow {
  readonly handle: number;
  readonly deliveryCount: number;
  readonly linkCredit: number;
  readonly available: number | undefined;
  readonly drain: boolean;
}

interface Contradiction {
  readonly link: OutgoingEndpoint;
  readonly id: number;
  readonly error: AmqpError;
}

/** `ending`: we have sent `end`, and what the peer has sent before it hears of it comes to nothing. */
type Phase = 'open' | 'ending' | 'ended';

/** Our end of a session (AMQP 2.5): its links, its windows, and what is not settled. */
export class Session implements SessionScope {
  readonly connection: Connection;
  /** Ours. */
  readonly channel: number;
  private readonly remoteHandleMax: number;
  private readonly window: SessionWindow;
  private phase: Phase = 'open';
  /** By the peer's handle, until the peer has detached. */
  private readonly byHandle = new Map<number, LinkEndpoint>();
  /** By name and role, until we have detached. */
  private readonly byName = new Map<string, LinkEndpoint>();
  /** By our handle. */
  private readonly handles: (LinkEndpoint | undefined)[] = [];
  /** Of the delivery that began last; undefined before the first. */
  private lastDeliveryId: number | undefined;
  /** What links send. */
  readonly deliveries: OutgoingDeliveries;
  /** What we say of what we received. */
  private readonly answers = new DispositionBatch();
  /** What we say of what we sent: that it is settled. */
  private readonly settlements = new DispositionBatch();
  /** What the disposition being read says and the gateway does not do, in the order of the deliveries. */
  private contradictions: Contradiction[] | undefined;
  /** Some link found no room. */
  private isStarved = false;
  private firstToWake = 0;
  private isDirty = false;
  /** Links with something to say at the end of the turn. */
  private touched: LinkEndpoint[] = [];
  private readonly answerWriter: DispositionWriter;
  private readonly settlementWriter: DispositionWriter;
  private readonly endListeners: (() => void)[] = [];
  private readonly connectionEndListeners: ((isClean: boolean) => void)[] = [];

  constructor(connection: Connection, channel: number, remoteChannel: number, begin: Begin) {
    this.connection = connection;
    this.channel = channel;
    this.remoteHandleMax = begin.handleMax;
    this.window = new SessionWindow(this.options.sessionWindow);
    this.window.onBegin(begin);
    this.deliveries = new OutgoingDeliveries(connection, channel, this.window);
    this.answerWriter = this.dispositionWriter('receiver');
    this.settlementWriter = this.dispositionWriter('sender');
    this.write({
      kind: 'begin',
      remoteChannel,
      nextOutgoingId: this.window.nextOutgoingId,
      incomingWindow: this.window.incoming,
      outgoingWindow: OUTGOING_WINDOW,
      handleMax: this.options.handleMax,
      offeredCapabilities: [],
      desiredCapabilities: [],
      properties: new Map(),
    });
  }

  get context(): AmqpContext {
    return this.connection.context;
  }

  get options(): AmqpOptions {
    return this.connection.options;
  }

  get peer(): Peer {
    return this.connection.peer;
  }

  get nodes(): Nodes {
    return this.connection.context.nodes;
  }

  /** Messages that may be sent now, whatever the credit of a link. Whoever finds none is woken when there are some again. */
  get room(): number {
    const { room } = this.deliveries;
    if (room > 0 && this.connection.hasRoom) return room;
    this.isStarved = true;
    return 0;
  }

  onEnd(listener: () => void): void {
    this.endListeners.push(listener);
  }

  onConnectionEnd(listener: (isClean: boolean) => void): void {
    this.connectionEndListeners.push(listener);
  }

  onAttach(attach: Attach): void {
    if (this.phase !== 'open') return;
    const { handle, name } = attach;
    if (handle > this.options.handleMax) {
      // AMQP 2.7.2
      return this.connection.fail(Condition.framingError, `handle ${handle} is above ${this.options.handleMax}`);
    }
    if (this.byHandle.has(handle)) return this.fail(Condition.handleInUse, `handle ${handle} is in use`);
    const link = attach.role === 'sender' ? new IncomingEndpoint(this, attach) : new OutgoingEndpoint(this, attach);
    const before = this.byName.get(link.key);
    this.byName.set(link.key, link);
    this.byHandle.set(handle, link);
    this.context.log.debug({ client: this.peer.containerId, link: name, role: attach.role }, 'AMQP link attaches');
    before?.stolen();
    // The peer tells links of one name apart by the order of our answers.
    if (before?.isOpening === true) before.successor = link;
    else link.open();
  }

  onDetach(detach: Detach): void {
    if (this.phase !== 'open') return;
    const link = this.byHandle.get(detach.handle);
    if (link === undefined) return this.unattached(detach.handle);
    this.byHandle.delete(detach.handle);
    link.onDetach(detach);
  }

  onTransfer(transfer: TransferFrame): void {
    if (this.phase !== 'open') return;
    if (!this.window.onTransfer()) {
      return this.fail(Condition.windowViolation, 'there are more transfers than the window has room for');
    }
    if (this.window.isReplenishDue) this.becomeDirty();
    const link = this.byHandle.get(transfer.handle);
    if (link === undefined) this.unattached(transfer.handle);
    else link.onTransfer(transfer);
  }

  onFlow(flow: FlowFrame): void {
    if (this.phase !== 'open') return;
    this.window.onFlow(flow);
    this.deliveries.goOn();
    this.wake();
    if (flow.handle < 0) {
      if (flow.echo) this.writeFlow(undefined);
      return;
    }
    const link = this.byHandle.get(flow.handle);
    if (link === undefined) this.unattached(flow.handle);
    else link.onFlow(flow);
  }

  onDisposition({ role, first, last, settled, state }: DispositionFrame): void {
    // What the sender settles we have answered, or will, to nobody's harm.
    if (this.phase !== 'open' || role === 'sender') return;
    if (distance(first, last) < 0) return this.fail(Condition.invalidField, 'a disposition ends before it begins');
    if (!settled && !isTerminal(state)) return;
    // Nothing is said of what has not been sent yet.
    const { newestId } = this.deliveries;
    const sent = distance(first, newestId);
    if (sent < 0) return;
    const until = sent < distance(first, last) ? newestId : last;
    this.deliveries.unsettled.settle(first, until, state);
    // AMQP 2.6.12: the receiver waits to hear that we have settled, which is a promise.
    const { contradictions = NO_CONTRADICTIONS } = this;
    this.contradictions = undefined;
    if (!settled) this.nodes.whenSettled(() => this.confirm(first, until, state, contradictions));
    // Whoever has settled hears nothing more of the delivery.
    else for (const { link, error } of contradictions) link.detach(error);
    this.wake();
  }

  /** The outcome the client tells, in the disposition being read, is not what became of the delivery. */
  contradict(link: OutgoingEndpoint, id: number, error: AmqpError): void {
    (this.contradictions ??= []).push({ link, id, error });
  }

  private confirm(
    first: number,
    last: number,
    state: DeliveryState | undefined,
    contradictions: readonly Contradiction[],
  ): void {
    if (this.phase !== 'open') return;
    // With the receiver's own error in it, Azure's clients take the answer for a failure.
    const confirmed = state?.kind === 'rejected' ? REJECTED : state;
    let from = first;
    for (const { id, error } of contradictions) {
      if (distance(from, id) > 0) this.settlements.add(from, after(id, -1), true, confirmed);
      this.settlements.add(id, id, true, { kind: 'rejected', error });
      from = after(id);
    }
    if (distance(from, last) >= 0) this.settlements.add(from, last, true, confirmed);
    this.becomeDirty();
  }

  /** The peer ends the session. */
  onRemoteEnd(): void {
    if (this.phase === 'open') {
      this.writeDispositions();
      this.loseLinks(true);
      this.write({ kind: 'end' });
    }
    this.phase = 'ended';
  }

  /** Ends the session because of what the peer did. */
  fail(condition: string, description: string): void {
    if (this.phase !== 'open') return;
    this.context.log.debug({ client: this.peer.containerId, condition }, description);
    this.writeDispositions();
    this.phase = 'ending';
    this.loseLinks(false);
    this.write({ kind: 'end', error: { condition, description } });
  }

  /** The connection is gone. */
  lost(isClean: boolean): void {
    if (this.phase === 'open') this.loseLinks(isClean);
    this.phase = 'ended';
    for (const listener of this.connectionEndListeners.splice(0)) this.call(() => listener(isClean));
  }

  /** @returns whether the peer knows a handle for the link; else the session has ended */
  takeHandle(link: LinkEndpoint): boolean {
    const handle = lowestFree(this.handles);
    if (handle > this.remoteHandleMax) {
      this.fail(Condition.resourceLimitExceeded, 'the peer takes no further handle');
      return false;
    }
    this.handles[handle] = link;
    link.handle = handle;
    return true;
  }

  giveBackHandle(link: LinkEndpoint): void {
    this.handles[link.handle] = undefined;
    this.deliveries.forget(link.handle);
    if (this.byName.get(link.key) === link) this.byName.delete(link.key);
  }

  /** Whether the id is behind all that came, and notes it. */
  isNextDelivery(deliveryId: number): boolean {
    if (this.lastDeliveryId !== undefined && distance(this.lastDeliveryId, deliveryId) <= 0) return false;
    this.lastDeliveryId = deliveryId;
    return true;
  }

  answer(deliveryId: number, isFinal: boolean, state: DeliveryState): void {
    this.answers.add(deliveryId, deliveryId, isFinal, state);
    this.becomeDirty();
  }

  touch(link: LinkEndpoint): void {
    this.touched.push(link);
    this.becomeDirty();
  }

  becomeDirty(): void {
    if (this.isDirty) return;
    this.isDirty = true;
    this.connection.addDirty(this);
  }

  /** Lets links that found no room ask for messages again, each of them first in its turn. */
  wake(): void {
    if (!this.isStarved || this.phase !== 'open') return;
    this.isStarved = false;
    const { handles } = this;
    this.firstToWake = (this.firstToWake + 1) % Math.max(1, handles.length);
    for (let i = 0; i < handles.length; i++) {
      const link = handles[(this.firstToWake + i) % handles.length];
      if (link instanceof OutgoingEndpoint) link.ready();
    }
  }

  /** Writes what has come together in this turn. */
  settleTurn(): void {
    this.isDirty = false;
    if (this.phase !== 'open') return;
    this.writeDispositions();
    const { touched } = this;
    this.touched = [];
    for (const link of touched) link.settleTurn();
    if (this.window.isReplenishDue) this.writeFlow(undefined);
  }

  write(performative: Performative): void {
    this.connection.writer.performative(this.channel, performative);
    this.connection.becomeDirty();
  }

  writeDispositions(): void {
    if (!this.settlements.isEmpty) this.settlements.writeTo(this.settlementWriter);
    if (!this.answers.isEmpty) this.answers.writeTo(this.answerWriter);
  }

  writeFlow(link: LinkFlow | undefined): void {
    const { window } = this;
    window.replenish();
    this.connection.writer.flow(this.channel, {
      kind: 'flow',
      nextIncomingId: window.nextIncomingId,
      incomingWindow: window.incoming,
      nextOutgoingId: window.nextOutgoingId,
      outgoingWindow: OUTGOING_WINDOW,
      handle: link?.handle,
      deliveryCount: link?.deliveryCount,
      linkCredit: link?.linkCredit,
      available: link?.available,
      drain: link?.drain === true,
      echo: false,
    });
    this.connection.becomeDirty();
  }

  logFailure(error: unknown, link: string): void {
    this.context.log.error({ err: error, client: this.peer.containerId, link }, 'AMQP link failed');
  }

  private dispositionWriter(role: Role): DispositionWriter {
    const { connection, channel } = this;
    return {
      writeDisposition(first, last, settled, state) {
        connection.writer.disposition(channel, role, first, last, settled, state);
        connection.becomeDirty();
      },
    };
  }

  private unattached(handle: number): void {
    this.fail(Condition.unattachedHandle, `no link is attached at handle ${handle}`);
  }

  private loseLinks(isClean: boolean): void {
    const links = new Set([...this.byHandle.values(), ...this.byName.values()]);
    for (const link of links) link.lost(isClean);
    this.byHandle.clear();
    this.byName.clear();
    this.handles.length = 0;
    for (const listener of this.endListeners.splice(0)) this.call(listener);
  }

  private call(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.logFailure(error, '');
    }
  }
}

const REJECTED: DeliveryState = { kind: 'rejected' };
const NO_CONTRADICTIONS: readonly Contradiction[] = [];

function isTerminal(state: DeliveryState | undefined): boolean {
  return state !== undefined && state.kind !== 'received' && state.kind !== 'declared';
}
