/** One measurement in a process of its own, so that its CPU time, heap and event loop are its own. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';

type Report = { figures: unknown } | { reason: string };

/** As `npm start` has them (docs/adr/0007). */
const GATEWAY_FLAGS = ['--initial-old-space-size=512'];

/**
 * Runs the module with the plan and resolves to what it reports, once it has ended.
 *
 * @param flags of Node; those of the gateway when left out
 * @throws Error when it fails, or ends without a report
 */
export async function measure<Figures>(
  modulePath: string,
  plan: unknown,
  flags: readonly string[] = GATEWAY_FLAGS,
): Promise<Figures> {
  const child = fork(modulePath, [JSON.stringify(plan)], { execArgv: [...flags] });
  const killOnExit = (): void => void child.kill('SIGKILL');
  process.once('exit', killOnExit);
  let report: Report | undefined;
  child.once('message', (message: Report) => (report = message));
  await once(child, 'close');
  process.off('exit', killOnExit);
  if (report === undefined) throw new Error(`${JSON.stringify(plan)}: ended without a report`);
  if ('reason' in report) throw new Error(`${JSON.stringify(plan)}: ${report.reason}`);
  return report.figures as Figures;
}

/** The other end: the plan this process was started with. */
export function readPlan(): unknown {
  return JSON.parse(process.argv[2]!);
}

/** Reports the figures when they are there, and ends. */
export function serve(figures: Promise<unknown>): void {
  figures.then(
    (value) => report({ figures: value }, () => process.exit()),
    (error: unknown) => report({ reason: error instanceof Error ? error.stack! : String(error) }, () => process.exit()),
  );
}

/** Reports, and ends as a process does that is killed: without any goodbye to the disk. */
export function reportAndDie(figures: unknown): Promise<never> {
  return new Promise(() => report({ figures }, () => process.kill(process.pid, 'SIGKILL')));
}

function report(message: Report, then: () => void): void {
  process.send!(message, undefined, undefined, then);
}

/** Calls `use` with a new directory, which is removed afterwards, also when the benchmark is interrupted. */
export async function withDirectory<T>(parent: string, use: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(parent, 'gantry-bench-'));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  process.once('exit', remove);
  try {
    return await use(directory);
  } finally {
    process.off('exit', remove);
    remove();
  }
}
