/** Producers and consumers on a store, without a promise or closure per message. */
import type { Lease, Store } from './store.ts';
import { queueCount } from './store.ts';

/** Of one call, as in the protocol adapters. */
const batchMax = 256;

export type LoadOptions = {
  producers: number;
  /** None: messages are only stored. */
  consumers: number;
  /** Producers wait while so many messages are stored and not acknowledged. */
  backlogMax: number;
  /** Producers stop after so many. */
  messagesMax: number;
  onAcked?: () => void;
};

/**
 * Closed loops: a producer's next message follows the outcome of the one before, a consumer's next receive the
 * acknowledgement of the last. What producers send in one turn of the event loop reaches the store as one batch, as from
 * the protocol adapters.
 */
export class StorageLoad {
  sent = 0;
  acked = 0;
  stored = 0;
  private readonly store: Store;
  private readonly options: LoadOptions;
  private gathered: number[] = [];
  private held: number[] = [];
  private isScheduled = false;
  private isStopping = false;
  private inFlight = 0;
  private onDrained: (() => void) | undefined;
  /** How long batches took until durable, in milliseconds; started anew by `resetLatencies`. */
  private latenciesMs: number[] = [];

  constructor(store: Store, options: LoadOptions) {
    this.store = store;
    this.options = options;
  }

  start(): void {
    for (let id = 0; id < this.options.producers; id++) this.produce(id % queueCount);
    for (let id = 0; id < this.options.consumers; id++) this.consume(id % queueCount);
  }

  /** No further messages; resolves when those sent are stored and, where there are consumers, acknowledged. */
  stop(): Promise<void> {
    this.isStopping = true;
    return this.drained();
  }

  /** Resolves when `messagesMax` have gone all the way. */
  drained(): Promise<void> {
    return new Promise((resolve) => {
      this.onDrained = resolve;
      this.checkDrained();
    });
  }

  resetLatencies(): void {
    this.latenciesMs = [];
  }

  latencyP99Ms(): number {
    const sorted = Float64Array.from(this.latenciesMs).toSorted();
    return sorted[Math.floor(sorted.length * 0.99)] ?? 0;
  }

  private get isBehind(): boolean {
    return this.sent - this.acked >= this.options.backlogMax;
  }

  private produce(queue: number): void {
    const { options } = this;
    if (options.consumers > 0 && this.isBehind && !this.isStopping) {
      this.held.push(queue);
      return;
    }
    if (this.isStopping || this.sent >= options.messagesMax) return;
    this.sent++;
    this.gathered.push(queue);
    if (this.gathered.length >= batchMax) this.flush();
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      if (this.gathered.length > 0) this.flush();
    });
  }

  private flush(): void {
    const queues = this.gathered;
    const at = performance.now();
    this.gathered = [];
    this.inFlight++;
    this.store.send(queues, () => {
      this.latenciesMs.push(performance.now() - at);
      this.inFlight--;
      this.stored += queues.length;
      for (let i = 0; i < queues.length; i++) this.produce((queues[i]! + 1) % queueCount);
      this.checkDrained();
    });
  }

  private consume(queue: number): void {
    this.store.receive(queue, (lease: Lease) =>
      this.store.ack(lease, () => {
        this.acked += lease.count;
        this.options.onAcked?.();
        this.release();
        this.consume(queue);
        this.checkDrained();
      }),
    );
  }

  private release(): void {
    // Only those there is room for: to ask all, after every acknowledgement, would be work of the load, not of the store.
    while (this.held.length > 0 && !this.isBehind) this.produce(this.held.shift()!);
  }

  private checkDrained(): void {
    if (this.onDrained === undefined || this.inFlight > 0 || this.gathered.length > 0) return;
    if (!this.isStopping && this.sent < this.options.messagesMax) return;
    if (this.stored < this.sent || (this.options.consumers > 0 && this.acked < this.sent)) return;
    this.onDrained();
  }
}
