import { AmqpAdapter } from '../adapters/amqp/v1/amqp-adapter.ts';
import { AMQP1_ENVELOPE_READER } from '../adapters/amqp/v1/translate/envelope-reader.ts';
import { NodeContext } from '../adapters/amqp/v1/nodes/node-context.ts';
import { BrokerNodes } from '../adapters/amqp/v1/nodes/nodes.ts';
import { GrpcAdapter } from '../adapters/grpc/grpc-adapter.ts';
import { MqttAdapter } from '../adapters/mqtt/mqtt-adapter.ts';
import { MQTT_ENVELOPE_READER } from '../adapters/mqtt/translate.ts';
import { openEmbeddedEngine, openMemoryEngine, type EngineAndMeta } from '../adapters/storage/embedded/open.ts';
import { Broker } from '../core/broker.ts';
import { DEFAULT_RETRY_POLICY } from '../core/model/consumer-group.ts';
import { ALLOW_ALL } from '../core/ports/authorizer.ts';
import type { Logger } from '../core/ports/logger.ts';
import type { Config } from './config/schema.ts';
import { amqpListeners, amqpOptions } from './listeners/amqp-listeners.ts';
import { mqttListeners } from './listeners/mqtt-listeners.ts';
import { TcpListener } from './listeners/tcp-listener.ts';
import { readCertificate, selfSignedCertificate } from './security/certificate.ts';
import { UserAuthenticator } from './security/user-authenticator.ts';
import { SystemClock } from './system-clock.ts';
import { readVersion } from './version.ts';

/** A running gateway. */
export interface Gateway {
  readonly broker: Broker;
  /** Where each protocol listens. */
  readonly listeners: readonly TcpListener[];
  /** Stops accepting, finishes what is in flight, and resolves when everything accepted is durable. */
  stop(): Promise<void>;
}

/**
 * Builds and starts a gateway: the only place that knows every adapter.
 * @param onFailure the storage cannot keep its promise any more: the process has to end
 */
export async function startGateway(config: Config, log: Logger, onFailure: (error: Error) => void): Promise<Gateway> {
  const clock = new SystemClock();
  const broker = new Broker(
    {
      ...makeEngine(config.engine),
      authenticator: new UserAuthenticator(config.users, config.anonymous),
      authorizer: ALLOW_ALL,
      clock,
      log,
      envelopeReaders: [MQTT_ENVELOPE_READER, AMQP1_ENVELOPE_READER],
      onFailure,
    },
    {
      topics: { autoCreate: config.autoCreateTopics, countMax: config.topicsMax },
      groups: { autoCreate: config.autoCreateGroups, countMax: config.groupsMax },
      sessions: { countMax: config.sessionsMax },
      bodyBytesMax: config.bodyBytesMax,
      routes: config.mqtt.routes,
      retained: config.retained,
    },
  );
  await broker.start();
  await declare(broker, config);
  const version = readVersion();
  const mqtt = new MqttAdapter({ broker, options: config.mqtt, log, version });
  const nodes = new BrokerNodes(new NodeContext(broker, config.amqp, log));
  const amqp = new AmqpAdapter({ broker, options: amqpOptions(config.amqp), log, nodes, version });
  const { tls } = config.grpc;
  const certificate =
    tls === undefined ? await selfSignedCertificate(clock.now()) : await readCertificate(tls.certFile, tls.keyFile);
  const grpc = new GrpcAdapter({ broker, tls: certificate, log });
  mqtt.start();
  amqp.start();
  const listeners: TcpListener[] = [];
  const stop = async (): Promise<void> => {
    for (const listener of listeners) listener.stopAccepting();
    await Promise.all([mqtt, amqp, grpc].map((adapter) => adapter.shutdown(config.shutdownGraceMs)));
    for (const listener of listeners) listener.close();
    await broker.stop();
  };
  try {
    listeners.push(...(await mqttListeners(config.mqtt, mqtt, log)));
    listeners.push(...(await amqpListeners(config.amqp, amqp, log)));
    for (const listener of config.grpc.listeners) listeners.push(grpcListener(listener, grpc, log));
    for (const listener of listeners) await listener.listen();
  } catch (error) {
    await stop();
    throw error;
  }
  return { broker, listeners, stop };
}

function grpcListener(listener: Config['grpc']['listeners'][number], grpc: GrpcAdapter, log: Logger): TcpListener {
  return new TcpListener('grpc', listener, { handleConnection: ({ socket }) => grpc.handleConnection(socket) }, log);
}

function makeEngine(engine: Config['engine']): EngineAndMeta {
  return engine.type === 'memory' ? openMemoryEngine(engine.bytesMax) : openEmbeddedEngine(engine);
}

/** Topics and groups named in the configuration exist from the start. */
async function declare(broker: Broker, { topics, groups }: Config): Promise<void> {
  for (const topic of topics) await broker.topics.put(topic);
  for (const { name, order, attemptsMax } of groups) {
    await broker.groups.put({ name, order, retry: { ...DEFAULT_RETRY_POLICY, attemptsMax } });
  }
}
