import type { ServerWritableStream } from '@grpc/grpc-js';
import { checkInvisibleDuration } from '../../../core/broker.ts';
import { BrokerError } from '../../../core/model/broker-error.ts';
import type { FilterExpression } from '../../../core/model/filter.ts';
import { LIMITS } from '../../../core/model/limits.ts';
import { checkGroupName, checkTopicName } from '../../../core/model/names.ts';
import type { Delivery } from '../../../core/ports/message-engine.ts';
import { nameOf, requireGroup, requireTopic } from '../access.ts';
import { contextOf, type CallContext } from '../call-context.ts';
import { DEADLINE_MARGIN_MS, RENEWED_LEASE_MS, REQUEST_TIMEOUT_MS } from '../options.ts';
import type { FilterExpression__Output } from '../proto/generated/apache/rocketmq/v2/FilterExpression.ts';
import type { ReceiveMessageRequest__Output } from '../proto/generated/apache/rocketmq/v2/ReceiveMessageRequest.ts';
import type { ReceiveMessageResponse } from '../proto/generated/apache/rocketmq/v2/ReceiveMessageResponse.ts';
import { OK, type StatusBody } from '../status.ts';
import { fromMs, toMs } from '../time.ts';
import { toGrpcMessage } from '../translate.ts';
import type { Parts } from './parts.ts';
import { failureOf } from './unary.ts';

type ReceiveCall = ServerWritableStream<ReceiveMessageRequest__Output, ReceiveMessageResponse>;

const NOTHING_FOUND: StatusBody = { code: 'MESSAGE_NOT_FOUND', message: 'no new message' };

/** The receives that wait. */
export class Receiving {
  private readonly parts: Parts;
  private waiting = 0;

  constructor(parts: Parts) {
    this.parts = parts;
  }

  /**
   * Leases messages to the client, waiting for a first one: a status, the messages, the time of delivery, the end. The queue
   * in the request is ignored, as RocketMQ's proxy does: every receive serves all queues of the topic.
   */
  async serve(call: ReceiveCall): Promise<void> {
    const abort = new AbortController();
    call.once('cancelled', () => abort.abort());
    try {
      const context = await contextOf(this.parts.broker, call);
      const signal = AbortSignal.any([abort.signal, this.parts.stopping]);
      const deliveries = await this.receive(call.request, context, signal);
      if (call.cancelled) await this.giveBack(deliveries);
      else this.write(call, deliveries);
    } catch (error) {
      call.write({ status: failureOf(this.parts, error, call.getPath()), content: 'status' });
    }
    call.end();
  }

  private async receive(
    request: ReceiveMessageRequest__Output,
    context: CallContext,
    signal: AbortSignal,
  ): Promise<Delivery[]> {
    const { broker, clients, options } = this.parts;
    const group = nameOf(request.group);
    const topic = nameOf(request.messageQueue?.topic);
    checkGroupName(group);
    checkTopicName(topic);
    requireGroup(broker, context, group);
    requireTopic(broker, context, 'SUB', topic);
    // Renewed leases end with their client, so the client has to be known, even when its settings were lost in a restart.
    const client = request.autoRenew ? clients.enter(context) : clients.seen(context);
    if (this.waiting >= options.longPollCountMax) {
      throw new BrokerError('THROTTLED', `${options.longPollCountMax} receives wait already, the configured limit`);
    }
    this.waiting++;
    try {
      return await broker.receive(
        {
          group,
          source: { kind: 'topic', topic },
          filter: filterOf(request.filterExpression),
          max: Math.min(Math.max(request.batchSize, 1), LIMITS.receiveBatchMax),
          waitMs: waitMsOf(request, context, client?.requestTimeoutMs ?? REQUEST_TIMEOUT_MS, broker.clock.now()),
          leaseMs: leaseMsOf(request),
          ...(request.attemptId === undefined ? undefined : { attemptId: request.attemptId }),
          ...(request.autoRenew ? { renewFor: context.clientId } : undefined),
          // A client that is not told the group is fifo hands the messages of one receive to its threads side by side.
          ...(broker.groups.get(group)?.order === 'messageGroup' ? { perMessageGroupMax: 1 } : undefined),
        },
        signal,
      );
    } finally {
      this.waiting--;
    }
  }

  private write(call: ReceiveCall, deliveries: readonly Delivery[]): void {
    const { broker, options } = this.parts;
    call.write({ status: deliveries.length === 0 ? NOTHING_FOUND : OK, content: 'status' });
    for (const delivery of deliveries) {
      const message = toGrpcMessage(delivery, broker.view(delivery.message), options.brokerName);
      call.write({ message, content: 'message' });
    }
    call.write({ deliveryTimestamp: fromMs(broker.clock.now()), content: 'deliveryTimestamp' });
  }

  /** The client went away while messages were being leased to it: they were never seen, so their attempt does not count. */
  private async giveBack(deliveries: readonly Delivery[]): Promise<void> {
    if (deliveries.length === 0) return;
    await this.parts.broker.settle(
      deliveries.map(({ receipt }) => ({ receipt, action: { kind: 'release', delayMs: 0, countAttempt: false } })),
    );
  }
}

/**
 * How long to wait for a first message. What the client asks for is honoured up to the limit, short polls too (RocketMQ's
 * proxy refuses those under 5 s); without a wish it is derived from the deadline, as the proxy does. An answer after the
 * deadline would lease messages nobody takes.
 */
function waitMsOf(
  request: ReceiveMessageRequest__Output,
  { deadline }: CallContext,
  requestTimeoutMs: number,
  now: number,
): number {
  const remainingMs = deadline - now;
  const wishMs =
    request.longPollingTimeout === undefined || request.longPollingTimeout === null
      ? Math.max(remainingMs - requestTimeoutMs / 2, LIMITS.pollingMinMs)
      : toMs(request.longPollingTimeout);
  return Math.max(0, Math.min(wishMs, LIMITS.pollingMaxMs, remainingMs - DEADLINE_MARGIN_MS));
}

function leaseMsOf(request: ReceiveMessageRequest__Output): number {
  if (request.autoRenew) return RENEWED_LEASE_MS;
  const ms = request.invisibleDuration ? toMs(request.invisibleDuration) : 0;
  checkInvisibleDuration(ms, LIMITS.invisibleMinMs);
  return ms;
}

function filterOf(filter: FilterExpression__Output | null): FilterExpression {
  return { type: filter?.type === 'SQL' ? 'SQL92' : 'TAG', expression: filter?.expression ?? '*' };
}
