import { startGateway, type Gateway } from '../../gateway/compose.ts';
import { parseConfig } from '../../gateway/config/load.ts';
import { SILENT } from './silent-logger.ts';

export interface TestGateway {
  readonly gateway: Gateway;
  readonly mqttPort: number;
  readonly grpcPort: number;
}

/** A whole gateway in this process, on free ports. `overrides` as for --set. */
export async function startTestGateway(overrides: readonly string[] = []): Promise<TestGateway> {
  const config = parseConfig('', 'test', [
    'mqtt.listeners=[{ host: 127.0.0.1, port: 0 }]',
    'grpc.listeners=[{ host: 127.0.0.1, port: 0 }]',
    'shutdownGraceMs=1000',
    ...overrides,
  ]);
  const gateway = await startGateway(config, SILENT);
  const portOf = (protocol: string): number => gateway.listeners.find((l) => l.protocol === protocol)!.address.port;
  return { gateway, mqttPort: portOf('mqtt'), grpcPort: portOf('grpc') };
}
