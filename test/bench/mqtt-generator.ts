/** What every load of the generator has in common. */
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

export interface Generator {
  /** Connects, and does everything that is not measured. */
  prepare(): Promise<void>;
  /** `mark` resolves when the other side has taken its own figures. */
  measure(mark: () => Promise<void>): Promise<LoadFigures>;
  /** How far it came, for a message about a failure. */
  describe(): string;
}
