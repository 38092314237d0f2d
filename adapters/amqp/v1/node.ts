import type { AmqpError, AmqpMap, Attach, Coordinator, DeliveryState, Source, Target } from './codec/performatives.ts';
import type { Principal } from '../../../core/ports/authenticator.ts';

/**
 * The seam between the protocol engine (connection, session, link: frames, credit, windows, settlement) and what a link is
 * attached to. The engine calls nodes; nodes call the link they were given. Neither throws into the other: a fault of a
 * node's own is told by `detach`.
 */

/** What is known of the connection a link belongs to. */
export interface Peer {
  /** Unique in this process; who holds leases. */
  readonly owner: string;
  readonly containerId: string;
  readonly hostname: string | undefined;
  readonly principal: Principal;
  readonly remoteAddress: string;
}

/** One link, as a node sees it. */
export interface Link {
  readonly name: string;
  readonly peer: Peer;
  /** Identifies the session: transactions belong to one, and nodes that are to live until it ends. */
  readonly session: SessionScope;
  /** Ends the link with an error, `closed`. The node is told by `detached(false, ...)` before this returns. */
  detach(error: AmqpError): void;
}

/** What lives as long as a session. */
export interface SessionScope {
  /** Called once, when the session ends for whatever reason. */
  onEnd(listener: () => void): void;
  /** The same for the connection; `isClean` when the peer said good-bye with `close`. */
  onConnectionEnd(listener: (isClean: boolean) => void): void;
}

/** The client sends, we receive. */
export interface IncomingLink extends Link {
  /**
   * Answers an unsettled delivery; those of one turn go out in ranges, never merging different states. With
   * receiver-settle-mode `second` the engine waits for the sender to settle.
   */
  answer(deliveryId: number, state: DeliveryState): void;
  /** The client gets no more credit until `grantCredit`; what it has stays good. */
  withholdCredit(): void;
  grantCredit(): void;
}

/** What an attach with role sender leads to. */
export interface TargetNode {
  /** What our attach answers; the address is filled in for a dynamic one. Undefined: null. */
  readonly target: Target | Coordinator | undefined;
  readonly capabilities?: readonly string[];
  /** Of our attach: `paired`, ... */
  readonly properties?: AmqpMap;
  /** Bytes; 0: no limit. */
  readonly maxMessageSize: number;
  /** How much credit the client has at most. */
  readonly creditMax: number;
  /**
   * One whole message, the bytes [start, end) of `buffer`, which stay as they are. To be answered with `answer` unless
   * `settled`, also much later and in any order.
   * @param state what the sender says of it: a transaction
   */
  deliver(
    deliveryId: number,
    settled: boolean,
    messageFormat: number,
    buffer: Buffer,
    start: number,
    end: number,
    state: DeliveryState | undefined,
  ): void;
  /**
   * The link is gone. `closed`: the client ended it for good; else it was only detached, ended by us, or lost with its
   * session or connection.
   */
  detached(closed: boolean): void;
}

/** The client receives, we send. */
export interface OutgoingLink extends Link {
  /** How many messages may be sent now: credit, session window, and what the connection has not taken yet. */
  readonly room: number;
  /** Whether the client has no credit left; there may be credit and yet no room. */
  readonly isSpent: boolean;
  /** Whether the client wants every message settled as it is sent. */
  readonly isPresettled: boolean;
  /**
   * Sends one message, `head` (0 to headEnd, copied at once) followed by the bytes [start, end) of `buffer`, which must stay
   * as they are. Only while `room` > 0.
   * @param kept comes back with the outcome; not for a presettled link
   * @param tag the delivery tag; made by the engine where undefined
   * @returns false: it is larger than the client takes, which its outcome says, soon and also on a presettled link
   */
  send(
    kept: unknown,
    head: Buffer,
    headEnd: number,
    buffer: Buffer,
    start: number,
    end: number,
    messageFormat?: number,
    tag?: Buffer,
  ): boolean;
  /** The `kept` of what was sent and has no verdict yet, oldest first. */
  unsettled(): Iterable<unknown>;
  /** Asks for `pull` in this turn, where there is room. */
  ready(): void;
  /**
   * Nothing waits that there is room for. Where the client drains, the rest of its credit is given back, unless it is only room
   * that is missing: then the node is asked again when there is some.
   */
  drained(): void;
}

/** What an attach with role receiver leads to. */
export interface SourceNode {
  /** What our attach answers: the address filled in, only the filters that are honoured. Undefined: null. */
  readonly source: Source | undefined;
  readonly capabilities?: readonly string[];
  /** Of our attach: `paired`, ... */
  readonly properties?: AmqpMap;
  /** There is room: send what is at hand, ask for more. Called once a turn at most. */
  pull(): void;
  /**
   * The client wants what is there now, and its credit back: answered by `drained`, soon. Without it `pull` is called, of a node
   * that says `drained` whenever it has sent all there is.
   */
  drain?(): void;
  /** How many messages wait at the source, without what is out: a hint, for a client that asks. */
  available(): number | Promise<number>;
  /**
   * The client's verdict on one message, each once; `undefined` when it settled without saying one (the source's default
   * outcome counts then).
   * @returns why the client cannot have that, where the message has come to something else; it is told so
   */
  outcome(kept: unknown, state: DeliveryState | undefined): AmqpError | void;
  /**
   * The link is gone; `unsettled` is what had no verdict, oldest first. `closed`: the client ended it for good. `isClean` when the client
   * ended link, session or connection by the protocol, so that these deliveries need not count as failed.
   */
  detached(closed: boolean, isClean: boolean, unsettled: readonly unknown[]): void;
}

/** What can be attached to. Both reject with `LinkError` for what cannot be. */
export interface Nodes {
  /** Goes on with what earlier runs left. */
  start(): void;
  /** No link is left: nothing happens by itself any more. */
  stop(): void;
  openTarget(attach: Attach, link: IncomingLink): Promise<TargetNode>;
  openSource(attach: Attach, link: OutgoingLink): Promise<SourceNode>;
  /** Calls back when every outcome told so far has taken effect for good, or came too late to have any. */
  whenSettled(done: () => void): void;
}

/** Why a link, a session or a connection ends: what the peer is told. */
export class LinkError extends Error {
  readonly condition: string;
  readonly error: AmqpError;

  constructor(condition: string, description: string, info?: AmqpError['info']) {
    super(description);
    this.name = 'LinkError';
    this.condition = condition;
    this.error = { condition, description, info };
  }
}
