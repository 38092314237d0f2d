import type { KeyValueOperation, KeyValueStore } from './key-value-store.ts';

/** Keys and values that end with the object. Values that were read must not be changed. */
export class MemoryStore implements KeyValueStore {
  protected readonly entries = new Map<string, Buffer>();

  async open(): Promise<void> {
    // Nothing to open: what was there before closing is still there.
  }

  async close(): Promise<void> {
    // Nothing to close.
  }

  async get(key: string): Promise<Buffer | undefined> {
    return this.entries.get(key);
  }

  async getMany(keys: readonly string[]): Promise<(Buffer | undefined)[]> {
    return keys.map((key) => this.entries.get(key));
  }

  async *range(from: string, to: string): AsyncGenerator<readonly [key: string, value: Buffer]> {
    yield* this.entriesBetween(from, to);
  }

  async write(operations: readonly KeyValueOperation[]): Promise<void> {
    this.apply(operations);
  }

  protected apply(operations: readonly KeyValueOperation[]): void {
    for (const operation of operations) {
      // A copy: the caller may go on writing to its buffer.
      if (operation.type === 'put') this.entries.set(operation.key, Buffer.from(operation.value));
      else this.entries.delete(operation.key);
    }
  }

  /** Ordered by UTF-8 bytes; `<` would put U+E000 to U+FFFF behind the characters of two UTF-16 units. */
  protected entriesBetween(from: string, to: string): (readonly [key: string, value: Buffer])[] {
    const [first, end] = [Buffer.from(from), Buffer.from(to)];
    return [...this.entries]
      .map((entry) => ({ entry, bytes: Buffer.from(entry[0]) }))
      .filter(({ bytes }) => bytes.compare(first) >= 0 && bytes.compare(end) < 0)
      .toSorted((a, b) => a.bytes.compare(b.bytes))
      .map(({ entry }) => entry);
  }
}
