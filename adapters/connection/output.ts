import type { ByteStream } from './transport.ts';

const CHUNK_BYTES = 64 * 1024;
/** Spare chunks kept for all connections together. */
const POOL_CHUNKS_MAX = 64;

const pool: Buffer[] = [];
const EMPTY = Buffer.alloc(0);

function giveBack(chunk: Buffer): void {
  if (chunk.length === CHUNK_BYTES && pool.length < POOL_CHUNKS_MAX) pool.push(chunk);
}

/**
 * The bytes on their way to one stream. Packets of one turn of the event loop are gathered in borrowed chunks and written
 * at once: the write call costs more than everything else a packet needs. An idle connection holds no chunk.
 */
export class Output {
  /** Where the next bytes go, after `reserve`. */
  chunk: Buffer = EMPTY;
  used = 0;
  private readonly stream: ByteStream;
  private full: { chunk: Buffer; used: number }[] = [];

  constructor(stream: ByteStream) {
    this.stream = stream;
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

  /** Makes room for `bytes` at `chunk[used]`. The caller writes them and moves `used`. */
  reserve(bytes: number): void {
    if (this.used + bytes <= this.chunk.length) return;
    if (this.used > 0) this.full.push({ chunk: this.chunk, used: this.used });
    else if (this.chunk !== EMPTY) giveBack(this.chunk);
    this.chunk =
      bytes <= CHUNK_BYTES ? (pool.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES)) : Buffer.allocUnsafeSlow(bytes);
    this.used = 0;
  }

  /** Adds the bytes [start, end) of `source`. */
  append(source: Buffer, start: number, end: number): void {
    this.reserve(end - start);
    source.copy(this.chunk, this.used, start, end);
    this.used += end - start;
  }

  /** Hands everything to the stream in one write. */
  flush(): void {
    const { stream, full, chunk, used } = this;
    if (this.isEmpty) return;
    this.chunk = EMPTY;
    this.used = 0;
    if (full.length === 0) {
      this.write(chunk, used);
      return;
    }
    this.full = [];
    stream.cork();
    for (const part of full) this.write(part.chunk, part.used);
    if (used > 0) this.write(chunk, used);
    stream.uncork();
  }

  private write(chunk: Buffer, used: number): void {
    this.stream.write(used === chunk.length ? chunk : chunk.subarray(0, used), () => giveBack(chunk));
  }
}
