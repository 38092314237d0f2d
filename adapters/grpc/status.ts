import { BrokerError, type BrokerErrorCode, type Outcome } from '../../core/model/broker-error.ts';
import type { Code } from './proto/generated/apache/rocketmq/v2/Code.ts';
import type { Status } from './proto/generated/apache/rocketmq/v2/Status.ts';

export type CodeName = Exclude<Code, number>;
export type StatusBody = Status & { readonly code: CodeName; readonly message: string };

/** What every failure of the core is called in the protocol. Apache RocketMQ's meaning where it has one. */
export const CODE_OF = {
  BAD_REQUEST: 'BAD_REQUEST',
  ILLEGAL_TOPIC: 'ILLEGAL_TOPIC',
  ILLEGAL_CONSUMER_GROUP: 'ILLEGAL_CONSUMER_GROUP',
  // The address is not RocketMQ's; a client gives it as a user property.
  ILLEGAL_ADDRESS: 'ILLEGAL_MESSAGE_PROPERTY_KEY',
  ILLEGAL_MESSAGE_ID: 'ILLEGAL_MESSAGE_ID',
  ILLEGAL_MESSAGE_TAG: 'ILLEGAL_MESSAGE_TAG',
  ILLEGAL_MESSAGE_KEY: 'ILLEGAL_MESSAGE_KEY',
  ILLEGAL_MESSAGE_GROUP: 'ILLEGAL_MESSAGE_GROUP',
  ILLEGAL_MESSAGE_PROPERTY_KEY: 'ILLEGAL_MESSAGE_PROPERTY_KEY',
  ILLEGAL_FILTER_EXPRESSION: 'ILLEGAL_FILTER_EXPRESSION',
  ILLEGAL_INVISIBLE_TIME: 'ILLEGAL_INVISIBLE_TIME',
  ILLEGAL_POLLING_TIME: 'ILLEGAL_POLLING_TIME',
  ILLEGAL_DELIVERY_TIME: 'ILLEGAL_DELIVERY_TIME',
  ILLEGAL_OFFSET: 'ILLEGAL_OFFSET',
  INVALID_TRANSACTION_ID: 'INVALID_TRANSACTION_ID',
  MESSAGE_PROPERTY_CONFLICT_WITH_TYPE: 'MESSAGE_PROPERTY_CONFLICT_WITH_TYPE',
  MESSAGE_CORRUPTED: 'MESSAGE_CORRUPTED',
  MESSAGE_BODY_TOO_LARGE: 'MESSAGE_BODY_TOO_LARGE',
  MESSAGE_BODY_EMPTY: 'MESSAGE_BODY_EMPTY',
  MESSAGE_PROPERTIES_TOO_LARGE: 'MESSAGE_PROPERTIES_TOO_LARGE',
  UNAUTHORIZED: 'UNAUTHORIZED',
  FORBIDDEN: 'FORBIDDEN',
  TOPIC_NOT_FOUND: 'TOPIC_NOT_FOUND',
  CONSUMER_GROUP_NOT_FOUND: 'CONSUMER_GROUP_NOT_FOUND',
  STALE_RECEIPT: 'INVALID_RECEIPT_HANDLE',
  THROTTLED: 'TOO_MANY_REQUESTS',
  // A configured count does not go away by trying again; clients back off only on TOO_MANY_REQUESTS.
  LIMIT_EXCEEDED: 'FORBIDDEN',
  // Room comes back when consumers catch up: clients shall back off and try again.
  STORE_FULL: 'TOO_MANY_REQUESTS',
  UNKNOWN_OUTCOME: 'MASTER_PERSISTENCE_TIMEOUT',
  UNSUPPORTED: 'UNSUPPORTED',
  SHUTTING_DOWN: 'INTERNAL_SERVER_ERROR',
  INTERNAL: 'INTERNAL_SERVER_ERROR',
} as const satisfies Record<BrokerErrorCode, CodeName>;

export const OK: StatusBody = { code: 'OK', message: 'OK' };

/** A failure of the protocol itself, for which the core has no code. */
export class ProtocolError extends Error {
  readonly code: CodeName;

  constructor(code: CodeName, message: string) {
    super(message);
    this.name = 'ProtocolError';
    this.code = code;
  }
}

/** Whether the error is an answer for the client rather than a defect of the gateway. */
export function isAnswer(error: unknown): error is BrokerError | ProtocolError {
  return error instanceof BrokerError || error instanceof ProtocolError;
}

/** The in-body status of a failure; a defect shows nothing of itself. */
export function statusOf(error: unknown): StatusBody {
  if (error instanceof BrokerError) return { code: CODE_OF[error.code], message: error.message };
  if (error instanceof ProtocolError) return { code: error.code, message: error.message };
  return { code: 'INTERNAL_SERVER_ERROR', message: 'internal error' };
}

export function statusOfOutcome(outcome: Outcome<unknown>): StatusBody {
  return outcome.ok ? OK : statusOf(outcome.error);
}

/** The status of a batch: what its entries have in common, else MULTIPLE_RESULTS. */
export function commonStatus(entries: readonly StatusBody[]): StatusBody {
  const first = entries[0];
  if (first === undefined) return OK;
  if (entries.every((entry) => entry.code === first.code)) return first;
  return { code: 'MULTIPLE_RESULTS', message: 'the entries have different results' };
}
