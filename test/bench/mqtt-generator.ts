/** What every load of the generator has in common. */
import { performance } from 'node:perf_hooks';
import type { WakeUp } from './mqtt-wake-up.ts';
import type { MqttVersion } from './mqtt-wire.ts';

/** What is the same for every task of a run. */
export type LoadFrame = {
  port: number;
  version: MqttVersion;
  warmupMs: number;
  durationMs: number;
  wakeUp: WakeUp;
  deadlineMs: number;
};

/**
 * `messages`: what the scenario counts. `cpuUs` is of the timed part and leaves out the turns of a spinning generator that
 * found nothing to do.
 */
export type LoadFigures = { messages: number; elapsedMs: number; cpuUs: number };

/** Times a part, which resolves when all of it is done, and the processor it takes. @param count before and after */
export async function timed(count: () => number, part: (startMs: number) => Promise<unknown>): Promise<LoadFigures> {
  const before = count();
  const cpuBefore = process.cpuUsage();
  const startMs = performance.now();
  await part(startMs);
  const elapsedMs = performance.now() - startMs;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { messages: count() - before, elapsedMs, cpuUs: user + system };
}

export interface Generator {
  /** Connects, and does everything that is not measured. */
  prepare(): Promise<void>;
  /** `mark` resolves when the other side has taken its own figures. */
  measure(mark: () => Promise<void>): Promise<LoadFigures>;
  /** How far it came, for a message about a failure. */
  describe(): string;
}
