import { BrokerError } from './broker-error.ts';
import {
  EnvelopeProtocol,
  MESSAGE_HEADER_BYTES,
  MessageFlag,
  NO_PRIORITY,
  PLAIN_FORMAT,
  PLAIN_FORMAT_MASK,
  readUint32,
  SystemField,
  writeMessageHeader,
} from './message-layout.ts';
import { LIMITS } from './limits.ts';

/** 0 at most once, 1 at least once, 2 exactly once between client and gateway: what the publisher asked for. */
export type Quality = 0 | 1 | 2;

export type Property = readonly [key: string, value: string];

/**
 * One message, immutable: a view on its bytes (see message-layout.ts). Nothing is decoded before it is asked for; the
 * offsets are public so that adapters can copy ranges without making strings or slices.
 */
export class Message {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
  /** Whether the bytes have the plain form: all that can be said of the message is its address and body. */
  readonly isPlain: boolean;
  readonly addressStart: number;
  readonly addressEnd: number;
  readonly envelopeEnd: number;

  /** The bytes [start, end) of `buffer` must hold one whole message and must not change afterwards. */
  constructor(buffer: Buffer, start: number, end: number) {
    this.buffer = buffer;
    this.start = start;
    this.end = end;
    const format = buffer[start]!;
    this.isPlain = (format & PLAIN_FORMAT_MASK) === PLAIN_FORMAT;
    const lengthAt = this.isPlain
      ? plainLengthAt(buffer, start)
      : start + MESSAGE_HEADER_BYTES + readUint32(buffer, start + 12) + readUint32(buffer, start + 16);
    this.addressStart = lengthAt + 2;
    this.addressEnd = this.addressStart + ((buffer[lengthAt]! << 8) | buffer[lengthAt + 1]!);
    // At quality 1 the plain form has two bytes there, format & 2.
    this.envelopeEnd = this.addressEnd + (this.isPlain ? format & 2 : readUint32(buffer, start + 20));
  }

  get bytes(): number {
    return this.end - this.start;
  }
  get qos(): Quality {
    return (this.flags & MessageFlag.qosMask) as Quality;
  }
  /** Whether the publisher said that the body is UTF-8 text. */
  get isText(): boolean {
    return (this.flags & MessageFlag.text) !== 0;
  }
  /** Whether the address was made up by the gateway because the publisher gave none. */
  get isAddressDerived(): boolean {
    return (this.flags & MessageFlag.derivedAddress) !== 0;
  }
  /** Whether the publisher asked to keep it for those who subscribe to its address later. */
  get isRetained(): boolean {
    return !this.isPlain && (this.buffer[this.start + 1]! & MessageFlag.retained) !== 0;
  }
  get envelopeProtocol(): EnvelopeProtocol {
    return this.isPlain ? EnvelopeProtocol.none : (this.buffer[this.start + 2] as EnvelopeProtocol);
  }
  get priority(): number | undefined {
    const priority = this.isPlain ? NO_PRIORITY : this.buffer[this.start + 3]!;
    return priority === NO_PRIORITY ? undefined : priority;
  }
  /** Milliseconds since the epoch, by the publisher's clock where it said so. 0 for a plain message not stored yet. */
  get bornAt(): number {
    return this.isPlain ? 0 : this.buffer.readDoubleLE(this.start + 4);
  }
  /** Milliseconds since the epoch; 0 never. */
  get expiresAt(): number {
    return this.flaggedTime(MessageFlag.hasExpiry, SystemField.expiresAt);
  }
  isExpired(nowMs: number): boolean {
    const { expiresAt } = this;
    return expiresAt !== 0 && expiresAt <= nowMs;
  }
  get hasDeliveryTime(): boolean {
    return !this.isPlain && (this.buffer[this.start + 1]! & MessageFlag.hasDeliveryTime) !== 0;
  }
  /** Milliseconds since the epoch; 0 at once. */
  get deliverAt(): number {
    return this.flaggedTime(MessageFlag.hasDeliveryTime, SystemField.deliverAt);
  }
  get address(): string {
    return this.buffer.toString('utf8', this.addressStart, this.addressEnd);
  }
  get envelope(): Buffer {
    return this.buffer.subarray(this.isPlain ? this.envelopeEnd : this.addressEnd, this.envelopeEnd);
  }
  get bodyBytes(): number {
    return this.end - this.envelopeEnd;
  }
  get body(): Buffer {
    return this.buffer.subarray(this.envelopeEnd, this.end);
  }
  /** False for the plain message of most publishers; saves looking for fields one by one. */
  get hasSystemFields(): boolean {
    return this.systemEnd !== this.systemStart;
  }
  /** Whether it has system fields or own properties, that is, more than address, envelope and body. */
  get hasOwnFields(): boolean {
    return !this.isPlain && this.addressStart !== this.start + MESSAGE_HEADER_BYTES + 2;
  }
  get messageId(): string | undefined {
    return this.systemText(SystemField.messageId);
  }
  get tag(): string | undefined {
    return this.systemText(SystemField.tag);
  }
  get messageGroup(): string | undefined {
    return this.systemText(SystemField.messageGroup);
  }
  get publisher(): string | undefined {
    return this.systemText(SystemField.publisher);
  }
  get keys(): string[] {
    const keys: string[] = [];
    this.forEachSystemField((field, from, to) => {
      if (field === SystemField.key) keys.push(this.buffer.toString('utf8', from, to));
    });
    return keys;
  }

  /** The text of a system field, undefined when it is not there. */
  systemText(field: number): string | undefined {
    const bytes = this.systemBytes(field);
    return bytes === undefined ? undefined : bytes.toString('utf8');
  }

  /** The bytes of a system field, undefined when it is not there. */
  systemBytes(wanted: number): Buffer | undefined {
    let at = this.systemStart;
    const end = this.systemEnd;
    while (at < end) {
      const from = at + 5;
      const to = from + this.buffer.readUInt32LE(at + 1);
      if (this.buffer[at] === wanted) return this.buffer.subarray(from, to);
      at = to;
    }
    return undefined;
  }

  /** The properties that stand in the property section; those of the envelope are read by message-view.ts. */
  get ownProperties(): Property[] {
    const properties: Property[] = [];
    const { buffer } = this;
    let at = this.systemEnd;
    // What is between the system section and the address length is the property section.
    const end = this.isPlain ? at : this.addressStart - 2;
    while (at < end) {
      const valueAt = at + 2 + buffer.readUInt16LE(at);
      const valueEnd = valueAt + 4 + buffer.readUInt32LE(valueAt);
      properties.push([buffer.toString('utf8', at + 2, valueAt), buffer.toString('utf8', valueAt + 4, valueEnd)]);
      at = valueEnd;
    }
    return properties;
  }

  private get flags(): number {
    return this.isPlain ? (this.buffer[this.start]! >> 1) & MessageFlag.qosMask : this.buffer[this.start + 1]!;
  }
  private get systemStart(): number {
    return this.start + MESSAGE_HEADER_BYTES;
  }
  /** Equal to `systemStart` when there are no system fields. */
  private get systemEnd(): number {
    return this.isPlain ? this.systemStart : this.systemStart + readUint32(this.buffer, this.start + 12);
  }

  private flaggedTime(flag: number, field: number): number {
    if ((this.flags & flag) === 0) return 0;
    return this.systemBytes(field)?.readDoubleLE(0) ?? 0;
  }

  private forEachSystemField(visit: (field: number, from: number, to: number) => void): void {
    let at = this.systemStart;
    const end = this.systemEnd;
    while (at < end) {
      const to = at + 5 + this.buffer.readUInt32LE(at + 1);
      visit(this.buffer[at]!, at + 5, to);
      at = to;
    }
  }
}

/** A message at its place in a message queue. */
export class StoredMessage extends Message {
  readonly topic: string;
  readonly queue: number;
  readonly offset: number;
  /** When it became part of the queue, milliseconds since the epoch, by the gateway's clock. */
  readonly storedAt: number;

  constructor(
    buffer: Buffer,
    start: number,
    end: number,
    topic: string,
    queue: number,
    offset: number,
    storedAt: number,
  ) {
    super(buffer, start, end);
    this.topic = topic;
    this.queue = queue;
    this.offset = offset;
    this.storedAt = storedAt;
  }

  override get bornAt(): number {
    return this.isPlain ? this.storedAt : super.bornAt;
  }
}

/** Where the address length of a message in plain form stands. */
function plainLengthAt(buffer: Buffer, start: number): number {
  let at = start + 1;
  while (buffer[at]! > 0x7f) at++;
  return at + 1;
}

/** Where a message was given up, and why. */
export interface DeadLetter {
  readonly topic: string;
  readonly messageId: string;
  /** Undefined for what became a dead letter before reasons were kept. */
  readonly reason?: string | undefined;
  /** The reason in more words, where the consumer gave any. */
  readonly description?: string | undefined;
}

/** Everything a message can say, as values; `encodeMessage` turns it into bytes. */
export interface MessageFields {
  readonly address: string;
  readonly body: Uint8Array;
  readonly bornAt: number;
  readonly qos?: Quality;
  readonly text?: boolean;
  readonly addressDerived?: boolean;
  readonly retained?: boolean;
  readonly properties?: readonly Property[];
  readonly messageId?: string | undefined;
  readonly tag?: string | undefined;
  readonly keys?: readonly string[];
  readonly messageGroup?: string | undefined;
  readonly deliverAt?: number | undefined;
  readonly expiresAt?: number | undefined;
  readonly priority?: number | undefined;
  readonly bornHost?: string | undefined;
  /** The client id, where its own subscriptions do not want what it publishes. */
  readonly publisher?: string | undefined;
  readonly contentType?: string | undefined;
  readonly correlationId?: Uint8Array | undefined;
  readonly replyTo?: string | undefined;
  readonly traceContext?: string | undefined;
  readonly deadLetter?: DeadLetter | undefined;
  /** What the consumer who gave it up adds, in the encoding of its protocol. */
  readonly deadLetterDetails?: Uint8Array | undefined;
  /** RocketMQ: how the body is compressed, passed through to its clients. */
  readonly bodyEncoding?: string | undefined;
  readonly envelope?: { readonly protocol: EnvelopeProtocol; readonly bytes: Uint8Array } | undefined;
}

/**
 * Encodes a message. For callers off the hot path; the MQTT adapter writes the same layout in place.
 * @throws BrokerError ILLEGAL_ADDRESS, MESSAGE_PROPERTIES_TOO_LARGE
 */
export function encodeMessage(fields: MessageFields): Message {
  const address = Buffer.from(fields.address, 'utf8');
  if (address.length > LIMITS.addressBytesMax) {
    throw new BrokerError('ILLEGAL_ADDRESS', `the address is longer than ${LIMITS.addressBytesMax} bytes`);
  }
  const system = encodeSystemFields(fields);
  const properties = encodeOwnProperties(fields.properties ?? []);
  const envelope = fields.envelope?.bytes ?? Buffer.alloc(0);
  const length =
    MESSAGE_HEADER_BYTES +
    system.length +
    properties.length +
    2 +
    address.length +
    envelope.length +
    fields.body.length;
  const target = Buffer.allocUnsafeSlow(length);
  let at = writeMessageHeader(
    target,
    0,
    messageFlags(fields),
    fields.envelope?.protocol ?? EnvelopeProtocol.none,
    fields.priority ?? NO_PRIORITY,
    fields.bornAt,
    system.length,
    properties.length,
    envelope.length,
  );
  at += system.copy(target, at);
  at += properties.copy(target, at);
  at = target.writeUInt16BE(address.length, at);
  at += address.copy(target, at);
  target.set(envelope, at);
  target.set(fields.body, at + envelope.length);
  return new Message(target, 0, length);
}

/**
 * The message as born at another time, and expiring `expiryMs` after it where given. For messages that are made long
 * before they are published; not for the plain form.
 */
export function rebornAt(message: Message, nowMs: number, expiryMs: number | undefined): Message {
  const { buffer, start } = message;
  const added = expiryMs === undefined ? Buffer.alloc(0) : encodeSystemFields({ expiresAt: nowMs + expiryMs });
  const systemEnd = start + MESSAGE_HEADER_BYTES + readUint32(buffer, start + 12);
  const bytes = Buffer.concat([buffer.subarray(start, systemEnd), added, buffer.subarray(systemEnd, message.end)]);
  if (added.length > 0) bytes[1]! |= MessageFlag.hasExpiry;
  bytes.writeDoubleLE(nowMs, 4);
  bytes.writeUInt32LE(systemEnd - start - MESSAGE_HEADER_BYTES + added.length, 12);
  return new Message(bytes, 0, bytes.length);
}

/** The flags byte that goes with the fields. Quality of service is 1 unless said otherwise. */
export function messageFlags(fields: Partial<MessageFields>): number {
  return (
    (fields.qos ?? 1) |
    (fields.text === true ? MessageFlag.text : 0) |
    (fields.addressDerived === true ? MessageFlag.derivedAddress : 0) |
    (fields.retained === true ? MessageFlag.retained : 0) |
    (isTime(fields.expiresAt) ? MessageFlag.hasExpiry : 0) |
    (isTime(fields.deliverAt) ? MessageFlag.hasDeliveryTime : 0)
  );
}

/** 0 stands for none, as the getters answer it. */
function isTime(time: number | undefined): time is number {
  return time !== undefined && time !== 0;
}

function timeBytes(time: number | undefined): Buffer | undefined {
  if (!isTime(time)) return undefined;
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeDoubleLE(time, 0);
  return bytes;
}

/** The system section of the fields given, empty when there are none. */
export function encodeSystemFields(fields: Partial<MessageFields>): Buffer {
  const parts: Buffer[] = [];
  const put = (field: number, value: string | Uint8Array | undefined): void => {
    if (value === undefined) return;
    const bytes = Buffer.from(value);
    const head = Buffer.allocUnsafe(5);
    head[0] = field;
    head.writeUInt32LE(bytes.length, 1);
    parts.push(head, bytes);
  };
  put(SystemField.messageId, fields.messageId);
  put(SystemField.tag, fields.tag);
  for (const key of fields.keys ?? []) put(SystemField.key, key);
  put(SystemField.messageGroup, fields.messageGroup);
  put(SystemField.bornHost, fields.bornHost);
  put(SystemField.contentType, fields.contentType);
  put(SystemField.correlationId, fields.correlationId);
  put(SystemField.replyTo, fields.replyTo);
  put(SystemField.traceContext, fields.traceContext);
  put(SystemField.deadLetterTopic, fields.deadLetter?.topic);
  put(SystemField.deadLetterMessageId, fields.deadLetter?.messageId);
  put(SystemField.deadLetterReason, fields.deadLetter?.reason);
  put(SystemField.deadLetterDescription, fields.deadLetter?.description);
  put(SystemField.deadLetterDetails, fields.deadLetterDetails);
  put(SystemField.bodyEncoding, fields.bodyEncoding);
  put(SystemField.expiresAt, timeBytes(fields.expiresAt));
  put(SystemField.deliverAt, timeBytes(fields.deliverAt));
  put(SystemField.publisher, fields.publisher);
  return Buffer.concat(parts);
}

function encodeOwnProperties(properties: readonly Property[]): Buffer {
  const parts: Buffer[] = [];
  for (const [key, value] of properties) {
    const keyBytes = Buffer.from(key, 'utf8');
    const valueBytes = Buffer.from(value, 'utf8');
    if (keyBytes.length > 0xffff) {
      throw new BrokerError('MESSAGE_PROPERTIES_TOO_LARGE', 'a property key is longer than 65535 bytes');
    }
    const keyHead = Buffer.allocUnsafe(2);
    keyHead.writeUInt16LE(keyBytes.length, 0);
    const valueHead = Buffer.allocUnsafe(4);
    valueHead.writeUInt32LE(valueBytes.length, 0);
    parts.push(keyHead, keyBytes, valueHead, valueBytes);
  }
  return Buffer.concat(parts);
}
