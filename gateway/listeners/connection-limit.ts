/** Connections that may be open at once, handshakes included. Several may have to agree: of the listener and of all. */
export class ConnectionLimit {
  private readonly max: number;
  private taken = 0;

  constructor(max: number) {
    this.max = max;
  }

  get isReached(): boolean {
    return this.taken >= this.max;
  }

  take(): void {
    this.taken++;
  }

  giveBack(): void {
    this.taken--;
  }
}
