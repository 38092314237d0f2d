import { numbersOf } from '../checkpoint/keys.ts';
import {
  decodeConsumption,
  decodeHeld,
  decodeJson,
  decodeMeta,
  type StoredBlock,
  type StoredCheckpoint,
  type StoredGroup,
  type StoredLightQueue,
  type StoredQueue,
  type StoredTopic,
} from '../checkpoint/values.ts';
import type { KeyValueOperation, KeyValueStore } from '../disk/key-value-store.ts';
import { Block } from '../queue/block.ts';
import { LightChunk } from '../queue/light-queue.ts';

/** All keys begin with a letter. */
const ALL_KEYS = ['!', '~'] as const;

/** A run of entries of a light queue, [base, end). */
export interface StoredChunk {
  readonly base: number;
  readonly end: number;
}

/** Whether the value of a key makes sense; may throw instead when it does not. */
type Check = (key: string, value: Buffer) => boolean;

const CHECKS: Readonly<Record<string, Check>> = {
  checkpoint: (_, value) => {
    const { sequence, generation, lastSerial, lastRevision } = decodeJson(value) as StoredCheckpoint;
    return [sequence, generation, lastSerial, lastRevision].every(isCount);
  },
  t: (key, value) => {
    const { spec, serials, sequence } = decodeJson(value) as StoredTopic;
    return spec.name === key.slice(2) && serials.every(isCount) && isCount(sequence);
  },
  g: (key, value) => {
    const { spec, serial, sequence } = decodeJson(value) as StoredGroup;
    return spec.name === key.slice(2) && isCount(serial) && isCount(sequence);
  },
  q: (_, value) => isRange(decodeJson(value) as StoredQueue),
  b: (_, value) => {
    const { count, bytes, place } = decodeJson(value) as StoredBlock;
    const isPlaced = place.kind === 'inline' || [place.file, place.position, place.bytes].every(isCount);
    return isCount(count) && isCount(bytes) && isPlaced;
  },
  i: (key, value) => {
    const [serial, base] = numbersOf(key) as [number, number];
    return Block.decode(value, serial, base).count > 0;
  },
  l: (_, value) => {
    const stored = decodeJson(value) as StoredLightQueue;
    return typeof stored.name === 'string' && isRange(stored);
  },
  e: (key, value) => {
    const { count } = LightChunk.decode(0, value);
    return Number.isInteger(count) && count > 0 && count <= numbersOf(key)[1]!;
  },
  c: (_, value) => {
    const { floor, cursor, pending } = decodeConsumption(value).snapshot;
    return floor <= cursor && pending.every(({ offset }) => offset >= floor && offset < cursor);
  },
  d: (key, value) => decodeHeld(value).id === numbersOf(key)[1],
  x: (key, value) => decodeHeld(value).id === numbersOf(key)[0],
  m: (_, value) => isCount(decodeMeta(value).revision),
};

/** A store of which every entry was looked at: those that make no sense are left out when it is read. */
export class ExaminedStore implements KeyValueStore {
  readonly damagedKeys = new Set<string>();
  /** The delayed messages in it: when they are due, by id. */
  readonly delayed = new Map<number, number>();
  /** By the serial of the light queue, in order. */
  readonly chunks = new Map<number, StoredChunk[]>();
  private readonly store: KeyValueStore;

  constructor(store: KeyValueStore) {
    this.store = store;
  }

  async examine(): Promise<void> {
    for await (const [key, value] of this.store.range(...ALL_KEYS)) {
      if (!isSound(key, value)) this.damagedKeys.add(key);
      else if (key.startsWith('e/')) this.addChunk(key, value);
      else if (key.startsWith('d/')) {
        const [dueAt, id] = numbersOf(key) as [number, number];
        this.delayed.set(id, dueAt);
      }
    }
  }

  open(): Promise<void> {
    return this.store.open();
  }

  close(): Promise<void> {
    return this.store.close();
  }

  async get(key: string): Promise<Buffer | undefined> {
    return this.damagedKeys.has(key) ? undefined : this.store.get(key);
  }

  getMany(keys: readonly string[]): Promise<(Buffer | undefined)[]> {
    return Promise.all(keys.map((key) => this.get(key)));
  }

  async *range(from: string, to: string): AsyncGenerator<readonly [key: string, value: Buffer]> {
    for await (const entry of this.store.range(from, to)) if (!this.damagedKeys.has(entry[0])) yield entry;
  }

  write(operations: readonly KeyValueOperation[]): Promise<void> {
    return Promise.reject(new Error(`${operations.length} operations on a store that is only examined`));
  }

  private addChunk(key: string, value: Buffer): void {
    const [serial, end] = numbersOf(key) as [number, number];
    const chunks = this.chunks.get(serial);
    const chunk = { base: end - value.length / LightChunk.entryBytes, end };
    if (chunks === undefined) this.chunks.set(serial, [chunk]);
    else chunks.push(chunk);
  }
}

function isSound(key: string, value: Buffer): boolean {
  const check = CHECKS[key.includes('/') ? key.slice(0, key.indexOf('/')) : key];
  try {
    return check !== undefined && check(key, value);
  } catch {
    // What cannot be decoded throws whatever comes first: a bad length, bad JSON, a missing field.
    return false;
  }
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isRange({ first, appended, sequence }: StoredQueue): boolean {
  return [first, appended, sequence].every(isCount) && first <= appended;
}
