/**
 * The bytes of a message. It is encoded once, by the adapter that took it in, and never rewritten: the engine stores these
 * bytes, and an adapter of the publisher's own protocol copies ranges of them to its subscribers.
 *
 * | at | size | field                                                              |
 * |----|------|--------------------------------------------------------------------|
 * | 0  | 1    | format, 1                                                          |
 * | 1  | 1    | flags: bits 0-1 quality of service, 2 text body, 3 derived address |
 * | 2  | 1    | envelope protocol, 0 when there is none                            |
 * | 3  | 1    | priority, 255 when there is none                                   |
 * | 4  | 8    | bornAt, milliseconds                                               |
 * | 12 | 8    | expiresAt, milliseconds, 0 never                                   |
 * | 20 | 8    | deliverAt, milliseconds, 0 at once                                 |
 * | 28 | 4    | bytes of the system section                                        |
 * | 32 | 4    | bytes of the property section                                      |
 * | 36 | 4    | bytes of the envelope                                              |
 * | 40 |      | system section: {field u8, length u32, bytes}...                   |
 * |    |      | property section: {key length u16, key, value length u32, value}...|
 * |    | 2    | address length, big endian                                         |
 * |    |      | address, envelope, body                                            |
 *
 * The tail is laid out as MQTT has it (length, topic name, properties, payload), so that the most frequent crossing, MQTT
 * to MQTT, copies one range. Numbers are little endian except the address length.
 */
export const MESSAGE_FORMAT = 1;
export const MESSAGE_HEADER_BYTES = 40;
export const NO_PRIORITY = 255;

export const MessageFlag = { qosMask: 0b11, text: 0b100, derivedAddress: 0b1000 } as const;

/** Ids of the system section; never reused. */
export const SystemField = {
  messageId: 1,
  tag: 2,
  key: 3,
  messageGroup: 4,
  bornHost: 5,
  contentType: 6,
  correlationId: 7,
  replyTo: 8,
  traceContext: 9,
  deadLetterTopic: 10,
  deadLetterMessageId: 11,
  bodyEncoding: 12,
} as const;

/** Who took the message in; the ids are stored, so they are never reused. */
export const EnvelopeProtocol = { none: 0, mqtt5: 1, amqp1: 2, amqp091: 3 } as const;
export type EnvelopeProtocol = (typeof EnvelopeProtocol)[keyof typeof EnvelopeProtocol];

/**
 * Writes the fixed header. The caller writes the sections behind it, in order.
 * @returns the offset behind the header
 */
export function writeMessageHeader(
  target: Buffer,
  at: number,
  flags: number,
  envelope: EnvelopeProtocol,
  priority: number,
  bornAt: number,
  expiresAt: number,
  deliverAt: number,
  systemBytes: number,
  propertiesBytes: number,
  envelopeBytes: number,
): number {
  target[at] = MESSAGE_FORMAT;
  target[at + 1] = flags;
  target[at + 2] = envelope;
  target[at + 3] = priority;
  target.writeDoubleLE(bornAt, at + 4);
  target.writeDoubleLE(expiresAt, at + 12);
  target.writeDoubleLE(deliverAt, at + 20);
  target.writeUInt32LE(systemBytes, at + 28);
  target.writeUInt32LE(propertiesBytes, at + 32);
  target.writeUInt32LE(envelopeBytes, at + 36);
  return at + MESSAGE_HEADER_BYTES;
}
