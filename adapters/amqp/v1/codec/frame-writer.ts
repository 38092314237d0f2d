import { writeUint16, writeUint32 } from './bytes.ts';
import { Code } from './constructors.ts';
import { Descriptor } from './descriptors.ts';
import type { Accepted, Flow, Released, Role } from './performatives.ts';

/**
 * The frames sent by the hundred thousand, written into reserved memory: every function writes at `at`, at most what the
 * constant beside it says, and returns where it ended.
 */

export const TRANSFER_HEAD_BYTES_MAX = 70;
export const DISPOSITION_BYTES_MAX = 32;
export const FLOW_BYTES_MAX = 64;
export const EMPTY_FRAME_BYTES = 8;

/** Frame header, described constructor, list8 with size and count. */
const FIELDS_AT = 14;

/**
 * A transfer up to its payload, of which the frame has `payloadBytes`.
 * @param deliveryId -1 in the frames of a delivery after its first, as messageFormat
 * @param tag at most 32 bytes; a number stands for four bytes
 */
export function writeTransfer(
  target: Buffer,
  at: number,
  channel: number,
  handle: number,
  deliveryId: number,
  tag: Buffer | number | undefined,
  messageFormat: number,
  settled: boolean,
  more: boolean,
  payloadBytes: number,
): number {
  let next = writeUint(target, at + FIELDS_AT, handle);
  let fields = 1;
  if (deliveryId >= 0) {
    next = writeUint(target, next, deliveryId);
    next = writeTag(target, next, tag);
    next = writeUintOrNull(target, next, messageFormat);
    target[next++] = settled ? Code.true : Code.false;
    fields = 5;
  }
  if (more) {
    for (; fields < 5; fields++) target[next++] = Code.null;
    target[next++] = Code.true;
    fields++;
  }
  writeHead(target, at, channel, Descriptor.transfer, next, fields, payloadBytes);
  return next;
}

function writeTag(target: Buffer, at: number, tag: Buffer | number | undefined): number {
  if (tag === undefined) {
    target[at] = Code.null;
    return at + 1;
  }
  target[at] = Code.bin8;
  if (typeof tag === 'number') {
    target[at + 1] = 4;
    return writeUint32(target, at + 2, tag);
  }
  target[at + 1] = tag.length;
  // At most 32 bytes: a loop is faster than a call of `copy`.
  for (let i = 0; i < tag.length; i++) target[at + 2 + i] = tag[i]!;
  return at + 2 + tag.length;
}

/** What has to be said with more than a word (rejected, modified, ...) goes by `encodeFrame`. */
export function writeDisposition(
  target: Buffer,
  at: number,
  channel: number,
  role: Role,
  first: number,
  last: number,
  settled: boolean,
  state: Accepted | Released | undefined,
): number {
  let next = at + FIELDS_AT;
  target[next++] = role === 'receiver' ? Code.true : Code.false;
  next = writeUint(target, next, first);
  next = last === first ? writeUintOrNull(target, next, -1) : writeUint(target, next, last);
  target[next++] = settled ? Code.true : Code.false;
  if (state !== undefined) {
    target[next++] = Code.described;
    target[next++] = Code.smallulong;
    target[next++] = state.kind === 'accepted' ? Descriptor.accepted : Descriptor.released;
    target[next++] = Code.list0;
  }
  writeHead(target, at, channel, Descriptor.disposition, next, state === undefined ? 4 : 5, 0);
  return next;
}

export function writeFlow(target: Buffer, at: number, channel: number, flow: Flow): number {
  let next = writeUintOrNull(target, at + FIELDS_AT, flow.nextIncomingId);
  next = writeUint(target, next, flow.incomingWindow);
  next = writeUint(target, next, flow.nextOutgoingId);
  next = writeUint(target, next, flow.outgoingWindow);
  next = writeUintOrNull(target, next, flow.handle);
  next = writeUintOrNull(target, next, flow.deliveryCount);
  next = writeUintOrNull(target, next, flow.linkCredit);
  next = writeUintOrNull(target, next, flow.available);
  target[next++] = flow.drain ? Code.true : Code.false;
  target[next++] = flow.echo ? Code.true : Code.false;
  writeHead(target, at, channel, Descriptor.flow, next, 10, 0);
  return next;
}

export function writeEmptyFrame(target: Buffer, at: number, channel: number): number {
  return writeFrameHeader(target, at, EMPTY_FRAME_BYTES, 0, channel);
}

export function writeFrameHeader(target: Buffer, at: number, bytes: number, type: 0 | 1, channel: number): number {
  writeUint32(target, at, bytes);
  target[at + 4] = 2;
  target[at + 5] = type;
  return writeUint16(target, at + 6, channel);
}

/** What stands before the fields, which end at `end`. */
function writeHead(
  target: Buffer,
  at: number,
  channel: number,
  descriptor: number,
  end: number,
  fields: number,
  payloadBytes: number,
): void {
  const next = writeFrameHeader(target, at, end - at + payloadBytes, 0, channel);
  target[next] = Code.described;
  target[next + 1] = Code.smallulong;
  target[next + 2] = descriptor;
  target[next + 3] = Code.list8;
  target[next + 4] = end - (next + 5);
  target[next + 5] = fields;
}

function writeUint(target: Buffer, at: number, value: number): number {
  if (value === 0) {
    target[at] = Code.uint0;
    return at + 1;
  }
  if (value < 256) {
    target[at] = Code.smalluint;
    target[at + 1] = value;
    return at + 2;
  }
  target[at] = Code.uint;
  return writeUint32(target, at + 1, value);
}

/** Null where the value is undefined or -1. */
function writeUintOrNull(target: Buffer, at: number, value: number | undefined): number {
  if (value !== undefined && value >= 0) return writeUint(target, at, value);
  target[at] = Code.null;
  return at + 1;
}
