import { LinkError } from '../node.ts';
import { withoutScheme } from '../translate/reply-addresses.ts';

/** What an address of AMQP 1.0 names; names are decoded, as users write them. */
export type NodeAddress =
  /** Point-to-point: the topic of that name, read by the consumer group of that name. */
  | { readonly kind: 'queue'; readonly queue: string }
  /** Publish/subscribe: all of a topic, or what was published in it under an address (a filter, in a source). */
  | { readonly kind: 'topic'; readonly topic: string; readonly address?: string | undefined }
  /** An MQTT topic name, or a filter in a source; routes say which topic it belongs to. */
  | { readonly kind: 'address'; readonly address: string }
  | { readonly kind: 'group'; readonly topic: string; readonly group: string }
  | { readonly kind: 'exchange'; readonly exchange: string; readonly key: string | undefined }
  /** What the consumers of a queue or group gave up on. */
  | { readonly kind: 'deadLetter'; readonly group: string }
  | { readonly kind: 'management'; readonly of: string }
  | { readonly kind: 'cbs' };

/** How a name without any prefix is meant. */
export type BareKind = 'queue' | 'topic';

const DEAD_LETTER_SUFFIX = /\/\$deadletterqueue$/i;
const MANAGEMENT = /^(?:(.*)\/)?\$?management$/i;
const SUBSCRIPTION = /^(.+)\/subscriptions\/([^/]+)$/i;
/** RabbitMQ's exchange that shares its names with MQTT, with `.` between the levels. */
const AMQ_TOPIC = 'amq.topic';

/**
 * Every way in which clients write addresses: ours and RabbitMQ's version 2, its version 1, ActiveMQ's schemes, Artemis'
 * fully qualified queue names, Azure's, and bare names.
 * @param capabilities of the terminus, which say what a bare name is
 * @throws LinkError amqp:invalid-field
 */
export function parseAddress(written: string, capabilities: readonly string[], bare: BareKind): NodeAddress {
  const text = withoutScheme(written);
  if (text === '') throw invalid(text, 'it is empty');
  if (text === '$cbs') return { kind: 'cbs' };
  const management = MANAGEMENT.exec(text);
  if (management !== null) return { kind: 'management', of: management[1] ?? '' };
  if (DEAD_LETTER_SUFFIX.test(text)) {
    return deadLetterOf(parseAddress(text.replace(DEAD_LETTER_SUFFIX, ''), capabilities, 'queue'), text);
  }
  return text.startsWith('/') ? parsePath(text) : (parseScheme(text) ?? parseBare(text, capabilities, bare));
}

function deadLetterOf(node: NodeAddress, text: string): NodeAddress {
  if (node.kind === 'queue') return { kind: 'deadLetter', group: node.queue };
  if (node.kind === 'group') return { kind: 'deadLetter', group: node.group };
  throw invalid(text, 'only queues and groups have a dead letter queue');
}

function parsePath(text: string): NodeAddress {
  const [, head = '', ...segments] = text.split('/');
  const rest = segments.map((segment) => decode(segment, text));
  const [first = '', ...more] = rest;
  switch (head) {
    case 'queues':
    case 'queue':
      return { kind: 'queue', queue: nonEmpty(rest.join('/'), text) };
    case 'topics':
      return { kind: 'topic', topic: nonEmpty(first, text), address: more.length === 0 ? undefined : more.join('/') };
    case 'groups':
      if (rest.length !== 3 || rest[1] !== 'topics') throw invalid(text, 'it has to be /groups/<group>/topics/<topic>');
      return { kind: 'group', group: nonEmpty(first, text), topic: nonEmpty(rest[2]!, text) };
    case 'exchanges':
    case 'exchange':
      return exchange(nonEmpty(first, text), more.length === 0 ? undefined : more.join('/'));
    case 'topic':
      return exchange(AMQ_TOPIC, nonEmpty(rest.join('/'), text));
    case 'amq':
      if (first === 'queue') return { kind: 'queue', queue: nonEmpty(more.join('/'), text) };
  }
  throw invalid(text, 'it has to begin with /queues, /topics, /groups or /exchanges');
}

function exchange(name: string, key: string | undefined): NodeAddress {
  // The one place where text changes: `.` between levels becomes `/`, and the word `*` the level `+`, as RabbitMQ's MQTT users know it.
  if (name === AMQ_TOPIC && key !== undefined) {
    const levels = key.split('.').map((word) => (word === '*' ? '+' : word));
    return { kind: 'address', address: levels.join('/') };
  }
  return { kind: 'exchange', exchange: name, key };
}

function parseScheme(text: string): NodeAddress | undefined {
  const scheme = /^(?:temp-)?(queue|topic):\/\/(.+)$/.exec(text);
  if (scheme !== null) return named(scheme[2]!, scheme[1] as BareKind);
  const qualified = /^(.+?)::(.+)$/.exec(text);
  if (qualified !== null) return { kind: 'group', topic: qualified[1]!, group: qualified[2]! };
  const subscription = SUBSCRIPTION.exec(text);
  if (subscription !== null) return { kind: 'group', topic: subscription[1]!, group: subscription[2]! };
  return undefined;
}

function parseBare(text: string, capabilities: readonly string[], bare: BareKind): NodeAddress {
  if (capabilities.includes('queue') || capabilities.includes('temporary-queue')) return named(text, 'queue');
  if (capabilities.includes('topic') || capabilities.includes('temporary-topic')) return named(text, 'topic');
  return named(text, bare);
}

function named(name: string, kind: BareKind): NodeAddress {
  if (kind === 'queue') return { kind: 'queue', queue: name };
  // MQTT's names have levels.
  return name.includes('/') ? { kind: 'address', address: name } : { kind: 'topic', topic: name };
}

function decode(segment: string, text: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw invalid(text, 'its percent-encoding is broken');
  }
}

function nonEmpty(name: string, text: string): string {
  if (name === '') throw invalid(text, 'a name in it is empty');
  return name;
}

/** As part of a description, which has to fit into a frame. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}...` : text);
}

const SHOWN_CHARS_MAX = 200;

export function invalid(text: string, why: string): LinkError {
  return new LinkError('amqp:invalid-field', `the address ${quoted(text)} cannot be used: ${why}`);
}
