/** One measurement of `npm run bench -- storage`. */
import { closeSync, constants, fsyncSync, openSync, write, writeSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { readPlan, serve } from './child.ts';
import type { Flush } from './engine.ts';
import { GantryStore } from './gantry-store.ts';
import { SqliteStore } from './sqlite-store.ts';
import { StorageLoad } from './storage-load.ts';
import { queueCount, type Store } from './store.ts';

export type StoreName = 'gantry' | 'sqlite';
type Times = { dir: string; warmupMs: number; durationMs: number };
export type StoragePlan = Times &
  (
    | { kind: 'disk'; bytes: number }
    | { kind: 'append' | 'cycle'; store: StoreName; producers: number; bodyBytes: number; flush: Flush }
  );

export type StorageFigures = {
  /** Writes for the disk, stored messages for append, acknowledged ones for a cycle. */
  count: number;
  elapsedMs: number;
  cpuUs: number;
  loopDelayP99Ms: number;
  sendP99Ms: number;
  heapBytes: number;
  /** Undefined when the store does not count; bytes are 0 when it counts only commits. */
  commits: number | undefined;
  commitBytes: number | undefined;
  syncs: number | undefined;
};

const zeroedBytes = 64 * 2 ** 20;
/** Twice the queues, so that one consumer receives while another acknowledges. */
const consumers = 2 * queueCount;
const backlogMin = 16_384;
const retentionBytesPerQueue = 64 * 2 ** 20;

serve(run(readPlan() as StoragePlan));

async function run(plan: StoragePlan): Promise<StorageFigures> {
  if (plan.kind === 'disk') return measureDisk(plan, plan.bytes);
  const { store: name, dir, flush, bodyBytes } = plan;
  const options = { dir, flush, bodyBytes, bytesPerQueue: retentionBytesPerQueue };
  const store = name === 'gantry' ? await GantryStore.open(options) : new SqliteStore(dir, bodyBytes);
  const figures = await measureStore(store, plan, plan.producers, plan.kind === 'cycle');
  await store.close();
  return figures;
}

async function measureStore(store: Store, times: Times, producers: number, isCycle: boolean): Promise<StorageFigures> {
  const load = new StorageLoad(store, {
    producers,
    consumers: isCycle ? consumers : 0,
    backlogMax: Math.max(backlogMin, 4 * producers),
    messagesMax: Infinity,
  });
  load.start();
  await delay(times.warmupMs);
  load.resetLatencies();
  const loopDelay = monitorEventLoopDelay({ resolution: 1 });
  const before = takeStock(store, load, isCycle);
  loopDelay.enable();
  await delay(times.durationMs);
  loopDelay.disable();
  const after = takeStock(store, load, isCycle);
  const sendP99Ms = load.latencyP99Ms();
  await load.stop();
  const difference = (key: 'commits' | 'commitBytes' | 'syncs'): number | undefined =>
    after.statistics === undefined ? undefined : after.statistics[key] - before.statistics![key];
  return {
    count: after.count - before.count,
    elapsedMs: after.atMs - before.atMs,
    cpuUs: after.cpuUs - before.cpuUs,
    loopDelayP99Ms: loopDelay.percentile(99) / 1e6,
    sendP99Ms,
    heapBytes: after.heapBytes,
    commits: difference('commits'),
    commitBytes: difference('commitBytes'),
    syncs: difference('syncs'),
  };
}

function takeStock(store: Store, load: StorageLoad, isCycle: boolean) {
  const { user, system } = process.cpuUsage();
  const { heapUsed, external } = process.memoryUsage();
  return {
    count: isCycle ? load.acked : load.stored,
    atMs: performance.now(),
    cpuUs: user + system,
    heapBytes: heapUsed + external,
    statistics: store.statistics(),
  };
}

/** How often a second the disk itself makes so many bytes durable: a write that returns is on it, and nothing else is done. */
async function measureDisk({ dir, warmupMs, durationMs }: Times, bytes: number): Promise<StorageFigures> {
  const path = join(dir, 'zeroed');
  const zeroing = openSync(path, 'w');
  for (let at = 0; at < zeroedBytes; at += 2 ** 20) writeSync(zeroing, Buffer.alloc(2 ** 20), 0, 2 ** 20, at);
  fsyncSync(zeroing);
  closeSync(zeroing);
  const file = openSync(path, constants.O_WRONLY | constants.O_DSYNC);
  const writeAt = promisify(write);
  const block = Buffer.alloc(bytes, 0xa5);
  let position = 0;
  const writeFor = async (ms: number): Promise<number> => {
    let writes = 0;
    for (const end = performance.now() + ms; performance.now() < end; writes++) {
      if (position + bytes > zeroedBytes) position = 0;
      const { bytesWritten } = await writeAt(file, block, 0, bytes, position);
      if (bytesWritten < bytes) throw new Error(`only ${bytesWritten} of ${bytes} bytes were written`);
      position += bytes;
    }
    return writes;
  };
  await writeFor(warmupMs);
  const [cpu, atMs] = [process.cpuUsage(), performance.now()];
  const writes = await writeFor(durationMs);
  const { user, system } = process.cpuUsage(cpu);
  closeSync(file);
  const times = { count: writes, elapsedMs: performance.now() - atMs, cpuUs: user + system };
  const rest = { loopDelayP99Ms: 0, sendP99Ms: 0, heapBytes: 0 };
  return { ...times, ...rest, commits: writes, commitBytes: writes * bytes, syncs: writes };
}
