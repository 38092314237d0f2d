import { type CodecError, malformed, protocolError } from './codec-error.ts';
import { PacketType, type ProtocolVersion } from './packet.ts';

/** Which side of the connection the decoder works for. */
export type Role = 'server' | 'client';

const ACCEPTED = 0;
const MALFORMED = 1;
const REFUSED = 2;

const sentByServerOnly: readonly number[] = [
  PacketType.connack,
  PacketType.suback,
  PacketType.unsuback,
  PacketType.pingresp,
];
const sentByClientOnly: readonly number[] = [
  PacketType.connect,
  PacketType.subscribe,
  PacketType.unsubscribe,
  PacketType.pingreq,
];
/** Packet types whose first byte has the reserved flags 0010 (MQTT 5, table 2-2). */
const flagsAreTwo: readonly number[] = [PacketType.pubrel, PacketType.subscribe, PacketType.unsubscribe];

/**
 * A table with a verdict on each of the 256 possible first bytes: one look says whether type, flags and direction
 * are right. A `version` of null stands for a server before CONNECT, which takes nothing else ([MQTT-3.1.0-1]).
 */
export function firstByteTable(role: Role, version: ProtocolVersion | null): Uint8Array {
  const key = `${role} ${version}`;
  let table = tables.get(key);
  if (table === undefined) {
    table = Uint8Array.from({ length: 256 }, (_, firstByte) => verdictOn(firstByte, role, version));
    tables.set(key, table);
  }
  return table;
}
const tables = new Map<string, Uint8Array>();

function verdictOn(firstByte: number, role: Role, version: ProtocolVersion | null): number {
  const type = firstByte >> 4;
  const flags = firstByte & 0x0f;
  // The flags of CONNECT are checked when its version is known: MQTT 3.1 does not use them.
  if (version === null) return type === PacketType.connect ? ACCEPTED : REFUSED;
  if (type === 0 || (type === PacketType.auth && version !== 5)) return MALFORMED;
  if ((role === 'server' ? sentByServerOnly : sentByClientOnly).includes(type)) return REFUSED;
  if (role === 'client' && type === PacketType.disconnect && version !== 5) return REFUSED;
  if (type === PacketType.connect) return ACCEPTED;
  if (type === PacketType.publish) return isPublishFlags(flags) ? ACCEPTED : MALFORMED;
  if (!flagsAreTwo.includes(type)) return flags === 0 ? ACCEPTED : MALFORMED;
  // MQTT 3.1 repeats these packets with the DUP flag set.
  return flags === 2 || (version === 3 && flags === 10) ? ACCEPTED : MALFORMED;
}

function isPublishFlags(flags: number): boolean {
  const qos = (flags >> 1) & 3;
  const dup = (flags & 8) !== 0;
  return qos !== 3 && !(dup && qos === 0); // [MQTT-3.3.1-4], [MQTT-3.3.1-2]
}

/** The error for a first byte whose verdict is not 0. */
export function firstByteError(firstByte: number, verdict: number, beforeConnect: boolean): CodecError {
  const type = firstByte >> 4;
  if (beforeConnect) return protocolError('the first packet is not a CONNECT [MQTT-3.1.0-1]');
  if (verdict === REFUSED) return protocolError(`a packet of type ${type} came from the wrong side`);
  if (type === PacketType.publish) return malformed('a PUBLISH has QoS 3 or the DUP flag with QoS 0');
  return malformed(`there is no packet with the first byte 0x${firstByte.toString(16).padStart(2, '0')}`);
}
