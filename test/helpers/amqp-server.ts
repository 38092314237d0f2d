import { AmqpAdapter } from '../../adapters/amqp/v1/amqp-adapter.ts';
import type { Nodes } from '../../adapters/amqp/v1/node.ts';
import { AMQP1_ENVELOPE_READER } from '../../adapters/amqp/v1/translate/envelope-reader.ts';
import { DEFAULT_AMQP_OPTIONS, type AmqpOptions } from '../../adapters/amqp/v1/options.ts';
import { openMemoryEngine, type EngineAndMeta } from '../../adapters/storage/embedded/open.ts';
import { Broker } from '../../core/broker.ts';
import { ALLOW_ALL, type Authorizer } from '../../core/ports/authorizer.ts';
import type { Logger } from '../../core/ports/logger.ts';
import { ConnectionLimit } from '../../gateway/listeners/connection-limit.ts';
import { TcpListener } from '../../gateway/listeners/tcp-listener.ts';
import { UserAuthenticator, type UserConfig } from '../../gateway/security/user-authenticator.ts';
import { fail } from './fail.ts';
import { ManualClock } from './manual-clock.ts';
import { SILENT } from './silent-logger.ts';

export interface AmqpServer {
  readonly adapter: AmqpAdapter;
  readonly broker: Broker;
  readonly clock: ManualClock;
  readonly port: number;
  /** Ends every connection, as a shutdown of the gateway does. */
  close(): Promise<void>;
}

export interface AmqpServerSettings {
  readonly options?: Partial<AmqpOptions>;
  readonly users?: readonly UserConfig[];
  readonly anonymous?: boolean;
  readonly connectionsMax?: number;
  readonly log?: Logger;
  readonly storage?: EngineAndMeta;
  readonly authorizer?: Authorizer;
}

/**
 * The AMQP engine on a free port, over the real core and a memory engine. Its time only passes when a test says so.
 * @param nodes or what makes them
 */
export async function startAmqpServer(
  nodes: Nodes | ((broker: Broker) => Nodes),
  settings: AmqpServerSettings = {},
): Promise<AmqpServer> {
  const { options = {}, users = [], anonymous = false, connectionsMax = 1000, log = SILENT } = settings;
  const { storage = openMemoryEngine(64 * 1024 * 1024), authorizer = ALLOW_ALL } = settings;
  const clock = new ManualClock();
  const broker = new Broker(
    {
      ...storage,
      authenticator: new UserAuthenticator(users, anonymous),
      authorizer,
      clock,
      log: SILENT,
      envelopeReaders: [AMQP1_ENVELOPE_READER],
      onFailure: fail,
    },
    {
      topics: { autoCreate: true, countMax: 1000 },
      groups: { autoCreate: true, countMax: 1000 },
      bodyBytesMax: 4 * 1024 * 1024,
    },
  );
  await broker.start();
  const adapter = new AmqpAdapter({
    broker,
    options: { ...DEFAULT_AMQP_OPTIONS, ...options },
    log,
    nodes: typeof nodes === 'function' ? nodes(broker) : nodes,
    version: 'test',
  });
  adapter.start();
  const limits = [new ConnectionLimit(connectionsMax)];
  const address = { host: '127.0.0.1', port: 0, limits };
  const listener = new TcpListener('amqp', address, adapter, SILENT);
  await listener.listen();
  return {
    adapter,
    broker,
    clock,
    port: listener.address.port,
    async close() {
      listener.stopAccepting();
      await adapter.shutdown(1000);
      await broker.stop();
    },
  };
}
