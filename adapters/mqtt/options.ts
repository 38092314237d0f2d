/** Limits of one MQTT listener; every one has a configuration key of the same name under `mqtt`. */
export interface MqttOptions {
  /** A connection that has not sent CONNECT by then is closed. */
  readonly connectTimeoutMs: number;
  readonly connectPacketBytesMax: number;
  /** Announced as Maximum Packet Size. */
  readonly packetBytesMax: number;
  /** Counted where connections are accepted, with those that have not got as far as the adapter. */
  readonly connectionsMax: number;
  readonly subscriptionsPerClientMax: number;
  readonly topicLevelsMax: number;
  /** QoS 1 messages on their way to one client; a smaller Receive Maximum of the client wins. */
  readonly inflightMax: number;
  /** Announced as Receive Maximum; a client that sends more is not read from until some are stored. */
  readonly receiveMaximum: number;
  /** Longest Keep Alive granted; 0 grants what the client asks for. */
  readonly keepAliveMaxS: number;
  /** Longest Session Expiry Interval granted; 0 grants what the client asks for. MQTT 3 asks for ever. */
  readonly sessionExpiryMaxS: number;
  /** Topic aliases of each direction; 0: none. */
  readonly topicAliasMax: number;
  /**
   * What a member of a shared subscription refuses (PUBACK or PUBREC with 0x80 or more) comes again, to whoever has room,
   * up to the group's limit. MQTT 5 would have it dropped [MQTT-4.8.2-6].
   */
  readonly sharedRetry: boolean;
  /** Payloads said to be UTF-8 are checked. */
  readonly payloadFormatCheck: boolean;
  /** Response Information for clients that ask for it is this, their client identifier and a slash; empty: none. */
  readonly responseTopicPrefix: string;
  /** Messages and bytes one client may publish in a second, 0 for no limit: beyond it, the client is read more slowly. */
  readonly publishRateMax: number;
  readonly publishBytesRateMax: number;
  /** How often `$SYS/broker/...` is brought up to date; 0: there is none. */
  readonly sysIntervalS: number;
  /** Bytes that may wait for one client's socket; beyond it QoS 0 is dropped and QoS 1 stays in the store. */
  readonly outputBytesMax: number;
}

export const DEFAULT_MQTT_OPTIONS: MqttOptions = {
  connectTimeoutMs: 10_000,
  connectPacketBytesMax: 64 * 1024,
  packetBytesMax: 4 * 1024 * 1024 + 128 * 1024,
  connectionsMax: 10_000,
  subscriptionsPerClientMax: 1000,
  topicLevelsMax: 32,
  inflightMax: 100,
  receiveMaximum: 1024,
  keepAliveMaxS: 0,
  sessionExpiryMaxS: 0,
  topicAliasMax: 32,
  sharedRetry: true,
  payloadFormatCheck: false,
  responseTopicPrefix: 'response/',
  publishRateMax: 0,
  publishBytesRateMax: 0,
  sysIntervalS: 10,
  outputBytesMax: 1024 * 1024,
};
