/** One AMQP load generator process against one peer. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { AmqpLoadPlan, AmqpLoadReport, AmqpTask } from './amqp-load.ts';
import type { LoadFigures } from './mqtt-generator.ts';
import type { Round } from './mqtt-report.ts';
import type { RunningPeer } from './peers.ts';

const loadPath = fileURLToPath(new URL('./amqp-load.js', import.meta.url));
/** Lets a JavaScript peer and the generator compile their hot paths. */
const warmupMs = 500;
/** On top of the sending time: for a peer that takes its time to deliver what it was sent. */
const graceMs = 60_000;

export type AmqpScenario = {
  name: string;
  /** One for each phase of the task. */
  phases: readonly { name: string; title: string; unit: string; growth?: { header: string; bytes: number } }[];
  task: AmqpTask;
  openFiles?: number;
};

/** A round for each phase. @throws Error when the peer does what it must not */
export async function runAmqpRound(
  scenario: AmqpScenario,
  peer: RunningPeer,
  durationMs: number,
): Promise<Omit<Round, 'round'>[]> {
  const deadlineMs = warmupMs + durationMs + graceMs;
  const plan: AmqpLoadPlan = { ...scenario.task, port: peer.port, durationMs, warmupMs, deadlineMs };
  const child = fork(loadPath, [JSON.stringify(plan)]);
  const ended = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs + 5000);
  const next = (): Promise<AmqpLoadReport> =>
    new Promise((resolve, reject) => {
      child.once('message', resolve);
      void ended.then(() => reject(new Error('the load generator ended without a report')));
    });
  const expect = async <K extends 'ready' | 'done'>(kind: K): Promise<AmqpLoadReport & { kind: K }> => {
    const report = await next();
    if (report.kind === kind) return report as AmqpLoadReport & { kind: K };
    throw new Error(report.kind === 'failed' ? report.reason : `the load generator is ${report.kind}`);
  };
  const rounds: Omit<Round, 'round'>[] = [];
  try {
    let ready = expect('ready');
    for (const { name } of scenario.phases) {
      await ready;
      const before = { cpuUs: peer.cpuUs(), rssBytes: peer.rssBytes() };
      const done = expect('done');
      child.send('go');
      const figures = await done;
      rounds.push({ scenario: name, ...toRound(peer, figures, before) });
      if (rounds.length < scenario.phases.length) ready = expect('ready');
    }
    return rounds;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${scenario.name} on ${peer.name}: ${reason}\n${peer.describe()}`, { cause });
  } finally {
    if (child.connected) child.disconnect();
    await ended;
    clearTimeout(timer);
  }
}

function toRound(
  peer: RunningPeer,
  { messages, elapsedMs, cpuUs }: LoadFigures,
  before: { cpuUs: number; rssBytes: number },
): Omit<Round, 'scenario' | 'round'> {
  const peerCpuUs = peer.cpuUs() - before.cpuUs;
  const peerRssBytes = peer.rssBytes();
  return {
    peer: peer.name,
    wakeUp: 'block',
    messages,
    elapsedMs,
    messagesPerSecond: (messages * 1000) / elapsedMs,
    peerCpuUsPerMessage: peerCpuUs / messages,
    peerCpuShare: peerCpuUs / 1000 / elapsedMs,
    peerRssBytes,
    growthBytes: peerRssBytes - before.rssBytes,
    loadCpuShare: cpuUs / 1000 / elapsedMs,
  };
}
