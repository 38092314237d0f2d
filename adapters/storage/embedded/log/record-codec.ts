import { Message } from '../../../../core/model/message.ts';
import { EntryTable } from './entry-table.ts';
import type { ChangeEntry, HeldEntry, HeldKey, LeaseRecord, LogRecord, Replay, SettleEntry } from './record-log.ts';

/**
 * The bytes of records in the write-ahead log, one behind the other; how many there are stands in the frame. Frequent ones
 * are binary, all others JSON. Numbers are little endian; f64 where they may pass 2^32.
 *
 * | record | bytes                                                                                                   |
 * |--------|---------------------------------------------------------------------------------------------------------|
 * | json   | 1, length u32, UTF-8                                                                                    |
 * | lease  | 2, of a member 5, group u32, queue u32, until f64, count u32, {offset f64}, then:                       |
 * |        | length u32, JSON of what their order needs                                                              |
 * | commit | 3, at f64, sends u32, settles u32, holds u32, unholds u32, then each of them in this order:             |
 * |        | sends: {queue u32, offset f64, bytes u32, light queues u32, {serial u32}}..., then all their messages   |
 * |        | settle: kind u8, group u32, queue u32, offset f64, time f64, flag u8                                    |
 * |        | hold: length u32, JSON, bytes u32, message                                                              |
 * |        | unhold: kind u8, id f64, due f64                                                                        |
 * | with   | 4, a commit as in 3, changes u32, then each of them:                                                    |
 * | change | revision f64, key bytes u32, put u8, value bytes u32, key, value                                        |
 */
type OrderPart = Pick<LeaseRecord, 'attemptId' | 'messageGroups'>;

const RecordKind = { json: 1, lease: 2, commit: 3, commitWithChanges: 4, memberLease: 5 } as const;
const SETTLE_KINDS = ['ack', 'extend', 'release'] as const;
const SEND_BYTES = 20;
const SETTLE_BYTES = 26;
const UNHOLD_BYTES = 17;
const COMMIT_HEADER_BYTES = 25;
const CHANGE_HEADER_BYTES = 17;

/** Where records are written: `reserve` gives the place of a record of that size in `buffer`. */
export interface RecordTarget {
  readonly buffer: Buffer;
  reserve(bytes: number): number;
}

export function writeJson(target: RecordTarget, record: LogRecord): void {
  const text = Buffer.from(JSON.stringify(record));
  const at = target.reserve(5 + text.length);
  const { buffer } = target;
  buffer[at] = RecordKind.json;
  buffer.writeUInt32LE(text.length, at + 1);
  text.copy(buffer, at + 5);
}

export function writeLease(target: RecordTarget, record: LeaseRecord): void {
  const { offsets, attemptId, messageGroups } = record;
  const isOrdered = messageGroups !== undefined;
  const order = isOrdered ? Buffer.from(JSON.stringify({ attemptId, messageGroups })) : undefined;
  let at = target.reserve(25 + 8 * offsets.length + (order?.length ?? 0));
  const { buffer } = target;
  buffer[at] = record.isMembers ? RecordKind.memberLease : RecordKind.lease;
  buffer.writeUInt32LE(record.groupSerial, at + 1);
  buffer.writeUInt32LE(record.queueSerial, at + 5);
  buffer.writeDoubleLE(record.until, at + 9);
  buffer.writeUInt32LE(offsets.length, at + 17);
  at += 21;
  for (let i = 0; i < offsets.length; i++) at = buffer.writeDoubleLE(offsets[i]!, at);
  buffer.writeUInt32LE(order?.length ?? 0, at);
  order?.copy(buffer, at + 4);
}

/** Gathers one commit and writes it as one record. Messages that lie side by side in memory are copied at once. */
export class CommitEncoder {
  private at = 0;
  private sends = 0;
  private readonly sendTable = new EntryTable();
  private messageBytes = 0;
  private readonly runBuffers: Buffer[] = [];
  private readonly runRanges: number[] = [];
  private settles = 0;
  private readonly settleTable = new EntryTable();
  private holds: { readonly head: Buffer; readonly message: Message }[] = [];
  private unholds: HeldKey[] = [];
  private changes: { readonly key: Buffer; readonly value: Uint8Array | undefined; readonly revision: number }[] = [];

  begin(at: number): void {
    this.at = at;
    this.sends = 0;
    this.sendTable.length = 0;
    this.messageBytes = 0;
    this.runBuffers.length = 0;
    this.runRanges.length = 0;
    this.settles = 0;
    this.settleTable.length = 0;
    if (this.holds.length > 0) this.holds = [];
    if (this.unholds.length > 0) this.unholds = [];
    if (this.changes.length > 0) this.changes = [];
  }

  addSend(queueSerial: number, offset: number, message: Message, lightQueueSerials: readonly number[]): void {
    const { sendTable } = this;
    const at = sendTable.reserve(SEND_BYTES + 4 * lightQueueSerials.length);
    const { view } = sendTable;
    view.setUint32(at, queueSerial, true);
    view.setFloat64(at + 4, offset, true);
    view.setUint32(at + 12, message.bytes, true);
    view.setUint32(at + 16, lightQueueSerials.length, true);
    for (let i = 0; i < lightQueueSerials.length; i++) {
      view.setUint32(at + SEND_BYTES + 4 * i, lightQueueSerials[i]!, true);
    }
    this.sends++;
    this.messageBytes += message.bytes;
    const { runBuffers, runRanges } = this;
    const last = runBuffers.length - 1;
    if (last >= 0 && runBuffers[last] === message.buffer && runRanges[2 * last + 1] === message.start) {
      runRanges[2 * last + 1] = message.end;
      return;
    }
    runBuffers.push(message.buffer);
    runRanges.push(message.start, message.end);
  }

  addSettle(entry: SettleEntry): void {
    const { settleTable } = this;
    const at = settleTable.reserve(SETTLE_BYTES);
    const { view } = settleTable;
    view.setUint8(at, SETTLE_KINDS.indexOf(entry.kind));
    view.setUint32(at + 1, entry.groupSerial, true);
    view.setUint32(at + 5, entry.queueSerial, true);
    view.setFloat64(at + 9, entry.offset, true);
    view.setFloat64(at + 17, entry.time, true);
    view.setUint8(at + 25, entry.flag ? 1 : 0);
    this.settles++;
  }

  addHold({ message, ...rest }: HeldEntry): void {
    this.holds.push({ head: Buffer.from(JSON.stringify(rest)), message });
  }

  addUnhold(key: HeldKey): void {
    this.unholds.push(key);
  }

  addChange({ key, value, revision }: ChangeEntry): void {
    this.changes.push({ key: Buffer.from(key), value, revision });
  }

  /** Writes the commit; nothing of it refers to the messages' buffers afterwards. */
  writeTo(target: RecordTarget): void {
    const holdBytes = this.holds.reduce((bytes, { head, message }) => bytes + 8 + head.length + message.bytes, 0);
    const rest = this.settleTable.length + holdBytes + this.unholds.length * UNHOLD_BYTES + this.changeBytes;
    let at = target.reserve(COMMIT_HEADER_BYTES + this.sendTable.length + this.messageBytes + rest);
    const { buffer } = target;
    buffer[at] = this.changes.length === 0 ? RecordKind.commit : RecordKind.commitWithChanges;
    at = buffer.writeDoubleLE(this.at, at + 1);
    at = buffer.writeUInt32LE(this.sends, at);
    at = buffer.writeUInt32LE(this.settles, at);
    at = buffer.writeUInt32LE(this.holds.length, at);
    at = buffer.writeUInt32LE(this.unholds.length, at);
    at += this.sendTable.copy(buffer, at);
    for (let i = 0; i < this.runBuffers.length; i++) {
      at += this.runBuffers[i]!.copy(buffer, at, this.runRanges[2 * i], this.runRanges[2 * i + 1]);
    }
    at += this.settleTable.copy(buffer, at);
    for (const { head, message } of this.holds) {
      at = buffer.writeUInt32LE(head.length, at);
      at += head.copy(buffer, at);
      at = buffer.writeUInt32LE(message.bytes, at);
      at += message.buffer.copy(buffer, at, message.start, message.end);
    }
    for (const { kind, id, dueAt } of this.unholds) {
      at = buffer.writeUInt8(kind === 'half' ? 1 : 0, at);
      at = buffer.writeDoubleLE(id, at);
      at = buffer.writeDoubleLE(dueAt, at);
    }
    if (this.changes.length > 0) this.writeChanges(buffer, at);
  }

  private get changeBytes(): number {
    if (this.changes.length === 0) return 0;
    return this.changes.reduce(
      (bytes, { key, value }) => bytes + CHANGE_HEADER_BYTES + key.length + (value?.length ?? 0),
      4,
    );
  }

  private writeChanges(buffer: Buffer, start: number): void {
    let at = buffer.writeUInt32LE(this.changes.length, start);
    for (const { key, value, revision } of this.changes) {
      at = buffer.writeDoubleLE(revision, at);
      at = buffer.writeUInt32LE(key.length, at);
      at = buffer.writeUInt8(value === undefined ? 0 : 1, at);
      at = buffer.writeUInt32LE(value?.length ?? 0, at);
      at += key.copy(buffer, at);
      if (value !== undefined) buffer.set(value, at);
      at += value?.length ?? 0;
    }
  }
}

/** Gives the records in [start, end) to `replay`. The bytes passed a CRC: what does not fit is a defect. */
export function readRecords(buffer: Buffer, start: number, end: number, firstSequence: number, replay: Replay): void {
  // Buffer's own methods check their arguments, which costs more than the work where a log has millions of messages.
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
  let sequence = firstSequence;
  for (let at = start; at < end;) {
    replay.record(sequence++);
    const kind = buffer[at];
    if (kind === RecordKind.json) at = readJson(buffer, at + 1, replay);
    else if (kind === RecordKind.lease || kind === RecordKind.memberLease) at = readLease(buffer, at, replay);
    else if (kind === RecordKind.commit) at = readCommit(buffer, view, at + 1, replay);
    else if (kind === RecordKind.commitWithChanges)
      at = readChanges(buffer, readCommit(buffer, view, at + 1, replay), replay);
    else throw new Error(`unknown kind ${kind} of record ${sequence - 1}`);
  }
}

function readJson(buffer: Buffer, at: number, replay: Replay): number {
  const end = at + 4 + buffer.readUInt32LE(at);
  replay.apply(JSON.parse(buffer.toString('utf8', at + 4, end)) as LogRecord);
  return end;
}

function readLease(buffer: Buffer, kindAt: number, replay: Replay): number {
  const start = kindAt + 1;
  const count = buffer.readUInt32LE(start + 16);
  let at = start + 20;
  const offsets = Array.from({ length: count }, (_, i) => buffer.readDoubleLE(at + 8 * i));
  at += 8 * count;
  const end = at + 4 + buffer.readUInt32LE(at);
  const order = end > at + 4 ? (JSON.parse(buffer.toString('utf8', at + 4, end)) as OrderPart) : undefined;
  replay.lease({
    groupSerial: buffer.readUInt32LE(start),
    queueSerial: buffer.readUInt32LE(start + 4),
    until: buffer.readDoubleLE(start + 8),
    offsets,
    isMembers: buffer[kindAt] === RecordKind.memberLease,
    attemptId: order?.attemptId,
    messageGroups: order?.messageGroups,
  });
  return end;
}

function readCommit(buffer: Buffer, view: DataView, start: number, replay: Replay): number {
  const storedAt = view.getFloat64(start, true);
  const settles = view.getUint32(start + 12, true);
  const holds = view.getUint32(start + 16, true);
  const unholds = view.getUint32(start + 20, true);
  let at = readSends(buffer, view, start + 24, view.getUint32(start + 8, true), storedAt, replay);
  for (let i = 0; i < settles; i++, at += SETTLE_BYTES) replay.settle(readSettle(view, at));
  for (let i = 0; i < holds; i++) at = readHold(buffer, at, replay);
  for (let i = 0; i < unholds; i++, at += UNHOLD_BYTES) {
    const kind = view.getUint8(at) === 1 ? 'half' : 'delayed';
    replay.unhold({ kind, id: view.getFloat64(at + 1, true), dueAt: view.getFloat64(at + 9, true) });
  }
  return at;
}

function readChanges(buffer: Buffer, start: number, replay: Replay): number {
  let at = start + 4;
  for (let i = buffer.readUInt32LE(start); i > 0; i--) {
    const revision = buffer.readDoubleLE(at);
    const valueAt = at + CHANGE_HEADER_BYTES + buffer.readUInt32LE(at + 8);
    const end = valueAt + buffer.readUInt32LE(at + 13);
    const key = buffer.toString('utf8', at + CHANGE_HEADER_BYTES, valueAt);
    replay.change({ key, value: buffer[at + 12] === 1 ? buffer.subarray(valueAt, end) : undefined, revision });
    at = end;
  }
  return at;
}

function readSends(
  buffer: Buffer,
  view: DataView,
  start: number,
  sends: number,
  storedAt: number,
  replay: Replay,
): number {
  let messageAt = start;
  for (let i = 0; i < sends; i++) messageAt += SEND_BYTES + 4 * view.getUint32(messageAt + 16, true);
  let at = start;
  const message = { buffer, start: messageAt, end: messageAt };
  for (let i = 0; i < sends; i++) {
    const queueSerial = view.getUint32(at, true);
    const offset = view.getFloat64(at + 4, true);
    message.start = message.end;
    message.end += view.getUint32(at + 12, true);
    const lightQueues = view.getUint32(at + 16, true);
    at += SEND_BYTES;
    const serials = lightQueues === 0 ? NO_SERIALS : readSerials(view, at, lightQueues);
    at += 4 * lightQueues;
    replay.send(queueSerial, offset, message, storedAt, serials);
  }
  return message.end;
}

const NO_SERIALS: readonly number[] = [];

function readSerials(view: DataView, at: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => view.getUint32(at + 4 * i, true));
}

function readSettle(view: DataView, at: number): SettleEntry {
  return {
    kind: SETTLE_KINDS[view.getUint8(at)]!,
    groupSerial: view.getUint32(at + 1, true),
    queueSerial: view.getUint32(at + 5, true),
    offset: view.getFloat64(at + 9, true),
    time: view.getFloat64(at + 17, true),
    flag: view.getUint8(at + 25) === 1,
  };
}

function readHold(buffer: Buffer, start: number, replay: Replay): number {
  const headEnd = start + 4 + buffer.readUInt32LE(start);
  const head = JSON.parse(buffer.toString('utf8', start + 4, headEnd)) as Omit<HeldEntry, 'message'>;
  const end = headEnd + 4 + buffer.readUInt32LE(headEnd);
  // A copy: the buffer is used again for the next frames.
  const bytes = Buffer.from(Uint8Array.prototype.slice.call(buffer, headEnd + 4, end).buffer);
  replay.hold({ ...head, message: new Message(bytes, 0, bytes.length) });
  return end;
}
