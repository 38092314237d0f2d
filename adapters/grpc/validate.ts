import { BrokerError, type BrokerErrorCode } from '../../core/model/broker-error.ts';
import { LIMITS } from '../../core/model/limits.ts';
import { RESERVED_PROPERTY_KEYS } from '../../core/model/names.ts';
import type { Message__Output } from './proto/generated/apache/rocketmq/v2/Message.ts';
import type { SystemProperties__Output } from './proto/generated/apache/rocketmq/v2/SystemProperties.ts';
import { PropertyKey } from './user-properties.ts';

/** Java: Character.isISOControl. */
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/**
 * Checks a message on its way in against the rules of RocketMQ's proxy (GrpcValidator, SendMessageActivity) that the core
 * does not check for all protocols.
 * @throws BrokerError with the code of the first rule that is broken
 */
export function checkMessage(message: Message__Output, system: SystemProperties__Output): void {
  if (message.body.length === 0) throw new BrokerError('MESSAGE_BODY_EMPTY', 'the message body is empty');
  if (system.messageId.trim() === '') throw new BrokerError('ILLEGAL_MESSAGE_ID', 'the message id is missing');
  if (system.tag !== undefined) {
    checkText('ILLEGAL_MESSAGE_TAG', 'tag', system.tag);
    if (system.tag.includes('|')) throw new BrokerError('ILLEGAL_MESSAGE_TAG', 'the tag contains |');
  }
  for (const key of system.keys) checkText('ILLEGAL_MESSAGE_KEY', 'message key', key);
  const messageGroup = system.messageGroup ?? message.userProperties[PropertyKey.shardingKey];
  if (messageGroup !== undefined) {
    checkText('ILLEGAL_MESSAGE_GROUP', 'message group', messageGroup);
    if (Buffer.byteLength(messageGroup) > LIMITS.messageGroupBytesMax) {
      const reason = `the message group is longer than ${LIMITS.messageGroupBytesMax} bytes`;
      throw new BrokerError('ILLEGAL_MESSAGE_GROUP', reason);
    }
  }
  checkUserProperties(message.userProperties, system);
}

function checkUserProperties(userProperties: Record<string, string>, system: SystemProperties__Output): void {
  const entries = Object.entries(userProperties);
  if (entries.length > LIMITS.userPropertiesMax) {
    const reason = `there are more than ${LIMITS.userPropertiesMax} user properties`;
    throw new BrokerError('MESSAGE_PROPERTIES_TOO_LARGE', reason);
  }
  let bytes = Buffer.byteLength(system.tag ?? '');
  for (const key of system.keys) bytes += Buffer.byteLength(key);
  for (const [key, value] of entries) {
    if (RESERVED_PROPERTY_KEYS.has(key)) {
      throw new BrokerError('ILLEGAL_MESSAGE_PROPERTY_KEY', `the user property ${key} is reserved by RocketMQ`);
    }
    if (CONTROL.test(key) || CONTROL.test(value)) {
      const reason = `the user property ${JSON.stringify(key)} contains control characters`;
      throw new BrokerError('ILLEGAL_MESSAGE_PROPERTY_KEY', reason);
    }
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes > LIMITS.userPropertiesBytesMax) {
    const reason = `user properties, tag and keys are larger than ${LIMITS.userPropertiesBytesMax} bytes`;
    throw new BrokerError('MESSAGE_PROPERTIES_TOO_LARGE', reason);
  }
}

function checkText(code: BrokerErrorCode, what: string, text: string): void {
  if (text.trim() === '') throw new BrokerError(code, `the ${what} is blank`);
  if (CONTROL.test(text)) throw new BrokerError(code, `the ${what} contains control characters`);
}
