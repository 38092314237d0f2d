import type { Test } from 'tap';
import { startTestGateway } from './gateway.ts';

/**
 * The broker that AMQP 1.0 clients are tried against: a gateway of this process, or with GANTRY_INTEROP_AMQP_PORT another
 * one, which is how the scenarios themselves are checked. GANTRY_INTEROP_AMQP_LACKS=selectors,... names what it cannot do.
 */
const otherPort = process.env['GANTRY_INTEROP_AMQP_PORT'];
const lacking = new Set((process.env['GANTRY_INTEROP_AMQP_LACKS'] ?? '').split(',').filter((name) => name !== ''));

/** What another broker may lack. The gateway can do all of it. */
export type AmqpFeature =
  | 'selectors'
  | 'topics'
  | 'browse'
  | 'dynamic'
  | 'durable'
  | 'shared'
  | 'transactions'
  | 'anonymous'
  | 'no-local'
  | 'second'
  | 'modified'
  | 'delay'
  | 'drain'
  | 'azure';

export function lacks(feature: AmqpFeature | undefined): boolean {
  return feature !== undefined && lacking.has(feature);
}

/** The port to connect to; ends with the test. */
export async function amqpBrokerPort(t: Test): Promise<number> {
  if (otherPort !== undefined) return Number(otherPort);
  const overrides = ['engine.type=memory', 'amqp.listeners=[{ host: 127.0.0.1, port: 0 }]'];
  const { gateway } = await startTestGateway(overrides);
  t.teardown(() => gateway.stop());
  const listener = gateway.listeners.find(({ protocol }) => protocol === 'amqp');
  if (listener === undefined) throw new Error('the gateway does not listen for AMQP');
  return listener.address.port;
}
