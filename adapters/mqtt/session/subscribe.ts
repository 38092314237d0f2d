import type { Arrival, ReplayStart } from '../../../core/broker.ts';
import type { Properties, Qos, Subscription } from '../codec/packet.ts';
import { ReasonCode } from '../codec/reason-code.ts';
import { isShared } from '../codec/topic.ts';
import { BrokerError } from '../../../core/model/broker-error.ts';
import type { FilterExpression } from '../../../core/model/filter.ts';
import type { MqttOptions } from '../options.ts';
import type { FeedOptions } from './feed.ts';

/** The SUBACK reason code for a subscription that is not taken, undefined for one that is. */
export function subscriptionRefusal(
  subscription: Subscription,
  subscriptions: number,
  options: MqttOptions,
): number | undefined {
  if (levelsOf(subscription.topicFilter) > options.topicLevelsMax) return ReasonCode.topicFilterInvalid;
  if (subscriptions >= options.subscriptionsPerClientMax) return ReasonCode.quotaExceeded;
  return undefined;
}

const SHARE_PREFIX = '$share/';

/** How messages of a subscription come; `$share/<name>/<filter>` is a shared one. */
export function arrivalOf({ topicFilter, qos }: Subscription): Arrival {
  if (!isShared(topicFilter)) return qos > 0 ? 'cursor' : 'live';
  const slash = topicFilter.indexOf('/', SHARE_PREFIX.length);
  return { name: topicFilter.slice(SHARE_PREFIX.length, slash), filter: topicFilter.slice(slash + 1) };
}

/**
 * The user property `start`: from where on a new subscription of QoS 1 or 2 reads what is stored, `earliest` or a time
 * (milliseconds since the epoch, or ISO 8601). Undefined: from now on, as `latest` says.
 * @throws BrokerError BAD_REQUEST
 */
export function startOf(properties: Properties | undefined): ReplayStart | undefined {
  const text = properties?.userProperties?.find(([name]) => name === 'start')?.[1];
  if (text === undefined || text === 'latest') return undefined;
  if (text === 'earliest') return 'earliest';
  const time = /^\d{1,16}$/.test(text) ? Number(text) : Date.parse(text);
  if (!Number.isNaN(time)) return { time };
  throw new BrokerError('BAD_REQUEST', `start is neither earliest, latest nor a time: ${text}`);
}

/** Whether the filter is about the gateway itself. */
export function isSysFilter(filter: string): boolean {
  return filter.startsWith('$SYS/');
}

/** QoS 0 for what is never stored. */
export function grantedQos({ topicFilter, qos }: Subscription): Qos {
  return isSysFilter(topicFilter) ? 0 : qos;
}

export function feedOptions(subscription: Subscription, properties: Properties | undefined): FeedOptions {
  const { qos, noLocal, retainAsPublished } = subscription;
  const identifier = properties?.subscriptionIdentifiers?.[0] ?? 0;
  const expression = expressionOf(properties);
  return { qos, noLocal, retainAsPublished, identifier, ...(expression && { expression }) };
}

/** The user properties `filter`, in SQL92, and `tag`, as RocketMQ has them, narrow the subscriptions of the packet. */
function expressionOf(properties: Properties | undefined): FilterExpression | undefined {
  for (const [name, expression] of properties?.userProperties ?? []) {
    if (name === 'filter') return { type: 'SQL92', expression };
    if (name === 'tag') return { type: 'TAG', expression };
  }
  return undefined;
}

export function levelsOf(topic: string): number {
  let levels = 1;
  for (let i = topic.indexOf('/'); i !== -1; i = topic.indexOf('/', i + 1)) levels++;
  return levels;
}
