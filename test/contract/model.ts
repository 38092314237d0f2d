import type { GroupOrder } from '../../core/model/consumer-group.ts';
import type { Delivery } from '../../core/ports/message-engine.ts';

/** A message the engine confirmed. */
export interface Sent {
  readonly id: string;
  readonly topic: string;
  readonly queue: number;
  readonly offset: number;
  readonly expiresAt: number;
  readonly messageGroup: string | undefined;
}

/** One message queue or light queue: what was stored in it, in order. */
export interface Stream {
  readonly key: string;
  readonly sent: Sent[];
}

/** What one group did with one message of one stream. */
interface Progress {
  attempts: number;
  isDone: boolean;
  /** When it comes back; 0 while it is not out. */
  visibleAt: number;
  receipt: string | undefined;
  /** Who has it, while the engine knows. */
  member: object | undefined;
}

export class Violation extends Error {}

/** Retention: the first offset left, by message queue. */
export type Firsts = ReadonlyMap<string, number>;

export function queueKey(topic: string, queue: number): string {
  return `${topic}/${queue}`;
}

export function isGone(sent: Sent, now: number, firsts: Firsts): boolean {
  if (sent.expiresAt !== 0 && sent.expiresAt <= now) return true;
  return sent.offset < (firsts.get(queueKey(sent.topic, sent.queue)) ?? 0);
}

/** The reference: what a consumer group may get, in the words of the port and nothing of an engine. */
export class GroupModel {
  readonly name: string;
  readonly order: GroupOrder;
  readonly attemptsMax: number;
  /** By message id: how many copies the dead letter topic has at least and at most. */
  readonly dead = new Map<string, { least: number; most: number }>();
  private readonly toleranceMs: number;
  private readonly progress = new Map<string, Progress>();
  private readonly byReceipt = new Map<string, { readonly stream: Stream; readonly sent: Sent }>();
  private readonly attempts = new Map<string, { readonly sent: Sent; readonly receipt: string }[]>();

  constructor(name: string, order: GroupOrder, attemptsMax: number, toleranceMs: number) {
    this.name = name;
    this.order = order;
    this.attemptsMax = attemptsMax;
    this.toleranceMs = toleranceMs;
  }

  /** Checks what a receive gave and takes note of it. */
  deliver(
    streams: readonly Stream[],
    deliveries: readonly Delivery[],
    at: { readonly now: number; readonly leaseMs: number; readonly firstsBefore: Firsts; readonly firsts: Firsts },
    attemptId: string | undefined,
    member?: object,
  ): void {
    if (attemptId !== undefined && this.isRepeat(streams, deliveries, at.now, at.firsts, attemptId)) return;
    const batch = new Set<Sent>();
    for (const delivery of deliveries) {
      const { stream, sent } = locate(streams, delivery);
      const progress = this.of(stream, sent);
      const what = `${this.name} got ${sent.id} of ${stream.key}`;
      if (batch.has(sent)) throw new Violation(`${what} twice in one receive`);
      if (progress.isDone) throw new Violation(`${what} after it was settled for good`);
      if (progress.visibleAt > at.now) throw new Violation(`${what} before ${progress.visibleAt}, at ${at.now}`);
      if (isGone(sent, at.now, at.firstsBefore)) throw new Violation(`${what} although it expired or was removed`);
      if (delivery.attempt !== progress.attempts + 1) {
        throw new Violation(`${what} as attempt ${delivery.attempt} after ${progress.attempts}`);
      }
      if (delivery.attempt > this.attemptsMax) throw new Violation(`${what} more than ${this.attemptsMax} times`);
      this.checkLease(what, delivery, at.now + at.leaseMs);
      if (this.laneOf(sent) !== undefined) this.checkLane(what, stream, sent, batch, member, at.now, at.firsts);
      batch.add(sent);
      this.take(stream, sent, delivery, attemptId, member);
    }
  }

  /** What the group would get right now, of those a member selects; undefined for nothing. */
  deliverable(
    stream: Stream,
    now: number,
    firsts: Firsts,
    isSelected: (sent: Sent) => boolean = () => true,
    member?: object,
  ): Sent | undefined {
    const blocked = new Set<string>();
    const wanted: Sent[] = [];
    for (const sent of stream.sent) {
      const progress = this.of(stream, sent);
      const { isDone, visibleAt, attempts } = progress;
      if (isDone) continue;
      const lane = this.laneOf(sent);
      if (visibleAt > now) {
        if (lane !== undefined && !isHeldBy(progress, member)) blocked.add(lane);
      } else if (attempts < this.attemptsMax && !isGone(sent, now, firsts)) wanted.push(sent);
    }
    const heads = new Set<string>();
    return wanted.find((sent) => {
      const lane = this.laneOf(sent);
      if (lane === undefined) return isSelected(sent);
      if (blocked.has(lane) || heads.has(lane)) return false;
      heads.add(lane);
      return isSelected(sent);
    });
  }

  /** Whether the receipt stands for a live lease. */
  isLive(receipt: string, now: number): boolean {
    const place = this.byReceipt.get(receipt);
    const progress = place && this.of(place.stream, place.sent);
    return progress !== undefined && progress.receipt === receipt && progress.visibleAt > now;
  }

  /** The receipts seen so far, good or not. */
  receipts(): string[] {
    return [...this.byReceipt.keys()];
  }

  acknowledged(receipt: string): void {
    Object.assign(this.progressOf(receipt), { isDone: true, visibleAt: 0, receipt: undefined });
  }

  extended(receipt: string, visibleAt: number, replacement: string | undefined): void {
    const { stream, sent } = this.byReceipt.get(receipt)!;
    const progress = this.of(stream, sent);
    progress.visibleAt = visibleAt;
    progress.receipt = replacement ?? receipt;
    this.byReceipt.set(progress.receipt, { stream, sent });
  }

  released(receipt: string, visibleAt: number, countAttempt: boolean): void {
    const progress = this.progressOf(receipt);
    progress.visibleAt = visibleAt;
    progress.receipt = undefined;
    progress.member = undefined;
    if (!countAttempt) progress.attempts--;
  }

  deadLettered(receipt: string, now: number, firsts: Firsts): void {
    const { sent } = this.byReceipt.get(receipt)!;
    this.acknowledged(receipt);
    this.addDead(sent, isGone(sent, now, firsts) ? 0 : 1, 1);
  }

  /** The engine started again: what members had is there. */
  restarted(): void {
    for (const progress of this.progress.values()) {
      if (progress.member === undefined || progress.receipt === undefined) continue;
      Object.assign(progress, { visibleAt: 0, receipt: undefined, member: undefined });
    }
  }

  /** Everything from the index on is new to the group, everything before is behind it. */
  sought(stream: Stream, index: number, now: number): void {
    stream.sent.forEach((sent, i) => {
      const progress = this.of(stream, sent);
      if (this.isExhausted(progress, now)) this.addDead(sent, 0, 1);
      Object.assign(progress, { attempts: 0, isDone: i < index, visibleAt: 0, receipt: undefined });
    });
  }

  /** At the end of a history: everything was settled, is dead, or is gone. */
  checkDrained(stream: Stream, now: number, firsts: Firsts): void {
    for (const sent of stream.sent) {
      const progress = this.of(stream, sent);
      if (progress.isDone) continue;
      if (this.isExhausted(progress, now)) {
        this.addDead(sent, sent.expiresAt !== 0 || isGone(sent, now, firsts) ? 0 : 1, 1);
      } else if (!isGone(sent, now, firsts)) {
        throw new Violation(`${this.name} never got ${sent.id} of ${stream.key} to the end`);
      }
    }
  }

  /** What the message is in order with; undefined when nothing. */
  private laneOf({ messageGroup }: Sent): string | undefined {
    if (this.order === 'fifo') return messageGroup ?? '';
    return this.order === 'messageGroup' ? messageGroup : undefined;
  }

  private isExhausted(progress: Progress, now: number): boolean {
    return !progress.isDone && progress.attempts >= this.attemptsMax && progress.visibleAt <= now;
  }

  private addDead(sent: Sent, least: number, most: number): void {
    const before = this.dead.get(sent.id) ?? { least: 0, most: 0 };
    this.dead.set(sent.id, { least: before.least + least, most: before.most + most });
  }

  private checkLease(what: string, delivery: Delivery, end: number): void {
    if (delivery.visibleAt < end || delivery.visibleAt > end + this.toleranceMs) {
      throw new Violation(`${what} leased until ${delivery.visibleAt} instead of ${end}`);
    }
    if (this.byReceipt.has(delivery.receipt)) throw new Violation(`${what} with a receipt used before`);
  }

  /** Everything before it in its message group is settled, gone, with the same member, or in the same batch. */
  private checkLane(
    what: string,
    stream: Stream,
    sent: Sent,
    batch: Set<Sent>,
    member: object | undefined,
    now: number,
    firsts: Firsts,
  ): void {
    for (const other of stream.sent) {
      if (other.messageGroup !== sent.messageGroup || other === sent || batch.has(other)) continue;
      const progress = this.of(stream, other);
      if (progress.isDone) continue;
      if (progress.visibleAt > now && isHeldBy(progress, member)) continue;
      if (progress.visibleAt > now) throw new Violation(`${what} while ${other.id} of its message group is out`);
      const isEarlier = stream.sent.indexOf(other) < stream.sent.indexOf(sent);
      if (isEarlier && !isGone(other, now, firsts) && progress.attempts < this.attemptsMax) {
        throw new Violation(`${what} before ${other.id} of its message group`);
      }
    }
  }

  private take(
    stream: Stream,
    sent: Sent,
    delivery: Delivery,
    attemptId: string | undefined,
    member: object | undefined,
  ): void {
    const progress = this.of(stream, sent);
    progress.member = member;
    progress.attempts = delivery.attempt;
    progress.visibleAt = delivery.visibleAt;
    progress.receipt = delivery.receipt;
    this.byReceipt.set(delivery.receipt, { stream, sent });
    if (attemptId === undefined) return;
    const remembered = this.attempts.get(attemptId) ?? [];
    remembered.push({ sent, receipt: delivery.receipt });
    this.attempts.set(attemptId, remembered);
  }

  /** Whether a live earlier answer had to be repeated, and was. */
  private isRepeat(
    streams: readonly Stream[],
    deliveries: readonly Delivery[],
    now: number,
    firsts: Firsts,
    attemptId: string,
  ): boolean {
    const live = (this.attempts.get(attemptId) ?? []).filter(({ sent, receipt }) => {
      const isStored = sent.offset >= (firsts.get(queueKey(sent.topic, sent.queue)) ?? 0);
      return isStored && streams.includes(this.byReceipt.get(receipt)!.stream) && this.isLive(receipt, now);
    });
    if (live.length === 0) return false;
    const wanted = live.map(({ receipt }) => receipt).toSorted();
    const got = deliveries.map(({ receipt }) => receipt).toSorted();
    if (wanted.join() !== got.join()) {
      throw new Violation(
        `${this.name} got [${got.join()}] instead of [${wanted.join()}] for the repeated attempt ${attemptId}`,
      );
    }
    for (const { receipt, attempt, visibleAt } of deliveries) {
      const progress = this.progressOf(receipt);
      if (progress.attempts !== attempt || progress.visibleAt !== visibleAt) {
        throw new Violation(`${this.name}: the repeated ${receipt} changed`);
      }
    }
    return true;
  }

  private progressOf(receipt: string): Progress {
    const { stream, sent } = this.byReceipt.get(receipt)!;
    return this.of(stream, sent);
  }

  private of(stream: Stream, sent: Sent): Progress {
    const key = `${stream.key} ${sent.id}`;
    let progress = this.progress.get(key);
    if (progress === undefined) {
      progress = { attempts: 0, isDone: false, visibleAt: 0, receipt: undefined, member: undefined };
      this.progress.set(key, progress);
    }
    return progress;
  }
}

/** Whether the member may go on with the message group of what is out. */
function isHeldBy({ receipt, member: holder }: Progress, member: object | undefined): boolean {
  return member !== undefined && holder === member && receipt !== undefined;
}

function locate(streams: readonly Stream[], { message }: Delivery): { stream: Stream; sent: Sent } {
  const id = message.body.toString();
  for (const stream of streams) {
    const sent = stream.sent.find((other) => id.startsWith(`${other.id} `) || other.id === id);
    if (sent === undefined) continue;
    if (sent.topic !== message.topic || sent.queue !== message.queue || sent.offset !== message.offset) {
      throw new Violation(`${id} came from ${message.topic}/${message.queue} ${message.offset}`);
    }
    return { stream, sent };
  }
  throw new Violation(`${id} was never confirmed or does not belong to the source`);
}
