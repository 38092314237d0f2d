import type { FileSystem } from '../disk/file-system.ts';
import { DATA_FORMAT, readFormat } from '../disk/format-file.ts';
import { LevelStore } from '../disk/level-store.ts';
import { NodeFileSystem } from '../disk/node-file-system.ts';
import { examine, type Examination } from './doctor.ts';

/** The directory cannot be examined as it is. */
export class NotExaminedError extends Error {
  override readonly name = 'NotExaminedError';
}

/** LevelDB found its own files damaged. */
export class DamagedStoreError extends Error {
  override readonly name = 'DamagedStoreError';
}

/**
 * Examines a data directory on the disk of this machine. Nothing is changed but what LevelDB itself does when it is opened.
 * @throws NotExaminedError when a gateway has it open, or it is no data directory of a format this version knows
 * @throws DamagedStoreError when not even the store can be opened
 */
export async function examineDirectory(directory: string): Promise<Examination> {
  const fileSystem = new NodeFileSystem();
  await checkDirectory(fileSystem, directory);
  const store = new LevelStore(`${directory}/kv`);
  try {
    await store.open();
  } catch (error) {
    throw explained(directory, error as NodeJS.ErrnoException);
  }
  try {
    return await examine(fileSystem, store, directory);
  } catch (error) {
    throw new NotExaminedError(`${directory} cannot be read: ${(error as Error).message}`, { cause: error });
  } finally {
    await store.close();
  }
}

/** Before the store is opened, which would make one where there is none. */
async function checkDirectory(fileSystem: FileSystem, directory: string): Promise<void> {
  const names = await fileSystem.list(directory);
  const hasStore = (await fileSystem.list(`${directory}/kv`)).includes('CURRENT');
  const hasLog = (await fileSystem.list(`${directory}/wal`)).length > 0;
  if (!hasStore && hasLog) throw new DamagedStoreError('kv: CURRENT is missing');
  if (!hasStore) throw new NotExaminedError(`${directory} is no data directory: it has no kv/CURRENT`);
  // A crash may have kept the name and not the content.
  const format = names.includes('format') ? await readFormat(fileSystem, `${directory}/format`) : undefined;
  if (format === undefined || format === DATA_FORMAT) return;
  throw new NotExaminedError(`${directory} has data format ${format}; this version of Gantry reads ${DATA_FORMAT}`);
}

function explained(directory: string, error: NodeJS.ErrnoException): Error {
  if (error.code === 'LOCKED') {
    return new NotExaminedError(`${directory} is in use by another process: stop the gateway first`, { cause: error });
  }
  // What LevelDB says stands in the cause.
  const { message } = (error.cause ?? error) as Error;
  return /corruption|missing files/i.test(message)
    ? new DamagedStoreError(`kv: cannot be opened: ${message}`, { cause: error })
    : new NotExaminedError(`${directory} cannot be examined: ${message}`, { cause: error });
}
