import type { TopicSpec } from '../../../../core/model/topic.ts';
import type { Clock } from '../../../../core/ports/clock.ts';
import type { Journal } from '../journal.ts';
import type { LightQueue } from './light-queue.ts';
import type { MessageQueue } from './message-queue.ts';

const SCAN_MS = 10_000;

/** Removes what topics do not have to keep any more. */
export class Retaining {
  private readonly journal: Journal;
  private readonly clock: Clock;
  private readonly onTrimmed: () => void;
  private readonly onScanned: () => void;
  private timer: Disposable | undefined;
  /** References in light queues are being looked for. */
  private isLooking = false;

  constructor(journal: Journal, clock: Clock, onTrimmed: () => void, onScanned: () => void) {
    this.journal = journal;
    this.clock = clock;
    this.onTrimmed = onTrimmed;
    this.onScanned = onScanned;
  }

  start(): void {
    this.timer = this.clock.schedule(SCAN_MS, () => {
      for (const { spec, queues } of this.journal.state.topics.values()) {
        for (const queue of queues) this.retain(queue, spec);
      }
      this.onScanned();
      this.start();
    });
  }

  stop(): void {
    this.timer?.[Symbol.dispose]();
    this.timer = undefined;
  }

  /** Called after every commit to the queue. */
  grew(queue: MessageQueue, spec: TopicSpec): void {
    if (queue.bytes > spec.retention.bytesPerQueue) this.retain(queue, spec);
  }

  private retain(queue: MessageQueue, { retention }: TopicSpec): void {
    if (queue.first === queue.visible) return;
    const consumed = retention.consumed === true ? this.unneededBefore(queue) : 0;
    const before = queue.removableBefore(retention, this.clock.now(), consumed);
    if (before <= queue.first) return;
    this.journal.write({ type: 'trim', queueSerial: queue.serial, before });
    this.onTrimmed();
  }

  /** What neither a group nor a light queue needs any more. */
  private unneededBefore(queue: MessageQueue): number {
    let before = this.consumedBefore(queue);
    // Only whole blocks go, and never the newest.
    if (queue.blocks.length < 2 || queue.blocks[0]!.nextOffset > before) return 0;
    const toLookAt: LightQueue[] = [];
    let areKnown = true;
    for (const lightQueue of this.journal.state.lightQueues.values()) {
      const reference = lightQueue.firstReference(queue.serial);
      if (!lightQueue.hasReferences) areKnown = false;
      else if (reference === undefined || reference >= before) continue;
      else before = reference;
      if (!lightQueue.hasReferences || this.hasMoved(lightQueue)) toLookAt.push(lightQueue);
    }
    if (toLookAt.length > 0 && !this.isLooking) void this.lookFor(toLookAt, queue);
    return areKnown ? before : 0;
  }

  /** Finds what light queues still need, and then looks at the queue again. */
  private async lookFor(lightQueues: readonly LightQueue[], queue: MessageQueue): Promise<void> {
    this.isLooking = true;
    try {
      for (const lightQueue of lightQueues) await lightQueue.findReferences(this.unreadFrom(lightQueue));
    } catch {
      // Entries that cannot be read are tried again; until then everything they may refer to stays.
      return;
    } finally {
      this.isLooking = false;
    }
    const topic = this.journal.state.topics.get(queue.topic);
    if (this.timer !== undefined && topic?.queues.includes(queue) === true) this.retain(queue, topic.spec);
  }

  private hasMoved(lightQueue: LightQueue): boolean {
    return this.unreadFrom(lightQueue) > lightQueue.referencesFrom;
  }

  /** Cursors are known by what was trimmed behind them; groups by what they acknowledged. */
  private unreadFrom(lightQueue: LightQueue): number {
    const floor = this.lowestFloor(lightQueue.serial);
    return floor === Infinity ? lightQueue.first : Math.max(lightQueue.first, floor);
  }

  /** What every group that reads the queue has acknowledged; nothing while no group does. */
  private consumedBefore(queue: MessageQueue): number {
    const lowest = this.lowestFloor(queue.serial);
    return lowest === Infinity ? 0 : lowest;
  }

  /** Infinity while no group reads the queue. */
  private lowestFloor(queueSerial: number): number {
    let lowest = Infinity;
    for (const { consumptions } of this.journal.state.groups.values()) {
      const consumption = consumptions.get(queueSerial);
      if (consumption !== undefined) lowest = Math.min(lowest, consumption.floor);
    }
    return lowest;
  }
}
