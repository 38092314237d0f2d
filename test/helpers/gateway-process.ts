import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../dist/gateway/main.js', import.meta.url));

export interface GatewayProcess {
  readonly child: ChildProcess;
  readonly mqttPort: number;
  readonly grpcPort: number;
  /** Its log so far, one object per line. */
  readonly log: readonly Record<string, unknown>[];
  /** Resolves to the exit code; null when a signal ended it. */
  readonly exited: Promise<number | null>;
}

/**
 * The built gateway in a process of its own, on free ports (`npm run build` first). `overrides` as for --set; without an
 * `engine.dir` among them it keeps its messages in memory.
 */
export async function startGatewayProcess(overrides: readonly string[] = []): Promise<GatewayProcess> {
  const engine = overrides.some((setting) => setting.startsWith('engine.dir=')) ? [] : ['engine.type=memory'];
  const settings = [
    ...engine,
    'mqtt.listeners=[{ host: 127.0.0.1, port: 0 }]',
    'grpc.listeners=[{ host: 127.0.0.1, port: 0 }]',
    ...overrides,
  ];
  const flags = settings.flatMap((setting) => ['--set', setting]);
  const child = spawn(process.execPath, [MAIN, ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'close').then(([code]) => code as number | null);
  const log: Record<string, unknown>[] = [];
  const ports = new Map<string, number>();
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const entry = JSON.parse(line) as Record<string, unknown>;
      log.push(entry);
      if (typeof entry['protocol'] === 'string') ports.set(entry['protocol'], entry['port'] as number);
      if (ports.has('mqtt') && ports.has('grpc')) resolve();
    });
    exited.then((code) => reject(new Error(`the gateway ended with ${code}`)), reject);
  });
  return { child, mqttPort: ports.get('mqtt')!, grpcPort: ports.get('grpc')!, log, exited };
}

/** Runs the built gateway until it ends by itself. */
export async function runGateway(...flags: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [MAIN, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}
