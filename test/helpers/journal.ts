/** What clients saw of a gateway that is killed again and again: faults, conditions to wait for, and room to send more. */
export abstract class Journal<Counts> {
  /** What must not happen, in words. */
  readonly faults: string[] = [];
  /** As many may be owed to the clients before publishers wait. */
  private readonly owedMax: number;
  /** Owed when this life of the gateway began. */
  private owedBefore = 0;
  private waitingForRoom: (() => void)[] = [];
  private listener: (() => void) | undefined;

  protected constructor(owedMax: number) {
    this.owedMax = owedMax;
  }

  abstract get counts(): Counts;
  /** What the clients still have to get, or to answer for. */
  protected abstract get owed(): number;

  /** What was lost, or is held by leases of another life, does not keep publishers from going on. */
  beginLife(): void {
    this.owedBefore = this.owed;
    this.waitingForRoom = [];
  }

  /** Resolves when the clients have caught up with what was sent in this life. */
  roomToSend(): Promise<void> {
    return new Promise((resolve) => {
      this.waitingForRoom.push(resolve);
      this.giveRoom();
    });
  }

  /** Resolves when the condition holds; it is looked at after every entry. */
  until(condition: (counts: Counts) => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.listener = () => {
        if (!condition(this.counts)) return;
        this.listener = undefined;
        resolve();
      };
      this.listener();
    });
  }

  fault(text: string): void {
    this.faults.push(text);
  }

  /** To be called after an entry. */
  protected entered(): void {
    this.listener?.();
  }

  /** To be called when less may be owed. */
  protected giveRoom(): void {
    if (this.owed - this.owedBefore >= this.owedMax) return;
    const waiting = this.waitingForRoom;
    this.waitingForRoom = [];
    for (const resolve of waiting) resolve();
  }
}
