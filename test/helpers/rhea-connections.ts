import type { Socket } from 'node:net';
import rhea, { type Connection, type ConnectionOptions, type EventContext } from 'rhea';
import { WebSocket, type ClientOptions } from 'ws';

export type RheaOptions = Partial<ConnectionOptions> & { readonly sasl_mechanisms?: object };

/** For clients that cannot see that there is TLS below; where they can, it is `enable_sasl_external`. */
export function externalMechanism(): object {
  const mechanisms = rhea.sasl.client_mechanisms() as { enable_external(): void };
  mechanisms.enable_external();
  return mechanisms;
}

/** Opens an AMQP connection with one session over a stream that is ready. Rejects with what the server says instead. */
export function openRhea(stream: Socket, options: RheaOptions = {}): Promise<Connection> {
  const connect = (_port: number, _host: string, _options: unknown, connected: () => void): Socket => {
    process.nextTick(connected);
    return stream;
  };
  return open({ ...options, connection_details: () => ({ connect, host: 'localhost', port: 0 }) });
}

/** The same over a WebSocket; `wss` where there is an authority. */
export function openRheaOverWebSocket(
  port: number,
  webSocket: ClientOptions & { readonly path?: string; readonly protocols?: string[] } = {},
  options: RheaOptions = {},
): Promise<Connection> {
  const { path = '/amqp', protocols = ['amqp'], ...rest } = webSocket;
  const url = `${'ca' in webSocket ? 'wss' : 'ws'}://127.0.0.1:${port}${path}`;
  const details = rhea.create_container().websocket_connect(WebSocket)(url, protocols, rest);
  return open({ ...options, connection_details: details });
}

function open(options: object): Promise<Connection> {
  const connection = rhea.create_container().create_connection({ reconnect: false, ...options } as ConnectionOptions);
  // rhea throws what nobody listens to.
  connection.on('error', () => {});
  return new Promise((resolve, reject) => {
    const fail = ({ error, connection: { error: closed } }: EventContext): void => {
      reject(error ?? closed ?? new Error('the connection was lost'));
    };
    connection.on('connection_open', () => connection.create_session().begin());
    connection.on('session_open', () => resolve(connection));
    for (const event of ['connection_error', 'connection_close', 'disconnected', 'error']) connection.on(event, fail);
    connection.connect();
  });
}

/** Says good-bye and waits until the server has done so too. */
export async function closeRhea(connection: Connection): Promise<void> {
  const closed = new Promise((resolve) => connection.once('connection_close', resolve));
  connection.close();
  await closed;
}
