/** A small seeded generator (mulberry32): the same seed gives the same test. */
export class Random {
  readonly seed: number;
  private state: number;

  constructor(seed: number) {
    this.seed = seed;
    this.state = seed >>> 0;
  }

  /** [0, 1) */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let x = this.state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer in [low, high]. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  /** An integer in [0, limit). */
  below(limit: number): number {
    return this.int(0, limit - 1);
  }

  /** Each value with the probability given. */
  some<T>(values: readonly T[], probability: number): T[] {
    return values.filter(() => this.chance(probability));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.int(0, values.length - 1)]!;
  }

  text(charsMax: number): string {
    const alphabet = ['a', 'B', '7', ' ', 'é', '€', '𝄞', 'x', '-', '_'];
    return Array.from({ length: this.int(0, charsMax) }, () => this.pick(alphabet)).join('');
  }

  bytes(bytesMax: number): Buffer {
    return Buffer.from(Array.from({ length: this.int(0, bytesMax) }, () => this.int(0, 255)));
  }
}

/** The seed of this run: GANTRY_SEED to repeat one, else a new one. */
export function testSeed(): number {
  const given = process.env['GANTRY_SEED'];
  return given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given);
}

/** Seeds for `count` runs; with GANTRY_SEED just that one. */
export function seeds(count: number): number[] {
  const first = testSeed();
  return process.env['GANTRY_SEED'] === undefined
    ? Array.from({ length: count }, (_, i) => (first + i) >>> 0)
    : [first];
}
