import type { Qos } from './packet.ts';
import type { PickedProperties } from './properties.ts';

/** What a view that shows nothing points to. */
export const NO_BYTES: Buffer = Buffer.alloc(0);

/**
 * A PUBLISH where it lies in the received bytes. The decoder has one view and reuses it: it is valid only during
 * `onPublish`. The bytes of `buffer` stay as they are for as long as someone refers to them. All positions are offsets
 * into `buffer`, as a PublishSource has them; the two bytes before `topicStart` are the topic's length.
 */
export class PublishView implements PickedProperties {
  buffer: Buffer = NO_BYTES;
  /** Where the fixed header starts. */
  packetStart = 0;
  dup = false;
  qos: Qos = 0;
  retain = false;
  /** Empty when only a topic alias says the topic. The same string object as in the last PUBLISH with equal bytes. */
  topicName = '';
  topicStart = 0;
  topicEnd = 0;
  /** 0 with QoS 0. */
  packetIdentifier = 0;
  /** The raw property section, validated, without its length; start equals end when there are none. */
  propertiesStart = 0;
  propertiesEnd = 0;
  payloadStart = 0;
  payloadEnd = 0;
  /** 0 when absent. */
  topicAlias = 0;
  /** -1 when absent. */
  messageExpiryIntervalS = -1;
  hasUserProperties = false;
  isText = false;
}
