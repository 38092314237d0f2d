import { randomUUID } from 'node:crypto';
import type { Broker } from '../../../../core/broker.ts';
import type { Message } from '../../../../core/model/message.ts';
import { LinkError } from '../node.ts';
import { replyTopicOf } from '../translate/reply-addresses.ts';
import type { NodeOptions } from './node-options.ts';
import { TemporaryQueue } from './temporary-queue.ts';

/** What a client has made for itself; gone with the link that made it (AMQP 3.5.10). */
export interface TemporaryNode {
  readonly name: string;
  /** The only connection that may read it, where a client has given it its name. */
  readonly owner?: string | undefined;
  /** False: there is no room for the message. */
  offer(message: Message): boolean;
  /** What a new reader reads, and what to do when it has gone. */
  read(): { readonly queue: TemporaryQueue; readonly leave: () => void };
  /** Ends the links that read from it. */
  close(): void;
}

/** All temporary queues and topics of this process, by name. */
export class TemporaryNodes {
  private readonly broker: Broker;
  private readonly options: NodeOptions;
  private readonly nodes = new Map<string, { readonly node: TemporaryNode; readonly live: Disposable }>();

  constructor(broker: Broker, options: NodeOptions) {
    this.broker = broker;
    this.options = options;
  }

  get count(): number {
    return this.nodes.size;
  }

  get(name: string): TemporaryNode | undefined {
    return this.nodes.get(name)?.node;
  }

  /** @throws LinkError amqp:resource-limit-exceeded */
  create(capabilities: readonly string[], given?: { readonly name: string; readonly owner: string }): TemporaryNode {
    const { temporaryQueuesMax } = this.options;
    if (this.nodes.size >= temporaryQueuesMax) {
      throw new LinkError('amqp:resource-limit-exceeded', `there are ${temporaryQueuesMax} temporary queues already`);
    }
    const name = given?.name ?? `temporary-${randomUUID()}`;
    const make = (): TemporaryQueue => new TemporaryQueue(name, this.options.temporary, this.broker.clock);
    const node = capabilities.includes('temporary-topic') ? topicOf(name, make) : queueOf(make(), given?.owner);
    // Other protocols answer to it by its reply address.
    const live = this.broker.subscribeLive(replyTopicOf(temporaryAddress(node)), {
      deliver: (message) => void node.offer(message),
    });
    this.nodes.set(name, { node, live });
    return node;
  }

  delete(node: TemporaryNode): void {
    const { name } = node;
    // There may be another one of its name by now.
    if (this.get(name) !== node) return;
    this.nodes.get(name)?.live[Symbol.dispose]();
    this.nodes.delete(name);
    node.close();
  }
}

/** Whether it is the name of one, there or gone. */
export function isTemporaryName(name: string): boolean {
  return /^temporary-[0-9a-f-]{36}$/.test(name);
}

/** The address clients get for one, and write into `reply-to`. */
export function temporaryAddress({ name }: TemporaryNode): string {
  return `/queues/${encodeURIComponent(name)}`;
}

/** Its readers share the messages. */
function queueOf(queue: TemporaryQueue, owner: string | undefined): TemporaryNode {
  return {
    name: queue.name,
    owner,
    offer: (message) => queue.offer(message),
    read: () => ({ queue, leave: () => undefined }),
    close: () => queue.close(),
  };
}

/** Every reader gets every message. */
function topicOf(name: string, make: () => TemporaryQueue): TemporaryNode {
  const queues = new Set<TemporaryQueue>();
  return {
    name,
    offer: (message) => {
      for (const queue of queues) queue.offer(message);
      return true;
    },
    read: () => {
      const queue = make();
      queues.add(queue);
      return { queue, leave: () => queues.delete(queue) };
    },
    close: () => {
      for (const queue of queues) queue.close();
    },
  };
}
