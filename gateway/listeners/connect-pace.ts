/** How long a connection may have to wait for its turn. Clients give up after ten seconds at the earliest. */
const WAIT_S_MAX = 5;
const TICK_MS_MIN = 10;

/**
 * So many new connections a second. Those that come too fast wait, in order: closed ones would come back at once, and a
 * crowd of devices after a power failure would only do its work twice. When the line is full the next one is turned away.
 */
export class ConnectPace {
  private readonly perSecond: number;
  private readonly now: () => number;
  private allowance: number;
  private countedAt: number;
  private readonly waiting: (() => void)[] = [];
  private timer: NodeJS.Timeout | undefined;

  /** @param now milliseconds of a clock that never goes back */
  constructor(perSecond: number, now: () => number = () => performance.now()) {
    this.perSecond = perSecond;
    this.now = now;
    // What did not come during the last second may come at once.
    this.allowance = perSecond;
    this.countedAt = now();
  }

  /** Starts the work now or later; false when too many wait already. */
  enter(start: () => void): boolean {
    this.count();
    if (this.waiting.length === 0 && this.allowance >= 1) {
      this.allowance -= 1;
      start();
      return true;
    }
    if (this.waiting.length >= this.perSecond * WAIT_S_MAX) return false;
    this.waiting.push(start);
    this.schedule();
    return true;
  }

  /** Forgets who waits. */
  close(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.waiting.length = 0;
  }

  private count(): void {
    const now = this.now();
    this.allowance = Math.min(this.perSecond, this.allowance + ((now - this.countedAt) * this.perSecond) / 1000);
    this.countedAt = now;
  }

  private schedule(): void {
    const waitMs = ((1 - this.allowance) * 1000) / this.perSecond;
    this.timer ??= setTimeout(() => this.admit(), Math.max(TICK_MS_MIN, Math.ceil(waitMs)));
  }

  private admit(): void {
    this.timer = undefined;
    this.count();
    const count = Math.min(this.waiting.length, Math.floor(this.allowance));
    this.allowance -= count;
    for (const start of this.waiting.splice(0, count)) start();
    if (this.waiting.length > 0) this.schedule();
  }
}
