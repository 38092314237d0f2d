import { dirname } from 'node:path';
import { BrokerError } from '../../../core/model/broker-error.ts';
import type { Clock } from '../../../core/ports/clock.ts';
import type { Capabilities, EngineContext } from '../../../core/ports/message-engine.ts';
import { Checkpointer } from './checkpoint/checkpointer.ts';
import { chunksBehind, dueKey, heldKey, inlineKey, numbersOf } from './checkpoint/keys.ts';
import { checkWhole, restore } from './checkpoint/restore.ts';
import { decodeHeld } from './checkpoint/values.ts';
import { checkFormat } from './disk/format-file.ts';
import type { FileSystem } from './disk/file-system.ts';
import type { KeyValueStore } from './disk/key-value-store.ts';
import type { HeldStore } from './held/held-messages.ts';
import type { HeldEntry, HeldKey, RecordLog } from './log/record-log.ts';
import { WalFiles } from './log/wal-files.ts';
import { WalLog } from './log/wal-log.ts';
import { CorruptLogError } from './log/wal-scan.ts';
import { Wal, type FlushMode } from './log/wal.ts';
import { BlockFiles } from './queue/block-files.ts';
import { LightChunk } from './queue/light-queue.ts';
import { EngineState } from './state.ts';
import type { Storage, StorageStatistics } from './storage.ts';

export interface DiskStorageOptions {
  /** The data directory, as the file system and the store know it. */
  readonly directory: string;
  readonly flush: FlushMode;
  readonly flushIntervalMs: number;
  readonly walFileBytes: number;
  /** See `WalOptions`. */
  readonly earlyWriteBytes: number;
  /** Log that is written before its content is condensed. */
  readonly checkpointBytes: number;
  /** Memory for messages that are on disk too. */
  readonly cacheBytes: number;
  readonly blockBytesMax: number;
  readonly segmentFileBytes: number;
  /** Keys a checkpoint writes at once. */
  readonly operationsPerWrite: number;
  /** With less room than this on the disk, messages are refused; acknowledgements and retention go on. */
  readonly diskFreeBytesMin: number;
}

/** Messages that wait for their segment file; beyond it the log waits too. */
const UNWRITTEN_BYTES_MAX = 64 * 1024 * 1024;
const SPACE_CHECK_MS = 1000;

/** A directory: a write-ahead log, segment files with blocks of messages, and a key-value store for everything else. */
export class DiskStorage implements Storage {
  readonly durability: Capabilities['durability'];
  private readonly fileSystem: FileSystem;
  private readonly store: KeyValueStore;
  private readonly options: DiskStorageOptions;
  private readonly blocks: BlockFiles;
  private clock!: Clock;
  private log!: WalLog;
  private checkpointer!: Checkpointer;
  private isLowOnSpace = false;
  private spaceCheckedAt = 0;
  private isClosing = false;

  constructor(fileSystem: FileSystem, store: KeyValueStore, options: DiskStorageOptions) {
    this.fileSystem = fileSystem;
    this.store = store;
    this.options = options;
    this.durability = options.flush === 'sync' ? 'fsync' : 'process';
    const { directory, segmentFileBytes, cacheBytes, blockBytesMax } = options;
    this.blocks = new BlockFiles(
      fileSystem,
      {
        directory: `${directory}/q`,
        fileBytes: segmentFileBytes,
        cacheBytes,
        blockBytesMin: Math.floor(blockBytesMax / 2),
      },
      ({ queueSerial, baseOffset }) => store.get(inlineKey(queueSerial, baseOffset)),
    );
  }

  async open(context: EngineContext): Promise<{ state: EngineState; log: RecordLog }> {
    const { directory } = this.options;
    this.clock = context.clock;
    try {
      await this.makeDirectories();
      // First: what a later version wrote must not be opened, which changes it.
      await checkFormat(this.fileSystem, directory);
      await this.store.open();
      return await this.read(context);
    } catch (error) {
      // The lock must not outlive a failed start; what closing says is not why.
      await this.store.close().catch(() => undefined);
      throw explained(error, directory);
    }
  }

  private async read(context: EngineContext): Promise<{ state: EngineState; log: RecordLog }> {
    const { blockBytesMax } = this.options;
    const state = new EngineState({
      blocks: this.blocks,
      held: this.heldStore(),
      loadLightChunk: (serial, offset) => this.loadLightChunk(serial, offset),
      blockBytesMax,
    });
    const { sequence, latestSequence, garbage } = await restore(state, this.store, this.blocks);
    this.log = this.makeLog(context);
    await this.log.open(sequence, state);
    if (this.log.sequence < latestSequence) {
      throw new CorruptLogError(
        `the log ends at record ${this.log.sequence}, before ${latestSequence} of the checkpoint`,
      );
    }
    checkWhole(state);
    // Not before: without the checkpoint or the log that name them, they are all there is.
    await this.blocks.endReplay();
    state.endReplay();
    for (const { consumptions } of state.groups.values()) {
      for (const consumption of consumptions.values()) await consumption.openLanes();
    }
    this.checkpointer = new Checkpointer(state, this.log, this.store, this.blocks, context, garbage, this.options);
    await this.checkSpace();
    return { state, log: this.log };
  }

  problemWith(): BrokerError | undefined {
    // A disk that does not even answer shows with the next write.
    if (this.clock.now() >= this.spaceCheckedAt + SPACE_CHECK_MS) this.checkSpace().catch(() => undefined);
    if (!this.isLowOnSpace && !this.log.isShortOfSpace) return undefined;
    return new BrokerError('STORE_FULL', 'the disk is full: less room is left than has to be kept free');
  }

  tidy(): void {
    // Files of removed messages go with the checkpoint.
    if (this.isLowOnSpace || this.log.isShortOfSpace) this.checkpointer.runInBackground();
  }

  /** Writes everything to where the next start finds it fastest. */
  async checkpoint(): Promise<void> {
    await this.checkpointer.run();
  }

  async close(): Promise<void> {
    this.isClosing = true;
    // A full disk must not keep the process from ending: the log has everything.
    await this.checkpointer.run().catch(() => undefined);
    await this.log.close();
    await this.blocks.close();
    await this.store.close();
  }

  statistics(): StorageStatistics {
    return { ...this.log.wal.statistics };
  }

  /** A directory is a name in the one above: durable with that. */
  private async makeDirectories(): Promise<void> {
    const { directory } = this.options;
    for (const name of ['wal', 'q', 'kv']) await this.fileSystem.makeDirectory(`${directory}/${name}`);
    await this.fileSystem.syncDirectory(directory);
    await this.fileSystem.syncDirectory(dirname(directory));
  }

  private makeLog({ clock, onFailure }: EngineContext): WalLog {
    const { directory, walFileBytes, flush, flushIntervalMs, earlyWriteBytes } = this.options;
    const durableWrites = flush === 'sync';
    const files = new WalFiles(
      this.fileSystem,
      { directory: `${directory}/wal`, fileBytes: walFileBytes, durableWrites },
      clock,
    );
    const wal = new Wal(files, { flush, flushIntervalMs, earlyWriteBytes }, clock, {
      onFailure,
      onWritten: () => this.checkpointWhenDue(),
      pressure: () => this.blocks.pressure(UNWRITTEN_BYTES_MAX),
    });
    return new WalLog(wal, this.durability);
  }

  private checkpointWhenDue(): void {
    if (!this.isClosing && this.log.wal.bytesSinceCheckpoint >= this.options.checkpointBytes) {
      this.checkpointer.runInBackground();
    }
  }

  private async checkSpace(): Promise<void> {
    this.spaceCheckedAt = this.clock.now();
    const free = await this.fileSystem.freeBytes(this.options.directory);
    this.isLowOnSpace = free < this.options.diskFreeBytesMin;
  }

  private async loadLightChunk(serial: number, offset: number): Promise<LightChunk> {
    for await (const [key, value] of this.store.range(...chunksBehind(serial, offset))) {
      const end = numbersOf(key)[1]!;
      return LightChunk.decode(end - value.length / LightChunk.entryBytes, value);
    }
    throw new Error(`entry ${offset} of light queue ${serial} is missing`);
  }

  private heldStore(): HeldStore {
    return {
      load: async (keys: readonly HeldKey[]): Promise<(HeldEntry | undefined)[]> => {
        const values = await this.store.getMany(keys.map(heldKey));
        return values.map((value) => value && decodeHeld(value));
      },
      between: async (from: number, to: number): Promise<HeldKey[]> => {
        const keys: HeldKey[] = [];
        for await (const [key] of this.store.range(dueKey(from), dueKey(to))) {
          const [dueAt, id] = numbersOf(key) as [number, number];
          keys.push({ id, kind: 'delayed', dueAt });
        }
        return keys;
      },
    };
  }
}

/** The system's errors name a call; whoever reads the log of a gateway that does not start wants to know the directory. */
function explained(error: unknown, directory: string): unknown {
  const { code, message, syscall } = error as NodeJS.ErrnoException;
  const isSystems = syscall !== undefined || /^E[A-Z]+$/.test(code ?? '');
  if (!isSystems) return error;
  return Object.assign(new Error(`the data directory ${directory} cannot be used: ${message}`, { cause: error }), {
    code,
  });
}
