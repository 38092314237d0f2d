import type { Random } from './random.ts';

export const SECTOR_BYTES = 512;

/** How much of what was not synced survives a crash, as one of these: all or nothing are the likely cases. */
const KEPT_SHARES = [0, 0.1, 0.5, 0.9, 1];

/** What sectors held before they were written, by sector number. */
type Sectors = Map<number, Buffer>;

interface Layer {
  readonly serial: number;
  readonly before: Sectors;
}

/** What a sync covers: these sectors as they were when it began. */
export interface Barrier {
  readonly serial: number;
  readonly size: number;
  readonly sectors: readonly number[];
}

/**
 * A file as the system sees it, and what the disk has instead wherever that differs.
 *
 * The differences are an undo log in layers. Each sync begins a new layer when it starts, and when it ends it takes what it covers
 * from those below: what is written while it runs is not covered.
 */
export class FaultFile {
  size = 0;
  private durableSize = 0;
  private content = Buffer.alloc(SECTOR_BYTES);
  private layers: Layer[] = [{ serial: 0, before: new Map() }];
  /** Sectors a failed sync dropped: no sync writes them any more, reads still show them. */
  private readonly dropped: Sectors = new Map();

  read(buffer: Buffer, position: number): number {
    return this.content.subarray(position, Math.min(this.size, position + buffer.length)).copy(buffer);
  }

  write(buffer: Buffer, position: number): void {
    if (buffer.length === 0) return;
    const end = position + buffer.length;
    this.reserve(end);
    const { before } = this.layers.at(-1)!;
    for (const sector of sectorsOf(position, end)) {
      if (before.has(sector)) continue;
      before.set(sector, this.dropped.get(sector) ?? Buffer.from(this.sector(sector)));
      this.dropped.delete(sector);
    }
    buffer.copy(this.content, position);
    this.size = Math.max(this.size, end);
  }

  /** Begins a sync of the whole file, or of the bytes from `start` to `end`. */
  barrier(start = 0, end = this.size): Barrier {
    const { serial } = this.layers.at(-1)!;
    this.layers.push({ serial: serial + 1, before: new Map() });
    return { serial, size: end, sectors: sectorsOf(start, end) };
  }

  /** The sync is done. */
  settle({ serial, size, sectors }: Barrier): void {
    for (const layer of this.layers) {
      if (layer.serial <= serial) for (const sector of sectors) layer.before.delete(sector);
    }
    this.removeEmptyLayers();
    this.durableSize = Math.max(this.durableSize, size);
  }

  /** The sync failed. Linux takes pages that it could not write for clean from then on. */
  drop({ serial, sectors }: Barrier): void {
    const covered = this.layers.filter((layer) => layer.serial <= serial).toReversed();
    const newer = this.layers.filter((layer) => layer.serial > serial);
    for (const { before } of covered) {
      for (const sector of sectors) {
        const content = before.get(sector);
        if (content === undefined) continue;
        before.delete(sector);
        const rewritten = newer.find((layer) => layer.before.has(sector));
        (rewritten?.before ?? this.dropped).set(sector, content);
      }
    }
    this.removeEmptyLayers();
  }

  /** The file a crash leaves behind. */
  survivor(random: Random): FaultFile {
    const share = random.pick(KEPT_SHARES);
    const file = new FaultFile();
    file.size = random.pick([this.durableSize, random.int(this.durableSize, this.size), this.size]);
    file.durableSize = file.size;
    file.content = Buffer.alloc(Math.ceil(file.size / SECTOR_BYTES) * SECTOR_BYTES);
    this.content.copy(file.content);
    for (const { before } of this.layers.toReversed()) {
      for (const [sector, content] of before) if (!random.chance(share)) file.restore(sector, content);
    }
    for (const [sector, content] of this.dropped) file.restore(sector, content);
    file.content.fill(0, file.size);
    return file;
  }

  /** On the disk as well, but for what a crash would restore. */
  flipBit(bit: number): void {
    this.content[bit >>> 3]! ^= 1 << (bit & 7);
  }

  private sector(sector: number): Buffer {
    return this.content.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
  }

  private restore(sector: number, content: Buffer): void {
    content.copy(this.content, sector * SECTOR_BYTES);
  }

  private reserve(bytes: number): void {
    if (bytes <= this.content.length) return;
    const larger = Buffer.alloc(Math.ceil(Math.max(bytes, 2 * this.content.length) / SECTOR_BYTES) * SECTOR_BYTES);
    this.content.copy(larger);
    this.content = larger;
  }

  private removeEmptyLayers(): void {
    this.layers = this.layers.filter(({ before }, i) => before.size > 0 || i === this.layers.length - 1);
  }
}

function sectorsOf(start: number, end: number): number[] {
  const first = Math.floor(start / SECTOR_BYTES);
  return Array.from({ length: Math.ceil(end / SECTOR_BYTES) - first }, (_, i) => first + i);
}
