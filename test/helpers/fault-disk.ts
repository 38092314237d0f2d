import type { DiskFile, FileSystem, OpenOptions } from '../../adapters/storage/embedded/disk/file-system.ts';
import { FaultFile, type Barrier } from './fault-file.ts';
import { diskError, FaultLife, type Faults } from './fault-life.ts';
import { FaultStore } from './fault-store.ts';
import type { Random } from './random.ts';

type Entry = FaultFile | FaultDirectory;

/** Names that change together, and what they stand for then. */
type NameChange = readonly (readonly [name: string, entry: Entry | undefined])[];

/**
 * A disk in memory that loses, at a crash, any part of what was not made durable: sectors of files, and names. Directories are
 * names, too: they are gone with all that is in them until the directory above was synced. Nothing waits for timers, so that
 * thousands of lives take seconds; all chances come from the seed.
 */
export class FaultDisk implements FileSystem {
  readonly life: FaultLife;
  /** A store with the same process, faults and space. */
  readonly store: FaultStore;
  private root = new FaultDirectory();

  constructor(random: Random, faults: Partial<Faults> = {}) {
    this.life = new FaultLife(random, faults);
    this.store = new FaultStore(this.life);
  }

  /** What goes wrong from now on. */
  get faults(): Faults {
    return this.life.faults;
  }

  /** Ends the process: what it still waits for never comes. @returns the disk the next process finds, as full as this one */
  crash(faults: Partial<Faults> = {}): FaultDisk {
    this.life.die();
    const next = new FaultDisk(this.life.random, { bytesMax: this.faults.bytesMax, ...faults });
    next.root = this.root.survivor(this.life.random);
    next.life.usedBytes = next.root.usedBytes();
    next.store.inherit(this.store);
    return next;
  }

  /** Flips a bit of a file: where it is stored, for good. */
  flipStoredBit(path: string, bit: number): void {
    this.file(path).flipBit(bit);
  }

  makeDirectory(path: string): Promise<void> {
    if (this.find(path) !== undefined) return this.life.observe(() => void this.directory(path));
    return this.mutateNames(() => {
      let directory = this.root;
      for (const name of namesOf(path)) {
        const entry = directory.names.get(name) ?? new FaultDirectory();
        if (entry instanceof FaultFile) throw diskError('ENOTDIR');
        if (!directory.names.has(name)) directory.change([[name, entry]]);
        directory = entry;
      }
    });
  }

  list(path: string): Promise<string[]> {
    return this.life.observe(() => (this.find(path) === undefined ? [] : [...this.directory(path).names.keys()]));
  }

  async open(path: string, options: OpenOptions): Promise<DiskFile> {
    const { mode, create = false } = options;
    if (create && this.find(path) === undefined) {
      await this.mutateNames(() => this.parent(path).change([[nameOf(path), new FaultFile()]]));
    }
    return this.life.observe(() => {
      if (mode === 'readWrite' && this.faults.readOnly) throw diskError('EROFS');
      return new OpenFile(this.life, this.file(path), options);
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.mutateNames(() => {
      const entry = this.find(from);
      if (entry === undefined) throw diskError('ENOENT');
      // As between two file systems: which of the directories is synced first would make a difference.
      if (this.parent(from) !== this.parent(to)) throw diskError('EXDEV');
      if (from === to) return;
      this.giveBack(to);
      this.parent(from).change([
        [nameOf(from), undefined],
        [nameOf(to), entry],
      ]);
    });
  }

  unlink(path: string): Promise<void> {
    return this.mutateNames(() => {
      this.file(path);
      this.giveBack(path);
      this.parent(path).change([[nameOf(path), undefined]]);
    });
  }

  syncDirectory(path: string): Promise<void> {
    return this.life.mutate(
      () => {
        const directory = this.directory(path);
        return { directory, changes: directory.barrier() };
      },
      ({ directory, changes }) => {
        this.life.countSync();
        directory.settle(changes);
      },
    );
  }

  freeBytes(): Promise<number> {
    return this.life.observe(() => this.life.freeBytes);
  }

  private async mutateNames(begin: () => void): Promise<void> {
    await this.life.mutate(begin, () => {
      // Names wait for a sync of their directory.
    });
  }

  private giveBack(path: string): void {
    const entry = this.find(path);
    if (entry instanceof FaultFile) this.life.usedBytes -= entry.size;
  }

  private find(path: string): Entry | undefined {
    let entry: Entry | undefined = this.root;
    for (const name of namesOf(path)) entry = entry instanceof FaultDirectory ? entry.names.get(name) : undefined;
    return entry;
  }

  private file(path: string): FaultFile {
    const entry = this.find(path);
    if (entry instanceof FaultFile) return entry;
    throw diskError(entry === undefined ? 'ENOENT' : 'EISDIR');
  }

  private directory(path: string): FaultDirectory {
    const entry = this.find(path);
    if (entry instanceof FaultDirectory) return entry;
    throw diskError(entry === undefined ? 'ENOENT' : 'ENOTDIR');
  }

  private parent(path: string): FaultDirectory {
    return this.directory(namesOf(path).slice(0, -1).join('/'));
  }
}

class FaultDirectory {
  readonly names = new Map<string, Entry>();
  private readonly durable = new Map<string, Entry>();
  private pending: NameChange[] = [];

  /** Changes that a sync that starts now covers. */
  barrier(): readonly NameChange[] {
    return [...this.pending];
  }

  change(change: NameChange): void {
    apply(change, this.names);
    this.pending.push(change);
  }

  /** These changes are durable. */
  settle(changes: readonly NameChange[]): void {
    for (const change of changes) if (this.pending.includes(change)) apply(change, this.durable);
    this.pending = this.pending.filter((change) => !changes.includes(change));
  }

  usedBytes(): number {
    let bytes = 0;
    for (const entry of this.names.values()) bytes += entry instanceof FaultFile ? entry.size : entry.usedBytes();
    return bytes;
  }

  /** The directory a crash leaves behind: a change of a name is lost with all that came after it for that name. */
  survivor(random: Random): FaultDirectory {
    const names = new Map(this.durable);
    const lost = new Set<string>();
    for (const change of this.pending) {
      if (random.chance(0.5) && !change.some(([name]) => lost.has(name))) apply(change, names);
      else for (const [name] of change) lost.add(name);
    }
    const directory = new FaultDirectory();
    for (const [name, entry] of names) directory.change([[name, entry.survivor(random)]]);
    directory.settle(directory.barrier());
    return directory;
  }
}

class OpenFile implements DiskFile {
  private readonly life: FaultLife;
  private readonly file: FaultFile;
  private readonly options: OpenOptions;
  private isOpen = true;

  constructor(life: FaultLife, file: FaultFile, options: OpenOptions) {
    this.life = life;
    this.file = file;
    this.options = options;
  }

  size(): Promise<number> {
    return this.life.observe(() => this.opened().size);
  }

  read(buffer: Buffer, position: number): Promise<number> {
    return this.life.observe(() => {
      const bytes = this.opened().read(buffer, position);
      const { random, faults } = this.life;
      if (bytes > 0 && random.chance(faults.readFlipProbability)) buffer[random.below(bytes)]! ^= 1 << random.below(8);
      return bytes;
    });
  }

  async write(buffer: Buffer, position: number): Promise<number> {
    const begin = () => {
      const file = this.opened();
      if (this.options.mode === 'read') throw diskError('EBADF');
      const bytes = this.accepted(buffer.length, position);
      this.life.usedBytes += Math.max(0, position + bytes - file.size);
      file.write(buffer.subarray(0, bytes), position);
      const barrier = this.options.durableWrites === true ? file.barrier(position, position + bytes) : undefined;
      return { bytes, barrier };
    };
    const { bytes } = await this.life.mutate(begin, (begun) => {
      if (begun.barrier !== undefined) this.complete(begun.barrier);
      return begun;
    });
    return bytes;
  }

  writeVector(buffers: readonly Buffer[], position: number): Promise<number> {
    return this.write(Buffer.concat(buffers), position);
  }

  sync(): Promise<void> {
    return this.life.mutate(
      () => this.opened().barrier(),
      (barrier) => this.complete(barrier),
    );
  }

  close(): Promise<void> {
    return this.life.observe(() => {
      this.opened();
      this.isOpen = false;
    });
  }

  /** How many bytes of a write are taken. @throws ENOSPC when none can be */
  private accepted(bytes: number, position: number): number {
    const { random, faults, freeBytes } = this.life;
    const room = this.file.size + freeBytes - position;
    if (bytes > 0 && room <= 0) throw diskError('ENOSPC');
    const taken = Math.min(bytes, room);
    return taken > 1 && random.chance(faults.shortWriteProbability) ? random.int(1, taken - 1) : taken;
  }

  private complete(barrier: Barrier): void {
    try {
      this.life.countSync();
    } catch (error) {
      this.file.drop(barrier);
      throw error;
    }
    this.file.settle(barrier);
  }

  private opened(): FaultFile {
    if (!this.isOpen) throw diskError('EBADF');
    return this.file;
  }
}

function apply(change: NameChange, names: Map<string, Entry>): void {
  for (const [name, entry] of change) {
    if (entry === undefined) names.delete(name);
    else names.set(name, entry);
  }
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

function nameOf(path: string): string {
  return namesOf(path).at(-1) ?? '';
}
