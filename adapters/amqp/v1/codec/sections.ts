import { NO_BYTES } from './bytes.ts';
import { decodeError } from './codec-error.ts';
import { Code } from './constructors.ts';
import { Descriptor, NAMES } from './descriptors.ts';
import { Reader } from './reader.ts';

/** What a message's body is of; a message of several `data` or `sequence` sections is one body. */
export type BodyKind = 'none' | 'data' | 'sequence' | 'value';

/** Where one section lies in its buffer. */
export class SectionRange {
  /** Where its descriptor begins; -1: there is no such section. */
  start = -1;
  /** Where its value begins: the constructor of a list, map, binary, ... */
  valueStart = -1;
  end = -1;

  clear(): void {
    this.start = this.valueStart = this.end = -1;
  }

  get isPresent(): boolean {
    return this.start >= 0;
  }
}

/** Where the sections of one message lie (AMQP 3.2). To be used again for the next. */
export class MessageSections {
  readonly header = new SectionRange();
  readonly deliveryAnnotations = new SectionRange();
  readonly messageAnnotations = new SectionRange();
  readonly properties = new SectionRange();
  readonly applicationProperties = new SectionRange();
  /** All sections of the body; `valueStart` is that of the first. */
  readonly body = new SectionRange();
  readonly footer = new SectionRange();
  bodyKind: BodyKind = 'none';
  /** How many sections the body has. */
  bodySections = 0;
  /** What finds them. */
  readonly reader = new Reader(NO_BYTES, 0, 0);
}

/** By descriptor, from that of `data` on. */
const BODY_KINDS: readonly BodyKind[] = ['data', 'sequence', 'value'];

/**
 * Finds the sections of the message in [start, end), one of format 0. They have to be in the order of the standard, each
 * once and of its type; what is in them is not looked at. A message without a body passes.
 * @throws CodecError
 */
export function scanSections(buffer: Buffer, start: number, end: number, sections: MessageSections): void {
  clear(sections);
  const { reader } = sections;
  reader.reset(buffer, start, end);
  let previous = 0;
  while (reader.at < end) {
    const sectionStart = reader.at;
    const descriptor = reader.descriptor('section');
    const range = rangeOf(sections, descriptor);
    if (range === undefined) throw decodeError('a section of the message has an unknown descriptor');
    const isRepeated = isRepeatable(descriptor) && descriptor === previous;
    if (!isRepeated) {
      if (range.isPresent) throw decodeError(`the message has ${NAMES[descriptor]} twice`);
      checkOrder(previous, descriptor);
      range.start = sectionStart;
      range.valueStart = reader.at;
    }
    const code = reader.skip(NAMES[descriptor]!);
    if (!isOfType(descriptor, code)) throw decodeError(`the section ${NAMES[descriptor]} is of another type`);
    range.end = reader.at;
    if (range === sections.body) {
      sections.bodyKind = BODY_KINDS[descriptor - Descriptor.data]!;
      sections.bodySections++;
    }
    previous = descriptor;
  }
}

/** The bytes of a `data` body: a view of one section, a copy of several. */
export function dataBody(buffer: Buffer, sections: MessageSections): Buffer {
  const parts = dataSections(buffer, sections);
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

/** The bytes of each section of a `data` body; views. */
export function dataSections(buffer: Buffer, { bodyKind, body }: MessageSections): Buffer[] {
  const parts: Buffer[] = [];
  if (bodyKind !== 'data') return parts;
  const reader = new Reader(buffer, body.start, body.end);
  while (reader.at < body.end) {
    reader.descriptor('data');
    parts.push(reader.binary('data'));
  }
  return parts;
}

function clear(sections: MessageSections): void {
  sections.header.clear();
  sections.deliveryAnnotations.clear();
  sections.messageAnnotations.clear();
  sections.properties.clear();
  sections.applicationProperties.clear();
  sections.body.clear();
  sections.footer.clear();
  sections.bodyKind = 'none';
  sections.bodySections = 0;
}

function isRepeatable(descriptor: number): boolean {
  return descriptor === Descriptor.data || descriptor === Descriptor.amqpSequence;
}

function isBody(descriptor: number): boolean {
  return descriptor >= Descriptor.data && descriptor <= Descriptor.amqpValue;
}

/** The descriptors are numbered in the order the sections have to be in. */
function checkOrder(previous: number, descriptor: number): void {
  if (isBody(previous) && isBody(descriptor)) throw decodeError('the message has bodies of two kinds');
  // rhea, and with it Azure's client, writes the footer before the body.
  if (previous === Descriptor.footer && isBody(descriptor)) return;
  if (descriptor < previous) {
    throw decodeError(`the message has ${NAMES[descriptor]} after ${NAMES[previous]}`);
  }
}

function isOfType(descriptor: number, code: number): boolean {
  switch (descriptor) {
    case Descriptor.header:
    case Descriptor.properties:
    case Descriptor.amqpSequence:
      return code === Code.list0 || code === Code.list8 || code === Code.list32;
    case Descriptor.data:
      return code === Code.bin8 || code === Code.bin32;
    case Descriptor.amqpValue:
      return true;
    default:
      return code === Code.map8 || code === Code.map32;
  }
}

function rangeOf(sections: MessageSections, descriptor: number): SectionRange | undefined {
  switch (descriptor) {
    case Descriptor.header:
      return sections.header;
    case Descriptor.deliveryAnnotations:
      return sections.deliveryAnnotations;
    case Descriptor.messageAnnotations:
      return sections.messageAnnotations;
    case Descriptor.properties:
      return sections.properties;
    case Descriptor.applicationProperties:
      return sections.applicationProperties;
    case Descriptor.data:
    case Descriptor.amqpSequence:
    case Descriptor.amqpValue:
      return sections.body;
    case Descriptor.footer:
      return sections.footer;
    default:
      return undefined;
  }
}
