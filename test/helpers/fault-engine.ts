import { DiskStorage, type DiskStorageOptions } from '../../adapters/storage/embedded/disk-storage.ts';
import type { EmbeddedEngine } from '../../adapters/storage/embedded/engine.ts';
import type { EmbeddedMetaStore } from '../../adapters/storage/embedded/meta/embedded-meta-store.ts';
import { withMeta } from '../../adapters/storage/embedded/open.ts';
import { fail } from './fail.ts';
import type { FaultDisk } from './fault-disk.ts';
import type { ManualClock } from './manual-clock.ts';
import { SILENT } from './silent-logger.ts';

export interface DiskEngine {
  readonly engine: EmbeddedEngine;
  readonly meta: EmbeddedMetaStore;
  readonly storage: DiskStorage;
  readonly disk: FaultDisk;
  readonly clock: ManualClock;
}

/** Everything so small that a few messages fill a file, make a checkpoint, and fall out of the cache. */
export const TINY: DiskStorageOptions = {
  directory: 'data',
  flush: 'sync',
  flushIntervalMs: 100,
  walFileBytes: 16 * 1024,
  earlyWriteBytes: 512,
  checkpointBytes: 24 * 1024,
  cacheBytes: 4 * 1024,
  blockBytesMax: 4 * 1024,
  segmentFileBytes: 12 * 1024,
  operationsPerWrite: 3,
  diskFreeBytesMin: 0,
};

/** The embedded engine over a disk in memory, started. */
export async function startOnDisk(
  disk: FaultDisk,
  clock: ManualClock,
  options: Partial<DiskStorageOptions> = {},
  onFailure: (error: Error) => void = fail,
): Promise<DiskEngine> {
  const storage = new DiskStorage(disk, disk.store, { ...TINY, ...options });
  const { engine, meta } = withMeta(storage);
  await engine.start({ clock, log: SILENT, onFailure });
  return { engine, meta, storage, disk, clock };
}
