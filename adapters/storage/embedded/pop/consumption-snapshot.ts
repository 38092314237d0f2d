import type { GroupOrder } from '../../../../core/model/consumer-group.ts';
import type { Attempt } from './attempts.ts';

/** A consumption as values, for a checkpoint. */
export interface ConsumptionSnapshot {
  readonly floor: number;
  readonly cursor: number;
  readonly epoch: number;
  readonly order: GroupOrder;
  readonly purgedTo: number;
  /** Everything unacknowledged between floor and cursor. */
  readonly pending: readonly PendingOffset[];
  readonly attempts: readonly (readonly [attemptId: string, Attempt])[];
  /** The message group of each pending message that is out and was to be in order; empty for none. */
  readonly messageGroups: readonly (readonly [offset: number, messageGroup: string])[];
}

export interface PendingOffset {
  readonly offset: number;
  readonly attempts: number;
  readonly epoch: number;
  /** Infinity: passed by the cursor, not leased. */
  readonly visibleAt: number;
  /** Leased by a member, and so no longer than the process lives. */
  readonly isMembers: boolean;
}
