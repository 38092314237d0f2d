/** The conditions of AMQP 2.8.15 and 2.8.16 that received bytes can lead to. */
export type CodecCondition =
  'amqp:decode-error' | 'amqp:invalid-field' | 'amqp:not-implemented' | 'amqp:connection:framing-error';

/** Bytes that are not AMQP, or not allowed by it. The message says where. */
export class CodecError extends Error {
  override readonly name = 'CodecError';
  readonly condition: CodecCondition;

  constructor(condition: CodecCondition, description: string) {
    super(description);
    this.condition = condition;
  }
}

/** The bytes are not of the form of AMQP part 1, or of another type than the field has. */
export function decodeError(description: string): CodecError {
  return new CodecError('amqp:decode-error', description);
}

/** A field is missing, or has a value it cannot have. */
export function invalidField(description: string): CodecError {
  return new CodecError('amqp:invalid-field', description);
}

/** The frame around it is wrong (AMQP 2.3). */
export function framingError(description: string): CodecError {
  return new CodecError('amqp:connection:framing-error', description);
}
