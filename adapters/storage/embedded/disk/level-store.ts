import { ClassicLevel } from 'classic-level';
import type { KeyValueOperation, KeyValueStore } from './key-value-store.ts';

const ENTRIES_PER_READ = 1_000;
const BYTES_PER_READ = 256 * 1024;

/**
 * Keys and values in LevelDB, which locks its directory and so the whole data directory. Errors of a full disk have the code
 * ENOSPC. Values must not change while they are written.
 */
export class LevelStore implements KeyValueStore {
  private readonly directory: string;
  private database: ClassicLevel<string, Buffer> | undefined;
  private lastWrite: Promise<void> = Promise.resolve();
  private needsReopening = false;
  /** While it goes on, and after it failed. */
  private reopening: Promise<void> | undefined;

  constructor(directory: string) {
    this.directory = directory;
  }

  async open(): Promise<void> {
    this.needsReopening = false;
    this.reopening = undefined;
    // Made here: a ClassicLevel opens by itself soon after it was made.
    this.database = new ClassicLevel(this.directory, { keyEncoding: 'utf8', valueEncoding: 'buffer' });
    await this.openDatabase();
  }

  async close(): Promise<void> {
    await this.lastWrite;
    await this.database?.close();
  }

  async get(key: string): Promise<Buffer | undefined> {
    if (this.reopening !== undefined) await this.reopening;
    return this.opened().get(key);
  }

  async getMany(keys: readonly string[]): Promise<(Buffer | undefined)[]> {
    if (this.reopening !== undefined) await this.reopening;
    return this.opened().getMany([...keys]);
  }

  /** Rejects when a write that follows a failed one comes in between. */
  async *range(from: string, to: string): AsyncGenerator<readonly [key: string, value: Buffer]> {
    if (this.reopening !== undefined) await this.reopening;
    const iterator = this.opened().iterator({ gte: from, lt: to, highWaterMarkBytes: BYTES_PER_READ });
    try {
      for (;;) {
        const entries = await iterator.nextv(ENTRIES_PER_READ);
        if (entries.length === 0) return;
        yield* entries;
      }
    } finally {
      await iterator.close();
    }
  }

  /** After an error the operations may still be found done, once the next write was tried. */
  write(operations: readonly KeyValueOperation[]): Promise<void> {
    const written = this.lastWrite.then(() => this.writeNow(operations));
    this.lastWrite = written.catch(() => {
      // The caller hears of it; it is no business of the next one.
    });
    return written;
  }

  /**
   * LevelDB is not to be written to after an error. When the sync failed it refuses; but when the write itself failed, as on a
   * full disk, it goes on behind half a record, and recovery later drops what it had confirmed. Opening again starts a new log.
   * One write at a time for the same reason: none may follow before the error is known.
   */
  private async writeNow(operations: readonly KeyValueOperation[]): Promise<void> {
    if (this.needsReopening) {
      this.reopening = this.reopen();
      await this.reopening;
      this.reopening = undefined;
    }
    try {
      await this.opened().batch([...operations], { sync: true });
    } catch (error) {
      this.needsReopening = true;
      throw this.explained(error);
    }
  }

  private async reopen(): Promise<void> {
    await this.opened().close();
    await this.openDatabase();
    this.needsReopening = false;
  }

  private async openDatabase(): Promise<void> {
    try {
      await this.opened().open();
    } catch (error) {
      throw this.explained(error);
    }
  }

  private opened(): ClassicLevel<string, Buffer> {
    if (this.database === undefined) throw new Error(`${this.directory} was not opened`);
    return this.database;
  }

  /** LevelDB says in words what went wrong, and classic-level puts that into the cause when opening. */
  private explained(error: unknown): unknown {
    const { code, message } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
    if (code === 'LEVEL_LOCKED') return failure('LOCKED', `${this.directory} is in use by another process`, error);
    if (/no space left/i.test(message)) return failure('ENOSPC', `no space left for ${this.directory}`, error);
    return error;
  }
}

function failure(code: string, message: string, cause: unknown): Error {
  return Object.assign(new Error(message, { cause }), { code });
}
