import type { Broker } from '../../../core/broker.ts';
import type { Logger } from '../../../core/ports/logger.ts';
import type { Connection } from './connection.ts';
import type { Nodes } from './node.ts';
import type { AmqpOptions } from './options.ts';
import { Turn } from './turn.ts';

/** What the connections of one adapter share. */
export class AmqpContext {
  readonly broker: Broker;
  readonly options: AmqpOptions;
  readonly log: Logger;
  readonly nodes: Nodes;
  /** The gateway's own, told in `open`. */
  readonly version: string;
  readonly turn = new Turn();
  readonly connections = new Set<Connection>();
  /** Containers that have asked to be let in once at a time. */
  readonly soleContainers = new Set<string>();
  /** The clock's time at the start of this turn of the event loop, or close to it. */
  nowMs: number;
  /** Deliveries of all clients that have no answer yet. */
  private unanswered = 0;
  private connectionNumber = 0;
  private onEmpty: (() => void) | undefined;
  private onAllAnswered: (() => void) | undefined;

  constructor(broker: Broker, options: AmqpOptions, log: Logger, nodes: Nodes, version: string) {
    this.broker = broker;
    this.options = options;
    this.log = log;
    this.nodes = nodes;
    this.version = version;
    this.nowMs = broker.clock.now();
  }

  readClock(): void {
    this.nowMs = this.broker.clock.now();
  }

  /** Unique in this process. */
  newOwner(): string {
    return `amqp-${++this.connectionNumber}`;
  }

  remove(connection: Connection): void {
    this.connections.delete(connection);
    if (this.connections.size === 0) this.onEmpty?.();
  }

  /** Calls back as soon as there is no connection. */
  whenEmpty(onEmpty: () => void): void {
    this.onEmpty = onEmpty;
    if (this.connections.size === 0) onEmpty();
  }

  deliveryTaken(): void {
    this.unanswered++;
  }

  /** Deliveries were answered, or their link is gone. */
  deliveriesDone(count: number): void {
    this.unanswered -= count;
    if (this.unanswered === 0) this.onAllAnswered?.();
  }

  /** Calls back as soon as no delivery waits for its answer. */
  whenAllAnswered(onAllAnswered: () => void): void {
    this.onAllAnswered = onAllAnswered;
    if (this.unanswered === 0) onAllAnswered();
  }
}
