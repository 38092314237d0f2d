import { MqttAdapter } from '../../adapters/mqtt/mqtt-adapter.ts';
import { DEFAULT_MQTT_OPTIONS, type MqttOptions } from '../../adapters/mqtt/options.ts';
import { MQTT_ENVELOPE_READER } from '../../adapters/mqtt/translate.ts';
import { openMemoryEngine, type EngineAndMeta } from '../../adapters/storage/embedded/open.ts';
import { Broker, type BrokerOptions } from '../../core/broker.ts';
import { ALLOW_ALL } from '../../core/ports/authorizer.ts';
import { ConnectionLimit } from '../../gateway/listeners/connection-limit.ts';
import { TcpListener } from '../../gateway/listeners/tcp-listener.ts';
import { UserAuthenticator, type UserConfig } from '../../gateway/security/user-authenticator.ts';
import { ManualClock } from './manual-clock.ts';
import { fail } from './fail.ts';
import { SILENT } from './silent-logger.ts';

export interface MqttServer {
  readonly broker: Broker;
  readonly clock: ManualClock;
  readonly port: number;
  readonly metrics: MqttAdapter['metrics'];
  /** Ends every connection, as a shutdown of the gateway does. */
  close(): Promise<void>;
}

/** The MQTT adapter on a free port, over the real core and, unless told otherwise, a memory engine. Its time only passes when a test says so. */
export async function startMqttServer(
  options: Partial<MqttOptions> = {},
  users: readonly UserConfig[] = [],
  {
    engine = openMemoryEngine(512 * 1024 * 1024),
    clock = new ManualClock(),
    ...brokerOptions
  }: Partial<BrokerOptions> & { engine?: EngineAndMeta; clock?: ManualClock } = {},
): Promise<MqttServer> {
  const broker = new Broker(
    {
      ...engine,
      authenticator: new UserAuthenticator(users, false),
      authorizer: ALLOW_ALL,
      clock,
      log: SILENT,
      envelopeReaders: [MQTT_ENVELOPE_READER],
      onFailure: fail,
    },
    {
      topics: { autoCreate: true, countMax: 1000 },
      groups: { autoCreate: true, countMax: 1000 },
      bodyBytesMax: 4 * 1024 * 1024,
      ...brokerOptions,
    },
  );
  await broker.start();
  const allOptions = { ...DEFAULT_MQTT_OPTIONS, ...options };
  const adapter = new MqttAdapter({ broker, options: allOptions, log: SILENT, version: 'test' });
  adapter.start();
  const limits = [new ConnectionLimit(allOptions.connectionsMax)];
  const listener = new TcpListener('mqtt', { host: '127.0.0.1', port: 0, limits }, adapter, SILENT);
  await listener.listen();
  return {
    broker,
    clock,
    port: listener.address.port,
    metrics: adapter.metrics,
    async close() {
      listener.stopAccepting();
      await adapter.shutdown(1000);
      await broker.stop();
    },
  };
}
