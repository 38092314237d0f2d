import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openEmbeddedEngine } from '../../adapters/storage/embedded/open.ts';
import type { Delivery } from '../../core/ports/message-engine.ts';
import { addGroup, addTopic, NEVER_ABORTED, outgoing, readUpTo, request } from '../contract/fixture.ts';
import { fail } from '../helpers/fail.ts';
import { FaultDisk } from '../helpers/fault-disk.ts';
import { startOnDisk, type DiskEngine } from '../helpers/fault-engine.ts';
import { runGateway, spawnGatewayProcess, startGatewayProcess } from '../helpers/gateway-process.ts';
import { ManualClock } from '../helpers/manual-clock.ts';
import { RawMqttClient } from '../helpers/mqtt-client.ts';
import { Random, testSeed } from '../helpers/random.ts';
import { SILENT } from '../helpers/silent-logger.ts';

const seed = testSeed();
t.comment(`GANTRY_SEED=${seed} repeats this`);

const ORDERS = { kind: 'topic', topic: 'orders', queue: 0 } as const;

function folderFor(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'gantry-full-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Sends until the disk is full. @returns the ids confirmed */
async function fill({ engine, clock }: DiskEngine, from = 0): Promise<string[]> {
  const confirmed: string[] = [];
  for (let i = from; i < from + 10_000; i++) {
    const id = `m${i}`;
    const body = Buffer.alloc(700, `${id} `);
    const sending = engine.send([outgoing('orders', id, { body })]);
    // How much room there is shows once a second.
    await clock.advance(200);
    const [outcome] = await sending;
    if (outcome!.ok) confirmed.push(id);
    else if (outcome!.error.code === 'STORE_FULL') return confirmed;
    else throw outcome!.error;
  }
  throw new Error('the disk never got full');
}

async function idsIn({ engine }: DiskEngine): Promise<string[]> {
  const { messages } = await readUpTo(engine, ORDERS, 0, 100_000);
  return messages.map(({ body }) => body.toString('latin1', 0, body.indexOf(' ')));
}

async function isTaken({ engine, clock }: DiskEngine, id: string): Promise<boolean> {
  // The first may only find out that there is room again.
  for (let i = 0; i < 3; i++) {
    const sending = engine.send([outgoing('orders', id, { body: Buffer.from(`${id} `) })]);
    await clock.advance(2_000);
    const [outcome] = await sending;
    if (outcome!.ok) return true;
  }
  return false;
}

/** Ways in which a full disk gets room again. */
const RELIEFS: readonly [name: string, relieve: (running: DiskEngine) => Promise<void>, keepsAll: boolean][] = [
  ['the disk grows', async ({ disk }) => void (disk.faults.bytesMax = 2 ** 40), true],
  [
    'another topic is deleted',
    async ({ engine, clock }) => {
      const deleting = engine.deleteTopic('ballast');
      await clock.advance(30_000);
      await deleting;
    },
    true,
  ],
  [
    'retention takes the old ones',
    async ({ engine, clock }) => {
      const changing = addTopic(engine, 'orders', 1, { ms: 1_000, bytesPerQueue: 1 << 30 });
      await clock.advance(60_000);
      await changing;
    },
    false,
  ],
];

for (const [name, relieve, keepsAll] of RELIEFS) {
  // Without any room there is no checkpoint, and so nothing that could be given back: then only a larger disk helps.
  for (const reserve of name === 'the disk grows' ? [0, 60_000] : [60_000]) {
    void t.test(`a full disk, ${reserve} bytes kept free, until ${name}`, async (t) => {
      const disk = new FaultDisk(new Random(seed), { bytesMax: 600_000 });
      const failures: Error[] = [];
      const options = { diskFreeBytesMin: reserve };
      const running = await startOnDisk(disk, new ManualClock(), options, (error) => void failures.push(error));
      const { engine, clock, storage } = running;
      await addTopic(engine, 'ballast');
      await addTopic(engine, 'orders');
      await addGroup(engine, 'workers');
      await engine.receive(request('workers', 'orders'), NEVER_ABORTED);
      for (let i = 0; i < 100; i++) await engine.send([outgoing('ballast', 'x', { body: Buffer.alloc(2_000, 1) })]);
      const confirmed = await fill(running);
      t.ok(confirmed.length > 100, `${confirmed.length} messages`);
      t.notOk(await isTaken(running, 'no'), 'and again');

      // Verdicts go on; without any room for checkpoints at least as long as the log has some.
      const rounds = reserve === 0 ? 10 : 60;
      let acked = 0;
      let leased: Delivery[] = [];
      for (let round = 0; round < rounds; round++) {
        leased = await engine.receive(request('workers', 'orders', { max: 1, leaseMs: 1e9 }), NEVER_ABORTED);
        const action =
          round % 5 === 4 ? ({ kind: 'release', delayMs: 1e9, countAttempt: true } as const) : { kind: 'ack' as const };
        const settling = engine.settle(leased.map(({ receipt }) => ({ receipt, action })));
        await clock.advance(300);
        t.match(await Promise.race([settling, Promise.resolve('stuck')]), [{ ok: true }], `verdict ${round}`);
        if (action.kind === 'ack') acked++;
      }
      const before = await idsIn(running);
      t.same(before, confirmed, 'nothing confirmed is lost, nothing refused is there');

      await relieve(running);
      t.ok(await isTaken(running, 'yes'), 'sends work again');
      t.same(failures, []);
      await storage.checkpoint();
      const stopping = engine.stop();
      await clock.advance(1_000);
      await stopping;
      disk.faults.bytesMax = 2 ** 40;
      const again = await startOnDisk(disk.crash(), clock, options);
      const ids = await idsIn(again);
      t.equal(ids.at(-1), 'yes');
      if (keepsAll) t.same(ids, [...confirmed, 'yes']);
      const rest = await again.engine.receive(request('workers', 'orders', { max: 1_000 }), NEVER_ABORTED);
      if (keepsAll) t.equal(rest.length, confirmed.length + 1 - rounds, `${acked} were acknowledged, the others wait`);
      await again.engine.stop();
    });
  }
}

void t.test('a full disk at the start', async (t) => {
  const disk = new FaultDisk(new Random(seed), { bytesMax: 4_000 });
  await t.rejects(startOnDisk(disk, new ManualClock()), {
    code: 'ENOSPC',
    message: /^the data directory data cannot be used: ENOSPC/,
  });
  disk.faults.bytesMax = 400_000;
  const clock = new ManualClock();
  const running = await startOnDisk(disk, clock);
  await addTopic(running.engine, 'orders');
  const confirmed = await fill(running);
  const next = await startOnDisk(disk.crash(), clock);
  t.same(await idsIn(next), confirmed, 'a disk that was full before does not keep it from starting');
  t.notOk(await isTaken(next, 'no'));
  next.disk.faults.bytesMax = 2 ** 40;
  t.ok(await isTaken(next, 'yes'));
  await next.engine.stop();
});

void t.test('a disk that cannot be written to', async (t) => {
  const disk = new FaultDisk(new Random(seed));
  const { engine, clock } = await startOnDisk(disk, new ManualClock());
  await addTopic(engine, 'orders');
  await engine.send([outgoing('orders', 'a')]);
  await engine.stop();
  disk.faults.readOnly = true;
  await t.rejects(startOnDisk(disk, clock), {
    code: 'EROFS',
    message: /^the data directory data cannot be used: EROFS/,
  });
  disk.faults.readOnly = false;
  const running = await startOnDisk(disk, clock);
  t.equal((await running.engine.offsets(ORDERS)).next, 1);
  await running.engine.stop();
});

function openIn(dir: string) {
  return openEmbeddedEngine({ dir, checkpointBytes: 1 << 20, diskFreeBytesMin: 0 });
}

void t.test('a directory is used by one engine at a time, and by none that is too old', async (t) => {
  const dir = folderFor(t);
  const context = { clock: new ManualClock(), log: SILENT, onFailure: fail };
  const first = openIn(dir);
  await first.engine.start(context);
  await addTopic(first.engine, 'orders');
  await first.engine.send([outgoing('orders', 'a')]);
  await t.rejects(openIn(dir).engine.start(context), {
    code: 'LOCKED',
    message: new RegExp(`^${dir}/kv is in use by`),
  });
  t.match(
    await first.engine.send([outgoing('orders', 'b')]),
    [{ ok: true }],
    'which does not disturb the one that is there',
  );
  await first.engine.stop();

  t.equal(readFileSync(join(dir, 'format'), 'utf8'), '1\n');
  writeFileSync(join(dir, 'format'), '2\n');
  for (let i = 0; i < 2; i++) {
    await t.rejects(openIn(dir).engine.start(context), {
      message: `${dir} has data format 2; this version of Gantry reads up to 1`,
    });
  }
  writeFileSync(join(dir, 'format'), '1\n');
  const again = openIn(dir);
  await again.engine.start(context);
  t.equal((await again.engine.offsets(ORDERS)).next, 2);
  await again.engine.stop();
});

void t.test('without the checkpoint the segment files are refused and stay', async (t) => {
  const disk = new FaultDisk(new Random(seed));
  const { engine, clock } = await startOnDisk(disk, new ManualClock());
  await addTopic(engine, 'orders');
  for (let i = 0; i < 40; i++) await engine.send([outgoing('orders', 'x', { body: Buffer.alloc(3_000, 1) })]);
  await engine.stop();
  const files = (await disk.list('data/q')).toSorted();
  t.ok(files.length > 3);
  const next = disk.crash();
  const kept: [string, Buffer][] = [];
  for await (const [key, value] of next.store.range('', '\u{10ffff}')) kept.push([key, value]);
  await next.store.write(kept.map(([key]) => ({ type: 'del', key })));
  await t.rejects(startOnDisk(next, clock), { code: 'CORRUPT' });
  t.same((await next.list('data/q')).toSorted(), files);
  await next.store.write(kept.map(([key, value]) => ({ type: 'put', key, value })));
  const again = await startOnDisk(next, clock);
  t.same(await again.engine.offsets(ORDERS), { first: 0, next: 40 });
  await again.engine.stop();
});

void t.test('a damaged block fails the receive that needs it, and no other', async (t) => {
  const rejections: unknown[] = [];
  const note = (reason: unknown): void => void rejections.push(reason);
  process.on('unhandledRejection', note);
  t.teardown(() => process.off('unhandledRejection', note));
  const disk = new FaultDisk(new Random(seed));
  const clock = new ManualClock();
  const first = await startOnDisk(disk, clock);
  await addTopic(first.engine, 'orders', 2);
  await addTopic(first.engine, 'others');
  for (const [group, order] of [
    ['workers', 'concurrent'],
    ['ordered', 'fifo'],
  ] as const)
    await addGroup(first.engine, group, order);
  for (const topic of ['orders', 'others']) {
    for (let i = 0; i < 12; i++) {
      await first.engine.send([
        outgoing(topic, `${i}`, { queue: topic === 'orders' ? i % 2 : 0, body: Buffer.alloc(3_000, `${i} `) }),
      ]);
    }
  }
  await first.engine.stop();
  const [damaged] = (await disk.list('data/q')).filter((name) => name.startsWith('00000001-')).toSorted();
  disk.flipStoredBit(`data/q/${damaged}`, 8 * 1_000);
  const { engine } = await startOnDisk(disk, clock);
  const corrupt = {
    name: 'DamagedBlockError',
    code: 'CORRUPT',
    message: /^messages from offset 0 of queue 1 are damaged/,
  };
  await t.rejects(async () => engine.read(ORDERS, 0, 10, 1e6), corrupt);
  for (const group of ['workers', 'ordered']) {
    // The queues take turns: one of two calls begins with the sound one.
    const receive = () => engine.receive(request(group, 'orders', { attemptId: `${group} 1` }), NEVER_ABORTED);
    const all = await receive().catch(receive);
    t.ok(all.length > 0 && all.every(({ message }) => message.queue === 1), `${group}: the sound queue`);
    await t.rejects(
      engine.receive(request(group, { kind: 'topic', topic: 'orders', queue: 0 }), NEVER_ABORTED),
      corrupt,
    );
    const others = await engine.receive(request(group, 'others', { max: 12 }), NEVER_ABORTED);
    // In order: what has to be read from the disk first comes with the next call.
    t.ok(others.length === 12 || group === 'ordered', `${group}: the other topic`);
    t.ok(others.length > 0);
    t.match(
      await engine.settle(others.map(({ receipt }) => ({ receipt, action: { kind: 'ack' } }))),
      others.map(() => ({ ok: true })),
    );
  }
  // One that waits, on both queues of the topic, with the second of them getting something.
  const waiting = engine.receive(request('workers', 'others', { waitMs: 60_000 }), NEVER_ABORTED);
  t.match(await engine.send([outgoing('orders', 'new', { queue: 1 }), outgoing('others', 'new')]), [
    { ok: true },
    { ok: true },
  ]);
  t.equal((await waiting).length, 1);
  await clock.advance(1_000);
  await engine.stop();
  t.same(rejections, [], 'nothing that would end the process');
});

void t.test('the gateway says in one line why it cannot start', async (t) => {
  const folder = folderFor(t);
  writeFileSync(join(folder, 'file'), 'not a directory');
  mkdirSync(join(folder, 'read-only'));
  const directories: [string, RegExp][] = [
    [join(folder, 'file'), /EEXIST|ENOTDIR/],
    [join(folder, 'file', 'below'), /ENOTDIR/],
    ['/proc/gantry', /ENOENT|EACCES|EPERM/],
  ];
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'ro,size=1m', 'tmpfs', join(folder, 'read-only')]);
  if (mounted.status === 0) {
    t.teardown(() => spawnSync('umount', [join(folder, 'read-only')]));
    directories.push([join(folder, 'read-only'), /EROFS/]);
  } else t.comment('NOT TRIED: a read-only file system; mount is not permitted here');
  for (const [dir, reason] of directories) {
    const { code, stderr, stdout } = await runGateway('--set', `engine.dir=${dir}`, ...NO_PORTS);
    t.equal(code, 1, dir);
    t.ok(stderr.startsWith(`gantry: the data directory ${dir} cannot be used: `), stderr);
    t.match(stderr, reason);
    t.equal(stderr.trimEnd().split('\n').length, 1, stderr);
    t.equal(stdout, '');
  }
});

const NO_PORTS = [
  '--set',
  'mqtt.listeners=[{ host: 127.0.0.1, port: 0 }]',
  '--set',
  'amqp.listeners=[{ host: 127.0.0.1, port: 0 }]',
  '--set',
  'grpc.listeners=[{ host: 127.0.0.1, port: 0 }]',
];

void t.test('a second gateway on the directory of a first', async (t) => {
  const dir = join(folderFor(t), 'data');
  const first = await startGatewayProcess([`engine.dir=${dir}`]);
  t.teardown(() => first.child.kill('SIGKILL'));
  const second = await runGateway('--set', `engine.dir=${dir}`, ...NO_PORTS);
  t.match(second, { code: 1, stderr: new RegExp(`^gantry: ${dir}/kv is in use by another process\n$`) });
  first.child.kill('SIGTERM');
  t.equal(await first.exited, 0);
});

/** Syncs fail with EIO as soon as a file is there: fdatasync, and writes to files opened with O_DSYNC. */
const SHIM = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
static char durable[65536];
static int fails(void) { const char *path = getenv("FAIL_SYNCS"); return path && access(path, F_OK) == 0; }
#define OPEN(name) int name(const char *path, int flags, ...) { \\
  int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name); \\
  va_list list; va_start(list, flags); int mode = va_arg(list, int); va_end(list); \\
  int fd = real(path, flags, mode); \\
  if (fd >= 0 && fd < 65536) durable[fd] = (flags & O_DSYNC) != 0; \\
  return fd; }
OPEN(open)
OPEN(open64)
#define WRITE(name) ssize_t name(int fd, const void *bytes, size_t count, off_t offset) { \\
  ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, #name); \\
  if (fd >= 0 && fd < 65536 && durable[fd] && fails()) { errno = EIO; return -1; } \\
  return real(fd, bytes, count, offset); }
WRITE(pwrite)
WRITE(pwrite64)
#define SYNC(name) int name(int fd) { \\
  int (*real)(int) = dlsym(RTLD_NEXT, #name); \\
  if (fails()) { errno = EIO; return -1; } \\
  return real(fd); }
SYNC(fsync)
SYNC(fdatasync)
`;

void t.test('a gateway whose disk fails ends with 3 and acknowledges nothing more', async (t) => {
  const folder = folderFor(t);
  writeFileSync(join(folder, 'shim.c'), SHIM);
  const compiled = spawnSync('gcc', [
    '-shared',
    '-fPIC',
    '-O1',
    '-o',
    join(folder, 'shim.so'),
    join(folder, 'shim.c'),
    '-ldl',
  ]);
  if (compiled.status !== 0) {
    t.comment(`NOT TRIED: there is no working gcc here: ${compiled.stderr?.toString()}`);
    return;
  }
  for (const flush of ['sync', 'interval']) {
    const trigger = join(folder, `fail-${flush}`);
    const environment = { LD_PRELOAD: join(folder, 'shim.so'), FAIL_SYNCS: trigger };
    const settings = [`engine.dir=${join(folder, flush)}`, `engine.flush=${flush}`];
    const gateway = await spawnGatewayProcess(settings, environment).ready;
    t.teardown(() => gateway.child.kill('SIGKILL'));
    const client = await RawMqttClient.connected(gateway.mqttPort);
    t.equal(await client.publish('orders/a', 'good'), 0x10, 'stored');
    writeFileSync(trigger, '');
    const late = client.publish('orders/a', 'bad').catch((error: Error) => error.message);
    t.equal(await gateway.exited, 3);
    const answer = await late;
    if (flush === 'sync') t.match(answer, /^puback expected/, 'no answer');
    t.match(
      gateway.log.filter(({ msg }) => String(msg).startsWith('the storage failed')),
      [{ err: { code: 'EIO' } }],
      'said once',
    );
    rmSync(trigger);
    const next = await startGatewayProcess(settings);
    t.teardown(() => next.child.kill('SIGKILL'));
    next.child.kill('SIGTERM');
    t.equal(await next.exited, 0, 'starts again');
  }
});

void t.test('a gateway on a file system that gets full goes on when there is room again', async (t) => {
  const folder = folderFor(t);
  const size = 160 * 1024 * 1024;
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]);
  if (mounted.status !== 0) {
    t.comment('NOT TRIED: mount is not permitted here');
    return;
  }
  t.teardown(() => spawnSync('umount', ['-l', folder]));
  // As large as the part that has to be freed.
  writeFileSync(join(folder, 'ballast'), Buffer.alloc(32 * 1024 * 1024));
  const gateway = await startGatewayProcess([`engine.dir=${join(folder, 'data')}`, 'engine.diskFreeBytesMin=8388608']);
  t.teardown(() => gateway.child.kill('SIGKILL'));
  const client = await RawMqttClient.connected(gateway.mqttPort);
  const payload = 'x'.repeat(400_000);
  let stored = 0;
  let answer = 0;
  while (stored < 1_000) {
    answer = await client.publish('orders/a', payload);
    if (answer >= 0x80) break;
    stored++;
  }
  t.equal(answer, 0x97, `quota exceeded after ${stored}`);
  t.equal(await client.publish('orders/a', payload), 0x97);
  rmSync(join(folder, 'ballast'));
  let refused = 0;
  // The gateway looks at the disk from time to time; each answer comes after the one before.
  while ((await client.publish('orders/a', 'room again')) === 0x97) refused++;
  t.comment(`${stored} stored, ${refused} refused after there was room again`);
  client.destroy();
  gateway.child.kill('SIGTERM');
  t.equal(await gateway.exited, 0);
  t.same(
    gateway.log.filter(({ level }) => Number(level) >= 50),
    [],
    'no errors',
  );
});
