import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DiskStorage } from '../../adapters/storage/embedded/disk-storage.ts';
import { LevelStore } from '../../adapters/storage/embedded/disk/level-store.ts';
import { NodeFileSystem } from '../../adapters/storage/embedded/disk/node-file-system.ts';
import { examineDirectory } from '../../adapters/storage/embedded/doctor/examine-directory.ts';
import { scanFrames } from '../../adapters/storage/embedded/log/wal-scan.ts';
import { decodeFileHeader } from '../../adapters/storage/embedded/log/wal-format.ts';
import { DEFAULT_EMBEDDED_OPTIONS, withMeta, type EngineAndMeta } from '../../adapters/storage/embedded/open.ts';
import { SystemClock } from '../../gateway/system-clock.ts';
import { addGroup, addTopic, NEVER_ABORTED, outgoing, request } from '../contract/fixture.ts';
import { fail } from '../helpers/fail.ts';
import { runGateway } from '../helpers/gateway-process.ts';
import { SILENT } from '../helpers/silent-logger.ts';

const HOUR_MS = 3_600_000;
const LOG_FILE = 'wal/00000001.wal';

const root = mkdtempSync(join(tmpdir(), 'gantry-doctor-'));
t.teardown(() => rmSync(root, { recursive: true, force: true }));

async function start(dir: string): Promise<EngineAndMeta> {
  const storage = new DiskStorage(new NodeFileSystem(), new LevelStore(join(dir, 'kv')), {
    ...DEFAULT_EMBEDDED_OPTIONS,
    directory: dir,
    // Of the real size they would be most of what this test does.
    walFileBytes: 3 * 1024 * 1024,
    earlyWriteBytes: 64 * 1024,
    blockBytesMax: 256 * 1024,
    segmentFileBytes: 1024 * 1024,
    diskFreeBytesMin: 0,
    operationsPerWrite: 2000,
  });
  const opened = withMeta(storage);
  await opened.engine.start({ clock: new SystemClock(), log: SILENT, onFailure: fail });
  return opened;
}

/** One life that ends with a checkpoint, and a second that is cut off: what it wrote is in the log alone. */
async function writeDirectories(): Promise<{ stopped: string; killed: string }> {
  const [dir, killed] = [join(root, 'written'), join(root, 'killed')];
  const first = await start(dir);
  await addTopic(first.engine, 'orders', 2);
  await addGroup(first.engine, 'billing');
  for (let i = 0; i < 25; i++) await first.engine.ensureLightQueue(`light/${i}`, { durable: true });
  const body = Buffer.alloc(1000, 'x');
  for (let batch = 0; batch < 10; batch++) {
    const lightQueues = ['light/0'];
    const big = Array.from({ length: 100 }, (_, i) => outgoing('orders', `big-${batch}-${i}`, { body, lightQueues }));
    await first.engine.send(big);
  }
  const small = Array.from({ length: 10 }, (_, i) => outgoing('orders', `small-${i}`, { queue: 1 }));
  await first.engine.send(small);
  await first.meta.put('sessions/a', Buffer.from('a'));
  await first.engine.stop();
  const second = await start(dir);
  const deliverAt = Date.now() + HOUR_MS;
  await second.engine.send([
    outgoing('orders', 'later', { deliverAt }),
    outgoing('orders', 'much later', { deliverAt }),
  ]);
  await second.engine.prepare(outgoing('orders', 'half'), { checkAfterMs: HOUR_MS });
  await second.meta.put('sessions/b', Buffer.from('b'));
  await second.meta.put('retained/c', Buffer.from('c'));
  for (let i = 0; i < 5; i++) await second.engine.send([outgoing('orders', `tail-${i}`, { queue: 1 })]);
  const got = await second.engine.receive(request('billing', 'orders', { max: 5 }), NEVER_ABORTED);
  await second.engine.settle(got.slice(0, 3).map(({ receipt }) => ({ receipt, action: { kind: 'ack' } })));
  // Nothing is being written: the files are those of a process that was killed now.
  cpSync(dir, killed, { recursive: true });
  await second.engine.stop();
  return { stopped: dir, killed };
}

const written = await writeDirectories();

/** A copy to be damaged. */
function copyOf(t: Test, source: string): string {
  const dir = mkdtempSync(join(root, 'copy-'));
  cpSync(source, dir, { recursive: true });
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function flipByte(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at]! ^= 0x10;
  writeFileSync(path, bytes);
}

/** Where each frame's records start in the log's file. */
function framesOf(dir: string): number[] {
  const content = readFileSync(join(dir, LOG_FILE));
  const starts: number[] = [];
  const { salt, firstSequence } = decodeFileHeader(content, 1)!;
  scanFrames(content, salt, firstSequence, ({ start }) => starts.push(start));
  return starts;
}

/** Everything but what LevelDB keeps for itself. */
function filesOf(dir: string): string[] {
  return [
    'format',
    ...['wal', 'q'].flatMap((folder) => readdirSync(join(dir, folder)).map((name) => `${folder}/${name}`)),
  ];
}

function segmentOf(dir: string): string {
  return `q/${readdirSync(join(dir, 'q'))[0]!}`;
}

async function damagesOf(dir: string): Promise<readonly string[]> {
  return (await examineDirectory(dir)).damages;
}

t.test('a directory of a gateway that was stopped, and one of a gateway that was killed', async (t) => {
  const stopped = await runGateway('doctor', written.stopped);
  t.match(stopped, { code: 0, stderr: '', stdout: /; behind the checkpoint 0 records, 0 B\n[\s\S]*\nsound\n$/ });
  const dir = copyOf(t, written.killed);
  const before = filesOf(dir).map((name) => readFileSync(join(dir, name)));
  const killed = await runGateway('doctor', dir);
  t.match(killed, { code: 0, stderr: '', stdout: /format 1, checkpoint at record \d+, start 1\n/ });
  for (const { stdout } of [stopped, killed]) {
    t.match(
      stdout,
      /\ntopics: 1\n {2}orders: MIXED\n {4}queue 0: offsets 0 to 1000, .* MiB\n {4}queue 1: offsets 0 to 15, /,
    );
    t.match(stdout, /\ngroups: 1\n {2}billing: concurrent\n/);
    t.match(stdout, /\n {4}orders, queue \d: acknowledged below 3, read up to 5, 2 out, lag \d+\n/);
    t.match(stdout, /\nlight queues: 25, 1000 entries\n {2}"light\/0": entries 0 to 1000\n/);
    t.match(stdout, /\n {2}and 5 more, which --all lists\n/);
    t.match(
      stdout,
      /\ndelayed messages: 2; half messages: 1\nmeta keys: (2 sessions, 1 retained|1 retained, 2 sessions)\n/,
    );
  }
  t.same(
    filesOf(dir).map((name) => readFileSync(join(dir, name))),
    before,
    'nothing was changed',
  );
  t.match(await runGateway('doctor', dir, '--all'), { code: 0, stdout: /\n {2}"light\/24": entries 0 to 0\n/ });
  const { engine } = await start(dir);
  await engine.stop();
  t.match(await runGateway('doctor', dir), { code: 0 });
});

t.test('a flipped byte in a segment file', async (t) => {
  const dir = copyOf(t, written.stopped);
  const name = segmentOf(dir);
  flipByte(join(dir, name), 5000);
  t.match(await damagesOf(dir), [`${name}, byte 0: damaged: offsets 80 to `]);
});

t.test('a segment file that is missing', async (t) => {
  const dir = copyOf(t, written.stopped);
  const name = segmentOf(dir);
  rmSync(join(dir, name));
  t.match(await damagesOf(dir), [`${name}: the file is missing; it had offsets 80 to `]);
  const { code, stdout, stderr } = await runGateway('doctor', dir);
  t.match(stdout, /\nDAMAGED: q\/.*: the file is missing; .*\ndamaged in 1 places\n$/);
  t.match({ code, stderr }, { code: 1, stderr: '' });
});

t.test('a flipped byte in the middle of the log', async (t) => {
  const dir = copyOf(t, written.killed);
  const at = framesOf(dir).at(-4)!;
  flipByte(join(dir, LOG_FILE), at + 3);
  t.match(await damagesOf(dir), [new RegExp(`^${LOG_FILE}: damaged at byte ${at - 24}: records? .* acknowledged$`)]);
});

t.test('a flipped byte in the header of a log file', async (t) => {
  const dir = copyOf(t, written.killed);
  flipByte(join(dir, LOG_FILE), 17);
  t.same(await damagesOf(dir), [`wal/${LOG_FILE.slice(4)}: the header is damaged`]);
});

t.test('a log file that is missing', async (t) => {
  const dir = copyOf(t, written.killed);
  rmSync(join(dir, LOG_FILE));
  t.match(await damagesOf(dir), ['wal: there is a checkpoint, but no file of the log']);
});

t.test('a last write that a crash cut off is no damage', async (t) => {
  const dir = copyOf(t, written.killed);
  const at = framesOf(dir).at(-1)!;
  flipByte(join(dir, LOG_FILE), at);
  const { damages, notes } = await examineDirectory(dir);
  t.same(damages, []);
  t.match(notes, [`${LOG_FILE}: the last write, at byte ${at - 24}, is not whole`]);
});

t.test('values in the store', async (t) => {
  const dir = copyOf(t, written.stopped);
  const store = new LevelStore(join(dir, 'kv'));
  await store.open();
  const damaged: string[] = [];
  for await (const [key] of store.range('!', '~'))
    if (!damaged.some(([letter]) => letter === key[0])) damaged.push(key);
  t.same(damaged.map(([letter]) => letter).join(''), 'bcdegilmqtx');
  await store.write(damaged.map((key) => ({ type: 'put', key, value: Buffer.from('no') })));
  await store.write([{ type: 'put', key: 'z/1', value: Buffer.from('{}') }]);
  await store.close();
  const damages = await damagesOf(dir);
  for (const key of [...damaged, 'z/1'])
    t.ok(damages.includes(`kv: the value of ${JSON.stringify(key)} makes no sense`), key);
});

async function deleteFirstKey(dir: string, from: string, to: string): Promise<void> {
  const store = new LevelStore(join(dir, 'kv'));
  await store.open();
  const keys: string[] = [];
  for await (const [key] of store.range(from, to)) keys.push(key);
  await store.write([{ type: 'del', key: keys[0]! }]);
  await store.close();
}

t.test('entries of a light queue that are missing', async (t) => {
  const dir = copyOf(t, written.stopped);
  await deleteFirstKey(dir, 'e/', 'e0');
  t.same(await damagesOf(dir), ['kv: light queue "light/0" has no entry 0']);
});

t.test('a block that is missing', async (t) => {
  const dir = copyOf(t, written.stopped);
  await deleteFirstKey(dir, 'b/', 'b0');
  // A start refuses it too, sooner or later in its way.
  t.match(await damagesOf(dir), [/queue 0 of (topic )?orders.* offset 0$/]);
});

t.test('what cannot be examined', async (t) => {
  t.match(await runGateway('doctor'), { code: 2, stderr: /doctor wants one data directory/ });
  t.match(await runGateway('doctor', root, root), { code: 2, stderr: /doctor wants one data directory/ });
  t.match(await runGateway('doctor', root), { code: 2, stderr: /is no data directory: it has no kv\/CURRENT/ });
  const newer = copyOf(t, written.stopped);
  writeFileSync(join(newer, 'format'), '2\n');
  t.match(await runGateway('doctor', newer), { code: 2, stderr: /has data format 2; this version of Gantry reads 1/ });
  rmSync(join(newer, 'kv'), { recursive: true });
  t.match(await runGateway('doctor', newer), { code: 1, stdout: 'DAMAGED: kv: CURRENT is missing\n' });
  const inUse = copyOf(t, written.stopped);
  const { engine } = await start(inUse);
  t.match(await runGateway('doctor', inUse), {
    code: 2,
    stderr: /is in use by another process: stop the gateway first/,
  });
  await engine.stop();
  t.match(await runGateway('doctor', inUse), { code: 0 });
});
