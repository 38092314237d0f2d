import { isUtf8 } from 'node:buffer';
import { Code } from '../codec/constructors.ts';
import { Descriptor } from '../codec/descriptors.ts';
import { Reader, readValue } from '../codec/reader.ts';
import type { Writer } from '../codec/writer.ts';
import type { BodyFact, MessageFacts } from './message-facts.ts';
import { writeDescriptor, writeSection } from './sections-out.ts';
import { base64Bytes } from './typed-properties.ts';

/** Writes the body as an AMQP client had it where that is known and still true, else as `data`; and its footer. */
export function writeBody(writer: Writer, body: Buffer, facts: MessageFacts, isEncoded: boolean): void {
  switch (bodyKind(body, facts.body, isEncoded)) {
    case 'none':
      break;
    case 'null':
      writeSection(writer, Descriptor.amqpValue, { type: 'null' });
      break;
    case 'encoded':
      writer.raw(body);
      break;
    case 'string':
      writeVariable(writer, Descriptor.amqpValue, 'string', body);
      break;
    case 'binary':
      writeVariable(writer, Descriptor.amqpValue, 'binary', body);
      break;
    case 'data':
      writeData(writer, body, facts.body);
  }
  const footer = facts.footer === undefined ? undefined : base64Bytes(facts.footer);
  if (footer !== undefined && isFooter(footer)) {
    writeDescriptor(writer, Descriptor.footer);
    writer.raw(footer);
  }
}

/** How a body is written; a fact that cannot be true of it any more does not count. */
export function bodyKind(body: Buffer, fact: BodyFact | undefined, isEncoded: boolean) {
  switch (fact) {
    case 'none':
    case 'null':
      return body.length === 0 ? fact : 'data';
    case 'string':
      return isUtf8(body) ? fact : 'data';
    case 'encoded':
      return isEncoded && isBodySections(body) ? fact : 'data';
    case 'binary':
      return fact;
    default:
      return 'data';
  }
}

function writeData(writer: Writer, body: Buffer, fact: BodyFact | undefined): void {
  const lengths = typeof fact === 'object' ? fact : [body.length];
  const isWhole = lengths.length > 0 && lengths.reduce((sum, length) => sum + length, 0) === body.length;
  let at = 0;
  for (const length of isWhole ? lengths : [body.length]) {
    writeVariable(writer, Descriptor.data, 'binary', body.subarray(at, at + length));
    at += length;
  }
}

/** A text or binary of these bytes as the value of a section. */
function writeVariable(writer: Writer, descriptor: number, type: 'string' | 'binary', bytes: Buffer): void {
  const isShort = bytes.length <= 0xff;
  writeDescriptor(writer, descriptor);
  if (type === 'binary') writer.byte(isShort ? Code.bin8 : Code.bin32);
  else writer.byte(isShort ? Code.str8 : Code.str32);
  if (isShort) writer.byte(bytes.length);
  else writer.uint32(bytes.length);
  writer.raw(bytes);
}

/** Whether the bytes are one `amqp-value` or sections of `amqp-sequence`, to the last value in them. */
function isBodySections(bytes: Buffer): boolean {
  try {
    const reader = new Reader(bytes, 0, bytes.length);
    let sections = 0;
    let first = 0;
    for (; reader.at < bytes.length; sections++) {
      const descriptor = reader.descriptor('section');
      if (sections === 0) first = descriptor;
      const { type } = reader.value('section');
      if (descriptor !== first || (descriptor === Descriptor.amqpSequence && type !== 'list')) return false;
    }
    return first === Descriptor.amqpSequence || (first === Descriptor.amqpValue && sections === 1);
  } catch {
    return false;
  }
}

function isFooter(bytes: Buffer): boolean {
  try {
    return readValue(bytes, 0, bytes.length).type === 'map';
  } catch {
    return false;
  }
}
