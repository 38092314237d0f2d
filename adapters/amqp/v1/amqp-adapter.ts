import type { Broker } from '../../../core/broker.ts';
import type { Logger } from '../../../core/ports/logger.ts';
import { AmqpContext } from './amqp-context.ts';
import { Condition } from './condition.ts';
import { Connection, IDLE_SCAN_MS } from './connection.ts';
import type { Nodes } from './node.ts';
import type { AmqpOptions } from './options.ts';
import type { Transport } from './transport.ts';

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
  private timer: Disposable | undefined;

  constructor({ broker, options, log, nodes, version }: Parts) {
    this.context = new AmqpContext(broker, options, log, nodes, version);
  }

  start(): void {
    this.context.nodes.start();
    this.watchIdle();
  }

  private watchIdle(): void {
    this.timer = this.context.broker.clock.schedule(IDLE_SCAN_MS, () => {
      this.watchIdle();
      this.context.readClock();
      for (const connection of this.context.connections) connection.checkIdle(this.context.nowMs);
    });
  }

  handleConnection(transport: Transport): void {
    this.context.readClock();
    this.context.connections.add(new Connection(this.context, transport));
  }

  /**
   * Takes nothing more in, answers what was taken in, then tells every client that the server goes down. Resolves when all
   * are gone, at the latest after `graceMs`.
   */
  async shutdown(graceMs: number): Promise<void> {
    this.timer?.[Symbol.dispose]();
    const { context } = this;
    for (const connection of context.connections) connection.stopReading();
    await new Promise<void>((resolve) => {
      const deadline = context.broker.clock.schedule(graceMs, () => {
        for (const connection of context.connections) connection.destroy();
        resolve();
      });
      context.whenAllAnswered(() => {
        for (const connection of context.connections) {
          connection.fail(Condition.connectionForced, 'the server is shutting down');
        }
      });
      context.whenEmpty(() => {
        deadline[Symbol.dispose]();
        resolve();
      });
    });
    context.nodes.stop();
  }
}
