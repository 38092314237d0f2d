import { CHECKPOINT_KEY, inlineKey } from '../checkpoint/keys.ts';
import { restore, type Restored } from '../checkpoint/restore.ts';
import { decodeJson, type StoredCheckpoint } from '../checkpoint/values.ts';
import type { FileSystem } from '../disk/file-system.ts';
import type { KeyValueStore } from '../disk/key-value-store.ts';
import { MEMORY_HELD } from '../held/held-messages.ts';
import { BlockFiles, fileName } from '../queue/block-files.ts';
import { Block } from '../queue/block.ts';
import type { BlockEntry, BlockStore } from '../queue/block-store.ts';
import type { MessageQueue } from '../queue/message-queue.ts';
import { EngineState } from '../state.ts';
import { ExaminedLog, type Findings, type LogFigures } from './examined-log.ts';
import { ExaminedStore } from './examined-store.ts';

/** What is in a data directory. */
export interface Examination {
  /** One line each, naming the file or key and the place in it. Empty: the directory is sound. */
  readonly damages: readonly string[];
  readonly notes: readonly string[];
  /** Undefined when there was none yet, or it cannot be read. */
  readonly checkpoint: StoredCheckpoint | undefined;
  readonly log: LogFigures;
  /** As a start would find it, as far as it can be read. */
  readonly state: EngineState;
  readonly delayed: number;
}

/** What is replayed is only counted: its messages are in the log and need not be kept. */
const COUNTED: BlockStore = {
  block: (baseOffset, dataBytes) => Block.empty(baseOffset, dataBytes),
  sealed: (entry) => (entry.content = undefined),
  load: () => Promise.reject(new Error('messages that were only counted cannot be read')),
  removed: () => {},
};

/** Reads everything in a data directory and checks it; changes nothing. @param store is open */
export async function examine(fileSystem: FileSystem, store: KeyValueStore, directory: string): Promise<Examination> {
  return new Doctor(fileSystem, new ExaminedStore(store), directory).run();
}

class Doctor implements Findings {
  private readonly damages: string[] = [];
  private readonly notes: string[] = [];
  private readonly fileSystem: FileSystem;
  private readonly store: ExaminedStore;
  private readonly directory: string;
  private readonly state: EngineState;
  private readonly blocks: BlockFiles;
  private checkpoint: StoredCheckpoint | undefined;
  private log: LogFigures = { files: 0, bytes: 0, records: 0, recordBytes: 0 };

  constructor(fileSystem: FileSystem, store: ExaminedStore, directory: string) {
    this.fileSystem = fileSystem;
    this.store = store;
    this.directory = directory;
    this.state = new EngineState({
      blocks: COUNTED,
      held: MEMORY_HELD,
      loadLightChunk: () => Promise.reject(new Error('light queues are not read')),
    });
    this.blocks = new BlockFiles(
      fileSystem,
      { directory: `${directory}/q`, fileBytes: 0, cacheBytes: 0, blockBytesMin: 0 },
      ({ queueSerial, baseOffset }) => store.get(inlineKey(queueSerial, baseOffset)),
    );
  }

  damage(line: string): void {
    this.damages.push(line);
  }

  note(line: string): void {
    this.notes.push(line);
  }

  async run(): Promise<Examination> {
    try {
      await this.store.examine();
    } catch (error) {
      this.damage(`kv: cannot be read to its end: ${(error as Error).message}`);
    }
    for (const key of this.store.damagedKeys) this.damage(`kv: the value of ${JSON.stringify(key)} makes no sense`);
    const bytes = await this.store.get(CHECKPOINT_KEY);
    this.checkpoint = bytes && (decodeJson(bytes) as StoredCheckpoint);
    const restored = await this.restore();
    await this.checkBlocks();
    this.checkLightQueues();
    await this.checkLog(restored);
    this.countDelayed();
    const { damages, notes, checkpoint, log, state } = this;
    return { damages, notes, checkpoint, log, state, delayed: this.store.delayed.size };
  }

  private async restore(): Promise<Restored | undefined> {
    try {
      return await restore(this.state, this.store, this.blocks);
    } catch (error) {
      this.damage(`kv: the checkpoint cannot be read: ${(error as Error).message}`);
      return undefined;
    }
  }

  private async checkBlocks(): Promise<void> {
    const missingFiles = new Set<string>();
    const known = new Set<string>();
    for (const queue of this.messageQueues()) {
      for (const entry of queue.blocks) {
        const { place } = entry;
        if (place?.kind === 'file') {
          const name = fileName(queue.serial, place.file);
          known.add(name);
          await this.checkBlock(queue, entry, `q/${name}`, missingFiles);
          continue;
        }
        const key = inlineKey(queue.serial, entry.baseOffset);
        if (!this.store.damagedKeys.has(key)) await this.checkBlock(queue, entry, `kv: ${key}`, missingFiles);
      }
    }
    const names = await this.fileSystem.list(`${this.directory}/q`);
    const unknown = names.filter((name) => !known.has(name)).length;
    if (unknown > 0) this.note(`q: ${unknown} files that no checkpoint knows; the next start removes them`);
  }

  private async checkBlock(queue: MessageQueue, entry: BlockEntry, where: string, missing: Set<string>): Promise<void> {
    const { baseOffset, nextOffset, place } = entry;
    const offsets = `offsets ${baseOffset} to ${nextOffset - 1} of queue ${queue.id} of ${queue.topic}`;
    const at = place?.kind === 'file' ? `, byte ${place.position}` : '';
    try {
      const { count } = await this.blocks.read(entry);
      if (count !== entry.count) this.damage(`${where}${at}: ${count} messages instead of ${offsets}`);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'CORRUPT') this.damage(`${where}${at}: damaged: ${offsets}`);
      else if (code !== 'ENOENT') this.damage(`${where}${at}: cannot be read: ${message}`);
      // One line for the file, and not one for each block that was in it.
      else if (!missing.has(where)) this.damage(`${where}: the file is missing; it had ${offsets}, and maybe more`);
      missing.add(where);
    }
  }

  /** Of what the checkpoint has; entries behind it are in the log. */
  private checkLightQueues(): void {
    for (const { serial, name, first, appended } of this.state.lightQueues.values()) {
      const gap = gapIn(this.store.chunks.get(serial) ?? [], first, appended);
      if (gap !== undefined) this.damage(`kv: light queue ${JSON.stringify(name)} has no entry ${gap}`);
    }
  }

  private async checkLog(restored: Restored | undefined): Promise<void> {
    const replay = restored && this.state;
    const sequence = this.checkpoint?.sequence ?? 0;
    const log = new ExaminedLog(this.fileSystem, `${this.directory}/wal`, sequence, this, replay);
    await log.examine();
    this.log = log.figures;
    const last = log.nextSequence - 1;
    if (restored !== undefined && last < restored.latestSequence) {
      this.damage(`wal: ends at record ${last}, before ${restored.latestSequence}, which the checkpoint has seen`);
    }
    this.state.endReplay();
    if (log.isWhole) this.checkState();
  }

  /** As it is when the log was replayed to its end. */
  private checkState(): void {
    for (const queue of this.messageQueues()) {
      queue.seal();
      const { id, topic, blocks, first, appended } = queue;
      const ranges = blocks.map(({ baseOffset, nextOffset }) => ({ base: baseOffset, end: nextOffset }));
      const gap = gapIn(ranges, first, appended);
      if (gap !== undefined)
        this.damage(`queue ${id} of ${topic}: neither the checkpoint nor the log has offset ${gap}`);
    }
    for (const { spec, consumptions } of this.state.groups.values()) {
      for (const [serial, consumption] of consumptions) {
        const { cursor } = consumption.state(0);
        const end = this.state.queue(serial)?.visible ?? cursor;
        if (cursor > end)
          this.damage(`group ${spec.name}: read up to ${cursor} of queue serial ${serial}, which ends at ${end}`);
      }
    }
  }

  private countDelayed(): void {
    const { added, removed } = this.state.held.takeChanges();
    for (const { id, kind, dueAt } of added) if (kind === 'delayed') this.store.delayed.set(id, dueAt);
    for (const { id } of removed) this.store.delayed.delete(id);
  }

  private messageQueues(): MessageQueue[] {
    return [...this.state.topics.values()].flatMap(({ queues }) => queues);
  }
}

/** The first offset of [first, end) that no range covers, undefined for none. Ranges are in order. */
function gapIn(ranges: readonly { base: number; end: number }[], first: number, end: number): number | undefined {
  let next = first;
  for (const range of ranges) {
    if (range.base > next) break;
    next = Math.max(next, range.end);
  }
  return next < end ? next : undefined;
}
