import { resolve } from 'node:path';
import { DiskStorage, type DiskStorageOptions } from './disk-storage.ts';
import { LevelStore } from './disk/level-store.ts';
import { NodeFileSystem } from './disk/node-file-system.ts';
import { EmbeddedEngine } from './engine.ts';
import { EmbeddedMetaStore } from './meta/embedded-meta-store.ts';
import { MemoryStorage, type Storage } from './storage.ts';

const MIB = 1024 * 1024;

export const DEFAULT_EMBEDDED_OPTIONS = {
  flush: 'sync',
  flushIntervalMs: 100,
  cacheBytes: 64 * MIB,
  checkpointBytes: 128 * MIB,
  diskFreeBytesMin: 256 * MIB,
} as const;

export interface EmbeddedOptions extends Partial<
  Pick<DiskStorageOptions, 'flush' | 'flushIntervalMs' | 'cacheBytes' | 'checkpointBytes' | 'diskFreeBytesMin'>
> {
  /** The data directory; made when there is none. */
  readonly dir: string;
}

/** An engine and the meta store that shares its log. Neither may be used before the engine is started. */
export interface EngineAndMeta {
  readonly engine: EmbeddedEngine;
  readonly meta: EmbeddedMetaStore;
}

/** On disk. */
export function openEmbeddedEngine({ dir, ...options }: EmbeddedOptions): EngineAndMeta {
  const directory = resolve(dir);
  return withMeta(
    new DiskStorage(new NodeFileSystem(), new LevelStore(`${directory}/kv`), {
      directory,
      walFileBytes: 32 * MIB,
      earlyWriteBytes: 64 * 1024,
      blockBytesMax: MIB / 4,
      segmentFileBytes: 64 * MIB,
      operationsPerWrite: 2000,
      ...DEFAULT_EMBEDDED_OPTIONS,
      ...options,
    }),
  );
}

/** In memory, gone with the process. @param bytesMax of messages; beyond it sends are refused with STORE_FULL */
export function openMemoryEngine(bytesMax: number): EngineAndMeta {
  return withMeta(new MemoryStorage(bytesMax));
}

export function withMeta(storage: Storage): EngineAndMeta {
  const meta = new EmbeddedMetaStore();
  return { engine: new EmbeddedEngine(storage, meta), meta };
}
