import { checkTopicName, encodeTopicName } from '../model/names.ts';

/** Where addresses with an empty first level go. */
const UNNAMED_TOPIC = 'mqtt';

/**
 * The default route: the first level of the address is its topic, percent-encoded where RocketMQ allows no such character.
 * @throws BrokerError ILLEGAL_TOPIC
 */
export function topicOfAddress(address: string): string {
  const slash = address.indexOf('/');
  const level = slash === -1 ? address : address.slice(0, slash);
  const topic = level === '' ? UNNAMED_TOPIC : encodeTopicName(level);
  checkTopicName(topic);
  return topic;
}

/** The address of a message whose publisher gave none: `<topic>` or `<topic>/<tag>`. */
export function addressOfTopic(topic: string, tag: string | undefined): string {
  return tag === undefined ? topic : `${topic}/${tag}`;
}
