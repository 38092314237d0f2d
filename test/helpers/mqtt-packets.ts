import { Decoder, type PublishView } from '../../adapters/mqtt/codec/decoder.ts';
import type { Packet, Properties, ProtocolVersion, Qos } from '../../adapters/mqtt/codec/packet.ts';
import { readProperties } from '../../adapters/mqtt/codec/properties.ts';
import type { Random } from './random.ts';

const ACKNOWLEDGEMENTS = { 4: 'puback', 5: 'pubrec', 6: 'pubrel', 7: 'pubcomp' } as const;

/** Decodes chunks to packet objects, as encodePacket takes them. */
export class PacketCollector {
  readonly packets: Packet[] = [];
  readonly decoder: Decoder;

  constructor(role: 'server' | 'client', version?: ProtocolVersion, packetBytesMax = 268_435_460) {
    this.decoder = new Decoder(
      {
        onPublish: (view) => this.packets.push(publishPacket(view)),
        onAcknowledgement: (type, packetIdentifier, reasonCode) =>
          this.packets.push({ type: ACKNOWLEDGEMENTS[type], packetIdentifier, reasonCode }),
        onPacket: (packet) => this.packets.push(packet),
      },
      { packetBytesMax, role },
    );
    if (version !== undefined) this.decoder.version = version;
  }
}

function publishPacket(view: PublishView): Packet {
  const packet: Packet = {
    type: 'publish',
    topicName: view.topicName,
    qos: view.qos,
    dup: view.dup,
    retain: view.retain,
    payload: Buffer.from(view.buffer.subarray(view.payloadStart, view.payloadEnd)),
  };
  if (view.qos > 0) packet.packetIdentifier = view.packetIdentifier;
  const properties = readProperties(view.buffer, view.propertiesStart, view.propertiesEnd);
  if (Object.keys(properties).length > 0) packet.properties = properties;
  return packet;
}

/** A valid packet of the kind a client (or, in role 'client', a server) receives. */
export function randomPacket(random: Random, version: ProtocolVersion, to: 'server' | 'client'): Packet {
  const v5 = version === 5;
  const packetIdentifier = random.int(1, 65_535);
  const user = (): Properties => {
    const pairs = Array.from({ length: random.int(1, 4) }, (): [string, string] => [random.text(8), random.text(12)]);
    return { userProperties: pairs };
  };
  const maybe = (properties: Properties): { properties?: Properties } => {
    if (!v5 || random.chance(0.3)) return {};
    const chosen = Object.fromEntries(Object.entries(properties).filter(() => random.chance(0.6)));
    return Object.keys(chosen).length === 0 ? {} : { properties: chosen };
  };
  const filters = (): string[] =>
    Array.from({ length: random.int(1, 5) }, () =>
      random.pick(['#', '+', 'a/#', '+/b/+', 'x/é', '/', '$SYS/#', 'a//b']),
    );
  const kinds =
    to === 'server'
      ? (['publish', 'ack', 'subscribe', 'unsubscribe', 'pingreq', 'disconnect', 'auth'] as const)
      : (['publish', 'ack', 'connack', 'suback', 'unsuback', 'pingresp', 'disconnect', 'auth'] as const);
  switch (random.pick(kinds)) {
    case 'publish': {
      const qos = random.int(0, 2) as Qos;
      const properties: Properties = {
        payloadFormatIndicator: 1,
        messageExpiryIntervalS: random.int(0, 4_294_967_295),
        contentType: random.text(10),
        responseTopic: 'reply/to',
        correlationData: random.bytes(10),
        ...user(),
      };
      return {
        type: 'publish',
        topicName: `t/${random.text(random.chance(0.1) ? 300 : 20)}`,
        qos,
        dup: qos > 0 && random.chance(0.5),
        retain: random.chance(0.3),
        ...(qos > 0 ? { packetIdentifier } : {}),
        payload: random.bytes(random.chance(0.05) ? 20_000 : 60),
        ...maybe(properties),
      };
    }
    case 'ack': {
      const type = random.pick(['puback', 'pubrec', 'pubrel', 'pubcomp'] as const);
      const codes = type === 'puback' || type === 'pubrec' ? [0, 0x10, 0x80, 0x97] : [0, 0x92];
      return { type, packetIdentifier, reasonCode: v5 ? random.pick(codes) : 0 };
    }
    case 'subscribe':
      return {
        type: 'subscribe',
        packetIdentifier,
        subscriptions: filters().map((topicFilter) => ({
          topicFilter,
          qos: random.int(0, 2) as Qos,
          noLocal: v5 && random.chance(0.3),
          retainAsPublished: v5 && random.chance(0.3),
          retainHandling: v5 ? (random.int(0, 2) as 0 | 1 | 2) : 0,
        })),
        ...maybe({ subscriptionIdentifiers: [random.int(1, 268_435_455)], ...user() }),
      };
    case 'unsubscribe':
      return { type: 'unsubscribe', packetIdentifier, topicFilters: filters(), ...maybe(user()) };
    case 'suback':
      return {
        type: 'suback',
        packetIdentifier,
        reasonCodes: Array.from({ length: random.int(1, 4) }, () => random.pick([0, 1, 2, 0x80])),
        ...maybe({ reasonString: random.text(10), ...user() }),
      };
    case 'unsuback':
      return {
        type: 'unsuback',
        packetIdentifier,
        reasonCodes: v5 ? Array.from({ length: random.int(1, 4) }, () => random.pick([0, 0x11, 0x87])) : [],
        ...maybe({ reasonString: random.text(10), ...user() }),
      };
    case 'connack': {
      const reasonCode = v5 ? random.pick([0, 0x86, 0x97]) : random.int(0, 5);
      const properties: Properties = {
        assignedClientIdentifier: random.text(20),
        receiveMaximum: random.int(1, 65_535),
        maximumQos: 1,
        retainAvailable: random.chance(0.5),
        maximumPacketSizeBytes: random.int(1, 4_294_967_295),
        serverKeepAliveS: random.int(0, 65_535),
        ...user(),
      };
      return {
        type: 'connack',
        sessionPresent: reasonCode === 0 && version > 3 && random.chance(0.5),
        reasonCode,
        ...maybe(properties),
      };
    }
    case 'pingreq':
      return { type: 'pingreq' };
    case 'pingresp':
      return { type: 'pingresp' };
    case 'auth':
      if (!v5) return to === 'server' ? { type: 'pingreq' } : { type: 'pingresp' };
      return {
        type: 'auth',
        reasonCode: to === 'client' ? 0x18 : random.pick([0x18, 0x19]),
        properties: { authenticationMethod: 'm', authenticationData: random.bytes(10) },
      };
    case 'disconnect':
      if (to === 'client' && !v5) return { type: 'pingresp' };
      return {
        type: 'disconnect',
        reasonCode: v5 ? random.pick([0, 0x81, 0x80]) : 0,
        ...maybe({ reasonString: random.text(5), ...user() }),
      };
  }
}

export function randomConnect(random: Random, version: ProtocolVersion): Packet {
  const v5 = version === 5;
  const username = random.chance(0.5) ? random.text(10) : undefined;
  return {
    type: 'connect',
    protocolVersion: version,
    clientIdentifier: `c${random.text(20)}`,
    cleanStart: random.chance(0.5),
    keepAliveS: random.int(0, 65_535),
    ...(random.chance(0.5)
      ? {
          will: {
            topicName: 'w/x',
            payload: random.bytes(20),
            qos: random.int(0, 2) as Qos,
            retain: random.chance(0.5),
            ...(v5 && random.chance(0.5) ? { properties: { willDelayIntervalS: 5, contentType: 'a' } } : {}),
          },
        }
      : {}),
    ...(username === undefined ? {} : { username, ...(random.chance(0.5) ? { password: random.bytes(10) } : {}) }),
    ...(v5 && random.chance(0.7)
      ? {
          properties: {
            sessionExpiryIntervalS: 7,
            receiveMaximum: 9,
            userProperties: [
              ['a', '1'],
              ['b', '2'],
              ['a', '3'],
            ],
          },
        }
      : {}),
  };
}
