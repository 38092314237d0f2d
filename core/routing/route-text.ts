import { LIMITS } from '../model/limits.ts';
import { BrokerError } from '../model/broker-error.ts';
import { encodeTopicName } from '../model/names.ts';

/** RocketMQ allows no control characters in tags, keys and message groups. */
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
/** In a tag `|` would read as the `||` of a filter. */
// oxlint-disable-next-line no-control-regex
const CONTROL_OR_BAR = /[|\u0000-\u001f\u007f-\u009f]/;
const WILDCARD = /[+#\0]/;
const ENCODED = /%[0-9A-F]{2}/;

/** The text with the characters percent-encoded that are not allowed; `%` too where it could be taken for such a code. */
function encode(text: string, forbidden: RegExp): string {
  if (!forbidden.test(text) && !ENCODED.test(text)) return text;
  let encoded = '';
  for (const char of text) encoded += char === '%' || forbidden.test(char) ? percentCode(char) : char;
  return encoded;
}

function percentCode(char: string): string {
  return [...Buffer.from(char, 'utf8')].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');
}

/** The text of a topic, tag, key or message group without its percent-encoding. */
export function decodeText(text: string): string {
  return text.replace(/(?:%[0-9A-F]{2})+/g, (codes) => Buffer.from(codes.replaceAll('%', ''), 'hex').toString('utf8'));
}

/** The tag of a filled-in text; undefined where there is nothing but blanks, which RocketMQ does not allow. */
export function tagOf(text: string): string | undefined {
  return text.trim() === '' ? undefined : encode(text, CONTROL_OR_BAR);
}

export function keyOf(text: string): string | undefined {
  return text.trim() === '' ? undefined : encode(text, CONTROL);
}

/** @throws BrokerError ILLEGAL_ADDRESS when RocketMQ allows no message group of that length */
export function messageGroupOf(text: string): string | undefined {
  const group = keyOf(text);
  if (group === undefined || Buffer.byteLength(group) <= LIMITS.messageGroupBytesMax) return group;
  const reason = `its route makes a message group of it that is longer than ${LIMITS.messageGroupBytesMax} bytes`;
  throw new BrokerError('ILLEGAL_ADDRESS', reason);
}

/** The default rule's topic for the first level of an address. */
export function topicOfLevel(level: string): string {
  return level === '' ? UNNAMED_TOPIC : encodeTopicName(level);
}

/** Where addresses with an empty first level go, and every other whose topic would have no name. */
export const UNNAMED_TOPIC = 'mqtt';

/**
 * The address of a message whose publisher gave none and that no route has one for: `<topic>` or `<topic>/<tag>`. The topic
 * reads as the level it was made from; what may not stand in an address is percent-encoded.
 */
export function defaultAddress(topic: string, tag: string | undefined): string {
  const level = decodeText(topic);
  const isMadeOfLevel = topicOfLevel(level) === topic && isLevel(level) && !level.startsWith('$');
  const address = isMadeOfLevel ? level : topic;
  if (tag === undefined) return address;
  return `${address}/${WILDCARD.test(tag) ? encode(tag, WILDCARD) : tag}`;
}

/** Whether the text can be one level of an address. */
export function isLevel(text: string): boolean {
  return !WILDCARD.test(text) && !text.includes('/');
}

/** Whether the text can be one or more levels of an address. */
export function isLevels(text: string): boolean {
  return !WILDCARD.test(text);
}
