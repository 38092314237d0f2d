import { BrokerError, type BrokerErrorCode } from '../../../../core/model/broker-error.ts';
import { CodecError } from '../codec/codec-error.ts';
import type { AmqpError, Outcome } from '../codec/performatives.ts';
import { LinkError } from '../node.ts';

/** AMQP 2.8.15, 3.5.9: what every failure of the core is called. */
export const CONDITION_OF = {
  BAD_REQUEST: 'amqp:invalid-field',
  ILLEGAL_TOPIC: 'amqp:invalid-field',
  ILLEGAL_CONSUMER_GROUP: 'amqp:invalid-field',
  ILLEGAL_ADDRESS: 'amqp:invalid-field',
  ILLEGAL_MESSAGE_ID: 'amqp:invalid-field',
  ILLEGAL_MESSAGE_TAG: 'amqp:invalid-field',
  ILLEGAL_MESSAGE_KEY: 'amqp:invalid-field',
  ILLEGAL_MESSAGE_GROUP: 'amqp:invalid-field',
  ILLEGAL_MESSAGE_PROPERTY_KEY: 'amqp:invalid-field',
  ILLEGAL_FILTER_EXPRESSION: 'amqp:invalid-field',
  ILLEGAL_INVISIBLE_TIME: 'amqp:invalid-field',
  ILLEGAL_POLLING_TIME: 'amqp:invalid-field',
  ILLEGAL_DELIVERY_TIME: 'amqp:invalid-field',
  ILLEGAL_OFFSET: 'amqp:invalid-field',
  INVALID_TRANSACTION_ID: 'amqp:transaction:unknown-id',
  MESSAGE_PROPERTY_CONFLICT_WITH_TYPE: 'amqp:precondition-failed',
  MESSAGE_CORRUPTED: 'amqp:decode-error',
  MESSAGE_BODY_TOO_LARGE: 'amqp:link:message-size-exceeded',
  MESSAGE_BODY_EMPTY: 'amqp:invalid-field',
  MESSAGE_PROPERTIES_TOO_LARGE: 'amqp:link:message-size-exceeded',
  UNAUTHORIZED: 'amqp:unauthorized-access',
  FORBIDDEN: 'amqp:unauthorized-access',
  TOPIC_NOT_FOUND: 'amqp:not-found',
  CONSUMER_GROUP_NOT_FOUND: 'amqp:not-found',
  STALE_RECEIPT: 'amqp:illegal-state',
  THROTTLED: 'amqp:resource-limit-exceeded',
  LIMIT_EXCEEDED: 'amqp:resource-limit-exceeded',
  STORE_FULL: 'amqp:resource-limit-exceeded',
  UNKNOWN_OUTCOME: 'amqp:internal-error',
  UNSUPPORTED: 'amqp:not-implemented',
  SHUTTING_DOWN: 'amqp:connection:forced',
  INTERNAL: 'amqp:internal-error',
} as const satisfies Record<BrokerErrorCode, string>;

/** An error as the peer is told; undefined for a defect of ours, which it learns nothing about. */
export function amqpErrorOf(error: unknown): AmqpError | undefined {
  if (error instanceof LinkError) return error.error;
  if (error instanceof CodecError) return { condition: error.condition, description: error.message };
  if (error instanceof BrokerError) return { condition: CONDITION_OF[error.code], description: error.message };
  return undefined;
}

/** What becomes of a message that the core did not take. */
export function refusalOf(error: BrokerError): Outcome {
  return { kind: 'rejected', error: { condition: CONDITION_OF[error.code], description: error.message } };
}
