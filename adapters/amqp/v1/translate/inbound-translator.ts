import { isUtf8 } from 'node:buffer';
import type { RoutedFields } from '../../../../core/broker.ts';
import {
  EnvelopeProtocol,
  MESSAGE_HEADER_BYTES,
  MessageFlag,
  NO_PRIORITY,
  SystemField,
  writeMessageHeader,
} from '../../../../core/model/message-layout.ts';
import { Message } from '../../../../core/model/message.ts';
import { isAscii, readUint32 } from '../codec/bytes.ts';
import { decodeError } from '../codec/codec-error.ts';
import { Code } from '../codec/constructors.ts';
import { PropertyIndex, PropertyRanges, scanProperties } from '../codec/message-properties.ts';
import { Reader } from '../codec/reader.ts';
import { MessageSections, scanSections } from '../codec/sections.ts';
import { BodyForm, FORM_BYTES_MAX, formByte, JMS_DESTINATIONS, writeFormat } from './message-form.ts';
import { MessageHints } from './message-hints.ts';
import { SystemSection } from './system-section.ts';

/** Memory that incoming messages are written to, one after the other; the messages keep their chunk alive. */
const ARENA_BYTES = 256 * 1024;
/** Room for the system fields of fixed size, and the heads of all. */
const SYSTEM_ROOM = 256;
/** The core keeps a priority in one byte, of which the highest value means that there is none. */
const PRIORITY_MAX = NO_PRIORITY - 1;
/** Up to this length a loop finds out faster than `isUtf8` whether a text is ASCII alone. */
const ASCII_LOOP_BYTES_MAX = 128;
/** The latest time a Date can be. */
const TIME_MAX_MS = 8.64e15;

/** What a message gets besides what its publisher said. */
export interface AddedFields {
  /** What the route of its address says. */
  readonly routed?: Pick<RoutedFields, 'tag' | 'messageGroup' | 'keys'> | undefined;
  /** The client, where its own subscriptions do not want what it publishes. */
  readonly publisher?: string | undefined;
}

/**
 * Turns AMQP messages into core messages, in one copy and without making strings. `scan` looks at one, `message` makes it.
 */
export class InboundTranslator {
  private arena = Buffer.allocUnsafeSlow(ARENA_BYTES);
  private used = 0;
  private buffer: Buffer = this.arena;
  private end = 0;
  private readonly sections = new MessageSections();
  private readonly properties = new PropertyRanges();
  private hasProperties = false;
  private messageFormat = 0;
  private readonly hints = new MessageHints();
  private readonly system = new SystemSection();
  private form: BodyForm = BodyForm.data;
  private bodyStart = 0;
  private bodyEnd = 0;

  /**
   * Looks at the message in [start, end), which has to stay as it is until `message` was called.
   * @param messageFormat goes with it; whatever it is, a message has the sections of format 0 (AMQP 3.2)
   * @throws CodecError when it is not one
   */
  scan(buffer: Buffer, start: number, end: number, messageFormat = 0): void {
    const { sections } = this;
    this.messageFormat = messageFormat;
    this.buffer = buffer;
    this.end = end;
    scanSections(buffer, start, end, sections);
    this.hints.readHeader(buffer, sections.header);
    this.findProperties();
    this.hints.readAnnotations(buffer, sections.messageAnnotations);
    this.hints.readApplicationProperties(buffer, sections.applicationProperties);
    this.findBody();
  }

  /** properties.to of the message scanned; undefined when it has none. */
  get to(): string | undefined {
    return this.textOf(PropertyIndex.to);
  }

  /** Whether the message scanned has a subject or a group, of which an address can be made. */
  get hasAddressFields(): boolean {
    const { starts } = this.properties;
    return starts[PropertyIndex.subject]! >= 0 || starts[PropertyIndex.groupId]! >= 0;
  }

  /** What JMS says that `to` is, as a capability of a terminus; undefined when nothing. */
  get jmsDestination(): string | undefined {
    return JMS_DESTINATIONS[this.hints.jmsDestination];
  }

  /** properties.subject of the message scanned. */
  get subject(): string | undefined {
    return this.textOf(PropertyIndex.subject);
  }

  /** properties.group-id of the message scanned. */
  get groupId(): string | undefined {
    return this.textOf(PropertyIndex.groupId);
  }

  /**
   * The message scanned, with bytes of its own.
   * @param address UTF-8, at most 65,535 bytes
   * @param isDerived whether the gateway made the address up
   * @param added what the message gets besides, where its publisher said nothing
   */
  message(address: Buffer, isDerived: boolean, nowMs: number, added?: AddedFields): Message {
    const { sections, hints, bodyStart, messageFormat } = this;
    const bareStart = bareStartOf(sections, this.end);
    const isWhole = this.form === BodyForm.whole;
    const copied = this.end - bareStart;
    const start = this.reserve(
      MESSAGE_HEADER_BYTES +
        this.systemRoom() +
        addedRoom(added) +
        2 +
        address.length +
        FORM_BYTES_MAX +
        copied * (isWhole ? 2 : 1),
    );
    const target = this.arena;
    const systemStart = start + MESSAGE_HEADER_BYTES;
    const bornAt = this.timeOf(PropertyIndex.creationTime) || nowMs;
    const expiresAt = this.expiresAt(nowMs);
    const deliverAt = hints.deliverAt(nowMs);
    let at = this.writeSystem(target, systemStart, expiresAt, deliverAt, added);
    const systemBytes = at - systemStart;
    target[at++] = address.length >>> 8;
    target[at++] = address.length & 0xff;
    for (let i = 0; i < address.length; i++) target[at++] = address[i]!;
    const envelopeStart = at;
    target[at++] = formByte(this.form, hints.durable, messageFormat);
    at = writeFormat(target, at, messageFormat);
    at += this.buffer.copy(target, at, bareStart, this.end);
    const envelopeEnd = isWhole ? at : at - (this.end - bodyStart);
    if (isWhole) at = this.writeContent(target, at);
    const flags =
      (hints.durable === false ? 0 : 1) |
      (this.form === BodyForm.string ? MessageFlag.text : 0) |
      (isDerived ? MessageFlag.derivedAddress : 0) |
      (expiresAt > 0 ? MessageFlag.hasExpiry : 0) |
      (deliverAt > 0 ? MessageFlag.hasDeliveryTime : 0);
    const priority = hints.priority < 0 ? NO_PRIORITY : Math.min(hints.priority, PRIORITY_MAX);
    const envelopeBytes = envelopeEnd - envelopeStart;
    writeMessageHeader(target, start, flags, EnvelopeProtocol.amqp1, priority, bornAt, systemBytes, 0, envelopeBytes);
    this.used = at;
    return new Message(target, start, at);
  }

  /** Nobody needs the messages made so far any more: their memory is used again, which spares the garbage collector. */
  recycle(): void {
    if (this.arena.length === ARENA_BYTES) this.used = 0;
  }

  private findProperties(): void {
    const { properties } = this.sections;
    // Clearing the ranges costs more than knowing that they are clear.
    if (!properties.isPresent && !this.hasProperties) return;
    // Also if it throws.
    this.hasProperties = true;
    scanProperties(this.buffer, properties, this.properties);
    this.hasProperties = properties.isPresent;
  }

  /** Where the content of the body lies, and how it is kept. */
  private findBody(): void {
    const { sections, buffer, end } = this;
    const { body, bodyKind, bodySections, footer } = sections;
    this.bodyStart = end;
    this.bodyEnd = body.isPresent ? body.end : end;
    if (bodyKind === 'none') this.form = BodyForm.none;
    else if (bodyKind === 'sequence') this.form = BodyForm.encoded;
    else if (bodyKind === 'value') this.form = formOfValue(buffer[body.valueStart]!);
    else this.form = BodyForm.data;
    if (this.form === BodyForm.encoded) this.bodyStart = body.start;
    else if (this.form !== BodyForm.none) this.bodyStart = contentStart(buffer, body.valueStart);
    if (this.form === BodyForm.string && !isText(buffer, this.bodyStart, this.bodyEnd)) {
      throw decodeError('the string in the body is not UTF-8');
    }
    if (footer.isPresent || (bodyKind === 'data' && bodySections > 1)) this.form = BodyForm.whole;
  }

  /** The content of a body that could not stay where it was. */
  private writeContent(target: Buffer, at: number): number {
    const { bodyKind, bodySections, body } = this.sections;
    if (bodyKind !== 'data' || bodySections < 2) {
      return bodyKind === 'none' ? at : at + this.buffer.copy(target, at, this.bodyStart, this.bodyEnd);
    }
    const reader = new Reader(this.buffer, body.start, body.end);
    let next = at;
    while (reader.at < body.end) {
      reader.descriptor('data');
      next += this.buffer.copy(target, next, reader.binaryStart('data'), reader.at);
    }
    return next;
  }

  private writeSystem(
    target: Buffer,
    at: number,
    expiresAt: number,
    deliverAt: number,
    added: AddedFields | undefined,
  ): number {
    const { system, hints, buffer } = this;
    const { starts, ends } = this.properties;
    system.begin(target, at);
    const idStart = starts[PropertyIndex.messageId]!;
    if (idStart >= 0) system.id(SystemField.messageId, buffer, idStart, ends[PropertyIndex.messageId]!);
    this.writeText(SystemField.tag, PropertyIndex.subject);
    if (hints.keysStart >= 0) system.list(SystemField.key, buffer, hints.keysStart, hints.keysEnd);
    for (const key of hints.keys) system.text(SystemField.key, key);
    this.writeText(SystemField.messageGroup, PropertyIndex.groupId);
    if (hints.bornHost !== undefined) system.text(SystemField.bornHost, hints.bornHost);
    if (expiresAt > 0) system.time(SystemField.expiresAt, expiresAt);
    if (deliverAt > 0) system.time(SystemField.deliverAt, deliverAt);
    if (added !== undefined) this.writeAdded(added);
    return system.at;
  }

  private writeAdded({ routed, publisher }: AddedFields): void {
    const { system, hints, properties } = this;
    if (publisher !== undefined) system.text(SystemField.publisher, publisher);
    if (routed === undefined) return;
    const { tag, messageGroup, keys } = routed;
    if (tag !== undefined && properties.starts[PropertyIndex.subject]! < 0) system.text(SystemField.tag, tag);
    if (messageGroup !== undefined && properties.starts[PropertyIndex.groupId]! < 0) {
      system.text(SystemField.messageGroup, messageGroup);
    }
    if (hints.keysStart < 0 && hints.keys.length === 0) for (const key of keys) system.text(SystemField.key, key);
  }

  /** An empty text is no tag and no message group. */
  private writeText(field: number, index: PropertyIndex): void {
    const start = this.properties.starts[index]!;
    if (start < 0 || !isString(this.buffer[start]!)) return;
    const from = contentStart(this.buffer, start);
    const to = this.properties.ends[index]!;
    if (to > from) this.system.bytes(field, this.buffer, from, to);
  }

  /** The earlier of header.ttl from now and properties.absolute-expiry-time; 0: never. */
  private expiresAt(nowMs: number): number {
    const absolute = this.timeOf(PropertyIndex.absoluteExpiryTime);
    const { ttlMs } = this.hints;
    // Clients that mean "for ever" write 0.
    if (ttlMs <= 0) return absolute;
    return absolute === 0 ? nowMs + ttlMs : Math.min(absolute, nowMs + ttlMs);
  }

  /** 0 when it is not there, or no time. */
  private timeOf(index: PropertyIndex): number {
    const start = this.properties.starts[index]!;
    if (start < 0 || this.buffer[start] !== Code.timestamp) return 0;
    const ms = (readUint32(this.buffer, start + 1) | 0) * 2 ** 32 + readUint32(this.buffer, start + 5);
    return ms > 0 && ms <= TIME_MAX_MS ? ms : 0;
  }

  private textOf(index: PropertyIndex): string | undefined {
    const start = this.properties.starts[index]!;
    if (start < 0 || !isString(this.buffer[start]!)) return undefined;
    return this.buffer.toString('utf8', contentStart(this.buffer, start), this.properties.ends[index]);
  }

  /** How many bytes the system fields have at most. */
  private systemRoom(): number {
    const { starts, ends } = this.properties;
    const { keysStart, keysEnd, keys, bornHost } = this.hints;
    let room = SYSTEM_ROOM;
    // A binary message id grows in base64.
    room += 2 * (ends[PropertyIndex.messageId]! - starts[PropertyIndex.messageId]!);
    room += ends[PropertyIndex.subject]! - starts[PropertyIndex.subject]!;
    room += ends[PropertyIndex.groupId]! - starts[PropertyIndex.groupId]!;
    // Every comma ends a key, and every key has a head.
    room += 6 * (keysEnd - keysStart);
    for (const key of keys) room += 5 + 3 * key.length;
    return room + 3 * (bornHost?.length ?? 0);
  }

  private reserve(bytes: number): number {
    if (this.used + bytes > this.arena.length) {
      this.arena = Buffer.allocUnsafeSlow(Math.max(ARENA_BYTES, bytes));
      this.used = 0;
    }
    return this.used;
  }
}

/** Bytes of the fields at most. */
function addedRoom(added: AddedFields | undefined): number {
  if (added === undefined) return 0;
  const { routed, publisher = '' } = added;
  let room = textRoom(publisher) + textRoom(routed?.tag) + textRoom(routed?.messageGroup);
  for (const key of routed?.keys ?? []) room += textRoom(key);
  return room;
}

function textRoom(text = ''): number {
  return 5 + 3 * text.length;
}

function formOfValue(code: number): BodyForm {
  switch (code) {
    case Code.str8:
    case Code.str32:
      return BodyForm.string;
    case Code.bin8:
    case Code.bin32:
      return BodyForm.binary;
    case Code.null:
      return BodyForm.none;
    default:
      return BodyForm.encoded;
  }
}

/** Where the sections begin that are kept: header and delivery annotations belong to one hop. */
function bareStartOf(sections: MessageSections, end: number): number {
  const { messageAnnotations, properties, applicationProperties, body, footer } = sections;
  for (const section of [messageAnnotations, properties, applicationProperties]) {
    if (section.isPresent) return section.start;
  }
  // Some clients write the footer before the body.
  return Math.min(body.isPresent ? body.start : end, footer.isPresent ? footer.start : end);
}

function isText(buffer: Buffer, start: number, end: number): boolean {
  const isShort = end - start <= ASCII_LOOP_BYTES_MAX;
  return (isShort && isAscii(buffer, start, end)) || isUtf8(buffer.subarray(start, end));
}

function isString(code: number): boolean {
  return code === Code.str8 || code === Code.str32;
}

/** Where the bytes of a string, symbol or binary begin whose constructor is at `at`. */
export function contentStart(buffer: Buffer, at: number): number {
  return at + ((buffer[at]! & 0x10) === 0 ? 2 : 5);
}
