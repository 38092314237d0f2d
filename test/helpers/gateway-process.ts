import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../dist/gateway/main.js', import.meta.url));

export interface GatewayProcess {
  readonly child: ChildProcess;
  readonly mqttPort: number;
  readonly amqpPort: number;
  readonly grpcPort: number;
  /** Its log so far, one object per line. */
  readonly log: readonly Record<string, unknown>[];
  /** Resolves to the exit code; null when a signal ended it. */
  readonly exited: Promise<number | null>;
}

export interface StartingGateway {
  readonly child: ChildProcess;
  /** As in GatewayProcess. */
  readonly exited: Promise<number | null>;
  /** Resolves when it listens for all protocols; rejects when it ends before that. */
  readonly ready: Promise<GatewayProcess>;
}

/** The built gateway in a process of its own, on free ports (`npm run build` first). `overrides` as for --set. */
export function startGatewayProcess(overrides: readonly string[] = []): Promise<GatewayProcess> {
  return spawnGatewayProcess(overrides).ready;
}

/** The same for who has business with it before it listens. */
export function spawnGatewayProcess(
  overrides: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): StartingGateway {
  const engine = overrides.some((setting) => setting.startsWith('engine.dir=')) ? [] : ['engine.type=memory'];
  const settings = [
    ...engine,
    'mqtt.listeners=[{ host: 127.0.0.1, port: 0 }]',
    'amqp.listeners=[{ host: 127.0.0.1, port: 0 }]',
    'grpc.listeners=[{ host: 127.0.0.1, port: 0 }]',
    ...overrides,
  ];
  const flags = settings.flatMap((setting) => ['--set', setting]);
  const env = { ...process.env, ...environment };
  const child = spawn(process.execPath, [MAIN, ...flags], { stdio: ['ignore', 'pipe', 'inherit'], env });
  const exited = once(child, 'close').then(([code]) => code as number | null);
  const log: Record<string, unknown>[] = [];
  const ports = new Map<string, number>();
  const ready = new Promise<GatewayProcess>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const entry = JSON.parse(line) as Record<string, unknown>;
      log.push(entry);
      if (typeof entry['protocol'] === 'string') ports.set(entry['protocol'], entry['port'] as number);
      const [mqttPort, amqpPort, grpcPort] = ['mqtt', 'amqp', 'grpc'].map((protocol) => ports.get(protocol));
      if (mqttPort === undefined || amqpPort === undefined || grpcPort === undefined) return;
      resolve({ child, mqttPort, amqpPort, grpcPort, log, exited });
    });
    exited.then((code) => reject(new Error(`the gateway ended with ${code}`)), reject);
  });
  return { child, exited, ready };
}

/** Runs the built gateway until it ends by itself. */
export async function runGateway(...flags: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return runGatewayWith('', ...flags);
}

/** The same with something on standard input. */
export async function runGatewayWith(
  input: string,
  ...flags: string[]
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [MAIN, ...flags], { stdio: ['pipe', 'pipe', 'pipe'] });
  // Who does not read it may have ended.
  child.stdin.on('error', () => undefined).end(input);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}
