import { VARINT_MAX } from './bytes.ts';
import { PacketType, type Properties } from './packet.ts';

/**
 * Whose properties a section holds: a packet type, the will inside CONNECT, or a packet type seen from the side that
 * may send less of it. Numbers up to 15 are packet types.
 */
export const PropertyOwner = {
  ...PacketType,
  will: 0,
  /** A client must not send subscription identifiers ([MQTT-3.3.4-6]). */
  publishOfClient: 16,
  /** A server must not send a session expiry interval ([MQTT-3.14.2-2]). */
  disconnectOfServer: 17,
} as const;
export type PropertyOwner = (typeof PropertyOwner)[keyof typeof PropertyOwner];

export const PropertyType = {
  /** One byte, 0 or 1, a number in Properties. */
  byte: 1,
  /** One byte, 0 or 1, a boolean in Properties. */
  flag: 2,
  uint16: 3,
  uint32: 4,
  varint: 5,
  string: 6,
  binary: 7,
  stringPair: 8,
} as const;
export type PropertyType = (typeof PropertyType)[keyof typeof PropertyType];

export const PropertyId = {
  payloadFormatIndicator: 0x01,
  messageExpiryInterval: 0x02,
  responseTopic: 0x08,
  topicAlias: 0x23,
  userProperty: 0x26,
} as const;

export interface PropertyDefinition {
  id: number;
  name: keyof Properties;
  type: PropertyType;
  owners: readonly PropertyOwner[];
  /** Owners in which the property may appear more than once. */
  repeatsIn: readonly PropertyOwner[];
  min: number;
  max: number;
}

const { connect, connack, publish, puback, pubrec, pubrel, pubcomp } = PropertyOwner;
const { subscribe, suback, unsubscribe, unsuback, disconnect, auth } = PropertyOwner;
const { will, publishOfClient, disconnectOfServer } = PropertyOwner;
const message = [publish, publishOfClient, will];
const disconnects = [disconnect, disconnectOfServer];
const acknowledgements = [puback, pubrec, pubrel, pubcomp];
const reasons = [connack, ...acknowledgements, suback, unsuback, ...disconnects, auth];
const everywhere = [connect, ...message, subscribe, unsubscribe, ...reasons];

/** All properties of MQTT 5 (table 2-4). A value outside [min, max] is a Protocol Error. */
export const propertyTable: readonly PropertyDefinition[] = [
  define(0x01, 'payloadFormatIndicator', PropertyType.byte, message),
  define(0x02, 'messageExpiryIntervalS', PropertyType.uint32, message),
  define(0x03, 'contentType', PropertyType.string, message),
  define(0x08, 'responseTopic', PropertyType.string, message),
  define(0x09, 'correlationData', PropertyType.binary, message),
  define(0x0b, 'subscriptionIdentifiers', PropertyType.varint, [publish, subscribe], { min: 1, repeatsIn: [publish] }),
  define(0x11, 'sessionExpiryIntervalS', PropertyType.uint32, [connect, connack, disconnect]),
  define(0x12, 'assignedClientIdentifier', PropertyType.string, [connack]),
  define(0x13, 'serverKeepAliveS', PropertyType.uint16, [connack]),
  define(0x15, 'authenticationMethod', PropertyType.string, [connect, connack, auth]),
  define(0x16, 'authenticationData', PropertyType.binary, [connect, connack, auth]),
  define(0x17, 'requestProblemInformation', PropertyType.flag, [connect]),
  define(0x18, 'willDelayIntervalS', PropertyType.uint32, [will]),
  define(0x19, 'requestResponseInformation', PropertyType.flag, [connect]),
  define(0x1a, 'responseInformation', PropertyType.string, [connack]),
  define(0x1c, 'serverReference', PropertyType.string, [connack, ...disconnects]),
  define(0x1f, 'reasonString', PropertyType.string, reasons),
  define(0x21, 'receiveMaximum', PropertyType.uint16, [connect, connack], { min: 1 }),
  define(0x22, 'topicAliasMaximum', PropertyType.uint16, [connect, connack]),
  define(0x23, 'topicAlias', PropertyType.uint16, [publish, publishOfClient], { min: 1 }),
  define(0x24, 'maximumQos', PropertyType.byte, [connack]),
  define(0x25, 'retainAvailable', PropertyType.flag, [connack]),
  define(0x26, 'userProperties', PropertyType.stringPair, everywhere, { repeatsIn: everywhere }),
  define(0x27, 'maximumPacketSizeBytes', PropertyType.uint32, [connect, connack], { min: 1 }),
  define(0x28, 'wildcardSubscriptionAvailable', PropertyType.flag, [connack]),
  define(0x29, 'subscriptionIdentifiersAvailable', PropertyType.flag, [connack]),
  define(0x2a, 'sharedSubscriptionAvailable', PropertyType.flag, [connack]),
];

/** The highest property identifier: the length of arrays indexed by identifier is one more. */
export const PROPERTY_ID_MAX = 0x2a;

function define(
  id: number,
  name: keyof Properties,
  type: PropertyType,
  owners: readonly PropertyOwner[],
  { min = 0, repeatsIn = [] }: { min?: number; repeatsIn?: readonly PropertyOwner[] } = {},
): PropertyDefinition {
  return { id, name, type, owners, repeatsIn, min, max: maximumOf(type) };
}

function maximumOf(type: PropertyType): number {
  if (type === PropertyType.byte || type === PropertyType.flag) return 1;
  if (type === PropertyType.uint16) return 0xffff;
  if (type === PropertyType.uint32) return 0xffff_ffff;
  return type === PropertyType.varint ? VARINT_MAX : Infinity;
}
