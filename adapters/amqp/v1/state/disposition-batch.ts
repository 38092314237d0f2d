import type { DeliveryState } from '../codec/performatives.ts';
import { after } from './serial.ts';

/** Who writes the dispositions. */
export interface DispositionWriter {
  writeDisposition(first: number, last: number, settled: boolean, state: DeliveryState | undefined): void;
}

/**
 * What is to be said of deliveries in this turn, in the order it was said. Neighbours of which the same is said become one
 * range; nothing else is ever merged.
 */
export class DispositionBatch {
  private readonly firsts: number[] = [];
  private readonly lasts: number[] = [];
  private readonly settled: boolean[] = [];
  private readonly states: (DeliveryState | undefined)[] = [];
  private count = 0;

  get isEmpty(): boolean {
    return this.count === 0;
  }

  add(first: number, last: number, settled: boolean, state: DeliveryState | undefined): void {
    const end = this.count - 1;
    const extendsLast =
      end >= 0 && after(this.lasts[end]!) === first && this.settled[end] === settled && isSame(this.states[end], state);
    if (extendsLast) {
      this.lasts[end] = last;
      return;
    }
    const i = this.count++;
    this.firsts[i] = first;
    this.lasts[i] = last;
    this.settled[i] = settled;
    this.states[i] = state;
  }

  writeTo(writer: DispositionWriter): void {
    for (let i = 0; i < this.count; i++) {
      writer.writeDisposition(this.firsts[i]!, this.lasts[i]!, this.settled[i]!, this.states[i]);
      this.states[i] = undefined;
    }
    this.count = 0;
  }
}

/** Whether two states say the same; two that have fields only if they are one object. */
function isSame(one: DeliveryState | undefined, other: DeliveryState | undefined): boolean {
  if (one === other) return true;
  if (one?.kind !== other?.kind) return false;
  return one?.kind === 'accepted' || one?.kind === 'released';
}
