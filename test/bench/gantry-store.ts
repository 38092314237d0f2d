/** The engine as the storage benchmark's store. */
import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { encodeMessage, type Message } from '../../core/model/message.ts';
import type { Outcome } from '../../core/model/broker-error.ts';
import type { Source } from '../../core/model/topic.ts';
import { OutgoingMessage, type Delivery, type MessageEngine } from '../../core/ports/message-engine.ts';
import { openEngine, type Flush, type Statistics } from './engine.ts';
import { queueCount, receiveMax, type Lease, type Store } from './store.ts';

export const benchTopic = 'bench';
export const benchGroup = 'bench-group';
const leaseMs = 600_000;
const waitMs = 600_000;
const ack = { kind: 'ack' } as const;

type GantryLease = Lease & { deliveries: Delivery[] };

export type GantryStoreOptions = { dir: string; flush: Flush; bodyBytes: number; bytesPerQueue: number };

export class GantryStore implements Store<GantryLease> {
  readonly engine: MessageEngine;
  readonly statistics: () => Statistics | undefined;
  private readonly pool: readonly Message[];
  readonly sources: readonly Source[];
  private readonly abort = new AbortController();
  private sent = 0;

  static async open({ dir, flush, bodyBytes, bytesPerQueue }: GantryStoreOptions): Promise<GantryStore> {
    const { engine, statistics } = await openEngine(dir, { flush });
    const retention = { ms: 72 * 3_600_000, bytesPerQueue };
    await engine.ensureTopic({ name: benchTopic, type: 'MIXED', queues: queueCount, retention });
    const retry = { attemptsMax: 17, backoff: { kind: 'listed', delaysMs: [1000] } } as const;
    await engine.ensureGroup({ name: benchGroup, order: 'concurrent', retry });
    return new GantryStore(engine, statistics, messagePool(bodyBytes));
  }

  private constructor(engine: MessageEngine, statistics: () => Statistics | undefined, pool: readonly Message[]) {
    this.engine = engine;
    this.statistics = statistics;
    this.pool = pool;
    // One for every receive that waits.
    setMaxListeners(0, this.abort.signal);
    this.sources = Array.from({ length: queueCount }, (_, queue) => ({ kind: 'topic', topic: benchTopic, queue }));
  }

  send(queues: readonly number[], done: () => void): void {
    void this.sendBatch(queues, done);
  }

  receive(queue: number, done: (lease: GantryLease) => void): void {
    void this.receiveFrom(queue, done);
  }

  ack({ deliveries }: GantryLease, done: () => void): void {
    void this.acknowledge(deliveries, done);
  }

  async close(): Promise<void> {
    this.abort.abort();
    await this.engine.stop();
  }

  private async sendBatch(queues: readonly number[], done: () => void): Promise<void> {
    const batch: OutgoingMessage[] = [];
    for (let i = 0; i < queues.length; i++) {
      const outgoing = new OutgoingMessage(benchTopic, 'bench/a', this.pool[this.sent++ % this.pool.length]!);
      outgoing.queue = queues[i]!;
      batch.push(outgoing);
    }
    check(await this.engine.send(batch));
    done();
  }

  private async receiveFrom(queue: number, done: (lease: GantryLease) => void): Promise<void> {
    const source = this.sources[queue]!;
    const request = { group: benchGroup, source, max: receiveMax, bytesMax: 1 << 24, waitMs, leaseMs };
    const { signal } = this.abort;
    const deliveries = await this.engine.receive(request, signal);
    if (!signal.aborted) done({ count: deliveries.length, deliveries });
  }

  private async acknowledge(deliveries: readonly Delivery[], done: () => void): Promise<void> {
    check(await this.engine.settle(deliveries.map(({ receipt }) => ({ receipt, action: ack }))));
    done();
  }
}

/** Random, so that no layer below gets rich by compressing. */
export function messagePool(bodyBytes: number): Message[] {
  return Array.from({ length: 4096 }, () =>
    encodeMessage({ address: 'bench/a', body: randomBytes(bodyBytes), bornAt: Date.now() }),
  );
}

export function check(outcomes: readonly Outcome<unknown>[]): void {
  for (const outcome of outcomes) if (!outcome.ok) throw outcome.error;
}
