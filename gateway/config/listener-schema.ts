import { z } from 'zod';
import { parseCidr } from '../listeners/trusted-sources.ts';

export const count = z.int().min(1);
export const ms = z.int().min(1);
export const packetBytes = z.int().min(1024).max(268_435_460);
export const keepAliveS = z.int().min(0).max(65_535);
/** AMQP 2.4.1: nobody has to take less than MIN-MAX-FRAME-SIZE. */
export const frameBytes = z
  .int()
  .min(512)
  .max(16 * 1024 ** 2);
/** 0: never. */
export const idleMs = z.int().min(0).max(0xffff_ffff);
export const saslMechanisms = z.array(z.enum(['EXTERNAL', 'SCRAM-SHA-256', 'PLAIN', 'ANONYMOUS'])).min(1);

const port = z.int().min(0).max(65_535);
const text = z.string().min(1);
const cidr = z.string().refine((given) => parseCidr(given) !== undefined, { error: 'not an address or CIDR network' });

const LOOPBACK = '127.0.0.1';

/** Listeners that have nothing but an address. */
export function addresses(defaultPort: number) {
  const listener = z.strictObject({ host: text.default(LOOPBACK), port: port.default(defaultPort) });
  return z.array(listener).default([{ host: LOOPBACK, port: defaultPort }]);
}

const tlsKeys = {
  certFile: text,
  keyFile: text,
  caFile: text.optional(),
  requestClientCertificate: z.boolean().default(false),
  requireClientCertificate: z.boolean().default(false),
  certificateAsUser: z.boolean().default(false),
};

/** What listeners of every protocol can be told. */
function listenerKeys(defaultPort: number) {
  return {
    host: text.default(LOOPBACK),
    port: port.default(defaultPort),
    transport: z.enum(['tcp', 'ws']).default('tcp'),
    path: z.string().startsWith('/').optional(),
    origins: z.array(text).optional(),
    proxyProtocol: z.strictObject({ trusted: z.array(cidr).min(1) }).optional(),
    connectionsMax: count.optional(),
    connectRateMax: count.optional(),
    connectTimeoutMs: ms.optional(),
  };
}

interface Tls {
  readonly caFile?: string | undefined;
  readonly requestClientCertificate: boolean;
  readonly requireClientCertificate: boolean;
  readonly certificateAsUser: boolean;
  readonly certificateAsClientIdentifier?: boolean;
}

function checkTls(tls: Tls, context: z.RefinementCtx): void {
  const asks = tls.requestClientCertificate || tls.requireClientCertificate;
  const problem = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
  if (asks && tls.caFile === undefined) problem('caFile', 'needed to verify client certificates');
  if (asks) return;
  for (const key of ['certificateAsUser', 'certificateAsClientIdentifier'] as const) {
    if (tls[key] === true) problem(key, 'needs requestClientCertificate or requireClientCertificate');
  }
}

interface Listener {
  readonly transport: 'tcp' | 'ws';
  readonly path?: string | undefined;
  readonly origins?: readonly string[] | undefined;
  readonly tls?: { readonly certFile: string; readonly onRequest?: boolean } | undefined;
}

function checkTransport(listener: Listener, context: z.RefinementCtx): void {
  const problem = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
  if (listener.transport === 'ws') {
    if (listener.tls?.onRequest === true) problem(['tls', 'onRequest'], 'needs transport: tcp');
    return;
  }
  for (const key of ['path', 'origins'] as const) {
    if (listener[key] !== undefined) problem([key], 'needs transport: ws');
  }
}

const mqttTls = z
  .strictObject({ ...tlsKeys, certificateAsClientIdentifier: z.boolean().default(false) })
  .superRefine(checkTls);

export const mqttListener = z
  .strictObject({
    ...listenerKeys(1883),
    tls: mqttTls.optional(),
    connectPacketBytesMax: count.optional(),
    packetBytesMax: packetBytes.optional(),
    keepAliveMaxS: keepAliveS.optional(),
  })
  .superRefine(checkTransport);

const amqpTls = z.strictObject({ ...tlsKeys, onRequest: z.boolean().default(false) }).superRefine(checkTls);

export const amqpListener = z
  .strictObject({
    ...listenerKeys(5672),
    tls: amqpTls.optional(),
    maxFrameSizeBytes: frameBytes.optional(),
    messageBytesMax: count.optional(),
    idleTimeoutMs: idleMs.optional(),
    saslMechanisms: saslMechanisms.optional(),
  })
  .superRefine(checkTransport);
