import type { Message } from '../../../../core/model/message.ts';
import { writeUint32 } from '../codec/bytes.ts';
import { Code } from '../codec/constructors.ts';
import { Descriptor } from '../codec/descriptors.ts';
import { Writer } from '../codec/writer.ts';
import type { ForeignMessage } from './foreign-message.ts';
import { Annotation, MQTT, protocolOf } from './message-form.ts';
import { writeSection } from './sections-out.ts';

const NOTHING = Buffer.alloc(0);
/** Up to properties.creation-time. */
const FIELDS = 10;
/** Fields left out before `to`, and between it and creation-time. */
const NULLS_BEFORE = 2;
const NULLS_BETWEEN = 6;
const TIME_BYTES = 9;
/** More than the constructors and sizes have together. */
const HEADS_BYTES = 32;
const SHORT_MAX = 0xff;

const FROM_MQTT = annotationsFrom(MQTT);

/** Whether an MQTT message says nothing but its address and its body, as most do. */
export function isPlainForeign(message: Message): boolean {
  if (message.isPlain) return true;
  const isEmpty = message.envelopeEnd === message.addressEnd && !message.hasOwnFields;
  return isEmpty && !message.isText && protocolOf(message) === MQTT;
}

/** What `foreignMessage` makes of such a message, byte by byte, at a fraction of the cost. */
export function plainForeign(message: Message): ForeignMessage {
  const { buffer, addressStart, addressEnd, envelopeEnd, end } = message;
  const addressBytes = addressEnd - addressStart;
  const bodyBytes = end - envelopeEnd;
  const target = Buffer.allocUnsafe(FROM_MQTT.length + HEADS_BYTES + FIELDS + TIME_BYTES + addressBytes + bodyBytes);
  let at = FROM_MQTT.copy(target, 0);
  at = writeDescriptor(target, at, Descriptor.properties);
  const isShortText = addressBytes <= SHORT_MAX;
  const fieldsBytes = NULLS_BEFORE + (isShortText ? 2 : 5) + addressBytes + NULLS_BETWEEN + TIME_BYTES;
  if (fieldsBytes + 1 <= SHORT_MAX) {
    target[at++] = Code.list8;
    target[at++] = fieldsBytes + 1;
    target[at++] = FIELDS;
  } else {
    target[at++] = Code.list32;
    at = writeUint32(target, at, fieldsBytes + 4);
    at = writeUint32(target, at, FIELDS);
  }
  for (let i = 0; i < NULLS_BEFORE; i++) target[at++] = Code.null;
  at = writeHead(target, at, isShortText ? Code.str8 : Code.str32, addressBytes);
  for (let i = addressStart; i < addressEnd; i++) target[at++] = buffer[i]!;
  for (let i = 0; i < NULLS_BETWEEN; i++) target[at++] = Code.null;
  const bornAt = Math.floor(message.bornAt);
  target[at++] = Code.timestamp;
  at = writeUint32(target, at, Math.floor(bornAt / 2 ** 32));
  at = writeUint32(target, at, bornAt);
  at = writeDescriptor(target, at, Descriptor.data);
  at = writeHead(target, at, bodyBytes <= SHORT_MAX ? Code.bin8 : Code.bin32, bodyBytes);
  at += buffer.copy(target, at, envelopeEnd, end);
  return { deliveryAnnotations: NOTHING, bytes: target.subarray(0, at), messageFormat: 0 };
}

function annotationsFrom(protocol: string): Buffer {
  const writer = new Writer();
  writeSection(writer, Descriptor.messageAnnotations, {
    type: 'map',
    value: [
      [
        { type: 'symbol', value: Annotation.from },
        { type: 'string', value: protocol },
      ],
    ],
  });
  return writer.bytes;
}

function writeDescriptor(target: Buffer, at: number, descriptor: number): number {
  target[at] = Code.described;
  target[at + 1] = Code.smallulong;
  target[at + 2] = descriptor;
  return at + 3;
}

function writeHead(target: Buffer, at: number, code: number, bytes: number): number {
  target[at] = code;
  if (bytes > SHORT_MAX) return writeUint32(target, at + 1, bytes);
  target[at + 1] = bytes;
  return at + 2;
}
