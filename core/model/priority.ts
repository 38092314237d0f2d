/** Jakarta Messaging 3.4.10, AMQP 3.2.1: priorities are 0 to 9, and a message that says nothing has this one. */
export const DEFAULT_PRIORITY = 4;
export const PRIORITY_MAX = 9;

/**
 * The message queue of a priority in a topic whose queues are levels of it.
 * @param from what the first queue has, and everything below; the last queue has everything above
 */
export function priorityQueue(priority: number | undefined, from: number, queues: number): number {
  return Math.min(Math.max((priority ?? 0) - from, 0), queues - 1);
}
