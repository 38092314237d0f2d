import { MESSAGE_HEADER_BYTES } from './message-layout.ts';
import { encodeMessage, encodeSystemFields, Message, type StoredMessage } from './message.ts';
import { messageIdOf } from './message-id.ts';

/**
 * The copy of a message for a dead letter topic: the same bytes, with the topic and id it had in front of its other system
 * fields. It keeps its message id, as RocketMQ does.
 */
export function deadLetterCopy(dead: StoredMessage): Message {
  const messageId = messageIdOf(dead);
  const added = encodeSystemFields({
    deadLetter: { topic: dead.topic, messageId },
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
