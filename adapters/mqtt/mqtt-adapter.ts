import type { Broker } from '../../core/broker.ts';
import type { Logger } from '../../core/ports/logger.ts';
import { ReasonCode } from './codec/reason-code.ts';
import { Connection } from './connection.ts';
import { MqttContext } from './mqtt-context.ts';
import type { MqttMetrics } from './mqtt-metrics.ts';
import type { MqttOptions } from './options.ts';
import type { MqttTransport } from './transport.ts';

interface Parts {
  readonly broker: Broker;
  readonly options: MqttOptions;
  readonly log: Logger;
  /** The gateway's own, for `$SYS/broker/version`. */
  readonly version: string;
}

/** MQTT 3.1, 3.1.1 and 5.0 over any byte stream the gateway accepts. */
export class MqttAdapter {
  private readonly context: MqttContext;

  constructor({ broker, options, log, version }: Parts) {
    this.context = new MqttContext(broker, options, log, version);
  }

  get metrics(): Readonly<MqttMetrics> {
    return this.context.metrics;
  }

  start(): void {
    this.context.sys.start();
    this.context.connections.watchIdle();
  }

  handleConnection(transport: MqttTransport): void {
    this.context.metrics.connectionsOpened++;
    this.context.connections.add(new Connection(this.context, transport));
  }

  /**
   * Takes nothing more in, acknowledges what was taken in, then tells every client that the server goes down. Resolves when
   * all are gone, at the latest after `graceMs`.
   */
  shutdown(graceMs: number): Promise<void> {
    const { context } = this;
    context.sys.stop();
    context.isStopping = true;
    return context.connections.shutdown(graceMs, context.turn.drained(), (connection) =>
      connection.disconnect(ReasonCode.serverShuttingDown, 'the server is shutting down'),
    );
  }
}
