import { PacketType } from './packet.ts';

/** MQTT 5 reason codes (section 2.4, table 2-6). Codes of 0x80 and above are failures. */
export const ReasonCode = {
  success: 0x00,
  normalDisconnection: 0x00,
  grantedQos0: 0x00,
  grantedQos1: 0x01,
  grantedQos2: 0x02,
  disconnectWithWillMessage: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reAuthenticate: 0x19,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecificError: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  sharedSubscriptionsNotSupported: 0x9e,
  connectionRateExceeded: 0x9f,
  maximumConnectTime: 0xa0,
  subscriptionIdentifiersNotSupported: 0xa1,
  wildcardSubscriptionsNotSupported: 0xa2,
} as const;
export type ReasonCode = (typeof ReasonCode)[keyof typeof ReasonCode];

/** The name of a reason code in words, as a Reason String. */
export function reasonText(reasonCode: number): string {
  const name = Object.entries(ReasonCode).find(([, code]) => code === reasonCode)?.[0] ?? 'unspecifiedError';
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** CONNACK return codes of MQTT 3.1 and 3.1.1. */
export const ConnackReturnCode = {
  accepted: 0,
  unacceptableProtocolVersion: 1,
  identifierRejected: 2,
  serverUnavailable: 3,
  badUserNameOrPassword: 4,
  notAuthorized: 5,
} as const;
export type ConnackReturnCode = (typeof ConnackReturnCode)[keyof typeof ConnackReturnCode];

const publishReceived = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const publishReleased = [0x00, 0x92];

/** Table 2-6 read by packet; who may send a code (client or server) is left to the session. */
const codesByPacket: readonly (readonly [PacketType, readonly number[]])[] = [
  [
    PacketType.connack,
    [
      0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b,
      0x9c, 0x9d, 0x9f,
    ],
  ],
  [PacketType.puback, publishReceived],
  [PacketType.pubrec, publishReceived],
  [PacketType.pubrel, publishReleased],
  [PacketType.pubcomp, publishReleased],
  [PacketType.suback, [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2]],
  [PacketType.unsuback, [0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91]],
  [
    PacketType.disconnect,
    [
      0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97,
      0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
    ],
  ],
  [PacketType.auth, [0x00, 0x18, 0x19]],
];

/** By code: bit n is set when packet type n may carry it. */
const packetsByCode = new Uint16Array(256);
for (const [type, codes] of codesByPacket) {
  for (const code of codes) packetsByCode[code]! |= 1 << type;
}

/** Whether MQTT 5 lets packets of this type carry this reason code. */
export function isReasonCodeOf(type: PacketType, reasonCode: number): boolean {
  return (packetsByCode[reasonCode & 0xff]! & (1 << type)) !== 0 && reasonCode === (reasonCode & 0xff);
}

/** The CONNACK return code with which MQTT 3 says what an MQTT 5 reason code says. Return codes (0 to 5) pass through. */
export function connackReturnCodeOf(reasonCode: number): number {
  if (reasonCode <= ConnackReturnCode.notAuthorized) return reasonCode;
  switch (reasonCode) {
    case ReasonCode.unsupportedProtocolVersion:
      return ConnackReturnCode.unacceptableProtocolVersion;
    case ReasonCode.clientIdentifierNotValid:
      return ConnackReturnCode.identifierRejected;
    case ReasonCode.badUserNameOrPassword:
    case ReasonCode.badAuthenticationMethod:
      return ConnackReturnCode.badUserNameOrPassword;
    case ReasonCode.notAuthorized:
    case ReasonCode.banned:
      return ConnackReturnCode.notAuthorized;
    default:
      return ConnackReturnCode.serverUnavailable;
  }
}
