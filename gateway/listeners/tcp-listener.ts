import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** Whoever speaks a protocol on accepted connections. */
export interface ConnectionHandler {
  handleConnection(socket: Socket): void;
}

/** One listening TCP port of one protocol. */
export class TcpListener {
  readonly protocol: string;
  private readonly server: Server;
  private readonly host: string;
  private readonly port: number;

  constructor(protocol: string, { host, port }: { host: string; port: number }, handler: ConnectionHandler) {
    this.protocol = protocol;
    this.host = host;
    this.port = port;
    // Protocols decide themselves what the end of the peer's side means.
    this.server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => handler.handleConnection(socket));
  }

  /** `host:port` as it really is, once listening. */
  get address(): { host: string; port: number } {
    const { address, port } = this.server.address() as AddressInfo;
    return { host: address, port };
  }

  /** @throws Error naming protocol and address when the port cannot be had */
  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.once('error', (error) => {
        reject(new Error(`cannot listen for ${this.protocol} on ${this.host}:${this.port}: ${error.message}`));
      });
      this.server.listen(this.port, this.host, resolve);
    });
  }

  /** Accepts nothing more; connections that exist go on. */
  stopAccepting(): void {
    this.server.close();
  }
}
