/** A link that may have something to send. */
export interface Ready {
  pull(): void;
}

/** A connection that has something to write. */
export interface Dirty {
  flush(): void;
}

/**
 * One turn of the event loop for all AMQP connections: links with room are asked for messages, then every stream is written
 * to once.
 */
export class Turn {
  private ready: Ready[] = [];
  private dirty: Dirty[] = [];
  private isScheduled = false;

  addReady(link: Ready): void {
    this.ready.push(link);
    this.schedule();
  }

  addDirty(connection: Dirty): void {
    this.dirty.push(connection);
    this.schedule();
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => this.run());
  }

  private run(): void {
    this.isScheduled = false;
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
