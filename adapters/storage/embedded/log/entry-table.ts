/** Entries gathered until it is known how many there are. A view writes numbers several times faster than a Buffer does. */
export class EntryTable {
  length = 0;
  view: DataView;
  private buffer: Buffer;

  constructor() {
    this.buffer = Buffer.allocUnsafeSlow(4096);
    this.view = viewOf(this.buffer);
  }

  /** Makes room for an entry, which the caller writes into `view` at once. @returns where */
  reserve(bytes: number): number {
    const at = this.length;
    if (at + bytes > this.buffer.length) this.grow(bytes);
    this.length = at + bytes;
    return at;
  }

  /** @returns the bytes copied */
  copy(target: Buffer, at: number): number {
    return this.length === 0 ? 0 : this.buffer.copy(target, at, 0, this.length);
  }

  private grow(bytes: number): void {
    const larger = Buffer.allocUnsafeSlow(this.buffer.length * 2 + bytes);
    this.copy(larger, 0);
    this.buffer = larger;
    this.view = viewOf(larger);
  }
}

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
}
