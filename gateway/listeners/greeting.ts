import type { Duplex } from 'node:stream';

/**
 * Looks at the first bytes of a connection before its protocol begins. Whoever is not greeted gets an answer and no more; the
 * listener closes at the end of the time for handshakes what the client does not.
 * @param tls whether the client may, or has to, ask for TLS with its first bytes
 * @param greeted called once, unless the stream ends before: the protocol may begin, or TLS, and then the greeting once more
 */
export type Greeting = (
  stream: Duplex,
  tls: 'unavailable' | 'available' | 'required',
  greeted: (next: 'protocol' | 'tls') => void,
) => void;
