import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import type { DiskFile, FileSystem, OpenOptions } from '../../../../adapters/storage/embedded/disk/file-system.ts';
import {
  CommitEncoder,
  readRecords,
  writeJson,
  writeLease,
} from '../../../../adapters/storage/embedded/log/record-codec.ts';
import type {
  ChangeEntry,
  HeldEntry,
  HeldKey,
  LeaseRecord,
  LogRecord,
  Replay,
  SettleEntry,
} from '../../../../adapters/storage/embedded/log/record-log.ts';
import { WalFiles } from '../../../../adapters/storage/embedded/log/wal-files.ts';
import { FRAME_HEADER_BYTES, sealFrame, SECTOR_BYTES } from '../../../../adapters/storage/embedded/log/wal-format.ts';
import { Wal, type FlushMode, type WalHooks } from '../../../../adapters/storage/embedded/log/wal.ts';
import { encodeMessage, Message } from '../../../../core/model/message.ts';
import { FaultDisk } from '../../../helpers/fault-disk.ts';
import { ManualClock, MicrotaskClock } from '../../../helpers/manual-clock.ts';
import { Random, testSeed } from '../../../helpers/random.ts';

const seed = testSeed();
t.comment(`GANTRY_SEED=${seed} repeats this`);

const FILE_BYTES = 4096;

interface LogOptions {
  readonly flush?: FlushMode;
  readonly checkpointed?: number;
  readonly clock?: ManualClock;
  readonly fileSystem?: FileSystem;
  readonly pressure?: WalHooks['pressure'];
}

/** A log of texts. */
class TextLog {
  readonly wal: Wal;
  readonly clock: ManualClock;
  /** What was found at the start. */
  readonly found: string[] = [];
  readonly failures: Error[] = [];
  private readonly checkpointed: number;

  private constructor(disk: FaultDisk, options: LogOptions) {
    const { flush = 'sync', checkpointed = 0, clock = new MicrotaskClock() } = options;
    const files = new WalFiles(
      options.fileSystem ?? disk,
      { directory: 'wal', fileBytes: FILE_BYTES, durableWrites: flush === 'sync' },
      clock,
    );
    this.clock = clock;
    this.checkpointed = checkpointed;
    this.wal = new Wal(files, { flush, flushIntervalMs: 100, earlyWriteBytes: 2048 }, clock, {
      onFailure: (error) => void this.failures.push(error),
      onWritten: () => {},
      pressure: options.pressure ?? (() => undefined),
    });
  }

  static async open(disk: FaultDisk, options: LogOptions = {}): Promise<TextLog> {
    const log = new TextLog(disk, options);
    await disk.makeDirectory('wal');
    await disk.syncDirectory('');
    await log.wal.open(log.checkpointed, ({ buffer, start, end, count }) => {
      let at = start;
      for (let i = 0; i < count; i++) {
        const bytes = buffer.readUInt32LE(at);
        // Long ones by their beginning.
        log.found.push(buffer.toString('utf8', at + 4, at + 4 + Math.min(bytes, 12)).trimEnd());
        at += 4 + bytes;
      }
      if (at !== end) throw new Error(`records end at ${at} and not at ${end}`);
    });
    return log;
  }

  /** Not durable yet. */
  add(text: string, bytes = text.length): void {
    const body = Buffer.alloc(Math.max(bytes, text.length), ' ');
    body.write(text);
    this.addBytes(body);
  }

  addBytes(body: Buffer): void {
    const at = this.wal.reserve(4 + body.length);
    this.wal.buffer.writeUInt32LE(body.length, at);
    body.copy(this.wal.buffer, at + 4);
  }

  durable(): Promise<void> {
    return new Promise((resolve) => this.wal.whenDurable(resolve));
  }

  async append(text: string, bytes?: number): Promise<void> {
    this.add(text, bytes);
    await this.durable();
  }
}

function fileName(number: number): string {
  return `wal/${String(number).padStart(8, '0')}.wal`;
}

async function contentOf(disk: FaultDisk, path: string): Promise<Buffer> {
  const file = await disk.open(path, { mode: 'read' });
  const content = Buffer.alloc(await file.size());
  await file.read(content, 0);
  await file.close();
  return content;
}

/** A disk with these log files, durable. */
async function diskWith(files: ReadonlyMap<string, Buffer>, random = new Random(seed)): Promise<FaultDisk> {
  const disk = new FaultDisk(random);
  await disk.makeDirectory('wal');
  for (const [path, content] of files) {
    const file = await disk.open(path, { mode: 'readWrite', create: true });
    await file.write(content, 0);
    await file.sync();
    await file.close();
  }
  await disk.syncDirectory('wal');
  await disk.syncDirectory('');
  return disk;
}

async function filesOf(disk: FaultDisk): Promise<Map<string, Buffer>> {
  const names = (await disk.list('wal')).toSorted();
  return new Map(
    await Promise.all(names.map(async (name) => [`wal/${name}`, await contentOf(disk, `wal/${name}`)] as const)),
  );
}

/** Records of one frame each. @returns the files, and behind which byte each frame of the first one ends */
async function written(texts: readonly string[], bytes: number, flush: FlushMode = 'sync') {
  const disk = new FaultDisk(new Random(seed));
  const log = await TextLog.open(disk, { flush });
  for (const text of texts) await log.append(text, bytes);
  await log.wal.close();
  return filesOf(disk);
}

function numbered(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, i) => `r${from + i}`);
}

/** Counts writes in flight, and holds them where the test says so. */
class HeldFileSystem implements FileSystem {
  inFlight = 0;
  inFlightMost = 0;
  writes = 0;
  gate: Promise<void> = Promise.resolve();
  private readonly disk: FileSystem;

  constructor(disk: FileSystem) {
    this.disk = disk;
  }

  makeDirectory = (path: string) => this.disk.makeDirectory(path);
  list = (path: string) => this.disk.list(path);
  rename = (from: string, to: string) => this.disk.rename(from, to);
  unlink = (path: string) => this.disk.unlink(path);
  syncDirectory = (path: string) => this.disk.syncDirectory(path);
  freeBytes = (path: string) => this.disk.freeBytes(path);

  async open(path: string, options: OpenOptions): Promise<DiskFile> {
    const file = await this.disk.open(path, options);
    const write = async (buffer: Buffer, position: number): Promise<number> => {
      this.inFlightMost = Math.max(this.inFlightMost, ++this.inFlight);
      this.writes++;
      await this.gate;
      const bytes = await file.write(buffer, position);
      this.inFlight--;
      return bytes;
    };
    return {
      size: () => file.size(),
      read: (buffer, position) => file.read(buffer, position),
      write,
      writeVector: (buffers, position) => write(Buffer.concat(buffers), position),
      sync: () => file.sync(),
      close: () => file.close(),
    };
  }
}

void t.test(
  'what one turn of the event loop brings is one commit and one sync, and one write is in flight',
  async (t) => {
    const disk = new FaultDisk(new Random(seed));
    const held = new HeldFileSystem(disk);
    const clock = new ManualClock();
    const log = await TextLog.open(disk, { clock, fileSystem: held });
    // The file ahead is written in the background.
    await clock.advance(0);
    const before = { syncs: disk.life.syncs, writes: held.writes };
    let answered = 0;
    for (let i = 0; i < 100; i++) {
      log.add(`r${i}`);
      log.wal.whenDurable(() => answered++);
    }
    await log.durable();
    t.equal(answered, 100);
    t.same({ syncs: disk.life.syncs - before.syncs, writes: held.writes - before.writes }, { syncs: 1, writes: 1 });
    t.match(log.wal.statistics, { commits: 1, syncs: 1 });

    let open!: () => void;
    held.gate = new Promise((resolve) => (open = resolve));
    held.inFlightMost = 0;
    const answers: string[] = [];
    log.add('first');
    log.wal.whenDurable(() => answers.push('first'));
    await clock.advance(0);
    for (const text of ['second', 'third', 'fourth']) {
      log.add(text);
      log.wal.whenDurable(() => answers.push(text));
      await clock.advance(0);
    }
    t.same(answers, [], 'nothing before the write is done');
    open();
    await log.durable();
    t.same(answers, ['first', 'second', 'third', 'fourth']);
    t.equal(held.inFlightMost, 1);
    t.match(log.wal.statistics, { commits: 3, syncs: 3 }, 'what came while the first was written is one commit');
    t.ok(log.wal.bytesSinceCheckpoint >= 4 * SECTOR_BYTES, 'what a recovery reads counts, padding included');
    await log.wal.close();
    t.same((await TextLog.open(disk)).found, [...numbered(0, 100), 'first', 'second', 'third', 'fourth']);
  },
);

void t.test(
  'on a quick disk much of a turn is written while the turn goes on, on a slow one it is one commit',
  async (t) => {
    const disk = new FaultDisk(new Random(seed));
    const held = new HeldFileSystem(disk);
    const clock = new ManualClock();
    const log = await TextLog.open(disk, { clock, fileSystem: held });
    const commitsOf = async (writeMs: number): Promise<number> => {
      let open!: () => void;
      held.gate = new Promise((resolve) => (open = resolve));
      log.add('measured');
      await clock.advance(0);
      await clock.advance(writeMs);
      open();
      await log.durable();
      const { commits } = log.wal.statistics;
      for (let i = 0; i < 8; i++) log.add(`r${i}`, 1000);
      await log.durable();
      return log.wal.statistics.commits - commits;
    };
    t.equal(await commitsOf(0), 2);
    t.equal(await commitsOf(2), 1);
    t.equal(await commitsOf(1), 2);
    await log.wal.close();
    const texts = ['measured', ...numbered(0, 8)];
    t.same((await TextLog.open(disk)).found, [...texts, ...texts, ...texts]);
  },
);

void t.test('a write waits for the pressure to go', async (t) => {
  const disk = new FaultDisk(new Random(seed));
  let ease!: () => void;
  let pressure: Promise<void> | undefined;
  const log = await TextLog.open(disk, { pressure: () => pressure });
  pressure = new Promise((resolve) => (ease = resolve));
  const answers: string[] = [];
  log.add('a');
  log.wal.whenDurable(() => answers.push('a'));
  await log.clock.advance(0);
  log.add('b');
  log.wal.whenDurable(() => answers.push('b'));
  await log.clock.advance(0);
  t.same(answers, []);
  pressure = undefined;
  ease();
  await log.durable();
  t.same(answers, ['a', 'b']);
  t.equal(log.wal.statistics.commits, 1);
});

void t.test('the log goes on in the next file, also with frames larger than one', async (t) => {
  const disk = new FaultDisk(new Random(seed), { shortWriteProbability: 0.2 });
  const log = await TextLog.open(disk);
  const sizes = [10, 700, 1_500, 10_000, 10, 3_500, 3_600, 4_096, 40_000, 10];
  const texts = numbered(0, 40);
  for (const [i, text] of texts.entries()) await log.append(text, sizes[i % sizes.length]);
  t.ok((await disk.list('wal')).length > 10);
  await log.wal.close();
  let again = await TextLog.open(disk);
  t.same(again.found, texts);
  await again.append('more');
  again = await TextLog.open(disk.crash());
  t.same(again.found, [...texts, 'more']);
});

void t.test('a last frame cut off at any byte is not there; the log goes on behind the one before', async (t) => {
  const texts = numbered(0, 3);
  const path = fileName(1);
  const whole = (await written(texts, 700)).get(path)!;
  const frameBytes = Math.ceil((FRAME_HEADER_BYTES + 704) / SECTOR_BYTES) * SECTOR_BYTES;
  const lastAt = SECTOR_BYTES + 2 * frameBytes;
  // Another life of the file may have left something behind.
  const rests = [undefined, Buffer.alloc(FILE_BYTES), Buffer.alloc(FILE_BYTES, 0xa5)];
  let wrong = 0;
  for (const rest of rests) {
    for (let kept = 0; kept <= frameBytes; kept++) {
      const content = rest === undefined ? whole.subarray(0, lastAt + kept) : Buffer.from(rest);
      whole.copy(content, 0, 0, lastAt + kept);
      const disk = await diskWith(new Map([[path, content]]));
      const log = await TextLog.open(disk);
      const isThere = kept >= FRAME_HEADER_BYTES + 704;
      const expected = isThere ? texts : texts.slice(0, 2);
      await log.append('next');
      const again = await TextLog.open(disk.crash());
      const isRight = log.found.join() === expected.join() && again.found.join() === [...expected, 'next'].join();
      if (!isRight && wrong++ < 3) t.fail(`${kept} bytes kept: ${log.found.join()}, then ${again.found.join()}`);
    }
  }
  t.equal(wrong, 0);
});

void t.test('frames behind a torn one never come back', async (t) => {
  // Without a sync more than the last write can be torn: the third frame is gone, the fourth and fifth are whole.
  const texts = numbered(0, 5);
  const path = fileName(1);
  const content = (await written(texts, 400, 'none')).get(path)!;
  for (const torn of [0, 1]) {
    const damaged = Buffer.from(content);
    // Its first sector, or its only other one.
    damaged.fill(0, SECTOR_BYTES + 2 * SECTOR_BYTES + torn * 100, 4 * SECTOR_BYTES);
    const disk = await diskWith(new Map([[path, damaged]]));
    const second = await TextLog.open(disk, { flush: 'none' });
    t.same(second.found, ['r0', 'r1']);
    await second.append('new', 400);
    await second.wal.sync();
    const third = await TextLog.open(disk.crash(), { flush: 'none' });
    t.same(third.found, ['r0', 'r1', 'new']);
  }
});

void t.test('write, tear, recover, write again, crash, recover', async (t) => {
  for (let life = 0; life < 300; life++) {
    const random = new Random(seed + life);
    let disk = new FaultDisk(random);
    let confirmed: string[] = [];
    const fault = (found: readonly string[]) => {
      t.comment(`GANTRY_SEED=${seed + life} repeats this`);
      t.fail(`${found.join()} instead of ${confirmed.join()}`);
    };
    for (let crash = 0; crash < 4; crash++) {
      const log = await TextLog.open(disk, { flush: crash === 0 ? 'none' : 'sync' });
      const { found } = log;
      // What was not confirmed may be there, once; it stays from then on.
      if (found.slice(0, confirmed.length).join() !== confirmed.join()) return fault(found);
      confirmed = [...found];
      for (let i = random.below(3); i > 0; i--) {
        await log.append(`c${crash}-${i}`, 1_200);
        if (crash > 0) confirmed.push(`c${crash}-${i}`);
      }
      if (crash === 0) await log.wal.sync();
      if (crash === 0) confirmed = await remaining(disk);
      log.add(`torn${crash}`, 1_200);
      disk.faults.crashAtMutation = disk.life.mutations + 1;
      await disk.life.crashed;
      disk = disk.crash();
    }
  }
  t.pass('300 lives');
});

/** What the files on the disk say, without touching them. */
async function remaining(disk: FaultDisk): Promise<string[]> {
  return (await TextLog.open(await diskWith(await filesOf(disk)))).found;
}

async function refusal(files: ReadonlyMap<string, Buffer>, checkpointed = 0) {
  const disk = await diskWith(files);
  const error = await TextLog.open(disk, { checkpointed }).then(
    () => undefined,
    (reason: unknown) => reason as Error & { code?: string },
  );
  const after = await filesOf(disk);
  const isUntouched = [...files].every(([path, content]) => after.get(path)?.equals(content) === true);
  return { code: error?.code, name: error?.name, message: error?.message, isUntouched };
}

void t.test('damage in the middle is refused, says where it is, and leaves the files as they are', async (t) => {
  const files = await written(numbered(0, 12), 700);
  t.ok(files.size >= 4);
  const refused = { name: 'CorruptLogError', code: 'CORRUPT', isUntouched: true };
  for (const [path, bit, file] of [
    [fileName(1), 8 * (SECTOR_BYTES + 100), 1],
    [fileName(1), 8 * SECTOR_BYTES, 1],
    [fileName(2), 8 * (SECTOR_BYTES + 5), 2],
    // The last frame of a file that is not the last.
    [fileName(1), 8 * (3 * SECTOR_BYTES + 2 * SECTOR_BYTES + 90), 2],
    // Headers: of the first file, and of the last.
    [fileName(1), 3, 1],
    [fileName(2), 8 * 17, 2],
    [fileName(4), 8 * 12, 4],
  ] as const) {
    const damaged = new Map([...files].map(([name, content]) => [name, Buffer.from(content)]));
    damaged.get(path)![bit >>> 3]! ^= 1 << (bit & 7);
    t.match(await refusal(damaged), { ...refused, message: new RegExp(`file ${file},`) }, `${path}, bit ${bit}`);
  }
  for (const missing of [1, 2, 3]) {
    const left = new Map([...files].filter(([path]) => path !== fileName(missing)));
    t.match(await refusal(left), { ...refused, message: new RegExp(`file ${missing + 1},`) }, `without ${missing}`);
  }
});

void t.test('a header torn by a short write, with the first frame whole behind it, is no damage', async (t) => {
  // Three to a file, so that the fourth file has one.
  const files = await written(numbered(0, 10), 700);
  files.get(fileName(4))!.fill(0, 16, SECTOR_BYTES);
  const log = await TextLog.open(await diskWith(files));
  t.same(log.found, numbered(0, 9));
  await log.append('goes on');
  await log.wal.close();
});

void t.test('files below the checkpoint may be left over or gone', async (t) => {
  const texts = numbered(0, 12);
  const files = await written(texts, 700);
  for (const gone of [[], [1], [2], [1, 2]]) {
    const left = new Map([...files].filter(([path]) => !gone.some((number) => path === fileName(number))));
    const log = await TextLog.open(await diskWith(left), { checkpointed: 7 });
    t.same(log.found, texts.slice(7), `without ${gone.join()}`);
    t.equal(log.wal.lastSequence, 12);
  }
  const log = await TextLog.open(await diskWith(files), { checkpointed: 12 });
  t.same(log.found, []);
  await log.append('more');
  t.equal(log.wal.lastSequence, 13);
});

void t.test('the frames of a file that is used again are not seen', async (t) => {
  for (let life = 0; life < 50; life++) {
    const random = new Random(seed + life);
    const disk = new FaultDisk(random);
    const log = await TextLog.open(disk);
    const texts: string[] = [];
    let released = 0;
    for (let i = 0; i < 40; i++) {
      const text = `r${i}`;
      await log.append(text, random.pick([10, 400, 700, 2_500]));
      texts.push(text);
      if (random.chance(0.15)) {
        released = log.wal.lastSequence;
        await log.wal.release(log.wal.mark);
      }
    }
    t.ok((await disk.list('wal')).length < 20);
    const again = await TextLog.open(disk.crash(), { checkpointed: released });
    if (again.found.join() !== texts.slice(released).join()) {
      t.comment(`GANTRY_SEED=${seed + life} repeats this`);
      return void t.same(again.found, texts.slice(released));
    }
  }
});

/** Bytes that are a frame of the log by themselves. */
function forgedFrame(firstSequence: number): Buffer {
  const frame = Buffer.alloc(SECTOR_BYTES);
  // The salt of another log.
  sealFrame(frame, FRAME_HEADER_BYTES + 8, firstSequence, 1, true, { mark: 1, seed: 2 });
  return frame;
}

/**
 * A client that knows the format puts frames into a message. They lie behind the end of the log when its file is used again,
 * and there a frame with a higher sequence would count as proof of damage. They do not know the salt of the log.
 */
void t.test('what looks like a frame inside a record is never taken for one', async (t) => {
  const disk = new FaultDisk(new Random(seed));
  const log = await TextLog.open(disk);
  const shift = SECTOR_BYTES - FRAME_HEADER_BYTES - 4;
  const body = Buffer.concat([Buffer.alloc(shift), ...Array.from({ length: 5 }, () => forgedFrame(1e9))]);
  log.addBytes(body);
  await log.durable();
  for (const text of numbered(1, 8)) await log.append(text, 1_200);
  await log.wal.release(log.wal.mark);
  const released = log.wal.lastSequence;
  const texts: string[] = [];
  for (let i = 8; i < 40; i++) {
    texts.push(`r${i}`);
    await log.append(`r${i}`);
    const again = await TextLog.open(await diskWith(await filesOf(disk)), { checkpointed: released }).then(
      ({ found }) => found.join(),
      (error: Error) => error.message,
    );
    if (again !== texts.join()) return void t.equal(again, texts.join());
  }
});

void t.test('flush: interval syncs once in that time, none never', async (t) => {
  for (const flush of ['interval', 'none'] as const) {
    const disk = new FaultDisk(new Random(seed));
    const log = await TextLog.open(disk, { flush });
    await log.clock.advance(0);
    const before = disk.life.syncs;
    for (const text of numbered(0, 4)) await log.append(text);
    t.equal(disk.life.syncs, before, `${flush}: an answer waits for no sync`);
    await log.clock.advance(99);
    t.equal(disk.life.syncs, before);
    await log.clock.advance(1);
    const expected = flush === 'interval' ? 1 : 0;
    t.equal(disk.life.syncs - before, expected);
    await log.clock.advance(10_000);
    t.equal(disk.life.syncs - before, expected, `${flush}: nothing to sync, nothing synced`);
    await log.append('more');
    await log.clock.advance(100);
    t.equal(log.wal.statistics.syncs, 2 * expected);
    if (flush === 'none') await log.wal.sync();
    // From here on only a sync at its end makes it last.
    await log.append('last');
    await log.wal.close();
    t.same((await TextLog.open(disk.crash(), { flush })).found, [...numbered(0, 4), 'more', 'last']);
  }
});

void t.test('flush: none keeps everything when only the process ends', async (t) => {
  const disk = new FaultDisk(new Random(seed));
  const log = await TextLog.open(disk, { flush: 'none' });
  const texts = numbered(0, 20);
  for (const text of texts) await log.append(text, 900);
  // As the operating system has it: files as they were written.
  t.same((await TextLog.open(await diskWith(await filesOf(disk)), { flush: 'none' })).found, texts);
});

void t.test('a sync error is reported once, and nothing is acknowledged after it', async (t) => {
  for (const flush of ['sync', 'interval'] as const) {
    const disk = new FaultDisk(new Random(seed));
    const log = await TextLog.open(disk, { flush });
    await log.append('good');
    await log.clock.advance(1_000);
    disk.faults.failAtSync = disk.life.syncs + 1;
    const answers: string[] = [];
    log.add('bad');
    log.wal.whenDurable(() => answers.push('bad'));
    await log.clock.advance(0);
    // With `interval` the first is answered before; another is on its way when the sync fails.
    if (flush === 'interval') t.same(answers.splice(0), ['bad']);
    await log.clock.advance(1_000);
    t.match(log.failures, [{ code: 'EIO' }], flush);
    for (const text of ['more', 'and more']) {
      log.add(text);
      log.wal.whenDurable(() => answers.push(text));
      await log.clock.advance(1_000);
    }
    log.wal.whenDurable(() => answers.push('nothing new'));
    await log.clock.advance(1_000);
    t.same(answers, [], flush);
    t.equal(log.failures.length, 1, flush);
    const { found } = await TextLog.open(disk.crash(), { flush });
    t.equal(found[0], 'good');
    t.notOk(found.includes('more'), flush);
  }
});

void t.test('a write that is on its way when a sync fails is not acknowledged', async (t) => {
  const disk = new FaultDisk(new Random(seed));
  const held = new HeldFileSystem(disk);
  const log = await TextLog.open(disk, { flush: 'interval', fileSystem: held });
  await log.append('good');
  let open!: () => void;
  held.gate = new Promise((resolve) => (open = resolve));
  let isAnswered = false;
  log.add('late');
  log.wal.whenDurable(() => (isAnswered = true));
  await log.clock.advance(0);
  disk.faults.failAtSync = disk.life.syncs + 1;
  await log.clock.advance(100);
  t.match(log.failures, [{ code: 'EIO' }]);
  open();
  await log.clock.advance(1_000);
  t.notOk(isAnswered);
});

void t.test('a full disk is waited out', async (t) => {
  const disk = new FaultDisk(new Random(seed));
  const log = await TextLog.open(disk);
  await log.clock.advance(0);
  disk.faults.bytesMax = disk.life.usedBytes;
  const answers: string[] = [];
  const texts = numbered(0, 12);
  for (const text of texts) {
    log.add(text, 1_000);
    log.wal.whenDurable(() => answers.push(text));
    await log.clock.advance(0);
  }
  t.ok(log.wal.isShortOfSpace);
  t.ok(answers.length > 0 && answers.length < 12, `${answers.length} had room in the file and the one ahead`);
  await log.clock.advance(10_000);
  t.ok(answers.length < 12);
  disk.faults.bytesMax = 2 ** 40;
  await log.clock.advance(500);
  t.same(answers, texts);
  t.notOk(log.wal.isShortOfSpace);
  t.same(log.failures, []);
  // Larger than a file: what is missing of it is found out while it is written.
  await log.clock.advance(0);
  disk.faults.bytesMax = disk.life.usedBytes + 1_000;
  log.add('large', 20_000);
  log.wal.whenDurable(() => answers.push('large'));
  await log.clock.advance(5_000);
  t.notOk(answers.includes('large'));
  disk.faults.bytesMax = 2 ** 40;
  await log.clock.advance(1_000);
  t.ok(answers.includes('large'));
  t.same((await TextLog.open(disk.crash())).found, [...texts, 'large']);
});

type Event = readonly [kind: string, ...rest: unknown[]];

class Recorder implements Replay {
  readonly events: Event[] = [];

  record = (sequence: number) => void this.events.push(['record', sequence]);
  apply = (record: LogRecord) => void this.events.push(['apply', record]);
  lease = (record: LeaseRecord) => void this.events.push(['lease', record]);
  settle = (entry: SettleEntry) => void this.events.push(['settle', { ...entry }]);
  unhold = ({ kind, id, dueAt }: HeldKey) => void this.events.push(['unhold', { kind, id, dueAt }]);
  flush = () => {};
  change = ({ key, value, revision }: ChangeEntry) =>
    void this.events.push(['change', key, value && Buffer.from(value).toString('hex'), revision]);
  hold = ({ message, ...rest }: HeldEntry) => void this.events.push(['hold', rest, bytesOf(message)]);
  send = (queue: number, offset: number, message: Message, at: number, lightQueues: readonly number[]) =>
    void this.events.push(['send', queue, offset, bytesOf(message), at, [...lightQueues]]);
}

function bytesOf({ buffer, start, end }: Message): string {
  return buffer.toString('latin1', start, end);
}

class Target {
  buffer: Buffer = Buffer.alloc(16);
  length = 0;

  reserve(bytes: number): number {
    const at = this.length;
    this.length += bytes;
    if (this.length > this.buffer.length) {
      const larger = Buffer.alloc(2 * this.length, 0xee);
      this.buffer.copy(larger);
      this.buffer = larger;
    }
    return at;
  }
}

/** Random records: `write` puts one into the log, and says what a replay has to give. */
class RecordMaker {
  private readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  write(target: Target): Event[] {
    const dice = this.random.below(3);
    if (dice === 0) {
      const record = this.json();
      writeJson(target, record);
      return [['apply', record]];
    }
    if (dice === 1) {
      const record = this.lease();
      writeLease(target, record);
      return [['lease', record]];
    }
    return this.commit(target);
  }

  private get serial(): number {
    return this.random.pick([0, 1, this.random.below(2 ** 32), 2 ** 32 - 1]);
  }
  private get large(): number {
    return this.random.pick([0, 1, this.random.below(2 ** 32), 2 ** 40 + this.random.below(1000), 2 ** 53 - 1]);
  }
  private get serials(): number[] {
    return Array.from({ length: this.random.below(4) }, () => this.serial);
  }
  private get place() {
    return { groupSerial: this.serial, queueSerial: this.serial, offset: this.large };
  }

  private json(): LogRecord {
    const { random } = this;
    const name = random.text(30);
    const retention = { ms: this.large, bytesPerQueue: this.large, consumed: random.chance(0.5) };
    const retry = { attemptsMax: random.below(100), backoff: { kind: 'listed' as const, delaysMs: [1, 2] } };
    const records: LogRecord[] = [
      { type: 'start', generation: this.large },
      { type: 'topic', spec: { name, type: 'MIXED', queues: random.below(9), retention }, serials: this.serials },
      { type: 'deleteTopic', name },
      { type: 'group', spec: { name, order: random.pick(['fifo', 'concurrent']), retry }, serial: this.serial },
      { type: 'deleteGroup', name },
      { type: 'lightQueue', name, serial: this.serial },
      { type: 'deleteLightQueue', serial: this.serial },
      { type: 'join', groupSerial: this.serial, queueSerial: this.serial, start: this.large },
      { type: 'seek', ...this.place },
      { type: 'purge', groupSerial: this.serial, queueSerial: this.serial, to: this.large, at: this.large },
      { type: 'trim', queueSerial: this.serial, before: this.large },
      { type: 'ask', id: this.large, dueAt: this.large },
      {
        type: 'metaPut',
        key: name,
        value: random.bytes(99).toString('base64'),
        revision: this.large,
        expiresAt: this.large,
      },
      { type: 'metaDelete', key: name, revision: this.large },
    ];
    return random.pick(records);
  }

  private lease(): LeaseRecord {
    const { random } = this;
    const { groupSerial, queueSerial } = this.place;
    const offsets = Array.from({ length: random.below(40) }, () => this.large);
    const isFifo = random.chance(0.5);
    return {
      groupSerial,
      queueSerial,
      until: this.large,
      offsets,
      isMembers: random.chance(0.5),
      attemptId: isFifo && random.chance(0.5) ? random.text(20) : undefined,
      messageGroups: isFifo ? offsets.map(() => random.text(8)) : undefined,
    };
  }

  private commit(target: Target): Event[] {
    const { random } = this;
    const encoder = new CommitEncoder();
    const at = this.large;
    // One that was begun before leaves nothing behind.
    encoder.begin(1);
    encoder.addUnhold({ kind: 'half', id: 1, dueAt: 1 });
    encoder.addChange({ key: 'left', value: undefined, revision: 1 });
    encoder.begin(at);
    const events: Event[] = this.messages().map((message) => {
      const [queue, offset, lightQueues] = [this.serial, this.large, this.serials];
      encoder.addSend(queue, offset, message, lightQueues);
      return ['send', queue, offset, bytesOf(message), at, lightQueues] as const;
    });
    for (let i = random.below(4); i > 0; i--) {
      const entry: SettleEntry = {
        ...this.place,
        kind: random.pick(['ack', 'extend', 'release']),
        time: this.large,
        flag: random.chance(0.5),
      };
      encoder.addSettle(entry);
      events.push(['settle', entry]);
    }
    for (const message of random.chance(0.3) ? this.messages() : []) {
      const head = { ...this.heldKey(), queueSerial: this.serial, lightQueueSerials: this.serials };
      encoder.addHold({ ...head, message });
      events.push(['hold', head, bytesOf(message)]);
    }
    for (let i = random.below(4); i > 0; i--) {
      const key = this.heldKey();
      encoder.addUnhold(key);
      events.push(['unhold', key]);
    }
    for (let i = random.chance(0.5) ? random.below(4) : 0; i > 0; i--) {
      const entry = {
        key: random.text(30),
        value: random.chance(0.7) ? random.bytes(99) : undefined,
        revision: this.large,
      };
      encoder.addChange(entry);
      events.push(['change', entry.key, entry.value?.toString('hex'), entry.revision]);
    }
    encoder.writeTo(target);
    return events;
  }

  private heldKey(): HeldKey {
    return { kind: this.random.pick(['half', 'delayed']), id: this.large, dueAt: this.large };
  }

  /** Some lie side by side in one buffer, some do not. */
  private messages(): Message[] {
    const { random } = this;
    const made = Array.from({ length: random.below(6) }, () => {
      const body = random.chance(0.05) ? Buffer.alloc(9_000, 'x') : random.bytes(200);
      const messageGroup = random.chance(0.5) ? random.text(5) : undefined;
      return encodeMessage({ address: `t/${random.below(99)}`, body, bornAt: this.large, messageGroup });
    });
    if (random.chance(0.5)) return made;
    const all = Buffer.concat(made.map(({ buffer, start, end }) => buffer.subarray(start, end)));
    let end = 0;
    return made.map((message) => new Message(all, end, (end += message.bytes)));
  }
}

void t.test('every record reads as it was written', async (t) => {
  const kinds = new Set<string>();
  for (let round = 0; round < 400; round++) {
    const random = new Random(seed + round);
    const maker = new RecordMaker(random);
    const target = new Target();
    const start = target.reserve(random.below(40));
    const expected: Event[] = [];
    const firstSequence = random.below(2 ** 40);
    const count = 1 + random.below(6);
    const from = target.length;
    for (let i = 0; i < count; i++) expected.push(['record', firstSequence + i], ...maker.write(target));
    const recorder = new Recorder();
    readRecords(target.buffer, from, target.length, firstSequence, recorder);
    for (const [kind, record] of expected) kinds.add(kind === 'apply' ? (record as LogRecord).type : kind);
    if (isDeepStrictEqual(recorder.events, expected)) continue;
    t.comment(`GANTRY_SEED=${seed + round} repeats this`);
    return void t.strictSame(recorder.events, expected, `from ${start}`);
  }
  t.equal(kinds.size, 21, 'all of them');
});
