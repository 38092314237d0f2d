import t from 'tap';
import { Random, seeds } from '../helpers/random.ts';
import { CrashStory } from './crash-story.ts';

/** GANTRY_CRASHES sets how many; the nightly run takes more. */
const STORIES = Number(process.env['GANTRY_CRASHES'] ?? 20_000);
const LIVES = 3;
const STEPS = 12;

void t.test('whatever a crash leaves on the disk, what was confirmed is there and nothing else', async (t) => {
  const all = seeds(STORIES);
  const started = Date.now();
  for (const seed of all) {
    const random = new Random(seed);
    try {
      await new CrashStory(random).play(1 + random.below(LIVES), 1 + random.below(STEPS));
    } catch (error) {
      t.comment(`GANTRY_SEED=${seed} repeats this`);
      throw error;
    }
  }
  t.pass(`${all.length} lives from seed ${all[0]} in ${Date.now() - started} ms`);
});
