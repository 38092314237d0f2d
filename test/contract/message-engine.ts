import type { Test } from 'tap';
import { Random, seeds } from '../helpers/random.ts';
import { runDirectedTests } from './directed.ts';
import { runChangesTests } from './directed-changes.ts';
import { runHeldTests } from './directed-held.ts';
import { runLastingTests } from './directed-lasting.ts';
import { runMemberTests } from './directed-members.ts';
import { runQueueTests } from './directed-queues.ts';
import { runSelectorTests } from './directed-selectors.ts';
import type { EngineFixture } from './fixture.ts';
import { History } from './history.ts';

/** The suite every storage engine has to pass. What an engine cannot do by its capabilities is left out. */
export function runMessageEngineContract(t: Test, fixture: EngineFixture): void {
  runDirectedTests(t, fixture);
  runHeldTests(t, fixture);
  runLastingTests(t, fixture);
  runChangesTests(t, fixture);
  runQueueTests(t, fixture);
  runSelectorTests(t, fixture);
  runMemberTests(t, fixture);
  void t.test(`${fixture.name}: random histories`, async (t) => {
    const all = seeds(fixture.histories);
    for (const seed of all) {
      const history = new History(await fixture.create(), new Random(seed), fixture);
      try {
        await history.play(fixture.stepsPerHistory);
        await history.finish();
      } catch (error) {
        t.comment(`GANTRY_SEED=${seed} repeats this`);
        throw error;
      } finally {
        await history.engine.engine.stop();
      }
    }
    t.pass(`${all.length} histories from seed ${all[0]}`);
  });
}
