import t from 'tap';
import { FaultDisk } from '../helpers/fault-disk.ts';
import { startOnDisk, type DiskEngine } from '../helpers/fault-engine.ts';
import { ManualClock } from '../helpers/manual-clock.ts';
import { Random, testSeed } from '../helpers/random.ts';
import { runMessageEngineContract } from './message-engine.ts';

const seed = testSeed();
let made = 0;

runMessageEngineContract(t, {
  name: 'embedded',
  create: () => startOnDisk(new FaultDisk(new Random(seed + made++)), new ManualClock()),
  async restart(running, random, how) {
    const { engine, storage, disk, clock } = running as DiskEngine;
    // Everything is durable at this moment, so a crash must not take anything either.
    if (how === 'checkpoint and crash') await storage.checkpoint();
    if (how === 'stop' || (how === undefined && random.chance(0.5))) {
      await engine.stop();
      return startOnDisk(disk, clock);
    }
    return startOnDisk(disk.crash(), clock);
  },
  histories: 100,
  stepsPerHistory: 200,
  toleranceMs: 0,
});
