/**
 * The MQTT load generator: a process of its own, started by mqtt-round.ts with a `LoadPlan` as JSON in argv[2].
 *
 * It connects and warms up, sends `{ kind: 'ready' }`, waits for the word `go`, does the measured part and sends its
 * `LoadReport`; it keeps its connections until the other side disconnects. Between a preparation that belongs to the figures
 * and the part that is timed it sends `{ kind: 'mark' }` and waits for `go` again. Whatever goes wrong (a message lost,
 * repeated or out of order, a refused publish, a closed connection, the deadline) ends in `{ kind: 'failed' }` instead.
 */
import { ConnectGenerator, type ConnectPlan } from './mqtt-connect.ts';
import { DrainGenerator, type DrainPlan } from './mqtt-drain.ts';
import { FlowGenerator, type FlowPlan } from './mqtt-flow.ts';
import type { Generator, LoadFigures, LoadFrame } from './mqtt-generator.ts';
import { IdleGenerator, type IdlePlan } from './mqtt-idle.ts';
import { NotSupported } from './mqtt-link.ts';
import { PairGenerator, type PairPlan } from './mqtt-pair.ts';
import { RetainedGenerator, type RetainedPlan } from './mqtt-retained.ts';

export type LoadTask = PairPlan | FlowPlan | RetainedPlan | ConnectPlan | IdlePlan | DrainPlan;

export type LoadPlan = LoadTask & LoadFrame;

export type LoadReport =
  { kind: 'ready' | 'mark' } | ({ kind: 'done' } & LoadFigures) | { kind: 'unsupported' | 'failed'; reason: string };

let over = false;

function report(message: LoadReport): void {
  if (!over) process.send?.(message);
}

function fail(cause: unknown, generator: Generator): void {
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (cause instanceof NotSupported) report({ kind: 'unsupported', reason });
  else report({ kind: 'failed', reason: `${reason} (${generator.describe()})` });
  over = true;
  process.disconnect?.();
  setImmediate(() => process.exit(1));
}

async function reportAndWait(kind: 'ready' | 'mark'): Promise<void> {
  const go = new Promise((resolve) => {
    process.once('message', resolve);
  });
  report({ kind });
  await go;
}

function createGenerator(plan: LoadPlan): Generator {
  switch (plan.kind) {
    case 'pair':
      return new PairGenerator(plan);
    case 'flow':
      return new FlowGenerator(plan);
    case 'retained':
      return new RetainedGenerator(plan);
    case 'connect':
      return new ConnectGenerator(plan);
    case 'idle':
      return new IdleGenerator(plan);
    case 'drain':
      return new DrainGenerator(plan);
  }
}

async function main(): Promise<void> {
  const plan: LoadPlan = JSON.parse(process.argv[2] ?? '{}');
  const generator = createGenerator(plan);
  process.on('uncaughtException', (error) => fail(error, generator));
  process.on('disconnect', () => process.exit(over ? 0 : 1));
  setTimeout(() => fail(`not finished after ${plan.deadlineMs} ms`, generator), plan.deadlineMs).unref();
  try {
    await generator.prepare();
    await reportAndWait('ready');
    const figures = await generator.measure(() => reportAndWait('mark'));
    report({ kind: 'done', ...figures });
    over = true;
  } catch (error) {
    fail(error, generator);
  }
}

void main();
