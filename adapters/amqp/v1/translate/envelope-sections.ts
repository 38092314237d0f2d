import { Descriptor } from '../codec/descriptors.ts';
import { PropertyRanges, readProperty, scanProperties, type PropertyIndex } from '../codec/message-properties.ts';
import { Reader, readValue } from '../codec/reader.ts';
import { SectionRange } from '../codec/sections.ts';
import type { AmqpValue } from '../codec/values.ts';
import { BodyForm, bodyFormOf, messageFormatOf, sectionsStart } from './message-form.ts';

export type ValuePair = readonly [key: AmqpValue, value: AmqpValue];

/**
 * The sections of a stored message. What was stored was checked in its outline alone, so everything here answers with nothing
 * where the bytes are no AMQP.
 */
export class EnvelopeSections {
  readonly form: BodyForm;
  readonly messageFormat: number;
  readonly messageAnnotations = new SectionRange();
  readonly applicationProperties = new SectionRange();
  /** The first section of the body; its end is that of its constructor and length, unless the envelope has it all. */
  readonly body = new SectionRange();
  /** The descriptor of `body`; 0 when there is none. */
  bodyDescriptor = 0;
  /** The lengths of the `data` sections, when the envelope has them whole. */
  readonly dataLengths: number[] = [];
  readonly footer = new SectionRange();
  private readonly properties = new SectionRange();
  private readonly ranges = new PropertyRanges();
  private readonly envelope: Buffer;

  constructor(envelope: Buffer) {
    this.envelope = envelope;
    this.form = bodyFormOf(envelope[0] ?? BodyForm.none);
    this.messageFormat = envelope.length === 0 ? 0 : messageFormatOf(envelope, 0);
    try {
      this.scan();
      scanProperties(envelope, this.properties, this.ranges);
    } catch {
      this.ranges.starts.fill(-1);
    }
  }

  /** A field of the properties section. */
  property(index: PropertyIndex): AmqpValue | undefined {
    try {
      return readProperty(this.envelope, this.ranges, index);
    } catch {
      return undefined;
    }
  }

  /** The pairs of the map a section has. */
  pairs({ isPresent, valueStart, end }: SectionRange): readonly ValuePair[] {
    if (!isPresent) return [];
    try {
      const map = readValue(this.envelope, valueStart, end);
      return map.type === 'map' ? map.value : [];
    } catch {
      return [];
    }
  }

  bytes({ valueStart, end }: SectionRange): Buffer {
    return this.envelope.subarray(valueStart, end);
  }

  private scan(): void {
    const { envelope, form } = this;
    const reader = new Reader(envelope, sectionsStart(envelope, 0), envelope.length);
    while (reader.at < envelope.length) {
      const start = reader.at;
      const descriptor = reader.descriptor('section');
      const isBody = descriptor >= Descriptor.data && descriptor <= Descriptor.amqpValue;
      if (isBody && this.bodyDescriptor === 0) this.bodyDescriptor = descriptor;
      const range = isBody ? this.body : this.rangeOf(descriptor);
      if (!range.isPresent) {
        range.start = start;
        range.valueStart = reader.at;
      }
      // The content of the body is not here.
      if (isBody && form !== BodyForm.whole && form !== BodyForm.none) {
        range.end = envelope.length;
        return;
      }
      if (descriptor === Descriptor.data) this.dataLengths.push(reader.binary('data').length);
      else reader.skip('section');
      range.end = reader.at;
    }
  }

  private rangeOf(descriptor: number): SectionRange {
    switch (descriptor) {
      case Descriptor.messageAnnotations:
        return this.messageAnnotations;
      case Descriptor.properties:
        return this.properties;
      case Descriptor.applicationProperties:
        return this.applicationProperties;
      default:
        return this.footer;
    }
  }
}
