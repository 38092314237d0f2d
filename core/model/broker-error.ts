/**
 * The closed list of failures of the core. The names are those of RocketMQ's `Code` where it has one; each protocol maps
 * every one of them in a single table (`satisfies Record<BrokerErrorCode, ...>`).
 */
export const BROKER_ERROR_CODES = [
  'BAD_REQUEST',
  'ILLEGAL_TOPIC',
  'ILLEGAL_CONSUMER_GROUP',
  'ILLEGAL_ADDRESS',
  'ILLEGAL_MESSAGE_ID',
  'ILLEGAL_MESSAGE_TAG',
  'ILLEGAL_MESSAGE_KEY',
  'ILLEGAL_MESSAGE_GROUP',
  'ILLEGAL_MESSAGE_PROPERTY_KEY',
  'ILLEGAL_FILTER_EXPRESSION',
  'ILLEGAL_INVISIBLE_TIME',
  'ILLEGAL_POLLING_TIME',
  'ILLEGAL_DELIVERY_TIME',
  'ILLEGAL_OFFSET',
  'INVALID_TRANSACTION_ID',
  'MESSAGE_PROPERTY_CONFLICT_WITH_TYPE',
  'MESSAGE_CORRUPTED',
  'MESSAGE_BODY_TOO_LARGE',
  'MESSAGE_BODY_EMPTY',
  'MESSAGE_PROPERTIES_TOO_LARGE',
  'UNAUTHORIZED',
  'FORBIDDEN',
  'TOPIC_NOT_FOUND',
  'CONSUMER_GROUP_NOT_FOUND',
  /** The receipt was acknowledged, superseded, expired or never issued; nothing was changed. */
  'STALE_RECEIPT',
  /** A rate, quota or window limit; the same call may succeed later. */
  'THROTTLED',
  /** A configured count (topics, groups, light queues) is reached. */
  'LIMIT_EXCEEDED',
  /** No room for another message; settlements still work. */
  'STORE_FULL',
  /** The write may or may not have happened; sending again may duplicate. */
  'UNKNOWN_OUTCOME',
  /** The engine in use cannot do this (see its capabilities). */
  'UNSUPPORTED',
  'SHUTTING_DOWN',
  'INTERNAL',
] as const;

export type BrokerErrorCode = (typeof BROKER_ERROR_CODES)[number];

/** The only error the core throws or returns for operating failures. The message is safe to show to a client. */
export class BrokerError extends Error {
  readonly code: BrokerErrorCode;

  constructor(code: BrokerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'BrokerError';
    this.code = code;
  }
}

/** The result of one item of a batch: failures are values, so that one bad item does not fail its neighbours. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: BrokerError };

/** Wraps a value as a successful outcome. */
export function succeeded<T>(value: T): Outcome<T> {
  return { ok: true, value };
}

/** Wraps a failure as an outcome. */
export function failed(code: BrokerErrorCode, message: string): { ok: false; error: BrokerError } {
  return { ok: false, error: new BrokerError(code, message) };
}
