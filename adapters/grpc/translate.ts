import { createHash } from 'node:crypto';
import { isUtf8 } from 'node:buffer';
import type { RoutedFields } from '../../core/broker.ts';
import { BrokerError } from '../../core/model/broker-error.ts';
import { messageIdOf } from '../../core/model/message-id.ts';
import type { MessageFields } from '../../core/model/message.ts';
import type { MessageView } from '../../core/model/message-view.ts';
import type { Delivery } from '../../core/ports/message-engine.ts';
import type { Message, Message__Output } from './proto/generated/apache/rocketmq/v2/Message.ts';
import type {
  SystemProperties,
  SystemProperties__Output,
} from './proto/generated/apache/rocketmq/v2/SystemProperties.ts';
import { fromMs, toMs } from './time.ts';
import { fromUserProperties, PropertyKey, toUserProperties } from './user-properties.ts';

/** The core keeps a priority in one byte, of which one value means that there is none. */
const PRIORITY_MAX = 254;

/**
 * A message of a RocketMQ client as the core has it.
 * @param addressOf its address when it names none
 * @param now when it is born if it does not say so
 * @throws BrokerError for values the core cannot hold
 */
export function toMessageFields(
  message: Message__Output,
  system: SystemProperties__Output,
  addressOf: (fields: Omit<RoutedFields, 'topic'>) => string,
  now: number,
): MessageFields {
  const { userProperties } = message;
  const address = userProperties[PropertyKey.address];
  if (address !== undefined) checkAddress(address);
  const { deadLetterQueue, tag, keys } = system;
  const messageGroup = system.messageGroup ?? userProperties[PropertyKey.shardingKey];
  return {
    address: address ?? addressOf({ messageGroup, keys, tag }),
    addressDerived: address === undefined,
    body: message.body,
    bornAt: system.bornTimestamp === null ? now : toMs(system.bornTimestamp),
    text: userProperties[PropertyKey.text] === 'true',
    properties: fromUserProperties(userProperties),
    messageId: system.messageId === '' ? undefined : system.messageId,
    tag,
    keys,
    messageGroup,
    deliverAt: deliverAtOf(system),
    expiresAt: expiresAtOf(userProperties[PropertyKey.expiresAt]),
    priority: priorityOf(system.priority),
    bornHost: system.bornHost === '' ? undefined : system.bornHost,
    contentType: userProperties[PropertyKey.contentType],
    correlationId: correlationIdOf(userProperties),
    replyTo: userProperties[PropertyKey.replyTo],
    traceContext: system.traceContext,
    deadLetter: deadLetterQueue ? { topic: deadLetterQueue.topic, messageId: deadLetterQueue.messageId } : undefined,
    bodyEncoding: system.bodyEncoding === 'GZIP' ? 'GZIP' : undefined,
  };
}

/** A leased message as a RocketMQ client gets it, filled in as the real proxy does (GrpcConverter.buildMessage). */
export function toGrpcMessage(delivery: Delivery, view: MessageView, storeHost: string): Message {
  const { message } = delivery;
  const system: SystemProperties = {
    keys: [...view.keys],
    messageId: messageIdOf(message),
    // MD5 in upper case: clients disagree about how a CRC32 is written.
    bodyDigest: { type: 'MD5', checksum: createHash('md5').update(view.body).digest('hex').toUpperCase() },
    bodyEncoding: view.bodyEncoding === 'GZIP' ? 'GZIP' : 'IDENTITY',
    messageType: view.deliverAt > 0 ? 'DELAY' : view.messageGroup === undefined ? 'NORMAL' : 'FIFO',
    bornTimestamp: fromMs(view.bornAt),
    bornHost: view.bornHost ?? '',
    storeTimestamp: fromMs(message.storedAt),
    storeHost,
    receiptHandle: delivery.receipt,
    queueId: message.queue,
    queueOffset: message.offset,
    deliveryAttempt: delivery.attempt,
  };
  if (view.tag !== undefined) system.tag = view.tag;
  if (view.messageGroup !== undefined) system.messageGroup = view.messageGroup;
  if (view.deliverAt > 0) system.deliveryTimestamp = fromMs(view.deliverAt);
  if (view.priority !== undefined) system.priority = view.priority;
  if (view.traceContext !== undefined) system.traceContext = view.traceContext;
  if (view.deadLetter !== undefined) {
    const { topic, messageId } = view.deadLetter;
    system.deadLetterQueue = { topic, messageId };
  }
  return {
    topic: { name: message.topic },
    userProperties: userPropertiesOf(view),
    systemProperties: system,
    body: view.body,
  };
}

function userPropertiesOf(view: MessageView): Record<string, string> {
  const target = toUserProperties(view.properties);
  if (!view.addressDerived) target[PropertyKey.address] = view.address;
  if (view.expiresAt > 0) target[PropertyKey.expiresAt] = String(view.expiresAt);
  if (view.text) target[PropertyKey.text] = 'true';
  if (view.contentType !== undefined) target[PropertyKey.contentType] = view.contentType;
  if (view.replyTo !== undefined) target[PropertyKey.replyTo] = view.replyTo;
  if (view.correlationId !== undefined) {
    const bytes = Buffer.from(view.correlationId);
    if (isPlainText(bytes)) target[PropertyKey.correlationId] = bytes.toString('utf8');
    else target[PropertyKey.correlationIdBytes] = bytes.toString('base64');
  }
  if (view.messageGroup !== undefined) target[PropertyKey.shardingKey] = view.messageGroup;
  return target;
}

/** Whether the bytes are text that a user property may hold, there and back. */
function isPlainText(bytes: Buffer): boolean {
  return isUtf8(bytes) && !/\p{Cc}/u.test(bytes.toString('utf8'));
}

function correlationIdOf(userProperties: Readonly<Record<string, string>>): Uint8Array | undefined {
  const text = userProperties[PropertyKey.correlationId];
  if (text !== undefined) return Buffer.from(text, 'utf8');
  const base64 = userProperties[PropertyKey.correlationIdBytes];
  return base64 === undefined ? undefined : Buffer.from(base64, 'base64');
}

/** An address is a name, not a filter, and the gateway's own names are not for clients. */
function checkAddress(address: string): void {
  if (address === '') throw new BrokerError('ILLEGAL_ADDRESS', `${PropertyKey.address} is empty`);
  if (/[+#\0]/.test(address)) {
    throw new BrokerError('ILLEGAL_ADDRESS', `${PropertyKey.address} contains a wildcard or a null character`);
  }
  if (address.startsWith('$SYS/')) {
    throw new BrokerError('ILLEGAL_ADDRESS', `${PropertyKey.address} is one of the gateway's own addresses`);
  }
}

function deliverAtOf(system: SystemProperties__Output): number | undefined {
  const { deliveryTimestamp } = system;
  // A time long past is still a delayed message, due at once; 0 would mean that it is none.
  return deliveryTimestamp ? Math.max(1, toMs(deliveryTimestamp)) : undefined;
}

function expiresAtOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = Number(text);
  if (/^\d+$/.test(text) && ms > 0 && Number.isSafeInteger(ms)) return ms;
  throw new BrokerError(
    'ILLEGAL_MESSAGE_PROPERTY_KEY',
    `${PropertyKey.expiresAt} is not a time in milliseconds: ${JSON.stringify(text)}`,
  );
}

function priorityOf(priority: number | undefined): number | undefined {
  if (priority === undefined || (priority >= 0 && priority <= PRIORITY_MAX)) return priority;
  throw new BrokerError('BAD_REQUEST', `the priority is not in 0 to ${PRIORITY_MAX}`);
}
