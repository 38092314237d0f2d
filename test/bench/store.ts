/** What the storage benchmark asks of a store: the engine, or what it is compared with. */
import type { Statistics } from './engine.ts';

/** Messages a receive takes at most. */
export const receiveMax = 32;
export const queueCount = 8;

export type Lease = { count: number };

/** Callbacks are called when the thing is durable, except a lease, which need not be. */
export interface Store<L extends Lease = Lease> {
  /** Stores one message in each of the queues named, all of which came in the same turn of the event loop. */
  send(queues: readonly number[], done: () => void): void;
  /** Leases up to `receiveMax` messages of the queue, waiting for a first one. */
  receive(queue: number, done: (lease: L) => void): void;
  ack(lease: L, done: () => void): void;
  statistics(): Statistics | undefined;
  /** Receives that still wait are not answered. */
  close(): Promise<void>;
}
