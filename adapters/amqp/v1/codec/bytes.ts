import { isUtf8 } from 'node:buffer';

/** Up to this length a loop finds out faster than `isUtf8` whether a text is ASCII alone. */
const LOOP_BYTES_MAX = 64;

export const NO_BYTES = Buffer.alloc(0);

export function readUint16(buffer: Buffer, at: number): number {
  return (buffer[at]! << 8) | buffer[at + 1]!;
}

export function readUint32(buffer: Buffer, at: number): number {
  return ((buffer[at]! << 24) | (buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!) >>> 0;
}

export function writeUint16(target: Buffer, at: number, value: number): number {
  target[at] = value >>> 8;
  target[at + 1] = value & 0xff;
  return at + 2;
}

export function writeUint32(target: Buffer, at: number, value: number): number {
  target[at] = value >>> 24;
  target[at + 1] = (value >>> 16) & 0xff;
  target[at + 2] = (value >>> 8) & 0xff;
  target[at + 3] = value & 0xff;
  return at + 4;
}

/** Whether there is no byte above 0x7F in [start, end). */
export function isAscii(buffer: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (buffer[at]! > 0x7f) return false;
  return true;
}

/** The text of UTF-8 bytes; undefined when they are none. */
export function readUtf8(buffer: Buffer, start: number, end: number): string | undefined {
  if (end - start <= LOOP_BYTES_MAX && isAscii(buffer, start, end)) return buffer.toString('latin1', start, end);
  return isUtf8(buffer.subarray(start, end)) ? buffer.toString('utf8', start, end) : undefined;
}
