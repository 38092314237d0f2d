/**
 * Hard limits of the model. The figures are Apache RocketMQ 5's defaults (ProxyConfig, GrpcValidator) unless a comment
 * says otherwise, so that its clients meet the limits they know.
 */
export const LIMITS = {
  topicNameCharsMax: 127,
  /** Dead letter topics carry a group name behind a prefix. */
  systemTopicNameCharsMax: 255,
  groupNameCharsMax: 120,
  /** MQTT's own limit for a topic name [MQTT-1.5.4]; the address is the longest name of all protocols. */
  addressBytesMax: 65_535,
  messageGroupBytesMax: 63,
  bodyBytesMax: 4 * 1024 * 1024,
  userPropertiesMax: 128,
  userPropertiesBytesMax: 16_384,
  receiveBatchMax: 32,
  invisibleMinMs: 10_000,
  invisibleMaxMs: 12 * 3_600_000,
  pollingMinMs: 5_000,
  pollingMaxMs: 20_000,
  /** Deliveries of one message: the first and sixteen retries. */
  attemptsMax: 17,
  queuesPerTopicMax: 64,
} as const;
