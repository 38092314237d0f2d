import { FactProperty } from './message-facts.ts';
import { KEYS_PROPERTY, TRACE_PROPERTY } from './message-form.ts';

/**
 * Names that mean something on one side and are a publisher's own on the other get a prefix on the way across and lose it on
 * the way back: `keys` of a RocketMQ client is not the keys, `gantry-types` of an AMQP client not the types.
 */
const PREFIX = 'gantry-';
const AMQP_NAMES: ReadonlySet<string> = new Set([KEYS_PROPERTY, TRACE_PROPERTY]);
const CORE_NAMES: ReadonlySet<string> = new Set(Object.values(FactProperty));

/** The name of an application property for a property of the core; the two of MessageFacts are none. */
export function toAmqpName(name: string): string {
  if (!name.startsWith(PREFIX) && !AMQP_NAMES.has(name)) return name;
  if (isPrefixed(name, AMQP_NAMES)) return PREFIX + name;
  return isPrefixed(name, CORE_NAMES) && !CORE_NAMES.has(name) ? name.slice(PREFIX.length) : name;
}

/** The way back; `keys` and `traceparent` are none of the core's properties. */
export function fromAmqpName(name: string): string {
  if (!name.startsWith(PREFIX)) return name;
  if (isPrefixed(name, CORE_NAMES)) return PREFIX + name;
  return isPrefixed(name, AMQP_NAMES) ? name.slice(PREFIX.length) : name;
}

/** Whether it is one of the names, with any number of prefixes. */
function isPrefixed(name: string, names: ReadonlySet<string>): boolean {
  let rest = name;
  while (!names.has(rest)) {
    if (!rest.startsWith(PREFIX)) return false;
    rest = rest.slice(PREFIX.length);
  }
  return true;
}
