import type { TopicSpec } from '../../../../core/model/topic.ts';
import type { Clock } from '../../../../core/ports/clock.ts';
import type { Journal } from '../journal.ts';
import type { MessageQueue } from './message-queue.ts';

const SCAN_MS = 10_000;

/** Removes what topics do not have to keep any more. */
export class Retaining {
  private readonly journal: Journal;
  private readonly clock: Clock;
  private readonly onScanned: () => void;
  private timer: Disposable | undefined;

  constructor(journal: Journal, clock: Clock, onScanned: () => void) {
    this.journal = journal;
    this.clock = clock;
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
  }

  /** Called after every commit to the queue. */
  grew(queue: MessageQueue, spec: TopicSpec): void {
    if (queue.bytes > spec.retention.bytesPerQueue) this.retain(queue, spec);
  }

  private retain(queue: MessageQueue, { retention }: TopicSpec): void {
    if (queue.first === queue.visible) return;
    const consumed = retention.consumed === true ? this.consumedBefore(queue) : 0;
    const before = queue.removableBefore(retention, this.clock.now(), consumed);
    if (before > queue.first) this.journal.write({ type: 'trim', queueSerial: queue.serial, before });
  }

  /** What every group that reads the queue has acknowledged; nothing while no group does. */
  private consumedBefore(queue: MessageQueue): number {
    let lowest = Infinity;
    for (const { consumptions } of this.journal.state.groups.values()) {
      const consumption = consumptions.get(queue.serial);
      if (consumption !== undefined) lowest = Math.min(lowest, consumption.floor);
    }
    return lowest === Infinity ? 0 : lowest;
  }
}
