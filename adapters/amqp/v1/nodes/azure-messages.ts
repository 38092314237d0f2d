import { createHash } from 'node:crypto';
import { messageIdOf } from '../../../../core/model/message-id.ts';
import { deadLetterOf } from '../../../../core/model/message-view.ts';
import type { StoredMessage } from '../../../../core/model/message.ts';
import type { Receipt } from '../../../../core/ports/message-engine.ts';
import { Descriptor } from '../codec/descriptors.ts';
import {
  PropertyIndex,
  PropertyRanges,
  PROPERTY_COUNT,
  readProperty,
  scanProperties,
} from '../codec/message-properties.ts';
import type { AmqpMap } from '../codec/performatives.ts';
import { listValue, longValue, NULL_VALUE, stringValue, timestampValue } from '../codec/plain-values.ts';
import { readValue } from '../codec/reader.ts';
import { MessageSections, scanSections, type SectionRange } from '../codec/sections.ts';
import type { AmqpValue } from '../codec/values.ts';
import { Writer } from '../codec/writer.ts';
import type { OutboundTranslator } from '../translate/outbound-translator.ts';
import { addedAtDeath } from '../translate/dead-letters.ts';
import { writeSection } from '../translate/sections-out.ts';

/** An application property that the message gets. */
type Fact = readonly [name: string, value: AmqpValue];

const TOKEN_BYTES = 16;
/** Above the offset in a sequence number is the message queue, as the partition is at Azure. */
const QUEUE_FACTOR = 2 ** 40;

/** The number of a message that can be looked up: from 1, because clients take 0 for the place before the first. */
export function sequenceNumberOf({ queue, offset }: StoredMessage): number {
  return queue * QUEUE_FACTOR + offset + 1;
}

/** The place a sequence number stands for; that of the first message for 0. */
export function placeOfSequenceNumber(number: number): { readonly queue: number; readonly offset: number } {
  const at = Math.max(0, number - 1);
  return { queue: Math.floor(at / QUEUE_FACTOR), offset: at % QUEUE_FACTOR };
}

/** What Azure's clients call the lock on a message, and find in the delivery tag: a UUID. */
export function lockTokenOf(receipt: Receipt): Buffer {
  return createHash('sha256').update(receipt).digest().subarray(0, TOKEN_BYTES);
}

/** Locks that clients may ask about: of what was sent to them and has no verdict. */
export class Locks {
  private readonly tokens = new Set<string>();

  /** @returns the token */
  add(receipt: Receipt): Buffer {
    const token = lockTokenOf(receipt);
    this.tokens.add(token.toString('latin1'));
    return token;
  }

  delete(receipt: Receipt): void {
    this.tokens.delete(lockTokenOf(receipt).toString('latin1'));
  }

  has(token: Buffer): boolean {
    return this.tokens.has(token.toString('latin1'));
  }
}

/**
 * Turns what was translated into what Azure's clients cannot do without: they settle nothing that has no message id, go on
 * by sequence numbers, and look for the reason of a dead letter in its properties. All others get messages as they came.
 * @param lockedUntil undefined where there is no lock
 */
export function azureMessage(
  outbound: OutboundTranslator,
  message: StoredMessage,
  attempt: number,
  nowMs: number,
  lockedUntil?: number,
  annotations?: AmqpMap,
): Buffer {
  const added = new Map<string, AmqpValue>(annotations);
  added.set('x-opt-sequence-number', longValue(sequenceNumberOf(message)));
  added.set('x-opt-enqueued-time', timestampValue(Math.floor(message.storedAt)));
  if (lockedUntil !== undefined) added.set('x-opt-locked-until', timestampValue(Math.floor(lockedUntil)));
  outbound.translate(message, attempt, nowMs, added);
  const { head, headEnd, buffer, start, end } = outbound;
  const bytes = Buffer.concat([head.subarray(0, headEnd), buffer.subarray(start, end)]);
  return withFacts(bytes, message, [...deathFacts(message), ...modifiedProperties(message, annotations)]);
}

function withFacts(bytes: Buffer, message: StoredMessage, facts: readonly Fact[]): Buffer {
  const sections = new MessageSections();
  scanSections(bytes, 0, bytes.length, sections);
  const { properties, applicationProperties } = sections;
  const ranges = new PropertyRanges();
  scanProperties(bytes, properties, ranges);
  if (ranges.starts[PropertyIndex.messageId]! >= 0 && facts.length === 0) return bytes;
  const writer = new Writer();
  const annotationsEnd = Math.max(
    sections.header.end,
    sections.deliveryAnnotations.end,
    sections.messageAnnotations.end,
    0,
  );
  writer.raw(bytes.subarray(0, annotationsEnd));
  writeSection(writer, Descriptor.properties, withMessageId(bytes, ranges, message));
  if (facts.length === 0) copySection(writer, bytes, applicationProperties);
  else writeSection(writer, Descriptor.applicationProperties, extended(bytes, applicationProperties, facts));
  writer.raw(bytes.subarray(Math.max(annotationsEnd, properties.end, applicationProperties.end)));
  return writer.bytes;
}

function withMessageId(bytes: Buffer, ranges: PropertyRanges, message: StoredMessage): AmqpValue {
  const fields: AmqpValue[] = [];
  for (let index = 0; index < PROPERTY_COUNT; index++) {
    fields.push(readProperty(bytes, ranges, index as PropertyIndex) ?? NULL_VALUE);
  }
  if (fields[PropertyIndex.messageId]!.type === 'null') {
    fields[PropertyIndex.messageId] = stringValue(messageIdOf(message));
  }
  return listValue(fields);
}

/** What clients abandon or give up a message with, Azure has among its properties. */
function modifiedProperties(message: StoredMessage, annotations: AmqpMap | undefined): Fact[] {
  return [...addedAtDeath(message), ...(annotations ?? [])].filter(([name]) => !name.startsWith('x-'));
}

function deathFacts(message: StoredMessage): Fact[] {
  const { reason, description } = deadLetterOf(message) ?? {};
  const facts: Fact[] = [];
  if (reason !== undefined) facts.push(['DeadLetterReason', stringValue(reason)]);
  if (description !== undefined) facts.push(['DeadLetterErrorDescription', stringValue(description)]);
  return facts;
}

function copySection(writer: Writer, bytes: Buffer, { isPresent, start, end }: SectionRange): void {
  if (isPresent) writer.raw(bytes.subarray(start, end));
}

/** The map of the section with other entries, which replace those of the same name. */
function extended(bytes: Buffer, { isPresent, valueStart, end }: SectionRange, facts: readonly Fact[]): AmqpValue {
  const added = new Map(facts);
  const map = isPresent ? readValue(bytes, valueStart, end, 'application-properties') : undefined;
  const stored = map?.type === 'map' ? map.value : [];
  const kept = stored.filter(([key]) => key.type !== 'string' || !added.has(key.value));
  return {
    type: 'map',
    value: [...kept, ...Array.from(added, ([name, value]) => [stringValue(name), value] as const)],
  };
}
