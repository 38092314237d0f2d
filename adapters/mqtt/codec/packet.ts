/** MQTT 3.1 (protocol name MQIsdp), 3.1.1 and 5.0, by their protocol level on the wire. */
export type ProtocolVersion = 3 | 4 | 5;

/** Control packet types: the upper four bits of the first byte (MQTT 5, table 2-1). */
export const PacketType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const;
export type PacketType = (typeof PacketType)[keyof typeof PacketType];

/** PUBACK, PUBREC, PUBREL, PUBCOMP: the packets of one layout that carry a packet identifier and a reason. */
export type AcknowledgementType = 4 | 5 | 6 | 7;
export const ACKNOWLEDGEMENT_NAMES = { 4: 'puback', 5: 'pubrec', 6: 'pubrel', 7: 'pubcomp' } as const;

export const Qos = { atMostOnce: 0, atLeastOnce: 1, exactlyOnce: 2 } as const;
export type Qos = (typeof Qos)[keyof typeof Qos];

export function isQos(value: number): value is Qos {
  return value === 0 || value === 1 || value === 2;
}

/**
 * MQTT 5 properties by their standard names (section 2.2.2.2, units last). Which packet may carry which is in
 * properties.ts; an object made by the decoder only has those the packet had.
 */
export interface Properties {
  payloadFormatIndicator?: 0 | 1;
  messageExpiryIntervalS?: number;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Buffer;
  /** Several in a PUBLISH from a server, at most one in SUBSCRIBE, none in a PUBLISH from a client. */
  subscriptionIdentifiers?: number[];
  sessionExpiryIntervalS?: number;
  assignedClientIdentifier?: string;
  serverKeepAliveS?: number;
  authenticationMethod?: string;
  authenticationData?: Buffer;
  requestProblemInformation?: boolean;
  willDelayIntervalS?: number;
  requestResponseInformation?: boolean;
  responseInformation?: string;
  serverReference?: string;
  reasonString?: string;
  receiveMaximum?: number;
  topicAliasMaximum?: number;
  topicAlias?: number;
  maximumQos?: 0 | 1;
  retainAvailable?: boolean;
  /** In wire order, names may repeat ([MQTT-3.3.2-18]). */
  userProperties?: [string, string][];
  maximumPacketSizeBytes?: number;
  wildcardSubscriptionAvailable?: boolean;
  subscriptionIdentifiersAvailable?: boolean;
  sharedSubscriptionAvailable?: boolean;
}

export interface Will {
  topicName: string;
  payload: Buffer;
  qos: Qos;
  retain: boolean;
  properties?: Properties;
}

export interface ConnectPacket {
  type: 'connect';
  protocolVersion: ProtocolVersion;
  /** May be empty: whether that is allowed is the session's decision. */
  clientIdentifier: string;
  /** Clean Session in MQTT 3. */
  cleanStart: boolean;
  keepAliveS: number;
  will?: Will;
  username?: string;
  password?: Buffer;
  properties?: Properties;
}

export interface ConnackPacket {
  type: 'connack';
  sessionPresent: boolean;
  /** MQTT 5 reason code; in MQTT 3 a decoded packet has the return code (0 to 5). */
  reasonCode: number;
  properties?: Properties;
}

export interface PublishPacket {
  type: 'publish';
  topicName: string;
  qos: Qos;
  dup: boolean;
  retain: boolean;
  /** Present exactly when QoS is 1 or 2. */
  packetIdentifier?: number;
  payload: Buffer;
  properties?: Properties;
}

export interface AcknowledgementPacket {
  type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp';
  packetIdentifier: number;
  /** Always 0 in MQTT 3, which has no field for it. */
  reasonCode: number;
  properties?: Properties;
}

export interface Subscription {
  topicFilter: string;
  qos: Qos;
  /** The next three are false, false and 0 in MQTT 3. */
  noLocal: boolean;
  retainAsPublished: boolean;
  retainHandling: 0 | 1 | 2;
}

export interface SubscribePacket {
  type: 'subscribe';
  packetIdentifier: number;
  subscriptions: Subscription[];
  properties?: Properties;
}

export interface SubackPacket {
  type: 'suback';
  packetIdentifier: number;
  /** One per subscription, in its order. */
  reasonCodes: number[];
  properties?: Properties;
}

export interface UnsubscribePacket {
  type: 'unsubscribe';
  packetIdentifier: number;
  topicFilters: string[];
  properties?: Properties;
}

export interface UnsubackPacket {
  type: 'unsuback';
  packetIdentifier: number;
  /** One per topic filter, in its order; empty in MQTT 3. */
  reasonCodes: number[];
  properties?: Properties;
}

export interface PingreqPacket {
  type: 'pingreq';
}

export interface PingrespPacket {
  type: 'pingresp';
}

export interface DisconnectPacket {
  type: 'disconnect';
  /** Always 0 in MQTT 3, which has no field for it. */
  reasonCode: number;
  properties?: Properties;
}

/** MQTT 5 only. */
export interface AuthPacket {
  type: 'auth';
  reasonCode: number;
  properties?: Properties;
}

export type Packet =
  | ConnectPacket
  | ConnackPacket
  | PublishPacket
  | AcknowledgementPacket
  | SubscribePacket
  | SubackPacket
  | UnsubscribePacket
  | UnsubackPacket
  | PingreqPacket
  | PingrespPacket
  | DisconnectPacket
  | AuthPacket;
