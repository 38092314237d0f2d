import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { Logger } from '../../core/ports/logger.ts';

export interface TlsSettings {
  /** PEM. */
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Who may vouch for clients; PEM. */
  readonly ca?: Buffer | undefined;
  /** Asks for a certificate; one that is shown has to be good. */
  readonly requestClientCertificate: boolean;
  /** Lets nobody in without one. */
  readonly requireClientCertificate: boolean;
  /** A certificate that is shown has to name the client: one common name. */
  readonly needsCommonName: boolean;
  /** It begins when the protocol asks for it, not with the first byte. */
  readonly isOnRequest: boolean;
}

type Opened = (stream: TLSSocket, commonName: string | undefined) => void;

/** Takes TLS off accepted connections. A handshake that fails ends its own connection and nothing else. */
export class TlsDoor {
  readonly isOnRequest: boolean;
  readonly requireClientCertificate: boolean;
  private readonly server: Server;
  private readonly log: Logger;
  private readonly needsCommonName: boolean;
  private readonly entering = new Map<string, Opened>();

  /** @throws Error when certificate and key do not belong together or are no PEM */
  constructor(settings: TlsSettings, handshakeTimeoutMs: number, log: Logger) {
    this.log = log;
    this.needsCommonName = settings.needsCommonName;
    this.isOnRequest = settings.isOnRequest;
    this.requireClientCertificate = settings.requireClientCertificate;
    const { cert, key, ca, requestClientCertificate, requireClientCertificate } = settings;
    this.server = createServer({
      cert,
      key,
      ...(ca !== undefined && { ca }),
      minVersion: 'TLSv1.2',
      requestCert: requestClientCertificate || requireClientCertificate,
      rejectUnauthorized: requireClientCertificate,
      handshakeTimeout: handshakeTimeoutMs,
    });
    this.server.on('secureConnection', (stream: TLSSocket) => this.secured(stream));
    this.server.on('tlsClientError', (err, stream) => {
      this.log.debug({ err, from: stream.remoteAddress }, 'the TLS handshake failed');
      stream.destroy();
    });
  }

  /** @param opened called with the name in the certificate, if the client has shown one */
  enter(socket: Socket, opened: Opened): void {
    const key = endpointsOf(socket);
    this.entering.set(key, opened);
    socket.once('close', () => this.entering.delete(key));
    this.server.emit('connection', socket);
  }

  private secured(stream: TLSSocket): void {
    const opened = this.entering.get(endpointsOf(stream));
    const subject = stream.getPeerCertificate().subject as { CN?: unknown } | undefined;
    // Without `requireClientCertificate` the handshake succeeds with any certificate.
    if (opened === undefined || (subject !== undefined && !stream.authorized)) {
      this.log.debug({ reason: stream.authorizationError }, 'the certificate of the client cannot be verified');
      stream.destroy();
      return;
    }
    const commonName = subject && commonNameOf(subject);
    if (commonName === '' && this.needsCommonName) {
      this.log.debug({ from: stream.remoteAddress }, 'the certificate of the client has no usable common name');
      stream.destroy();
      return;
    }
    opened(stream, commonName);
  }
}

/** Node does not say which socket a TLS socket came from; no two connections share both ends. */
function endpointsOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}

/** Empty when the subject has none, several, or one that is no name. */
function commonNameOf({ CN }: { CN?: unknown }): string {
  return typeof CN === 'string' && !/\p{Cc}/u.test(CN) ? CN : '';
}
