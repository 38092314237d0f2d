import { readFile } from 'node:fs/promises';
import type { Logger } from '../../core/ports/logger.ts';
import type { AmqpListenerConfig, MqttListenerConfig } from '../config/schema.ts';
import { readCertificate } from '../security/certificate.ts';
import type { Accepted, ConnectionHandler } from './accepted.ts';
import { ConnectionLimit } from './connection-limit.ts';
import { TcpListener, type ListenerSettings } from './tcp-listener.ts';
import type { TlsSettings } from './tls-door.ts';
import type { WebSocketSettings } from './web-socket-door.ts';

type ListenerConfig = MqttListenerConfig | AmqpListenerConfig;

/** What a protocol says of each of its listeners. */
export interface ProtocolListeners<Listener extends ListenerConfig> {
  readonly protocol: string;
  readonly listeners: readonly Listener[];
  /** Of all of them together. */
  readonly connectionsMax: number;
  readonly greeting?: ListenerSettings['greeting'];
  /** Of one with transport `ws`, where the configuration does not say the path. */
  readonly defaultPath: string;
  webSocketOf(listener: Listener): Omit<WebSocketSettings, 'path' | 'origins'>;
  handshakeTimeoutMsOf(listener: Listener): number;
  handlerOf(listener: Listener): ConnectionHandler;
}

/** The listeners of one protocol's configuration. @throws Error naming the listener whose certificate cannot be used */
export async function protocolListeners<Listener extends ListenerConfig>(
  parts: ProtocolListeners<Listener>,
  log: Logger,
): Promise<TcpListener[]> {
  const total = new ConnectionLimit(parts.connectionsMax);
  const made: TcpListener[] = [];
  for (const [i, listener] of parts.listeners.entries()) {
    try {
      const settings = await settingsOf(parts, listener, total);
      made.push(new TcpListener(parts.protocol, settings, parts.handlerOf(listener), log));
    } catch (error) {
      throw new Error(`${parts.protocol}.listeners[${i}]: ${(error as Error).message}`, { cause: error });
    }
  }
  return made;
}

async function settingsOf<Listener extends ListenerConfig>(
  parts: ProtocolListeners<Listener>,
  listener: Listener,
  total: ConnectionLimit,
): Promise<ListenerSettings> {
  const { host, port, transport, path = parts.defaultPath, origins, tls, proxyProtocol, connectRateMax } = listener;
  const own = listener.connectionsMax === undefined ? [] : [new ConnectionLimit(listener.connectionsMax)];
  return {
    host,
    port,
    tls: tls && (await tlsSettings(tls)),
    webSocket: transport === 'ws' ? { path, origins, ...parts.webSocketOf(listener) } : undefined,
    greeting: parts.greeting,
    trustedProxies: proxyProtocol?.trusted,
    limits: [...own, total],
    connectRateMax,
    handshakeTimeoutMs: parts.handshakeTimeoutMsOf(listener),
  };
}

async function tlsSettings(tls: NonNullable<ListenerConfig['tls']>): Promise<TlsSettings> {
  const { certFile, keyFile, caFile, requestClientCertificate, requireClientCertificate, certificateAsUser } = tls;
  return {
    ...(await readCertificate(certFile, keyFile)),
    ca: caFile === undefined ? undefined : await readFile(caFile),
    requestClientCertificate,
    requireClientCertificate,
    needsCommonName: certificateAsUser || ('certificateAsClientIdentifier' in tls && tls.certificateAsClientIdentifier),
    isOnRequest: 'onRequest' in tls && tls.onRequest,
  };
}

/** What every adapter is told of a connection. */
export function transportOf(accepted: Accepted, tls: ListenerConfig['tls']) {
  const { stream, remoteAddress, commonName } = accepted;
  return {
    stream,
    remoteAddress,
    certificateUser: tls?.certificateAsUser === true ? commonName : undefined,
    refusal: () => accepted.refusal(),
  };
}
