import type { Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from 'node:tls';
import { Server, ServerCredentials, type ServerOptions } from '@grpc/grpc-js';
import type { Broker } from '../../core/broker.ts';
import type { Logger } from '../../core/ports/logger.ts';
import { ClientRegistry } from './client-registry.ts';
import { refuseHttp1, sniff, type KnownFirstBytes } from './connection-sniffer.ts';
import {
  CONNECTION_IDLE_MS,
  DEFAULT_GRPC_OPTIONS,
  INBOUND_BYTES_MAX,
  PING_EVERY_MS,
  PING_TIMEOUT_MS,
  type GrpcOptions,
} from './options.ts';
import { loadMessagingService } from './proto/definition.ts';
import { messagingHandlers } from './services/messaging-service.ts';

export interface TlsMaterial {
  /** PEM. */
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface GrpcAdapterParts {
  readonly broker: Broker;
  /** Without it the port takes plaintext connections only. */
  readonly tls?: TlsMaterial;
  readonly log: Logger;
  readonly options?: Partial<GrpcOptions>;
}

/**
 * Lets official RocketMQ 5 clients in. It takes connections whoever accepted them, TLS and plaintext on the same port, since
 * some clients use TLS by default and some cannot.
 */
export class GrpcAdapter {
  private readonly log: Logger;
  private readonly options: GrpcOptions;
  private readonly server: Server;
  private readonly clients: ClientRegistry;
  private readonly injector: ReturnType<Server['createConnectionInjector']>;
  private readonly tls: TlsServer | undefined;
  private readonly sockets = new Set<Socket>();
  private readonly stopping = new AbortController();

  constructor({ broker, tls, log, options }: GrpcAdapterParts) {
    this.log = log;
    this.options = { ...DEFAULT_GRPC_OPTIONS, ...options };
    this.clients = new ClientRegistry(broker.clock, this.options.clientCountMax, (clientId) => {
      broker
        .releaseLeasesOf(clientId)
        .catch((err: unknown) => log.error({ err, clientId }, 'leases were not released'));
    });
    this.server = new Server(serverOptions(this.options));
    // TLS is taken off before: the server sees plain HTTP/2 either way.
    this.injector = this.server.createConnectionInjector(ServerCredentials.createInsecure());
    const { clients, options: all } = this;
    const parts = { broker, clients, log, options: all, stopping: this.stopping.signal };
    this.server.addService(loadMessagingService(), messagingHandlers(parts));
    this.tls = tls === undefined ? undefined : this.createTls(tls);
  }

  /** Clients that are known by now. */
  get clientCount(): number {
    return this.clients.count;
  }

  /** Nothing is opened: the gateway owns the port. */
  start(): Promise<void> {
    return Promise.resolve();
  }

  /** Replaces the certificate; connections that exist keep theirs. */
  setCertificate(tls: TlsMaterial): void {
    if (this.tls === undefined) throw new Error('the adapter was created without TLS');
    this.tls.setSecureContext({ cert: tls.cert, key: tls.key });
  }

  /** Takes over an accepted connection of which nothing was read. */
  handleConnection(socket: Socket): void {
    if (this.stopping.signal.aborted) {
      socket.destroy();
      return;
    }
    this.sockets.add(socket);
    socket.once('close', () => this.sockets.delete(socket));
    socket.setNoDelay(true);
    this.identify(socket, (kind) => {
      if (kind === 'http2') this.injector.injectConnection(socket);
      else if (kind === 'tls' && this.tls !== undefined) this.tls.emit('connection', socket);
      else this.refuse(socket, kind);
    });
  }

  /** Waiting receives and telemetry end, then connections, those still busy after `graceMs` by force. */
  async shutdown(graceMs: number): Promise<void> {
    this.stopping.abort();
    this.clients.stop();
    const closed = new Promise<void>((resolve) => this.server.tryShutdown(() => resolve()));
    const grace = setTimeout(() => this.destroySockets(), graceMs);
    await closed;
    clearTimeout(grace);
    this.destroySockets();
  }

  private destroySockets(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  /** Finds out what the peer speaks; closes the connection when it says nothing of use in time. */
  private identify(socket: Socket, found: (kind: KnownFirstBytes) => void): void {
    const handshake = setTimeout(() => {
      this.log.debug({ peer: socket.remoteAddress }, 'the handshake took too long');
      socket.destroy();
    }, this.options.handshakeTimeoutMs);
    socket.once('close', () => clearTimeout(handshake));
    socket.on('error', (err) => this.log.debug({ err, peer: socket.remoteAddress }, 'connection error'));
    sniff(socket, (kind) => {
      clearTimeout(handshake);
      found(kind);
    });
  }

  private refuse(socket: Socket, kind: KnownFirstBytes): void {
    this.log.debug({ peer: socket.remoteAddress, kind }, 'a connection to the gRPC port speaks something else');
    if (kind === 'http1') refuseHttp1(socket);
    else socket.destroy();
  }

  private createTls({ cert, key }: TlsMaterial): TlsServer {
    const { handshakeTimeoutMs } = this.options;
    const server = createTlsServer({ cert, key, ALPNProtocols: ['h2'], handshakeTimeout: handshakeTimeoutMs });
    server.on('secureConnection', (socket: TLSSocket) => {
      this.identify(socket, (kind) => {
        // HTTP/2 over TLS is chosen by ALPN (RFC 9113 3.2); whoever offers other protocols fails in the handshake.
        if (kind === 'http2' && socket.alpnProtocol === 'h2') this.injector.injectConnection(socket);
        else this.refuse(socket, kind);
      });
    });
    server.on('tlsClientError', (err, socket) => {
      this.log.debug({ err, peer: socket.remoteAddress }, 'the TLS handshake failed');
    });
    return server;
  }
}

function serverOptions(options: GrpcOptions): ServerOptions {
  return {
    'grpc.max_receive_message_length': INBOUND_BYTES_MAX,
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': options.streamsPerConnectionMax,
    'grpc.max_connection_idle_ms': CONNECTION_IDLE_MS,
    'grpc.keepalive_time_ms': PING_EVERY_MS,
    'grpc.keepalive_timeout_ms': PING_TIMEOUT_MS,
    'grpc.enable_channelz': 0,
  };
}
