import type { Clock } from '../core/ports/clock.ts';

/** setTimeout takes at most 2^31 - 1 milliseconds; longer waits are taken in steps. */
const STEP_MS_MAX = 2 ** 31 - 1;

/** The machine's time, made monotonic: a clock set back does not bring back leases. */
export class SystemClock implements Clock {
  private last = 0;

  now(): number {
    const now = Date.now();
    if (now > this.last) this.last = now;
    return this.last;
  }

  schedule(delayMs: number, task: () => void): Disposable {
    let remainingMs = delayMs;
    let timer: NodeJS.Timeout;
    const step = (): void => {
      const stepMs = Math.min(remainingMs, STEP_MS_MAX);
      remainingMs -= stepMs;
      timer = setTimeout(remainingMs > 0 ? step : task, stepMs);
    };
    step();
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  }

  soon(task: () => void): void {
    setImmediate(task);
  }
}
