import type { Test } from 'tap';
import { startTestGateway, type TestGateway } from './gateway.ts';
import type { RecordedLog } from './recorded-log.ts';

type Protocol = 'mqtt' | 'amqp';

/** A gateway in memory with these listeners, on free ports, for as long as the test runs; everyone may come in. */
export async function startListeners(
  t: Test,
  protocol: Protocol,
  listeners: readonly object[],
  overrides: readonly string[] = [],
  log?: RecordedLog,
): Promise<TestGateway> {
  const all = listeners.map((listener) => ({ port: 0, ...listener }));
  const settings = [
    'engine.type=memory',
    `${protocol}.listeners=${JSON.stringify(all)}`,
    'anonymous=true',
    ...overrides,
  ];
  const gateway = await startTestGateway(settings, log);
  t.teardown(() => gateway.gateway.stop());
  return gateway;
}

/** Sockets that are open, handshakes included. */
export function openConnections({ gateway }: TestGateway, protocol: Protocol): number {
  const some = gateway.listeners.filter((listener) => listener.protocol === protocol);
  return some.reduce((sum, { connectionCount }) => sum + connectionCount, 0);
}
