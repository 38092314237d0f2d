/**
 * The brokers a benchmark compares: how each is started on a free port of 127.0.0.1, what it costs (from Linux's
 * /proc), and how it is stopped again.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { WakeUp } from './mqtt-wake-up.ts';

/** A file to run, its arguments, and the text of a configuration file that `configPath` among them points to. */
export type PeerCommand = {
  file: string;
  args: readonly string[];
  config?: string;
  /** On top of this process's own. */
  env?: Readonly<Record<string, string>>;
};

export type PeerSpec = {
  name: string;
  /** Ways for the load generator to wait; the report takes the one that suits the peer best. */
  wakeUps: readonly WakeUp[];
  /** Why the peer cannot be measured on this machine; undefined when it can. */
  unavailable: () => string | undefined;
  command: (port: number, configPath: string) => PeerCommand;
  /** Ends what the peer leaves behind, once it has ended. */
  afterwards?: (port: number) => void;
};

export type RunningPeer = {
  name: string;
  port: number;
  /** User and system time since the start, of all threads, in microseconds (the kernel counts in steps of 10 000). */
  cpuUs: () => number;
  rssBytes: () => number;
  /** Whether it still runs, and the end of its output. */
  describe: () => string;
  stop: () => Promise<void>;
};

const startDeadlineMs = 60_000;
const stopDeadlineMs = 5_000;
const pageBytes = 4096;
/** Linux reports process times in USER_HZ, which is 100 on every architecture Node.js runs on. */
const usPerTick = 10_000;

/** As `npm start` has them (docs/adr/0007). */
const GATEWAY_FLAGS = ['--initial-old-space-size=512'];
const gatewayPath = fileURLToPath(new URL('../../gateway/main.js', import.meta.url));
const aedesPath = fileURLToPath(new URL('./aedes-peer.js', import.meta.url));

// As Mosquitto below.
const mqttListener = (port: number): string =>
  `mqtt: { inflightMax: 1000, listeners: [ { host: 127.0.0.1, port: ${port} } ] }`;
/** In memory, as the other peers are. */
export const gantryPeer = gatewayPeer('gantry', () => '{ type: memory }', mqttListener);
/** Each message and each acknowledgement on disk before it is confirmed: what `npm start` does. */
export const gantrySyncPeer = gatewayPeer(
  'gantry-sync',
  (configPath) => `{ type: embedded, dir: ${dirname(configPath)}/data, flush: sync }`,
  mqttListener,
);

/** @param listener the setting that makes it listen; it listens for no other protocol */
export function gatewayPeer(
  name: string,
  engine: (configPath: string) => string,
  listener: (port: number) => string,
): PeerSpec {
  return {
    name,
    wakeUps: ['block', 'spin'],
    unavailable: () => (existsSync(gatewayPath) ? undefined : `${gatewayPath} does not exist`),
    command: (port, configPath) => ({
      file: process.execPath,
      args: [...GATEWAY_FLAGS, gatewayPath, '--config', configPath],
      config: [
        `engine: ${engine(configPath)}`,
        ...['mqtt', 'amqp', 'grpc'].map((protocol) => {
          const own = listener(port);
          return own.startsWith(`${protocol}:`) ? own : `${protocol}: { listeners: [ ] }`;
        }),
        '',
      ].join('\n'),
    }),
  };
}

/** In memory. */
export const mosquittoPeer = mosquitto(() => ['persistence false']);
/** Sessions and their queues in its file, which it writes now and then and at its end. */
export const mosquittoDurablePeer = mosquitto((configPath) => [
  'persistence true',
  `persistence_location ${dirname(configPath)}/`,
  'max_queued_bytes 0',
]);
/** Without Nagle's algorithm, which makes who asks one thing at a time wait for delayed acknowledgements: 40 ms. */
export const mosquittoNoDelayPeer = mosquitto(() => ['persistence false', 'set_tcp_nodelay true']);

function mosquitto(persistence: (configPath: string) => readonly string[]): PeerSpec {
  return {
    name: 'mosquitto',
    wakeUps: ['block', 'spin', 150],
    unavailable: () => (findProgram('mosquitto') === undefined ? 'mosquitto is not installed' : undefined),
    command: (port, configPath) => ({
      file: findProgram('mosquitto') ?? 'mosquitto',
      args: ['-c', configPath],
      config: [
        `listener ${port} 127.0.0.1`,
        'allow_anonymous true',
        // Started by root it would become another user, who may not write where its files are to be.
        `user ${userInfo().username}`,
        'max_queued_messages 0',
        'max_inflight_messages 1000',
        ...persistence(configPath),
        'log_type error',
        '',
      ].join('\n'),
    }),
  };
}

export const aedesPeer: PeerSpec = {
  name: 'aedes',
  wakeUps: ['block', 'spin', 150],
  unavailable: () => undefined,
  command: (port) => ({ file: process.execPath, args: [aedesPath, String(port)] }),
};

/**
 * A peer from the command line: `name=command`, split at spaces, with `{port}` where the port belongs.
 *
 * @throws Error when the text has another form.
 */
export function adHocPeer(text: string): PeerSpec {
  const [, name, command] = /^([^=\s]+)=(.*)$/.exec(text) ?? [];
  const [file, ...args] = (command ?? '').split(' ').filter((word) => word !== '');
  if (name === undefined || file === undefined || !text.includes('{port}')) {
    throw new Error(`--peer takes name=command with {port}, not ${JSON.stringify(text)}`);
  }
  return {
    name,
    wakeUps: ['block', 'spin'],
    unavailable: () => undefined,
    command: (port) => ({ file, args: args.map((arg) => arg.replaceAll('{port}', String(port))) }),
  };
}

/**
 * Starts a peer and waits until it accepts a connection.
 *
 * @throws Error with the end of the peer's output when it ends first or does not accept within 15 s.
 */
export async function startPeer(spec: PeerSpec): Promise<RunningPeer> {
  const port = await freePort();
  const directory = mkdtempSync(join(tmpdir(), `gantry-bench-${spec.name}-`));
  const configPath = join(directory, 'config');
  const { file, args, config, env } = spec.command(port, configPath);
  if (config !== undefined) writeFileSync(configPath, config);
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  const output = collectOutput(child);
  const removeDirectory = (): void => rmSync(directory, { recursive: true, force: true });
  const killOnExit = (): void => {
    child.kill('SIGKILL');
    spec.afterwards?.(port);
    removeDirectory();
  };
  process.once('exit', killOnExit);
  const stop = async (): Promise<void> => {
    await stopChild(child);
    spec.afterwards?.(port);
    process.off('exit', killOnExit);
    removeDirectory();
  };
  const describe = (): string => `${spec.name} ${describeState(child)}\n${output()}`.trimEnd();
  try {
    await untilAccepting(child, port);
  } catch (cause) {
    await stop();
    throw new Error(`${describe()}\nThe peer did not start: ${String(cause)}`, { cause });
  }
  const pid = child.pid!;
  return { name: spec.name, port, cpuUs: () => readCpuUs(pid), rssBytes: () => readRssBytes(pid), describe, stop };
}

function collectOutput(child: ChildProcess): () => string {
  const keptChars = 4000;
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (piece: string) => {
      text = (text + piece).slice(-keptChars);
    });
  }
  return () => text;
}

async function untilAccepting(child: ChildProcess, port: number): Promise<void> {
  const pollMs = 25;
  let failure: Error | undefined;
  child.once('error', (error) => {
    failure = error;
  });
  for (const deadline = Date.now() + startDeadlineMs; Date.now() < deadline; await delay(pollMs)) {
    if (failure !== undefined) throw failure;
    if (hasEnded(child)) throw new Error('it ended before it listened');
    if (await accepts(port)) return;
  }
  throw new Error(`no connection was accepted within ${startDeadlineMs} ms`);
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || hasEnded(child)) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopDeadlineMs);
  await ended;
  clearTimeout(timer);
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function describeState(child: ChildProcess): string {
  if (child.pid === undefined) return 'was not started';
  return hasEnded(child) ? `ended with ${child.signalCode ?? `exit code ${child.exitCode}`}` : `runs as ${child.pid}`;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(address !== null && typeof address === 'object');
  server.close();
  await once(server, 'close');
  return address.port;
}

function readCpuUs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field, the program's name, may itself hold spaces and brackets: count from behind its closing one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * usPerTick;
}

function readRssBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * pageBytes;
}

/** Debian keeps daemons in sbin folders, which a user's PATH often lacks. */
function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin'];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    // Not there or not ours to run: both mean that the next folder is to be tried.
    return false;
  }
}
