import type { Selector } from '../../../../core/ports/message-engine.ts';

/** A lane gives back the memory in front of its first message when it is more than this and half of all. */
const SPARE_MIN = 64;

/** The unacknowledged messages of one message group in one queue: how many are out, and those that wait, oldest first. */
class Lane {
  readonly key: string;
  /** Those from `first` on wait. */
  private readonly offsets: number[] = [];
  private first = 0;
  /** How many are leased or backing off: while there is one, only its owner gets more. */
  held = 0;
  /** Who has all that is held, if that is known. */
  owner: object | undefined;
  /** How many of those held back off: while there is one, not even its owner gets more. */
  pausing = 0;
  /** How many of those waiting the receive in progress took. */
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

  /** The offset so many places behind the oldest that waits. */
  at(place: number): number {
    return this.offsets[this.first + place]!;
  }

  add(offset: number): void {
    this.offsets.push(offset);
  }

  /** What was taken out comes back to its place, mostly among the oldest. */
  reinsert(offset: number): void {
    const { offsets } = this;
    const place = this.placeOf(offset);
    if (this.first === 0 || place > this.size / 2) offsets.splice(this.first + place, 0, offset);
    else {
      const first = --this.first;
      offsets.copyWithin(first, first + 1, first + 1 + place);
      offsets[first + place] = offset;
    }
  }

  /** Mostly one of the oldest, so those before it move up, not the many behind it. @returns its place */
  takeOut(offset: number): number {
    const { offsets, first } = this;
    const i = first + this.placeOf(offset);
    offsets.copyWithin(first + 1, first, i);
    this.first++;
    if (this.first >= SPARE_MIN && this.first * 2 > offsets.length) {
      offsets.splice(0, this.first);
      this.first = 0;
    }
    return i - first;
  }

  /** How many are older. */
  private placeOf(offset: number): number {
    const { offsets, first } = this;
    if (offsets[first] === offset) return 0;
    let low = first;
    for (let high = offsets.length; low < high;) {
      const middle = (low + high) >>> 1;
      if (offsets[middle]! < offset) low = middle + 1;
      else high = middle;
    }
    return low - first;
  }
}

/**
 * Order inside message groups: a lane hands out its messages from the front, and only while none of them is held, or to who
 * holds them all.
 */
export class FifoLanes {
  private readonly lanes = new Map<string, Lane>();
  private readonly laneOf = new Map<number, Lane>();
  private readonly heldOffsets = new Set<number>();
  private readonly pausingOffsets = new Set<number>();
  /** Lanes of which nothing is held, in the order they became so. */
  private readonly ready = new Set<Lane>();
  /** Lanes from which only their owner gets something, by owner. */
  private readonly readyFor = new Map<object, Set<Lane>>();
  private hasRefusals = false;
  private current: Lane | undefined;
  private preferred: Lane | undefined;
  /** How many messages of one lane the receive in progress may take. */
  private perLaneMax = Infinity;
  /** Who receives. */
  private member: object | undefined;
  /** Lanes the receive in progress took from. */
  private readonly touched: Lane[] = [];

  /** @param key the message group; empty for what has none and is to be in order, too */
  add(offset: number, key: string): void {
    let lane = this.lanes.get(key);
    if (lane === undefined) this.lanes.set(key, (lane = new Lane(key)));
    lane.add(offset);
    this.laneOf.set(offset, lane);
    this.makeReady(lane);
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
    this.takeOut(lane, offset);
    if (lane.held++ === 0) this.ready.delete(lane);
  }

  /** What is held is nobody's from now on, until `unhold`. */
  pause(offset: number): void {
    const lane = this.laneOf.get(offset);
    if (lane === undefined || !this.heldOffsets.has(offset) || this.pausingOffsets.has(offset)) return;
    this.pausingOffsets.add(offset);
    if (lane.pausing++ === 0) this.unready(lane);
  }

  /** The lease or the backoff ended. */
  unhold(offset: number): void {
    const lane = this.laneOf.get(offset);
    if (lane === undefined || !this.heldOffsets.has(offset)) return;
    lane.reinsert(offset);
    // Its attempts may be used up.
    lane.refusedBy = undefined;
    this.letGo(lane, offset);
  }

  /** The message is acknowledged or dead. */
  remove(offset: number): void {
    const lane = this.laneOf.get(offset);
    if (lane === undefined) return;
    this.laneOf.delete(offset);
    if (this.heldOffsets.has(offset)) this.letGo(lane, offset);
    else this.takeOut(lane, offset);
    if (lane.size > 0 || lane.held > 0) return;
    this.lanes.delete(lane.key);
    this.ready.delete(lane);
  }

  /**
   * @param perLaneMax how many messages of one lane it may take
   * @param member who receives: it may go on with lanes it holds
   */
  beginReceive(perLaneMax: number, member?: object): void {
    this.perLaneMax = perLaneMax;
    this.member = member;
  }

  /** The next message that may be delivered, -1 for none. What was taken is not handed out again before `endReceive`. */
  take(): number {
    // Most groups have no message groups, or none that waits.
    if (this.current === undefined && this.ready.size === 0 && this.readyFor.size === 0) return -1;
    for (;;) {
      const lane = this.current ?? this.nextReady();
      if (lane === undefined) return -1;
      this.current = lane;
      if (this.hasMore(lane)) return lane.at(lane.taken++);
      this.current = undefined;
    }
  }

  /** For whom messages wait that nobody else gets. */
  readyMembers(): Iterable<object> {
    return this.readyFor.keys();
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
      if (lane.held > 0) lane.owner = this.member;
      this.makeReady(lane);
    }
    this.touched.length = 0;
    this.current = undefined;
    this.member = undefined;
  }

  /** Where a receive finds the lane, if somebody may have what waits in it. */
  private makeReady(lane: Lane): void {
    if (lane.size === 0) return;
    if (lane.held === 0) this.ready.add(lane);
    const { owner } = lane;
    if (owner === undefined || lane.pausing > 0) return;
    const own = this.readyFor.get(owner);
    if (own === undefined) this.readyFor.set(owner, new Set([lane]));
    else own.add(lane);
  }

  /** The lane is not for its owner, for now. */
  private unready(lane: Lane): void {
    const own = lane.owner && this.readyFor.get(lane.owner);
    if (own?.delete(lane) === true && own.size === 0) this.readyFor.delete(lane.owner!);
  }

  private letGo(lane: Lane, offset: number): void {
    this.heldOffsets.delete(offset);
    if (this.pausingOffsets.delete(offset)) lane.pausing--;
    if (--lane.held === 0) {
      this.unready(lane);
      lane.owner = undefined;
    }
    this.makeReady(lane);
  }

  private takeOut(lane: Lane, offset: number): void {
    const place = lane.takeOut(offset);
    if (place === 0) lane.refusedBy = undefined;
    if (place < lane.taken) lane.taken--;
    if (lane.size === 0) this.unready(lane);
  }

  private nextReady(): Lane | undefined {
    const { preferred, member } = this;
    const own = member && this.readyFor.get(member);
    if (preferred !== undefined && (this.ready.has(preferred) || own?.has(preferred) === true)) {
      this.preferred = undefined;
      if (this.begin(preferred)) return preferred;
    }
    if (own !== undefined) for (const lane of own) if (this.begin(lane)) return lane;
    for (const lane of this.ready) if (this.begin(lane)) return lane;
    return undefined;
  }

  private hasMore({ taken, dropped, size }: Lane): boolean {
    return taken < size && taken - dropped < this.perLaneMax;
  }

  /** Whether there is something to take from the lane. */
  private begin(lane: Lane): boolean {
    this.ready.delete(lane);
    this.unready(lane);
    if (lane.isRefused || !this.hasMore(lane)) return false;
    // A lane comes back within one receive when a message was admitted behind those it took.
    if (lane.taken === 0) this.touched.push(lane);
    return true;
  }
}
