import { EnvelopeProtocol } from '../../../../core/model/message-layout.ts';
import type { Message, StoredMessage } from '../../../../core/model/message.ts';
import type { MessageView } from '../../../../core/model/message-view.ts';
import { isDeadLetterTopic } from '../../../../core/model/names.ts';
import { writeUint32 } from '../codec/bytes.ts';
import { Code } from '../codec/constructors.ts';
import { Descriptor } from '../codec/descriptors.ts';
import type { AmqpMap } from '../codec/performatives.ts';
import { symbolValue } from '../codec/plain-values.ts';
import { Reader } from '../codec/reader.ts';
import { Writer } from '../codec/writer.ts';
import type { ValuePair } from './envelope-sections.ts';
import { deathAnnotations } from './dead-letters.ts';
import { foreignMessage, type ForeignMessage } from './foreign-message.ts';
import { isPlainForeign, plainForeign } from './foreign-plain.ts';
import { BodyForm, bodyFormOf, durableOf, messageFormatOf, sectionsStart, type Durable } from './message-form.ts';
import { addressAnnotations, writeSection } from './sections-out.ts';

const HEADER_BYTES_MAX = 32;
const HEADER_FIELDS = 5;
const UINT_MAX = 0xffff_ffff;
const NOTHING: Buffer = Buffer.alloc(0);
const NO_ANNOTATIONS: AmqpMap = new Map();

/**
 * Messages as AMQP 1.0 has them. `translate` leaves the answer in the fields: the bytes [0, headEnd) of `head`, to be copied at
 * once, and behind them those of `buffer` from `start` to `end`, which stay as they are.
 */
export class OutboundTranslator {
  head: Buffer = Buffer.allocUnsafeSlow(HEADER_BYTES_MAX);
  headEnd = 0;
  buffer: Buffer = NOTHING;
  start = 0;
  end = 0;
  messageFormat = 0;
  private readonly header = this.head;
  private readonly view: (message: Message) => MessageView;
  private readonly topicOf: (address: string) => string;
  /** The last message of another protocol, rewritten: fan-out asks for it once per subscriber. */
  private foreign: Message | undefined;
  private rewritten: ForeignMessage | undefined;
  /** The last delivery annotations, and the address in them: many messages in a row have the same. */
  private annotatedAddress: Buffer = NOTHING;
  private addressAnnotations: Buffer = NOTHING;

  /** @param topicOf the topic an address belongs to */
  constructor(view: (message: Message) => MessageView, topicOf: (address: string) => string) {
    this.view = view;
    this.topicOf = topicOf;
  }

  /**
   * The message for one delivery; the answer is good until the next call.
   * @param attempt 1 for the first delivery
   * @param annotations what an earlier receiver wants to be added (AMQP 3.4.5)
   */
  translate(message: StoredMessage, attempt: number, nowMs: number, annotations?: AmqpMap): void {
    let deliveryAnnotations = NOTHING;
    let durable: Durable;
    if (message.envelopeProtocol === EnvelopeProtocol.amqp1) {
      const form = message.buffer[message.addressEnd]!;
      durable = durableOf(form);
      this.buffer = message.buffer;
      this.start = sectionsStart(message.buffer, message.addressEnd);
      this.messageFormat = messageFormatOf(message.buffer, message.addressEnd);
      this.end = bodyFormOf(form) === BodyForm.whole ? message.envelopeEnd : message.end;
      if (!message.isAddressDerived) deliveryAnnotations = this.addressAnnotation(message);
    } else {
      const foreign = this.rewrite(message);
      deliveryAnnotations = foreign.deliveryAnnotations;
      durable = message.qos > 0;
      this.buffer = foreign.bytes;
      this.messageFormat = foreign.messageFormat;
      this.start = 0;
      this.end = foreign.bytes.length;
    }
    this.head = this.header;
    this.headEnd = writeHeader(this.head, durable, message.priority, remainingMs(message.expiresAt, nowMs), attempt);
    const isDead = isDeadLetterTopic(message.topic);
    if (annotations === undefined && !isDead && deliveryAnnotations.length === 0) return;
    this.extendHead(deliveryAnnotations, isDead ? withDeath(message, annotations) : annotations);
  }

  /** Delivery annotations, and the message annotations with others, which then are no longer those of the stored bytes. */
  private extendHead(deliveryAnnotations: Buffer, added: AmqpMap = NO_ANNOTATIONS): void {
    const writer = new Writer();
    writer.raw(this.header.subarray(0, this.headEnd));
    writer.raw(deliveryAnnotations);
    if (added.size > 0) {
      const map = mergedAnnotations(this.takeAnnotations(), added);
      writeSection(writer, Descriptor.messageAnnotations, { type: 'map', value: map });
    }
    this.head = writer.bytes;
    this.headEnd = this.head.length;
  }

  /** Reads the message annotations at `start`, and moves `start` behind them. */
  private takeAnnotations(): readonly ValuePair[] {
    const reader = new Reader(this.buffer, this.start, this.end);
    try {
      if (reader.descriptor('section') !== Descriptor.messageAnnotations) return [];
      const map = reader.value('message-annotations');
      this.start = reader.at;
      return map.type === 'map' ? map.value : [];
    } catch {
      // What was stored is known in its outline only: annotations that are none stay as they came.
      return [];
    }
  }

  /** Where it was published, which its sections need not say: a subscription may be on many addresses. */
  private addressAnnotation({ buffer, addressStart, addressEnd }: Message): Buffer {
    if (buffer.compare(this.annotatedAddress, 0, this.annotatedAddress.length, addressStart, addressEnd) !== 0) {
      this.annotatedAddress = Buffer.from(buffer.subarray(addressStart, addressEnd));
      this.addressAnnotations = addressAnnotations(this.annotatedAddress.toString('utf8'));
    }
    return this.addressAnnotations;
  }

  private rewrite(message: Message): ForeignMessage {
    if (this.foreign !== message || this.rewritten === undefined) {
      this.rewritten = isPlainForeign(message)
        ? plainForeign(message)
        : foreignMessage(message, this.view(message), this.topicOf);
      this.foreign = message;
    }
    return this.rewritten;
  }
}

/** 0: it does not expire. Rounded up, so that it never reads so while it is deliverable. */
function remainingMs(expiresAt: number, nowMs: number): number {
  return expiresAt === 0 ? 0 : Math.min(UINT_MAX, Math.max(1, Math.ceil(expiresAt - nowMs)));
}

/** AMQP 3.2.1. Returns where it ends. */
function writeHeader(
  target: Buffer,
  durable: Durable,
  priority: number | undefined,
  ttlMs: number,
  attempt: number,
): number {
  target[0] = Code.described;
  target[1] = Code.smallulong;
  target[2] = Descriptor.header;
  target[3] = Code.list8;
  target[5] = HEADER_FIELDS;
  target[6] = durable === undefined ? Code.null : durable ? Code.true : Code.false;
  let at = 7;
  if (priority === undefined) {
    target[at++] = Code.null;
  } else {
    target[at++] = Code.ubyte;
    target[at++] = priority;
  }
  if (ttlMs === 0) {
    target[at++] = Code.null;
  } else {
    target[at++] = Code.uint;
    at = writeUint32(target, at, ttlMs);
  }
  target[at++] = attempt <= 1 ? Code.true : Code.false;
  if (attempt <= 1) {
    target[at++] = Code.uint0;
  } else {
    target[at++] = Code.uint;
    at = writeUint32(target, at, attempt - 1);
  }
  target[4] = at - 5;
  return at;
}

function withDeath(message: StoredMessage, annotations: AmqpMap = NO_ANNOTATIONS): AmqpMap {
  return new Map([...deathAnnotations(message), ...annotations]);
}

/** The new value counts, at the old place. */
function mergedAnnotations(stored: readonly ValuePair[], added: AmqpMap): readonly ValuePair[] {
  const left = new Map(added);
  const merged = stored.map(([key, value]): ValuePair => {
    const name = key.type === 'symbol' || key.type === 'string' ? key.value : undefined;
    const replaced = name === undefined ? undefined : left.get(name);
    if (replaced === undefined) return [key, value];
    left.delete(name!);
    return [key, replaced];
  });
  for (const [name, value] of left) merged.push([symbolValue(name), value]);
  return merged;
}
