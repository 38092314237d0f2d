import { decodeError } from '../codec/codec-error.ts';
import { Code } from '../codec/constructors.ts';
import { Reader, readValue } from '../codec/reader.ts';
import type { SectionRange } from '../codec/sections.ts';
import type { AmqpValue } from '../codec/values.ts';
import { Annotation, KEYS_PROPERTY, type Durable } from './message-form.ts';
import { firstPair, pairValues, stringStart } from './system-section.ts';
import { textOf } from './typed-properties.ts';

const HEADER_FIELDS_MAX = 5;
const KEYS = Buffer.from(KEYS_PROPERTY);
const DELIVERY_TIME = Buffer.from(Annotation.deliveryTime);
const DELIVERY_DELAY = Buffer.from(Annotation.deliveryDelay);
const SCHEDULED_ENQUEUE_TIME = Buffer.from(Annotation.scheduledEnqueueTime);
const KEY_LIST = Buffer.from(Annotation.keys);
const BORN_HOST = Buffer.from(Annotation.bornHost);
const JMS_DESTINATION = Buffer.from(Annotation.jmsDestination);
const ANNOTATIONS = [JMS_DESTINATION, DELIVERY_TIME, DELIVERY_DELAY, SCHEDULED_ENQUEUE_TIME, KEY_LIST, BORN_HOST];
/** The lengths of their names, as bits: few other names have one of them. */
const LENGTHS = ANNOTATIONS.reduce((bits, { length }) => bits | (1 << length), 0);
const LENGTH_MAX = 31;
/** Every annotation the gateway knows begins with it. */
const X = 0x78;
const NO_KEYS: readonly string[] = [];

/** What header, annotations and application properties of one message say to the core. To be used again for the next. */
export class MessageHints {
  durable: Durable;
  /** -1: none. */
  priority = -1;
  /** -1: none. */
  ttlMs = -1;
  /** Where the text of the application property `keys` lies; -1: there is none. */
  keysStart = -1;
  keysEnd = -1;
  /** The keys where they are not in one text. */
  keys = NO_KEYS;
  bornHost: string | undefined;
  /** What JMS says that `to` is, as JMS_DESTINATIONS has it; -1: nothing. */
  jmsDestination = -1;
  /** Milliseconds since the epoch; -1: none. */
  private deliveryTimeMs = -1;
  private deliveryDelayMs = -1;
  private readonly reader = new Reader(Buffer.alloc(0), 0, 0);

  /** When it is to be delivered; 0: at once. A time long past is still a delayed message, due at once. */
  deliverAt(nowMs: number): number {
    if (this.deliveryTimeMs > 0) return this.deliveryTimeMs;
    return this.deliveryDelayMs > 0 ? nowMs + this.deliveryDelayMs : 0;
  }

  /** AMQP 3.2.1. @throws CodecError */
  readHeader(buffer: Buffer, { isPresent, valueStart, end }: SectionRange): void {
    this.durable = undefined;
    this.priority = this.ttlMs = -1;
    if (!isPresent) return;
    const { reader } = this;
    reader.reset(buffer, valueStart, end);
    reader.enter('header', HEADER_FIELDS_MAX);
    if (reader.has('header.durable')) this.durable = reader.boolean('header.durable');
    if (reader.has('header.priority')) this.priority = reader.ubyte('header.priority');
    if (reader.has('header.ttl')) this.ttlMs = reader.uint('header.ttl');
    if (reader.has('header.first-acquirer')) reader.boolean('header.first-acquirer');
    if (reader.has('header.delivery-count')) reader.uint('header.delivery-count');
    reader.leave('header', end);
  }

  /** AMQP 3.2.3. @throws CodecError */
  readAnnotations(buffer: Buffer, section: SectionRange): void {
    this.deliveryTimeMs = this.deliveryDelayMs = this.jmsDestination = -1;
    this.keys = NO_KEYS;
    this.bornHost = undefined;
    if (!section.isPresent) return;
    const { reader } = this;
    for (let pairs = this.enterMap(buffer, section); pairs > 0; pairs--) {
      const keyStart = reader.at;
      reader.skip('message-annotations');
      const valueStart = reader.at;
      reader.skip('message-annotations');
      if (mayBeKnown(buffer, keyStart, valueStart)) this.annotation(buffer, keyStart + 2, valueStart);
    }
    this.leaveMap(section.end, 'message-annotations');
  }

  /** AMQP 3.2.5. @throws CodecError */
  readApplicationProperties(buffer: Buffer, section: SectionRange): void {
    this.keysStart = this.keysEnd = -1;
    if (!section.isPresent) return;
    const { reader } = this;
    for (let pairs = this.enterMap(buffer, section); pairs > 0; pairs--) {
      const keyStart = reader.at;
      reader.skip('application-properties');
      const valueStart = reader.at;
      reader.skip('application-properties');
      if (buffer[keyStart] === Code.str8 && isText(buffer, keyStart + 2, valueStart, KEYS)) {
        this.keysProperty(buffer, valueStart, reader.at);
      }
    }
    this.leaveMap(section.end, 'application-properties');
  }

  /** The value in front of where the reader is, of the annotation whose name is in [nameStart, valueStart). */
  private annotation(buffer: Buffer, nameStart: number, valueStart: number): void {
    const name = ANNOTATIONS.find((one) => isText(buffer, nameStart, valueStart, one));
    if (name === undefined) return;
    const value = readValue(buffer, valueStart, this.reader.at, 'message-annotations');
    if (name === DELIVERY_DELAY) this.deliveryDelayMs = millisecondsOf(value);
    else if (name === KEY_LIST) this.keys = textsOf(value);
    else if (name === JMS_DESTINATION) this.jmsDestination = value.type === 'byte' ? value.value : -1;
    else if (name !== BORN_HOST) this.deliveryTimeMs = millisecondsOf(value);
    else if (value.type === 'string') this.bornHost = value.value;
  }

  private keysProperty(buffer: Buffer, valueStart: number, end: number): void {
    // The list in the annotations says the same more exactly.
    if (this.keys.length > 0) return;
    const textStart = stringStart(buffer, valueStart);
    if (textStart >= 0) {
      if (end === textStart) return;
      this.keysStart = textStart;
      this.keysEnd = end;
      return;
    }
    const [text] = textOf(readValue(buffer, valueStart, end, 'application-properties'));
    if (text !== '') this.keys = text.split(',');
  }

  /** Puts the reader in front of the first of the pairs whose number is the answer. */
  private enterMap(buffer: Buffer, { valueStart, end }: SectionRange): number {
    const first = firstPair(buffer, valueStart);
    if (first > end) throw decodeError('a map of the message ends too early');
    const values = pairValues(buffer, valueStart);
    if (values % 2 !== 0) throw decodeError('a map of the message has a key without a value');
    this.reader.reset(buffer, first, end);
    return values / 2;
  }

  private leaveMap(end: number, what: string): void {
    if (this.reader.at !== end) throw decodeError(`${what} is longer than what is in it`);
  }
}

/** Whether the key in [start, end) has the type, length and first letter of an annotation the gateway knows. */
function mayBeKnown(buffer: Buffer, start: number, end: number): boolean {
  const code = buffer[start];
  const length = end - start - 2;
  if ((code !== Code.sym8 && code !== Code.str8) || length > LENGTH_MAX) return false;
  return (LENGTHS & (1 << length)) !== 0 && buffer[start + 2] === X;
}

function isText(buffer: Buffer, from: number, to: number, text: Buffer): boolean {
  if (to - from !== text.length) return false;
  for (let i = 0; i < text.length; i++) if (buffer[from + i] !== text[i]) return false;
  return true;
}

/** A number or time of whatever type as milliseconds; -1 when it is none that can be. */
function millisecondsOf(value: AmqpValue): number {
  if (!('value' in value) || (typeof value.value !== 'number' && typeof value.value !== 'bigint')) return -1;
  const ms = Math.floor(Number(value.value));
  return Number.isSafeInteger(ms) && ms >= 0 ? ms : -1;
}

function textsOf(value: AmqpValue): readonly string[] {
  if (value.type !== 'list') return NO_KEYS;
  return value.value.flatMap((element) => (element.type === 'string' ? [element.value] : []));
}
