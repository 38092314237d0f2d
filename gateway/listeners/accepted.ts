import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** A connection that is ready for its protocol, PROXY header, TLS and WebSocket taken off. */
export interface Accepted {
  /** The protocol's bytes. */
  readonly stream: Duplex;
  /** What carries them; the same where there is nothing in between. */
  readonly socket: Socket;
  /** The client's, also behind a proxy that says it. */
  readonly remoteAddress: string;
  /** From the client's verified certificate, if it has shown one: the common name of the subject. */
  readonly commonName: string | undefined;
  /** Why there is no room for it, to be asked when the protocol can say so. */
  refusal(): Refusal | undefined;
}

export type Refusal = 'quotaExceeded' | 'connectionRateExceeded';

/** Whoever speaks a protocol on accepted connections. */
export interface ConnectionHandler {
  handleConnection(accepted: Accepted): void;
}
