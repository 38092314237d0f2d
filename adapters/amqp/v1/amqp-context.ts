import type { Broker } from '../../../core/broker.ts';
import type { Logger } from '../../../core/ports/logger.ts';
import { Connections } from '../../connection/connections.ts';
import { Turn } from '../../connection/turn.ts';
import { IDLE_SCAN_MS, type Connection } from './connection.ts';
import type { Nodes } from './node.ts';
import type { AmqpOptions } from './options.ts';

/** What the connections of one adapter share. */
export class AmqpContext {
  readonly broker: Broker;
  readonly options: AmqpOptions;
  readonly log: Logger;
  readonly nodes: Nodes;
  /** The gateway's own, told in `open`. */
  readonly version: string;
  readonly turn = new Turn();
  readonly connections: Connections<Connection>;
  /** Containers that have asked to be let in once at a time. */
  readonly soleContainers = new Set<string>();
  /** Deliveries of all clients that have no answer yet. */
  private unanswered = 0;
  private connectionNumber = 0;
  private onAllAnswered: (() => void) | undefined;

  constructor(broker: Broker, options: AmqpOptions, log: Logger, nodes: Nodes, version: string) {
    this.broker = broker;
    this.options = options;
    this.log = log;
    this.nodes = nodes;
    this.version = version;
    this.connections = new Connections(broker.clock, IDLE_SCAN_MS);
  }

  get nowMs(): number {
    return this.connections.nowMs;
  }

  /** Unique in this process. */
  newOwner(): string {
    return `amqp-${++this.connectionNumber}`;
  }

  deliveryTaken(): void {
    this.unanswered++;
  }

  /** Deliveries were answered, or their link is gone. */
  deliveriesDone(count: number): void {
    this.unanswered -= count;
    if (this.unanswered === 0) this.onAllAnswered?.();
  }

  /** Resolves as soon as no delivery waits for its answer. */
  allAnswered(): Promise<void> {
    return new Promise((resolve) => {
      this.onAllAnswered = resolve;
      if (this.unanswered === 0) resolve();
    });
  }
}
