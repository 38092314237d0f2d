import { CodecError } from '../codec/codec-error.ts';
import { Descriptor, descriptorOf } from '../codec/descriptors.ts';
import { ACCEPTED, type AmqpError, type Coordinator, type DeliveryState } from '../codec/performatives.ts';
import { NULL_VALUE } from '../codec/plain-values.ts';
import { readValue } from '../codec/reader.ts';
import { MessageSections, scanSections } from '../codec/sections.ts';
import type { IncomingLink, TargetNode } from '../node.ts';
import type { NodeContext } from './node-context.ts';

const CREDIT_MAX = 100;

type Request =
  { readonly kind: 'declare' } | { readonly kind: 'discharge'; readonly txnId: Buffer; readonly fail: boolean };

/** AMQP 4.1: where a client begins and ends its transactions. */
export class CoordinatorTarget implements TargetNode {
  readonly target: Coordinator = { kind: 'coordinator', capabilities: ['amqp:local-transactions'] };
  readonly maxMessageSize = 0;
  readonly creditMax = CREDIT_MAX;
  private readonly context: NodeContext;
  private readonly link: IncomingLink;
  private readonly declared = new Map<string, Buffer>();
  private isDetached = false;
  /** A client may send discharge and the next declare together; they are answered in order. */
  private answered: Promise<void> = Promise.resolve();

  constructor(context: NodeContext, link: IncomingLink) {
    this.context = context;
    this.link = link;
  }

  deliver(deliveryId: number, settled: boolean, _format: number, buffer: Buffer, start: number, end: number): void {
    // AMQP 4.3: the coordinator's messages are sent unsettled.
    if (settled) {
      this.link.detach({
        condition: 'amqp:not-allowed',
        description: 'what is sent to a coordinator has to be unsettled',
      });
      return;
    }
    let request: Request;
    try {
      request = readRequest(buffer, start, end);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      this.link.answer(deliveryId, {
        kind: 'rejected',
        error: { condition: error.condition, description: error.message },
      });
      return;
    }
    if (request.kind === 'declare') this.inOrder(deliveryId, () => this.declare());
    else {
      const { txnId, fail } = request;
      this.declared.delete(txnId.toString('latin1'));
      // Begins at once: what comes behind it on other links is not part of it.
      const outcome = this.context.transactions.discharge(this.link.peer.owner, txnId, fail);
      this.inOrder(deliveryId, async () => answerOf(await outcome));
    }
  }

  detached(): void {
    this.isDetached = true;
    this.context.transactions.rollBackOf(this.declared.values());
    this.declared.clear();
  }

  private declare(): DeliveryState {
    // What waited behind a discharge: nobody would end it.
    if (this.isDetached) return { kind: 'rejected', error: { condition: 'amqp:illegal-state' } };
    if (this.declared.size >= this.context.options.transactionsPerLinkMax) {
      const description = 'there are too many open transactions';
      return { kind: 'rejected', error: { condition: 'amqp:resource-limit-exceeded', description } };
    }
    const txnId = this.context.transactions.declare(this.link.peer.owner);
    this.declared.set(txnId.toString('latin1'), txnId);
    return { kind: 'declared', txnId };
  }

  private inOrder(deliveryId: number, act: () => DeliveryState | Promise<DeliveryState>): void {
    this.answered = this.answered.then(async () => this.link.answer(deliveryId, await act()));
  }
}

function answerOf(result: { readonly ok: boolean } | AmqpError): DeliveryState {
  return 'condition' in result ? { kind: 'rejected', error: result } : ACCEPTED;
}

/** AMQP 4.5.2, 4.5.3; Proton writes the descriptors as symbols. @throws CodecError */
function readRequest(buffer: Buffer, start: number, end: number): Request {
  const sections = new MessageSections();
  scanSections(buffer, start, end, sections);
  if (sections.bodyKind !== 'value') throw new CodecError('amqp:invalid-field', 'no declare or discharge');
  const value = readValue(buffer, sections.body.valueStart, sections.body.end, 'request to the coordinator');
  const descriptor = descriptorOf(value);
  const fields = value.type === 'described' ? value.value : undefined;
  if (descriptor === Descriptor.declare) {
    if (fields?.type !== 'list' || (fields.value[0] ?? NULL_VALUE).type === 'null') return { kind: 'declare' };
    throw new CodecError('amqp:not-implemented', 'there are no distributed transactions: global-id has to be null');
  }
  if (descriptor === Descriptor.discharge && fields?.type === 'list') {
    const [txnId, fail] = fields.value;
    if (txnId?.type === 'binary') {
      return { kind: 'discharge', txnId: txnId.value, fail: fail?.type === 'boolean' && fail.value };
    }
  }
  throw new CodecError('amqp:invalid-field', 'neither a declare nor a discharge');
}
