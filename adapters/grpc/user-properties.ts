import { RESERVED_PROPERTY_KEYS } from '../../core/model/names.ts';
import type { Property } from '../../core/model/message.ts';

/**
 * RocketMQ's user properties are a map of texts. What the core has besides travels there under names of our own; a property
 * of a publisher that has such a name, or one RocketMQ keeps to itself, gets a prefix and loses it on the way back, so that
 * both directions together change nothing.
 */
export const PropertyKey = {
  address: 'gantry-address',
  expiresAt: 'gantry-expires-at',
  /** `true` when the publisher said that the body is UTF-8 text. */
  text: 'gantry-text',
  contentType: 'content-type',
  replyTo: 'reply-to',
  correlationId: 'correlation-id',
  /** The correlation id when it is not text. */
  correlationIdBytes: 'gantry-correlation-id-base64',
  /** All properties as JSON [[key, value], ...] when a key occurs twice. */
  duplicates: 'gantry-duplicates',
  /** RocketMQ: PROPERTY_SHARDING_KEY, shows the message group a second time. */
  shardingKey: '__SHARDINGKEY',
} as const;

const PREFIX = 'gantry-';
const OWN_KEYS: ReadonlySet<string> = new Set(Object.values(PropertyKey));

function isTaken(key: string): boolean {
  // A JavaScript object cannot hold `__proto__`.
  if (RESERVED_PROPERTY_KEYS.has(key) || OWN_KEYS.has(key) || key === '__proto__') return true;
  return key.startsWith(PREFIX) && isTaken(key.slice(PREFIX.length));
}

/** The publisher's properties as a map: the first of a name under it, all of them beside when a name occurs twice. */
export function toUserProperties(properties: readonly Property[]): Record<string, string> {
  const target: Record<string, string> = {};
  let duplicates = false;
  for (const [key, value] of properties) {
    const name = isTaken(key) ? PREFIX + key : key;
    if (Object.hasOwn(target, name)) duplicates = true;
    else target[name] = value;
  }
  if (duplicates) target[PropertyKey.duplicates] = JSON.stringify(properties);
  return target;
}

/** The publisher's properties out of the map, without what travels there for the gateway. */
export function fromUserProperties(userProperties: Readonly<Record<string, string>>): Property[] {
  const values = new Map<string, string>();
  for (const [name, value] of Object.entries(userProperties)) {
    if (OWN_KEYS.has(name)) continue;
    const escaped = name.startsWith(PREFIX) && isTaken(name.slice(PREFIX.length));
    values.set(escaped ? name.slice(PREFIX.length) : name, value);
  }
  const list = parseDuplicates(userProperties[PropertyKey.duplicates]);
  return list === undefined ? [...values] : mergeDuplicates(values, list);
}

/** Order and repetitions of the list, but the map's word on what is there and what it is. */
function mergeDuplicates(values: ReadonlyMap<string, string>, list: readonly Property[]): Property[] {
  const merged: Property[] = [];
  const seen = new Set<string>();
  for (const [key, value] of list) {
    const first = values.get(key);
    if (first === undefined) continue;
    merged.push([key, seen.has(key) ? value : first]);
    seen.add(key);
  }
  for (const [key, value] of values) if (!seen.has(key)) merged.push([key, value]);
  return merged;
}

function parseDuplicates(json: string | undefined): Property[] | undefined {
  if (json === undefined) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    // Someone else's text under our name: the map itself is complete but for repetitions.
    return undefined;
  }
  return Array.isArray(parsed) && parsed.every(isProperty) ? parsed : undefined;
}

function isProperty(value: unknown): value is Property {
  return Array.isArray(value) && value.length === 2 && typeof value[0] === 'string' && typeof value[1] === 'string';
}
