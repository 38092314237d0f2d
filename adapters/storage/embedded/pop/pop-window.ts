import { VisibilityHeap } from './visibility-heap.ts';

/** Marks of the visibleAt column. Real times lie between. */
const ACKNOWLEDGED = 0;
/** Passed by the cursor, not leased, for whoever asks next. A time that has always passed. */
export const AVAILABLE = 1;
/** Passed by the cursor, not leased: waiting for its message group, or proposed to the receive in progress. */
const WAITING = Infinity;

const FIRST_CAPACITY = 64;

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

  lease(offset: number, until: number, epoch: number): void {
    const i = offset & this.mask;
    this.mark(i, until);
    this.attemptCounts[i] = Math.min(this.attemptCounts[i]! + 1, 0xffff);
    this.epochs[i] = epoch;
  }

  /** Changes when a delivered message comes back. */
  reschedule(offset: number, visibleAt: number, epoch: number): void {
    const i = offset & this.mask;
    this.mark(i, visibleAt);
    this.epochs[i] = epoch;
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
  restore(
    cursor: number,
    pending: Iterable<{ offset: number; attempts: number; epoch: number; visibleAt: number }>,
  ): void {
    while (this.cursor < cursor) {
      // First: it may put larger columns in the place of these.
      const offset = this.admit();
      this.visibleAts[offset & this.mask] = ACKNOWLEDGED;
    }
    this.inflight = 0;
    for (const { offset, attempts, epoch, visibleAt } of pending) {
      const i = offset & this.mask;
      this.mark(i, visibleAt);
      this.attemptCounts[i] = attempts;
      this.epochs[i] = epoch;
      if (visibleAt === AVAILABLE) this.passed.push(AVAILABLE, offset);
      this.inflight++;
    }
  }

  /** All unacknowledged offsets, in order. */
  *pending(): Generator<number> {
    for (let offset = this.floor; offset < this.cursor; offset++) if (this.has(offset)) yield offset;
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
    for (let offset = this.floor; offset < this.cursor; offset++) {
      const from = offset & this.mask;
      const to = offset & (capacity - 1);
      visibleAts[to] = this.visibleAts[from]!;
      attemptCounts[to] = this.attemptCounts[from]!;
      epochs[to] = this.epochs[from]!;
    }
    this.visibleAts = visibleAts;
    this.attemptCounts = attemptCounts;
    this.epochs = epochs;
    this.mask = capacity - 1;
  }
}
