import { NO_BYTES } from './bytes.ts';
import { Reader, readValue } from './reader.ts';
import type { SectionRange } from './sections.ts';
import type { AmqpValue } from './values.ts';

/** The fields of the properties section (AMQP 3.2.4) by their place in it. */
export const PropertyIndex = {
  messageId: 0,
  userId: 1,
  to: 2,
  subject: 3,
  replyTo: 4,
  correlationId: 5,
  contentType: 6,
  contentEncoding: 7,
  absoluteExpiryTime: 8,
  creationTime: 9,
  groupId: 10,
  groupSequence: 11,
  replyToGroupId: 12,
} as const;
export type PropertyIndex = (typeof PropertyIndex)[keyof typeof PropertyIndex];

export const PROPERTY_COUNT = 13;

/** Where the fields of a properties section lie, by PropertyIndex; -1 for those left out or null. To be used again. */
export class PropertyRanges {
  readonly starts = new Int32Array(PROPERTY_COUNT).fill(-1);
  readonly ends = new Int32Array(PROPERTY_COUNT).fill(-1);
  /** What finds them. */
  readonly reader = new Reader(NO_BYTES, 0, 0);
}

/**
 * Finds the fields of the section. Their types are not checked.
 * @throws CodecError
 */
export function scanProperties(
  buffer: Buffer,
  { isPresent, valueStart, end }: SectionRange,
  ranges: PropertyRanges,
): void {
  const { starts, ends, reader } = ranges;
  if (!isPresent) {
    starts.fill(-1);
    ends.fill(-1);
    return;
  }
  reader.reset(buffer, valueStart, end);
  reader.enter('properties', PROPERTY_COUNT);
  for (let index = 0; index < PROPERTY_COUNT; index++) {
    if (reader.has('properties')) {
      starts[index] = reader.at;
      reader.skip('properties');
      ends[index] = reader.at;
    } else {
      starts[index] = ends[index] = -1;
    }
  }
  reader.leave('properties', end);
}

/**
 * The field's value; undefined when it was left out or null.
 * @throws CodecError
 */
export function readProperty(buffer: Buffer, ranges: PropertyRanges, index: PropertyIndex): AmqpValue | undefined {
  const start = ranges.starts[index]!;
  return start < 0 ? undefined : readValue(buffer, start, ranges.ends[index]!, 'properties');
}
