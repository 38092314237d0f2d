import { Duplex } from 'node:stream';

/** One end of a connection in memory. */
class StreamEnd extends Duplex {
  peer!: StreamEnd;

  constructor() {
    super({ allowHalfOpen: false });
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: () => void): void {
    // The writer uses its chunk again.
    this.peer.push(Buffer.from(chunk));
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
export function streamPair(): readonly [Duplex, Duplex] {
  const [one, other] = [new StreamEnd(), new StreamEnd()];
  one.peer = other;
  other.peer = one;
  return [one, other];
}
