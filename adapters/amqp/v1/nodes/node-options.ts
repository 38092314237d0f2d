import type { BareKind } from './address.ts';
import type { TemporaryLimits } from './temporary-queue.ts';

/** How nodes behave and what they are limited to; each has a configuration key of the same name under `amqp`. */
export interface NodeOptions {
  /** What an address is that neither says so itself nor has a capability with it. */
  readonly bareAddress: BareKind;
  /** Announced as max-message-size. */
  readonly messageBytesMax: number;
  /** How many messages a client may send ahead on one link. */
  readonly linkCredit: number;
  /** A transaction that is open for so long can only be rolled back. */
  readonly transactionTimeoutMs: number;
  /** Of the messages in one transaction. */
  readonly transactionBytesMax: number;
  /** Open at the same time on one coordinator link. */
  readonly transactionsPerLinkMax: number;
  /** Of the process, topics among them. */
  readonly temporaryQueuesMax: number;
  /** Of one temporary queue. */
  readonly temporary: TemporaryLimits;
}
