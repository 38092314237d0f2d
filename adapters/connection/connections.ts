import type { Clock } from '../../core/ports/clock.ts';

/** What is asked of a connection whatever its protocol. */
export interface Tracked {
  /** Ends what has been silent for too long. */
  checkIdle(nowMs: number): void;
  /** Takes nothing more in; what was taken in is still answered. */
  stopReading(): void;
  /** Ends without a word. */
  destroy(): void;
}

/** The connections of one adapter: looked at now and then, ended together, and all in the same time. */
export class Connections<Connection extends Tracked> {
  /** The clock's time at the start of this turn of the event loop, or close to it. */
  nowMs: number;
  private readonly clock: Clock;
  private readonly idleScanMs: number;
  private readonly connections = new Set<Connection>();
  private timer: Disposable | undefined;
  private onEmpty: (() => void) | undefined;

  /** @param idleScanMs how often silent connections are looked for */
  constructor(clock: Clock, idleScanMs: number) {
    this.clock = clock;
    this.idleScanMs = idleScanMs;
    this.nowMs = clock.now();
  }

  get size(): number {
    return this.connections.size;
  }

  readClock(): void {
    this.nowMs = this.clock.now();
  }

  watchIdle(): void {
    this.timer = this.clock.schedule(this.idleScanMs, () => {
      this.watchIdle();
      this.readClock();
      for (const connection of this.connections) connection.checkIdle(this.nowMs);
    });
  }

  add(connection: Connection): void {
    this.connections.add(connection);
  }

  remove(connection: Connection): void {
    this.connections.delete(connection);
    if (this.connections.size === 0) this.onEmpty?.();
  }

  /**
   * Takes nothing more in, and calls `dismiss` for each connection when what was taken in is answered. Resolves when all are
   * gone; those that are not after `graceMs` go without a word.
   */
  async shutdown(graceMs: number, answered: Promise<void>, dismiss: (connection: Connection) => void): Promise<void> {
    this.timer?.[Symbol.dispose]();
    for (const connection of this.connections) connection.stopReading();
    let deadline!: Disposable;
    const graceEnded = new Promise<void>((resolve) => (deadline = this.clock.schedule(graceMs, resolve)));
    await Promise.race([this.dismissAll(answered, dismiss), graceEnded]);
    deadline[Symbol.dispose]();
    for (const connection of this.connections) connection.destroy();
  }

  private async dismissAll(answered: Promise<void>, dismiss: (connection: Connection) => void): Promise<void> {
    await answered;
    for (const connection of this.connections) dismiss(connection);
    if (this.connections.size > 0) await new Promise<void>((resolve) => (this.onEmpty = resolve));
  }
}
