import { crc32 } from 'node:zlib';

/**
 * The bytes of the write-ahead log. A file is one sector of header and then frames; a frame is one group commit, one write,
 * one CRC: it is there as a whole or not at all. Frames start at sector boundaries, so that writing one never touches a
 * sector with acknowledged records in it. Every frame of a log bears its salt, which no client learns: bytes in a message
 * cannot look like a frame. Numbers are little endian.
 *
 * | header, at | size | field                          | frame, at | size | field                                |
 * |------------|------|--------------------------------|-----------|------|--------------------------------------|
 * | 0          | 4    | CRC of the bytes from 4 to 32  | 0         | 4    | CRC, begun with salt 2, from 4 on    |
 * | 4          | 4    | magic                          | 4         | 4    | salt 1                               |
 * | 8          | 4    | format                         | 8         | 4    | bytes of the payload                 |
 * | 12         | 4    | number of the file             | 12        | 4    | count of records, bit 31: synced     |
 * | 16         | 8    | sequence of its first record   | 16        | 8    | sequence of its first record         |
 * | 24         | 4, 4 | salt 1, salt 2                 | 24        |      | records, then zeros up to the sector |
 */
export const SECTOR_BYTES = 512;
export const WAL_FORMAT = 1;
export const FRAME_HEADER_BYTES = 24;

const FILE_MAGIC = 0x4c415747;
const HEADER_BYTES = 32;
/** Set where the frame was written with a sync: everything before it is on disk. */
const SYNCED = 2 ** 31;

/** Two random numbers of 32 bits, the same in all files of a log. */
export interface Salt {
  readonly mark: number;
  readonly seed: number;
}

export interface WalFileHeader {
  readonly number: number;
  readonly firstSequence: number;
  readonly salt: Salt;
}

export interface Frame {
  readonly firstSequence: number;
  readonly count: number;
  readonly isSynced: boolean;
  readonly payloadStart: number;
  readonly payloadEnd: number;
  /** Where the next frame starts. */
  readonly end: number;
}

export function roundToSector(bytes: number): number {
  return Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
}

/** One sector. */
export function encodeFileHeader({ number, firstSequence, salt }: WalFileHeader): Buffer {
  const header = Buffer.alloc(SECTOR_BYTES);
  header.writeUInt32LE(FILE_MAGIC, 4);
  header.writeUInt32LE(WAL_FORMAT, 8);
  header.writeUInt32LE(number, 12);
  header.writeDoubleLE(firstSequence, 16);
  header.writeUInt32LE(salt.mark, 24);
  header.writeUInt32LE(salt.seed, 28);
  header.writeUInt32LE(crc32(header.subarray(4, HEADER_BYTES)), 0);
  return header;
}

/** Undefined when it is none, or one of another file that was used again. */
export function decodeFileHeader(buffer: Buffer, number: number): WalFileHeader | undefined {
  if (!isSoundHeader(buffer) || buffer.readUInt32LE(12) !== number) return undefined;
  const salt = { mark: buffer.readUInt32LE(24), seed: buffer.readUInt32LE(28) };
  return { number, firstSequence: buffer.readDoubleLE(16), salt };
}

/** A sector is written as a whole: what is neither a header nor zeros does not come from a crash. */
export function isDamagedHeader(buffer: Buffer): boolean {
  return buffer.length >= SECTOR_BYTES && !isSoundHeader(buffer) && buffer.subarray(0, SECTOR_BYTES).some(Boolean);
}

function isSoundHeader(buffer: Buffer): boolean {
  if (buffer.length < HEADER_BYTES || buffer.readUInt32LE(4) !== FILE_MAGIC) return false;
  return buffer.readUInt32LE(0) === crc32(buffer.subarray(4, HEADER_BYTES));
}

/** Completes a frame whose payload stands in [FRAME_HEADER_BYTES, end) of the buffer. @returns its bytes, padding included */
export function sealFrame(
  buffer: Buffer,
  end: number,
  firstSequence: number,
  count: number,
  isSynced: boolean,
  salt: Salt,
): number {
  const total = roundToSector(end);
  buffer.fill(0, end, total);
  buffer.writeUInt32LE(salt.mark, 4);
  buffer.writeUInt32LE(end - FRAME_HEADER_BYTES, 8);
  buffer.writeUInt32LE(isSynced ? count + SYNCED : count, 12);
  buffer.writeDoubleLE(firstSequence, 16);
  buffer.writeUInt32LE(crc32(buffer.subarray(4, end), salt.seed), 0);
  return total;
}

/** The frame at the position, undefined when there is no whole and sound one. */
export function decodeFrame(buffer: Buffer, at: number, salt: Salt): Frame | undefined {
  if (at + FRAME_HEADER_BYTES > buffer.length || buffer.readUInt32LE(at + 4) !== salt.mark) return undefined;
  const payloadStart = at + FRAME_HEADER_BYTES;
  const payloadEnd = payloadStart + buffer.readUInt32LE(at + 8);
  if (payloadEnd > buffer.length) return undefined;
  if (buffer.readUInt32LE(at) !== crc32(buffer.subarray(at + 4, payloadEnd), salt.seed)) return undefined;
  const flags = buffer.readUInt32LE(at + 12);
  return {
    firstSequence: buffer.readDoubleLE(at + 16),
    count: flags % SYNCED,
    isSynced: flags >= SYNCED,
    payloadStart,
    payloadEnd,
    end: roundToSector(payloadEnd),
  };
}

/** Whether a write of the frame with that first record got as far as its first sector, and not to its end. */
export function isTornFrame(buffer: Buffer, at: number, firstSequence: number, salt: Salt): boolean {
  if (at + FRAME_HEADER_BYTES > buffer.length || buffer.readUInt32LE(at + 4) !== salt.mark) return false;
  return buffer.readDoubleLE(at + 16) === firstSequence && decodeFrame(buffer, at, salt) === undefined;
}
