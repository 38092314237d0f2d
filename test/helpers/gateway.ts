import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startGateway, type Gateway } from '../../gateway/compose.ts';
import { parseConfig } from '../../gateway/config/load.ts';
import { fail } from './fail.ts';
import { SILENT } from './silent-logger.ts';

export interface TestGateway {
  readonly gateway: Gateway;
  readonly mqttPort: number;
  readonly grpcPort: number;
}

/** A whole gateway in this process, on free ports and in a directory of its own. `overrides` as for --set. */
export async function startTestGateway(overrides: readonly string[] = []): Promise<TestGateway> {
  const dir = await mkdtemp(join(tmpdir(), 'gantry-'));
  const config = parseConfig('', 'test', [
    'mqtt.listeners=[{ host: 127.0.0.1, port: 0 }]',
    'grpc.listeners=[{ host: 127.0.0.1, port: 0 }]',
    'shutdownGraceMs=1000',
    `engine.dir=${dir}`,
    ...overrides,
  ]);
  const started = await startGateway(config, SILENT, fail);
  const stop = async (): Promise<void> => {
    await started.stop();
    await rm(dir, { recursive: true, force: true });
  };
  const gateway = { ...started, stop };
  const portOf = (protocol: string): number => gateway.listeners.find((l) => l.protocol === protocol)!.address.port;
  return { gateway, mqttPort: portOf('mqtt'), grpcPort: portOf('grpc') };
}
