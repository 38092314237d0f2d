import type { Ready } from '../../connection/turn.ts';
import type { FlowFrame } from './codec/hot-frames.ts';
import { SenderSettleMode, type Attach, type DeliveryState, type Rejected } from './codec/performatives.ts';
import { Condition } from './condition.ts';
import { LinkEndpoint } from './link-endpoint.ts';
import type { OutgoingLink, SourceNode } from './node.ts';
import type { Session } from './session.ts';
import { OutgoingCredit } from './state/outgoing-credit.ts';
import type { DeliveryOwner } from './state/unsettled.ts';

const TOO_LARGE: Rejected = {
  kind: 'rejected',
  error: { condition: Condition.messageSizeExceeded, description: 'the receiver takes no message of this size' },
};

/** A link on which the client receives. */
export class OutgoingEndpoint extends LinkEndpoint implements OutgoingLink, DeliveryOwner, Ready {
  readonly isPresettled: boolean;
  protected readonly initialDeliveryCount = 0;
  private node: SourceNode | undefined;
  private readonly credit = new OutgoingCredit();
  /** The client's; 0: no limit. */
  private readonly messageBytesMax: number;
  private isReady = false;
  /** The node knows of the drain and will answer. */
  private isDrainTold = false;
  /** Asked for while there was no answer to the attach, or to an earlier echo. */
  private isEchoDue = false;
  /** The node is counting what waits, for the answer to an echo. */
  private isCounting = false;
  /** Messages without a verdict; the session keeps them. */
  private unsettledCount = 0;
  /** What could not be sent: its verdict is told when the node is not in the middle of something. */
  private refusedOnes: unknown[] | undefined;

  constructor(session: Session, attach: Attach) {
    super(session, attach);
    this.isPresettled = attach.senderSettleMode === SenderSettleMode.settled;
    this.messageBytesMax = attach.maxMessageSize;
  }

  get room(): number {
    const { credit } = this.credit;
    if (credit === 0 || this.phase !== 'attached') return 0;
    const { room } = this.session;
    return credit < room ? credit : room;
  }

  get isSpent(): boolean {
    return this.credit.credit === 0;
  }

  open(): void {
    this.openNode()
      .then(
        (node) => this.opened(node),
        (error: unknown) => this.refused(error),
      )
      .catch((error: unknown) => this.unanswerable(error));
  }

  onTransfer(): void {
    this.detach({ condition: Condition.notAllowed, description: 'the client is the receiver of this link' });
  }

  send(
    kept: unknown,
    head: Buffer,
    headEnd: number,
    buffer: Buffer,
    start: number,
    end: number,
    messageFormat = 0,
    tag?: Buffer,
  ): boolean {
    const isTooLarge = this.messageBytesMax > 0 && headEnd + end - start > this.messageBytesMax;
    if (isTooLarge || this.phase !== 'attached') {
      this.refuse(kept);
      return false;
    }
    this.credit.sent();
    if (!this.isPresettled) this.unsettledCount++;
    this.session.deliveries.send(this, kept, head, headEnd, buffer, start, end, messageFormat, tag);
    return true;
  }

  unsettled(): Iterable<unknown> {
    return this.unsettledCount === 0 ? [] : this.session.deliveries.unsettled.of(this, this.unsettledCount);
  }

  ready(): void {
    if (this.isReady || this.credit.credit === 0 || this.phase !== 'attached') return;
    this.isReady = true;
    this.session.context.turn.addReady(this);
  }

  pull(): void {
    this.isReady = false;
    if (this.phase !== 'attached') return;
    const { refusedOnes } = this;
    this.refusedOnes = undefined;
    try {
      if (refusedOnes !== undefined) for (const kept of refusedOnes) this.node!.outcome(kept, TOO_LARGE);
      if (this.room === 0) return;
      if (this.credit.isDraining && !this.isDrainTold) this.drain();
      else this.node!.pull();
    } catch (error) {
      this.failed(error);
    }
  }

  drained(): void {
    this.isDrainTold = false;
    if (!this.credit.isDraining || this.phase !== 'attached') return;
    const { credit } = this.credit;
    // For want of room more may wait: whoever is woken by room is told of the drain again.
    if (credit > 0 && this.room <= 0) return;
    this.credit.drained();
    // Where credit is left, nothing waits.
    if (credit > 0) this.writeFlow(true, 0);
    else this.report(true);
  }

  /** The client's verdict on one message. */
  settled(kept: unknown, state: DeliveryState | undefined, id: number): void {
    this.unsettledCount--;
    try {
      const error = this.node!.outcome(kept, state);
      if (error !== undefined) this.session.contradict(this, id, error);
    } catch (error) {
      this.failed(error);
    }
  }

  settleTurn(): void {}

  protected onLinkFlow(flow: FlowFrame): void {
    if (flow.isTransactional) {
      const description = 'messages are not acquired in a transaction: only their outcomes are part of one';
      this.detach({ condition: Condition.notImplemented, description });
      return;
    }
    this.credit.onFlow(flow);
    if (this.phase === 'attached') this.serve(flow.echo);
    else this.isEchoDue ||= flow.echo;
  }

  protected onAttached(): void {
    this.serve(this.isEchoDue);
  }

  protected left(closed: boolean, isClean: boolean): void {
    const { session } = this;
    const unsettled = this.unsettledCount > 0 ? session.deliveries.unsettled.takeOf(this) : [];
    this.unsettledCount = 0;
    if (this.refusedOnes !== undefined) unsettled.push(...this.refusedOnes);
    this.refusedOnes = undefined;
    try {
      this.node?.detached(closed, isClean, unsettled);
    } catch (error) {
      session.logFailure(error, this.name);
    }
  }

  private async openNode(): Promise<SourceNode> {
    return this.session.nodes.openSource(this.attach, this);
  }

  private opened(node: SourceNode): void {
    this.node = node;
    if (this.phase === 'gone') return this.left(false, true);
    this.attached({
      source: node.source,
      target: this.attach.target,
      capabilities: node.capabilities,
      properties: node.properties,
      maxMessageSize: 0,
    });
  }

  /** There is other credit than before. */
  private serve(isEchoed: boolean): void {
    const { credit, isDraining } = this.credit;
    // AMQP 2.6.7: a drain is answered in any case; without credit there is nothing to give back.
    if (isDraining && credit === 0) this.drained();
    else if (isEchoed) this.report(false);
    if (!this.credit.isDraining) this.isDrainTold = false;
    // Where there is credit and no room yet, what is there can still be sent when there is: so the drain waits, too.
    else if (!this.isDrainTold && this.room > 0) this.drain();
    this.ready();
  }

  /**
   * AMQP 2.7.4: says how it is and how many messages wait, to a client that asks. All that ask while these are counted get one
   * more answer; a drain does not wait for that.
   */
  private report(isDrained: boolean): void {
    if (this.isCounting) {
      if (isDrained) this.writeFlow(true, undefined);
      else this.isEchoDue = true;
      return;
    }
    let available: number | Promise<number> | undefined;
    try {
      available = this.node!.available();
    } catch (error) {
      this.session.logFailure(error, this.name);
    }
    if (typeof available === 'object') void this.reportCounted(available, isDrained);
    else this.writeFlow(isDrained || this.credit.isDraining, available);
  }

  private async reportCounted(counting: Promise<number>, isDrained: boolean): Promise<void> {
    this.isCounting = true;
    this.isEchoDue = false;
    let available: number | undefined;
    try {
      available = await counting;
    } catch (error) {
      // It is no more than a hint.
      this.session.logFailure(error, this.name);
    }
    this.isCounting = false;
    if (this.phase !== 'attached') return;
    this.writeFlow(isDrained || this.credit.isDraining, available);
    if (this.isEchoDue) this.report(false);
  }

  private drain(): void {
    this.isDrainTold = true;
    try {
      const node = this.node!;
      if (node.drain === undefined) node.pull();
      else node.drain();
    } catch (error) {
      this.failed(error);
    }
  }

  private refuse(kept: unknown): void {
    if (this.phase !== 'attached') {
      // The node was told that the link is gone, and what it had not settled; this one came too late for that.
      return this.session.logFailure(new Error('a message was sent on a link that is gone'), this.name);
    }
    (this.refusedOnes ??= []).push(kept);
    this.session.context.turn.addReady(this);
  }

  private writeFlow(drain: boolean, available: number | undefined): void {
    const { credit, deliveryCount } = this.credit;
    const { handle } = this;
    this.session.writeFlow({ handle, deliveryCount, linkCredit: credit, available, drain });
  }
}
