import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { GrpcAdapter, type TlsMaterial } from '../../adapters/grpc/grpc-adapter.ts';
import type { GrpcOptions } from '../../adapters/grpc/options.ts';
import { openMemoryEngine } from '../../adapters/storage/embedded/open.ts';
import { Broker } from '../../core/broker.ts';
import type { Authenticator } from '../../core/ports/authenticator.ts';
import { ALLOW_ALL, type Authorizer } from '../../core/ports/authorizer.ts';
import type { Logger } from '../../core/ports/logger.ts';
import { SystemClock } from '../../gateway/system-clock.ts';
import { fail } from './fail.ts';
import { SILENT } from './silent-logger.ts';

export interface GrpcServerParts {
  readonly tls?: TlsMaterial;
  readonly options?: Partial<GrpcOptions>;
  readonly authenticator?: Authenticator;
  readonly authorizer?: Authorizer;
  readonly log?: Logger;
  readonly autoCreate?: boolean;
}

export interface GrpcServer {
  readonly broker: Broker;
  readonly adapter: GrpcAdapter;
  readonly port: number;
  close(): Promise<void>;
}

const ANYONE: Authenticator = {
  authenticate: () => Promise.resolve({ name: 'anyone', anonymous: true }),
  exchange: () => undefined,
};

/** The gRPC adapter on a free port, over the real core and a memory engine. */
export async function startGrpcServer(parts: GrpcServerParts = {}): Promise<GrpcServer> {
  const clock = new SystemClock();
  const log = parts.log ?? SILENT;
  const autoCreate = parts.autoCreate ?? true;
  const broker = new Broker(
    {
      ...openMemoryEngine(256 * 1024 * 1024),
      authenticator: parts.authenticator ?? ANYONE,
      authorizer: parts.authorizer ?? ALLOW_ALL,
      clock,
      log,
      envelopeReaders: [],
      onFailure: fail,
    },
    {
      topics: { autoCreate, countMax: 100 },
      groups: { autoCreate, countMax: 100 },
      bodyBytesMax: 4 * 1024 * 1024,
    },
  );
  await broker.start();
  const { tls, options } = parts;
  const adapter = new GrpcAdapter({ broker, log, ...(tls && { tls }), ...(options && { options }) });
  await adapter.start();
  const server = createServer({ pauseOnConnect: true }, (socket: Socket) => adapter.handleConnection(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { broker, adapter, port: portOf(server), close: () => close(server, adapter, broker) };
}

async function close(server: Server, adapter: GrpcAdapter, broker: Broker): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  await adapter.shutdown(500);
  await closed;
  await broker.stop();
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server does not listen on a TCP port');
  return address.port;
}
