import type { Duplex } from 'node:stream';
import type { Greeting } from './greeting.ts';

/** AMQP 2.2: `AMQP`, the protocol id, major, minor, revision. */
export const AMQP_HEADER_BYTES = 8;

function header(id: number): Buffer {
  return Buffer.from([...Buffer.from('AMQP', 'latin1'), id, 1, 0, 0]);
}

export const AMQP_HEADER = header(0);
/** AMQP 5.2 */
export const AMQP_TLS_HEADER = header(2);
/** AMQP 5.3 */
export const AMQP_SASL_HEADER = header(3);

const PROTOCOL = [AMQP_SASL_HEADER, AMQP_HEADER];
const SPOKEN: Record<Parameters<Greeting>[1], readonly Buffer[]> = {
  unavailable: PROTOCOL,
  available: [...PROTOCOL, AMQP_TLS_HEADER],
  required: [AMQP_TLS_HEADER],
};

/**
 * Reads the protocol header of a connection and decides who goes on with it. AMQP 1.0 and its SASL layer get the stream as if
 * nobody had read from it; the TLS header is answered in kind and taken off (AMQP 5.2). Every other header, that of 0-9-1 too,
 * is answered with the one that is preferred here, and the connection ends (AMQP 2.2).
 */
export const greetAmqp: Greeting = (stream, tls, greeted) => {
  const spoken = SPOKEN[tls];
  readHeader(stream, spoken, (bytes) => {
    const found = spoken.find((one) => isAlike(bytes, one));
    if (found === undefined) {
      refuse(stream, spoken[0]!);
      return;
    }
    const isTls = found === AMQP_TLS_HEADER;
    const rest = isTls ? bytes.subarray(AMQP_HEADER_BYTES) : bytes;
    if (rest.length > 0) stream.unshift(rest);
    if (isTls) stream.write(found, () => greeted('tls'));
    else greeted('protocol');
  });
};

/** @param read called once, with a whole header or with what cannot become one of those, unless the stream ends before */
function readHeader(stream: Duplex, spoken: readonly Buffer[], read: (bytes: Buffer) => void): void {
  let seen: Buffer | undefined;
  const onEnd = (): void => void stream.destroy();
  const onReadable = (): void => {
    for (;;) {
      const chunk = stream.read() as Buffer | null;
      if (chunk === null) return;
      seen = seen === undefined ? chunk : Buffer.concat([seen, chunk]);
      const bytes = seen;
      if (bytes.length < AMQP_HEADER_BYTES && spoken.some((one) => isAlike(bytes, one))) continue;
      stream.off('readable', onReadable);
      stream.off('end', onEnd);
      read(bytes);
      return;
    }
  };
  stream.on('readable', onReadable);
  stream.on('end', onEnd);
}

/** Whether as much of the header as there can be is there. */
function isAlike(bytes: Buffer, one: Buffer): boolean {
  const length = Math.min(bytes.length, AMQP_HEADER_BYTES);
  return bytes.compare(one, 0, length, 0, length) === 0;
}

/** What is still on its way here is read and forgotten: closing before that would take our answer along. */
function refuse(stream: Duplex, preferred: Buffer): void {
  stream.on('data', () => {});
  stream.end(preferred);
}
