/**
 * The bytes of a message. It is encoded once, by the adapter that took it in, and never rewritten: the engine stores these
 * bytes, and an adapter of the publisher's own protocol copies ranges of them to its subscribers.
 *
 * | at | size | field                                                               |
 * |----|------|---------------------------------------------------------------------|
 * | 0  | 1    | format, 1                                                           |
 * | 1  | 1    | flags: bits 0-1 quality of service, 2 text body, 3 derived address, |
 * |    |      | 4 has an expiry, 5 has a delivery time, 6 retained                  |
 * | 2  | 1    | envelope protocol, 0 when there is none                             |
 * | 3  | 1    | priority, 255 when there is none                                    |
 * | 4  | 8    | bornAt, milliseconds                                                |
 * | 12 | 4    | bytes of the system section                                         |
 * | 16 | 4    | bytes of the property section                                       |
 * | 20 | 4    | bytes of the envelope                                               |
 * | 24 |      | system section: {field u8, length u32, bytes}...                    |
 * |    |      | property section: {key length u16, key, value length u32, value}... |
 * |    | 2    | address length, big endian                                          |
 * |    |      | address, envelope, body                                             |
 *
 * The tail is laid out as MQTT has it (length, topic name, properties, payload), so that the most frequent crossing, MQTT
 * to MQTT, copies one range. Numbers are little endian except the address length.
 *
 * A message of quality 0 or 1 that says nothing but its address and its body may have the plain form instead:
 *
 * | at | size   | field                                                                                |
 * |----|--------|--------------------------------------------------------------------------------------|
 * | 0  | 1      | format, 0x30 at quality 0, 0x32 at quality 1                                         |
 * | 1  | 1 to 4 | bytes behind this field: 7 bits each, lowest first, the top bit set but for the last |
 * |    | 2      | address length, big endian                                                           |
 * |    |        | address, at quality 1 two bytes without meaning, body                                |
 *
 * That is, byte for byte, the PUBLISH packet of MQTT 3 (the two bytes are its packet identifier): runs of received packets
 * are stored and forwarded by one copy, and no header is written per message. Bytes in this form are never written to
 * again. A plain message was born when it was stored.
 */
export const MESSAGE_FORMAT = 1;
/** The plain form; the quality is in the bit that is masked out. */
export const PLAIN_FORMAT = 0x30;
export const PLAIN_FORMAT_MASK = 0xfd;
export const MESSAGE_HEADER_BYTES = 24;
export const NO_PRIORITY = 255;

export const MessageFlag = {
  qosMask: 0b11,
  text: 0b100,
  derivedAddress: 0b1000,
  hasExpiry: 0b1_0000,
  hasDeliveryTime: 0b10_0000,
  retained: 0b100_0000,
} as const;

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
  /** Milliseconds since the epoch, float64. */
  expiresAt: 13,
  /** Milliseconds since the epoch, float64. */
  deliverAt: 14,
  publisher: 15,
  deadLetterReason: 16,
  deadLetterDescription: 17,
  /** What the consumer adds, in the encoding of its protocol. */
  deadLetterDetails: 18,
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
  systemBytes: number,
  propertiesBytes: number,
  envelopeBytes: number,
): number {
  target[at] = MESSAGE_FORMAT;
  target[at + 1] = flags;
  target[at + 2] = envelope;
  target[at + 3] = priority;
  target.writeDoubleLE(bornAt, at + 4);
  writeUint32(target, at + 12, systemBytes);
  writeUint32(target, at + 16, propertiesBytes);
  writeUint32(target, at + 20, envelopeBytes);
  return at + MESSAGE_HEADER_BYTES;
}

/** Buffer's own method checks its arguments, which costs more than the work (Node 20). */
function writeUint32(target: Buffer, at: number, value: number): void {
  target[at] = value;
  target[at + 1] = value >>> 8;
  target[at + 2] = value >>> 16;
  target[at + 3] = value >>> 24;
}

export function readUint32(source: Buffer, at: number): number {
  return (source[at]! | (source[at + 1]! << 8) | (source[at + 2]! << 16) | (source[at + 3]! << 24)) >>> 0;
}
