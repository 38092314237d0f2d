import { Descriptor } from '../codec/descriptors.ts';
import { PropertyIndex, PropertyRanges, readProperty, scanProperties } from '../codec/message-properties.ts';
import {
  describedValue,
  intValue,
  listValue,
  NULL_VALUE,
  stringMapValue,
  stringValue,
  textOf,
  ulongValue,
} from '../codec/plain-values.ts';
import type { AmqpMap } from '../codec/performatives.ts';
import { readValue } from '../codec/reader.ts';
import { dataBody, MessageSections, scanSections } from '../codec/sections.ts';
import type { AmqpValue } from '../codec/values.ts';
import { Writer } from '../codec/writer.ts';

/** A message that asks for something. */
export interface Request {
  /** As it came, to be the answer's correlation-id with its type. */
  readonly messageId: AmqpValue | undefined;
  readonly to: string | undefined;
  readonly subject: string | undefined;
  readonly replyTo: string | undefined;
  readonly properties: AmqpMap;
  /** The value, or the bytes of data sections. */
  readonly body: AmqpValue;
}

export interface Response {
  readonly subject?: string | undefined;
  readonly properties: AmqpMap;
  readonly body: AmqpValue;
}

/** What no gateway of ours does. */
export async function notImplemented({ properties }: Request): Promise<Response> {
  const operation = textOf(properties.get('operation')) ?? 'what was asked for';
  const status = statusProperties(501, `${operation} is not implemented`, 'amqp:not-implemented');
  return { properties: status, body: NULL_VALUE };
}

/** @throws CodecError */
export function readRequest(buffer: Buffer, start: number, end: number): Request {
  const sections = new MessageSections();
  scanSections(buffer, start, end, sections);
  const ranges = new PropertyRanges();
  scanProperties(buffer, sections.properties, ranges);
  const field = (index: PropertyIndex): AmqpValue | undefined => readProperty(buffer, ranges, index);
  return {
    messageId: field(PropertyIndex.messageId),
    to: textOf(field(PropertyIndex.to)),
    subject: textOf(field(PropertyIndex.subject)),
    replyTo: textOf(field(PropertyIndex.replyTo)),
    properties: applicationProperties(buffer, sections),
    body: bodyOf(buffer, sections),
  };
}

export function encodeResponse({ messageId = NULL_VALUE }: Request, { subject, properties, body }: Response): Buffer {
  const fields: AmqpValue[] = Array.from({ length: PropertyIndex.correlationId + 1 }, () => NULL_VALUE);
  fields[PropertyIndex.correlationId] = messageId;
  if (subject !== undefined) fields[PropertyIndex.subject] = stringValue(subject);
  const writer = new Writer();
  writer.value(section(Descriptor.properties, listValue(fields)));
  writer.value(section(Descriptor.applicationProperties, stringMapValue(properties)));
  writer.value(section(Descriptor.amqpValue, body));
  return writer.bytes;
}

/** Both spellings of a status that clients look for. */
export function statusProperties(code: number, description: string, condition?: string): AmqpMap {
  return new Map([
    ['status-code', intValue(code)],
    ['statusCode', intValue(code)],
    ['status-description', stringValue(description)],
    ['statusDescription', stringValue(description)],
    ...(condition === undefined ? [] : ([['errorCondition', stringValue(condition)]] as const)),
  ]);
}

function section(descriptor: number, value: AmqpValue): AmqpValue {
  return describedValue(ulongValue(descriptor), value);
}

function applicationProperties(buffer: Buffer, { applicationProperties: range }: MessageSections): AmqpMap {
  const entries = new Map<string, AmqpValue>();
  if (!range.isPresent) return entries;
  const map = readValue(buffer, range.valueStart, range.end, 'application-properties');
  if (map.type !== 'map') return entries;
  for (const [key, value] of map.value) {
    const name = textOf(key);
    if (name !== undefined) entries.set(name, value);
  }
  return entries;
}

function bodyOf(buffer: Buffer, sections: MessageSections): AmqpValue {
  if (sections.bodyKind === 'value') {
    return readValue(buffer, sections.body.valueStart, sections.body.end, 'amqp-value');
  }
  return sections.bodyKind === 'data' ? { type: 'binary', value: dataBody(buffer, sections) } : NULL_VALUE;
}
