import { BrokerError } from '../../core/model/broker-error.ts';

interface SecondsAndNanos {
  readonly seconds: number;
  readonly nanos: number;
}

/**
 * Milliseconds of a protobuf Timestamp or Duration, rounded down.
 * @throws BrokerError BAD_REQUEST when it is outside of what a number of milliseconds can say
 */
export function toMs(value: SecondsAndNanos): number {
  const ms = value.seconds * 1000 + Math.floor(value.nanos / 1e6);
  if (!Number.isSafeInteger(ms)) throw new BrokerError('BAD_REQUEST', 'a time is out of range');
  return ms;
}

/** Milliseconds as a protobuf Timestamp or Duration. */
export function fromMs(ms: number): SecondsAndNanos {
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: Math.round((ms - seconds * 1000) * 1e6) };
}
