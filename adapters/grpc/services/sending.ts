import { BrokerError, type Outcome } from '../../../core/model/broker-error.ts';
import { encodeMessage } from '../../../core/model/message.ts';
import { checkTopicName } from '../../../core/model/names.ts';
import { OutgoingMessage, type Placed } from '../../../core/ports/message-engine.ts';
import { nameOf, requireTopic } from '../access.ts';
import type { CallContext } from '../call-context.ts';
import type { Message__Output } from '../proto/generated/apache/rocketmq/v2/Message.ts';
import type { RecallMessageRequest__Output } from '../proto/generated/apache/rocketmq/v2/RecallMessageRequest.ts';
import type { RecallMessageResponse } from '../proto/generated/apache/rocketmq/v2/RecallMessageResponse.ts';
import type { SendMessageRequest__Output } from '../proto/generated/apache/rocketmq/v2/SendMessageRequest.ts';
import type { SendMessageResponse } from '../proto/generated/apache/rocketmq/v2/SendMessageResponse.ts';
import type { SendResultEntry } from '../proto/generated/apache/rocketmq/v2/SendResultEntry.ts';
import type { SystemProperties__Output } from '../proto/generated/apache/rocketmq/v2/SystemProperties.ts';
import { commonStatus, OK, statusOf, type StatusBody } from '../status.ts';
import { toMessageFields } from '../translate.ts';
import { checkMessage } from '../validate.ts';
import type { Parts } from './parts.ts';
import { failureOf } from './unary.ts';

interface Entry extends SendResultEntry {
  readonly status: StatusBody;
}

/** Stores messages; one entry each, in order. The queue is the gateway's choice, whatever the client says. */
export async function sendMessage(
  parts: Parts,
  request: SendMessageRequest__Output,
  context: CallContext,
): Promise<SendMessageResponse> {
  const { messages } = request;
  if (messages.length === 0) throw new BrokerError('MESSAGE_CORRUPTED', 'the request has no messages');
  parts.clients.seen(context);
  const refused = new Map<number, StatusBody>();
  const batch: OutgoingMessage[] = [];
  for (const [i, message] of messages.entries()) {
    try {
      batch.push(outgoingOf(parts, message, context));
    } catch (error) {
      refused.set(i, failureOf(parts, error, 'SendMessage'));
    }
  }
  const outcomes = batch.length === 0 ? [] : await parts.broker.send(batch);
  let next = 0;
  const entries = messages.map((message, i): Entry => {
    const status = refused.get(i);
    return status === undefined ? entryOf(message, outcomes[next++]!) : { status };
  });
  return { status: commonStatus(entries.map(({ status }) => status)), entries };
}

function outgoingOf({ broker }: Parts, message: Message__Output, context: CallContext): OutgoingMessage {
  const system = message.systemProperties;
  if (system === null) throw new BrokerError('MESSAGE_CORRUPTED', 'the message has no system properties');
  const topic = nameOf(message.topic);
  checkTopicName(topic);
  const fields = toMessageFields(
    message,
    system,
    (routed) => broker.addressOf({ topic, ...routed }),
    broker.clock.now(),
  );
  requireTopic(broker, context, 'PUB', topic, fields.address);
  checkMessage(message, system);
  if (message.body.length > broker.options.bodyBytesMax) {
    throw new BrokerError('MESSAGE_BODY_TOO_LARGE', `the body is larger than ${broker.options.bodyBytesMax} bytes`);
  }
  refuseUnsupported(system);
  return new OutgoingMessage(topic, fields.address, encodeMessage(fields));
}

/** Kinds of messages the core does not know yet; it would take them for ordinary ones. */
function refuseUnsupported(system: SystemProperties__Output): void {
  const { messageType } = system;
  const kind =
    messageType === 'TRANSACTION'
      ? 'TRANSACTION'
      : messageType === 'PRIORITY' || system.priority !== undefined
        ? 'PRIORITY'
        : messageType === 'LITE' || system.liteTopic !== undefined
          ? 'LITE'
          : undefined;
  if (kind !== undefined) throw new BrokerError('UNSUPPORTED', `${kind} messages are not supported yet`);
}

function entryOf(message: Message__Output, outcome: Outcome<Placed>): Entry {
  if (!outcome.ok) return { status: statusOf(outcome.error) };
  const messageId = message.systemProperties!.messageId;
  // For messages that are no transaction both ids are the same; the Node.js client's tests look for it.
  const { offset, recallHandle = '' } = outcome.value;
  return { status: OK, messageId, transactionId: messageId, offset: Math.max(0, offset), recallHandle };
}

/** A delayed message is not to be delivered. */
export async function recallMessage(
  { broker, clients }: Parts,
  request: RecallMessageRequest__Output,
  context: CallContext,
): Promise<RecallMessageResponse> {
  const topic = nameOf(request.topic);
  checkTopicName(topic);
  requireTopic(broker, context, 'PUB', topic, undefined);
  clients.seen(context);
  const outcome = await broker.recall(request.recallHandle);
  return outcome.ok ? { status: OK, messageId: outcome.value.messageId } : { status: statusOf(outcome.error) };
}
