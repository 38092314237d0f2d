import { ReasonCode } from './reason-code.ts';

/**
 * Bytes that are not MQTT, or not allowed by it. The connection they came from can only be closed;
 * `reasonCode` is what MQTT 5 has for CONNACK or DISCONNECT.
 */
export class CodecError extends Error {
  override readonly name = 'CodecError';
  readonly reasonCode: number;
  /**
   * Set with reason code 0x84 (unsupported protocol version): the level the client asked for. A level above 5 can be
   * answered by a CONNACK of MQTT 5, one below by the return code 1 of MQTT 3 ([MQTT-3.1.2-2]).
   */
  readonly protocolLevel: number | undefined;

  constructor(reasonCode: number, message: string, protocolLevel?: number) {
    super(message);
    this.reasonCode = reasonCode;
    this.protocolLevel = protocolLevel;
  }
}

/** The packet cannot be parsed: 0x81. */
export function malformed(message: string): CodecError {
  return new CodecError(ReasonCode.malformedPacket, message);
}

/** The packet can be parsed but says what MQTT forbids: 0x82. */
export function protocolError(message: string): CodecError {
  return new CodecError(ReasonCode.protocolError, message);
}
