import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { configSchema, type AmqpListenerConfig, type Config, type MqttListenerConfig } from './schema.ts';

/** The configuration cannot be used; the message says where and why, one line per problem. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** Reads and checks a YAML file. @throws ConfigError */
export function loadConfig(file: string, overrides: readonly string[] = []): Config {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(`${file}: cannot be read: ${(error as Error).message}`);
  }
  return parseConfig(text, file, overrides);
}

/**
 * @param name of the text, for messages
 * @param overrides `path.to.key=value` each; values are YAML
 * @throws ConfigError
 */
export function parseConfig(text: string, name: string, overrides: readonly string[] = []): Config {
  const document = parseDocument(text);
  const [problem] = document.errors;
  if (problem !== undefined) throw new ConfigError(`${name}: ${problem.message}`);
  const values = (document.toJS() ?? {}) as unknown;
  for (const override of overrides) applyOverride(values, override);
  const parsed = configSchema.safeParse(values);
  if (!parsed.success) throw new ConfigError(`${name}: ${describe(parsed.error)}`);
  checkExposure(parsed.data);
  return parsed.data;
}

function describe(error: z.ZodError): string {
  return error.issues
    .map((issue) => {
      const path = issue.path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('');
      return `${path.replace(/^\./, '') || 'the configuration'}: ${issue.message}`;
    })
    .join('\n');
}

function applyOverride(values: unknown, override: string): void {
  const equals = override.indexOf('=');
  if (equals < 1) throw new ConfigError(`--set ${override}: write path.to.key=value`);
  const path = override.slice(0, equals).split('.');
  const last = path.pop()!;
  const document = parseDocument(override.slice(equals + 1));
  const [problem] = document.errors;
  if (problem !== undefined) throw new ConfigError(`--set ${override}: ${problem.message}`);
  let at = values;
  for (const key of path) {
    // Something else than a mapping stays as it is: it is refused by the schema.
    if (typeof at !== 'object' || at === null) return;
    const next = Object.hasOwn(at, key) ? (at as Record<string, unknown>)[key] : undefined;
    if (typeof next !== 'object' || next === null) setOwn(at, key, {});
    at = (at as Record<string, unknown>)[key];
  }
  if (typeof at === 'object' && at !== null) setOwn(at, last, document.toJS() as unknown);
}

/** Defined rather than assigned: `__proto__` is a key like any other, and then an unknown one. */
function setOwn(target: object, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
}

/** Nobody becomes reachable from outside without having decided who may come in. */
function checkExposure({ users, anonymous, mqtt, amqp, grpc }: Config): void {
  if (users.length > 0 || anonymous) return;
  for (const [protocol, { listeners }] of Object.entries({ mqtt, amqp, grpc })) {
    for (const listener of listeners) {
      const { host, port } = listener;
      if (!isExposed(listener)) continue;
      throw new ConfigError(
        `${protocol}.listeners: ${host}:${port} can be reached from other machines and there are no users, ` +
          'so anyone could come in. Add `users`, or write `anonymous: true` if that is what you want.',
      );
    }
  }
}

function isExposed(listener: Config['grpc']['listeners'][number] | MqttListenerConfig | AmqpListenerConfig): boolean {
  if (!('transport' in listener)) return !isLoopback(listener.host);
  // Whoever has a certificate of the chosen authority is not just anyone.
  if (listener.tls?.requireClientCertificate === true) return false;
  // A proxy on this machine lets others in.
  return !isLoopback(listener.host) || listener.proxyProtocol !== undefined;
}

function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}
