import type { Clock } from '../../core/ports/clock.ts';

/** A receive may retire messages, which is written at the end of the turn, which wakes another receive. */
const SETTLING_TURNS = 3;

/** Enough for what a disk in memory does in one operation. */
const TURN_MICROTASKS = 8;
const TURN = Promise.resolve();

interface Task {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Time that passes only when a test says so. */
export class ManualClock implements Clock {
  private time: number;
  private order = 0;
  private readonly tasks = new Set<Task>();

  constructor(time = 1_700_000_000_000) {
    this.time = time;
  }

  now(): number {
    return this.time;
  }

  schedule(delayMs: number, run: () => void): Disposable {
    const task = { at: this.time + delayMs, order: this.order++, run };
    this.tasks.add(task);
    return { [Symbol.dispose]: () => void this.tasks.delete(task) };
  }

  soon(task: () => void): void {
    setImmediate(task);
  }

  /** Lets time pass, running what is due in order, and what the tasks resolve in between. */
  async advance(ms: number): Promise<void> {
    const end = this.time + ms;
    for (;;) {
      const [next] = [...this.tasks].filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at || a.order - b.order);
      if (next === undefined) break;
      this.time = Math.max(this.time, next.at);
      this.tasks.delete(next);
      next.run();
      await this.settle();
    }
    this.time = end;
    await this.settle();
  }

  /** Lets everything happen that needs no time. */
  protected settle(): Promise<void> {
    return settled();
  }
}

/** One whose turns are made of microtasks only: for thousands of lives of things that wait for nothing real. */
export class MicrotaskClock extends ManualClock {
  override soon(task: () => void): void {
    void turns(TURN_MICROTASKS).then(task);
  }

  override settle(): Promise<void> {
    return turns(TURN_MICROTASKS * SETTLING_TURNS * 4);
  }
}

/** Resolves after that many turns of the microtask queue. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await TURN;
}

/** Resolves when everything that needs no time has happened: promises, and turns of the event loop that follow each other. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < SETTLING_TURNS; turn++) await new Promise((resolve) => setImmediate(resolve));
}
