import { readFile } from 'node:fs/promises';
import type { MqttAdapter } from '../../adapters/mqtt/mqtt-adapter.ts';
import type { MqttOptions } from '../../adapters/mqtt/options.ts';
import type { Logger } from '../../core/ports/logger.ts';
import type { Config, MqttListenerConfig } from '../config/schema.ts';
import { readCertificate } from '../security/certificate.ts';
import type { Accepted, ConnectionHandler } from './accepted.ts';
import { ConnectionLimit } from './connection-limit.ts';
import { TcpListener } from './tcp-listener.ts';
import type { TlsSettings } from './tls-door.ts';

const DEFAULT_PATH = '/mqtt';

/** The MQTT listeners of the configuration. @throws Error naming the listener whose certificate cannot be used */
export async function mqttListeners(mqtt: Config['mqtt'], adapter: MqttAdapter, log: Logger): Promise<TcpListener[]> {
  const total = new ConnectionLimit(mqtt.connectionsMax);
  const made: TcpListener[] = [];
  for (const [i, listener] of mqtt.listeners.entries()) {
    try {
      made.push(await mqttListener(listener, optionsOf(mqtt, listener), total, adapter, log));
    } catch (error) {
      throw new Error(`mqtt.listeners[${i}]: ${(error as Error).message}`, { cause: error });
    }
  }
  return made;
}

async function mqttListener(
  listener: MqttListenerConfig,
  options: MqttOptions,
  total: ConnectionLimit,
  adapter: MqttAdapter,
  log: Logger,
): Promise<TcpListener> {
  const { host, port, transport, path = DEFAULT_PATH, origins, tls, proxyProtocol, connectRateMax } = listener;
  const { connectPacketBytesMax, packetBytesMax, connectTimeoutMs } = options;
  const own = listener.connectionsMax === undefined ? [] : [new ConnectionLimit(listener.connectionsMax)];
  const settings = {
    host,
    port,
    tls: tls && (await tlsSettings(tls)),
    webSocket: transport === 'ws' ? { path, origins, connectPacketBytesMax, packetBytesMax } : undefined,
    trustedProxies: proxyProtocol?.trusted,
    limits: [...own, total],
    connectRateMax,
    handshakeTimeoutMs: connectTimeoutMs,
  };
  return new TcpListener('mqtt', settings, mqttHandler(adapter, options, tls), log);
}

async function tlsSettings(tls: NonNullable<MqttListenerConfig['tls']>): Promise<TlsSettings> {
  const { certFile, keyFile, caFile, requestClientCertificate, requireClientCertificate } = tls;
  return {
    ...(await readCertificate(certFile, keyFile)),
    ca: caFile === undefined ? undefined : await readFile(caFile),
    requestClientCertificate,
    requireClientCertificate,
    needsCommonName: tls.certificateAsUser || tls.certificateAsClientIdentifier,
  };
}

function mqttHandler(adapter: MqttAdapter, options: MqttOptions, tls: MqttListenerConfig['tls']): ConnectionHandler {
  return {
    handleConnection(accepted: Accepted): void {
      const { stream, remoteAddress, commonName } = accepted;
      adapter.handleConnection({
        stream,
        remoteAddress,
        options,
        certificateUser: tls?.certificateAsUser === true ? commonName : undefined,
        certificateClientIdentifier: tls?.certificateAsClientIdentifier === true ? commonName : undefined,
        refusal: () => accepted.refusal(),
      });
    },
  };
}

/** What the listener says itself goes before what is said for all. */
function optionsOf(mqtt: Config['mqtt'], listener: MqttListenerConfig): MqttOptions {
  const { connectTimeoutMs, connectPacketBytesMax, packetBytesMax, keepAliveMaxS } = listener;
  return {
    ...mqtt,
    connectTimeoutMs: connectTimeoutMs ?? mqtt.connectTimeoutMs,
    connectPacketBytesMax: connectPacketBytesMax ?? mqtt.connectPacketBytesMax,
    packetBytesMax: packetBytesMax ?? mqtt.packetBytesMax,
    keepAliveMaxS: keepAliveMaxS ?? mqtt.keepAliveMaxS,
  };
}
