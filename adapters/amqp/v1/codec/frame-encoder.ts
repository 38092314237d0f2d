import { NO_BYTES } from './bytes.ts';
import { writeFrameHeader } from './frame-writer.ts';
import { performativeValue, saslValue } from './performative-values.ts';
import type { Performative, SaslPerformative } from './performatives.ts';
import type { AmqpValue } from './values.ts';
import { Writer } from './writer.ts';

const FRAME_HEADER = Buffer.alloc(8);
const TYPE_AMQP = 0;
const TYPE_SASL = 1;

/** A whole frame with any performative; for those sent often there is frame-writer.ts. */
export function encodeFrame(channel: number, performative: Performative, payload: Buffer = NO_BYTES): Buffer {
  return frame(TYPE_AMQP, channel, performativeValue(performative), payload);
}

export function encodeSaslFrame(performative: SaslPerformative): Buffer {
  return frame(TYPE_SASL, 0, saslValue(performative), NO_BYTES);
}

function frame(type: 0 | 1, channel: number, value: AmqpValue, payload: Buffer): Buffer {
  const writer = new Writer();
  writer.raw(FRAME_HEADER);
  writer.value(value);
  writer.raw(payload);
  const { bytes } = writer;
  writeFrameHeader(bytes, 0, bytes.length, type, channel);
  return bytes;
}
