import type { BareKind } from './address.ts';
import type { TemporaryLimits } from './temporary-queue.ts';

/** What nodes are limited to. */
export interface NodeOptions {
  /** What a name is that says nothing of it. */
  readonly bareAddress: BareKind;
  readonly messageBytesMax: number;
  /** How many messages a client may send ahead. */
  readonly linkCredit: number;
  readonly transactionTimeoutMs: number;
  readonly transactionBytesMax: number;
  readonly transactionsPerLinkMax: number;
  readonly temporaryQueuesMax: number;
  /** Of one temporary queue. */
  readonly temporary: TemporaryLimits;
}
