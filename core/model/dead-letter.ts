import { MESSAGE_HEADER_BYTES } from './message-layout.ts';
import { encodeMessage, encodeSystemFields, Message, type StoredMessage } from './message.ts';
import { messageIdOf } from './message-id.ts';

/** Why a consumer gave up, in its words; they may be long, and are kept with every copy. */
const TEXT_CHARS_MAX = 4_096;

/** A message that came back as often as its group allows; RabbitMQ's word for it. */
export const DELIVERY_LIMIT = 'delivery_limit';

/**
 * The copy of a message for a dead letter topic: the same bytes, with the topic and id it had, and why it is dead, in front of
 * its other system fields. It keeps its message id, as RocketMQ does.
 */
export function deadLetterCopy(dead: StoredMessage, reason: string, description = '', details?: Uint8Array): Message {
  const messageId = messageIdOf(dead);
  const added = encodeSystemFields({
    // An empty description is written as well: it hides the one of an earlier death.
    deadLetter: { topic: dead.topic, messageId, reason: clipped(reason), description: clipped(description) },
    deadLetterDetails: details,
    messageId: dead.messageId === undefined ? messageId : undefined,
  });
  const message = dead.isPlain ? withHeader(dead) : dead;
  const target = Buffer.allocUnsafeSlow(message.bytes + added.length);
  const systemStart = message.start + MESSAGE_HEADER_BYTES;
  message.buffer.copy(target, 0, message.start, systemStart);
  added.copy(target, MESSAGE_HEADER_BYTES);
  message.buffer.copy(target, MESSAGE_HEADER_BYTES + added.length, systemStart, message.end);
  target.writeUInt32LE(target.readUInt32LE(12) + added.length, 12);
  return new Message(target, 0, target.length);
}

/** The plain form has no place for system fields. */
function withHeader({ address, body, bornAt, qos }: StoredMessage): Message {
  return encodeMessage({ address, body, bornAt, qos });
}

/** Never ends within a pair of surrogates. */
function clipped(text: string): string {
  return text.length <= TEXT_CHARS_MAX ? text : text.slice(0, TEXT_CHARS_MAX).replace(/[\ud800-\udbff]$/, '');
}
