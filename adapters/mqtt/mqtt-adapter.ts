import type { Broker } from '../../core/broker.ts';
import type { Logger } from '../../core/ports/logger.ts';
import { ReasonCode } from './codec/reason-code.ts';
import { Connection } from './connection.ts';
import { MqttContext } from './mqtt-context.ts';
import type { MqttMetrics } from './mqtt-metrics.ts';
import type { MqttOptions } from './options.ts';
import type { Transport } from './transport.ts';

/** How often silent connections are looked for; also the resolution of keep alive. */
const IDLE_SCAN_MS = 1_000;

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
  private timer: Disposable | undefined;

  constructor({ broker, options, log, version }: Parts) {
    this.context = new MqttContext(broker, options, log, version);
  }

  get metrics(): Readonly<MqttMetrics> {
    return this.context.metrics;
  }

  start(): void {
    this.context.sys.start();
    this.watchIdle();
  }

  private watchIdle(): void {
    const { clock } = this.context.broker;
    this.timer = clock.schedule(IDLE_SCAN_MS, () => {
      this.watchIdle();
      this.context.readClock();
      for (const connection of this.context.connections) connection.checkIdle(this.context.nowMs);
    });
  }

  handleConnection(transport: Transport): void {
    this.context.metrics.connectionsOpened++;
    this.context.connections.add(new Connection(this.context, transport));
  }

  /**
   * Takes nothing more in, acknowledges what was taken in, then tells every client that the server goes down. Resolves when
   * all are gone, at the latest after `graceMs`.
   */
  async shutdown(graceMs: number): Promise<void> {
    this.timer?.[Symbol.dispose]();
    this.context.sys.stop();
    const { connections, broker, turn } = this.context;
    this.context.isStopping = true;
    for (const connection of connections) connection.stopReading();
    await turn.drained();
    for (const connection of connections) {
      connection.disconnect(ReasonCode.serverShuttingDown, 'the server is shutting down');
    }
    await new Promise<void>((resolve) => {
      const deadline = broker.clock.schedule(graceMs, () => {
        for (const connection of connections) connection.destroy();
        resolve();
      });
      this.context.whenEmpty(() => {
        deadline[Symbol.dispose]();
        resolve();
      });
    });
  }
}
