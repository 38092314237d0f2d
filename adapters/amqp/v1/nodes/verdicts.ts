import { backoffMs, type RetryPolicy } from '../../../../core/model/consumer-group.ts';
import type { Delivery, SettleAction } from '../../../../core/ports/message-engine.ts';
import type { AmqpError, AmqpMap, DeliveryState, Modified } from '../codec/performatives.ts';
import { fieldsValue, textOf } from '../codec/plain-values.ts';
import { addedAtDeath, deathDetails } from '../translate/dead-letters.ts';

/** Again at once, at its old place, as if it had never been sent. */
export const RELEASE: SettleAction = { kind: 'release', delayMs: 0, countAttempt: false };
/** Again at once, at its old place: the client has had it. */
export const RELEASE_COUNTED: SettleAction = { kind: 'release', delayMs: 0, countAttempt: true };
export const ACK: SettleAction = { kind: 'ack' };
/** The annotation with what `rejected.error.info` said. */
const DEATH_INFO = 'x-opt-death-info';

/** What Azure's clients hear who defer a message: it comes again, and would be a dead letter if it were taken for what others mean. */
export const NOT_DEFERRED: AmqpError = {
  condition: 'amqp:not-implemented',
  description: 'messages cannot be deferred: it is available again',
};

interface Circumstances {
  readonly delivery: Delivery;
  readonly retry: RetryPolicy | undefined;
  readonly nowMs: number;
  /** What was abandoned counts as an attempt, whatever the client says of it; and it means something else by `rejected.error.info`. */
  readonly azure: boolean;
  /** Annotations that receivers gave it back with before. */
  readonly added: AmqpMap | undefined;
}

/**
 * What a client's outcome means for the group (AMQP 3.4, MAPPING.md "Settlement").
 * @param state undefined: settled without an outcome, which says nothing about whether it was processed
 */
export function verdictOf(state: DeliveryState | undefined, circumstances: Circumstances): SettleAction {
  switch (state?.kind) {
    case 'accepted':
      return ACK;
    case 'released':
      return RELEASE;
    case 'rejected':
      return rejected(state.error, circumstances);
    case 'modified':
      return modified(state, circumstances);
    default:
      return RELEASE_COUNTED;
  }
}

/** What is undeliverable here an Azure client wants to ask for later, by its number. */
export function isDeferral(state: DeliveryState | undefined): boolean {
  const outcome = state?.kind === 'transactional' ? state.outcome : state;
  return outcome?.kind === 'modified' && outcome.undeliverableHere;
}

/** Azure's clients say why in the error's info, among properties that the message is to have. */
function rejected(error: AmqpError | undefined, circumstances: Circumstances): SettleAction {
  const { DeadLetterReason, DeadLetterErrorDescription, ...others } = Object.fromEntries(error?.info ?? []);
  const reason = textOf(DeadLetterReason) ?? error?.condition ?? 'rejected';
  const description = textOf(DeadLetterErrorDescription) ?? error?.description;
  const info = new Map(Object.entries(others));
  if (circumstances.azure || info.size === 0) return deadLetter(reason, description, info, circumstances);
  return deadLetter(reason, description, new Map([[DEATH_INFO, fieldsValue(info)]]), circumstances);
}

function deadLetter(
  reason: string,
  description: string | undefined,
  annotations: AmqpMap | undefined,
  { delivery, added }: Circumstances,
): SettleAction {
  const details = deathDetails([addedAtDeath(delivery.message), added, annotations]);
  return { kind: 'deadLetter', reason, description, details };
}

function modified(state: Modified, circumstances: Circumstances): SettleAction {
  const { delivery, retry, nowMs, azure } = circumstances;
  // Nobody else of the group is told apart from this link: it is given up by all.
  if (state.undeliverableHere) {
    return deadLetter('undeliverable here', undefined, state.messageAnnotations, circumstances);
  }
  const deliverAt = state.messageAnnotations?.get('x-opt-delivery-time');
  const countAttempt = state.deliveryFailed || azure;
  if (deliverAt?.type === 'timestamp' || deliverAt?.type === 'long') {
    return { kind: 'release', delayMs: Math.max(0, Number(deliverAt.value) - nowMs), countAttempt };
  }
  const delayMs = state.deliveryFailed && retry !== undefined ? backoffMs(retry.backoff, delivery.attempt) : 0;
  return { kind: 'release', delayMs, countAttempt };
}
