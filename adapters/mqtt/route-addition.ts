import type { RoutedFields } from '../../core/broker.ts';
import { encodeSystemFields } from '../../core/model/message.ts';

/** What a topic name says of the messages published there, besides their address; made once per topic name. */
export interface RouteAddition {
  /** What the route makes of the topic name. */
  readonly fields: RoutedFields;
  /** The system section of a message that says nothing else. */
  readonly systemBytes: Buffer;
  /** The address where it is not the topic name. */
  readonly addressBytes: Buffer | undefined;
  /** 0 for at once. */
  readonly delayMs: number;
  /** The client, where its own subscriptions have to know its messages. */
  readonly publisher?: string | undefined;
}

const NO_FIELDS: RoutedFields = { topic: '', messageGroup: undefined, keys: [], tag: undefined };

/** The addition for messages whose topic only their alias says, or whose publisher has to be known. */
export function extended(
  addition: RouteAddition | undefined,
  aliased: string | undefined,
  publisher: string | undefined,
): RouteAddition {
  const { fields = NO_FIELDS, delayMs = 0, addressBytes } = addition ?? {};
  const { messageGroup, keys, tag } = fields;
  const systemBytes = encodeSystemFields({ messageGroup, keys, tag, publisher });
  const ownAddress = addressBytes ?? (aliased === undefined ? undefined : Buffer.from(aliased));
  return { fields, systemBytes, addressBytes: ownAddress, delayMs, publisher };
}

/** Undefined when the topic name says nothing besides. */
export function additionOf(fields: RoutedFields, address: string, delayMs: number): RouteAddition | undefined {
  const { messageGroup, keys, tag } = fields;
  if (delayMs === 0 && messageGroup === undefined && tag === undefined && keys.length === 0) return undefined;
  return {
    fields,
    systemBytes: encodeSystemFields({ messageGroup, keys, tag }),
    addressBytes: delayMs === 0 ? undefined : Buffer.from(address, 'utf8'),
    delayMs,
  };
}

const DELAYED_PREFIX = '$delayed/';
/** More digits are more seconds than any engine waits. */
const SECONDS = /^\d{1,10}$/;

/**
 * `$delayed/<seconds>/<topic name>`, as EMQX has it: the message is published to the topic name that many seconds later.
 * Undefined for any other topic name, malformed ones among them: those are refused like all that start with `$`.
 */
export function parseDelayed(topicName: string): { readonly address: string; readonly delayMs: number } | undefined {
  if (!topicName.startsWith(DELAYED_PREFIX)) return undefined;
  const slash = topicName.indexOf('/', DELAYED_PREFIX.length);
  if (slash === -1) return undefined;
  const seconds = topicName.slice(DELAYED_PREFIX.length, slash);
  const delayMs = SECONDS.test(seconds) ? Number(seconds) * 1000 : 0;
  return delayMs === 0 ? undefined : { address: topicName.slice(slash + 1), delayMs };
}
