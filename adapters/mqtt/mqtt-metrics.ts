/** Counters since the start, of all connections of one adapter. */
export class MqttMetrics {
  connectionsOpened = 0;
  /** Packets of all kinds. */
  messagesReceived = 0;
  messagesSent = 0;
  bytesReceived = 0;
  bytesSent = 0;
  publishReceived = 0;
  publishSent = 0;
  /** QoS 0 deliveries given up because the subscriber did not keep up. */
  droppedQos0 = 0;
  /** CONNECTs, messages and subscriptions that were answered with a failure: limits, rights, names. */
  connectionsRefused = 0;
  publishRefused = 0;
  subscriptionsRefused = 0;
  /** How often a client was read more slowly: Receive Maximum, or its publish rate. */
  slowedDown = 0;
}
