import type { ConnackPacket, ConnectPacket, Properties } from '../codec/packet.ts';
import { ReasonCode } from '../codec/reason-code.ts';
import type { MqttOptions } from '../options.ts';

/** What a CONNECT asks for and this gateway does not offer, by MQTT 5 reason code; 0 when it can be accepted. */
export function refusal(packet: ConnectPacket): { reasonCode: number; reason: string } | undefined {
  const { protocolVersion: version, properties } = packet;
  if (packet.clientIdentifier === '' && (version === 3 || (version === 4 && !packet.cleanStart))) {
    // [MQTT-3.1.3-8]; MQTT 3.1 knows no empty client identifier at all.
    return refuse(ReasonCode.clientIdentifierNotValid, 'an empty client identifier needs a clean session');
  }
  if (version !== 5 && !packet.cleanStart) {
    return refuse(ReasonCode.serverUnavailable, 'persistent sessions are not supported yet');
  }
  if (properties?.authenticationMethod !== undefined) {
    return refuse(ReasonCode.badAuthenticationMethod, 'enhanced authentication is not supported yet');
  }
  if (packet.will !== undefined) {
    if (packet.will.retain) return refuse(ReasonCode.retainNotSupported, 'retained messages are not supported yet');
    if (packet.will.qos > 1) return refuse(ReasonCode.qosNotSupported, 'QoS 2 is not supported yet');
    return refuse(ReasonCode.implementationSpecificError, 'will messages are not supported yet');
  }
  return undefined;
}

function refuse(reasonCode: number, reason: string): { reasonCode: number; reason: string } {
  return { reasonCode, reason };
}

/** What the two sides agreed on. */
export interface Agreement {
  readonly clientIdentifier: string;
  /** 0: no keep alive. */
  readonly keepAliveS: number;
  readonly inflightMax: number;
  /** Largest packet the client takes. */
  readonly packetBytesMax: number;
  readonly connack: ConnackPacket;
}

/**
 * The agreement with an acceptable CONNECT. Everything this gateway does not offer yet is said in CONNACK, so that a
 * client never finds out by silence.
 * @param assignedClientIdentifier used when the client sent none
 */
export function agree(packet: ConnectPacket, options: MqttOptions, assignedClientIdentifier: string): Agreement {
  const { properties } = packet;
  const clientIdentifier = packet.clientIdentifier === '' ? assignedClientIdentifier : packet.clientIdentifier;
  const keepAliveS = grantedKeepAlive(packet.keepAliveS, options.keepAliveMaxS);
  const granted: Properties = {
    receiveMaximum: options.receiveMaximum,
    maximumQos: 1,
    retainAvailable: false,
    maximumPacketSizeBytes: options.packetBytesMax,
    subscriptionIdentifiersAvailable: false,
    sharedSubscriptionAvailable: false,
  };
  if (packet.clientIdentifier === '') granted.assignedClientIdentifier = clientIdentifier;
  if (keepAliveS !== packet.keepAliveS) granted.serverKeepAliveS = keepAliveS;
  if ((properties?.sessionExpiryIntervalS ?? 0) > 0) granted.sessionExpiryIntervalS = 0;
  const connack: ConnackPacket = { type: 'connack', sessionPresent: false, reasonCode: ReasonCode.success };
  if (packet.protocolVersion === 5) connack.properties = granted;
  return {
    clientIdentifier,
    keepAliveS,
    inflightMax: Math.min(properties?.receiveMaximum ?? options.inflightMax, options.inflightMax),
    packetBytesMax: properties?.maximumPacketSizeBytes ?? Infinity,
    connack,
  };
}

function grantedKeepAlive(askedS: number, maxS: number): number {
  if (maxS === 0) return askedS;
  return askedS === 0 ? maxS : Math.min(askedS, maxS);
}
