import { BrokerError } from '../model/broker-error.ts';
import { checkTopicName } from '../model/names.ts';
import type { TopicSpec } from '../model/topic.ts';
import { Route, type RoutedFields, type RouteRule } from './route.ts';
import { defaultAddress, topicOfLevel } from './route-text.ts';

export type { RoutedFields, RouteRule };

const NO_KEYS: readonly string[] = [];

/**
 * What addresses and topics have to do with each other. The first route that matches an address decides; where none does, the
 * first level of the address is its topic, percent-encoded where RocketMQ allows no such character.
 */
export class Routes {
  private readonly routes: readonly Route[];

  /** @throws BrokerError BAD_REQUEST for the first rule that cannot be used */
  constructor(rules: readonly RouteRule[] = []) {
    this.routes = rules.map((rule) => new Route(rule));
  }

  /**
   * The topic of what is published under the address, and the fields it gets from there. To be kept by who asks often.
   * @throws BrokerError ILLEGAL_TOPIC, ILLEGAL_ADDRESS
   */
  resolve(address: string): RoutedFields {
    const levels = address.split('/');
    return this.find(levels)?.fieldsOf(levels) ?? { topic: defaultTopic(levels[0]!), keys: NO_KEYS };
  }

  /** The topic of every address the filter matches, undefined where they may have several. */
  topicOfFilter(filter: string): string | undefined {
    const [level = ''] = filter.split('/');
    if (this.routes.length > 0 || level === '+' || level === '#') return undefined;
    return defaultTopic(level);
  }

  /**
   * The address of a message whose publisher gave none: one under which a device would reach the topic with just these
   * fields; else the first that they fill in; else `<topic>` or `<topic>/<tag>`.
   */
  addressOf(fields: RoutedFields): string {
    let first: string | undefined;
    for (const route of this.routes) {
      const address = route.addressOf(fields);
      const reached = address === undefined ? undefined : this.reachedBy(route, address);
      if (reached?.topic !== fields.topic) continue;
      if (saysTheSame(reached, fields)) return address!;
      first ??= address;
    }
    return first ?? defaultAddress(fields.topic, fields.tag);
  }

  /** What a topic is like when it is created on first use, where a route says so. */
  topicDefaults(topic: string): Pick<Partial<TopicSpec>, 'type' | 'queues'> {
    const rule = this.routes.find((route) => route.describes(topic))?.rule;
    return {
      ...(rule?.type === undefined ? undefined : { type: rule.type }),
      ...(rule?.queues === undefined ? undefined : { queues: rule.queues }),
    };
  }

  private find(levels: readonly string[]): Route | undefined {
    return this.routes.find((route) => route.matches(levels));
  }

  /** What a device reaches by this route; undefined where the address belongs to another one, or to none. */
  private reachedBy(route: Route, address: string): RoutedFields | undefined {
    const levels = address.split('/');
    if (address === '' || this.find(levels) !== route) return undefined;
    try {
      return route.fieldsOf(levels);
    } catch {
      return undefined;
    }
  }
}

/** Why the rule cannot be used; undefined when it can. */
export function routeProblem(rule: RouteRule): string | undefined {
  try {
    void new Route(rule);
    return undefined;
  } catch (error) {
    if (error instanceof BrokerError) return error.message;
    throw error;
  }
}

function saysTheSame(one: RoutedFields, other: RoutedFields): boolean {
  const { messageGroup, keys, tag } = one;
  if (messageGroup !== other.messageGroup || tag !== other.tag || keys.length !== other.keys.length) return false;
  return keys.every((key, i) => key === other.keys[i]);
}

function defaultTopic(level: string): string {
  const topic = topicOfLevel(level);
  checkTopicName(topic);
  return topic;
}
