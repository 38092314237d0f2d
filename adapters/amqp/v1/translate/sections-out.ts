import { Code } from '../codec/constructors.ts';
import { Descriptor } from '../codec/descriptors.ts';
import type { AmqpValue } from '../codec/values.ts';
import { Writer } from '../codec/writer.ts';
import { Annotation } from './message-form.ts';

/** Writes one section of a message (AMQP 3.2). */
export function writeSection(writer: Writer, descriptor: number, value: AmqpValue): void {
  writeDescriptor(writer, descriptor);
  writer.value(value);
}

export function writeDescriptor(writer: Writer, descriptor: number): void {
  writer.byte(Code.described);
  writer.byte(Code.smallulong);
  writer.byte(descriptor);
}

/** Delivery annotations that say where a message was published. */
export function addressAnnotations(address: string): Buffer {
  const writer = new Writer();
  const name: AmqpValue = { type: 'symbol', value: Annotation.address };
  writeSection(writer, Descriptor.deliveryAnnotations, {
    type: 'map',
    value: [[name, { type: 'string', value: address }]],
  });
  return writer.bytes;
}
