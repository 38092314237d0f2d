import { REPLY_QUEUE_PREFIX } from '../../../../core/model/names.ts';

/**
 * How reply addresses cross. The core has the text an MQTT device can publish to: an AMQP queue reads `$reply/q/<name>`, an
 * address below a topic is that address, anything else AMQP knows reads `$reply/a/<address>`. The other way round, the address
 * of a device is `/topics/<topic>/<address>`. Names are percent-encoded where they stand in a path.
 */
const ADDRESS_PREFIX = '$reply/a/';

/** `/queues/q`, RabbitMQ's older `/queue/q` and `/amq/queue/q`: the rest of the path is percent-encoded in the first only. */
const QUEUE_PATH = /^\/queues\/([^/]+)$/;
const OLD_QUEUE_PATH = /^(?:\/queue\/|\/amq\/queue\/|queue:\/\/)(.+)$/s;
const SCHEME_BEFORE_PATH = /^(?:queue|topic):\/\/\/(?:queues|topics|groups|exchanges)\//;
const TOPIC_PATH = /^\/topics\/[^/]+\/(.*)$/s;
const TOPIC_ALONE = /^(?:\/topics\/([^/]+)|topic:\/\/(.+))$/s;

/**
 * Qpid JMS puts the prefix of queues before whatever it found in `reply-to`: `queue:///topics/t/a` is `/topics/t/a`. No other
 * queue has such a name.
 */
export function withoutScheme(address: string): string {
  return SCHEME_BEFORE_PATH.test(address) ? address.slice(address.indexOf('://') + 3) : address;
}

/** An AMQP reply-to as the core has it. */
export function replyTopicOf(written: string): string {
  const address = withoutScheme(written);
  const below = TOPIC_PATH.exec(address)?.[1];
  const alone = TOPIC_ALONE.exec(address);
  const topic = below ?? alone?.[1];
  const decoded = topic === undefined ? alone?.[2] : decodePath(topic);
  if (decoded !== undefined && isTopicName(decoded) && !decoded.startsWith('$reply/')) return decoded;
  const queue = queueOf(address);
  return queue === undefined
    ? ADDRESS_PREFIX + encodeURIComponent(address)
    : REPLY_QUEUE_PREFIX + encodeURIComponent(queue);
}

/**
 * A reply address of the core as AMQP's reply-to.
 * @param topicOf the topic an address belongs to
 */
export function replyAddressOf(replyTo: string, topicOf: (address: string) => string): string {
  if (replyTo.startsWith(REPLY_QUEUE_PREFIX)) {
    const queue = decodePath(replyTo.slice(REPLY_QUEUE_PREFIX.length));
    if (queue !== undefined && queue !== '') return `/queues/${encodeURIComponent(queue)}`;
  } else if (replyTo.startsWith(ADDRESS_PREFIX)) {
    const address = decodePath(replyTo.slice(ADDRESS_PREFIX.length));
    if (address !== undefined) return address;
  }
  return `/topics/${encodeURIComponent(topicOrSelf(replyTo, topicOf))}/${encodePath(replyTo)}`;
}

/** Whether a device can publish to it. */
function isTopicName(text: string): boolean {
  return text !== '' && !/[+#\0]/.test(text);
}

/** The queue an address names; undefined when it names something else. A bare name is a queue. */
function queueOf(address: string): string | undefined {
  const encoded = QUEUE_PATH.exec(address)?.[1];
  if (encoded !== undefined) return decodePath(encoded);
  const old = OLD_QUEUE_PATH.exec(address)?.[1];
  if (old !== undefined) return old;
  const isName = address !== '' && !address.startsWith('/') && !address.includes('://') && !address.includes('::');
  return isName ? address : undefined;
}

/** An address that belongs to no topic still gets through: who answers is told what is wrong with it. */
function topicOrSelf(address: string, topicOf: (address: string) => string): string {
  try {
    return topicOf(address);
  } catch {
    return address === '' ? '-' : address;
  }
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

/** Undefined when it is not percent-encoded text. */
function decodePath(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}
