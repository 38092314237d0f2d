export type KeyValueOperation =
  | { readonly type: 'put'; readonly key: string; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: string };

/** Ordered keys with small values: where checkpoints go. Keys are ordered by their UTF-8 bytes. */
export interface KeyValueStore {
  /** @throws Error LOCKED when another process has it open */
  open(): Promise<void>;
  close(): Promise<void>;
  get(key: string): Promise<Buffer | undefined>;
  /** Undefined for keys that are not there. */
  getMany(keys: readonly string[]): Promise<(Buffer | undefined)[]>;
  /** All entries with from <= key < to, in order. */
  range(from: string, to: string): AsyncIterable<readonly [key: string, value: Buffer]>;
  /** All or nothing, durable when it resolves. */
  write(operations: readonly KeyValueOperation[]): Promise<void>;
}
