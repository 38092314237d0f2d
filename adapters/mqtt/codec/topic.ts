import { CodecError, malformed } from './codec-error.ts';
import { ReasonCode } from './reason-code.ts';
import { isUtf8 } from './utf8.ts';

const PLUS = 0x2b;
const HASH = 0x23;
const SLASH = 0x2f;
const SHARE_PREFIX = '$share/';

/** Whether the bytes contain `+` or `#`. */
export function hasWildcard(buffer: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = buffer[at]!;
    if (byte === PLUS || byte === HASH) return true;
  }
  return false;
}

/**
 * Checks the bytes of a non-empty topic name and decodes them.
 * @throws CodecError 0x81 when they are not MQTT's UTF-8, 0x90 when they contain a wildcard ([MQTT-3.3.2-2]).
 */
export function decodeTopicName(buffer: Buffer, start: number, end: number): string {
  if (!isUtf8(buffer, start, end)) throw malformed('the topic name is not valid UTF-8');
  if (hasWildcard(buffer, start, end)) {
    throw new CodecError(ReasonCode.topicNameInvalid, 'the topic name contains a wildcard');
  }
  return buffer.toString('utf8', start, end);
}

/**
 * What is wrong with a topic filter, or null when nothing is (section 4.7). The rules for `$share/` hold in every
 * protocol version: a server may give names that start with `$` a meaning of its own ([MQTT-4.7.2-1]).
 */
export function topicFilterFault(topicFilter: string): string | null {
  if (topicFilter.length === 0) return 'the topic filter is empty';
  if (!topicFilter.startsWith(SHARE_PREFIX)) return wildcardFault(topicFilter, 0);
  const slash = topicFilter.indexOf('/', SHARE_PREFIX.length);
  const nameEnd = slash < 0 ? topicFilter.length : slash;
  if (nameEnd === SHARE_PREFIX.length) return 'the share name is empty'; // [MQTT-4.8.2-1]
  for (let at = SHARE_PREFIX.length; at < nameEnd; at++) {
    const code = topicFilter.charCodeAt(at);
    if (code === PLUS || code === HASH) return 'the share name contains a wildcard'; // [MQTT-4.8.2-2]
  }
  if (nameEnd + 1 >= topicFilter.length) return 'no topic filter follows the share name'; // [MQTT-4.8.2-2]
  return wildcardFault(topicFilter, nameEnd + 1);
}

/** Whether a valid topic filter is that of a shared subscription. */
export function isShared(topicFilter: string): boolean {
  return topicFilter.startsWith(SHARE_PREFIX);
}

function wildcardFault(topicFilter: string, start: number): string | null {
  for (let at = start; at < topicFilter.length; at++) {
    const code = topicFilter.charCodeAt(at);
    if (code !== PLUS && code !== HASH) continue;
    const startsLevel = at === start || topicFilter.charCodeAt(at - 1) === SLASH;
    const isLast = at + 1 === topicFilter.length;
    // [MQTT-4.7.1-1]
    if (code === HASH && !(startsLevel && isLast)) return 'the topic filter has a # that is not its last level';
    // [MQTT-4.7.1-2]
    if (code === PLUS && !(startsLevel && (isLast || topicFilter.charCodeAt(at + 1) === SLASH))) {
      return 'the topic filter has a + that is not a whole level';
    }
  }
  return null;
}
