/** Time as the core sees it. Nothing in the core or the engines reads the system's clock or sets a timer by itself. */
export interface Clock {
  /** Milliseconds since the epoch; never goes back. */
  now(): number;
  /** Runs the task once, `delayMs` from now, unless disposed before. */
  schedule(delayMs: number, task: () => void): Disposable;
  /** Runs the task when everything is done that this turn of the event loop brought. */
  soon(task: () => void): void;
}
