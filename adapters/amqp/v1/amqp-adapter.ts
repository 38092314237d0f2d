import type { Broker } from '../../../core/broker.ts';
import type { Logger } from '../../../core/ports/logger.ts';
import { AmqpContext } from './amqp-context.ts';
import { Condition } from './condition.ts';
import { Connection } from './connection.ts';
import type { Nodes } from './node.ts';
import type { AmqpOptions } from './options.ts';
import type { AmqpTransport } from './transport.ts';

interface Parts {
  readonly broker: Broker;
  readonly options: AmqpOptions;
  readonly log: Logger;
  /** What links attach to. */
  readonly nodes: Nodes;
  /** The gateway's own, told to every client. */
  readonly version: string;
}

/** AMQP 1.0 over any byte stream the gateway accepts. */
export class AmqpAdapter {
  private readonly context: AmqpContext;

  constructor({ broker, options, log, nodes, version }: Parts) {
    this.context = new AmqpContext(broker, options, log, nodes, version);
  }

  start(): void {
    this.context.nodes.start();
    this.context.connections.watchIdle();
  }

  handleConnection(transport: AmqpTransport): void {
    const { context } = this;
    context.connections.readClock();
    context.connections.add(new Connection(context, transport));
  }

  /**
   * Takes nothing more in, answers what was taken in, then tells every client that the server goes down. Resolves when all
   * are gone, at the latest after `graceMs`.
   */
  async shutdown(graceMs: number): Promise<void> {
    const { context } = this;
    await context.connections.shutdown(graceMs, context.allAnswered(), (connection) =>
      connection.fail(Condition.connectionForced, 'the server is shutting down'),
    );
    context.nodes.stop();
  }
}
