import { checkInvisibleDuration } from '../../../core/broker.ts';
import { BrokerError } from '../../../core/model/broker-error.ts';
import { checkGroupName, checkTopicName } from '../../../core/model/names.ts';
import type { SettleAction, Settled, Settlement } from '../../../core/ports/message-engine.ts';
import { nameOf, requireGroup, requireTopic } from '../access.ts';
import type { CallContext } from '../call-context.ts';
import type { AckMessageRequest__Output } from '../proto/generated/apache/rocketmq/v2/AckMessageRequest.ts';
import type { AckMessageResponse } from '../proto/generated/apache/rocketmq/v2/AckMessageResponse.ts';
import type { ChangeInvisibleDurationRequest__Output } from '../proto/generated/apache/rocketmq/v2/ChangeInvisibleDurationRequest.ts';
import type { ChangeInvisibleDurationResponse } from '../proto/generated/apache/rocketmq/v2/ChangeInvisibleDurationResponse.ts';
import type { ForwardMessageToDeadLetterQueueRequest__Output } from '../proto/generated/apache/rocketmq/v2/ForwardMessageToDeadLetterQueueRequest.ts';
import type { ForwardMessageToDeadLetterQueueResponse } from '../proto/generated/apache/rocketmq/v2/ForwardMessageToDeadLetterQueueResponse.ts';
import type { Resource__Output } from '../proto/generated/apache/rocketmq/v2/Resource.ts';
import { commonStatus, OK, statusOfOutcome } from '../status.ts';
import { toMs } from '../time.ts';
import type { Parts } from './parts.ts';
import { failureOf } from './unary.ts';

interface Place {
  readonly group: Resource__Output | null;
  readonly topic: Resource__Output | null;
}

/** Messages are done; one entry each, in order. */
export async function ackMessage(
  parts: Parts,
  request: AckMessageRequest__Output,
  context: CallContext,
): Promise<AckMessageResponse> {
  const group = enter(parts, request, context);
  const settlements = request.entries.map(({ receiptHandle }) => ({
    receipt: receiptHandle,
    group,
    action: { kind: 'ack' } as const,
  }));
  const outcomes = settlements.length === 0 ? [] : await parts.broker.settle(settlements);
  const entries = request.entries.map(({ messageId, receiptHandle }, i) => ({
    messageId,
    receiptHandle,
    status: statusOfOutcome(outcomes[i]!),
  }));
  return { status: commonStatus(entries.map(({ status }) => status)), entries };
}

/**
 * The lease ends at another time; the answer has the receipt that counts from now on. On a failure it is the old one: the
 * Java client takes over whatever is there.
 */
export async function changeInvisibleDuration(
  parts: Parts,
  request: ChangeInvisibleDurationRequest__Output,
  context: CallContext,
): Promise<ChangeInvisibleDurationResponse> {
  const { receiptHandle } = request;
  try {
    const group = enter(parts, request, context);
    const ms = request.invisibleDuration ? toMs(request.invisibleDuration) : 0;
    checkInvisibleDuration(ms, 0);
    const action: SettleAction =
      request.suspend === true ? { kind: 'release', delayMs: ms, countAttempt: false } : { kind: 'extend', ms };
    const { receipt } = await settleOne(parts, { receipt: receiptHandle, group, action });
    return { status: OK, receiptHandle: receipt ?? receiptHandle };
  } catch (error) {
    return { status: failureOf(parts, error, 'ChangeInvisibleDuration'), receiptHandle };
  }
}

/** The consumer gave up: a copy goes to the dead letter topic of its group, and the message is done. */
export async function forwardMessageToDeadLetterQueue(
  parts: Parts,
  request: ForwardMessageToDeadLetterQueueRequest__Output,
  context: CallContext,
): Promise<ForwardMessageToDeadLetterQueueResponse> {
  const group = enter(parts, request, context);
  const reason = `given up by the consumer after attempt ${request.deliveryAttempt} of ${request.maxDeliveryAttempts}`;
  await settleOne(parts, { receipt: request.receiptHandle, group, action: { kind: 'deadLetter', reason } });
  return { status: OK };
}

/**
 * Checks what the request names, and who asks. A receipt only counts for the group it was given to.
 * @returns the group
 */
function enter({ broker, clients }: Parts, place: Place, context: CallContext): string {
  const group = nameOf(place.group);
  const topic = nameOf(place.topic);
  checkGroupName(group);
  checkTopicName(topic);
  requireGroup(broker, context, group);
  requireTopic(broker, context, 'SUB', topic);
  clients.seen(context);
  return group;
}

async function settleOne({ broker }: Parts, settlement: Settlement): Promise<Settled> {
  const [outcome] = await broker.settle([settlement]);
  if (outcome === undefined) throw new BrokerError('INTERNAL', 'no outcome');
  if (!outcome.ok) throw outcome.error;
  return outcome.value;
}
