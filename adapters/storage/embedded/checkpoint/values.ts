import { GROUP_ORDERS, type GroupSpec } from '../../../../core/model/consumer-group.ts';
import { Message } from '../../../../core/model/message.ts';
import type { TopicSpec } from '../../../../core/model/topic.ts';
import type { HeldEntry } from '../log/record-log.ts';
import type { MetaValue } from '../meta/meta-state.ts';
import type { ConsumptionSnapshot, PendingOffset } from '../pop/consumption-snapshot.ts';
import type { BlockPlace } from '../queue/block-store.ts';

/** `sequence`: records up to this one are in the value. */
export interface StoredTopic {
  readonly spec: TopicSpec;
  readonly serials: readonly number[];
  readonly sequence: number;
}
export interface StoredGroup {
  readonly spec: GroupSpec;
  readonly serial: number;
  readonly sequence: number;
}
export interface StoredQueue {
  readonly first: number;
  readonly appended: number;
  readonly sequence: number;
}
export interface StoredBlock {
  readonly count: number;
  readonly bytes: number;
  readonly youngestAt: number;
  readonly place: BlockPlace;
}
export interface StoredLightQueue {
  readonly name: string;
  readonly first: number;
  readonly appended: number;
  readonly sequence: number;
}
export interface StoredCheckpoint {
  /** Everything up to here is in the store. */
  readonly sequence: number;
  readonly generation: number;
  readonly lastSerial: number;
  readonly lastHeldId: number;
  readonly lastRevision: number;
}

export function encodeJson(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}

export function decodeJson(bytes: Buffer): unknown {
  return JSON.parse(bytes.toString('utf8'));
}

const PENDING_BYTES = 26;
const CONSUMPTION_HEAD_BYTES = 37;
/** In the number of attempts. */
const MEMBERS_BIT = 0x8000;

/**
 * sequence, floor, cursor, epoch f64, order u8, count u32, {offset f64, visibleAt f64, epoch f64, attempts u16, a bit
 * of it for leases of members}, JSON.
 */
export function encodeConsumption(snapshot: ConsumptionSnapshot, sequence: number): Buffer {
  const { pending, attempts, messageGroups, purgedTo } = snapshot;
  const tail = encodeJson({ attempts, messageGroups, purgedTo });
  const bytes = Buffer.allocUnsafe(CONSUMPTION_HEAD_BYTES + pending.length * PENDING_BYTES + tail.length);
  let at = bytes.writeDoubleLE(sequence, 0);
  at = bytes.writeDoubleLE(snapshot.floor, at);
  at = bytes.writeDoubleLE(snapshot.cursor, at);
  at = bytes.writeDoubleLE(snapshot.epoch, at);
  at = bytes.writeUInt8(GROUP_ORDERS.indexOf(snapshot.order), at);
  at = bytes.writeUInt32LE(pending.length, at);
  for (const { offset, visibleAt, epoch, attempts: count, isMembers } of pending) {
    at = bytes.writeDoubleLE(offset, at);
    at = bytes.writeDoubleLE(visibleAt, at);
    at = bytes.writeDoubleLE(epoch, at);
    at = bytes.writeUInt16LE(isMembers ? count | MEMBERS_BIT : count, at);
  }
  tail.copy(bytes, at);
  return bytes;
}

export function decodeConsumption(bytes: Buffer): { snapshot: ConsumptionSnapshot; sequence: number } {
  const size = bytes.readUInt32LE(33);
  const pending: PendingOffset[] = [];
  let at = CONSUMPTION_HEAD_BYTES;
  for (let i = 0; i < size; i++, at += PENDING_BYTES) {
    const count = bytes.readUInt16LE(at + 24);
    pending.push({
      offset: bytes.readDoubleLE(at),
      visibleAt: bytes.readDoubleLE(at + 8),
      epoch: bytes.readDoubleLE(at + 16),
      attempts: count & ~MEMBERS_BIT,
      isMembers: count >= MEMBERS_BIT,
    });
  }
  const snapshot = {
    floor: bytes.readDoubleLE(8),
    cursor: bytes.readDoubleLE(16),
    epoch: bytes.readDoubleLE(24),
    order: GROUP_ORDERS[bytes[32]!]!,
    pending,
    ...(decodeJson(bytes.subarray(at)) as Pick<ConsumptionSnapshot, 'attempts' | 'messageGroups' | 'purgedTo'>),
  };
  return { snapshot, sequence: bytes.readDoubleLE(0) };
}

/** Length of the JSON u32, JSON, the message. */
export function encodeHeld({ message, ...rest }: HeldEntry): Buffer {
  const head = encodeJson(rest);
  const bytes = Buffer.allocUnsafe(4 + head.length + message.bytes);
  head.copy(bytes, bytes.writeUInt32LE(head.length, 0));
  message.buffer.copy(bytes, 4 + head.length, message.start, message.end);
  return bytes;
}

export function decodeHeld(bytes: Buffer): HeldEntry {
  const headEnd = 4 + bytes.readUInt32LE(0);
  const head = decodeJson(bytes.subarray(4, headEnd)) as Omit<HeldEntry, 'message'>;
  return { ...head, message: new Message(bytes, headEnd, bytes.length) };
}

/** Revision f64, expiry f64, the value. */
export function encodeMeta({ value, revision, expiresAt }: MetaValue): Buffer {
  const bytes = Buffer.allocUnsafe(16 + value.length);
  bytes.writeDoubleLE(revision, 0);
  bytes.writeDoubleLE(expiresAt, 8);
  bytes.set(value, 16);
  return bytes;
}

export function decodeMeta(bytes: Buffer): MetaValue {
  return {
    revision: bytes.readDoubleLE(0),
    expiresAt: bytes.readDoubleLE(8),
    value: Uint8Array.from(bytes.subarray(16)),
  };
}
