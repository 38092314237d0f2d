import { Duplex } from 'node:stream';

/** One end of a connection in memory. */
export class StreamEnd extends Duplex {
  peer!: StreamEnd;
  /** How often it was written to, as the operating system would count. */
  writes = 0;

  constructor() {
    super({ allowHalfOpen: false });
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: () => void): void {
    this.writes++;
    // The writer uses its chunk again.
    this.peer.push(Buffer.from(chunk));
    written();
  }

  override _writev(chunks: { chunk: Buffer }[], written: () => void): void {
    this.writes++;
    this.peer.push(Buffer.concat(chunks.map(({ chunk }) => chunk)));
    written();
  }

  override _final(done: () => void): void {
    if (!this.peer.destroyed) this.peer.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    setImmediate(() => this.peer.destroy());
    done(error);
  }
}

/** Two ends of a connection that needs no operating system. */
export function streamPair(): readonly [StreamEnd, StreamEnd] {
  const [one, other] = [new StreamEnd(), new StreamEnd()];
  one.peer = other;
  other.peer = one;
  return [one, other];
}
