import type { FlowFrame, TransferFrame } from './codec/hot-frames.ts';
import { ReceiverSettleMode, type Attach, type DeliveryState } from './codec/performatives.ts';
import { Condition } from './condition.ts';
import { LinkEndpoint } from './link-endpoint.ts';
import type { IncomingLink, TargetNode } from './node.ts';
import type { Session } from './session.ts';
import { Assembly } from './state/assembly.ts';
import { IncomingCredit } from './state/incoming-credit.ts';

/** A link on which the client sends. */
export class IncomingEndpoint extends LinkEndpoint implements IncomingLink {
  protected readonly initialDeliveryCount = undefined;
  private node: TargetNode | undefined;
  private readonly credit: IncomingCredit;
  private messageBytesMax: number;
  /** The delivery of which more is to come. */
  private assembly: Assembly | undefined;
  /** With receiver-settle-mode `second` the sender settles, when it has heard our answer. */
  private readonly isAnswerFinal: boolean;
  /** Deliveries of which the sender has said that our answer settles them, on a link where that is otherwise not so. */
  private settledFirst: Set<number> | undefined;
  private isTouched = false;

  constructor(session: Session, attach: Attach) {
    super(session, attach);
    this.credit = new IncomingCredit(attach.initialDeliveryCount ?? 0);
    this.isAnswerFinal = attach.receiverSettleMode === ReceiverSettleMode.first;
    this.messageBytesMax = session.options.maxMessageBytes;
  }

  open(): void {
    this.openNode()
      .then(
        (node) => this.opened(node),
        (error: unknown) => this.refused(error),
      )
      .catch((error: unknown) => this.unanswerable(error));
  }

  onTransfer(transfer: TransferFrame): void {
    // Nobody has credit on a link that is not attached yet.
    if (this.phase === 'opening') this.overCredit();
    if (this.phase !== 'attached') return;
    if (this.assembly !== undefined) this.goOn(this.assembly, transfer);
    else this.begin(transfer);
  }

  answer(deliveryId: number, state: DeliveryState): void {
    // Answers that come late, or for what was settled already, change nothing.
    if (this.phase !== 'attached' || this.credit.unanswered === 0) return;
    const isFinal = this.isAnswerFinal || this.settledFirst?.delete(deliveryId) === true;
    this.session.answer(deliveryId, isFinal, state);
    this.credit.answered();
    this.session.context.deliveriesDone(1);
    if (this.credit.isGrantDue) this.touch();
  }

  withholdCredit(): void {
    this.credit.withhold();
  }

  grantCredit(): void {
    this.credit.resume();
    if (this.phase === 'attached' && this.credit.isGrantDue) this.touch();
  }

  settleTurn(): void {
    this.isTouched = false;
    if (this.phase === 'attached' && this.credit.isGrantDue) this.writeFlow();
  }

  protected onLinkFlow({ deliveryCount, echo }: FlowFrame): void {
    if (deliveryCount >= 0) this.credit.onDeliveryCount(deliveryCount);
    if (this.phase !== 'attached') return;
    if (echo) this.writeFlow();
    else if (this.credit.isGrantDue) this.touch();
  }

  protected onAttached(): void {
    if (this.credit.isGrantDue) this.touch();
  }

  protected left(closed: boolean): void {
    this.dropAssembly();
    this.session.context.deliveriesDone(this.credit.unanswered);
    try {
      this.node?.detached(closed);
    } catch (error) {
      this.session.logFailure(error, this.name);
    }
  }

  private async openNode(): Promise<TargetNode> {
    return this.session.nodes.openTarget(this.attach, this);
  }

  private opened(node: TargetNode): void {
    this.node = node;
    if (this.phase === 'gone') return this.left(false);
    const { maxMessageBytes } = this.session.options;
    this.messageBytesMax = node.maxMessageSize === 0 ? maxMessageBytes : Math.min(node.maxMessageSize, maxMessageBytes);
    this.credit.open(node.creditMax);
    this.attached({
      source: this.attach.source,
      target: node.target,
      capabilities: node.capabilities,
      properties: node.properties,
      maxMessageSize: this.messageBytesMax,
    });
  }

  private begin(transfer: TransferFrame): void {
    const { deliveryId, payloadStart, payloadEnd } = transfer;
    if (deliveryId < 0 || !this.session.isNextDelivery(deliveryId)) {
      return this.session.fail(Condition.invalidField, 'a delivery does not begin with an id of its own');
    }
    if (transfer.resume) return this.fault(Condition.notImplemented, 'deliveries are not resumed');
    if (this.credit.credit === 0) return this.overCredit();
    if (transfer.aborted) return this.aborted();
    if (payloadEnd - payloadStart > this.messageBytesMax) return this.tooLarge();
    if (transfer.more) {
      this.assembly = new Assembly(transfer);
      if (!this.session.connection.takeAssemblyBytes(this.assembly.bytes.length)) return this.overAssembly();
      return this.add(this.assembly, transfer);
    }
    const { settled, messageFormat, buffer, state, receiverSettleMode } = transfer;
    if (!this.takesMode(deliveryId, settled, receiverSettleMode)) return undefined;
    return this.deliver(deliveryId, settled, Math.max(0, messageFormat), buffer, payloadStart, payloadEnd, state);
  }

  private goOn(assembly: Assembly, transfer: TransferFrame): void {
    const { deliveryId, payloadStart, payloadEnd } = transfer;
    if (deliveryId >= 0 && deliveryId !== assembly.deliveryId) {
      return this.fault(Condition.notAllowed, `delivery ${assembly.deliveryId} has not ended`);
    }
    if (transfer.aborted) return this.aborted();
    if (assembly.length + payloadEnd - payloadStart > this.messageBytesMax) return this.tooLarge();
    this.add(assembly, transfer);
    if (transfer.more || this.assembly === undefined) return undefined;
    this.dropAssembly();
    const { isSettled, messageFormat, bytes, length, state, receiverSettleMode } = assembly;
    if (!this.takesMode(assembly.deliveryId, isSettled, receiverSettleMode)) return undefined;
    return this.deliver(assembly.deliveryId, isSettled, messageFormat, bytes, 0, length, state);
  }

  private add(assembly: Assembly, transfer: TransferFrame): void {
    const before = assembly.bytes.length;
    assembly.add(transfer);
    if (!this.session.connection.takeAssemblyBytes(assembly.bytes.length - before)) this.overAssembly();
  }

  private deliver(
    deliveryId: number,
    settled: boolean,
    messageFormat: number,
    buffer: Buffer,
    start: number,
    end: number,
    state: DeliveryState | undefined,
  ): void {
    this.credit.received();
    if (settled) this.credit.answered();
    else this.session.context.deliveryTaken();
    try {
      this.node!.deliver(deliveryId, settled, messageFormat, buffer, start, end, state);
    } catch (error) {
      this.failed(error);
    }
    if (settled && this.credit.isGrantDue) this.touch();
  }

  /**
   * AMQP 2.7.5: on a link where the sender settles, a delivery may leave that to our answer, but not the other way round. For
   * one that is settled already it means nothing.
   * @param mode -1: as on the link
   * @returns false: the link has ended
   */
  private takesMode(deliveryId: number, settled: boolean, mode: ReceiverSettleMode | -1): boolean {
    if (mode < 0 || settled) return true;
    if (this.isAnswerFinal && mode === ReceiverSettleMode.second) {
      this.fault(Condition.invalidField, 'on this link the receiver settles first');
      return false;
    }
    if (!this.isAnswerFinal && mode === ReceiverSettleMode.first) (this.settledFirst ??= new Set()).add(deliveryId);
    return true;
  }

  /** AMQP 2.7.5: what has come of the delivery is forgotten, and it counts as settled. */
  private aborted(): void {
    this.dropAssembly();
    this.credit.received();
    this.credit.answered();
    if (this.credit.isGrantDue) this.touch();
  }

  private dropAssembly(): void {
    if (this.assembly === undefined) return;
    this.session.connection.takeAssemblyBytes(-this.assembly.bytes.length);
    this.assembly = undefined;
  }

  private overCredit(): void {
    this.fault(Condition.transferLimitExceeded, 'there is no credit for the delivery');
  }

  private overAssembly(): void {
    this.fault(Condition.resourceLimitExceeded, 'too many messages have begun and not ended');
  }

  private tooLarge(): void {
    this.fault(Condition.messageSizeExceeded, `a message has at most ${this.messageBytesMax} bytes`);
  }

  private fault(condition: string, description: string): void {
    this.detach({ condition, description });
  }

  /** Credit is due, to be told at the end of the turn. */
  private touch(): void {
    if (this.isTouched) return;
    this.isTouched = true;
    this.session.touch(this);
  }

  private writeFlow(): void {
    if (this.credit.isGrantDue) this.credit.grant();
    const { handle } = this;
    const { credit: linkCredit, deliveryCount } = this.credit;
    this.session.writeFlow({ handle, deliveryCount, linkCredit, available: undefined, drain: false });
  }
}
