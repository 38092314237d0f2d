import type { GroupOrder } from '../../../../core/model/consumer-group.ts';
import type { GroupState, ReceiveRequest } from '../../../../core/ports/message-engine.ts';
import type { LeaseRecord } from '../log/record-log.ts';
import type { ReadableQueue } from '../queue/message-queue.ts';
import { Attempts } from './attempts.ts';
import type { ConsumptionSnapshot } from './consumption-snapshot.ts';
import { FifoLanes } from './fifo-lanes.ts';
import { AVAILABLE, PopWindow } from './pop-window.ts';
import { Selections, type Position, type Selection } from './selection.ts';
import { VisibilityHeap } from './visibility-heap.ts';

/** Unacknowledged messages one group may have in one queue; beyond it the group has to acknowledge first. */
const WINDOW_MAX = 65_536;
/**
 * New messages one receive looks at in search of a message group that is not held; and messages that selectors may leave to
 * others: beyond it those have to be taken first.
 */
const LOOK_AHEAD_MAX = 4096;

/** Epochs of leases after a start are beyond all of before it, logged or not. */
export interface Epochs {
  base: number;
}

/**
 * One consumer group's progress in one queue. `next` proposes, the engine writes a record, and the `apply` methods do it;
 * those are functions of the record alone, so that replaying the log gives the same state.
 */
export class Consumption {
  readonly queue: ReadableQueue;
  /** Whether it changed since the last checkpoint. */
  isDirty = false;
  /** Records up to this one are in the checkpoint it was read from. */
  savedSequence = 0;
  /** The offset whose message `next` needs loaded before it can go on; -1 when that was not why it ended. */
  missing = -1;
  /** Below it everything that is not in the window yet counts as acknowledged. */
  purgedTo = 0;
  private window: PopWindow;
  private heap = new VisibilityHeap();
  private selections: Selections | undefined;
  /**
   * What has to be in order. Not in concurrent groups, nor while a log is replayed, since message groups stand in messages that
   * would have to be loaded.
   */
  private lanes: FifoLanes | undefined;
  private readonly order: GroupOrder;
  private readonly epochs: Epochs;
  private epoch: number;
  private readonly attempts = new Attempts();
  /** Before the lanes are there: message groups of messages that are out, which retention may have removed since. */
  private knownGroups = new Map<number, string>();
  private lookedAt = 0;
  /** When the first message expires that holds up its message group, because the last receive did not want it. */
  private refusedUntil = Infinity;

  /** @param lastEpoch the last one of what this takes the place of: its receipts must not come to life again */
  constructor(queue: ReadableQueue, start: number, order: GroupOrder, epochs: Epochs, lastEpoch = 0) {
    this.queue = queue;
    this.epochs = epochs;
    this.epoch = lastEpoch;
    this.window = new PopWindow(start);
    this.order = order;
  }

  static restore(queue: ReadableQueue, snapshot: ConsumptionSnapshot, epochs: Epochs): Consumption {
    const restored = new Consumption(queue, snapshot.floor, snapshot.order, epochs, snapshot.epoch);
    restored.purgedTo = snapshot.purgedTo;
    restored.window.restore(snapshot.cursor, snapshot.pending);
    for (const { offset, visibleAt } of snapshot.pending) {
      if (visibleAt !== AVAILABLE && visibleAt !== Infinity) restored.heap.push(visibleAt, offset);
    }
    for (const [attemptId, attempt] of snapshot.attempts) restored.attempts.remember(attemptId, attempt);
    restored.knownGroups = new Map(snapshot.messageGroups);
    return restored;
  }

  /** Puts the unacknowledged messages that have to be in order in their lanes. Before that nothing can be received. */
  async openLanes(): Promise<void> {
    if (this.order === 'concurrent' || this.lanes !== undefined) return;
    const groups: (string | undefined)[] = [];
    const offsets = [...this.window.pending()];
    for (const offset of offsets) {
      groups.push(this.knownGroups.get(offset) ?? (await this.loadMessageGroup(offset)));
    }
    this.knownGroups.clear();
    const lanes = (this.lanes = new FifoLanes());
    offsets.forEach((offset, i) => {
      const isWaiting = this.window.isWaiting(offset);
      this.enlist(lanes, offset, groups[i]);
      if (!lanes.has(offset)) {
        if (isWaiting) this.window.pass(offset);
      } else if (!isWaiting) lanes.hold(offset);
    });
  }

  /** Puts the message in its lane, where it has to be in order. */
  private enlist(lanes: FifoLanes, offset: number, messageGroup = ''): void {
    if (messageGroup !== '' || this.order === 'fifo') lanes.add(offset, messageGroup);
  }

  /** A message that cannot be read must not stop the start: whoever receives it gets the error. */
  private async loadMessageGroup(offset: number): Promise<string | undefined> {
    // Of what was out, or available, there would be a record if it had one.
    if (this.order === 'messageGroup' && !this.window.isWaiting(offset)) return undefined;
    try {
      while (!this.queue.isLoaded(offset)) await this.queue.load(offset);
    } catch {
      return undefined;
    }
    return this.queue.get(offset)?.messageGroup;
  }

  /** For a group that starts to read: there are no unacknowledged messages. */
  openEmptyLanes(): void {
    if (this.order !== 'concurrent') this.lanes = new FifoLanes();
  }

  beginReceive(now: number, { select, perMessageGroupMax = Infinity, member }: Partial<ReceiveRequest> = {}): void {
    this.lookedAt = 0;
    this.missing = -1;
    this.refusedUntil = Infinity;
    this.lanes?.beginReceive(perMessageGroupMax, member);
    if (select !== undefined) this.collectDue(now);
    if (this.heap.size > 1024 && this.heap.size > 4 * this.window.inflight) {
      this.heap.keepOnly((time, offset) => this.window.isScheduled(offset, time));
    }
  }

  /** The next offset that may be leased, -1 for none. Every offset it gives must be leased or settled by the caller. */
  next(now: number, selection?: Selection): number {
    return selection === undefined ? this.nextOfAll(now) : this.nextSelected(now, selection);
  }

  /** The offset `next` gave will not be delivered, but retired. */
  drop(offset: number): void {
    this.lanes?.drop(offset);
  }

  endReceive(): void {
    this.lanes?.endReceive();
  }

  /** For whom messages wait that nobody else gets. */
  readyMembers(): Iterable<object> {
    return this.lanes?.readyMembers() ?? [];
  }

  /** Messages were removed, of which selectors may have refused some: their message groups go on. */
  messagesRemoved(): void {
    this.lanes?.forgetRefusals();
  }

  /** First offset not acknowledged. */
  get floor(): number {
    return this.window.floor;
  }

  get lastEpoch(): number {
    return this.epoch;
  }

  /**
   * When there is something new to receive, if nothing else happens; Infinity for never.
   * @param isSelective for the last receive, which had a selector and left what is available to others
   */
  nextVisibleAt(isSelective: boolean): number {
    if (!isSelective && this.window.available > 0) return AVAILABLE;
    while (this.heap.size > 0 && !this.window.isScheduled(this.heap.topOffset, this.heap.topTime)) this.heap.pop();
    return isSelective ? Math.min(this.heap.topTime, this.refusedUntil) : this.heap.topTime;
  }

  attemptCount(offset: number): number {
    return this.window.attempts(offset);
  }

  epochOf(offset: number): number {
    return this.window.epoch(offset);
  }

  /** Whether a receipt of that epoch still stands for a live lease. */
  isLeased(offset: number, epoch: number, now: number): boolean {
    const { window } = this;
    return window.has(offset) && window.epoch(offset) === epoch && window.isLeased(offset, now);
  }

  visibleAt(offset: number): number {
    return this.window.visibleAt(offset);
  }

  /** What a receive with this attempt id got, as far as it is still leased; undefined when there is nothing to repeat. */
  repeatAttempt(attemptId: string, now: number): number[] | undefined {
    const attempt = this.attempts.get(attemptId);
    const live = attempt?.offsets.filter((offset, i) => this.isLeased(offset, attempt.epochs[i]!, now));
    return live !== undefined && live.length > 0 ? live : undefined;
  }

  /** The message groups of messages about to be leased, empty for none; undefined where there is no order to keep. */
  messageGroupsOf(offsets: readonly number[]): string[] | undefined {
    const { lanes } = this;
    if (lanes === undefined || !offsets.some((offset) => lanes.has(offset))) return undefined;
    return offsets.map((offset) => lanes.keyOf(offset));
  }

  applyLease({ offsets, until, attemptId, messageGroups, isMembers }: LeaseRecord): void {
    const firstEpoch = Math.max(this.epoch + 1, this.epochs.base);
    if (this.lanes === undefined) messageGroups?.forEach((group, i) => this.knownGroups.set(offsets[i]!, group));
    for (const offset of offsets) {
      this.admitThrough(offset);
      this.nextEpoch();
      // While a log is replayed the queue may have lost what the record leased.
      if (!this.window.has(offset)) continue;
      this.window.lease(offset, until, this.epoch, isMembers);
      this.heap.push(until, offset);
      this.lanes?.hold(offset);
    }
    if (attemptId === undefined) return;
    this.attempts.remember(attemptId, { offsets, epochs: offsets.map((_, i) => firstEpoch + i) });
  }

  /** A process started: leases of members ended with the one before. @returns whether there were some */
  applyStart(): boolean {
    const ended = this.window.endMembersLeases();
    for (const offset of ended) {
      const hasLane = this.lanes?.has(offset) ?? (this.order === 'fifo' || (this.knownGroups.get(offset) ?? '') !== '');
      if (hasLane) this.lanes?.unhold(offset);
      else this.window.pass(offset);
    }
    return ended.length > 0;
  }

  applyAck(offset: number): void {
    this.admitThrough(offset);
    if (!this.window.has(offset)) return;
    this.window.acknowledge(offset);
    this.lanes?.remove(offset);
    if (this.purgedTo > this.window.cursor) this.window.skipTo(this.purgedTo);
  }

  /** @returns the epoch of the receipt that is good from now on */
  applyExtend(offset: number, until: number, keepReceipt: boolean): number {
    const epoch = keepReceipt ? this.window.epoch(offset) : this.nextEpoch();
    if (!this.window.has(offset)) return epoch;
    this.window.reschedule(offset, until, epoch);
    this.heap.push(until, offset);
    return epoch;
  }

  applyRelease(offset: number, visibleAt: number, countAttempt: boolean): void {
    if (!this.window.has(offset)) return;
    // Epoch 0 is on no receipt: nobody holds it until it is leased again.
    this.window.reschedule(offset, visibleAt, 0);
    this.heap.push(visibleAt, offset);
    this.lanes?.pause(offset);
    if (!countAttempt) this.window.uncountAttempt(offset);
  }

  /** Goes on at the offset; what was out is forgotten and its receipts are void. */
  applySeek(offset: number): void {
    this.window = new PopWindow(offset);
    this.heap = new VisibilityHeap();
    this.selections = undefined;
    if (this.lanes !== undefined) this.lanes = new FifoLanes();
    this.attempts.clear();
    this.purgedTo = 0;
  }

  /** Acknowledges what is below the offset and not leased. */
  applyPurge(to: number, at: number): void {
    const { window } = this;
    for (const offset of window.pending()) {
      if (offset >= to || this.window.isLeased(offset, at)) continue;
      window.acknowledge(offset);
      this.lanes?.remove(offset);
    }
    this.purgedTo = Math.max(this.purgedTo, to);
    window.skipTo(this.purgedTo);
  }

  /** @param now for who wants to know what is leased */
  state(queueId: number, now = Infinity): GroupState {
    const { floor, cursor, inflight } = this.window;
    const unread = Math.max(0, this.queue.visible - Math.max(cursor, this.queue.first, this.purgedTo));
    let leased = 0;
    let undelivered = 0;
    for (const offset of this.window.pending()) {
      if (this.window.isLeased(offset, now)) leased++;
      else if (this.window.isPassed(offset) && this.window.attempts(offset) === 0) undelivered++;
    }
    return { queue: queueId, floor, cursor, inflight: inflight - undelivered, leased, lag: unread + inflight };
  }

  /** Everything that decides its future. */
  snapshot(): ConsumptionSnapshot {
    const { floor, cursor } = this.window;
    const pending = this.window.snapshot();
    const { epoch, order, purgedTo, lanes } = this;
    const out = pending.filter(({ offset, visibleAt }) => visibleAt !== Infinity && lanes?.has(offset) === true);
    const messageGroups = out.map(({ offset }) => [offset, lanes!.keyOf(offset)] as const);
    return { floor, cursor, epoch, order, purgedTo, pending, attempts: this.attempts.entries, messageGroups };
  }

  private nextEpoch(): number {
    return (this.epoch = Math.max(this.epoch + 1, this.epochs.base));
  }

  private nextOfAll(now: number): number {
    if (this.window.available > 0) return this.takePassed();
    const due = this.takeDue(now);
    // What comes back goes first, also when it has to be loaded before that.
    if (due !== -1 || this.missing !== -1) return due;
    return this.lanes === undefined ? this.admitNext() : this.nextInOrder(this.lanes, now);
  }

  private nextInOrder(lanes: FifoLanes, now: number): number {
    for (;;) {
      const first = this.takeFirst(lanes, now);
      if (first !== -1 || this.missing !== -1) return first;
      if (this.lookedAt++ >= LOOK_AHEAD_MAX) return -1;
      const offset = this.admitNext();
      if (offset === -1 || !lanes.has(offset)) return offset;
    }
  }

  /**
   * The first message of a lane. A message group goes on only with its oldest one: where that is not wanted it holds up its
   * own group and no other.
   */
  private takeFirst(lanes: FifoLanes, now: number, selection?: Selection): number {
    for (let offset = lanes.take(); offset !== -1; offset = lanes.take()) {
      if (selection !== undefined && this.isRefused(lanes, now, selection)) continue;
      if (!this.isLoaded(offset)) {
        lanes.putBack();
        return -1;
      }
      if (selection === undefined || selection.isWanted(offset)) return offset;
      this.refuse(lanes, selection, this.queue.get(offset)?.expiresAt ?? 0);
    }
    return -1;
  }

  /** Whether the selector did not want what was taken last, when it looked before; it need not be loaded again for that. */
  private isRefused(lanes: FifoLanes, now: number, selection: Selection): boolean {
    const until = lanes.refusedUntil(selection.selector);
    if (until <= now) return false;
    this.refuse(lanes, selection, until);
    return true;
  }

  /** @param expiresAt its message group goes on then; 0 for never */
  private refuse(lanes: FifoLanes, { selector }: Selection, expiresAt: number): void {
    const until = expiresAt === 0 ? Infinity : expiresAt;
    this.refusedUntil = Math.min(this.refusedUntil, until);
    lanes.refuse(selector, until);
  }

  /** The next message the selector wants; others are left, available, to whoever asks for them. */
  private nextSelected(now: number, selection: Selection): number {
    const selections = (this.selections ??= new Selections());
    const { window, lanes } = this;
    const position = selections.position(selection.selector, window.floor);
    const known = this.nextKnown(selections, position, selection);
    if (known !== undefined) return known;
    for (;;) {
      const first = lanes === undefined ? -1 : this.takeFirst(lanes, now, selection);
      if (first !== -1 || this.missing !== -1) return first;
      if (window.available + (lanes?.waiting ?? 0) >= LOOK_AHEAD_MAX) break;
      if (lanes !== undefined && this.lookedAt++ >= LOOK_AHEAD_MAX) return -1;
      const offset = this.admitNext();
      if (offset === -1) return -1;
      position.lookedTo = window.cursor;
      if (lanes?.has(offset) === true) continue;
      if (selection.isWanted(offset)) return offset;
      window.pass(offset);
    }
    if (!selections.sweep(position, window.floor, now)) return -1;
    return this.nextKnown(selections, position, selection) ?? -1;
  }

  /** Of those passed by the cursor. @returns -1 where it has to be loaded, undefined for none */
  private nextKnown(selections: Selections, position: Position, selection: Selection): number | undefined {
    const { window } = this;
    let offset = selections.nextReturned(position);
    for (; offset !== undefined; offset = selections.nextReturned(position)) {
      const isNew = offset >= position.lookedTo;
      if (!isNew && window.isAvailable(offset) && !this.isLoaded(offset)) return -1;
      position.returnsSeen++;
      if (!isNew && this.takeIfWanted(offset, selection)) return offset;
    }
    while (position.lookedTo < window.cursor) {
      const at = position.lookedTo;
      if (window.isAvailable(at) && !this.isLoaded(at)) return -1;
      position.lookedTo++;
      if (this.takeIfWanted(at, selection)) return at;
    }
    return undefined;
  }

  private takeIfWanted(offset: number, selection: Selection): boolean {
    if (!this.window.isAvailable(offset) || !selection.isWanted(offset)) return false;
    this.window.wait(offset);
    return true;
  }

  /** What is available a receive without a selector gets first, the oldest first of all. */
  private takePassed(): number {
    const offset = this.window.firstAvailable;
    if (offset === -1 || !this.isLoaded(offset)) return -1;
    this.window.wait(offset);
    return offset;
  }

  /** What came back by now is there for every selector. */
  private collectDue(now: number): void {
    const selections = (this.selections ??= new Selections());
    while (this.heap.topTime <= now) {
      const { topTime, topOffset } = this.heap;
      this.heap.pop();
      if (!this.window.isScheduled(topOffset, topTime) || this.returnToLane(topOffset)) continue;
      this.window.pass(topOffset);
      selections.addReturned(topOffset);
    }
  }

  /** An ended lease frees its lane, whose order decides who is next, not the time. @returns whether the message has one */
  private returnToLane(offset: number): boolean {
    const { lanes } = this;
    if (lanes?.has(offset) !== true) return false;
    this.window.wait(offset);
    lanes.unhold(offset);
    return true;
  }

  /** Takes the next visible message into the window, -1 when there is none or the window is full. */
  private admitNext(): number {
    const { window, queue } = this;
    while (window.cursor < queue.visible && window.size < WINDOW_MAX) {
      if (!this.isLoaded(window.cursor)) return -1;
      const offset = this.admit();
      if (window.has(offset)) return offset;
    }
    return -1;
  }

  /**
   * Replay: the cursor follows the record. What lies between was proposed but not decided when the process ended, so it is
   * visible at once.
   */
  private admitThrough(offset: number): void {
    while (this.window.cursor <= offset) {
      const admitted = this.admit();
      if (this.order !== 'concurrent' || admitted === offset || !this.window.has(admitted)) continue;
      this.window.pass(admitted);
    }
  }

  /** What was removed or purged before the group saw it counts as acknowledged. */
  private admit(): number {
    const offset = this.window.admit();
    if (offset < this.queue.first || offset < this.purgedTo) this.window.acknowledge(offset);
    else if (this.lanes !== undefined) this.enlist(this.lanes, offset, this.queue.get(offset)?.messageGroup);
    return offset;
  }

  /**
   * The message whose lease or backoff ended first, -1 for none; it waits for its next lease from here on. What has a lane
   * returns there.
   */
  private takeDue(now: number): number {
    while (this.heap.topTime <= now) {
      const time = this.heap.topTime;
      const offset = this.heap.topOffset;
      // The heap may hold the same moment twice (extended to where it was): the second is void once the message waits.
      if (!this.window.isScheduled(offset, time) || this.returnToLane(offset)) this.heap.pop();
      else if (!this.isLoaded(offset)) return -1;
      else {
        this.heap.pop();
        this.window.wait(offset);
        return offset;
      }
    }
    return -1;
  }

  private isLoaded(offset: number): boolean {
    if (this.queue.isLoaded(offset)) return true;
    this.missing = offset;
    return false;
  }
}
