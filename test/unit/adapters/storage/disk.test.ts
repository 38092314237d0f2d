import { spawnSync } from 'node:child_process';
import t, { type Test } from 'tap';
import { writeFully, type FileSystem } from '../../../../adapters/storage/embedded/disk/file-system.ts';
import type { KeyValueStore } from '../../../../adapters/storage/embedded/disk/key-value-store.ts';
import { LevelStore } from '../../../../adapters/storage/embedded/disk/level-store.ts';
import { MemoryStore } from '../../../../adapters/storage/embedded/disk/memory-store.ts';
import { NodeFileSystem } from '../../../../adapters/storage/embedded/disk/node-file-system.ts';
import { FaultDisk } from '../../../helpers/fault-disk.ts';
import { Random, testSeed } from '../../../helpers/random.ts';

const READ_WRITE = { mode: 'readWrite', create: true } as const;
const DURABLE = { ...READ_WRITE, durableWrites: true } as const;

const seed = testSeed();
t.comment(`GANTRY_SEED=${seed} repeats this`);

async function contentOf(disk: FileSystem, path: string): Promise<Buffer> {
  const file = await disk.open(path, { mode: 'read' });
  const buffer = Buffer.alloc((await file.size()) + 10, 0xff);
  const bytes = await file.read(buffer, 0);
  await file.close();
  return buffer.subarray(0, bytes);
}

async function textOf(disk: FileSystem, path: string): Promise<string> {
  return (await contentOf(disk, path)).toString();
}

async function writeText(disk: FileSystem, path: string, text: string): Promise<void> {
  const file = await disk.open(path, READ_WRITE);
  await writeFully(file, Buffer.from(text), 0);
  await file.sync();
  await file.close();
}

function runFileSystemSuite(name: string, create: (t: Test) => { disk: FileSystem; root: string }): void {
  void t.test(`${name}: files`, async (t) => {
    const { disk, root } = create(t);
    for (const options of [READ_WRITE, DURABLE]) {
      const path = `${root}/file ${'durableWrites' in options}`;
      await t.rejects(disk.open(path, { mode: 'readWrite' }), { code: 'ENOENT' });
      const file = await disk.open(path, options);
      t.equal(await file.size(), 0);
      t.equal(await file.write(Buffer.from('hello'), 0), 5);
      t.equal(await file.write(Buffer.from('J'), 0), 1);
      const end = ['e', '', 'nd'].map((text) => Buffer.from(text));
      t.equal(await file.writeVector(end, 1_000), 3, 'with a hole');
      await file.sync();
      t.equal(await file.size(), 1_003);
      const buffer = Buffer.alloc(10, 0xff);
      t.equal(await file.read(buffer, 998), 5, 'up to the end');
      t.same(buffer, Buffer.concat([Buffer.from('\0\0end'), Buffer.alloc(5, 0xff)]));
      t.equal(await file.read(buffer, 1_003), 0);
      t.equal(await file.read(buffer, 5_000), 0);
      t.equal(await file.read(Buffer.alloc(0), 0), 0);
      await file.close();
      await t.rejects(file.size(), { code: 'EBADF' });
      t.match(await textOf(disk, path), /^Jello\0/);
      const again = await disk.open(path, options);
      t.equal(await again.size(), 1_003, 'opening for creation keeps what is there');
      await again.close();
      const readOnly = await disk.open(path, { mode: 'read' });
      await t.rejects(readOnly.write(Buffer.from('x'), 0), { code: 'EBADF' });
      await readOnly.close();
    }
    t.ok((await disk.freeBytes(root)) > 1e6);
  });

  void t.test(`${name}: names`, async (t) => {
    const { disk, root } = create(t);
    const deep = `${root}/q/topic/0`;
    t.same(await disk.list(deep), [], 'no such directory');
    await t.rejects(disk.open(`${deep}/a`, READ_WRITE), { code: 'ENOENT' });
    await disk.makeDirectory(deep);
    await disk.makeDirectory(deep);
    t.same(await disk.list(`${root}/q`), ['topic']);
    await writeText(disk, `${deep}/a`, 'a');
    await writeText(disk, `${deep}/b`, 'b');
    const open = await disk.open(`${deep}/b`, { mode: 'read' });
    await disk.rename(`${deep}/a`, `${deep}/b`);
    t.same(await disk.list(deep), ['b']);
    t.equal(await textOf(disk, `${deep}/b`), 'a', 'replaced');
    const before = Buffer.alloc(1);
    await open.read(before, 0);
    t.equal(before.toString(), 'b', 'a file lives as long as it is open');
    await open.close();
    await disk.syncDirectory(deep);
    await disk.unlink(`${deep}/b`);
    t.same(await disk.list(deep), []);
    await t.rejects(disk.unlink(`${deep}/b`), { code: 'ENOENT' });
    await t.rejects(disk.rename(`${deep}/b`, `${deep}/c`), { code: 'ENOENT' });
    await t.rejects(disk.open(`${deep}/b`, { mode: 'read' }), { code: 'ENOENT' });
    await t.rejects(disk.syncDirectory(`${root}/none`), { code: 'ENOENT' });
  });
}

runFileSystemSuite('NodeFileSystem', (t) => ({ disk: new NodeFileSystem(), root: t.testdir() }));
runFileSystemSuite('FaultDisk', () => ({ disk: new FaultDisk(new Random(seed)), root: '' }));

async function keysOf(store: KeyValueStore, from: string, to: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const [key] of store.range(from, to)) keys.push(key);
  return keys;
}

function put(key: string, value = key) {
  return { type: 'put', key, value: Buffer.from(value) } as const;
}

function runKeyValueSuite(name: string, create: (t: Test) => KeyValueStore): void {
  void t.test(`${name}: entries`, async (t) => {
    const store = create(t);
    await store.open();
    t.equal(await store.get('a'), undefined);
    await store.write([put('a', 'old'), put('b'), put('empty', '')]);
    await store.write([put('a'), { type: 'del', key: 'b' }, { type: 'del', key: 'none' }, put('c'), put('c', 'last')]);
    await store.write([]);
    const values = await store.getMany(['c', 'b', 'a', 'empty', 'none']);
    t.same(
      values.map((value) => value?.toString()),
      ['last', undefined, 'a', '', undefined],
    );
    await store.close();
    await store.open();
    t.same(await store.get('a'), Buffer.from('a'), 'kept by closing and opening');
    await store.close();
  });

  void t.test(`${name}: ranges`, async (t) => {
    const store = create(t);
    await store.open();
    const ordered = ['a', 'a/', 'a/1', 'a/10', 'a/2', 'b', 'é', '\u{ffee}', '𝄞'];
    await store.write(ordered.toReversed().map((key) => put(key)));
    t.same(await keysOf(store, '', '\u{10ffff}'), ordered, 'by their bytes');
    t.same(await keysOf(store, 'a/', 'a/2'), ['a/', 'a/1', 'a/10']);
    t.same(await keysOf(store, 'x', 'y'), []);
    t.same(await keysOf(store, 'b', 'a'), []);
    const many = Array.from({ length: 2_500 }, (_, i) => put(`many/${String(i).padStart(4, '0')}`, 'x'.repeat(200)));
    await store.write(many);
    let count = 0;
    for await (const [key, value] of store.range('many/', 'many0')) {
      if (key !== many[count]!.key || value.length !== 200) break;
      if (count++ === 0) await store.write([{ type: 'del', key: 'many/2000' }, put('many/2000a')]);
    }
    t.equal(count, 2_500, 'a range shows how things were when it began');
    for await (const [key] of store.range('many/', 'many0')) if (key >= 'many/1200') break;
    await store.close();
  });

  void t.test(`${name}: writes at the same time end in their order`, async (t) => {
    const store = create(t);
    await store.open();
    const ended: number[] = [];
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => store.write([put('a', String(i))]).then(() => ended.push(i))),
    );
    t.same(ended, [...ended.keys()]);
    t.same(await store.get('a'), Buffer.from('19'));
    await store.close();
  });
}

runKeyValueSuite('LevelStore', (t) => new LevelStore(`${t.testdir()}/kv`));
runKeyValueSuite('MemoryStore', () => new MemoryStore());
runKeyValueSuite('FaultStore', () => new FaultDisk(new Random(seed)).store);

void t.test('LevelStore is locked while it is open', async (t) => {
  const directory = `${t.testdir()}/kv`;
  const first = new LevelStore(directory);
  const second = new LevelStore(directory);
  await t.rejects(first.get('a'), /was not opened/);
  await first.open();
  await t.rejects(second.open(), { code: 'LOCKED', message: `${directory} is in use by another process` });
  await first.write([put('a')]);
  await first.close();
  await second.open();
  t.same(await second.get('a'), Buffer.from('a'));
  await second.close();
});

/** Caps the size of the files this process writes, as a full disk would. @returns false where that is not possible */
function limitFileBytes(limit: number | 'unlimited'): boolean {
  return spawnSync('prlimit', [`--pid=${process.pid}`, `--fsize=${limit}:`]).status === 0;
}

void t.test('LevelStore goes on after a failed write and keeps all it confirmed', async (t) => {
  const ignore = (): void => {};
  process.on('SIGXFSZ', ignore);
  if (!limitFileBytes('unlimited')) {
    t.comment('not tried: there is no prlimit here');
    return;
  }
  const store = new LevelStore(`${t.testdir()}/kv`);
  await store.open();
  const confirmed: string[] = [];
  const failed: string[] = [];
  const writeMany = async (name: string): Promise<void> => {
    const keys = Array.from({ length: 50 }, (_, i) => `${name} ${i}`);
    const outcomes = await Promise.allSettled(keys.map((key) => store.write([put(key, key.padEnd(3_000))])));
    for (const [i, { status }] of outcomes.entries()) (status === 'fulfilled' ? confirmed : failed).push(keys[i]!);
    const kept = await store.getMany(confirmed);
    t.ok(kept.every((value, i) => value?.toString() === confirmed[i]!.padEnd(3_000)));
  };
  try {
    limitFileBytes(64 * 1024);
    await writeMany('a');
    t.ok(failed.length > 0 && failed.length < 10, `${failed.length} failed`);
  } finally {
    limitFileBytes('unlimited');
    process.off('SIGXFSZ', ignore);
  }
  const failures = failed.length;
  await writeMany('b');
  t.equal(failed.length, failures, 'the next write opened it again');
  await store.close();
  await store.open();
  t.equal((await store.getMany(confirmed)).filter((value) => value === undefined).length, 0);
  await store.close();
});
