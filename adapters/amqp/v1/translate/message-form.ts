import { EnvelopeProtocol } from '../../../../core/model/message-layout.ts';
import type { Message } from '../../../../core/model/message.ts';

/**
 * How an AMQP 1.0 message is kept in a core message. The envelope is one byte, the form with what has to be known of the
 * header, where the message has another format than 0 that in four bytes, and behind it the sections from the message annotations on, as they came. In every form but `whole` they end with
 * the constructor and length of the body, and the body of the core message is their continuation: the bytes behind the first
 * are then the bare message with its annotations, in one piece.
 */
export const BodyForm = {
  /** One `data` section; the body is its content. */
  data: 0,
  /** `amqp-value` with a string; the body is its UTF-8. */
  string: 1,
  /** `amqp-value` with a binary; the body is its content. */
  binary: 2,
  /** `amqp-value` of another type, or `amqp-sequence`: the body is these sections, encoded. */
  encoded: 3,
  /** No body, or `amqp-value` with null. The envelope has it all. */
  none: 4,
  /** Anything else: the envelope has it all, and the body has the content once more, plain. */
  whole: 5,
} as const;
export type BodyForm = (typeof BodyForm)[keyof typeof BodyForm];

const FORM_MASK = 0b111;
const NOT_DURABLE = 0b1000;
const DURABLE = 0b1_0000;
const HAS_FORMAT = 0b10_0000;
const FORMAT_BYTES = 4;
/** In front of the sections. */
export const FORM_BYTES_MAX = 1 + FORMAT_BYTES;

/** What header.durable said; a peer that leaves it out is not one that says false. */
export type Durable = boolean | undefined;

export function formByte(form: BodyForm, durable: Durable, messageFormat: number): number {
  const bits = messageFormat === 0 ? form : form | HAS_FORMAT;
  if (durable === undefined) return bits;
  return bits | (durable ? DURABLE : NOT_DURABLE);
}

/** Behind the form byte: nothing for format 0. @returns where the sections begin */
export function writeFormat(target: Buffer, at: number, messageFormat: number): number {
  return messageFormat === 0 ? at : target.writeUInt32BE(messageFormat, at);
}

/** @param at where the envelope begins */
export function messageFormatOf(buffer: Buffer, at: number): number {
  return (buffer[at]! & HAS_FORMAT) === 0 ? 0 : buffer.readUInt32BE(at + 1);
}

/** Where the sections begin in the envelope at `at`. */
export function sectionsStart(buffer: Buffer, at: number): number {
  return (buffer[at]! & HAS_FORMAT) === 0 ? at + 1 : at + 1 + FORMAT_BYTES;
}

export function bodyFormOf(byte: number): BodyForm {
  return (byte & FORM_MASK) as BodyForm;
}

export function durableOf(byte: number): Durable {
  if ((byte & DURABLE) !== 0) return true;
  return (byte & NOT_DURABLE) !== 0 ? false : undefined;
}

/** The content type of a body that is encoded AMQP, for whoever cannot say it otherwise. */
export const ENCODED_CONTENT_TYPE = 'application/vnd.amqp';

export const MQTT = 'mqtt';
const ROCKETMQ = 'rocketmq';

/** Who took a message in that is not AMQP's, in the words of `x-opt-gantry-from`. */
export function protocolOf(message: Message): string {
  const { envelopeProtocol } = message;
  // A RocketMQ client's message has a message id at least.
  const isMqtt = envelopeProtocol === EnvelopeProtocol.none && !message.hasOwnFields;
  return isMqtt || envelopeProtocol === EnvelopeProtocol.mqtt5 ? MQTT : ROCKETMQ;
}

/** Names in annotations and application properties that stand for fields of the core message. */
export const Annotation = {
  deliveryTime: 'x-opt-delivery-time',
  deliveryDelay: 'x-opt-delivery-delay',
  /** Azure Service Bus. */
  scheduledEnqueueTime: 'x-opt-scheduled-enqueue-time',
  /** Which protocol a message came from, that is, which of its parts the gateway wrote. */
  from: 'x-opt-gantry-from',
  /** All properties, when a name occurs twice: a list of keys and values in turn. */
  duplicates: 'x-opt-duplicates',
  /** The keys, where they cannot be told apart in a comma list. */
  keys: 'x-opt-keys',
  /** A content type that is no symbol, not being ASCII. */
  contentType: 'x-opt-content-type',
  /** A reply address that cannot be told from what AMQP has for it. */
  replyTo: 'x-opt-reply-to',
  bornHost: 'x-opt-born-host',
  deaths: 'x-opt-deaths',
  /** A delivery annotation, where `to` is not the address. */
  address: 'x-opt-address',
  /** Qpid JMS: what kind of message it is; 5 is a TextMessage. */
  jmsMessageType: 'x-opt-jms-msg-type',
  /** Qpid JMS: what `to` is, as JMS_DESTINATIONS has them. */
  jmsDestination: 'x-opt-jms-dest',
} as const;

export const JMS_TEXT_MESSAGE = 5;

/** Capabilities of a terminus for what `x-opt-jms-dest` says, by its value. */
export const JMS_DESTINATIONS: readonly string[] = ['queue', 'topic', 'temporary-queue', 'temporary-topic'];

export const KEYS_PROPERTY = 'keys';
export const TRACE_PROPERTY = 'traceparent';
