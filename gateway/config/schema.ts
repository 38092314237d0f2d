import { z } from 'zod';
import { DEFAULT_AMQP_OPTIONS } from '../../adapters/amqp/v1/options.ts';
import { DEFAULT_MQTT_OPTIONS } from '../../adapters/mqtt/options.ts';
import { DEFAULT_EMBEDDED_OPTIONS } from '../../adapters/storage/embedded/open.ts';
import { DEFAULT_RETRY_POLICY, GROUP_ORDERS } from '../../core/model/consumer-group.ts';
import { LIMITS } from '../../core/model/limits.ts';
import { DEFAULT_QUEUES, DEFAULT_RETENTION, TOPIC_TYPES } from '../../core/model/topic.ts';
import { DEFAULT_SESSIONS_OPTIONS } from '../../core/sessions/client-sessions.ts';
import { routeProblem } from '../../core/routing/routes.ts';
import { DEFAULT_RETAINED_OPTIONS } from '../../core/sessions/retained-messages.ts';
import { parseVerifier } from '../security/password.ts';
import { parseScramVerifier } from '../security/scram.ts';
import { LOG_LEVELS } from '../telemetry/log.ts';
import {
  addresses,
  amqpListener,
  count,
  frameBytes,
  idleMs,
  keepAliveS,
  ms,
  mqttListener,
  packetBytes,
  saslMechanisms,
} from './listener-schema.ts';

const UINT_MAX = 0xffff_ffff;

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

const amqp = z.strictObject({
  listeners: z.array(amqpListener).prefault([{}]),
  containerId: z.string().min(1).default(DEFAULT_AMQP_OPTIONS.containerId),
  product: z.string().min(1).default(DEFAULT_AMQP_OPTIONS.product),
  version: z.string().min(1).optional(),
  saslMechanisms: saslMechanisms.default([...DEFAULT_AMQP_OPTIONS.saslMechanisms]),
  connectTimeoutMs: ms.default(DEFAULT_AMQP_OPTIONS.connectTimeoutMs),
  idleTimeoutMs: idleMs.default(DEFAULT_AMQP_OPTIONS.idleTimeoutMs),
  connectionsMax: count.default(10_000),
  channelMax: z.int().min(0).max(65_535).default(DEFAULT_AMQP_OPTIONS.channelMax),
  handleMax: z.int().min(0).max(UINT_MAX).default(DEFAULT_AMQP_OPTIONS.handleMax),
  maxFrameSizeBytes: frameBytes.default(DEFAULT_AMQP_OPTIONS.maxFrameSizeBytes),
  messageBytesMax: count.default(DEFAULT_AMQP_OPTIONS.maxMessageBytes),
  assemblyBytesMax: count.default(DEFAULT_AMQP_OPTIONS.assemblyBytesMax),
  sessionWindow: z.int().min(1).max(UINT_MAX).default(DEFAULT_AMQP_OPTIONS.sessionWindow),
  unsettledMax: count.default(DEFAULT_AMQP_OPTIONS.unsettledMax),
  outputBytesMax: z.int().min(65_536).default(DEFAULT_AMQP_OPTIONS.outputBytesMax),
  linkCredit: z.int().min(1).max(UINT_MAX).default(1000),
  bareAddress: z.enum(['queue', 'topic']).default('queue'),
  temporaryQueuesMax: z.int().min(0).default(10_000),
  temporary: z
    .strictObject({ messagesMax: count.default(10_000), bytesMax: count.default(16 * 1024 ** 2) })
    .prefault({}),
  transactionTimeoutMs: ms.default(60_000),
  transactionBytesMax: count.default(64 * 1024 ** 2),
  transactionsPerLinkMax: count.default(16),
});

const grpc = z.strictObject({
  listeners: addresses(8081),
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
  amqp: amqp.prefault({}),
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
export type AmqpListenerConfig = z.output<typeof amqpListener>;
