/** From the rounds of `npm run bench -- mqtt` to medians, ratios and a table. */
import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';
import type { Scenario } from './mqtt-scenarios.ts';
import type { WakeUp } from './mqtt-wake-up.ts';
import { count, median, percent, renderTable } from './table.ts';

/** One run of the load generator; shares are of one core. */
export type Round = {
  scenario: string;
  round: number;
  peer: string;
  wakeUp: WakeUp;
  messages: number;
  elapsedMs: number;
  messagesPerSecond: number;
  peerCpuUsPerMessage: number;
  peerCpuShare: number;
  peerRssBytes: number;
  /** What the measured part, or what prepared it, added to the peer's memory. */
  growthBytes: number;
  loadCpuShare: number;
};

/** Medians of a peer's rounds of one scenario, under the generator's way of waiting that gave the highest rate. */
export type Summary = {
  scenario: string;
  peer: string;
  wakeUp: WakeUp;
  messagesPerSecond: { median: number; min: number; max: number };
  /** The base peer's median rate over this one's; undefined when the base was not measured. */
  ratio: number | undefined;
  peerCpuUsPerMessage: number;
  peerCpuShare: number;
  peerRssBytes: number;
  /** In the scenario's own measure, where it has one. */
  growth: { value: number; min: number; max: number } | undefined;
  loadCpuShare: number;
};

/** Above this share of a core a process counts as busy. */
const busyShare = 0.85;

export type Machine = { cpu: string; cores: number; memoryBytes: number; kernel: string; node: string; commit: string };

export function describeMachine(): Machine {
  const processors = cpus();
  return {
    cpu: processors[0]?.model ?? 'unknown',
    cores: processors.length,
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.versions.node,
    commit: readCommit(),
  };
}

/** The checked-out commit, with `+` when files differ from it. */
function readCommit(): string {
  try {
    return git('rev-parse', 'HEAD') + (git('status', '--porcelain') === '' ? '' : '+');
  } catch {
    // Run from an unpacked archive or before the first commit: the figures are worth as much without it.
    return 'unknown';
  }
}

function git(...args: string[]): string {
  const { dirname } = import.meta;
  return execFileSync('git', args, { cwd: dirname, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
}

/** What a report says of a scenario. */
export type Reported = Pick<Scenario, 'name' | 'unit' | 'growth'>;

/** Summarizes the rounds of one scenario, in the order in which the peers were first measured. */
export function summarize(scenario: Reported, rounds: readonly Round[], base: string): Summary[] {
  const peers = [...new Set(rounds.map(({ peer }) => peer))];
  const summaries = peers.map((peer) =>
    summarizeBest(
      scenario,
      rounds.filter((round) => round.peer === peer),
    ),
  );
  const baseRate = summaries.find((summary) => summary.peer === base)?.messagesPerSecond.median;
  return summaries.map((summary) => ({
    ...summary,
    ratio: baseRate === undefined ? undefined : baseRate / summary.messagesPerSecond.median,
  }));
}

/** Every way of waiting is measured in every round: one trial beforehand would choose by the machine's mood. */
function summarizeBest(scenario: Reported, rounds: readonly Round[]): Summary {
  const wakeUps = [...new Set(rounds.map(({ wakeUp }) => wakeUp))];
  const summaries = wakeUps.map((wakeUp) =>
    summarizeLane(
      scenario,
      rounds.filter((round) => round.wakeUp === wakeUp),
    ),
  );
  return summaries.reduce((a, b) => (a.messagesPerSecond.median >= b.messagesPerSecond.median ? a : b));
}

function summarizeLane({ growth }: Reported, rounds: readonly Round[]): Summary {
  const rates = rounds.map((round) => round.messagesPerSecond);
  const growths = growth === undefined ? [] : rounds.map((round) => round.growthBytes / growth.bytes);
  const { scenario, peer, wakeUp } = rounds[0]!;
  return {
    scenario,
    peer,
    wakeUp,
    messagesPerSecond: { median: median(rates), min: Math.min(...rates), max: Math.max(...rates) },
    ratio: undefined,
    peerCpuUsPerMessage: median(rounds.map((round) => round.peerCpuUsPerMessage)),
    peerCpuShare: median(rounds.map((round) => round.peerCpuShare)),
    peerRssBytes: median(rounds.map((round) => round.peerRssBytes)),
    growth:
      growth === undefined
        ? undefined
        : { value: median(growths), min: Math.min(...growths), max: Math.max(...growths) },
    loadCpuShare: median(rounds.map((round) => round.loadCpuShare)),
  };
}

export function renderScenario(scenario: Reported, title: string, summaries: readonly Summary[], base: string): string {
  const { unit, growth } = scenario;
  const header = [
    'peer',
    `${plural(unit)}/s`,
    'min',
    'max',
    `${base}/peer`,
    `us/${unit}`,
    'peer CPU',
    'load CPU',
    'RSS MiB',
    ...(growth === undefined ? [] : [growth.header, 'min', 'max']),
    'wake-up',
  ];
  const rows = summaries.map((summary) => [
    summary.peer,
    count(summary.messagesPerSecond.median),
    count(summary.messagesPerSecond.min),
    count(summary.messagesPerSecond.max),
    summary.ratio === undefined ? '-' : summary.ratio.toFixed(2),
    summary.peerCpuUsPerMessage.toFixed(2),
    percent(summary.peerCpuShare),
    percent(summary.loadCpuShare),
    (summary.peerRssBytes / 2 ** 20).toFixed(0),
    ...(summary.growth === undefined ? [] : Object.values(summary.growth).map((value) => value.toFixed(1))),
    typeof summary.wakeUp === 'number' ? `${summary.wakeUp} us` : summary.wakeUp,
  ]);
  const table = renderTable(title, header, rows);
  return [table, ...summaries.filter(isLowerBound).map(warning)].join('\n');
}

function plural(unit: string): string {
  return unit.endsWith('y') ? `${unit.slice(0, -1)}ies` : `${unit}s`;
}

/** Whether the generator, not the peer, was short of CPU time. */
function isLowerBound(summary: Summary): boolean {
  return summary.loadCpuShare > busyShare && summary.peerCpuShare < busyShare;
}

function warning({ peer, loadCpuShare, peerCpuShare }: Summary): string {
  return (
    `WARNING: the figure of ${peer} is a lower bound: the load generator used ${percent(loadCpuShare)} of a core, ` +
    `the peer ${percent(peerCpuShare)}`
  );
}
