export interface MetaEntry {
  readonly key: string;
  readonly value: Uint8Array;
  /** Grows with every change of the key; compare it to change only what was read. */
  readonly revision: number;
}

export type MetaEvent =
  { readonly kind: 'put'; readonly entry: MetaEntry } | { readonly kind: 'delete'; readonly key: string };

/** A change of a key whatever it was before, made together with something else: see `OutgoingMessage.changes`. */
export type MetaChange =
  | { readonly kind: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly key: string };

export interface PutOptions {
  /** Write only when the key has this revision; 'absent' only when it does not exist. */
  readonly ifRevision?: number | 'absent';
  /** Milliseconds after which the key is gone. */
  readonly ttlMs?: number;
}

/**
 * Small keyed state beside the messages: topics, groups, sessions, retained messages. Keys are `kind/name`. What `put`
 * resolved is durable to the engine's degree.
 */
export interface MetaStore {
  get(key: string): Promise<MetaEntry | undefined>;
  /** @returns the new revision, or undefined when `ifRevision` did not hold */
  put(key: string, value: Uint8Array, options?: PutOptions): Promise<number | undefined>;
  /** @returns whether the key was there, with that revision where one is given */
  delete(key: string, ifRevision?: number): Promise<boolean>;
  /** All entries whose key starts with the prefix, in key order. */
  list(prefix: string): Promise<MetaEntry[]>;
  /** Calls the listener after each change below the prefix, until disposed. */
  watch(prefix: string, listener: (event: MetaEvent) => void): Disposable;
}
