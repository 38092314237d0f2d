import { CodecError, malformed, protocolError } from './codec-error.ts';
import {
  type ConnectPacket,
  isQos,
  type Packet,
  PacketType,
  type ProtocolVersion,
  type Properties,
  type Subscription,
  type Will,
} from './packet.ts';
import { PropertyOwner } from './property-table.ts';
import { ConnackReturnCode, isReasonCodeOf, ReasonCode } from './reason-code.ts';
import { Reader } from './reader.ts';
import { isShared, topicFilterFault } from './topic.ts';

/** Connect flags (section 3.1.2.3). */
const ConnectFlag = { reserved: 1, cleanStart: 2, will: 4, willRetain: 0x20, password: 0x40, username: 0x80 } as const;
const WILL_QOS_SHIFT = 3;

const retainHandlings = [0, 1, 2] as const;

/** `{ properties }` when there are any: a packet without properties has no such key. */
function withProperties(properties: Properties | undefined): { properties?: Properties } {
  return properties === undefined ? {} : { properties };
}

/**
 * Protocol name and level, the first fields of CONNECT.
 * @throws CodecError 0x84 with the level for anything but MQIsdp 3, MQTT 4 and MQTT 5 ([MQTT-3.1.2-1], [MQTT-3.1.2-2]).
 */
export function readProtocolVersion(reader: Reader): ProtocolVersion {
  const name = reader.string('protocol name');
  if (name !== 'MQTT' && name !== 'MQIsdp') {
    throw new CodecError(ReasonCode.unsupportedProtocolVersion, 'the protocol name is neither MQTT nor MQIsdp');
  }
  const level = reader.byte('protocol level');
  if (name === 'MQTT' && (level === 4 || level === 5)) return level;
  if (name === 'MQIsdp' && level === 3) return level;
  throw new CodecError(
    ReasonCode.unsupportedProtocolVersion,
    `the protocol level ${level} of ${name} is not supported`,
    level,
  );
}

/** The fields of CONNECT after its protocol level. */
export function decodeConnect(reader: Reader, protocolVersion: ProtocolVersion): ConnectPacket {
  const flags = reader.byte('connect flags');
  checkConnectFlags(flags, protocolVersion);
  const keepAliveS = reader.uint16('keep alive');
  const properties = protocolVersion === 5 ? reader.properties(PropertyOwner.connect) : undefined;
  checkAuthentication(properties);
  const packet: ConnectPacket = {
    type: 'connect',
    protocolVersion,
    clientIdentifier: reader.string('client identifier'),
    cleanStart: (flags & ConnectFlag.cleanStart) !== 0,
    keepAliveS,
    ...withProperties(properties),
  };
  if ((flags & ConnectFlag.will) !== 0) packet.will = decodeWill(reader, flags, protocolVersion);
  if ((flags & ConnectFlag.username) !== 0) packet.username = reader.string('user name');
  if ((flags & ConnectFlag.password) !== 0) packet.password = reader.binary('password');
  reader.finish();
  return packet;
}

function checkConnectFlags(flags: number, version: ProtocolVersion): void {
  // [MQTT-3.1.2-3]; MQTT 3.1 leaves the bit unused and clients set it.
  if (version !== 3 && (flags & ConnectFlag.reserved) !== 0) throw malformed('the reserved connect flag is set');
  if ((flags & ConnectFlag.will) === 0) {
    // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
    if (willQos(flags) !== 0) throw malformed('the will QoS is set without a will');
    if ((flags & ConnectFlag.willRetain) !== 0) throw malformed('will retain is set without a will');
  }
  // [MQTT-3.1.2-22] of MQTT 3.1.1, lifted in MQTT 5
  if (version !== 5 && (flags & ConnectFlag.password) !== 0 && (flags & ConnectFlag.username) === 0) {
    throw protocolError('a password without a user name');
  }
}

function willQos(flags: number): number {
  return (flags >> WILL_QOS_SHIFT) & 3;
}

function decodeWill(reader: Reader, flags: number, version: ProtocolVersion): Will {
  const properties = version === 5 ? reader.properties(PropertyOwner.will) : undefined;
  const qos = willQos(flags);
  if (!isQos(qos)) throw malformed('the will QoS is 3'); // [MQTT-3.1.2-12]
  const topicName = reader.string('will topic');
  // [MQTT-4.7.3-1], [MQTT-4.7.1-1]
  if (topicName.length === 0) throw new CodecError(ReasonCode.topicNameInvalid, 'the will topic is empty');
  if (/[+#]/.test(topicName)) {
    throw new CodecError(ReasonCode.topicNameInvalid, 'the will topic contains a wildcard');
  }
  return {
    topicName,
    payload: reader.binary('will payload'),
    qos,
    retain: (flags & ConnectFlag.willRetain) !== 0,
    ...withProperties(properties),
  };
}

/** Section 3.1.2.11.10: authentication data belongs to a method. */
function checkAuthentication(properties: Properties | undefined): void {
  if (properties?.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    throw protocolError('authentication data without an authentication method');
  }
}

/**
 * Decodes the body (what follows the fixed header) of every packet type that has no function of its own in the
 * decoder: not CONNECT, PUBLISH and the acknowledgements. `fromServer` says who sent it.
 */
export function decodePacket(type: number, reader: Reader, version: ProtocolVersion, fromServer: boolean): Packet {
  switch (type) {
    case PacketType.connack:
      return decodeConnack(reader, version);
    case PacketType.subscribe:
      return decodeSubscribe(reader, version);
    case PacketType.suback:
      return decodeSuback(reader, version);
    case PacketType.unsubscribe:
      return decodeUnsubscribe(reader, version);
    case PacketType.unsuback:
      return decodeUnsuback(reader, version);
    case PacketType.pingreq:
      reader.finish();
      return { type: 'pingreq' };
    case PacketType.pingresp:
      reader.finish();
      return { type: 'pingresp' };
    case PacketType.disconnect:
      return decodeDisconnect(reader, version, fromServer);
    case PacketType.auth:
      return decodeAuth(reader);
    default:
      throw malformed(`there is no packet type ${type}`);
  }
}

function decodeConnack(reader: Reader, version: ProtocolVersion): Packet {
  const flags = reader.byte('acknowledge flags');
  if (flags > 1) throw malformed('a reserved connect acknowledge flag is set'); // [MQTT-3.2.2-1]
  const reasonCode = reader.byte('reason code');
  if (version === 5) checkReasonCode(PacketType.connack, reasonCode);
  else if (reasonCode > ConnackReturnCode.notAuthorized) throw protocolError(`no return code ${reasonCode} exists`);
  // [MQTT-3.2.2-6], in MQTT 3.1.1 [MQTT-3.2.2-4]
  if (reasonCode !== 0 && flags === 1) throw protocolError('a refused connection says that a session is present');
  const properties = version === 5 ? reader.properties(PropertyOwner.connack) : undefined;
  checkAuthentication(properties);
  reader.finish();
  // MQTT 3.1 has no Session Present: it leaves the byte unused.
  const sessionPresent = version !== 3 && flags === 1;
  return { type: 'connack', sessionPresent, reasonCode, ...withProperties(properties) };
}

function decodeSubscribe(reader: Reader, version: ProtocolVersion): Packet {
  const packetIdentifier = reader.packetIdentifier();
  const properties = version === 5 ? reader.properties(PropertyOwner.subscribe) : undefined;
  const subscriptions: Subscription[] = [];
  do {
    if (!reader.hasMore) throw protocolError('a SUBSCRIBE without a topic filter'); // [MQTT-3.8.3-2]
    const topicFilter = decodeTopicFilter(reader);
    subscriptions.push(decodeSubscription(topicFilter, reader.byte('subscription options'), version));
  } while (reader.hasMore);
  return { type: 'subscribe', packetIdentifier, subscriptions, ...withProperties(properties) };
}

function decodeSubscription(topicFilter: string, options: number, version: ProtocolVersion): Subscription {
  // [MQTT-3.8.3-5], in MQTT 3.1.1 [MQTT-3-8.3-4]
  if ((options & (version === 5 ? 0xc0 : 0xfc)) !== 0) throw malformed('a reserved subscription option is set');
  const qos = options & 3;
  if (!isQos(qos)) throw protocolError('a subscription asks for QoS 3');
  const retainHandling = retainHandlings[(options >> 4) & 3];
  if (retainHandling === undefined) throw protocolError('a subscription has the retain handling 3');
  const noLocal = (options & 4) !== 0;
  // [MQTT-3.8.3-4]
  if (noLocal && isShared(topicFilter)) throw protocolError('a shared subscription has the option no local');
  return {
    topicFilter,
    qos,
    noLocal,
    retainAsPublished: (options & 8) !== 0,
    retainHandling,
  };
}

function decodeTopicFilter(reader: Reader): string {
  const topicFilter = reader.string('topic filter');
  const fault = topicFilterFault(topicFilter);
  if (fault !== null) throw new CodecError(ReasonCode.topicFilterInvalid, fault);
  return topicFilter;
}

function decodeSuback(reader: Reader, version: ProtocolVersion): Packet {
  const packetIdentifier = reader.packetIdentifier();
  const properties = version === 5 ? reader.properties(PropertyOwner.suback) : undefined;
  const reasonCodes: number[] = [];
  do {
    const reasonCode = reader.byte('reason codes');
    if (version === 5) checkReasonCode(PacketType.suback, reasonCode);
    // [MQTT-3.9.3-2] of MQTT 3.1.1
    else if (!isQos(reasonCode) && reasonCode !== 0x80) throw protocolError(`no return code ${reasonCode} exists`);
    reasonCodes.push(reasonCode);
  } while (reader.hasMore);
  return { type: 'suback', packetIdentifier, reasonCodes, ...withProperties(properties) };
}

function decodeUnsubscribe(reader: Reader, version: ProtocolVersion): Packet {
  const packetIdentifier = reader.packetIdentifier();
  const properties = version === 5 ? reader.properties(PropertyOwner.unsubscribe) : undefined;
  const topicFilters: string[] = [];
  do {
    if (!reader.hasMore) throw protocolError('an UNSUBSCRIBE without a topic filter'); // [MQTT-3.10.3-2]
    topicFilters.push(decodeTopicFilter(reader));
  } while (reader.hasMore);
  return { type: 'unsubscribe', packetIdentifier, topicFilters, ...withProperties(properties) };
}

function decodeUnsuback(reader: Reader, version: ProtocolVersion): Packet {
  const packetIdentifier = reader.packetIdentifier();
  const reasonCodes: number[] = [];
  if (version !== 5) {
    reader.finish();
    return { type: 'unsuback', packetIdentifier, reasonCodes };
  }
  const properties = reader.properties(PropertyOwner.unsuback);
  do {
    const reasonCode = reader.byte('reason codes');
    checkReasonCode(PacketType.unsuback, reasonCode);
    reasonCodes.push(reasonCode);
  } while (reader.hasMore);
  return { type: 'unsuback', packetIdentifier, reasonCodes, ...withProperties(properties) };
}

function decodeDisconnect(reader: Reader, version: ProtocolVersion, fromServer: boolean): Packet {
  // Without a body the reason code is 0, with one byte of body there are no properties (section 3.14.2).
  if (version !== 5) reader.finish();
  if (!reader.hasMore) return { type: 'disconnect', reasonCode: 0 };
  const reasonCode = reader.byte('reason code');
  checkReasonCode(PacketType.disconnect, reasonCode);
  if (!reader.hasMore) return { type: 'disconnect', reasonCode };
  const properties = reader.properties(fromServer ? PropertyOwner.disconnectOfServer : PropertyOwner.disconnect);
  reader.finish();
  return { type: 'disconnect', reasonCode, ...withProperties(properties) };
}

function decodeAuth(reader: Reader): Packet {
  // Only reason code and properties together can be left out, for success (section 3.15.2.1).
  if (!reader.hasMore) return { type: 'auth', reasonCode: 0 };
  const reasonCode = reader.byte('reason code');
  checkReasonCode(PacketType.auth, reasonCode);
  const properties = reader.properties(PropertyOwner.auth);
  reader.finish();
  if (properties === undefined && reasonCode === ReasonCode.success) return { type: 'auth', reasonCode };
  // Section 3.15.2.2.2
  if (properties?.authenticationMethod === undefined) throw protocolError('an AUTH without authentication method');
  return { type: 'auth', reasonCode, properties };
}

function checkReasonCode(type: PacketType, reasonCode: number): void {
  if (!isReasonCodeOf(type, reasonCode)) {
    throw protocolError(`the reason code 0x${reasonCode.toString(16)} does not belong in this packet`);
  }
}
