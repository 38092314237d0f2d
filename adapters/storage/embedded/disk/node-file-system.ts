import { dirname } from 'node:path';
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import type { DiskFile, FileSystem, OpenOptions } from './file-system.ts';

// File descriptors and not FileHandles: those add promises of their own to every write.
const openFile = promisify(fs.open);
const readFile = promisify(fs.read);
const statFile = promisify(fs.fstat);
const syncFile = promisify(fs.fdatasync);
const closeFile = promisify(fs.close);

/** O_DSYNC costs half of write and fdatasync, in one call. Elsewhere it is missing or, on macOS, stops at the drive's cache. */
const HAS_DURABLE_WRITES = process.platform === 'linux';

/** Messages are nobody else's business on this machine. */
const DIRECTORY_MODE = 0o700;

/** The disk of this machine. */
export class NodeFileSystem implements FileSystem {
  async makeDirectory(path: string): Promise<void> {
    try {
      await fs.promises.mkdir(path, DIRECTORY_MODE);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST' && (await fs.promises.stat(path)).isDirectory()) return;
      // Not `recursive`: where nothing can be made, as in /proc, Node tries again for ever.
      if (code !== 'ENOENT' || dirname(path) === path) throw error;
      await this.makeDirectory(dirname(path));
      await fs.promises.mkdir(path, DIRECTORY_MODE);
    }
  }

  async list(path: string): Promise<string[]> {
    try {
      return await fs.promises.readdir(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  async open(path: string, { mode, create = false, durableWrites = false }: OpenOptions): Promise<DiskFile> {
    const { O_RDONLY, O_RDWR, O_CREAT, O_DSYNC } = fs.constants;
    let flags = mode === 'read' ? O_RDONLY : O_RDWR;
    if (create) flags |= O_CREAT;
    if (durableWrites && HAS_DURABLE_WRITES) flags |= O_DSYNC;
    return new NodeFile(await openFile(path, flags), durableWrites && !HAS_DURABLE_WRITES);
  }

  async rename(from: string, to: string): Promise<void> {
    await fs.promises.rename(from, to);
  }

  async unlink(path: string): Promise<void> {
    await fs.promises.unlink(path);
  }

  async syncDirectory(path: string): Promise<void> {
    try {
      const directory = await fs.promises.open(path);
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    } catch (error) {
      // Windows neither opens nor syncs directories: NTFS keeps names in a journal of its own.
      const { code } = error as NodeJS.ErrnoException;
      if (process.platform !== 'win32' || (code !== 'EPERM' && code !== 'EISDIR')) throw error;
    }
  }

  async freeBytes(path: string): Promise<number> {
    const { bavail, bsize } = await fs.promises.statfs(path);
    return bavail * bsize;
  }
}

class NodeFile implements DiskFile {
  private readonly descriptor: number;
  private readonly syncsAfterWrites: boolean;

  constructor(descriptor: number, syncsAfterWrites: boolean) {
    this.descriptor = descriptor;
    this.syncsAfterWrites = syncsAfterWrites;
  }

  async size(): Promise<number> {
    return (await statFile(this.descriptor)).size;
  }

  async read(buffer: Buffer, position: number): Promise<number> {
    let done = 0;
    while (done < buffer.length) {
      const { bytesRead } = await readFile(this.descriptor, buffer, done, buffer.length - done, position + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  }

  write(buffer: Buffer, position: number): Promise<number> {
    const written = new Promise<number>((resolve, reject) => {
      fs.write(this.descriptor, buffer, 0, buffer.length, position, (error, bytesWritten) => {
        if (error) reject(error);
        else resolve(bytesWritten);
      });
    });
    return this.syncsAfterWrites ? this.synced(written) : written;
  }

  writeVector(buffers: readonly Buffer[], position: number): Promise<number> {
    const written = new Promise<number>((resolve, reject) => {
      fs.writev(this.descriptor, buffers, position, (error, bytesWritten) => {
        if (error) reject(error);
        else resolve(bytesWritten);
      });
    });
    return this.syncsAfterWrites ? this.synced(written) : written;
  }

  /** libuv's fdatasync is F_FULLFSYNC on macOS. */
  async sync(): Promise<void> {
    await syncFile(this.descriptor);
  }

  async close(): Promise<void> {
    await closeFile(this.descriptor);
  }

  private async synced(written: Promise<number>): Promise<number> {
    const bytesWritten = await written;
    await this.sync();
    return bytesWritten;
  }
}
