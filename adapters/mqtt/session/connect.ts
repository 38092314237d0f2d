import type { Will } from '../../../core/broker.ts';
import type { Message } from '../../../core/model/message.ts';
import type { ConnackPacket, ConnectPacket, Properties } from '../codec/packet.ts';
import { ReasonCode } from '../codec/reason-code.ts';
import type { MqttOptions } from '../options.ts';

/** Session Expiry Interval: never (section 3.1.2.11.2). */
const NEVER_S = 0xffff_ffff;

/** Why a CONNECT cannot be accepted, by MQTT 5 reason code; undefined when it can. */
export function refusal(packet: ConnectPacket): { reasonCode: number; reason: string } | undefined {
  const { protocolVersion: version } = packet;
  if (packet.clientIdentifier === '' && (version === 3 || (version === 4 && !packet.cleanStart))) {
    // [MQTT-3.1.3-8]; MQTT 3.1 knows no empty client identifier at all.
    return refuse(ReasonCode.clientIdentifierNotValid, 'an empty client identifier needs a clean session');
  }
  return undefined;
}

function refuse(reasonCode: number, reason: string): { reasonCode: number; reason: string } {
  return { reasonCode, reason };
}

/** What the two sides agreed on. */
export interface Agreement {
  readonly clientIdentifier: string;
  readonly isClean: boolean;
  /** How long the session outlives the connection; Infinity for ever. */
  readonly sessionExpiryMs: number;
  /** 0: no keep alive. */
  readonly keepAliveS: number;
  readonly inflightMax: number;
  /** Largest packet the client takes. */
  readonly packetBytesMax: number;
  /** Topic aliases the client knows for messages to it. */
  readonly topicAliasMax: number;
  /** Whether packets may bear a reason string and user properties that only explain [MQTT-3.1.2-29]. */
  readonly explains: boolean;
  /** What CONNACK says beside the reason code and whether the session was there; undefined in MQTT 3. */
  readonly granted: Properties | undefined;
}

/**
 * The agreement with an acceptable CONNECT.
 * @param assignedClientIdentifier used when the client sent none
 */
export function agree(packet: ConnectPacket, options: MqttOptions, assignedClientIdentifier: string): Agreement {
  const { properties, protocolVersion } = packet;
  const clientIdentifier = packet.clientIdentifier === '' ? assignedClientIdentifier : packet.clientIdentifier;
  const keepAliveS = grantedKeepAlive(packet.keepAliveS, options.keepAliveMaxS);
  const askedExpiryS =
    protocolVersion === 5 ? (properties?.sessionExpiryIntervalS ?? 0) : packet.cleanStart ? 0 : NEVER_S;
  const sessionExpiryMs = grantedExpiryMs(askedExpiryS, options);
  const agreement = {
    clientIdentifier,
    isClean: packet.cleanStart,
    sessionExpiryMs,
    keepAliveS,
    inflightMax: Math.min(properties?.receiveMaximum ?? options.inflightMax, options.inflightMax),
    packetBytesMax: properties?.maximumPacketSizeBytes ?? Infinity,
    topicAliasMax: Math.min(properties?.topicAliasMaximum ?? 0, options.topicAliasMax),
    explains: properties?.requestProblemInformation !== false,
  };
  if (protocolVersion !== 5) return { ...agreement, granted: undefined };
  const granted: Properties = {
    receiveMaximum: options.receiveMaximum,
    maximumPacketSizeBytes: options.packetBytesMax,
  };
  if (options.topicAliasMax > 0) granted.topicAliasMaximum = options.topicAliasMax;
  if (packet.clientIdentifier === '') granted.assignedClientIdentifier = clientIdentifier;
  if (keepAliveS !== packet.keepAliveS) granted.serverKeepAliveS = keepAliveS;
  const grantedExpiryS = sessionExpiryMs === Infinity ? NEVER_S : sessionExpiryMs / 1000;
  if (grantedExpiryS !== askedExpiryS) granted.sessionExpiryIntervalS = grantedExpiryS;
  if (properties?.requestResponseInformation === true && options.responseTopicPrefix !== '') {
    granted.responseInformation = `${options.responseTopicPrefix}${clientIdentifier}/`;
  }
  return { ...agreement, granted };
}

/** How long the session is kept, of what the client asked for. */
export function grantedExpiryMs(askedS: number, { sessionExpiryMaxS }: MqttOptions): number {
  const grantedS = sessionExpiryMaxS === 0 ? askedS : Math.min(askedS, sessionExpiryMaxS);
  return grantedS === NEVER_S ? Infinity : grantedS * 1000;
}

export function connack(agreement: Agreement, sessionPresent: boolean): ConnackPacket {
  const packet: ConnackPacket = { type: 'connack', sessionPresent, reasonCode: ReasonCode.success };
  if (agreement.granted !== undefined) packet.properties = agreement.granted;
  return packet;
}

/** The will in the core's terms. */
export function willOf({ will }: ConnectPacket, topic: string, message: Message): Will {
  const { willDelayIntervalS = 0, messageExpiryIntervalS } = will!.properties ?? {};
  const expiryMs = messageExpiryIntervalS === undefined ? undefined : messageExpiryIntervalS * 1000;
  return { topic, message, delayMs: willDelayIntervalS * 1000, expiryMs };
}

function grantedKeepAlive(askedS: number, maxS: number): number {
  if (maxS === 0) return askedS;
  return askedS === 0 ? maxS : Math.min(askedS, maxS);
}
