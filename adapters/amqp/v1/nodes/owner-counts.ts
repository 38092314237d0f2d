/** How many there are under each name; a name of which there is none costs nothing. */
export class OwnerCounts {
  private readonly counts = new Map<string, number>();

  /** One more, until disposed. */
  add(name: string): Disposable {
    this.counts.set(name, this.of(name) + 1);
    return { [Symbol.dispose]: () => this.remove(name) };
  }

  of(name: string): number {
    return this.counts.get(name) ?? 0;
  }

  has(name: string): boolean {
    return this.counts.size > 0 && this.counts.has(name);
  }

  /** Names of which there is one at least. */
  get size(): number {
    return this.counts.size;
  }

  private remove(name: string): void {
    const left = this.of(name) - 1;
    if (left > 0) this.counts.set(name, left);
    else this.counts.delete(name);
  }
}
