import { randomUUID } from 'node:crypto';
import type { Broker } from '../../../../core/broker.ts';
import { LinkError } from '../node.ts';
import { replyTopicOf } from '../reply-addresses.ts';
import type { NodeOptions } from './node-options.ts';
import { TemporaryQueue } from './temporary-queue.ts';

/** All temporary queues of this process, by name. */
export class TemporaryNodes {
  private readonly broker: Broker;
  private readonly options: NodeOptions;
  private readonly queues = new Map<string, { readonly queue: TemporaryQueue; readonly live: Disposable }>();

  constructor(broker: Broker, options: NodeOptions) {
    this.broker = broker;
    this.options = options;
  }

  get count(): number {
    return this.queues.size;
  }

  get(name: string): TemporaryQueue | undefined {
    return this.queues.get(name)?.queue;
  }

  /** @throws LinkError amqp:resource-limit-exceeded */
  create(): TemporaryQueue {
    const { temporaryQueuesMax, temporary } = this.options;
    if (this.queues.size >= temporaryQueuesMax) {
      throw new LinkError('amqp:resource-limit-exceeded', `there are ${temporaryQueuesMax} temporary queues already`);
    }
    const queue = new TemporaryQueue(`temporary-${randomUUID()}`, temporary, this.broker.clock);
    // Other protocols answer to it by its reply address.
    const live = this.broker.subscribeLive(replyTopic(queue), { deliver: (message) => void queue.offer(message) });
    this.queues.set(queue.name, { queue, live });
    return queue;
  }

  delete(queue: TemporaryQueue): void {
    this.queues.get(queue.name)?.live[Symbol.dispose]();
    this.queues.delete(queue.name);
  }
}

/** The address clients get for one, and write into `reply-to`. */
export function temporaryAddress(queue: TemporaryQueue): string {
  return `/queues/${queue.name}`;
}

function replyTopic(queue: TemporaryQueue): string {
  return replyTopicOf(temporaryAddress(queue));
}
