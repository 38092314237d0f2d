import { decodeError } from '../codec/codec-error.ts';
import { Reader } from '../codec/reader.ts';
import { MessageSections, scanSections } from '../codec/sections.ts';

/** Azure's message format for several messages in one transfer, with one outcome for all. */
export const BATCH_MESSAGE_FORMAT = 0x80013700;

/**
 * Where the messages of a batch lie: each is the content of a data section.
 * @throws CodecError
 */
export function batchedMessages(buffer: Buffer, start: number, end: number): [start: number, end: number][] {
  const sections = new MessageSections();
  scanSections(buffer, start, end, sections);
  if (sections.bodyKind !== 'data') throw decodeError('a batch of messages has a body other than data');
  const reader = new Reader(buffer, sections.body.start, sections.body.end);
  const ranges: [number, number][] = [];
  while (reader.at < sections.body.end) {
    reader.descriptor('data');
    ranges.push([reader.binaryStart('data'), reader.at]);
  }
  return ranges;
}
