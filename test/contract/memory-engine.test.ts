import t from 'tap';
import { EmbeddedEngine } from '../../adapters/storage/embedded/engine.ts';
import { MemoryLog } from '../../adapters/storage/embedded/log/memory-log.ts';
import { ManualClock } from '../helpers/manual-clock.ts';
import { SILENT } from '../helpers/silent-logger.ts';
import type { RunningEngine } from './fixture.ts';
import { runMessageEngineContract } from './message-engine.ts';

async function create(): Promise<RunningEngine> {
  const clock = new ManualClock();
  const engine = new EmbeddedEngine(new MemoryLog(), { bytesMax: 1 << 28 });
  await engine.start({ clock, log: SILENT });
  return { engine, clock };
}

runMessageEngineContract(t, { name: 'memory', create, toleranceMs: 0, histories: 200, stepsPerHistory: 200 });
