import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { seeds } from '../helpers/random.ts';
import type { Failure } from './crash-worker.ts';

/** GANTRY_CRASHES sets how many; the nightly run takes more. */
const STORIES = Number(process.env['GANTRY_CRASHES'] ?? 20_000);

/** What the seeds' stories did wrong, if anything. */
async function play(part: readonly number[]): Promise<Failure | undefined> {
  // Measuring coverage of so many would take most of the time.
  const { NODE_V8_COVERAGE: _, ...env } = process.env;
  const worker = new Worker(new URL('./crash-worker.ts', import.meta.url), { workerData: part, env });
  let failure: Failure | undefined;
  worker.on('message', (message: Failure) => (failure = message));
  const [code] = (await once(worker, 'exit')) as [number];
  // 13: something was awaited that nobody will ever answer.
  return failure ?? (code === 0 ? undefined : { seed: part[0]!, stack: `the thread ended with code ${code}` });
}

void t.test('whatever a crash leaves on the disk, what was confirmed is there and nothing else', async (t) => {
  const all = seeds(STORIES);
  const threads = Math.min(availableParallelism(), all.length);
  const started = performance.now();
  const parts = Array.from({ length: threads }, (_, i) => all.filter((_, at) => at % threads === i));
  for (const failure of await Promise.all(parts.map(play))) {
    if (failure === undefined) continue;
    t.comment(`GANTRY_SEED=${failure.seed} repeats this`);
    t.fail(failure.stack);
  }
  t.pass(`${all.length} stories from seed ${all[0]}`);
  t.comment(`${all.length} stories in ${Math.round(performance.now() - started)} ms`);
});
