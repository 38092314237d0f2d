/** Whoever may have something to send. */
export interface Ready {
  pull(): void;
}

/** A connection that has something to write. */
export interface Dirty {
  flush(): void;
}

/**
 * One turn of the event loop for all connections of an adapter: whoever has room is asked for messages, then every stream
 * is written to once.
 */
export class Turn {
  private ready: Ready[] = [];
  private dirty: Dirty[] = [];
  private isScheduled = false;

  addReady(ready: Ready): void {
    this.ready.push(ready);
    this.schedule();
  }

  addDirty(connection: Dirty): void {
    this.dirty.push(connection);
    this.schedule();
  }

  /** Sees to it that `run` is called once everything is done that this turn of the event loop brought. */
  protected schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.run();
    });
  }

  protected run(): void {
    const { ready, dirty } = this;
    if (ready.length > 0) {
      this.ready = [];
      for (let i = 0; i < ready.length; i++) ready[i]!.pull();
    }
    // Pulling made more connections dirty, in the same array.
    this.dirty = [];
    for (let i = 0; i < dirty.length; i++) dirty[i]!.flush();
  }
}
