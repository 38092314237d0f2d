import { parentPort, workerData } from 'node:worker_threads';
import { Random } from '../helpers/random.ts';
import { CrashStory } from './crash-story.ts';

/** Plays the stories of some seeds in a thread of its own; posts the first that went wrong, or nothing. */

export interface Failure {
  readonly seed: number;
  readonly stack: string;
}

const LIVES = [1, 1, 1, 1, 2, 3];
const STEPS_MAX = 10;

for (const seed of workerData as readonly number[]) {
  const random = new Random(seed);
  try {
    await new CrashStory(random).play(random.pick(LIVES), random.int(1, STEPS_MAX));
  } catch (error) {
    const failure: Failure = { seed, stack: String((error as Error).stack) };
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- that of a thread has none
    parentPort!.postMessage(failure);
    break;
  }
}
