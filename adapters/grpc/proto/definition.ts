import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { loadSync, type Options } from '@grpc/proto-loader';
import type { MessagingServiceDefinition } from './generated/apache/rocketmq/v2/MessagingService.ts';

/**
 * int64 as numbers: offsets and timestamps stay below 2^53. Fields that are not set have their default, optional ones are
 * absent. The generated types are made for exactly these options (`npm run generate:grpc`).
 */
const OPTIONS: Options = { longs: Number, enums: String, defaults: true, oneofs: true };

/** Reads `apache.rocketmq.v2.MessagingService` from the protocol files the official Node.js client ships. */
export function loadMessagingService(): MessagingServiceDefinition {
  const manifest = createRequire(import.meta.url).resolve('rocketmq-client-nodejs/package.json');
  const definitions = loadSync('apache/rocketmq/v2/service.proto', {
    ...OPTIONS,
    includeDirs: [join(dirname(manifest), 'proto')],
  });
  const service: unknown = definitions['apache.rocketmq.v2.MessagingService'];
  if (!isMessagingService(service)) throw new Error(`${manifest}: the protocol files are not those of RocketMQ 5`);
  return service;
}

function isMessagingService(value: unknown): value is MessagingServiceDefinition {
  return typeof value === 'object' && value !== null && 'Telemetry' in value && 'SyncLiteSubscription' in value;
}
