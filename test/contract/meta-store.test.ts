import t from 'tap';
import { openMemoryEngine } from '../../adapters/storage/embedded/open.ts';
import { fail } from '../helpers/fail.ts';
import { FaultDisk } from '../helpers/fault-disk.ts';
import { startOnDisk, type DiskEngine } from '../helpers/fault-engine.ts';
import { ManualClock } from '../helpers/manual-clock.ts';
import { Random, testSeed } from '../helpers/random.ts';
import { SILENT } from '../helpers/silent-logger.ts';
import { runMetaStoreContract, type RunningMetaStore } from './meta-store.ts';

const seed = testSeed();
t.comment(`GANTRY_SEED=${seed} repeats this`);
let made = 0;

runMetaStoreContract(t, {
  name: 'memory',
  async create() {
    const clock = new ManualClock();
    const { engine, meta } = openMemoryEngine(1 << 24);
    await engine.start({ clock, log: SILENT, onFailure: fail });
    return { meta, clock, stop: () => engine.stop() };
  },
  histories: 0,
});

interface OnDisk extends RunningMetaStore {
  readonly started: DiskEngine;
}

async function onDisk(disk: FaultDisk, clock: ManualClock): Promise<OnDisk> {
  const started = await startOnDisk(disk, clock);
  return { meta: started.meta, clock, started, stop: () => started.engine.stop() };
}

runMetaStoreContract(t, {
  name: 'embedded',
  create: () => onDisk(new FaultDisk(new Random(seed + made++)), new ManualClock()),
  async restart(running, random, awayMs) {
    const { engine, storage, disk, clock } = (running as OnDisk).started;
    const dice = random.below(3);
    if (dice === 0) await storage.checkpoint();
    if (dice === 1) await engine.stop();
    const next = disk.crash();
    // One that is dead does not notice how time passes.
    return onDisk(next, new ManualClock(clock.now() + awayMs));
  },
  histories: 100,
});
