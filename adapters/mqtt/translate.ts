import {
  EnvelopeProtocol,
  MESSAGE_HEADER_BYTES,
  MessageFlag,
  NO_PRIORITY,
  PLAIN_FORMAT,
  PLAIN_FORMAT_MASK,
  writeMessageHeader,
} from '../../core/model/message-layout.ts';
import {
  encodeMessage,
  encodeSystemFields,
  Message,
  messageFlags,
  type MessageFields,
  type Property,
} from '../../core/model/message.ts';
import { plainBody } from '../../core/model/plain-body.ts';
import type { Clock } from '../../core/ports/clock.ts';
import type { EnvelopeFields, EnvelopeReader, MessageView } from '../../core/model/message-view.ts';
import { copyBytes, varintLength } from './codec/bytes.ts';
import { copyForwardableProperties, type PublishSource } from './codec/encoder.ts';
import type { Properties, Will } from './codec/packet.ts';
import { encodeProperties, readProperties } from './codec/properties.ts';
import { PropertyOwner } from './codec/property-table.ts';
import type { PublishView } from './codec/publish-view.ts';
import { STRING_BYTES_MAX } from './codec/utf8.ts';
import type { RouteAddition } from './route-addition.ts';

/** Memory that incoming messages are written to, one after the other; the messages keep their chunk alive. */
const ARENA_BYTES = 256 * 1024;

/** User properties that stand for fields of the core message (docs/mapping-mqtt.md). */
const FIELD_PROPERTIES = new Set(['tag', 'keys', 'message-id', 'message-group', 'priority', 'deliver-at']);

/** In front of another publisher's own property that has such a name, so that it comes back as what it was. */
const ESCAPE = 'gantry-';

/** What the core reads of MQTT 5 properties when another protocol asks for them. */
export const MQTT_ENVELOPE_READER: EnvelopeReader = {
  protocol: EnvelopeProtocol.mqtt5,
  read(envelope: Buffer): EnvelopeFields {
    const properties = readProperties(envelope, 0, envelope.length);
    const user = properties.userProperties ?? [];
    return {
      properties: user
        .filter(([key]) => !FIELD_PROPERTIES.has(key) && key !== 'traceparent')
        .map((property): Property => {
          const [key, value] = property;
          return key.startsWith(ESCAPE) && isFieldName(key) ? [key.slice(ESCAPE.length), value] : property;
        }),
      text: properties.payloadFormatIndicator === 1,
      contentType: properties.contentType,
      correlationId: properties.correlationData,
      replyTo: properties.responseTopic,
      traceContext: user.find(([key]) => key === 'traceparent')?.[1],
    };
  },
};

/** Whether it is a name that stands for a field, escaped or not. */
function isFieldName(key: string): boolean {
  let name = key;
  while (name.startsWith(ESCAPE)) name = name.slice(ESCAPE.length);
  return FIELD_PROPERTIES.has(name) || name === 'traceparent';
}

/** Turns PUBLISH packets into messages, without looking at more of them than it must. */
export class InboundTranslator {
  private arena = Buffer.allocUnsafeSlow(ARENA_BYTES);
  private used = 0;

  /** The message of a PUBLISH. `nowMs` is when it was received, `addition` what its topic name says besides. */
  message(publish: PublishView, nowMs: number, addition?: RouteAddition): Message {
    if (addition === undefined && isPlain(publish)) {
      return new Message(publish.buffer, publish.packetStart, publish.payloadEnd);
    }
    return this.write(publish, nowMs, addition);
  }

  /** Nobody needs the messages made so far any more: their memory is used again, which spares the garbage collector. */
  recycle(): void {
    if (this.arena.length === ARENA_BYTES) this.used = 0;
  }

  /** A message with bytes of its own. */
  private write(publish: PublishView, nowMs: number, addition: RouteAddition | undefined): Message {
    const { buffer, topicStart, topicEnd, payloadStart, payloadEnd } = publish;
    const fields = fieldsOf(publish, nowMs, addition);
    const system = fields === undefined ? (addition?.systemBytes ?? NOTHING) : encodeSystemFields(fields);
    const address = addition?.addressBytes;
    const addressRoom = 2 + (address?.length ?? topicEnd - topicStart);
    const propertiesRoom = publish.propertiesEnd - publish.propertiesStart;
    const bodyBytes = payloadEnd - payloadStart;
    const start = this.reserve(MESSAGE_HEADER_BYTES + system.length + addressRoom + propertiesRoom + bodyBytes);
    const target = this.arena;
    let at = start + MESSAGE_HEADER_BYTES;
    if (system.length > 0) at = copyBytes(system, 0, system.length, target, at);
    const envelopeAt =
      address === undefined
        ? copyBytes(buffer, topicStart - 2, topicEnd, target, at)
        : copyBytes(address, 0, address.length, target, target.writeUInt16BE(address.length, at));
    at = propertiesRoom > 0 ? copyForwardableProperties(publish, target, envelopeAt) : envelopeAt;
    const envelopeBytes = at - envelopeAt;
    const end = copyBytes(buffer, payloadStart, payloadEnd, target, at);
    writeMessageHeader(
      target,
      start,
      (fields === undefined ? publish.qos : messageFlags({ ...fields, qos: publish.qos })) |
        (publish.retain ? MessageFlag.retained : 0),
      // Said even of an empty envelope where there are fields: without it they would read as another protocol's.
      envelopeBytes > 0 || system.length > 0 ? EnvelopeProtocol.mqtt5 : EnvelopeProtocol.none,
      fields?.priority ?? NO_PRIORITY,
      nowMs,
      system.length,
      0,
      envelopeBytes,
    );
    this.used = end;
    return new Message(target, start, end);
  }

  private reserve(bytes: number): number {
    if (this.used + bytes > this.arena.length) {
      this.arena = Buffer.allocUnsafeSlow(Math.max(ARENA_BYTES, bytes));
      this.used = 0;
    }
    return this.used;
  }
}

const NOTHING = Buffer.alloc(0);

/** Whether the received packet, as it stands there, is a message in plain form (message-layout.ts). */
function isPlain({ buffer, packetStart, topicStart, topicEnd, payloadStart, payloadEnd }: PublishView): boolean {
  const format = buffer[packetStart]!;
  // Neither the DUP flag nor properties, however few: MQTT 3 has nothing but the packet identifier before the payload.
  if ((format & PLAIN_FORMAT_MASK) !== PLAIN_FORMAT || payloadStart !== topicEnd + (format & 2)) return false;
  // MQTT 3 has no rule against padding the remaining length.
  return topicStart - packetStart === 3 + varintLength(payloadEnd - topicStart + 2);
}

/** The fields of the core message where they depend on this PUBLISH; its own word counts before that of its topic name. */
function fieldsOf(
  publish: PublishView,
  nowMs: number,
  addition: RouteAddition | undefined,
): Partial<MessageFields> | undefined {
  const expiryS = publish.messageExpiryIntervalS;
  const delayMs = addition?.delayMs ?? 0;
  if (!publish.hasUserProperties && expiryS < 0 && delayMs === 0) return undefined;
  const own = publish.hasUserProperties ? propertiesOf(publish) : {};
  const expiresAt = expiryS < 0 ? undefined : nowMs + expiryS * 1000;
  return { expiresAt, ...namedFields(own, nowMs, addition) };
}

/** The fields that the publisher's user properties stand for, and those its topic name adds. */
function namedFields(properties: Properties, nowMs: number, addition: RouteAddition | undefined) {
  const named = properties.userProperties === undefined ? NO_NAMES : namesOf(properties.userProperties);
  const { fields: routed, delayMs = 0, publisher } = addition ?? {};
  return {
    tag: named.get('tag') ?? routed?.tag,
    keys: named.get('keys')?.split(',') ?? routed?.keys ?? [],
    publisher,
    messageId: named.get('message-id'),
    messageGroup: named.get('message-group') ?? routed?.messageGroup,
    priority: integerBelow(named.get('priority'), NO_PRIORITY),
    deliverAt: delayMs > 0 ? nowMs + delayMs : integerBelow(named.get('deliver-at'), Number.MAX_SAFE_INTEGER),
  };
}

const NO_NAMES: ReadonlyMap<string, string> = new Map();

/** The first of each name counts. */
function namesOf(properties: readonly (readonly [string, string])[]): ReadonlyMap<string, string> {
  const named = new Map<string, string>();
  for (const [key, value] of properties) {
    if (FIELD_PROPERTIES.has(key) && !named.has(key)) named.set(key, value);
  }
  return named;
}

function propertiesOf({ buffer, propertiesStart, propertiesEnd }: PublishView): Properties {
  return readProperties(buffer, propertiesStart, propertiesEnd);
}

function integerBelow(text: string | undefined, limit: number): number | undefined {
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return value < limit ? value : undefined;
}

/** Messages as PUBLISH packets. One source object is reused for all of them. */
export class OutboundTranslator {
  private readonly view: (message: Message) => MessageView;
  private readonly source: PublishSource = {
    buffer: NOTHING,
    topicStart: 0,
    topicEnd: 0,
    propertiesStart: 0,
    propertiesEnd: 0,
    payloadStart: 0,
    payloadEnd: 0,
  };
  /** The last message of another protocol, rewritten: fan-out asks for it once per subscriber. */
  private foreign: Message | undefined;
  private rewritten: Message | undefined;

  constructor(view: (message: Message) => MessageView) {
    this.view = view;
  }

  /** Valid until the next call. */
  publishSource(original: Message): PublishSource {
    const message = isMqtt(original) ? original : this.rewrite(original);
    const { source } = this;
    source.buffer = message.buffer;
    source.topicStart = message.addressStart;
    source.topicEnd = message.addressEnd;
    source.propertiesStart = message.isPlain ? message.envelopeEnd : message.addressEnd;
    source.propertiesEnd = source.payloadStart = message.envelopeEnd;
    source.payloadEnd = message.end;
    return source;
  }

  private rewrite(message: Message): Message {
    if (this.foreign !== message || this.rewritten === undefined) {
      this.rewritten = asMqttMessage(this.view(message));
      this.foreign = message;
    }
    return this.rewritten;
  }
}

/** Whether the tail of the message's bytes is topic, MQTT 5 properties and payload already. */
function isMqtt(message: Message): boolean {
  return (
    message.envelopeProtocol === EnvelopeProtocol.mqtt5 ||
    message.isPlain ||
    (message.envelopeProtocol === EnvelopeProtocol.none &&
      !message.hasOwnFields &&
      message.priority === undefined &&
      !message.isText)
  );
}

/** What MQTT has a property for goes there, everything else into user properties. */
function asMqttMessage(view: MessageView): Message {
  const properties: Properties = { userProperties: userProperties(view) };
  if (view.text) properties.payloadFormatIndicator = 1;
  if (view.contentType !== undefined && isMqttText(view.contentType)) properties.contentType = view.contentType;
  if (view.correlationId !== undefined && view.correlationId.length <= STRING_BYTES_MAX) {
    properties.correlationData = Buffer.from(view.correlationId);
  }
  if (view.replyTo !== undefined && isTopicName(view.replyTo)) properties.responseTopic = view.replyTo;
  const bytes = encodeProperties(properties, PropertyOwner.publish);
  return encodeMessage({
    address: view.address,
    body: plainBody(view),
    bornAt: view.bornAt,
    expiresAt: view.expiresAt,
    envelope: { protocol: EnvelopeProtocol.mqtt5, bytes },
  });
}

function userProperties(view: MessageView): [string, string][] {
  const properties = view.properties.map(([key, value]): [string, string] => [
    isFieldName(key) ? ESCAPE + key : key,
    value,
  ]);
  const add = (key: string, value: string | undefined): void => {
    if (value !== undefined && value !== '') properties.push([key, value]);
  };
  add('message-id', view.messageId);
  add('tag', view.tag);
  add('keys', view.keys.join(','));
  add('message-group', view.messageGroup);
  add('priority', view.priority?.toString());
  add('traceparent', view.traceContext);
  add('dead-letter-topic', view.deadLetter?.topic);
  add('dead-letter-message-id', view.deadLetter?.messageId);
  add('dead-letter-reason', view.deadLetter?.reason);
  add('dead-letter-description', view.deadLetter?.description);
  return properties.filter(([key, value]) => isMqttText(key) && isMqttText(value));
}

/** Whether MQTT can say it: other protocols have longer texts, and null characters in them [MQTT-1.5.4-2]. */
function isMqttText(text: string): boolean {
  return !text.includes('\0') && Buffer.byteLength(text) <= STRING_BYTES_MAX;
}

function isTopicName(text: string): boolean {
  return text.length > 0 && !/[+#]/.test(text) && isMqttText(text);
}

/**
 * The properties the gateway adds to a delivery in front of the publisher's own; null for none.
 * @param identifiers encoded Subscription Identifiers
 */
export function addedProperties(
  message: Message,
  identifiers: Buffer | null,
  topicAlias: number | undefined,
  clock: Clock,
): Buffer | null {
  const { expiresAt } = message;
  if (expiresAt === 0 && topicAlias === undefined) return identifiers;
  const properties: Properties = {};
  // The time that is left, rounded up so that it never reads zero while it is deliverable.
  if (expiresAt !== 0) properties.messageExpiryIntervalS = Math.max(1, Math.ceil((expiresAt - clock.now()) / 1000));
  if (topicAlias !== undefined) properties.topicAlias = topicAlias;
  const own = encodeProperties(properties, PropertyOwner.publish);
  return identifiers === null ? own : Buffer.concat([own, identifiers]);
}

/** A will as a message: what a PUBLISH of the same content would be, without its times, which count from its publication. */
export function willMessage(will: Will, address: string, addition: RouteAddition | undefined, nowMs: number): Message {
  const { willDelayIntervalS: _delay, messageExpiryIntervalS: _expiry, ...properties } = will.properties ?? {};
  return encodeMessage({
    address,
    body: will.payload,
    bornAt: nowMs,
    qos: will.qos,
    retained: will.retain,
    ...namedFields(properties, nowMs, addition),
    envelope: { protocol: EnvelopeProtocol.mqtt5, bytes: encodeProperties(properties, PropertyOwner.publish) },
  });
}
