import type { FlowFrame, TransferFrame } from './codec/hot-frames.ts';
import type { AmqpError, AmqpMap, Attach, Coordinator, Detach, Role, Source, Target } from './codec/performatives.ts';
import { Condition } from './condition.ts';
import { LinkError, type Link, type Peer } from './node.ts';
import type { Session } from './session.ts';

/**
 * `opening`: the node is being asked for; `attached`; `closing`: we have sent `detach`, and what the peer has sent before
 * it hears of it comes to nothing; `gone`.
 */
type Phase = 'opening' | 'attached' | 'closing' | 'gone';

/** What our attach says beyond what mirrors the peer's. */
export interface AttachAnswer {
  readonly source: Source | undefined;
  readonly target: Target | Coordinator | undefined;
  readonly capabilities?: readonly string[] | undefined;
  readonly properties?: AmqpMap | undefined;
  readonly maxMessageSize: number;
}

/**
 * Our end of a link: from the peer's attach over the answer, which comes when the node is there, to the last detach
 * (AMQP 2.6). What the peer sends behind its attach meanwhile is kept as what it amounts to.
 */
export abstract class LinkEndpoint implements Link {
  readonly name: string;
  readonly peer: Peer;
  readonly session: Session;
  /** Ours; -1 while there is none. */
  handle = -1;
  /** A link of the same name that waits until this one has been answered. */
  successor: LinkEndpoint | undefined;
  protected readonly attach: Attach;
  protected phase: Phase = 'opening';
  /** The peer's, while we were opening. */
  private earlyDetach: Detach | undefined;
  /** Why the link is to end as soon as it is answered. */
  private earlyFault: AmqpError | undefined;

  constructor(session: Session, attach: Attach) {
    this.session = session;
    this.attach = attach;
    this.name = attach.name;
    this.peer = session.peer;
  }

  /** A link is known by its name and who sends (AMQP 2.6.1). */
  get key(): string {
    return `${this.attach.role} ${this.name}`;
  }

  get isAttached(): boolean {
    return this.phase === 'attached';
  }

  get isOpening(): boolean {
    return this.phase === 'opening';
  }

  abstract open(): void;
  abstract onTransfer(transfer: TransferFrame): void;
  /** Writes what is due at the end of a turn. */
  abstract settleTurn(): void;
  protected abstract onLinkFlow(flow: FlowFrame): void;
  protected abstract onAttached(): void;
  /** Tells the node, if there is one. */
  protected abstract left(closed: boolean, isClean: boolean): void;
  protected abstract readonly initialDeliveryCount: number | undefined;

  onFlow(flow: FlowFrame): void {
    if (this.phase === 'attached' || this.phase === 'opening') this.onLinkFlow(flow);
  }

  /** The peer ends the link. */
  onDetach(detach: Detach): void {
    if (this.phase === 'opening') this.earlyDetach = detach;
    else if (this.phase === 'closing') this.phase = 'gone';
    else if (this.phase === 'attached') this.answerDetach(detach);
  }

  detach(error: AmqpError): void {
    this.end(error, false);
  }

  /** Another link of the same name has come; to the client that is no failure. */
  stolen(): void {
    this.end({ condition: Condition.stolen, description: 'another link of this name was attached' }, true);
  }

  /** The session is gone. */
  lost(isClean: boolean): void {
    const wasAttached = this.phase === 'attached';
    this.phase = 'gone';
    if (wasAttached) this.left(false, isClean);
  }

  /** What goes wrong in a node ends its link alone. */
  protected failed(error: unknown): void {
    this.session.logFailure(error, this.name);
    this.detach({ condition: Condition.internalError, description: 'internal error' });
  }

  /** The node is there. */
  protected attached(answer: AttachAnswer): void {
    this.writeAttach(answer);
    if (this.handle < 0) return this.left(false, true);
    this.phase = 'attached';
    const { earlyDetach, earlyFault } = this;
    if (earlyDetach !== undefined) this.answerDetach(earlyDetach);
    else if (earlyFault !== undefined) this.detach(earlyFault);
    else this.onAttached();
    this.answered();
  }

  /** AMQP 2.6.3: a refusal is an attach without what was asked for, and a detach that says why. */
  protected refused(error: unknown): void {
    if (this.phase !== 'opening') return;
    if (!(error instanceof LinkError)) this.session.logFailure(error, this.name);
    const { role, source, target } = this.attach;
    this.writeAttach({
      source: role === 'sender' ? source : undefined,
      target: role === 'sender' ? undefined : target,
      maxMessageSize: 0,
    });
    if (this.handle < 0) return;
    const reason =
      error instanceof LinkError ? error.error : { condition: Condition.internalError, description: 'internal error' };
    this.phase = this.earlyDetach === undefined ? 'closing' : 'gone';
    this.writeDetach({ kind: 'detach', handle: this.handle, closed: true, error: reason });
    this.answered();
  }

  /** The attach cannot be answered, which leaves the session in no state the peer could know. */
  protected unanswerable(error: unknown): void {
    this.session.logFailure(error, this.name);
    this.session.fail(Condition.internalError, 'internal error');
  }

  private end(error: AmqpError, isClean: boolean): void {
    if (this.phase === 'opening') this.earlyFault ??= error;
    if (this.phase !== 'attached') return;
    this.phase = 'closing';
    this.writeDetach({ kind: 'detach', handle: this.handle, closed: true, error });
    this.left(false, isClean);
  }

  private answerDetach({ closed }: Detach): void {
    this.phase = 'gone';
    this.writeDetach({ kind: 'detach', handle: this.handle, closed });
    this.left(closed, true);
  }

  private writeAttach({ source, target, capabilities, properties, maxMessageSize }: AttachAnswer): void {
    const { session } = this;
    const { role, senderSettleMode, receiverSettleMode } = this.attach;
    if (!session.takeHandle(this)) return;
    session.write({
      kind: 'attach',
      name: this.name,
      handle: this.handle,
      role: opposite(role),
      senderSettleMode,
      receiverSettleMode,
      source,
      target,
      initialDeliveryCount: this.initialDeliveryCount,
      maxMessageSize,
      offeredCapabilities: capabilities ?? [],
      desiredCapabilities: [],
      properties: properties ?? new Map(),
    });
  }

  private writeDetach(detach: Detach): void {
    // What was decided of deliveries comes first: the peer forgets them with the link.
    this.session.writeDispositions();
    this.session.write(detach);
    this.session.giveBackHandle(this);
  }

  private answered(): void {
    const { successor } = this;
    this.successor = undefined;
    successor?.open();
  }
}

function opposite(role: Role): Role {
  return role === 'sender' ? 'receiver' : 'sender';
}
