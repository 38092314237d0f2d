/** `npm run bench -- memory`: what the engine keeps in memory, for messages that pass through and for a backlog. */
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { measure, withDirectory } from './child.ts';
import { number } from './flags.ts';
import type { Benchmark } from './main.ts';
import type { BacklogFigures, FlowFigures, MemoryPlan, Sample } from './memory-child.ts';
import { count, mebibytes, renderTable, renderTargets, target, type Target } from './table.ts';

const usage = `  --messages N       that pass through (10000000)
  --backlog N        messages nobody reads (5000000)
  --dir PATH         where the files go (${tmpdir()})
  --help`;

const childPath = fileURLToPath(new URL('./memory-child.js', import.meta.url));
const bodyBytes = 100;
/** Without the gateway's initial heap, which would hide growth in memory that was taken at the start. */
const flags = ['--expose-gc'];
/** Of the messages: until then caches fill, pools grow and code is compiled. */
const warmupShare = 0.2;
const rowsShown = 10;

export const memoryBenchmark: Benchmark = {
  summary: 'memory while messages pass through, and of messages nobody reads',
  usage,
  run: runMemoryBenchmark,
};

async function runMemoryBenchmark(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      messages: { type: 'string', default: '10000000' },
      backlog: { type: 'string', default: '5000000' },
      dir: { type: 'string', default: tmpdir() },
    },
  });
  const passing = number('messages', values.messages, 1000, 1e9);
  const waiting = number('backlog', values.backlog, 1000, 1e9);
  console.log(`bodies of ${bodyBytes} bytes, files in ${values.dir}`);
  const run = <Figures>(kind: MemoryPlan['kind'], messages: number): Promise<Figures> =>
    withDirectory(values.dir, (dir) => measure<Figures>(childPath, { kind, dir, messages, bodyBytes }, flags));
  const flow = await run<FlowFigures>('flow', passing);
  console.log(renderFlow(flow));
  const backlog = await run<BacklogFigures>('backlog', waiting);
  console.log(renderBacklog(backlog));
  console.log(renderTargets([...flowTargets(flow), ...backlogTargets(backlog)]));
}

function renderFlow({ samples, elapsedMs }: FlowFigures): string {
  const last = samples.at(-1)!;
  const every = Math.max(1, Math.floor(samples.length / rowsShown));
  const rate = count((last.messages * 1000) / elapsedMs);
  return renderTable(
    `sent, received and acknowledged, ${rate} messages a second; MiB, garbage collected before each sample`,
    ['messages', 'resident', 'heap', 'outside the heap'],
    samples.filter((_, i) => (i + 1) % every === 0).map(memoryRow),
  );
}

function renderBacklog({ before, after, sendMs, readMs, consumeMs }: BacklogFigures): string {
  const perSecond = (ms: number): string => count((after.messages * 1000) / ms);
  return [
    renderTable(
      'messages nobody reads; MiB, garbage collected before each sample',
      ['messages', 'resident', 'heap', 'outside the heap'],
      [before, after].map(memoryRow),
    ),
    `stored at ${perSecond(sendMs)}/s, read back at ${perSecond(readMs)}/s, received and acknowledged at ${perSecond(consumeMs)}/s`,
  ].join('\n');
}

function memoryRow({ messages, rssBytes, heapUsedBytes, externalBytes }: Sample): string[] {
  return [count(messages), ...[rssBytes, heapUsedBytes, externalBytes].map(mebibytes)];
}

function flowTargets({ samples }: FlowFigures): Target[] {
  const warm = samples.slice(Math.floor(samples.length * warmupShare));
  const growth = (of: (sample: Sample) => number): number =>
    (Math.max(...warm.map(of)) - Math.min(...warm.map(of))) / 2 ** 20;
  const inUse = growth(({ heapUsedBytes, externalBytes }) => heapUsedBytes + externalBytes);
  const resident = growth(({ rssBytes }) => rssBytes);
  return [
    target('passing through: range of memory in use after warm-up, MiB', inUse, '<= 64', (v) => v <= 64),
    target('passing through: range of resident memory after warm-up, MiB', resident, '<= 64', (v) => v <= 64),
  ];
}

function backlogTargets({ after, readMs }: BacklogFigures): Target[] {
  const inUse = (after.heapUsedBytes + after.externalBytes) / 2 ** 20;
  const rate = (after.messages * 1000) / readMs;
  return [
    target('backlog: memory in use, MiB', inUse, '< 100', (v) => v < 100),
    target('backlog: read back, messages a second', rate, '>= 300,000', (v) => v >= 300_000, count),
  ];
}
