import type { Broker } from '../../core/broker.ts';
import { BrokerError } from '../../core/model/broker-error.ts';
import type { Action } from '../../core/ports/authorizer.ts';
import type { CallContext } from './call-context.ts';
import type { Resource__Output } from './proto/generated/apache/rocketmq/v2/Resource.ts';

/** The name in a Resource, empty when there is none; the core refuses the empty name with the right code. */
export function nameOf(resource: Resource__Output | null | undefined): string {
  return resource?.name ?? '';
}

/** @throws BrokerError UNAUTHORIZED: RocketMQ's AuthorizationPipeline answers every refusal with this code */
export function requireTopic(
  broker: Broker,
  { principal }: CallContext,
  action: Action,
  topic: string,
  address?: string,
): void {
  if (broker.isAllowed(principal, action, { kind: 'topic', topic, address })) return;
  throw new BrokerError('UNAUTHORIZED', `${principal.name} may not ${action} on the topic ${topic}`);
}

/** @throws BrokerError UNAUTHORIZED */
export function requireGroup(broker: Broker, { principal }: CallContext, group: string): void {
  if (broker.isAllowed(principal, 'SUB', { kind: 'group', group })) return;
  throw new BrokerError('UNAUTHORIZED', `${principal.name} may not SUB on the consumer group ${group}`);
}

/** A topic is shown to whoever may publish to it or subscribe to it. @throws BrokerError UNAUTHORIZED */
export function requireAnyUse(broker: Broker, { principal }: CallContext, topic: string): void {
  const resource = { kind: 'topic', topic, address: undefined } as const;
  if (broker.isAllowed(principal, 'PUB', resource) || broker.isAllowed(principal, 'SUB', resource)) return;
  throw new BrokerError('UNAUTHORIZED', `${principal.name} may neither PUB nor SUB on the topic ${topic}`);
}
