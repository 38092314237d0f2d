import type { DeliveryState } from '../codec/performatives.ts';
import { after, distance } from './serial.ts';

/** Whose delivery was settled. */
export interface DeliveryOwner {
  settled(kept: unknown, state: DeliveryState | undefined, id: number): void;
}

/** A power of two. */
const SLOTS_MIN = 16;
/** With fewer deliveries than this part of the ring, the old ones are set aside instead of making it larger. */
const SPARSE_PART = 4;

/**
 * What was sent on a session and has no verdict yet, by delivery id: a ring of slots from the oldest to the newest. An old
 * delivery that stays unsettled while thousands behind it come and go is set aside, so that the ring does not grow with it.
 */
export class Unsettled<Owner extends DeliveryOwner> {
  private owners: (Owner | undefined)[] = emptySlots(SLOTS_MIN);
  private kept: unknown[] = emptySlots(SLOTS_MIN);
  /** The ring holds the ids [first, end). */
  private first = 0;
  private end = 0;
  private inRing = 0;
  /** Older than what is in the ring, in order. */
  private readonly aside = new Map<number, { owner: Owner; kept: unknown }>();

  get count(): number {
    return this.inRing + this.aside.size;
  }

  /** Memory held, whatever is in it. */
  get slots(): number {
    return this.owners.length;
  }

  /** @param id after all that were added */
  add(id: number, owner: Owner, kept: unknown): void {
    if (this.inRing === 0) this.first = id;
    while (distance(this.first, id) >= this.owners.length) this.makeRoom(id);
    const slot = id & (this.owners.length - 1);
    this.owners[slot] = owner;
    this.kept[slot] = kept;
    this.inRing++;
    this.end = after(id);
  }

  /**
   * Takes those of [first, last] that are there, oldest first, and tells their owners.
   * @param state what the peer says of all of them
   */
  settle(first: number, last: number, state: DeliveryState | undefined): void {
    if (this.aside.size > 0) this.settleAside(first, last, state);
    if (this.inRing === 0) return;
    // Owners may add deliveries meanwhile: these are none of the peer's.
    const stop = distance(this.end, last) >= 0 ? this.end : after(last);
    let id = distance(this.first, first) > 0 ? first : this.first;
    for (; distance(id, stop) > 0; id = after(id)) this.settleOne(id, state);
    this.skipHoles();
  }

  /** What one owner has, oldest first. @param count how many these are */
  *of(owner: Owner, count: number): Iterable<unknown> {
    let left = count;
    for (const delivery of this.aside.values()) {
      if (delivery.owner !== owner) continue;
      yield delivery.kept;
      left--;
    }
    for (let id = this.first; left > 0 && id !== this.end; id = after(id)) {
      const slot = id & (this.owners.length - 1);
      if (this.owners[slot] !== owner) continue;
      yield this.kept[slot];
      left--;
    }
  }

  /** Takes everything of one owner, oldest first. */
  takeOf(owner: Owner): unknown[] {
    const taken: unknown[] = [];
    for (const [id, delivery] of this.aside) {
      if (delivery.owner !== owner) continue;
      taken.push(delivery.kept);
      this.aside.delete(id);
    }
    if (this.inRing === 0) return taken;
    for (let id = this.first; id !== this.end; id = after(id)) {
      const slot = id & (this.owners.length - 1);
      if (this.owners[slot] !== owner) continue;
      taken.push(this.kept[slot]);
      this.clear(slot);
    }
    this.skipHoles();
    return taken;
  }

  private settleOne(id: number, state: DeliveryState | undefined): void {
    const slot = id & (this.owners.length - 1);
    // What an owner did meanwhile may have set it aside.
    const owner = distance(this.first, id) >= 0 ? this.owners[slot] : undefined;
    if (owner === undefined) {
      if (this.aside.size > 0) this.settleOneAside(id, state);
      return;
    }
    const kept = this.kept[slot];
    this.clear(slot);
    owner.settled(kept, state, id);
  }

  private settleAside(first: number, last: number, state: DeliveryState | undefined): void {
    const count = distance(first, last) + 1;
    if (count > 0 && count < this.aside.size) {
      for (let i = 0; i < count; i++) this.settleOneAside(after(first, i), state);
      return;
    }
    for (const id of this.aside.keys()) {
      if (distance(first, id) >= 0 && distance(id, last) >= 0) this.settleOneAside(id, state);
    }
  }

  private settleOneAside(id: number, state: DeliveryState | undefined): void {
    const delivery = this.aside.get(id);
    if (delivery === undefined) return;
    this.aside.delete(id);
    delivery.owner.settled(delivery.kept, state, id);
  }

  private clear(slot: number): void {
    this.owners[slot] = undefined;
    this.kept[slot] = undefined;
    this.inRing--;
  }

  private skipHoles(): void {
    if (this.inRing === 0) {
      this.first = this.end;
      return;
    }
    const mask = this.owners.length - 1;
    while (this.owners[this.first & mask] === undefined) this.first = after(this.first);
  }

  /** Lets the ring reach as far as the id, or at least one slot further. */
  private makeRoom(id: number): void {
    this.skipHoles();
    if (this.inRing === 0) this.first = id;
    else if (distance(this.first, id) < this.owners.length) return;
    else if (this.inRing * SPARSE_PART < this.owners.length) this.setAside();
    else this.grow();
  }

  private setAside(): void {
    const slot = this.first & (this.owners.length - 1);
    this.aside.set(this.first, { owner: this.owners[slot]!, kept: this.kept[slot] });
    this.clear(slot);
  }

  private grow(): void {
    const { owners, kept } = this;
    const mask = owners.length - 1;
    const slots = owners.length * 2;
    this.owners = emptySlots(slots);
    this.kept = emptySlots(slots);
    for (let id = this.first; id !== this.end; id = after(id)) {
      this.owners[id & (slots - 1)] = owners[id & mask];
      this.kept[id & (slots - 1)] = kept[id & mask];
    }
  }
}

function emptySlots(count: number): undefined[] {
  return Array.from({ length: count }, () => undefined);
}
