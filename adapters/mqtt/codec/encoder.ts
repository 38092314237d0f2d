import { copyBytes, VARINT_MAX, varintLength, writeUint16, writeVarint } from './bytes.ts';
import { CodecError } from './codec-error.ts';
import { Output } from './output.ts';
import {
  type AcknowledgementType,
  type ConnectPacket,
  type Packet,
  PacketType,
  type ProtocolVersion,
  type Properties,
  type PublishPacket,
  type Qos,
  type Subscription,
} from './packet.ts';
import { propertiesLength, propertyEnd, writeProperties } from './properties.ts';
import { PropertyId, PropertyOwner } from './property-table.ts';
import type { PublishView } from './publish-view.ts';
import { connackReturnCodeOf, ReasonCode } from './reason-code.ts';

/** The largest acknowledgement encodeAcknowledgement writes. */
export const ACKNOWLEDGEMENT_BYTES_MAX = 5;

/**
 * A message somewhere in a buffer, in offsets into it. The two bytes before `topicStart` hold the topic's length, big
 * endian, so that both are copied at once (they are not needed when the topic is empty).
 */
export interface PublishSource {
  buffer: Buffer;
  topicStart: number;
  topicEnd: number;
  /** The raw MQTT 5 property section without its length; start equals end when there are none. */
  propertiesStart: number;
  propertiesEnd: number;
  payloadStart: number;
  payloadEnd: number;
}

/**
 * Encodes any packet. A CONNECT is encoded in its own protocolVersion; MQTT 3 leaves out what it has no field for, and
 * turns MQTT 5 reason codes into its return codes.
 * @throws RangeError, TypeError when the packet cannot be encoded; CodecError 0x95 when it is too large for MQTT.
 */
export function encodePacket(packet: Packet, version: ProtocolVersion): Buffer {
  const target = Buffer.allocUnsafe(packetLength(packet, version));
  encodePacketInto(packet, version, target, 0);
  return target;
}

/** Bytes of the encoded packet. Throws as encodePacket does. */
export function packetLength(packet: Packet, version: ProtocolVersion): number {
  const body = bodyLength(packet, version);
  return 1 + varintLength(body) + body;
}

/** Writes the packet at `at` and returns the offset after it. Throws as encodePacket, and RangeError without room. */
export function encodePacketInto(packet: Packet, version: ProtocolVersion, target: Buffer, at: number): number {
  const body = bodyLength(packet, version);
  if (at + 1 + varintLength(body) + body > target.length) throw new RangeError('the packet does not fit');
  target[at] = firstByteOf(packet);
  const output = new Output(target, writeVarint(target, at + 1, body));
  writeBody(output, packet, version);
  return output.at;
}

/**
 * Writes PUBACK, PUBREC, PUBREL or PUBCOMP at `at` (ACKNOWLEDGEMENT_BYTES_MAX bytes of room) and returns the offset
 * after it. The reason code is left out when it is 0 and in MQTT 3.
 */
export function encodeAcknowledgement(
  target: Buffer,
  at: number,
  type: AcknowledgementType,
  packetIdentifier: number,
  reasonCode: number,
  version: ProtocolVersion,
): number {
  const hasReason = version === 5 && reasonCode !== 0;
  target[at] = type === PacketType.pubrel ? 0x62 : type << 4;
  target[at + 1] = hasReason ? 3 : 2;
  target[at + 2] = packetIdentifier >>> 8;
  target[at + 3] = packetIdentifier & 0xff;
  if (!hasReason) return at + 4;
  target[at + 4] = reasonCode;
  return at + 5;
}

/**
 * Bytes of the PUBLISH that encodePublish writes for the same arguments.
 * @param extraProperties raw properties that go before those of the source; MQTT 3 has neither.
 */
export function publishLength(
  source: PublishSource,
  version: ProtocolVersion,
  qos: Qos,
  extraProperties: Buffer | null,
): number {
  const body = publishBodyLength(source, version, qos, extraProperties);
  return 1 + varintLength(body) + body;
}

/**
 * Writes a PUBLISH at `at` (publishLength bytes of room) and returns the offset after it. The packet identifier is
 * ignored with QoS 0.
 */
export function encodePublish(
  target: Buffer,
  at: number,
  source: PublishSource,
  version: ProtocolVersion,
  qos: Qos,
  dup: boolean,
  retain: boolean,
  packetIdentifier: number,
  extraProperties: Buffer | null,
): number {
  const { buffer, topicStart, topicEnd, payloadStart, payloadEnd } = source;
  target[at] = 0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
  let next = writeVarint(target, at + 1, publishBodyLength(source, version, qos, extraProperties));
  if (hasSameLayout(source, version, qos, extraProperties)) {
    const end = copyBytes(buffer, topicStart - 2, payloadEnd, target, next);
    if (qos !== 0) writeUint16(target, next + 2 + topicEnd - topicStart, packetIdentifier);
    return end;
  }
  if (topicStart === topicEnd) next = writeUint16(target, next, 0);
  else next = copyBytes(buffer, topicStart - 2, topicEnd, target, next);
  if (qos !== 0) next = writeUint16(target, next, packetIdentifier);
  if (version === 5) {
    const { propertiesStart, propertiesEnd } = source;
    const extraLength = extraProperties === null ? 0 : extraProperties.length;
    next = writeVarint(target, next, extraLength + propertiesEnd - propertiesStart);
    if (extraProperties !== null) next = copyBytes(extraProperties, 0, extraLength, target, next);
    if (propertiesEnd === payloadStart) return copyBytes(buffer, propertiesStart, payloadEnd, target, next);
    next = copyBytes(buffer, propertiesStart, propertiesEnd, target, next);
  }
  return copyBytes(buffer, payloadStart, payloadEnd, target, next);
}

function publishBodyLength(
  source: PublishSource,
  version: ProtocolVersion,
  qos: Qos,
  extraProperties: Buffer | null,
): number {
  const length =
    2 + source.topicEnd - source.topicStart + source.payloadEnd - source.payloadStart + (qos === 0 ? 0 : 2);
  if (version !== 5) return length;
  const properties =
    source.propertiesEnd - source.propertiesStart + (extraProperties === null ? 0 : extraProperties.length);
  return length + varintLength(properties) + properties;
}

/**
 * Whether topic, packet identifier, properties and payload lie in the source as they will in the output, so that one
 * copy does. The identifier's bytes may be anything: they are written over.
 */
function hasSameLayout(
  source: PublishSource,
  version: ProtocolVersion,
  qos: Qos,
  extraProperties: Buffer | null,
): boolean {
  const identifierBytes = qos === 0 ? 0 : 2;
  const { topicStart, topicEnd, propertiesStart, propertiesEnd, payloadStart } = source;
  if (topicStart === topicEnd) return false;
  if (version !== 5) return payloadStart === topicEnd + identifierBytes;
  const length = propertiesEnd - propertiesStart;
  return (
    extraProperties === null &&
    propertiesEnd === payloadStart &&
    propertiesStart === topicEnd + identifierBytes + 1 &&
    length < 0x80 &&
    source.buffer[propertiesStart - 1] === length
  );
}

/**
 * Copies the raw properties of a received PUBLISH to `at`, in order, without topic alias and message expiry interval,
 * which a server sends in its own words. Needs at most as much room as the section has; returns the offset after it.
 */
export function copyForwardableProperties(view: PublishView, target: Buffer, at: number): number {
  const { buffer, propertiesStart, propertiesEnd } = view;
  if (view.topicAlias === 0 && view.messageExpiryIntervalS < 0) {
    return copyBytes(buffer, propertiesStart, propertiesEnd, target, at);
  }
  let copied = at;
  let kept = propertiesStart; // start of what is not copied yet
  let next = propertiesStart;
  while (next < propertiesEnd) {
    const id = buffer[next]!;
    const after = propertyEnd(buffer, next, propertiesEnd);
    if (id === PropertyId.topicAlias || id === PropertyId.messageExpiryInterval) {
      copied = copyBytes(buffer, kept, next, target, copied);
      kept = after;
    }
    next = after;
  }
  return copyBytes(buffer, kept, propertiesEnd, target, copied);
}

function bodyLength(packet: Packet, version: ProtocolVersion): number {
  const measure = new Output(null, 0);
  writeBody(measure, packet, version);
  if (measure.at > VARINT_MAX) throw new CodecError(ReasonCode.packetTooLarge, 'the packet is too large for MQTT');
  return measure.at;
}

function firstByteOf(packet: Packet): number {
  const type = PacketType[packet.type];
  if (packet.type === 'publish') {
    return (type << 4) | (packet.dup ? 8 : 0) | (packet.qos << 1) | (packet.retain ? 1 : 0);
  }
  const flags = type === PacketType.pubrel || type === PacketType.subscribe || type === PacketType.unsubscribe ? 2 : 0;
  return (type << 4) | flags;
}

function writeBody(output: Output, packet: Packet, version: ProtocolVersion): void {
  switch (packet.type) {
    case 'connect':
      return writeConnect(output, packet);
    case 'connack':
      output.byte(packet.sessionPresent && version !== 3 ? 1 : 0);
      output.byte(version === 5 ? packet.reasonCode : connackReturnCodeOf(packet.reasonCode));
      return writeSection(output, packet.properties, PropertyOwner.connack, version);
    case 'publish':
      return writePublish(output, packet, version);
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      writePacketIdentifier(output, packet.packetIdentifier);
      return writeReason(output, packet.reasonCode, packet.properties, PacketType[packet.type], version);
    case 'subscribe':
      writePacketIdentifier(output, packet.packetIdentifier);
      writeSection(output, packet.properties, PropertyOwner.subscribe, version);
      for (const subscription of packet.subscriptions) writeSubscription(output, subscription, version);
      return;
    case 'unsubscribe':
      writePacketIdentifier(output, packet.packetIdentifier);
      writeSection(output, packet.properties, PropertyOwner.unsubscribe, version);
      for (const topicFilter of packet.topicFilters) output.string(topicFilter);
      return;
    case 'suback':
      writePacketIdentifier(output, packet.packetIdentifier);
      writeSection(output, packet.properties, PropertyOwner.suback, version);
      // MQTT 3.1.1 has one code for failure.
      for (const code of packet.reasonCodes) output.byte(version !== 5 && code >= 0x80 ? 0x80 : code);
      return;
    case 'unsuback':
      writePacketIdentifier(output, packet.packetIdentifier);
      writeSection(output, packet.properties, PropertyOwner.unsuback, version);
      if (version === 5) for (const code of packet.reasonCodes) output.byte(code);
      return;
    case 'disconnect':
      return writeReason(output, packet.reasonCode, packet.properties, PropertyOwner.disconnect, version);
    case 'auth':
      if (version !== 5) throw new TypeError('AUTH exists in MQTT 5 only');
      if (packet.reasonCode === 0 && packet.properties === undefined) return;
      output.byte(packet.reasonCode);
      return writeSection(output, packet.properties, PropertyOwner.auth, version);
    case 'pingreq':
    case 'pingresp':
  }
}

function writeConnect(output: Output, packet: ConnectPacket): void {
  const { protocolVersion: version, will, username, password } = packet;
  if (version !== 5 && password !== undefined && username === undefined) {
    throw new TypeError('MQTT 3 has no password without a user name [MQTT-3.1.2-22]');
  }
  output.string(version === 3 ? 'MQIsdp' : 'MQTT');
  output.byte(version);
  const willFlags = will === undefined ? 0 : 4 | (will.qos << 3) | (will.retain ? 0x20 : 0);
  output.byte(
    (packet.cleanStart ? 2 : 0) | willFlags | (password === undefined ? 0 : 0x40) | (username === undefined ? 0 : 0x80),
  );
  output.uint16(packet.keepAliveS);
  writeSection(output, packet.properties, PropertyOwner.connect, version);
  output.string(packet.clientIdentifier);
  if (will !== undefined) {
    writeSection(output, will.properties, PropertyOwner.will, version);
    output.string(will.topicName);
    output.binary(will.payload);
  }
  if (username !== undefined) output.string(username);
  if (password !== undefined) output.binary(password);
}

function writePublish(output: Output, packet: PublishPacket, version: ProtocolVersion): void {
  output.string(packet.topicName);
  if (packet.qos !== 0) writePacketIdentifier(output, packet.packetIdentifier ?? 0);
  writeSection(output, packet.properties, PropertyOwner.publish, version);
  output.bytes(packet.payload);
}

function writeSubscription(output: Output, subscription: Subscription, version: ProtocolVersion): void {
  output.string(subscription.topicFilter);
  const { qos, noLocal, retainAsPublished, retainHandling } = subscription;
  output.byte(version === 5 ? qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4) : qos);
}

function writePacketIdentifier(output: Output, packetIdentifier: number): void {
  if (!(packetIdentifier >= 1 && packetIdentifier <= 0xffff)) {
    throw new RangeError(`${packetIdentifier} is not a packet identifier`);
  }
  output.uint16(packetIdentifier);
}

/** Property length and properties, in MQTT 5. */
function writeSection(
  output: Output,
  properties: Properties | undefined,
  owner: PropertyOwner,
  version: ProtocolVersion,
): void {
  if (version !== 5) return;
  if (properties === undefined) return output.varint(0);
  output.varint(propertiesLength(properties, owner));
  writeProperties(output, properties, owner);
}

/** Reason code and properties at the end of a packet, in the shortest form that says them. */
function writeReason(
  output: Output,
  reasonCode: number,
  properties: Properties | undefined,
  owner: PropertyOwner,
  version: ProtocolVersion,
): void {
  if (version !== 5 || (reasonCode === 0 && properties === undefined)) return;
  output.byte(reasonCode);
  if (properties !== undefined) writeSection(output, properties, owner, version);
}
