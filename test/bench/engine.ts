/** The engine that storage benchmarks measure: the durable one, or the memory engine where there is none. */
import { existsSync } from 'node:fs';
import { EmbeddedEngine } from '../../adapters/storage/embedded/engine.ts';
import { MemoryLog } from '../../adapters/storage/embedded/log/memory-log.ts';
import type { MessageEngine } from '../../core/ports/message-engine.ts';
import { SystemClock } from '../../gateway/system-clock.ts';

export type Flush = 'sync' | 'interval' | 'none';

/** Counted since the engine was started. */
export type Statistics = { commits: number; commitBytes: number; syncs: number };

export type OpenedEngine = {
  engine: MessageEngine;
  /** Undefined when the engine does not count. */
  statistics: () => Statistics | undefined;
};

export type EngineOptions = {
  flush?: Flush;
  /** Of the log, after which the engine makes a checkpoint; its own default when left out. */
  checkpointBytes?: number;
};

type Opener = (options: EngineOptions & { dir: string }) => { engine: MessageEngine & Partial<Counting> };
type Counting = { statistics: () => Statistics };

const openerUrl = new URL('../../adapters/storage/embedded/open.js', import.meta.url);
const bytesMax = 64 * 2 ** 30;

export const engineName: 'embedded' | 'memory' = existsSync(openerUrl) ? 'embedded' : 'memory';

export function warnWithoutDurability(): void {
  if (engineName === 'embedded') return;
  console.error('WARNING: there is no durable engine, so the memory engine is measured: nothing here is about a disk');
}

/** Opens and starts the engine on the directory. */
export async function openEngine(dir: string, options: EngineOptions = {}): Promise<OpenedEngine> {
  const engine = await makeEngine(dir, options);
  const log = { debug() {}, info() {}, warn: complain, error: complain };
  await engine.start({ clock: new SystemClock(), log });
  // A copy: the engine goes on counting in what it hands out.
  return { engine, statistics: () => engine.statistics && { ...engine.statistics() } };
}

async function makeEngine(dir: string, options: EngineOptions): Promise<MessageEngine & Partial<Counting>> {
  if (engineName === 'memory') return new EmbeddedEngine(new MemoryLog(), { bytesMax });
  const { openEmbeddedEngine } = (await import(openerUrl.href)) as { openEmbeddedEngine: Opener };
  return openEmbeddedEngine({ flush: 'sync', ...options, dir }).engine;
}

function complain(fields: object, message: string): void {
  console.error(message, fields);
}
