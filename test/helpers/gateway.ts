import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startGateway, type Gateway } from '../../gateway/compose.ts';
import type { Logger } from '../../core/ports/logger.ts';
import { parseConfig } from '../../gateway/config/load.ts';
import { fail } from './fail.ts';
import { SILENT } from './silent-logger.ts';

export interface TestGateway {
  readonly gateway: Gateway;
  readonly mqttPort: number;
  /** Of all MQTT listeners, in the order of the configuration. */
  readonly mqttPorts: readonly number[];
  /** Of all AMQP listeners, in the order of the configuration. */
  readonly amqpPorts: readonly number[];
  readonly grpcPort: number;
}

/**
 * A whole gateway in this process, on free ports. `overrides` as for --set; without an `engine.dir` among them it has a
 * directory of its own, for as long as it runs.
 */
export async function startTestGateway(overrides: readonly string[] = [], log: Logger = SILENT): Promise<TestGateway> {
  const isGiven = overrides.some((setting) => setting.startsWith('engine.dir='));
  const dir = isGiven ? undefined : await mkdtemp(join(tmpdir(), 'gantry-'));
  const config = parseConfig('', 'test', [
    'mqtt.listeners=[{ host: 127.0.0.1, port: 0 }]',
    'amqp.listeners=[{ host: 127.0.0.1, port: 0 }]',
    'grpc.listeners=[{ host: 127.0.0.1, port: 0 }]',
    'shutdownGraceMs=1000',
    ...(dir === undefined ? [] : [`engine.dir=${dir}`]),
    ...overrides,
  ]);
  const started = await startGateway(config, log, fail);
  const stop = async (): Promise<void> => {
    await started.stop();
    if (dir !== undefined) await rm(dir, { recursive: true, force: true });
  };
  const gateway = { ...started, stop };
  const portsOf = (protocol: string): number[] =>
    gateway.listeners.filter((listener) => listener.protocol === protocol).map(({ address }) => address.port);
  const mqttPorts = portsOf('mqtt');
  const [mqttPort, grpcPort] = [mqttPorts[0]!, portsOf('grpc')[0]!];
  return { gateway, mqttPort, mqttPorts, amqpPorts: portsOf('amqp'), grpcPort };
}
