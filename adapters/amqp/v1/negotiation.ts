import { MIN_MAX_FRAME_SIZE } from './codec/frame-decoder.ts';
import type { AmqpError, AmqpMap, Open } from './codec/performatives.ts';
import { booleanValue, mapOf, stringValue, symbolValue } from './codec/plain-values.ts';
import { Condition } from './condition.ts';
import type { AmqpOptions } from './options.ts';

/** Connections that have to be kept alive more often are not taken. */
export const IDLE_TIMEOUT_MS_MIN = 500;

/** The policy of OASIS' Enforcing Connection Uniqueness; a JMS client id is meant to be in use once. */
export const SOLE_CONNECTION = 'sole-connection-for-container';

/** What Qpid JMS and its kin look for. */
const CAPABILITIES = ['ANONYMOUS-RELAY', 'DELAYED_DELIVERY', 'SHARED-SUBS', SOLE_CONNECTION];

/** Why a client cannot come in, by what it says in its open. @param sole containers that are in, and want to be so alone */
export function faultOf(open: Open, sole: ReadonlySet<string>): AmqpError | undefined {
  const { maxFrameSize, idleTimeOutMs } = open;
  if (maxFrameSize < MIN_MAX_FRAME_SIZE) {
    // AMQP 2.7.1
    return { condition: Condition.invalidField, description: `max-frame-size is at least ${MIN_MAX_FRAME_SIZE}` };
  }
  if (idleTimeOutMs !== undefined && idleTimeOutMs > 0 && idleTimeOutMs < IDLE_TIMEOUT_MS_MIN) {
    // AMQP 2.4.5
    return { condition: Condition.notAllowed, description: `idle-time-out is at least ${IDLE_TIMEOUT_MS_MIN}` };
  }
  if (sole.has(open.containerId) && open.desiredCapabilities.includes(SOLE_CONNECTION)) {
    const info = mapOf({ 'invalid-field': symbolValue('container-id') });
    return { condition: Condition.invalidField, description: 'the container is connected already', info };
  }
  return undefined;
}

/**
 * Our own open.
 * @param isRefused a close follows at once; Qpid JMS wants to know before
 */
export function openFor(options: AmqpOptions, version: string, isRefused: boolean): Open {
  return {
    kind: 'open',
    containerId: options.containerId,
    maxFrameSize: options.maxFrameSizeBytes,
    channelMax: options.channelMax,
    // AMQP 2.4.5: half of what we put up with, so that a heartbeat that is late ends nothing.
    idleTimeOutMs: options.idleTimeoutMs === 0 ? undefined : Math.ceil(options.idleTimeoutMs / 2),
    offeredCapabilities: CAPABILITIES,
    desiredCapabilities: [],
    properties: propertiesOf(options, options.version ?? version, isRefused),
  };
}

function propertiesOf({ product, containerId }: AmqpOptions, version: string, isRefused: boolean): AmqpMap {
  const properties = {
    product: stringValue(product),
    version: stringValue(version),
    platform: stringValue(`Node.js ${process.version}`),
    // RabbitMQ's clients do not go on without it.
    node: stringValue(containerId),
    // In front of the names that JMS and NMS clients give.
    'queue-prefix': stringValue('queue://'),
    'topic-prefix': stringValue('topic://'),
  };
  if (!isRefused) return mapOf(properties);
  return mapOf({ ...properties, 'amqp:connection-establishment-failed': booleanValue(true) });
}
