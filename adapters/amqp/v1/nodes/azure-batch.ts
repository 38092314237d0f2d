import { CodecError } from '../codec/codec-error.ts';
import { dataSections, MessageSections, scanSections } from '../codec/sections.ts';

/** Azure: the body's data sections are whole messages, and the properties around them repeat those of the first. */
export const BATCH_FORMAT = 0x80013700;

/** The messages of a batch. @throws CodecError */
export function messagesOfBatch(buffer: Buffer, start: number, end: number): Buffer[] {
  const sections = new MessageSections();
  scanSections(buffer, start, end, sections);
  if (sections.bodyKind !== 'data') throw new CodecError('amqp:invalid-field', 'a batch has data sections only');
  return dataSections(buffer, sections);
}
