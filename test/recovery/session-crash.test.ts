import t from 'tap';
import { Random, seeds } from '../helpers/random.ts';
import { SessionStory } from './session-story.ts';

/** GANTRY_CRASHES sets how many; the nightly run takes more. */
const STORIES = Number(process.env['GANTRY_CRASHES'] ?? 300);
const LIVES_MAX = 4;

t.setTimeout(60_000 + STORIES * 300);

await t.test(
  'whatever a power failure leaves of sessions: nothing lost, nothing doubled at QoS 2, in order',
  async (t) => {
    const all = seeds(STORIES);
    const startedAt = performance.now();
    let acknowledged = 0;
    let recognised = 0;
    for (const seed of all) {
      const random = new Random(seed);
      const story = new SessionStory(random);
      await story.play(random.int(1, LIVES_MAX));
      acknowledged += story.journal.counts.acknowledged;
      recognised += story.journal.recognised;
      const { problems } = story;
      if (problems.length === 0) continue;
      t.comment(`GANTRY_SEED=${seed} repeats this`);
      t.same(problems.slice(0, 10), [], `${problems.length} problems`);
      break;
    }
    t.comment(
      `${all.length} stories in ${Math.round(performance.now() - startedAt)} ms: ${acknowledged} messages acknowledged, ` +
        `${recognised} known by their identifier when they came again`,
    );
    t.pass();
  },
);
