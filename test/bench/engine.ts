/** The engine that storage benchmarks measure. */
import { openEmbeddedEngine, type EmbeddedOptions } from '../../adapters/storage/embedded/open.ts';
import type { StorageStatistics } from '../../adapters/storage/embedded/storage.ts';
import type { MessageEngine } from '../../core/ports/message-engine.ts';
import { SystemClock } from '../../gateway/system-clock.ts';

export type Flush = NonNullable<EmbeddedOptions['flush']>;
export type Statistics = StorageStatistics;
export type OpenedEngine = { engine: MessageEngine; statistics: () => Statistics };

/** Opens and starts the engine on the directory. */
export async function openEngine(dir: string, options: Omit<EmbeddedOptions, 'dir'> = {}): Promise<OpenedEngine> {
  const { engine } = openEmbeddedEngine({ ...options, dir });
  const log = { debug() {}, info() {}, warn: complain, error: complain };
  const onFailure = (error: Error): void => {
    throw error;
  };
  await engine.start({ clock: new SystemClock(), log, onFailure });
  return { engine, statistics: () => engine.statistics() };
}

function complain(fields: object, message: string): void {
  console.error(message, fields);
}
