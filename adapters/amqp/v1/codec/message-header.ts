import { writeUint32 } from './bytes.ts';
import { Code } from './constructors.ts';
import { Descriptor } from './descriptors.ts';
import { Reader } from './reader.ts';
import type { SectionRange } from './sections.ts';

/** The header section (AMQP 3.2.1), with the defaults of the standard filled in. */
export interface MessageHeader {
  durable: boolean;
  priority: number;
  /** -1: none. */
  ttlMs: number;
  firstAcquirer: boolean;
  deliveryCount: number;
}

/** What `writeHeader` writes at most. */
export const HEADER_BYTES_MAX = 20;

const FIELDS_MAX = 5;
const PRIORITY = 4;

/** @throws CodecError */
export function readHeader(buffer: Buffer, { isPresent, valueStart, end }: SectionRange, into: MessageHeader): void {
  into.durable = false;
  into.priority = PRIORITY;
  into.ttlMs = -1;
  into.firstAcquirer = false;
  into.deliveryCount = 0;
  if (!isPresent) return;
  const reader = new Reader(buffer, valueStart, end);
  reader.enter('header', FIELDS_MAX);
  if (reader.has('header.durable')) into.durable = reader.boolean('header.durable');
  if (reader.has('header.priority')) into.priority = reader.ubyte('header.priority');
  if (reader.has('header.ttl')) into.ttlMs = reader.uint('header.ttl');
  if (reader.has('header.first-acquirer')) into.firstAcquirer = reader.boolean('header.first-acquirer');
  if (reader.has('header.delivery-count')) into.deliveryCount = reader.uint('header.delivery-count');
  reader.leave('header', end);
}

/** Writes a header section. Returns where it ends; `at` where there is nothing to say. */
export function writeHeader(target: Buffer, at: number, header: Readonly<MessageHeader>): number {
  const fields = fieldCount(header);
  if (fields === 0) return at;
  target[at] = Code.described;
  target[at + 1] = Code.smallulong;
  target[at + 2] = Descriptor.header;
  target[at + 3] = Code.list8;
  target[at + 5] = fields;
  let next = at + 6;
  target[next++] = header.durable ? Code.true : Code.false;
  if (fields > 1) {
    if (header.priority === PRIORITY) {
      target[next++] = Code.null;
    } else {
      target[next++] = Code.ubyte;
      target[next++] = header.priority;
    }
  }
  if (fields > 2) next = header.ttlMs < 0 ? writeNull(target, next) : writeUint(target, next, header.ttlMs);
  if (fields > 3) target[next++] = header.firstAcquirer ? Code.true : Code.false;
  if (fields > 4) next = writeUint(target, next, header.deliveryCount);
  target[at + 4] = next - at - 5;
  return next;
}

/** Those at the end that have their default are left out. */
function fieldCount({ durable, priority, ttlMs, firstAcquirer, deliveryCount }: Readonly<MessageHeader>): number {
  if (deliveryCount > 0) return 5;
  if (firstAcquirer) return 4;
  if (ttlMs >= 0) return 3;
  if (priority !== PRIORITY) return 2;
  return durable ? 1 : 0;
}

function writeNull(target: Buffer, at: number): number {
  target[at] = Code.null;
  return at + 1;
}

function writeUint(target: Buffer, at: number, value: number): number {
  target[at] = Code.uint;
  return writeUint32(target, at + 1, value);
}
