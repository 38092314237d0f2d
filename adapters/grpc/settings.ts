import { LIMITS } from '../../core/model/limits.ts';
import { backoffMs, type Backoff, type GroupSpec } from '../../core/model/consumer-group.ts';
import type { RetryPolicy } from './proto/generated/apache/rocketmq/v2/RetryPolicy.ts';
import type { Settings, Settings__Output } from './proto/generated/apache/rocketmq/v2/Settings.ts';
import { fromMs } from './time.ts';

/** RocketMQ proxy: producers must be given an exponential backoff, Java refuses to start with another. */
const PRODUCER_BACKOFF: RetryPolicy = {
  maxAttempts: 3,
  exponentialBackoff: { initial: fromMs(10), max: fromMs(1000), multiplier: 2 },
  strategy: 'exponentialBackoff',
};

/** Always present: Python and Java clients take a missing metric for a failure. */
const METRIC_OFF = { on: false };

const LITE_SUBSCRIPTION_QUOTA = 2000;
const LITE_TOPIC_CHARS_MAX = 64;

/** The settings of a producer as the server wants them: its own, with the server's rules filled in. */
export function producerSettings(client: Settings__Output, bodyBytesMax: number): Settings {
  return {
    ...client,
    publishing: { ...client.publishing, maxBodySize: bodyBytesMax, validateMessageType: true },
    pubSub: 'publishing',
    backoffPolicy: PRODUCER_BACKOFF,
    metric: METRIC_OFF,
  };
}

/** The settings of a consumer: its own, with the rules of its group filled in. */
export function consumerSettings(client: Settings__Output, group: GroupSpec, language: string): Settings {
  return {
    ...client,
    subscription: {
      ...client.subscription,
      fifo: group.order === 'fifo',
      receiveBatchSize: LIMITS.receiveBatchMax,
      longPollingTimeout: fromMs(LIMITS.pollingMaxMs),
      liteSubscriptionQuota: LITE_SUBSCRIPTION_QUOTA,
      maxLiteTopicSize: LITE_TOPIC_CHARS_MAX,
    },
    pubSub: 'subscription',
    backoffPolicy: { maxAttempts: group.retry.attemptsMax, ...strategyFor(group, language) },
    metric: METRIC_OFF,
  };
}

/**
 * The group's backoff, in the form the client can follow: the Node.js client (it calls itself HTTP) knows only the
 * exponential form, the Python client only the listed one, in whole seconds.
 */
function strategyFor({ retry }: GroupSpec, language: string): RetryPolicy {
  const { backoff } = retry;
  if (language === 'HTTP') return exponential(backoff);
  if (language === 'PYTHON') {
    const delaysMs = Array.from({ length: retry.attemptsMax }, (_, i) => backoffMs(backoff, i + 1));
    return listed(delaysMs.map((ms) => Math.ceil(ms / 1000) * 1000));
  }
  return backoff.kind === 'exponential' ? exponential(backoff) : listed(backoff.delaysMs);
}

function exponential(backoff: Backoff): RetryPolicy {
  const [initialMs, maxMs, multiplier] =
    backoff.kind === 'exponential'
      ? [backoff.initialMs, backoff.maxMs, backoff.multiplier]
      : [backoff.delaysMs[0] ?? 0, backoff.delaysMs.at(-1) ?? 0, 2];
  return {
    exponentialBackoff: { initial: fromMs(initialMs), max: fromMs(maxMs), multiplier },
    strategy: 'exponentialBackoff',
  };
}

function listed(delaysMs: readonly number[]): RetryPolicy {
  return { customizedBackoff: { next: delaysMs.map(fromMs) }, strategy: 'customizedBackoff' };
}
