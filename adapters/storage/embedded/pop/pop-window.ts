import type { PendingOffset } from './consumption-snapshot.ts';
import { VisibilityHeap } from './visibility-heap.ts';

/** Marks of the visibleAt column. Real times lie between. */
const ACKNOWLEDGED = 0;
/** Passed by the cursor, not leased, for whoever asks next. A time that has always passed. */
export const AVAILABLE = 1;
/** Passed by the cursor, not leased: waiting for its message group, or proposed to the receive in progress. */
const WAITING = Infinity;

const FIRST_CAPACITY = 64;
/** No more are counted: a checkpoint has 15 bits for them. */
const ATTEMPTS_MAX = 0x7fff;

/** One group's view of one queue between the first unacknowledged offset and the next never delivered: a ring of columns. */
export class PopWindow {
  /** First offset not acknowledged. */
  floor: number;
  /** Next offset never delivered. */
  cursor: number;
  inflight = 0;
  /** How many are available. */
  available = 0;
  private mask = FIRST_CAPACITY - 1;
  private visibleAts = new Float64Array(FIRST_CAPACITY);
  private attemptCounts = new Uint16Array(FIRST_CAPACITY);
  private epochs = new Float64Array(FIRST_CAPACITY);
  /** 1: leased by a member. */
  private members = new Uint8Array(FIRST_CAPACITY);
  /** What is available, by offset; some of it is not any more. */
  private readonly passed = new VisibilityHeap();

  constructor(start: number) {
    this.floor = start;
    this.cursor = start;
  }

  get size(): number {
    return this.cursor - this.floor;
  }

  /** Whether the offset is in the window and not acknowledged. */
  has(offset: number): boolean {
    return offset >= this.floor && offset < this.cursor && this.visibleAts[offset & this.mask] !== ACKNOWLEDGED;
  }

  /** When a delivered message comes back. */
  visibleAt(offset: number): number {
    return this.visibleAts[offset & this.mask]!;
  }

  attempts(offset: number): number {
    return this.attemptCounts[offset & this.mask]!;
  }

  epoch(offset: number): number {
    return this.epochs[offset & this.mask]!;
  }

  isWaiting(offset: number): boolean {
    return this.visibleAt(offset) === WAITING;
  }

  isAvailable(offset: number): boolean {
    return offset >= this.floor && offset < this.cursor && this.visibleAt(offset) === AVAILABLE;
  }

  /** Whether a receipt of it is good. */
  isLeased(offset: number, now: number): boolean {
    return !this.isWaiting(offset) && this.epoch(offset) !== 0 && this.visibleAt(offset) > now;
  }

  /** Whether nobody has it or waits to get it back. */
  isPassed(offset: number): boolean {
    return this.isWaiting(offset) || this.isAvailable(offset);
  }

  isScheduled(offset: number, time: number): boolean {
    return this.has(offset) && this.visibleAt(offset) === time;
  }

  /** Takes the offset at the cursor into the window, not yet delivered. */
  admit(): number {
    if (this.size === this.mask + 1) this.grow();
    const offset = this.cursor++;
    const i = offset & this.mask;
    this.mark(i, WAITING);
    this.attemptCounts[i] = 0;
    this.epochs[i] = 0;
    this.inflight++;
    return offset;
  }

  /** Goes on at the offset where that is ahead and nothing is unacknowledged. */
  skipTo(offset: number): void {
    if (this.floor < this.cursor || offset <= this.cursor) return;
    this.floor = offset;
    this.cursor = offset;
  }

  /** @param isMembers a member has it: the lease ends with the process */
  lease(offset: number, until: number, epoch: number, isMembers: boolean): void {
    const i = offset & this.mask;
    this.members[i] = isMembers ? 1 : 0;
    this.mark(i, until);
    this.attemptCounts[i] = Math.min(this.attemptCounts[i]! + 1, ATTEMPTS_MAX);
    this.epochs[i] = epoch;
  }

  /** Changes when a delivered message comes back. */
  reschedule(offset: number, visibleAt: number, epoch: number): void {
    const i = offset & this.mask;
    this.mark(i, visibleAt);
    this.epochs[i] = epoch;
  }

  /** Ends the leases of members: their messages wait. @returns which */
  endMembersLeases(): number[] {
    const ended = [];
    for (const offset of this.pending()) {
      if (!this.isMembersLease(offset)) continue;
      this.reschedule(offset, WAITING, 0);
      ended.push(offset);
    }
    return ended;
  }

  /** Makes a message available that is not leased. */
  pass(offset: number): void {
    this.reschedule(offset, AVAILABLE, 0);
    const { passed } = this;
    passed.push(AVAILABLE, offset);
    if (passed.size > 1024 && passed.size > 4 * this.available) passed.keepOnly((_, at) => this.isAvailable(at));
  }

  /** The oldest message that is available, -1 for none. */
  get firstAvailable(): number {
    const { passed } = this;
    while (passed.size > 0 && !this.isAvailable(passed.topOffset)) passed.pop();
    return passed.size === 0 ? -1 : passed.topOffset;
  }

  wait(offset: number): void {
    this.mark(offset & this.mask, WAITING);
  }

  uncountAttempt(offset: number): void {
    const i = offset & this.mask;
    this.attemptCounts[i] = Math.max(this.attemptCounts[i]! - 1, 0);
  }

  acknowledge(offset: number): void {
    this.mark(offset & this.mask, ACKNOWLEDGED);
    this.inflight--;
    while (this.floor < this.cursor && this.visibleAts[this.floor & this.mask] === ACKNOWLEDGED) this.floor++;
  }

  /** Goes on where a checkpoint was taken: everything from the floor to the cursor but `pending` is acknowledged. */
  restore(cursor: number, pending: Iterable<PendingOffset>): void {
    while (this.cursor < cursor) {
      // First: it may put larger columns in the place of these.
      const offset = this.admit();
      this.visibleAts[offset & this.mask] = ACKNOWLEDGED;
    }
    this.inflight = 0;
    for (const { offset, attempts, epoch, visibleAt, isMembers } of pending) {
      const i = offset & this.mask;
      this.mark(i, visibleAt);
      this.attemptCounts[i] = attempts;
      this.epochs[i] = epoch;
      this.members[i] = isMembers ? 1 : 0;
      if (visibleAt === AVAILABLE) this.passed.push(AVAILABLE, offset);
      this.inflight++;
    }
  }

  /** All unacknowledged offsets, in order. */
  *pending(): Generator<number> {
    for (let offset = this.floor; offset < this.cursor; offset++) if (this.has(offset)) yield offset;
  }

  snapshot(): PendingOffset[] {
    return [...this.pending()].map((offset) => ({
      offset,
      attempts: this.attempts(offset),
      epoch: this.epoch(offset),
      visibleAt: this.visibleAt(offset),
      isMembers: this.isMembersLease(offset),
    }));
  }

  private isMembersLease(offset: number): boolean {
    return this.members[offset & this.mask] === 1 && this.epoch(offset) !== 0 && !this.isPassed(offset);
  }

  private mark(i: number, visibleAt: number): void {
    if (this.visibleAts[i] === AVAILABLE) this.available--;
    if (visibleAt === AVAILABLE) this.available++;
    this.visibleAts[i] = visibleAt;
  }

  private grow(): void {
    const capacity = (this.mask + 1) * 2;
    const visibleAts = new Float64Array(capacity);
    const attemptCounts = new Uint16Array(capacity);
    const epochs = new Float64Array(capacity);
    const members = new Uint8Array(capacity);
    for (let offset = this.floor; offset < this.cursor; offset++) {
      const from = offset & this.mask;
      const to = offset & (capacity - 1);
      visibleAts[to] = this.visibleAts[from]!;
      attemptCounts[to] = this.attemptCounts[from]!;
      epochs[to] = this.epochs[from]!;
      members[to] = this.members[from]!;
    }
    this.visibleAts = visibleAts;
    this.attemptCounts = attemptCounts;
    this.epochs = epochs;
    this.members = members;
    this.mask = capacity - 1;
  }
}
