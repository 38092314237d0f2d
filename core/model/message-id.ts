import type { StoredMessage } from './message.ts';
import { hashText } from './address.ts';

/** RocketMQ counts the seconds of its message ids from 2021-01-01T00:00:00Z. */
const EPOCH_S = 1_609_459_200;

function hex(value: number, bytes: number): string {
  return value
    .toString(16)
    .toUpperCase()
    .padStart(bytes * 2, '0');
}

/**
 * The message id: the publisher's own, else one made from the place of the message, in RocketMQ's form (34 hexadecimal
 * characters: version 01, six bytes of origin, two of process, four of seconds, four of sequence). It needs no storage and
 * is the same on every delivery.
 */
export function messageIdOf(message: StoredMessage): string {
  const own = message.messageId;
  if (own !== undefined) return own;
  const seconds = Math.max(0, Math.floor(message.storedAt / 1000) - EPOCH_S) % 2 ** 32;
  const origin = hex(hashText(message.topic), 4) + hex(hashText(`${message.topic} id`) & 0xffff, 2);
  return `01${origin}${hex(message.queue & 0xffff, 2)}${hex(seconds, 4)}${hex(message.offset % 2 ** 32, 4)}`;
}
