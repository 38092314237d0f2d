import type { Selector } from '../../../../core/ports/message-engine.ts';

/** A lane gives back the memory in front of its first message when it is more than this and half of all. */
const SPARE_MIN = 64;

/** The unacknowledged messages of one message group in one queue, oldest first. */
class Lane {
  readonly key: string;
  /** Those from `first` on are in the lane. */
  private readonly offsets: number[] = [];
  private first = 0;
  /** How many of them are leased or backing off: while there is one, nobody gets the rest. */
  held = 0;
  /** How many of them the receive in progress took. */
  taken = 0;
  /** How many of those it does not deliver: they are gone. */
  dropped = 0;
  /** The receive in progress does not want the next one. */
  isRefused = false;
  /** Selectors that did not want the first of them, and until when that holds. */
  refusedBy: WeakMap<Selector, number> | undefined;

  constructor(key: string) {
    this.key = key;
  }

  get size(): number {
    return this.offsets.length - this.first;
  }

  /** The offset so many places behind the oldest one. */
  at(place: number): number {
    return this.offsets[this.first + place]!;
  }

  add(offset: number): void {
    this.offsets.push(offset);
  }

  /** Mostly one of the oldest, so those before it move up, not the many behind it. @returns its place */
  remove(offset: number): number {
    const { offsets, first } = this;
    const i = offsets.indexOf(offset, first);
    offsets.copyWithin(first + 1, first, i);
    this.first++;
    if (this.first >= SPARE_MIN && this.first * 2 > offsets.length) {
      offsets.splice(0, this.first);
      this.first = 0;
    }
    return i - first;
  }
}

/** Order inside message groups: a lane hands out its messages from the front, and only while none of them is held. */
export class FifoLanes {
  private readonly lanes = new Map<string, Lane>();
  private readonly laneOf = new Map<number, Lane>();
  private readonly heldOffsets = new Set<number>();
  /** Lanes worth a look, in the order they became so. */
  private readonly ready = new Set<Lane>();
  private hasRefusals = false;
  private current: Lane | undefined;
  private preferred: Lane | undefined;
  /** How many messages of one lane the receive in progress may take. */
  private perLaneMax = Infinity;
  /** Lanes the receive in progress took from. */
  private readonly touched: Lane[] = [];

  /** @param key the message group; empty for what has none and is to be in order, too */
  add(offset: number, key: string): void {
    let lane = this.lanes.get(key);
    if (lane === undefined) this.lanes.set(key, (lane = new Lane(key)));
    lane.add(offset);
    this.laneOf.set(offset, lane);
    if (lane.held === 0) this.ready.add(lane);
  }

  /** Whether the message is in a lane: it is unacknowledged, and has to be in order. */
  has(offset: number): boolean {
    return this.laneOf.has(offset);
  }

  get isEmpty(): boolean {
    return this.laneOf.size === 0;
  }

  /** The message group of an unacknowledged message; empty for none. */
  keyOf(offset: number): string {
    return this.laneOf.get(offset)?.key ?? '';
  }

  hold(offset: number): void {
    const lane = this.laneOf.get(offset);
    if (lane === undefined || this.heldOffsets.has(offset)) return;
    this.heldOffsets.add(offset);
    lane.held++;
    // Its attempts may be used up when it comes back.
    lane.refusedBy = undefined;
  }

  /** The lease or the backoff ended. */
  unhold(offset: number): void {
    const lane = this.laneOf.get(offset);
    if (lane === undefined || !this.heldOffsets.delete(offset)) return;
    if (--lane.held === 0) this.ready.add(lane);
  }

  /** The message is acknowledged or dead. */
  remove(offset: number): void {
    const lane = this.laneOf.get(offset);
    if (lane === undefined) return;
    this.laneOf.delete(offset);
    const place = lane.remove(offset);
    if (place === 0) lane.refusedBy = undefined;
    if (place < lane.taken) lane.taken--;
    if (this.heldOffsets.delete(offset)) lane.held--;
    if (lane.size === 0) {
      this.lanes.delete(lane.key);
      this.ready.delete(lane);
    } else if (lane.held === 0) this.ready.add(lane);
  }

  beginReceive(perLaneMax: number): void {
    this.perLaneMax = perLaneMax;
  }

  /** The next message that may be delivered, -1 for none. What was taken is not handed out again before `endReceive`. */
  take(): number {
    // Most groups have no message groups, or none that waits.
    if (this.current === undefined && this.ready.size === 0) return -1;
    for (;;) {
      const lane = this.current ?? this.nextReady();
      if (lane === undefined) return -1;
      this.current = lane;
      if (this.hasMore(lane)) return lane.at(lane.taken++);
      this.current = undefined;
    }
  }

  /** What was taken is not for the receive in progress, but gone. */
  drop(offset: number): void {
    const lane = this.laneOf.get(offset);
    if (lane !== undefined) lane.dropped++;
  }

  /** What was taken last cannot be delivered yet: the next receive gets it first. */
  putBack(): void {
    this.current!.taken--;
    this.preferred = this.current;
  }

  /** How many messages nobody has or waits to get back. */
  get waiting(): number {
    return this.laneOf.size - this.heldOffsets.size;
  }

  /** Until when the selector does not want what was taken last, as far as it said so before. */
  refusedUntil(selector: Selector): number {
    const lane = this.current!;
    return lane.taken === 1 ? (lane.refusedBy?.get(selector) ?? 0) : 0;
  }

  /** What was taken last is not wanted, and so nothing of its lane behind it. */
  refuse(selector: Selector, until: number): void {
    const lane = this.current!;
    if (lane.taken === 1) {
      (lane.refusedBy ??= new WeakMap()).set(selector, until);
      this.hasRefusals = true;
    }
    lane.taken--;
    lane.isRefused = true;
    this.current = undefined;
  }

  /** What selectors refused may be gone. */
  forgetRefusals(): void {
    if (!this.hasRefusals) return;
    this.hasRefusals = false;
    for (const lane of this.lanes.values()) lane.refusedBy = undefined;
  }

  /** Ends the receive in progress: lanes that were looked at but not leased are ready again. */
  endReceive(): void {
    for (const lane of this.touched) {
      lane.taken = 0;
      lane.dropped = 0;
      lane.isRefused = false;
      if (lane.held === 0 && lane.size > 0) this.ready.add(lane);
    }
    this.touched.length = 0;
    this.current = undefined;
  }

  private nextReady(): Lane | undefined {
    const { preferred } = this;
    this.preferred = undefined;
    if (preferred !== undefined && this.ready.has(preferred) && this.begin(preferred)) return preferred;
    for (const lane of this.ready) if (this.begin(lane)) return lane;
    return undefined;
  }

  private hasMore({ taken, dropped, size }: Lane): boolean {
    return taken < size && taken - dropped < this.perLaneMax;
  }

  /** Whether there is something to take from the lane. */
  private begin(lane: Lane): boolean {
    this.ready.delete(lane);
    if (lane.held > 0 || lane.isRefused || !this.hasMore(lane)) return false;
    // A lane comes back within one receive when a message was admitted behind those it took.
    if (lane.taken === 0) this.touched.push(lane);
    return true;
  }
}
