import type { KeyValueOperation } from '../../adapters/storage/embedded/disk/key-value-store.ts';
import { MemoryStore } from '../../adapters/storage/embedded/disk/memory-store.ts';
import { diskError, type FaultLife } from './fault-life.ts';

/** All writes take as many, so that they end in their order. */
const WRITE_TURNS = 3;

interface Write {
  readonly operations: readonly KeyValueOperation[];
  /** In the sync, which leaves it open whether it will be there when the store is opened again. */
  hasFailed: boolean;
}

/** The store of a `FaultDisk`. After a crash a write is there as a whole or not at all, and surely when it was confirmed. */
export class FaultStore extends MemoryStore {
  private readonly life: FaultLife;
  private unconfirmed: Write[] = [];

  constructor(life: FaultLife) {
    super();
    this.life = life;
  }

  override open(): Promise<void> {
    return this.life.observe(() => {});
  }

  override close(): Promise<void> {
    return this.life.observe(() => {});
  }

  override get(key: string): Promise<Buffer | undefined> {
    return this.life.observe(() => this.entries.get(key));
  }

  override getMany(keys: readonly string[]): Promise<(Buffer | undefined)[]> {
    return this.life.observe(() => keys.map((key) => this.entries.get(key)));
  }

  override async *range(from: string, to: string): AsyncGenerator<readonly [key: string, value: Buffer]> {
    yield* await this.life.observe(() => this.entriesBetween(from, to));
  }

  override write(operations: readonly KeyValueOperation[]): Promise<void> {
    const begin = (): Write => {
      if (bytesWritten(operations) > this.life.freeBytes) throw diskError('ENOSPC');
      const write = { operations, hasFailed: false };
      this.unconfirmed.push(write);
      return write;
    };
    return this.life.mutate(begin, (write) => this.complete(write), WRITE_TURNS);
  }

  /** Takes over what the crash of another process left in its store. */
  inherit(from: FaultStore): void {
    this.apply([...from.entries].map(([key, value]) => ({ type: 'put', key, value })));
    for (const { operations, hasFailed } of from.unconfirmed) {
      if (this.life.random.chance(0.5)) this.apply(operations);
      else if (!hasFailed) break; // Those behind it wait for it.
    }
  }

  protected override apply(operations: readonly KeyValueOperation[]): void {
    const keys = new Set(operations.map(({ key }) => key));
    this.life.usedBytes -= this.bytesOf(keys);
    super.apply(operations);
    this.life.usedBytes += this.bytesOf(keys);
  }

  private complete(write: Write): void {
    this.decideFailed();
    try {
      this.life.countSync();
    } catch (error) {
      write.hasFailed = true;
      throw error;
    }
    this.unconfirmed.splice(this.unconfirmed.indexOf(write), 1);
    this.apply(write.operations);
  }

  /** The store opens again before it writes behind a failure, and finds what was failed or does not. */
  private decideFailed(): void {
    for (const { operations } of this.unconfirmed.filter(({ hasFailed }) => hasFailed)) {
      if (this.life.random.chance(0.5)) this.apply(operations);
    }
    this.unconfirmed = this.unconfirmed.filter(({ hasFailed }) => !hasFailed);
  }

  private bytesOf(keys: Iterable<string>): number {
    let bytes = 0;
    for (const key of keys) bytes += key.length + (this.entries.get(key)?.length ?? -key.length);
    return bytes;
  }
}

/** Deletions are written, too. */
function bytesWritten(operations: readonly KeyValueOperation[]): number {
  let bytes = 0;
  for (const operation of operations) {
    bytes += operation.key.length + (operation.type === 'put' ? operation.value.length : 0);
  }
  return bytes;
}
