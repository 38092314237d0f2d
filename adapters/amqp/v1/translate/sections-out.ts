import { Code } from '../codec/constructors.ts';
import type { AmqpValue } from '../codec/values.ts';
import type { Writer } from '../codec/writer.ts';

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
