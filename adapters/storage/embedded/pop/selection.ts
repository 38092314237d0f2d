import type { Selector } from '../../../../core/ports/message-engine.ts';

/** Messages that came back and are remembered for selectors that looked beyond them; who is further behind starts anew. */
const RETURNED_MAX = 8192;
/** What one selector passed over is looked at again this often when it stands in the way: it may have expired. */
const SWEEP_MS = 1_000;

/** What one receive with a selector wants. */
export interface Selection {
  readonly selector: Selector;
  /** Whether the message is for this receive: selected, or gone, expired or out of attempts, which the receive takes care of. */
  isWanted(offset: number): boolean;
}

/** How far one selector has looked: everything available below was not for it, but for what returned since. */
export interface Position {
  lookedTo: number;
  returnsSeen: number;
  sweptAt: number;
}

/**
 * Where the selectors of a group stand in one queue, so that each looks at each message once. Known by the identity of the
 * selector, and forgotten with it.
 */
export class Selections {
  private positions = new WeakMap<Selector, Position>();
  /** Offsets that became available again, in that order. */
  private returned: number[] = [];
  private returnedBase = 0;

  /** @param floor nothing below it is left */
  position(selector: Selector, floor: number): Position {
    let position = this.positions.get(selector);
    if (position === undefined) {
      position = { lookedTo: floor, returnsSeen: this.returnedEnd, sweptAt: 0 };
      this.positions.set(selector, position);
    }
    if (position.returnsSeen < this.returnedBase) this.startAnew(position, floor);
    if (position.lookedTo < floor) position.lookedTo = floor;
    return position;
  }

  /** The next message that returned and the selector has not looked at again; undefined for none. `skip` goes on. */
  nextReturned({ returnsSeen }: Position): number | undefined {
    return this.returned[returnsSeen - this.returnedBase];
  }

  addReturned(offset: number): void {
    this.returned.push(offset);
    if (this.returned.length < RETURNED_MAX) return;
    this.returned = this.returned.slice(RETURNED_MAX / 2);
    this.returnedBase += RETURNED_MAX / 2;
  }

  /** Whether it is time to look at everything again. */
  sweep(position: Position, floor: number, now: number): boolean {
    if (now < position.sweptAt + SWEEP_MS) return false;
    position.sweptAt = now;
    this.startAnew(position, floor);
    return true;
  }

  private get returnedEnd(): number {
    return this.returnedBase + this.returned.length;
  }

  private startAnew(position: Position, floor: number): void {
    position.lookedTo = floor;
    position.returnsSeen = this.returnedEnd;
  }
}
