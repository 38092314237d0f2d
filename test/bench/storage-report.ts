/** From the rounds of `npm run bench -- storage` to tables and targets. */
import type { StorageFigures, StoreName } from './storage-child.ts';
import { count, median, mebibytes, percent, renderTable, target, type Target } from './table.ts';

export type StorageRound = {
  producers: number;
  load: 'append' | 'cycle';
  contender: StoreName | 'disk';
  figures: StorageFigures;
};

type Contender = StorageRound['contender'];

export function renderStorage(rounds: readonly StorageRound[]): string {
  const append = rounds.filter(({ load }) => load === 'append');
  const cycle = rounds.filter(({ load }) => load === 'cycle');
  return [
    renderTable(
      'durable append, closed loop (disk: writes with O_DSYNC into a pre-zeroed file, as many bytes as a mean commit)',
      ['producers', 'writer', 'msgs/s', 'min', 'max', 'MB/s', 'of disk', 'gantry/it', ...costs],
      rowsOf(append, (of) => [
        megabytes(of.bytesPerSecond),
        ratio(of.bytesPerSecond, of.peer('disk').bytesPerSecond, percent),
        ratio(of.peer('gantry').perSecond, of.contender === 'disk' ? undefined : of.perSecond, decimals),
      ]),
    ),
    renderTable(
      'full cycle, closed loop: send, receive up to 32, acknowledge, all durable; 8 queues, 16 consumers of 1 group',
      ['producers', 'store', 'cycles/s', 'min', 'max', 'gantry/it', ...costs],
      rowsOf(cycle, (of) => [ratio(of.peer('gantry').perSecond, of.perSecond, decimals)]),
    ),
  ].join('\n');
}

const costs = ['us/msg', 'send p99 ms', 'loop p99 ms', 'commits/s', 'msgs/commit', 'syncs/commit', 'heap MiB'];

/** Medians over the rounds. */
type Summary = {
  producers: number;
  contender: Contender;
  perSecond: number | undefined;
  min: number;
  max: number;
  bytesPerSecond: number | undefined;
  cpuUs: number;
  sendP99Ms: number;
  loopP99Ms: number;
  commitsPerSecond: number | undefined;
  perCommit: number | undefined;
  syncsPerCommit: number | undefined;
  heapBytes: number;
  /** Another contender of the same rounds; figures are undefined when it was not measured. */
  peer: (contender: Contender) => Pick<Summary, 'perSecond' | 'bytesPerSecond'>;
};

function rowsOf(rounds: readonly StorageRound[], between: (of: Summary) => string[]): string[][] {
  return summaries(rounds).map((of) => [
    count(of.producers),
    of.contender,
    ...[of.perSecond ?? 0, of.min, of.max].map(count),
    ...between(of),
    of.cpuUs.toFixed(2),
    ...(of.contender === 'disk' ? ['-', '-'] : [of.sendP99Ms.toFixed(1), of.loopP99Ms.toFixed(1)]),
    optional(of.commitsPerSecond, count),
    optional(of.contender === 'disk' ? undefined : of.perCommit, (value) => value.toFixed(1)),
    optional(of.syncsPerCommit, decimals),
    of.contender === 'disk' ? '-' : mebibytes(of.heapBytes),
  ]);
}

function summaries(rounds: readonly StorageRound[]): Summary[] {
  const keys = new Set(rounds.map(({ producers, contender }) => `${producers} ${contender}`));
  return [...keys].map((key) => {
    const [producers, contender] = key.split(' ') as [string, Contender];
    return summarize(rounds, Number(producers), contender);
  });
}

function summarize(rounds: readonly StorageRound[], producers: number, contender: Contender): Summary {
  const figures = rounds.filter((one) => one.producers === producers && one.contender === contender);
  const over = (of: (figures: StorageFigures) => number | undefined): number | undefined => {
    const values = figures.map((one) => of(one.figures)).filter((value) => value !== undefined);
    return values.length === 0 ? undefined : median(values);
  };
  const rate = (one: StorageFigures): number => (one.count * 1000) / one.elapsedMs;
  const rates = figures.map((one) => rate(one.figures));
  const perCommit = (value: number | undefined, { commits }: StorageFigures): number | undefined =>
    value === undefined || !commits ? undefined : value / commits;
  return {
    producers,
    contender,
    perSecond: over(rate),
    min: Math.min(...rates),
    max: Math.max(...rates),
    bytesPerSecond: over(({ commitBytes, elapsedMs }) => (commitBytes ? (commitBytes * 1000) / elapsedMs : undefined)),
    cpuUs: over(({ cpuUs, count: messages }) => cpuUs / messages) ?? 0,
    sendP99Ms: over((one) => one.sendP99Ms) ?? 0,
    loopP99Ms: over((one) => one.loopDelayP99Ms) ?? 0,
    commitsPerSecond: over(({ commits, elapsedMs }) => commits && (commits * 1000) / elapsedMs),
    perCommit: over((one) => perCommit(one.count, one)),
    syncsPerCommit: over((one) => perCommit(one.syncs, one)),
    heapBytes: over((one) => one.heapBytes) ?? 0,
    peer: (other) => summarize(rounds, producers, other),
  };
}

const busiest = 1000;

export function storageTargets(rounds: readonly StorageRound[]): Target[] {
  const of = (load: StorageRound['load'], contender: Contender): Summary =>
    summarize(
      rounds.filter((round) => round.load === load),
      busiest,
      contender,
    );
  const [append, cycle, sqlite, disk] = [
    of('append', 'gantry'),
    of('cycle', 'gantry'),
    of('cycle', 'sqlite'),
    of('append', 'disk'),
  ];
  const share = quotient(append.bytesPerSecond, disk.bytesPerSecond);
  const gain = quotient(cycle.perSecond, sqlite.perSecond);
  const cpuUs = cycle.perSecond === undefined ? undefined : cycle.cpuUs;
  const loopMs = cycle.perSecond === undefined ? undefined : Math.max(append.loopP99Ms, cycle.loopP99Ms);
  const syncs = append.syncsPerCommit;
  return [
    target('append at 1,000: share of the bytes a second of the disk itself', share, '>= 0.60', (v) => v >= 0.6),
    target('cycle at 1,000: times SQLite', gain, '>= 2', (v) => v >= 2),
    target('cycle at 1,000: microseconds of CPU per message', cpuUs, '< 3', (v) => v < 3),
    target('at 1,000: event loop delay p99, milliseconds', loopMs, '< 20', (v) => v < 20),
    target('append at 1,000: syncs per commit', syncs, '1', (v) => Math.abs(v - 1) < 0.01),
  ];
}

function quotient(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a / b;
}

function ratio(a: number | undefined, b: number | undefined, format: (value: number) => string): string {
  return optional(quotient(a, b), format);
}

function optional(value: number | undefined, format: (value: number) => string): string {
  return value === undefined ? '-' : format(value);
}

function decimals(value: number): string {
  return value.toFixed(2);
}

function megabytes(value: number | undefined): string {
  return optional(value, (bytes) => (bytes / 1e6).toFixed(1));
}
