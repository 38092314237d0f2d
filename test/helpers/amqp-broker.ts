import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
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
  const listener = gateway.listeners.find(({ protocol }) => (protocol as string) === 'amqp');
  if (listener === undefined) throw new Error('the gateway does not listen for AMQP');
  return listener.address.port;
}

export interface DriverResult {
  readonly name: string;
  readonly passed: boolean;
  readonly line: string;
}

/**
 * Runs a driver that prints `PASS name` or `FAIL name: why` for each of its scenarios, and hands each line out as it comes.
 * Resolves when the driver has ended; rejects when it ends with another code than 0 and 1.
 */
export async function runDriver(
  file: string,
  args: readonly string[],
  onResult: (result: DriverResult) => void,
): Promise<void> {
  const child: ChildProcess = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const closed = once(child, 'close') as Promise<[number | null]>;
  for await (const line of createInterface({ input: child.stdout! })) {
    const [, word, name] = /^(PASS|FAIL) ([^: ]+)/.exec(line) ?? [];
    if (name !== undefined) onResult({ name, passed: word === 'PASS', line });
  }
  const [code] = await closed;
  if (code !== 0 && code !== 1) throw new Error(`${file} ended with ${code}: ${errors}`);
}

/** Whether the program runs and ends well. */
export function works(file: string, args: readonly string[]): boolean {
  return spawnSync(file, args, { stdio: 'ignore' }).status === 0;
}
