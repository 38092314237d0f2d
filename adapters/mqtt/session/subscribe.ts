import type { Subscription } from '../codec/packet.ts';
import { ReasonCode } from '../codec/reason-code.ts';
import { isShared } from '../codec/topic.ts';
import type { MqttOptions } from '../options.ts';

/**
 * The SUBACK reason code for a subscription that is not taken, undefined for one that is. What is not there yet is
 * refused by name instead of being granted and ignored.
 */
export function subscriptionRefusal(
  subscription: Subscription,
  subscriptions: number,
  options: MqttOptions,
): number | undefined {
  if (isShared(subscription.topicFilter)) return ReasonCode.sharedSubscriptionsNotSupported;
  if (subscription.noLocal) return ReasonCode.implementationSpecificError;
  if (levelsOf(subscription.topicFilter) > options.topicLevelsMax) return ReasonCode.topicFilterInvalid;
  if (subscriptions >= options.subscriptionsPerClientMax) return ReasonCode.quotaExceeded;
  return undefined;
}

/** The QoS granted: QoS 2 is served as QoS 1 [MQTT-3.8.4-8]. */
export function grantedQos(requested: number): 0 | 1 {
  return requested === 0 ? 0 : 1;
}

export function levelsOf(topic: string): number {
  let levels = 1;
  for (let i = topic.indexOf('/'); i !== -1; i = topic.indexOf('/', i + 1)) levels++;
  return levels;
}
