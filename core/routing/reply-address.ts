import { encodeTopicName, REPLY_QUEUE_PREFIX } from '../model/names.ts';

/**
 * The topic of the queue that an address of the form `$reply/q/<name, percent-encoded>` stands for: how a device answers to a
 * queue. Undefined for every other address.
 */
export function topicOfReplyAddress(address: string): string | undefined {
  if (!address.startsWith(REPLY_QUEUE_PREFIX)) return undefined;
  try {
    const queue = decodeURIComponent(address.slice(REPLY_QUEUE_PREFIX.length));
    return queue === '' ? undefined : encodeTopicName(queue);
  } catch {
    return undefined;
  }
}
