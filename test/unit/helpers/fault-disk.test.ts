import t from 'tap';
import { writeFully, writeVectorFully, type FileSystem } from '../../../adapters/storage/embedded/disk/file-system.ts';
import { FaultDisk } from '../../helpers/fault-disk.ts';
import { SECTOR_BYTES } from '../../helpers/fault-file.ts';
import { settled } from '../../helpers/manual-clock.ts';
import { Random, seeds, testSeed } from '../../helpers/random.ts';

/** The disk that fails is what the crash tests stand on: every fault has to happen, and only as it was ordered. */

const READ_WRITE = { mode: 'readWrite', create: true } as const;
const DURABLE = { ...READ_WRITE, durableWrites: true } as const;

const seed = testSeed();
t.comment(`GANTRY_SEED=${seed} repeats this`);

async function textOf(disk: FileSystem, path: string): Promise<string> {
  const file = await disk.open(path, { mode: 'read' });
  const buffer = Buffer.alloc(await file.size());
  await file.read(buffer, 0);
  return buffer.toString();
}

async function writeText(disk: FileSystem, path: string, text: string): Promise<void> {
  const file = await disk.open(path, READ_WRITE);
  await writeFully(file, Buffer.from(text), 0);
  await file.sync();
}

function put(key: string, value = key) {
  return { type: 'put', key, value: Buffer.from(value) } as const;
}

/** What many runs come to, in order and each once. */
async function outcomes(run: (random: Random) => Promise<string>): Promise<string[]> {
  const found = new Set<string>();
  for (let i = 0; i < 300; i++) found.add(await run(new Random(seed + i)));
  return [...found].toSorted();
}

/** Whether it has an answer once everything that can go on has gone on. */
async function hasAnswer(promise: Promise<unknown>): Promise<boolean> {
  let answered = false;
  const note = (): void => void (answered = true);
  promise.then(note, note);
  await settled();
  return answered;
}

void t.test('a crash keeps what was synced and any part of what was not', async (t) => {
  const contents = (options: typeof READ_WRITE, end: 'sync' | 'crash' | 'crash while writing') =>
    outcomes(async (random) => {
      const disk = new FaultDisk(random);
      const file = await disk.open('a', options);
      await disk.syncDirectory('');
      await writeFully(file, Buffer.alloc(3 * SECTOR_BYTES, '.'), 0);
      await file.sync();
      const write = file.write(Buffer.alloc(2 * SECTOR_BYTES, 'x'), SECTOR_BYTES);
      if (end !== 'crash while writing') await write;
      if (end === 'sync') await file.sync();
      const content = await textOf(disk.crash(), 'a');
      return [0, 1, 2].map((sector) => content[sector * SECTOR_BYTES + 100]).join('');
    });
  const anything = ['...', '..x', '.x.', '.xx'];
  t.same(await contents(READ_WRITE, 'crash'), anything);
  t.same(await contents(READ_WRITE, 'sync'), ['.xx']);
  t.same(await contents(DURABLE, 'crash while writing'), anything);
  t.same(await contents(DURABLE, 'crash'), ['.xx'], 'durable writes need no sync');
});

void t.test('a crash may keep a length and lose the bytes', async (t) => {
  const found = await outcomes(async (random) => {
    const disk = new FaultDisk(random);
    const file = await disk.open('a', READ_WRITE);
    await disk.syncDirectory('');
    await file.write(Buffer.from('ab'), 0);
    return (await textOf(disk.crash(), 'a')).replaceAll('\0', '0');
  });
  t.same(found, ['', '0', '00', 'a', 'ab']);
});

void t.test('a sync does not cover what is written while it runs', async (t) => {
  const found = await outcomes(async (random) => {
    const disk = new FaultDisk(random);
    const file = await disk.open('a', READ_WRITE);
    await disk.syncDirectory('');
    await file.write(Buffer.from('1'), 0);
    const sync = file.sync();
    const write = file.write(Buffer.from('2'), 0);
    await sync;
    if (random.chance(0.5)) await write;
    return textOf(disk.crash(), 'a');
  });
  t.same(found, ['1', '2']);
});

void t.test('a crash keeps or loses names that were not synced', async (t) => {
  const names = (change: (disk: FaultDisk) => Promise<void>, synced: boolean) =>
    outcomes(async (random) => {
      const disk = new FaultDisk(random);
      await disk.makeDirectory('d');
      await disk.syncDirectory('');
      await writeText(disk, 'd/a', '1');
      await writeText(disk, 'd/b', '2');
      await disk.syncDirectory('d');
      await change(disk);
      if (synced) await disk.syncDirectory('d');
      const next = disk.crash();
      const found = (await next.list('d')).toSorted();
      return (await Promise.all(found.map(async (name) => name + (await textOf(next, `d/${name}`))))).join(' ');
    });
  const create = (disk: FaultDisk) => writeText(disk, 'd/c', '3');
  t.same(await names(create, true), ['a1 b2 c3']);
  t.same(await names(create, false), ['a1 b2', 'a1 b2 c3'], 'though its content was synced');
  const rename = (disk: FaultDisk) => disk.rename('d/a', 'd/b');
  t.same(await names(rename, true), ['b1']);
  t.same(await names(rename, false), ['a1 b2', 'b1'], 'as a whole');
  const unlink = (disk: FaultDisk) => disk.unlink('d/a');
  t.same(await names(unlink, true), ['b2']);
  t.same(await names(unlink, false), ['a1 b2', 'b2']);
  const several = async (disk: FaultDisk): Promise<void> => {
    await disk.unlink('d/b');
    await disk.rename('d/a', 'd/b');
    await create(disk);
  };
  const inOrder = ['a1', 'a1 b2', 'a1 b2 c3', 'a1 c3', 'b1', 'b1 c3'];
  t.same(await names(several, false), inOrder);
  const deep = await outcomes(async (random) => {
    const disk = new FaultDisk(random);
    await disk.makeDirectory('d/e');
    await writeText(disk, 'd/e/a', '1');
    await disk.syncDirectory('d/e');
    await disk.syncDirectory('d');
    return (await disk.crash().list('d/e')).join();
  });
  t.same(deep, ['', 'a'], 'a directory is a name in the one above');
});

void t.test('the process dies in the operation that was chosen', async (t) => {
  const random = new Random(seed);
  const disk = new FaultDisk(random);
  const file = await disk.open('a', DURABLE);
  const before = disk.life.mutations;
  disk.faults.crashAtMutation = before + 2;
  t.equal(await file.write(Buffer.from('1'), 0), 1);
  t.equal(await file.read(Buffer.alloc(1), 0), 1, 'reads do not count');
  t.notOk(await hasAnswer(disk.life.crashed));
  t.notOk(await hasAnswer(file.write(Buffer.from('2'), 0)));
  t.ok(await hasAnswer(disk.life.crashed));
  t.equal(disk.life.mutations, before + 2);
  for (const call of [file.size(), file.sync(), file.close(), disk.list(''), disk.freeBytes(), disk.store.get('a')]) {
    t.notOk(await hasAnswer(call), 'a dead process gets no answers');
  }
  const next = disk.crash();
  next.faults.crashAtMutation = 1;
  t.notOk(await hasAnswer(next.store.write([put('a')])), 'writes to the store count as well');
});

void t.test('short writes', async (t) => {
  const disk = new FaultDisk(new Random(seed), { shortWriteProbability: 0.5 });
  const file = await disk.open('a', READ_WRITE);
  const counts = new Set<string>();
  for (let i = 0; i < 50; i++) {
    const bytes = await file.write(Buffer.alloc(1_000, 'x'), 0);
    counts.add(bytes === 1_000 ? 'all' : 'some');
  }
  t.same([...counts].toSorted(), ['all', 'some']);
  await writeFully(file, Buffer.alloc(5_000, 'y'), 0);
  t.equal(await textOf(disk, 'a'), 'y'.repeat(5_000));
  for (let i = 0; i < 50; i++) {
    const parts = ['a', 'b', '', 'c'].map((letter) => Buffer.from(letter.repeat(500)));
    await writeVectorFully(file, parts, 0);
    t.equal(await textOf(disk, 'a'), parts.join('') + 'y'.repeat(3_500));
    await writeFully(file, Buffer.alloc(5_000, 'y'), 0);
  }
});

void t.test('a failed sync loses what it should have written, whatever later ones say', async (t) => {
  for (const options of [READ_WRITE, DURABLE]) {
    const disk = new FaultDisk(new Random(seed));
    const file = await disk.open('a', options);
    await disk.syncDirectory('');
    await writeFully(file, Buffer.alloc(3 * SECTOR_BYTES, '.'), 0);
    await file.sync();
    disk.faults.failAtSync = disk.life.syncs + 1;
    const failing = async (): Promise<void> => {
      await file.write(Buffer.alloc(2 * SECTOR_BYTES, 'x'), 0);
      await file.sync();
    };
    await t.rejects(failing(), { code: 'EIO' });
    t.match(await textOf(disk, 'a'), /^x+\.+$/, 'reads still show it');
    await file.write(Buffer.from('y'), 10);
    await file.sync();
    const content = await textOf(disk.crash(), 'a');
    t.equal(content, `${'x'.repeat(10)}y${'x'.repeat(SECTOR_BYTES - 11)}${'.'.repeat(2 * SECTOR_BYTES)}`);
  }
  const disk = new FaultDisk(new Random(seed), { failAtSync: 1 });
  await t.rejects(disk.syncDirectory(''), { code: 'EIO' });
});

void t.test('a full disk', async (t) => {
  const disk = new FaultDisk(new Random(seed), { bytesMax: 1_000 });
  const file = await disk.open('a', READ_WRITE);
  t.equal(await file.write(Buffer.alloc(600), 0), 600);
  await disk.store.write([put('key', 'x'.repeat(97))]);
  t.equal(await disk.freeBytes(), 300);
  await t.rejects(disk.store.write([put('other', 'x'.repeat(300))]), { code: 'ENOSPC' });
  t.equal(await file.write(Buffer.alloc(400), 600), 300, 'first a short write');
  await t.rejects(file.write(Buffer.alloc(100), 900), { code: 'ENOSPC' });
  await t.rejects(
    disk.store.write([{ type: 'del', key: 'key' }]),
    { code: 'ENOSPC' },
    'a deletion takes space at first',
  );
  t.equal(await file.write(Buffer.alloc(900), 0), 900, 'what is there can be written again');
  t.equal(await disk.freeBytes(), 0);
  await file.sync();
  await disk.syncDirectory('');
  const next = disk.crash();
  t.equal(await next.freeBytes(), 0, 'the next process finds it full');
  await next.unlink('a');
  t.equal(await next.freeBytes(), 900);
  await next.store.write([{ type: 'del', key: 'key' }]);
  t.equal(await next.freeBytes(), 1_000);
  next.faults.bytesMax = 2_000;
  t.equal(await next.freeBytes(), 2_000);
  await writeText(next, 'b', 'x'.repeat(2_000));
});

void t.test('bits that flip', async (t) => {
  const disk = new FaultDisk(new Random(seed));
  await writeText(disk, 'a', '0000');
  await disk.syncDirectory('');
  disk.flipStoredBit('a', 8);
  t.equal(await textOf(disk, 'a'), '0100');
  const next = disk.crash({ readFlipProbability: 0.5 });
  const found = new Set<string>();
  for (let i = 0; i < 100; i++) found.add(await textOf(next, 'a'));
  t.ok(found.has('0100') && found.size > 2, 'for one read only');
});

void t.test('a disk that cannot be written to', async (t) => {
  const disk = new FaultDisk(new Random(seed));
  await writeText(disk, 'a', '1');
  const file = await disk.open('a', READ_WRITE);
  disk.faults.readOnly = true;
  const calls: (() => Promise<unknown>)[] = [
    () => file.write(Buffer.from('2'), 0),
    () => file.sync(),
    () => disk.rename('a', 'b'),
    () => disk.unlink('a'),
    () => disk.syncDirectory(''),
    () => disk.makeDirectory('d'),
    () => disk.open('b', READ_WRITE),
    () => disk.open('a', READ_WRITE),
    () => disk.store.write([put('a')]),
  ];
  for (const call of calls)
    await t.rejects(
      call().then(() => {}),
      { code: 'EROFS' },
    );
  t.equal(await textOf(disk, 'a'), '1');
});

void t.test('FaultStore: a crash keeps or loses a write as a whole', async (t) => {
  const keys = (run: (disk: FaultDisk) => Promise<void>) =>
    outcomes(async (random) => {
      const disk = new FaultDisk(random);
      await run(disk);
      const { store } = disk.crash();
      let found = '';
      for await (const [key] of store.range('', 'z')) found += key;
      return found;
    });
  const confirmed = (disk: FaultDisk) => disk.store.write([put('a'), put('b')]);
  t.same(await keys(confirmed), ['ab']);
  const underWay = async (disk: FaultDisk): Promise<void> => {
    await confirmed(disk);
    void disk.store.write([put('c'), { type: 'del', key: 'a' }]);
    void disk.store.write([put('d')]);
  };
  t.same(await keys(underWay), ['ab', 'bc', 'bcd'], 'in their order');
  const failed = async (disk: FaultDisk): Promise<void> => {
    disk.faults.failAtSync = 1;
    await t.rejects(confirmed(disk), { code: 'EIO' });
  };
  t.same(await keys(failed), ['', 'ab'], 'nobody knows after an error');
  const goneOn = async (disk: FaultDisk): Promise<void> => {
    await failed(disk);
    await disk.store.write([put('b', 'later'), put('c')]);
  };
  t.same(await keys(goneOn), ['abc', 'bc']);
});

/** What a sector may hold after a crash: the versions since, and including, the last one known to be durable. */
type Allowed = Map<number, number[]>;

/** Random writes and syncs until the process dies, over sectors that each hold one version number. */
async function playUntilCrash(random: Random): Promise<{ disk: FaultDisk; allowed: Allowed[] }> {
  const disk = new FaultDisk(random);
  const files = await Promise.all([disk.open('0', READ_WRITE), disk.open('1', DURABLE)]);
  await disk.syncDirectory('');
  for (const file of files) {
    await file.write(Buffer.alloc(12 * SECTOR_BYTES), 0);
    await file.sync();
  }
  const allowed: Allowed[] = [new Map(), new Map()];
  disk.faults.crashAtMutation = disk.life.mutations + random.int(1, 30);
  const settle = (versions: Allowed): void => {
    for (const [sector, [...all]] of versions) versions.set(sector, all.slice(-1));
  };
  const play = async (): Promise<never> => {
    for (let version = 1; ; version++) {
      const index = random.below(2);
      const [file, versions] = [files[index]!, allowed[index]!];
      if (random.chance(0.3)) {
        await file.sync();
        settle(versions);
        continue;
      }
      const [first, count] = [random.below(8), random.int(1, 4)];
      for (let sector = first; sector < first + count; sector++) {
        versions.set(sector, [...(versions.get(sector) ?? [0]), version]);
      }
      await writeFully(file, Buffer.alloc(count * SECTOR_BYTES, version), first * SECTOR_BYTES);
      if (index === 1) settle(versions);
    }
  };
  await Promise.race([play(), disk.life.crashed]);
  return { disk: disk.crash(), allowed };
}

void t.test('random histories: no sector is older than its sync, and none is mixed', async (t) => {
  for (const seed of seeds(2_000)) {
    const { disk, allowed } = await playUntilCrash(new Random(seed));
    for (const [index, versions] of allowed.entries()) {
      const file = await disk.open(String(index), { mode: 'read' });
      for (const [sector, possible] of versions) {
        const content = Buffer.alloc(SECTOR_BYTES);
        await file.read(content, sector * SECTOR_BYTES);
        const isWhole = content.subarray(1).equals(content.subarray(0, -1));
        if (isWhole && possible.includes(content[0]!)) continue;
        t.fail(`GANTRY_SEED=${seed}: sector ${sector} of ${index} holds ${content[0]}, not one of ${possible.join()}`);
        return;
      }
    }
  }
});
