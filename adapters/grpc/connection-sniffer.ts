import type { Duplex } from 'node:stream';

/** RFC 9113 3.4: what a client sends first when it knows that the server speaks HTTP/2. */
const HTTP2_PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
/** RFC 8446 5.1: the content type of a handshake record. */
const TLS_HANDSHAKE = 0x16;
/** RFC 9110 9.1: a method is a token; a request line has a space behind it. */
const HTTP1_METHOD = /^[A-Z]{3,16} /;
const HTTP1_METHOD_BYTES_MAX = 17;

/** What the first bytes of a connection say about it. */
export type FirstBytes = 'tls' | 'http2' | 'http1' | 'unknown' | 'more';
export type KnownFirstBytes = Exclude<FirstBytes, 'more'>;

/** Tells protocols apart by the first bytes; `more` when they are too few to say. */
export function classify(bytes: Buffer): FirstBytes {
  if (bytes.length === 0) return 'more';
  if (bytes[0] === TLS_HANDSHAKE) return 'tls';
  const prefaceBytes = Math.min(bytes.length, HTTP2_PREFACE.length);
  if (bytes.subarray(0, prefaceBytes).equals(HTTP2_PREFACE.subarray(0, prefaceBytes))) {
    return bytes.length >= HTTP2_PREFACE.length ? 'http2' : 'more';
  }
  const start = bytes.toString('latin1', 0, HTTP1_METHOD_BYTES_MAX);
  if (HTTP1_METHOD.test(start)) return 'http1';
  return bytes.length < HTTP1_METHOD_BYTES_MAX && /^[A-Z]+$/.test(start) ? 'more' : 'unknown';
}

/**
 * Waits for the first bytes and puts them back, so that whoever takes over the socket reads them again.
 * @param found called once, unless the socket ends before
 */
export function sniff(socket: Duplex, found: (kind: KnownFirstBytes) => void): void {
  let seen: Buffer | undefined;
  const onReadable = (): void => {
    for (;;) {
      const chunk: unknown = socket.read();
      if (!Buffer.isBuffer(chunk)) return;
      seen = seen === undefined ? chunk : Buffer.concat([seen, chunk]);
      const kind = classify(seen);
      if (kind === 'more') continue;
      socket.off('readable', onReadable);
      socket.unshift(seen);
      found(kind);
      return;
    }
  };
  socket.on('readable', onReadable);
}

/** Tells a client that speaks HTTP/1 where it ended up, and closes. */
export function refuseHttp1(socket: Duplex): void {
  const body = 'This port speaks gRPC (HTTP/2) for Apache RocketMQ 5 clients.\n';
  socket.end(
    'HTTP/1.1 400 Bad Request\r\n' +
      'Content-Type: text/plain; charset=utf-8\r\n' +
      `Content-Length: ${Buffer.byteLength(body)}\r\n` +
      `Connection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}
