import { encodeTopicName } from '../model/names.ts';

const PREFIX = '$reply/q/';

/**
 * The topic of the queue that an address of the form `$reply/q/<name, percent-encoded>` stands for: how a device answers to a
 * queue. Undefined for every other address.
 */
export function replyTopicOf(address: string): string | undefined {
  if (!address.startsWith(PREFIX)) return undefined;
  try {
    const queue = decodeURIComponent(address.slice(PREFIX.length));
    return queue === '' ? undefined : encodeTopicName(queue);
  } catch {
    return undefined;
  }
}
