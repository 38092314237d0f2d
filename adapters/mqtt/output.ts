import { writeUint16 } from './codec/bytes.ts';
import type { ByteStream } from './transport.ts';

const CHUNK_BYTES = 64 * 1024;
/** Spare chunks kept for all connections together. */
const POOL_CHUNKS_MAX = 64;

const pool: Buffer[] = [];

function giveBack(chunk: Buffer): void {
  if (chunk.length === CHUNK_BYTES && pool.length < POOL_CHUNKS_MAX) pool.push(chunk);
}

/**
 * The bytes on their way to one socket. Packets of one turn of the event loop are gathered in borrowed chunks and written
 * at once: the write call costs more than everything else a packet needs. An idle connection holds no chunk.
 */
export class Output {
  /** Where the next bytes go, after `reserve`. */
  chunk: Buffer = EMPTY;
  used = 0;
  private readonly socket: ByteStream;
  private full: { chunk: Buffer; used: number }[] = [];
  /** Counted in `used` and not copied yet: what lies side by side is copied at once. */
  private run: Buffer | undefined;
  private runStart = 0;
  private runEnd = 0;
  /** What is written over the copy of the run: offsets in `chunk` and numbers of 16 bits, in turn. */
  private readonly patches: number[] = [];
  private patchesUsed = 0;

  constructor(socket: ByteStream) {
    this.socket = socket;
  }

  get isEmpty(): boolean {
    return this.used === 0 && this.full.length === 0;
  }

  /** Gathered and not handed over yet. */
  get bytes(): number {
    let bytes = this.used;
    for (const part of this.full) bytes += part.used;
    return bytes;
  }

  /** Whether more than `bytes` were gathered in this turn already. */
  isOver(bytes: number): boolean {
    return this.full.length * CHUNK_BYTES > bytes;
  }

  /** Adds the bytes [start, end) of `source`, which must stay as they are until `flush`. */
  append(source: Buffer, start: number, end: number): void {
    const bytes = end - start;
    if (source === this.run && start === this.runEnd && this.used + bytes <= this.chunk.length) this.runEnd = end;
    else {
      this.reserve(bytes);
      this.run = source;
      this.runStart = start;
      this.runEnd = end;
    }
    this.used += bytes;
  }

  /** Writes over what was appended last, `distance` bytes before its end. */
  patchUint16(distance: number, value: number): void {
    this.patches[this.patchesUsed++] = this.used - distance;
    this.patches[this.patchesUsed++] = value;
  }

  /** Makes room for `bytes` at `chunk[used]`. The caller writes them and moves `used`. */
  reserve(bytes: number): void {
    if (this.run !== undefined) this.copyRun();
    if (this.used + bytes <= this.chunk.length) return;
    if (this.used > 0) this.full.push({ chunk: this.chunk, used: this.used });
    else if (this.chunk !== EMPTY) giveBack(this.chunk);
    this.chunk =
      bytes <= CHUNK_BYTES ? (pool.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES)) : Buffer.allocUnsafeSlow(bytes);
    this.used = 0;
  }

  /** Hands everything to the socket in one write. */
  flush(): void {
    if (this.run !== undefined) this.copyRun();
    const { socket, full, chunk, used } = this;
    if (this.isEmpty) return;
    this.chunk = EMPTY;
    this.used = 0;
    if (full.length === 0) {
      this.write(chunk, used);
      return;
    }
    this.full = [];
    socket.cork();
    for (const part of full) this.write(part.chunk, part.used);
    if (used > 0) this.write(chunk, used);
    socket.uncork();
  }

  private copyRun(): void {
    const { chunk, patches } = this;
    this.run!.copy(chunk, this.used - (this.runEnd - this.runStart), this.runStart, this.runEnd);
    this.run = undefined;
    for (let i = 0; i < this.patchesUsed; i += 2) writeUint16(chunk, patches[i]!, patches[i + 1]!);
    this.patchesUsed = 0;
  }

  private write(chunk: Buffer, used: number): void {
    this.socket.write(used === chunk.length ? chunk : chunk.subarray(0, used), () => giveBack(chunk));
  }
}

const EMPTY = Buffer.alloc(0);
