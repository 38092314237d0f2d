import type { HeldKey } from '../log/record-log.ts';

/**
 * What stands where in the key-value store. Numbers are hexadecimal with leading zeros, so that keys sort by them.
 *
 * | key                  | value                                                             |
 * |----------------------|-------------------------------------------------------------------|
 * | checkpoint           | JSON: sequence from which the log has to be replayed, counters    |
 * | t/NAME               | JSON: topic and the serials of its queues                         |
 * | g/NAME               | JSON: consumer group and its serial                               |
 * | q/QUEUE              | JSON: first and next offset                                       |
 * | b/QUEUE/BASE         | JSON: a block's count, size, age and place                        |
 * | i/QUEUE/BASE         | the bytes of a block too small for a file                         |
 * | l/QUEUE              | JSON: light queue                                                 |
 * | e/QUEUE/END          | a chunk of its entries, END is behind its last                    |
 * | c/QUEUE/GROUP        | a group's progress in a queue                                     |
 * | d/DUE/ID, x/ID       | a delayed message, the half of a transaction                      |
 * | m/KEY                | the meta store's value with its revision and expiry               |
 */
export const CHECKPOINT_KEY = 'checkpoint';

export function topicKey(name: string): string {
  return `t/${name}`;
}
export function groupKey(name: string): string {
  return `g/${name}`;
}
export function queueKey(serial: number): string {
  return `q/${hex(serial, 8)}`;
}
export function blockKey(serial: number, baseOffset: number): string {
  return `b/${hex(serial, 8)}/${hex(baseOffset, 14)}`;
}
export function inlineKey(serial: number, baseOffset: number): string {
  return `i/${hex(serial, 8)}/${hex(baseOffset, 14)}`;
}
export function lightQueueKey(serial: number): string {
  return `l/${hex(serial, 8)}`;
}
export function chunkKey(serial: number, end: number): string {
  return `e/${hex(serial, 8)}/${hex(end, 14)}`;
}
/** The chunk with the entry, and those behind it. */
export function chunksBehind(serial: number, offset: number): [from: string, to: string] {
  return [chunkKey(serial, offset + 1), rangeOf(`e/${hex(serial, 8)}/`)[1]];
}
export function consumptionKey(queueSerial: number, groupSerial: number): string {
  return `c/${hex(queueSerial, 8)}/${hex(groupSerial, 8)}`;
}
export function heldKey({ id, kind, dueAt }: HeldKey): string {
  return kind === 'half' ? `x/${hex(id, 14)}` : `d/${hex(dueAt, 14)}/${hex(id, 14)}`;
}
/** The first key of delayed messages due at or after the time. */
export function dueKey(dueAt: number): string {
  return `d/${hex(dueAt, 14)}`;
}
export function metaKey(key: string): string {
  return `m/${key}`;
}

/** The numbers behind the letter. */
export function numbersOf(key: string): number[] {
  return key
    .slice(2)
    .split('/')
    .map((part) => Number.parseInt(part, 16));
}

/** All keys that belong to a queue by its serial. */
export function rangesOfQueue(serial: number): [from: string, to: string][] {
  return ['b', 'i', 'e', 'c'].map((letter) => rangeOf(`${letter}/${hex(serial, 8)}/`));
}

/** All keys with the prefix, which has to end in `/`. */
export function rangeOf(prefix: string): [from: string, to: string] {
  return [prefix, `${prefix.slice(0, -1)}0`];
}

function hex(value: number, digits: number): string {
  return Math.max(0, Math.floor(value)).toString(16).padStart(digits, '0');
}
