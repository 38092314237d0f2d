import { z } from 'zod';
import { DEFAULT_MQTT_OPTIONS } from '../../adapters/mqtt/options.ts';
import { DEFAULT_EMBEDDED_OPTIONS } from '../../adapters/storage/embedded/open.ts';
import { DEFAULT_RETRY_POLICY, GROUP_ORDERS } from '../../core/model/consumer-group.ts';
import { LIMITS } from '../../core/model/limits.ts';
import { DEFAULT_QUEUES, DEFAULT_RETENTION, TOPIC_TYPES } from '../../core/model/topic.ts';
import { DEFAULT_SESSIONS_OPTIONS } from '../../core/sessions/client-sessions.ts';
import { routeProblem } from '../../core/routing/routes.ts';
import { parseCidr } from '../listeners/trusted-sources.ts';
import { DEFAULT_RETAINED_OPTIONS } from '../../core/sessions/retained-messages.ts';
import { parseVerifier } from '../security/password.ts';
import { parseScramVerifier } from '../security/scram.ts';
import { LOG_LEVELS } from '../telemetry/log.ts';

const port = z.int().min(0).max(65_535);
const count = z.int().min(1);
const ms = z.int().min(1);

const LOOPBACK = '127.0.0.1';

const packetBytes = z.int().min(1024).max(268_435_460);
const keepAliveS = z.int().min(0).max(65_535);

function listeners(defaultPort: number) {
  const listener = z.strictObject({ host: z.string().min(1).default(LOOPBACK), port: port.default(defaultPort) });
  return z.array(listener).default([{ host: LOOPBACK, port: defaultPort }]);
}

const user = z.strictObject({
  name: z.string().min(1),
  password: z
    .string()
    .refine((text) => parseVerifier(text) !== undefined, {
      error: 'not a scrypt verifier: make one with `npm start -- hash-password`',
    })
    .optional(),
  scram: z
    .string()
    .refine((text) => parseScramVerifier(text) !== undefined, {
      error: 'not a SCRAM-SHA-256 verifier: make one with `npm start -- hash-password --scram`',
    })
    .optional(),
  secretKey: z.string().min(1).optional(),
});

const topic = z.strictObject({
  name: z.string(),
  type: z.enum(TOPIC_TYPES).default('MIXED'),
  queues: z.int().min(1).max(LIMITS.queuesPerTopicMax).default(DEFAULT_QUEUES),
  retention: z
    .strictObject({
      ms: ms.default(DEFAULT_RETENTION.ms),
      bytesPerQueue: count.default(DEFAULT_RETENTION.bytesPerQueue),
      consumed: z.boolean().default(false),
    })
    .prefault({}),
});

const group = z.strictObject({
  name: z.string(),
  order: z.enum(GROUP_ORDERS).default('concurrent'),
  attemptsMax: z.int().min(1).max(1000).default(DEFAULT_RETRY_POLICY.attemptsMax),
});

const route = z
  .strictObject({
    filter: z.string(),
    topic: z.string(),
    messageGroup: z.string().min(1).optional(),
    keys: z.array(z.string().min(1)).optional(),
    tag: z.string().min(1).optional(),
    type: z.enum(TOPIC_TYPES).optional(),
    queues: z.int().min(1).max(LIMITS.queuesPerTopicMax).optional(),
  })
  .superRefine((rule, context) => {
    const problem = routeProblem(rule);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  });

const mqttTls = z
  .strictObject({
    certFile: z.string().min(1),
    keyFile: z.string().min(1),
    caFile: z.string().min(1).optional(),
    requestClientCertificate: z.boolean().default(false),
    requireClientCertificate: z.boolean().default(false),
    certificateAsUser: z.boolean().default(false),
    certificateAsClientIdentifier: z.boolean().default(false),
  })
  .superRefine((tls, context) => {
    const asks = tls.requestClientCertificate || tls.requireClientCertificate;
    const problem = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    if (asks && tls.caFile === undefined) problem('caFile', 'needed to verify client certificates');
    if (asks) return;
    for (const key of ['certificateAsUser', 'certificateAsClientIdentifier'] as const) {
      if (tls[key]) problem(key, 'needs requestClientCertificate or requireClientCertificate');
    }
  });

const cidr = z.string().refine((text) => parseCidr(text) !== undefined, { error: 'not an address or CIDR network' });

const mqttListener = z
  .strictObject({
    host: z.string().min(1).default(LOOPBACK),
    port: port.default(1883),
    transport: z.enum(['tcp', 'ws']).default('tcp'),
    path: z.string().startsWith('/').optional(),
    origins: z.array(z.string().min(1)).optional(),
    tls: mqttTls.optional(),
    proxyProtocol: z.strictObject({ trusted: z.array(cidr).min(1) }).optional(),
    connectionsMax: count.optional(),
    connectRateMax: count.optional(),
    connectTimeoutMs: ms.optional(),
    connectPacketBytesMax: count.optional(),
    packetBytesMax: packetBytes.optional(),
    keepAliveMaxS: keepAliveS.optional(),
  })
  .superRefine((listener, context) => {
    if (listener.transport === 'ws') return;
    for (const key of ['path', 'origins'] as const) {
      if (listener[key] !== undefined)
        context.addIssue({ code: 'custom', path: [key], message: 'needs transport: ws' });
    }
  });

const mqtt = z.strictObject({
  listeners: z.array(mqttListener).prefault([{}]),
  connectTimeoutMs: ms.default(DEFAULT_MQTT_OPTIONS.connectTimeoutMs),
  connectPacketBytesMax: count.default(DEFAULT_MQTT_OPTIONS.connectPacketBytesMax),
  packetBytesMax: packetBytes.default(DEFAULT_MQTT_OPTIONS.packetBytesMax),
  connectionsMax: count.default(DEFAULT_MQTT_OPTIONS.connectionsMax),
  subscriptionsPerClientMax: count.default(DEFAULT_MQTT_OPTIONS.subscriptionsPerClientMax),
  topicLevelsMax: count.default(DEFAULT_MQTT_OPTIONS.topicLevelsMax),
  inflightMax: z.int().min(1).max(65_535).default(DEFAULT_MQTT_OPTIONS.inflightMax),
  receiveMaximum: z.int().min(1).max(65_535).default(DEFAULT_MQTT_OPTIONS.receiveMaximum),
  keepAliveMaxS: keepAliveS.default(DEFAULT_MQTT_OPTIONS.keepAliveMaxS),
  sessionExpiryMaxS: z.int().min(0).default(DEFAULT_MQTT_OPTIONS.sessionExpiryMaxS),
  topicAliasMax: z.int().min(0).max(65_535).default(DEFAULT_MQTT_OPTIONS.topicAliasMax),
  sharedRetry: z.boolean().default(DEFAULT_MQTT_OPTIONS.sharedRetry),
  payloadFormatCheck: z.boolean().default(DEFAULT_MQTT_OPTIONS.payloadFormatCheck),
  responseTopicPrefix: z.string().default(DEFAULT_MQTT_OPTIONS.responseTopicPrefix),
  sysIntervalS: z.int().min(0).max(3600).default(DEFAULT_MQTT_OPTIONS.sysIntervalS),
  publishRateMax: z.int().min(0).default(DEFAULT_MQTT_OPTIONS.publishRateMax),
  publishBytesRateMax: z.int().min(0).default(DEFAULT_MQTT_OPTIONS.publishBytesRateMax),
  outputBytesMax: z.int().min(65_536).default(DEFAULT_MQTT_OPTIONS.outputBytesMax),
  routes: z.array(route).default([]),
});

const grpc = z.strictObject({
  listeners: listeners(8081),
  tls: z.strictObject({ certFile: z.string().min(1), keyFile: z.string().min(1) }).optional(),
});

const engine = z.strictObject({
  type: z.enum(['embedded', 'memory']).default('embedded'),
  dir: z.string().min(1).default('data'),
  flush: z.enum(['sync', 'interval', 'none']).default(DEFAULT_EMBEDDED_OPTIONS.flush),
  flushIntervalMs: ms.default(DEFAULT_EMBEDDED_OPTIONS.flushIntervalMs),
  cacheBytes: count.default(DEFAULT_EMBEDDED_OPTIONS.cacheBytes),
  checkpointBytes: z
    .int()
    .min(1024 ** 2)
    .default(DEFAULT_EMBEDDED_OPTIONS.checkpointBytes),
  diskFreeBytesMin: z.int().min(0).default(DEFAULT_EMBEDDED_OPTIONS.diskFreeBytesMin),
  bytesMax: count.default(2 * 1024 ** 3),
});

/** Every key of gantry.yaml, with its default. Unknown keys are errors. */
export const configSchema = z.strictObject({
  log: z.strictObject({ level: z.enum(LOG_LEVELS).default('info') }).prefault({}),
  engine: engine.prefault({}),
  mqtt: mqtt.prefault({}),
  grpc: grpc.prefault({}),
  users: z.array(user).default([]),
  anonymous: z.boolean().default(false),
  autoCreateTopics: z.boolean().default(true),
  autoCreateGroups: z.boolean().default(true),
  topicsMax: count.default(10_000),
  groupsMax: count.default(10_000),
  sessionsMax: count.default(DEFAULT_SESSIONS_OPTIONS.countMax),
  bodyBytesMax: z
    .int()
    .min(1)
    .max(64 * 1024 ** 2)
    .default(LIMITS.bodyBytesMax),
  retained: z
    .strictObject({
      countMax: count.default(DEFAULT_RETAINED_OPTIONS.countMax),
      bytesMax: count.default(DEFAULT_RETAINED_OPTIONS.bytesMax),
    })
    .prefault({}),
  topics: z.array(topic).default([]),
  groups: z.array(group).default([]),
  shutdownGraceMs: ms.default(10_000),
});

export type Config = z.output<typeof configSchema>;
export type MqttListenerConfig = Config['mqtt']['listeners'][number];
