import { LIMITS } from './limits.ts';

/**
 * concurrent: messages are independent. fifo: messages of one message group are delivered in order, and so are those without
 * one, among themselves. messageGroup: as fifo for messages of a message group, as concurrent for those without one.
 */
export const GROUP_ORDERS = ['concurrent', 'fifo', 'messageGroup'] as const;
export type GroupOrder = (typeof GROUP_ORDERS)[number];

/** The pause before attempt n + 1. A listed backoff stays at its last entry. */
export type Backoff =
  | { readonly kind: 'listed'; readonly delaysMs: readonly number[] }
  | { readonly kind: 'exponential'; readonly initialMs: number; readonly maxMs: number; readonly multiplier: number };

export interface RetryPolicy {
  /** Deliveries of one message, the first included; then it goes to the dead letter topic. */
  readonly attemptsMax: number;
  readonly backoff: Backoff;
}

export interface GroupSpec {
  readonly name: string;
  readonly order: GroupOrder;
  readonly retry: RetryPolicy;
}

/** RocketMQ: CustomizedRetryPolicy.next. */
export const DEFAULT_RETRY_POLICY: RetryPolicy = {
  attemptsMax: LIMITS.attemptsMax,
  backoff: {
    kind: 'listed',
    delaysMs: [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200].map(
      (s) => s * 1000,
    ),
  },
};

/** The pause in milliseconds after delivery attempt `attempt` (from 1) failed. */
export function backoffMs(backoff: Backoff, attempt: number): number {
  if (backoff.kind === 'listed') {
    return backoff.delaysMs[Math.min(attempt, backoff.delaysMs.length) - 1] ?? 0;
  }
  return Math.min(backoff.initialMs * backoff.multiplier ** (attempt - 1), backoff.maxMs);
}
