import type { Random } from './random.ts';

/** What goes wrong on a `FaultDisk`, and when; can be changed at any time. */
export interface Faults {
  /** The process dies in the operation that makes `FaultLife.mutations` this number. */
  crashAtMutation: number;
  /** The sync that makes `FaultLife.syncs` this number fails with EIO; durable writes and store writes are syncs, too. */
  failAtSync: number;
  /** How often a write takes only a part of what it was given. */
  shortWriteProbability: number;
  /** How often a read gets one bit wrong. */
  readFlipProbability: number;
  /** Files and the store together; what would go beyond fails with ENOSPC. */
  bytesMax: number;
  /** Everything that would change something fails with EROFS. */
  readOnly: boolean;
}

const NO_FAULTS: Faults = {
  crashAtMutation: 0,
  failAtSync: 0,
  shortWriteProbability: 0,
  readFlipProbability: 0,
  bytesMax: 2 ** 50,
  readOnly: false,
};

/** Enough for other things to happen before an operation ends, and for operations to overtake each other. */
const TURNS_MAX = 4;
const TURN = Promise.resolve();

/** What a disk and a store have in common between two crashes: a process, its faults, and the space. */
export class FaultLife {
  readonly random: Random;
  readonly faults: Faults;
  /** Resolves when the process dies. */
  readonly crashed: Promise<void>;
  mutations = 0;
  syncs = 0;
  usedBytes = 0;
  private isDead = false;
  private reportCrash: () => void = () => {};

  constructor(random: Random, faults: Partial<Faults>) {
    this.random = random;
    this.faults = { ...NO_FAULTS, ...faults };
    this.crashed = new Promise((resolve) => (this.reportCrash = resolve));
  }

  get freeBytes(): number {
    return Math.max(0, this.faults.bytesMax - this.usedBytes);
  }

  die(): void {
    this.isDead = true;
    this.reportCrash();
  }

  /** Something that changes nothing. */
  async observe<T>(run: () => T): Promise<T> {
    if (this.isDead) return neverAnswered();
    const result = run();
    return this.answer(() => result, this.random.int(1, TURNS_MAX));
  }

  /**
   * Something that changes the disk: `begin` does it in memory, `complete` makes it durable, unless the process dies in between.
   * Operations with the same number of turns end in the order they began in.
   */
  async mutate<B, T>(begin: () => B, complete: (begun: B) => T, turns = this.random.int(1, TURNS_MAX)): Promise<T> {
    if (this.isDead) return neverAnswered();
    if (this.faults.readOnly) throw diskError('EROFS');
    const begun = begin();
    this.mutations++;
    if (this.mutations === this.faults.crashAtMutation) this.die();
    return this.answer(() => complete(begun), turns);
  }

  /** @throws EIO when this is the sync that has to fail */
  countSync(): void {
    this.syncs++;
    if (this.syncs === this.faults.failAtSync) throw diskError('EIO');
  }

  private async answer<T>(end: () => T, turns: number): Promise<T> {
    for (let turn = 0; turn < turns; turn++) await TURN;
    return this.isDead ? neverAnswered() : end();
  }
}

/** An error as Node makes them. */
export function diskError(code: string): Error {
  return Object.assign(new Error(`${code}: made by the test`), { code });
}

/** A new promise each time: one for all would keep whatever waits for it. */
function neverAnswered<T>(): Promise<T> {
  return new Promise<T>(() => {});
}
