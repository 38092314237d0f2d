import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from '../../core/ports/logger.ts';
import type { Accepted, ConnectionHandler, Refusal } from './accepted.ts';
import { ConnectPace } from './connect-pace.ts';
import type { ConnectionLimit } from './connection-limit.ts';
import type { Greeting } from './greeting.ts';
import { readProxyHeader } from './proxy-header.ts';
import { TlsDoor, type TlsSettings } from './tls-door.ts';
import { plainAddress, TrustedSources } from './trusted-sources.ts';
import { WebSocketDoor, type WebSocketSettings } from './web-socket-door.ts';

export interface ListenerSettings {
  readonly host: string;
  readonly port: number;
  readonly tls?: TlsSettings | undefined;
  /** Without it the protocol's bytes come as they are. */
  readonly webSocket?: WebSocketSettings | undefined;
  /** Without it the handler reads the first byte. */
  readonly greeting?: Greeting | undefined;
  /** Networks of the proxies; every connection has to come from one and begin with a PROXY header. */
  readonly trustedProxies?: readonly string[] | undefined;
  /** All of them have to have room. */
  readonly limits?: readonly ConnectionLimit[] | undefined;
  readonly connectRateMax?: number | undefined;
  /** From the accepted connection to the protocol's first byte. */
  readonly handshakeTimeoutMs?: number | undefined;
}

const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Connections without room that may wait to be told so. Further ones are closed at once. */
const EXTRA_MAX = 64;

/** One connection on its way to its protocol. */
class Entering implements Accepted {
  stream: Duplex;
  commonName: string | undefined;
  remoteAddress: string;
  refused: Refusal | undefined;
  isAdmitted = false;
  /** It has one of the places for those that are only told why they cannot stay. */
  isExtra = false;
  timer: NodeJS.Timeout | undefined;
  readonly socket: Socket;
  private readonly admit: (entering: Entering) => boolean;

  constructor(socket: Socket, admit: (entering: Entering) => boolean) {
    this.socket = socket;
    this.stream = socket;
    this.remoteAddress = plainAddress(socket.remoteAddress);
    this.admit = admit;
  }

  refusal(): Refusal | undefined {
    if (this.refused !== undefined) return this.refused;
    return this.isAdmitted || this.admit(this) ? undefined : 'quotaExceeded';
  }
}

/** One listening TCP port of one protocol, with what lies between the two: PROXY header, TLS, WebSocket. */
export class TcpListener {
  readonly protocol: string;
  private readonly server: Server;
  private readonly settings: ListenerSettings;
  private readonly handler: ConnectionHandler;
  private readonly log: Logger;
  private readonly limits: readonly ConnectionLimit[];
  private readonly trusted: TrustedSources | undefined;
  private readonly tls: TlsDoor | undefined;
  private readonly webSocket: WebSocketDoor | undefined;
  private readonly pace: ConnectPace | undefined;
  private readonly handshakeTimeoutMs: number;
  /** Not handed over yet. */
  private readonly entering = new Set<Entering>();
  private readonly sockets = new Set<Socket>();
  private extraCount = 0;

  /** @throws Error when certificate and key are of no use */
  constructor(protocol: string, settings: ListenerSettings, handler: ConnectionHandler, log: Logger) {
    const { tls, webSocket, trustedProxies, connectRateMax, limits = [] } = settings;
    this.protocol = protocol;
    this.settings = settings;
    this.handler = handler;
    this.log = log;
    this.limits = limits;
    this.handshakeTimeoutMs = settings.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS;
    this.trusted = trustedProxies && new TrustedSources(trustedProxies);
    this.tls = tls && new TlsDoor(tls, this.handshakeTimeoutMs, log);
    this.webSocket = webSocket && new WebSocketDoor(webSocket, log);
    this.pace = connectRateMax === undefined ? undefined : new ConnectPace(connectRateMax);
    // Protocols decide themselves what the end of the peer's side means; in the middle of a TLS handshake nobody would.
    const allowHalfOpen = tls === undefined || tls.isOnRequest;
    // Who has to wait for its turn is not read from.
    const pauseOnConnect = this.pace !== undefined;
    this.server = createServer({ allowHalfOpen, noDelay: true, pauseOnConnect }, (socket) => this.accept(socket));
  }

  /** `host:port` as it really is, once listening. */
  get address(): { host: string; port: number } {
    const { address, port } = this.server.address() as AddressInfo;
    return { host: address, port };
  }

  /** How the protocol is carried. */
  get transport(): 'tcp' | 'tls' | 'ws' | 'wss' {
    const { tls, webSocket } = this.settings;
    const isSecure = tls !== undefined && !tls.isOnRequest;
    if (webSocket === undefined) return isSecure ? 'tls' : 'tcp';
    return isSecure ? 'wss' : 'ws';
  }

  /** Sockets that are open, handshakes included. */
  get connectionCount(): number {
    return this.sockets.size;
  }

  /** @throws Error naming protocol and address when the port cannot be had */
  listen(): Promise<void> {
    const { host, port } = this.settings;
    return new Promise((resolve, reject) => {
      this.server.once('error', (error) => {
        reject(new Error(`cannot listen for ${this.protocol} on ${host}:${port}: ${error.message}`));
      });
      this.server.listen(port, host, resolve);
    });
  }

  /** Accepts nothing more; connections whose protocol has begun go on. */
  stopAccepting(): void {
    this.server.close();
    this.pace?.close();
    for (const { socket } of this.entering) socket.destroy();
  }

  /** Ends what the protocol has left open. */
  close(): void {
    this.stopAccepting();
    for (const socket of this.sockets) socket.destroy();
  }

  private accept(socket: Socket): void {
    const entering = new Entering(socket, (one) => this.admit(one));
    const { remoteAddress } = entering;
    this.sockets.add(socket);
    this.entering.add(entering);
    socket.on('error', (err) => this.log.debug({ err, from: remoteAddress }, `${this.protocol} socket error`));
    socket.once('close', () => this.closed(entering));
    if (this.trusted?.has(remoteAddress) === false) this.drop(entering, 'not a trusted proxy');
    else if (!this.admit(entering) && !this.takeExtra(entering)) this.drop(entering, 'no room for more');
    else if (this.pace === undefined || !this.isLate(entering, this.pace)) this.begin(entering);
  }

  /** Whether the connection has been dealt with because others are before it. */
  private isLate(entering: Entering, pace: ConnectPace): boolean {
    if (pace.enter(() => this.begin(entering))) return true;
    // A TLS handshake is the very work that the limit is there to save.
    if (this.tls !== undefined || !this.takeExtra(entering)) {
      this.drop(entering, 'too many connections a second');
      return true;
    }
    entering.refused = 'connectionRateExceeded';
    return false;
  }

  private begin(entering: Entering): void {
    const { socket } = entering;
    if (socket.destroyed) return;
    entering.timer = setTimeout(() => this.drop(entering, 'the handshake took too long'), this.handshakeTimeoutMs);
    if (this.trusted === undefined) {
      this.encrypted(entering);
      return;
    }
    readProxyHeader(socket, (header) => {
      if (header.state === 'malformed') return this.drop(entering, header.reason);
      entering.remoteAddress = plainAddress(header.source?.address ?? entering.remoteAddress);
      this.encrypted(entering);
    });
  }

  private encrypted(entering: Entering): void {
    if (this.tls === undefined || this.tls.isOnRequest) this.framed(entering, entering.socket);
    else this.startTls(entering, this.tls);
  }

  private startTls(entering: Entering, tls: TlsDoor): void {
    tls.enter(entering.socket, (stream, commonName) => {
      entering.commonName = commonName;
      stream.on('error', (err) => this.log.debug({ err, from: entering.remoteAddress }, 'TLS error'));
      this.framed(entering, stream);
    });
  }

  private framed(entering: Entering, stream: Socket): void {
    if (this.webSocket === undefined) this.greet(entering, stream);
    else {
      this.webSocket.enter(stream, (webSocket) => {
        webSocket.on('error', (err) => this.log.debug({ err, from: entering.remoteAddress }, 'WebSocket error'));
        this.greet(entering, webSocket);
      });
    }
    if (stream.isPaused()) stream.resume();
  }

  private greet(entering: Entering, stream: Duplex): void {
    const { greeting } = this.settings;
    if (greeting === undefined) return this.handOver(entering, stream);
    // TLS can only begin below whatever else there is, and once.
    const tls = stream === entering.socket ? this.tls : undefined;
    const offer = tls === undefined ? 'unavailable' : tls.requireClientCertificate ? 'required' : 'available';
    greeting(stream, offer, (next) => {
      if (next === 'protocol') return this.handOver(entering, stream);
      // In the middle of a handshake nobody decides what the end of the client's side means.
      entering.socket.allowHalfOpen = false;
      this.startTls(entering, tls!);
    });
  }

  private handOver(entering: Entering, stream: Duplex): void {
    clearTimeout(entering.timer);
    this.entering.delete(entering);
    entering.stream = stream;
    this.handler.handleConnection(entering);
  }

  /** Takes a place under every limit, or under none. */
  private admit(entering: Entering): boolean {
    if (this.limits.some((limit) => limit.isReached)) return false;
    for (const limit of this.limits) limit.take();
    entering.isAdmitted = true;
    this.giveBackExtra(entering);
    return true;
  }

  private takeExtra(entering: Entering): boolean {
    if (entering.isExtra) return true;
    if (this.extraCount >= EXTRA_MAX) return false;
    this.extraCount++;
    entering.isExtra = true;
    return true;
  }

  private giveBackExtra(entering: Entering): void {
    if (entering.isExtra) this.extraCount--;
    entering.isExtra = false;
  }

  private closed(entering: Entering): void {
    const { socket } = entering;
    clearTimeout(entering.timer);
    this.entering.delete(entering);
    this.sockets.delete(socket);
    this.giveBackExtra(entering);
    if (entering.isAdmitted) for (const limit of this.limits) limit.giveBack();
  }

  private drop(entering: Entering, reason: string): void {
    this.log.debug({ from: entering.remoteAddress, reason }, `${this.protocol} connection closed`);
    entering.socket.destroy();
  }
}
