/**
 * What the engine asks of a disk: nothing more, so that a test can put a failing one in its place. Paths use `/`. Errors are
 * Node's own, with their `code` (ENOSPC, EIO, EROFS, ...).
 */
export interface FileSystem {
  /** Makes the directory and its missing parents. */
  makeDirectory(path: string): Promise<void>;
  /** The names in a directory, in no particular order; none when there is no such directory. */
  list(path: string): Promise<string[]>;
  open(path: string, options: OpenOptions): Promise<DiskFile>;
  /** Replaces the target. Durable after `syncDirectory`. */
  rename(from: string, to: string): Promise<void>;
  /** Durable after `syncDirectory`. */
  unlink(path: string): Promise<void>;
  /** Makes names that were added to or taken from the directory durable. */
  syncDirectory(path: string): Promise<void>;
  /** Bytes that can still be written. */
  freeBytes(path: string): Promise<number>;
}

export interface OpenOptions {
  readonly mode: 'read' | 'readWrite';
  /** Make the file when there is none. */
  readonly create?: boolean;
  /** Every write is durable when it resolves. */
  readonly durableWrites?: boolean;
}

export interface DiskFile {
  size(): Promise<number>;
  /** Fills the buffer from the position on. @returns bytes read, fewer only at the end of the file */
  read(buffer: Buffer, position: number): Promise<number>;
  /** @returns bytes written, which may be fewer than asked (a full disk shows like this first) */
  write(buffer: Buffer, position: number): Promise<number>;
  /** The same for several, one behind the other. */
  writeVector(buffers: readonly Buffer[], position: number): Promise<number>;
  /** Makes what was written durable. After an error nothing is known about earlier writes: never try again. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Writes all of the buffer, however many calls it takes. */
export async function writeFully(file: DiskFile, buffer: Buffer, position: number): Promise<void> {
  let done = 0;
  while (done < buffer.length) {
    const rest = done === 0 ? buffer : buffer.subarray(done);
    done += await file.write(rest, position + done);
  }
}

/** The same for several buffers, one behind the other. */
export async function writeVectorFully(file: DiskFile, buffers: readonly Buffer[], position: number): Promise<void> {
  let done = await file.writeVector(buffers, position);
  let end = 0;
  for (const buffer of buffers) {
    end += buffer.length;
    if (done >= end) continue;
    // Seldom: the disk took less than all of it.
    await writeFully(file, buffer.subarray(buffer.length - (end - done)), position + done);
    done = end;
  }
}

/** No room now; there may be later. */
export function isDiskFull(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOSPC';
}
