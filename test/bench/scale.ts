/** `npm run bench -- scale`: recovery after a kill, and what many names cost. */
import { readdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { measure, withDirectory } from './child.ts';
import { number } from './flags.ts';
import type { Benchmark } from './main.ts';
import type { FillFigures, LightFigures, ScalePlan, StartFigures } from './scale-child.ts';
import { count, median, mebibytes, renderTable, renderTargets, target, type Target } from './table.ts';

const usage = `  --wal-mib N        written before the kill (1024)
  --queues N         message queues, in topics of 8 (10000)
  --groups N         consumer groups (1000)
  --light N          light queues (100000)
  --rounds N         of the publish cost with many and with ten light queues (3)
  --dir PATH         where the files go (${tmpdir()})
  --help`;

const childPath = fileURLToPath(new URL('./scale-child.js', import.meta.url));
/** The gateway's heap, so that collecting it costs the same with few and with many light queues. */
const flags = ['--initial-old-space-size=512', '--expose-gc'];
const queuesPerTopic = 8;
const fewLightQueues = 10;

export const scaleBenchmark: Benchmark = {
  summary: 'recovery after a kill; start, memory and publish cost with many queues, groups and light queues',
  usage,
  run: runScaleBenchmark,
};

type Disk = { files: number; bytes: number };
type Settings = { walBytes: number; queues: number; groups: number; light: number; rounds: number; dir: string };
type Result = { lines: string[]; targets: Target[] };

async function runScaleBenchmark(args: string[]): Promise<void> {
  const settings = readSettings(args);
  console.log(`files in ${settings.dir}`);
  const results: Result[] = [];
  for (const part of [measureRecovery, measureNames, measureLightQueues]) {
    const result = await part(settings);
    results.push(result);
    console.log(result.lines.join('\n'));
  }
  console.log(renderTargets(results.flatMap(({ targets }) => targets)));
}

async function measureRecovery({ walBytes, dir }: Settings): Promise<Result> {
  const rows: string[][] = [];
  const targets: Target[] = [];
  for (const checkpoints of [false, true]) {
    const { filled, left, start } = await withDirectory(dir, async (directory) => ({
      filled: await run<FillFigures>({ kind: 'fill', dir: directory, bytes: walBytes, checkpoints }),
      left: diskUse(directory),
      start: await startIfDurable(directory),
    }));
    const name = checkpoints ? 'with checkpoints' : 'without checkpoints';
    const written = [count(filled.messages), mebibytes(filled.bytes), mebibytes(left.bytes)];
    rows.push([name, ...written, ...filesAndStart(left, start)]);
    const maxMs = checkpoints ? 1000 : 3000;
    const what = `start after a kill, ${name}, milliseconds`;
    targets.push(target(what, start?.startMs, `< ${count(maxMs)}`, (v) => v < maxMs, count));
  }
  const header = ['', 'messages', 'MiB written', 'MiB on disk', 'files', 'start ms'];
  return { lines: [renderTable('start after a kill', header, rows)], targets };
}

async function measureNames({ queues, groups, dir }: Settings): Promise<Result> {
  const topics = Math.ceil(queues / queuesPerTopic);
  const { disk, start } = await withDirectory(dir, async (directory) => {
    await run<void>({ kind: 'names', dir: directory, topics, queuesPerTopic, groups });
    return { disk: diskUse(directory), start: await startIfDurable(directory) };
  });
  return {
    lines: [
      renderTable(
        'start with one message in every queue and one acknowledged by every group',
        ['', 'queues', 'groups', 'MiB on disk', 'memory MiB', 'files', 'start ms'],
        [
          [
            'stopped',
            count(topics * queuesPerTopic),
            count(groups),
            mebibytes(disk.bytes),
            start === undefined ? '-' : mebibytes(start.memoryBytes),
            ...filesAndStart(disk, start),
          ],
        ],
      ),
    ],
    targets: [
      target('start with many queues and groups, milliseconds', start?.startMs, '< 2,000', (v) => v < 2000, count),
    ],
  };
}

async function measureLightQueues({ light, rounds, dir }: Settings): Promise<Result> {
  const costs: { many: number[]; few: number[] } = { many: [], few: [] };
  const rows: string[][] = [];
  let many: { figures: LightFigures; disk: Disk; start: StartFigures | undefined } | undefined;
  for (let round = 1; round <= rounds; round++) {
    for (const lightQueues of [light, fewLightQueues]) {
      const measured = await withDirectory(dir, async (directory) => ({
        figures: await run<LightFigures>({ kind: 'light', dir: directory, count: lightQueues }),
        disk: diskUse(directory),
        start: await startIfDurable(directory),
      }));
      const { figures, disk, start } = measured;
      if (lightQueues === light) many = measured;
      costs[lightQueues === light ? 'many' : 'few'].push(figures.publishUs);
      const cells = [mebibytes(figures.memoryBytes), figures.publishUs.toFixed(2), mebibytes(disk.bytes)];
      rows.push([`round ${round}`, count(lightQueues), ...cells, ...filesAndStart(disk, start)]);
    }
  }
  const { figures, start } = many!;
  const ratio = median(costs.many) / median(costs.few);
  return {
    lines: [
      renderTable(
        'light queues with one entry each, and publishing to one of them',
        ['', 'light queues', 'memory MiB', 'publish us', 'MiB on disk', 'files', 'start ms'],
        rows,
      ),
    ],
    targets: [
      target('many light queues: memory, MiB', figures.memoryBytes / 2 ** 20, '< 100', (v) => v < 100),
      target('many light queues: start, milliseconds', start?.startMs, '< 3,000', (v) => v < 3000, count),
      target('many light queues: publish cost against ten of them', ratio, '1, so <= 1.2', (v) => v <= 1.2),
    ],
  };
}

function run<Figures>(plan: ScalePlan): Promise<Figures> {
  return measure<Figures>(childPath, plan, flags);
}

/** An engine without a disk has nothing to start from. */
async function startIfDurable(dir: string): Promise<StartFigures | undefined> {
  return run<StartFigures>({ kind: 'start', dir });
}

function filesAndStart({ files }: Disk, start: StartFigures | undefined): string[] {
  return [count(files), start === undefined ? '-' : count(start.startMs)];
}

function diskUse(dir: string): Disk {
  const sizes = readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => statSync(join(entry.parentPath, entry.name)).size);
  return { files: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
}

function readSettings(args: string[]): Settings {
  const { values } = parseArgs({
    args,
    options: {
      'wal-mib': { type: 'string', default: '1024' },
      queues: { type: 'string', default: '10000' },
      groups: { type: 'string', default: '1000' },
      light: { type: 'string', default: '100000' },
      rounds: { type: 'string', default: '3' },
      dir: { type: 'string', default: tmpdir() },
    },
  });
  return {
    walBytes: number('wal-mib', values['wal-mib'], 1, 65_536) * 2 ** 20,
    queues: number('queues', values.queues, 1, 1e6),
    groups: number('groups', values.groups, 1, 1e6),
    light: number('light', values.light, 1, 1e7),
    rounds: number('rounds', values.rounds, 1, 100),
    dir: values.dir,
  };
}
