import { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';

const HIGH_WATER_BYTES = 64 * 1024;
/** RFC 6455 7.4.1 */
const CLOSE_NORMAL = 1000;
const CLOSE_UNSUPPORTED_DATA = 1003;

/**
 * The binary messages of a WebSocket as one stream of bytes, in both directions: what is written at once is one frame. A text
 * message ends it [MQTT-6.0.0-1]; so does AMQP's WebSocket binding ask for.
 */
export class WebSocketStream extends Duplex {
  private readonly webSocket: WebSocket;
  /** The peer is told why it is cut off, so the socket has to outlive this stream. */
  private isRefused = false;
  private isAnswered = false;

  constructor(webSocket: WebSocket) {
    super({ highWaterMark: HIGH_WATER_BYTES });
    this.webSocket = webSocket;
    webSocket.on('message', (data: Buffer, isBinary) => {
      if (!isBinary) this.refuse(CLOSE_UNSUPPORTED_DATA, 'binary frames only');
      else if (!this.destroyed && !this.push(data)) webSocket.pause();
    });
    // Whatever is no WebSocket frame, or too large: `ws` has told the peer already.
    webSocket.on('error', (error) => {
      this.isRefused = true;
      this.destroy(error);
    });
    webSocket.on('close', () => this.push(null));
  }

  /** Whether the gateway has said anything on it. */
  get hasAnswered(): boolean {
    return this.isAnswered;
  }

  /** Ends it from our side, with the reason in the close frame. */
  refuse(code: number, reason: string): void {
    if (this.destroyed) return;
    this.isRefused = true;
    this.webSocket.close(code, reason);
    this.webSocket.resume();
    this.destroy(new Error(reason));
  }

  override _read(): void {
    if (this.webSocket.isPaused) this.webSocket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.isAnswered = true;
    this.webSocket.send(chunk, callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.webSocket.close(CLOSE_NORMAL);
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (!this.isRefused) this.webSocket.terminate();
    callback(error);
  }
}
