import { decodeFrame, SECTOR_BYTES, type Frame, type Salt } from './wal-format.ts';

/** The records of one frame; the bytes are good only during the call that gets them. */
export interface FramePayload {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
  readonly firstSequence: number;
  readonly count: number;
}

export interface ScannedFile {
  /** Behind the last sound frame. */
  readonly end: number;
  /** Sequence of the record expected there. */
  readonly nextSequence: number;
}

/** Records that were acknowledged cannot be read: going on would silently lose them. */
export class CorruptLogError extends Error {
  override readonly name = 'CorruptLogError';
  readonly code = 'CORRUPT';
}

/** Gives the frames of one file to `visit`, in order, up to the first that is not whole or not the next one. */
export function scanFrames(
  content: Buffer,
  salt: Salt,
  firstSequence: number,
  visit: (payload: FramePayload) => void,
  start?: number,
): ScannedFile {
  const frames = framesOf(content, salt, firstSequence, start);
  for (;;) {
    const { done, value } = frames.next();
    if (done === true) return value;
    visit(value);
  }
}

/** The same for a caller that does other things in between. */
export function* framesOf(
  content: Buffer,
  salt: Salt,
  firstSequence: number,
  start = SECTOR_BYTES,
): Generator<FramePayload, ScannedFile> {
  let nextSequence = firstSequence;
  let at = start;
  for (;;) {
    const frame = decodeFrame(content, at, salt);
    // Frames of the file's earlier life have lower sequences.
    if (frame === undefined || frame.firstSequence !== nextSequence) break;
    yield { buffer: content, start: frame.payloadStart, end: frame.payloadEnd, ...sequences(frame) };
    nextSequence += frame.count;
    at = frame.end;
  }
  return { end: at, nextSequence };
}

/**
 * A crash can only damage the last write. A later frame that was written with a sync proves that what is missing before it
 * was on disk once: that is no torn write but damage.
 */
export function hasSyncedFrameBehind(content: Buffer, salt: Salt, scanned: ScannedFile): boolean {
  return findSyncedFrameBehind(content, salt, scanned) !== undefined;
}

/** The first such frame, and where it is. */
export function findSyncedFrameBehind(
  content: Buffer,
  salt: Salt,
  { end, nextSequence }: ScannedFile,
): { readonly at: number; readonly firstSequence: number } | undefined {
  for (let at = end + SECTOR_BYTES; at < content.length; at += SECTOR_BYTES) {
    const frame = decodeFrame(content, at, salt);
    if (frame?.isSynced === true && frame.firstSequence > nextSequence)
      return { at, firstSequence: frame.firstSequence };
  }
  return undefined;
}

function sequences({ firstSequence, count }: Frame): { firstSequence: number; count: number } {
  return { firstSequence, count };
}
