/**
 * The few MQTT 3.1.1 and 5.0 packets the load generator writes, encoded by hand.
 *
 * On purpose neither the gateway's codec nor MQTT.js: a benchmark that shared code with one of its peers would share
 * its faults and its cost.
 */

export type MqttVersion = 4 | 5;

/** First nibble of each packet type the generator meets, as it stands in the first byte (flags zero). */
export const packetType = {
  connect: 0x10,
  connack: 0x20,
  publish: 0x30,
  puback: 0x40,
  pubrec: 0x50,
  pubrel: 0x60,
  pubcomp: 0x70,
  subscribe: 0x80,
  suback: 0x90,
  unsubscribe: 0xa0,
  unsuback: 0xb0,
  pingresp: 0xd0,
  disconnect: 0xe0,
} as const;

export const pingreqBytes = Buffer.from([0xc0, 0]);
export const disconnectBytes = Buffer.from([packetType.disconnect, 0]);

const reservedFlags = 0x02; // [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1]
export const pubrelFirstByte = packetType.pubrel | reservedFlags;

/** CONNECT with a clean start, no will, no credentials and keep-alive off, so that only the load is on the wire. */
export function encodeConnect(version: MqttVersion, clientId: string): Buffer {
  const cleanStart = 0x02;
  const properties = version === 5 ? [0] : [];
  return frame(packetType.connect, [text('MQTT'), [version, cleanStart, 0, 0], properties, text(clientId)]);
}

/** The same, but the session goes on where it was and outlives the connection, in MQTT 5 for an hour. */
export function encodePersistentConnect(version: MqttVersion, clientId: string): Buffer {
  const sessionExpiryInterval = [0x11, 0, 0, 0x0e, 0x10];
  const properties = version === 5 ? [sessionExpiryInterval.length, ...sessionExpiryInterval] : [];
  return frame(packetType.connect, [text('MQTT'), [version, 0, 0, 0], properties, text(clientId)]);
}

/** SUBSCRIBE to one topic filter with packet identifier 1. */
export function encodeSubscribe(version: MqttVersion, topicFilter: string, qos: number): Buffer {
  const properties = version === 5 ? [0] : [];
  return frame(packetType.subscribe | reservedFlags, [[0, 1], properties, text(topicFilter), [qos]]);
}

/** UNSUBSCRIBE from one topic filter with packet identifier 2. */
export function encodeUnsubscribe(version: MqttVersion, topicFilter: string): Buffer {
  const properties = version === 5 ? [0] : [];
  return frame(packetType.unsubscribe | reservedFlags, [[0, 2], properties, text(topicFilter)]);
}

export type QoS = 0 | 1 | 2;

export type PublishShape = {
  version: MqttVersion;
  /** Names of one length, when they differ. */
  topicName: (sequence: number) => string;
  qos: QoS;
  retain?: boolean;
  payloadBytes: number;
  /** In the third and fourth byte of the payload: who sent it. */
  publisher?: number;
};

/** PUBLISH packets laid end to end, all of one length, so that a run of them is one slice. */
export type PublishRing = { bytes: Buffer; packetBytes: number; count: number };

/**
 * Encodes `count` different packets, followed by copies of the first `burst`: any run of up to `burst` packets is then
 * contiguous, also across the ring's end. Packet i carries packet identifier i + 1 and, in the first two payload bytes,
 * the sequence number i.
 */
export function encodePublishRing(shape: PublishShape, count: number, burst: number): PublishRing {
  const packets: Buffer[] = [];
  for (let i = 0; i < count; i++) packets.push(encodePublish(shape, i));
  const bytes = Buffer.concat([...packets, ...packets.slice(0, burst)]);
  return { bytes, packetBytes: bytes.length / (count + burst), count };
}

function encodePublish(shape: PublishShape, sequence: number): Buffer {
  const packetIdentifier = sequence + 1;
  const payload = Buffer.alloc(shape.payloadBytes, 0x62);
  payload.writeUInt16BE(sequence, 0);
  if (shape.publisher !== undefined) payload.writeUInt16BE(shape.publisher, 2);
  return frame(packetType.publish | (shape.qos << 1) | (shape.retain === true ? 1 : 0), [
    text(shape.topicName(sequence)),
    shape.qos === 0 ? [] : [packetIdentifier >> 8, packetIdentifier & 0xff],
    shape.version === 5 ? [0] : [],
    payload,
  ]);
}

/** A buffer of PUBACKs (or their like) whose packet identifiers are still to be filled in: two bytes each are left to write. */
export function allocAcks(firstByte: number, count: number): Buffer {
  return Buffer.alloc(count * 4, Buffer.from([firstByte, 2, 0, 0]));
}

/** Bytes of the value of each property a CONNACK may hold; -1: a text or binary data, -2: a pair of texts. */
const connackProperties: Readonly<Record<number, number>> = {
  0x11: 4,
  0x12: -1,
  0x13: 2,
  0x15: -1,
  0x16: -1,
  0x1a: -1,
  0x1c: -1,
  0x1f: -1,
  0x21: 2,
  0x22: 2,
  0x24: 1,
  0x25: 1,
  0x26: -2,
  0x27: 4,
  0x28: 1,
  0x29: 1,
  0x2a: 1,
};

/** Whether an MQTT 5 CONNACK grants shared subscriptions: property 0x2a is absent or 1. */
export function grantsSharedSubscriptions(connack: Buffer): boolean {
  let at = afterVariableInteger(connack, afterVariableInteger(connack, 1) + 2);
  while (at < connack.length) {
    const property = connack[at++]!;
    if (property === 0x2a) return connack[at] === 1;
    const valueBytes = connackProperties[property];
    if (valueBytes === undefined) throw new Error(`CONNACK with property 0x${property.toString(16)}`);
    for (let texts = -valueBytes; texts > 0; texts--) at += 2 + connack.readUInt16BE(at);
    if (valueBytes > 0) at += valueBytes;
  }
  return true;
}

/**
 * Length in bytes of the packet that starts at `from`, fixed header included; 0 when its end has not arrived.
 *
 * @throws Error when the remaining length takes more than four bytes.
 */
export function packetLength(bytes: Buffer, from: number, to: number): number {
  let remaining = 0;
  for (let i = 1; i <= 4; i++) {
    if (from + i >= to) return 0;
    const byte = bytes[from + i]!;
    remaining += (byte & 0x7f) * 128 ** (i - 1);
    if (byte < 0x80) return from + 1 + i + remaining <= to ? 1 + i + remaining : 0;
  }
  throw new Error('the peer sent a remaining length of more than four bytes');
}

/** Where in a received PUBLISH, counted from its first byte, the packet identifier and the payload start. */
export type PublishLayout = { packetIdentifierAt: number; payloadAt: number };

export function publishLayout(bytes: Buffer, from: number, version: MqttVersion): PublishLayout {
  let at = afterVariableInteger(bytes, from + 1);
  at += 2 + bytes.readUInt16BE(at);
  const packetIdentifierAt = at - from;
  if ((bytes[from]! & 0x06) !== 0) at += 2;
  if (version === 5) {
    const start = at;
    at = afterVariableInteger(bytes, start);
    let propertiesBytes = 0;
    for (let i = at - 1; i >= start; i--) propertiesBytes = propertiesBytes * 128 + (bytes[i]! & 0x7f);
    at += propertiesBytes;
  }
  return { packetIdentifierAt, payloadAt: at - from };
}

function afterVariableInteger(bytes: Buffer, from: number): number {
  let at = from;
  while (bytes[at]! >= 0x80) at++;
  return at + 1;
}

function frame(firstByte: number, parts: readonly (Uint8Array | number[])[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Uint8Array.from(part)));
  const header = [firstByte];
  let rest = body.length;
  do {
    const more = rest > 0x7f ? 0x80 : 0;
    header.push((rest & 0x7f) | more);
    rest >>>= 7;
  } while (rest > 0);
  return Buffer.concat([Buffer.from(header), body]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}
