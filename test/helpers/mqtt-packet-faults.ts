import type { Packet } from '../../adapters/mqtt/codec/packet.ts';

/** Known faults of mqtt-packet 9.0.2 by which it cannot read (or write) a valid packet; undefined when none applies. */
export function oracleFault(packet: Packet): string | undefined {
  const user = 'properties' in packet ? (packet.properties?.userProperties ?? []) : [];
  const isFirst = (name: string, i: number): boolean => user.findIndex((pair) => pair[0] === name) === i;
  if (
    user.some(
      ([name, value], i) => value === '' && isFirst(name, i) && !user.every((pair, j) => j === i || pair[0] !== name),
    )
  ) {
    return 'a repeated user property whose first value is empty loses it';
  }
  if (packet.type === 'auth' && packet.reasonCode === 0) return 'AUTH of length 0 is refused';
  if (packet.type === 'disconnect' && packet.reasonCode === 0x8c) return 'reason 0x8C in DISCONNECT is refused';
  if (packet.type === 'connect' && packet.password !== undefined && packet.username === undefined) {
    return 'a password without user name is not written';
  }
  return undefined;
}
