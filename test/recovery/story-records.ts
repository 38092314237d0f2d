import type { Delivery } from '../../core/ports/message-engine.ts';

export class Violation extends Error {}

/** What the caller of an operation knows. */
export type Known = 'asked' | 'confirmed';

export interface Sent {
  readonly queue: number;
  readonly isLight: boolean;
  readonly kind: 'plain' | 'delayed' | 'half';
  known: Known;
  /** Confirmed plain messages have it. */
  offset: number;
  /** Recall handle or transaction id, once confirmed. */
  handle: string | undefined;
  /** How a half or delayed message was ended by the caller. */
  fate: { readonly how: 'commit' | 'rollback' | 'recall'; known: Known } | undefined;
}

export interface Verdict {
  readonly id: string;
  readonly isDead: boolean;
  /** A message that was sent in the same transaction. */
  readonly with: string | undefined;
  known: Known;
}

/** A key of its own that a message puts or deletes. */
export interface Change {
  readonly kind: 'put' | 'delete';
  readonly id: string;
  isRefused: boolean;
}

/** A body begins with the id of its message. */
export function idOf(body: Buffer): string {
  return body.toString('latin1', 0, body.indexOf(' '));
}

/** What the message has to be in order with; undefined for nothing. */
export function laneOf(group: string, { message: { queue, messageGroup } }: Delivery): string | undefined {
  const isOrdered = group === 'ordered' || (group === 'grouped' && messageGroup !== undefined);
  return isOrdered ? `${queue} ${messageGroup}` : undefined;
}
