/** One load generator process against one peer. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { LoadFigures, LoadFrame } from './mqtt-generator.ts';
import { NotSupported } from './mqtt-link.ts';
import type { LoadPlan, LoadReport } from './mqtt-load.ts';
import type { Round } from './mqtt-report.ts';
import type { Scenario } from './mqtt-scenarios.ts';
import type { WakeUp } from './mqtt-wake-up.ts';
import type { MqttVersion } from './mqtt-wire.ts';
import type { RunningPeer } from './peers.ts';

const loadPath = fileURLToPath(new URL('./mqtt-load.js', import.meta.url));
/** Lets a JavaScript peer and the generator compile their hot paths. */
const warmupMs = 500;
/** On top of the sending time: for a peer that has a backlog to deliver after the last publish. */
const graceMs = 30_000;
/** The same where the backlog is the point. */
const drainGraceMs = 180_000;

/** @throws NotSupported when the peer cannot do what the scenario asks for; Error when it does it wrongly. */
export async function runRound(
  scenario: Scenario,
  peer: RunningPeer,
  wakeUp: WakeUp,
  { durationMs, version }: { durationMs: number; version: MqttVersion },
): Promise<Omit<Round, 'scenario' | 'round'>> {
  const deadlineMs = warmupMs + durationMs + (scenario.task.kind === 'drain' ? drainGraceMs : graceMs);
  const frame: LoadFrame = {
    port: peer.port,
    version: scenario.version ?? version,
    warmupMs,
    durationMs,
    wakeUp,
    deadlineMs,
  };
  const load = startLoad({ ...scenario.task, ...frame }, `${scenario.name} on ${peer.name}`);
  try {
    const readyReport = await load.next();
    if (readyReport.kind !== 'ready') throw load.unexpected(readyReport);
    const ready = sample(peer);
    load.go();
    let report = await load.next();
    let marked: Sample | undefined;
    if (report.kind === 'mark') {
      marked = sample(peer);
      load.go();
      report = await load.next();
    }
    if (report.kind !== 'done') throw load.unexpected(report);
    return toRound(peer.name, wakeUp, report, ready, marked, sample(peer));
  } catch (cause) {
    if (cause instanceof NotSupported) throw cause;
    throw new Error(`${cause instanceof Error ? cause.message : String(cause)}\n${peer.describe()}`, { cause });
  } finally {
    await load.stop();
  }
}

type Sample = { cpuUs: number; rssBytes: number };

function sample(peer: RunningPeer): Sample {
  return { cpuUs: peer.cpuUs(), rssBytes: peer.rssBytes() };
}

/** Where there is a mark, memory grows before it and the time runs after it. */
function toRound(
  peer: string,
  wakeUp: WakeUp,
  { messages, elapsedMs, cpuUs }: LoadFigures,
  ready: Sample,
  marked: Sample | undefined,
  done: Sample,
): Omit<Round, 'scenario' | 'round'> {
  const peerCpuUs = done.cpuUs - (marked ?? ready).cpuUs;
  return {
    peer,
    wakeUp,
    messages,
    elapsedMs,
    messagesPerSecond: (messages * 1000) / elapsedMs,
    peerCpuUsPerMessage: peerCpuUs / messages,
    peerCpuShare: peerCpuUs / 1000 / elapsedMs,
    peerRssBytes: done.rssBytes,
    growthBytes: (marked ?? done).rssBytes - ready.rssBytes,
    loadCpuShare: cpuUs / 1000 / elapsedMs,
  };
}

type Load = {
  next: () => Promise<LoadReport>;
  go: () => void;
  unexpected: (report: LoadReport) => Error;
  stop: () => Promise<void>;
};

function startLoad(plan: LoadPlan, title: string): Load {
  const child = fork(loadPath, [JSON.stringify(plan)]);
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  // The generator keeps its own deadline and can say what is missing; this one is for a generator that hangs.
  const timer = setTimeout(() => child.kill('SIGKILL'), plan.deadlineMs + 5000);
  return {
    next: () =>
      new Promise((resolve, reject) => {
        child.once('message', resolve);
        void ended.then(() => reject(new Error(`${title}: the load generator ended without a report`)));
      }),
    go: () => child.send('go'),
    unexpected: (report) => {
      if (report.kind === 'unsupported') return new NotSupported(report.reason);
      return new Error(
        `${title}: ${report.kind === 'failed' ? report.reason : `the load generator is ${report.kind}`}`,
      );
    },
    stop: async () => {
      if (child.connected) child.disconnect();
      await ended;
      clearTimeout(timer);
    },
  };
}
