/** How the load generator waits for bytes, which changes what a server can do. */
import { performance } from 'node:perf_hooks';

/**
 * `block`: in the kernel, as any server does. `spin`: it keeps asking, which saves the time a sleeping processor needs to
 * wake up (tens of microseconds on virtual machines) but takes a whole core. A number: it sleeps that many microseconds
 * after each wake-up, so that a peer that writes packet by packet is read in bulk.
 */
export type WakeUp = 'block' | 'spin' | number;

export class Waiting {
  private readonly wakeUp: WakeUp;
  private isLoading = false;
  private turnHadBytes = false;
  private turnStartMs = 0;
  private emptyTurnsMs = 0;
  private readonly sleepCell = new Int32Array(new SharedArrayBuffer(4));

  constructor(wakeUp: WakeUp) {
    this.wakeUp = wakeUp;
  }

  start(nowMs: number): void {
    this.isLoading = true;
    this.emptyTurnsMs = 0;
    this.turnStartMs = nowMs;
    if (this.wakeUp === 'spin') this.spin();
  }

  /** Returns the milliseconds of the turns that found nothing to do. */
  stop(): number {
    this.isLoading = false;
    return this.emptyTurnsMs;
  }

  /** The check phase of the event loop comes after the chunks of all sockets, whose answers have been written by then. */
  endChunk(): void {
    const { wakeUp } = this;
    if (typeof wakeUp === 'number' && !this.turnHadBytes) {
      setImmediate(() => {
        this.turnHadBytes = false;
        Atomics.wait(this.sleepCell, 0, 0, wakeUp / 1000);
      });
    }
    this.turnHadBytes = true;
  }

  /** A pending immediate keeps the event loop from blocking when it polls. */
  private spin(): void {
    const nowMs = performance.now();
    if (!this.turnHadBytes) this.emptyTurnsMs += nowMs - this.turnStartMs;
    this.turnHadBytes = false;
    this.turnStartMs = nowMs;
    if (this.isLoading) setImmediate(() => this.spin());
  }
}
