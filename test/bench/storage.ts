/**
 * `npm run bench -- storage`: the engine against the disk's own limit and against SQLite, in interleaved rounds, each
 * measurement in a process of its own. Compare the ratios, not the absolute figures.
 */
import { statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { measure, withDirectory } from './child.ts';
import type { Flush } from './engine.ts';
import { choose, number } from './flags.ts';
import type { Benchmark } from './main.ts';
import { describeMachine } from './mqtt-report.ts';
import { sqliteUnavailable } from './sqlite-store.ts';
import type { StorageFigures, StoragePlan, StoreName } from './storage-child.ts';
import { renderStorage, storageTargets, type StorageRound } from './storage-report.ts';
import { renderTargets } from './table.ts';

const usage = `  --rounds N         measured rounds (3)
  --seconds S        length of a measurement (2)
  --producers LIST   closed-loop producers (1,100,1000)
  --only NAMES       these of gantry,sqlite,disk (all)
  --flush WAY        of the engine: sync, interval or none (sync)
  --dir PATH         where the files go, on the disk to be measured (${tmpdir()})
  --json FILE        machine and every round's figures
  --help`;

const childPath = fileURLToPath(new URL('./storage-child.js', import.meta.url));
/** So long, because V8 compiles for some seconds. */
const warmupMs = 3000;
const bodyBytes = 256;
/** Until the engine counts what it writes: a body and what goes with it. */
const assumedBytesPerMessage = 300;
const tmpfsMagic = 0x01021994;

export const storageBenchmark: Benchmark = {
  summary: 'durable messages and full cycles per second, against the disk itself and SQLite',
  usage,
  run: runStorageBenchmark,
};

type Contender = StoreName | 'disk';
type Settings = {
  rounds: number;
  durationMs: number;
  producers: readonly number[];
  only: ReadonlySet<Contender>;
  flush: Flush;
  dir: string;
  jsonPath: string | undefined;
};

async function runStorageBenchmark(args: string[]): Promise<void> {
  const settings = readSettings(args);
  const machine = describeMachine();
  console.log(`${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node.js ${machine.node}`);
  console.log(`flush ${settings.flush}, bodies of ${bodyBytes} bytes, files in ${settings.dir}`);
  warnAboutDirectory(settings.dir);
  const rounds: StorageRound[] = [];
  for (const producers of settings.producers) {
    for (let round = 1; round <= settings.rounds; round++) {
      const measured = await runRound(producers, settings);
      rounds.push(...measured);
      const rates = measured.map(({ load, contender, figures }) => {
        return `${load} ${contender} ${Math.round((figures.count * 1000) / figures.elapsedMs)}/s`;
      });
      console.error(`P=${producers} round ${round} of ${settings.rounds}: ${rates.join(', ')}`);
    }
  }
  console.log(renderStorage(rounds));
  console.log(renderTargets(storageTargets(rounds)));
  if (settings.jsonPath !== undefined) {
    writeFileSync(settings.jsonPath, `${JSON.stringify({ machine, settings, rounds }, null, 2)}\n`);
  }
}

/** The disk writes what the engine wrote at a time, so it comes second. */
async function runRound(producers: number, { only, flush, dir, durationMs }: Settings): Promise<StorageRound[]> {
  const rounds: StorageRound[] = [];
  let bytes = producers * assumedBytesPerMessage;
  const run = async (load: StorageRound['load'], contender: Contender): Promise<StorageFigures | undefined> => {
    if (!only.has(contender)) return undefined;
    const figures = await withDirectory(dir, (directory) => {
      const times = { dir: directory, warmupMs, durationMs };
      const plan: StoragePlan =
        contender === 'disk'
          ? { ...times, kind: 'disk', bytes }
          : { ...times, kind: load, store: contender, producers, bodyBytes, flush };
      return measure<StorageFigures>(childPath, plan);
    });
    rounds.push({ producers, load, contender, figures });
    return figures;
  };
  const engine = await run('append', 'gantry');
  if (engine?.commits !== undefined) bytes = Math.max(1, Math.round(engine.commitBytes! / engine.commits));
  await run('append', 'disk');
  await run('append', 'sqlite');
  await run('cycle', 'gantry');
  await run('cycle', 'sqlite');
  return rounds;
}

function readSettings(args: string[]): Settings {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '2' },
      producers: { type: 'string', default: '1,100,1000' },
      only: { type: 'string' },
      flush: { type: 'string', default: 'sync' },
      dir: { type: 'string', default: tmpdir() },
      json: { type: 'string' },
    },
  });
  const contenders = [{ name: 'gantry' }, { name: 'sqlite' }, { name: 'disk' }] as const;
  const only = new Set(choose<{ name: Contender }>('only', contenders, values.only).map(({ name }) => name));
  const missing = only.has('sqlite') ? sqliteUnavailable() : undefined;
  if (missing !== undefined) {
    console.error(`SKIPPED: SQLite is not measured, because ${missing}`);
    only.delete('sqlite');
  }
  return {
    rounds: number('rounds', values.rounds, 1, 1000),
    durationMs: number('seconds', values.seconds, 0.2, 600) * 1000,
    producers: values.producers.split(',').map((text) => number('producers', text, 1, 100_000)),
    only,
    flush: readFlush(values.flush),
    dir: values.dir,
    jsonPath: values.json,
  };
}

function readFlush(text: string): Flush {
  if (text === 'sync' || text === 'interval' || text === 'none') return text;
  throw new Error(`--flush takes sync, interval or none, not ${text}`);
}

export function warnAboutDirectory(dir: string): void {
  if (statfsSync(dir).type !== tmpfsMagic) return;
  console.error(`WARNING: ${dir} is in memory, where a sync costs nothing: name a directory on a disk by --dir`);
}
