import { randomUUID } from 'node:crypto';
import type { Broker } from '../../../../core/broker.ts';
import { LinkError } from '../node.ts';
import type { NodeOptions } from './node-options.ts';
import { TemporaryQueue } from './temporary-queue.ts';

/** All temporary queues of this process, by name. */
export class TemporaryNodes {
  private readonly broker: Broker;
  private readonly options: NodeOptions;
  private readonly queues = new Map<string, TemporaryQueue>();

  constructor(broker: Broker, options: NodeOptions) {
    this.broker = broker;
    this.options = options;
  }

  get count(): number {
    return this.queues.size;
  }

  get(name: string): TemporaryQueue | undefined {
    return this.queues.get(name);
  }

  /** @throws LinkError amqp:resource-limit-exceeded */
  create(): TemporaryQueue {
    const { temporaryQueuesMax, temporary } = this.options;
    if (this.queues.size >= temporaryQueuesMax) {
      throw new LinkError('amqp:resource-limit-exceeded', `there are ${temporaryQueuesMax} temporary queues already`);
    }
    const queue = new TemporaryQueue(`temporary-${randomUUID()}`, temporary, this.broker.clock);
    this.queues.set(queue.name, queue);
    return queue;
  }

  delete(queue: TemporaryQueue): void {
    this.queues.delete(queue.name);
  }
}

/** The address clients get for one, and write into `reply-to`. */
export function temporaryAddress(queue: TemporaryQueue): string {
  return `/queues/${queue.name}`;
}
