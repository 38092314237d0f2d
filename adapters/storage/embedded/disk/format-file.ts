import { writeFully, type FileSystem } from './file-system.ts';

/** Of the whole data directory; raised when an older gateway could not read it. */
export const DATA_FORMAT = 1;

/** Marks a new data directory; @throws Error for one that is too new, or none of ours */
export async function checkFormat(fileSystem: FileSystem, directory: string): Promise<void> {
  const path = `${directory}/format`;
  const names = await fileSystem.list(directory);
  if (!names.includes('format')) {
    const file = await fileSystem.open(path, { mode: 'readWrite', create: true });
    await writeFully(file, Buffer.from(`${DATA_FORMAT}\n`), 0);
    await file.sync();
    await file.close();
    await fileSystem.syncDirectory(directory);
    return;
  }
  const format = await readFormat(fileSystem, path);
  // A crash may have kept the name and not the content.
  if (format === undefined || format === DATA_FORMAT) return;
  throw new Error(`${directory} has data format ${format}; this version of Gantry reads up to ${DATA_FORMAT}`);
}

/** Undefined when there is nothing in it. */
export async function readFormat(fileSystem: FileSystem, path: string): Promise<number | undefined> {
  const file = await fileSystem.open(path, { mode: 'read' });
  const buffer = Buffer.alloc(16);
  const bytes = await file.read(buffer, 0);
  await file.close();
  const format = Number.parseInt(buffer.toString('latin1', 0, bytes), 10);
  return Number.isNaN(format) ? undefined : format;
}
