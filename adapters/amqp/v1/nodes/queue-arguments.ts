import type { AmqpMap } from '../codec/performatives.ts';
import { numberOf, textOf } from '../codec/plain-values.ts';
import type { AmqpValue } from '../codec/values.ts';

/** Why a queue cannot be declared so. */
export class ArgumentError extends Error {}

/** What a queue is declared with that changes anything (RabbitMQ's optional arguments). */
export interface QueueArguments {
  /** How often what was given back is delivered again. */
  readonly deliveryLimit: number | undefined;
  /** The queue has this many levels of priority and one more. */
  readonly maxPriority: number | undefined;
}

export const DELIVERY_LIMIT = 'x-delivery-limit';
const DELIVERY_LIMIT_MAX = 1000;
export const MAX_PRIORITY = 'x-max-priority';
/** What RabbitMQ recommends; each level is a message queue of its own. */
const PRIORITIES_MAX = 10;
const QUEUE_TYPE = 'x-queue-type';
/** All queues are of one kind here; a stream is read in another way. */
const QUEUE_TYPES = new Set(['quorum', 'classic']);
const SINGLE_ACTIVE_CONSUMER = 'x-single-active-consumer';
/** Says where and how RabbitMQ keeps a queue. */
const PLACEMENT = new Set([
  'x-queue-mode',
  'x-queue-version',
  'x-queue-leader-locator',
  'x-queue-master-locator',
  'x-quorum-initial-group-size',
  'x-quorum-target-group-size',
  'x-max-in-memory-length',
  'x-max-in-memory-bytes',
]);
/** Says how a limit or a dead letter exchange works: without these, which are refused, it says nothing. */
const MODES = new Set(['x-overflow', 'x-dead-letter-strategy']);

/** @throws ArgumentError for what a queue cannot be declared with: nothing is left out that would change what it does */
export function readQueueArguments(args: AmqpMap): QueueArguments {
  for (const [name, value] of args) check(name, value);
  return {
    deliveryLimit: limited(args, DELIVERY_LIMIT, 0, DELIVERY_LIMIT_MAX),
    maxPriority: limited(args, MAX_PRIORITY, 1, PRIORITIES_MAX),
  };
}

function check(name: string, value: AmqpValue): void {
  if (name === DELIVERY_LIMIT || name === MAX_PRIORITY || PLACEMENT.has(name) || MODES.has(name)) return;
  if (name === QUEUE_TYPE) {
    if (QUEUE_TYPES.has(textOf(value) ?? '')) return;
    throw new ArgumentError(`there are no queues of that ${QUEUE_TYPE}`);
  }
  if (name === SINGLE_ACTIVE_CONSUMER && value.type === 'boolean' && !value.value) return;
  throw new ArgumentError(`the queue argument ${name} is not supported`);
}

function limited(args: AmqpMap, name: string, min: number, max: number): number | undefined {
  const value = args.get(name);
  if (value === undefined) return undefined;
  const number = numberOf(value) ?? NaN;
  if (Number.isInteger(number) && number >= min && number <= max) return number;
  throw new ArgumentError(`${name} is from ${min} to ${max}`);
}
