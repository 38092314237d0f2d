import { createServer, STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type ServerOptions, type WebSocket } from 'ws';
import type { Logger } from '../../core/ports/logger.ts';
import { WebSocketStream } from './web-socket-stream.ts';

export interface WebSocketSettings {
  readonly path: string;
  /** Web pages that may connect, by origin; undefined: all, and whatever is no browser. */
  readonly origins?: readonly string[] | undefined;
  /** What is spoken, for people. */
  readonly protocol: string;
  /** Names for it in the handshake, the best one first. */
  readonly subprotocols: readonly string[];
  /** What the protocol sends at once, at most: before the gateway has answered anything, and afterwards. */
  readonly firstBytesMax: number;
  readonly unitBytesMax: number;
}

const CLOSE_TIMEOUT_MS = 5_000;
const HEADER_BYTES_MAX = 8 * 1024;
/** A message may hold several packets or frames. */
const BUNDLE_BYTES_MAX = 1024 * 1024;
/** What one read of a socket may bring. */
const READ_BYTES_MAX = 64 * 1024;
const CLOSE_TOO_BIG = 1009;

type Opened = (stream: WebSocketStream) => void;

/** Turns HTTP connections into WebSockets that carry one protocol, and answers every other request in short. */
export class WebSocketDoor {
  private readonly http: Server;
  private readonly webSockets: WebSocketServer;
  private readonly settings: WebSocketSettings;
  private readonly log: Logger;
  private readonly entering = new WeakMap<Duplex, Opened>();

  constructor(settings: WebSocketSettings, log: Logger) {
    this.settings = settings;
    this.log = log;
    const options: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: settings.unitBytesMax + BUNDLE_BYTES_MAX,
      closeTimeout: CLOSE_TIMEOUT_MS,
      handleProtocols: (offered) => settings.subprotocols.find((name) => offered.has(name)) ?? false,
    };
    this.webSockets = new WebSocketServer(options);
    this.http = createServer({ maxHeaderSize: HEADER_BYTES_MAX }, (request, response) =>
      this.answer(request, response),
    );
    this.http.on('upgrade', (request, socket, head) => this.upgrade(request, socket, head));
  }

  enter(socket: Socket, opened: Opened): void {
    this.entering.set(socket, opened);
    this.http.emit('connection', socket);
  }

  /** A request that is no upgrade. */
  private answer(request: IncomingMessage, response: ServerResponse): void {
    const { path, protocol } = this.settings;
    const isFound = pathOf(request) === path;
    this.log.debug(
      { from: request.socket.remoteAddress, url: request.url },
      'an HTTP request where WebSocket is spoken',
    );
    const body = isFound ? `This is ${protocol} over WebSocket.\n` : 'There is nothing here.\n';
    response.writeHead(isFound ? 426 : 404, {
      'Content-Length': Buffer.byteLength(body),
      'Content-Type': 'text/plain; charset=utf-8',
      Connection: isFound ? 'close, Upgrade' : 'close',
      ...(isFound && { Upgrade: 'websocket' }),
    });
    response.end(body);
  }

  private upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const refusal = this.refusalOf(request);
    if (refusal !== undefined) {
      this.log.debug({ from: request.socket.remoteAddress, url: request.url, status: refusal.status }, refusal.reason);
      refuse(socket, refusal.status, refusal.reason);
      return;
    }
    this.webSockets.handleUpgrade(request, socket, head, (webSocket) => this.opened(webSocket, socket));
  }

  private refusalOf(request: IncomingMessage): { status: number; reason: string } | undefined {
    const { path, origins, subprotocols } = this.settings;
    const { origin, 'sec-websocket-protocol': offered = '' } = request.headers;
    if (pathOf(request) !== path) return { status: 404, reason: 'There is nothing here.' };
    if (origins !== undefined && origin !== undefined && !origins.includes(origin)) {
      return { status: 403, reason: 'This web page may not connect.' };
    }
    const isOffered = offered.split(',').some((name) => subprotocols.includes(name.trim()));
    return isOffered ? undefined : { status: 400, reason: `The WebSocket subprotocol has to be ${subprotocols[0]}.` };
  }

  private opened(webSocket: WebSocket, socket: Duplex): void {
    const stream = new WebSocketStream(webSocket);
    this.limitBeforeAnswer(stream, socket);
    this.entering.get(socket)!(stream);
  }

  /** `ws` gathers a whole message first: who has not been answered yet gets no room for a large one. */
  private limitBeforeAnswer(stream: WebSocketStream, socket: Duplex): void {
    const bytesMax = this.settings.firstBytesMax + READ_BYTES_MAX;
    let bytes = 0;
    const count = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (stream.hasAnswered || stream.destroyed) socket.off('data', count);
      else if (bytes > bytesMax) {
        socket.off('data', count);
        stream.refuse(CLOSE_TOO_BIG, 'too much at once');
      }
    };
    socket.on('data', count);
  }
}

function pathOf({ url = '' }: IncomingMessage): string {
  return url.split('?', 1)[0]!;
}

function refuse(socket: Duplex, status: number, reason: string): void {
  const body = `${reason}\n`;
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n` +
      'Content-Type: text/plain; charset=utf-8\r\n' +
      `Content-Length: ${Buffer.byteLength(body)}\r\n` +
      `Connection: close\r\n\r\n${body}`,
  );
}
