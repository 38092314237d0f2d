import { EnvelopeProtocol } from '../../../../core/model/message-layout.ts';
import type { Property } from '../../../../core/model/message.ts';
import type { EnvelopeFields, EnvelopeReader } from '../../../../core/model/message-view.ts';
import { Code } from '../codec/constructors.ts';
import { Descriptor } from '../codec/descriptors.ts';
import { PropertyIndex } from '../codec/message-properties.ts';
import type { AmqpValue } from '../codec/values.ts';
import { encodeValue } from '../codec/writer.ts';
import { EnvelopeSections, type ValuePair } from './envelope-sections.ts';
import { FactProperty, typesText, type BodyFact, type MessageFacts } from './message-facts.ts';
import {
  Annotation,
  BodyForm,
  ENCODED_CONTENT_TYPE,
  JMS_TEXT_MESSAGE,
  KEYS_PROPERTY,
  TRACE_PROPERTY,
} from './message-form.ts';
import { fromAmqpName } from './property-names.ts';
import { replyTopicOf } from './reply-addresses.ts';
import { correlationBytes, correlationOf, idOf, idText, textOf } from './typed-properties.ts';

/** The annotations the gateway writes itself on a message of another protocol. */
const OWN_ANNOTATIONS: ReadonlySet<string> = new Set(Object.values(Annotation));

/** What the core reads of an AMQP 1.0 message when another protocol, or a filter, asks for it. */
export const AMQP1_ENVELOPE_READER: EnvelopeReader = {
  protocol: EnvelopeProtocol.amqp1,
  read: (envelope) => new EnvelopeView(envelope).fields(),
};

type TypedValue = string | number | bigint | boolean | undefined;

/** Whether it is of a type that selectors know (Jakarta Messaging 3.8.1.1), or null. */
function isTyped(value: AmqpValue): boolean {
  if (value.type === 'char' || value.type === 'timestamp' || value.type === 'symbol') return false;
  return !('value' in value) || typeof value.value !== 'object';
}

/** An integer is a bigint: 5 / 2 is not what 5.0 / 2 is. */
function typedOf(value: AmqpValue): TypedValue {
  if (!('value' in value) || typeof value.value === 'object') return undefined;
  const isReal = value.type === 'float' || value.type === 'double';
  return typeof value.value === 'number' && !isReal ? BigInt(value.value) : value.value;
}

const JMS_IDS: readonly (readonly [string, PropertyIndex])[] = [
  ['JMSMessageID', PropertyIndex.messageId],
  ['JMSCorrelationID', PropertyIndex.correlationId],
];

/** How JMS clients show an id that is no text, and so how their selectors write it. */
function jmsIdOf(id: AmqpValue): string | undefined {
  switch (id.type) {
    case 'uuid':
      return `ID:AMQP_UUID:${textOf(id)[0]}`;
    case 'ulong':
      return `ID:AMQP_ULONG:${id.value}`;
    case 'binary':
      return `ID:AMQP_BINARY:${id.value.toString('hex').toUpperCase()}`;
    default:
      return undefined;
  }
}

class EnvelopeView {
  private readonly sections: EnvelopeSections;
  private readonly annotations: readonly ValuePair[];
  /** The application properties. */
  private readonly own: readonly ValuePair[];
  /** The protocol it came from, where the gateway wrote it and a client sent it again. */
  private readonly from: string | undefined;

  constructor(envelope: Buffer) {
    this.sections = new EnvelopeSections(envelope);
    this.annotations = this.sections.pairs(this.sections.messageAnnotations);
    this.own = this.sections.pairs(this.sections.applicationProperties);
    this.from = this.textAnnotation(Annotation.from);
  }

  fields(): EnvelopeFields {
    const { sections } = this;
    const types = new Map<string, string>();
    const properties: Property[] = [];
    const typed = new Map<string, TypedValue>();
    let traceContext: string | undefined;
    for (const [key, value] of this.own) {
      if (key.type !== 'string') continue;
      const [text, type] = textOf(value);
      if (type !== undefined && !types.has(key.value)) types.set(key.value, type);
      if (isTyped(value) && !typed.has(key.value)) typed.set(key.value, typedOf(value));
      if (key.value === TRACE_PROPERTY) traceContext = text === '' ? undefined : text;
      else if (key.value !== KEYS_PROPERTY) properties.push([fromAmqpName(key.value), text]);
    }
    const correlation = sections.property(PropertyIndex.correlationId);
    const correlationId = correlation === undefined ? undefined : correlationBytes(correlation);
    const typesProperty = typesText({
      properties: types,
      messageId: this.idType(),
      correlationId: correlationId === undefined ? undefined : typeUnless(correlation!, correlationOf(correlationId)),
    });
    this.addFields(typed);
    const all = this.withDuplicates(properties);
    if (typesProperty !== undefined) all.push([FactProperty.types, typesProperty]);
    const facts = JSON.stringify(this.facts());
    if (this.from === undefined || facts !== '{}') all.push([FactProperty.facts, facts]);
    return {
      properties: all,
      typed,
      text: this.isText(),
      contentType: this.contentType(),
      correlationId,
      replyTo: this.replyTo(),
      traceContext,
    };
  }

  /** Fields that are properties to Jakarta Messaging (3.5.9), and none to the core. */
  private addFields(typed: Map<string, TypedValue>): void {
    const sequence = this.sections.property(PropertyIndex.groupSequence);
    if (sequence?.type === 'uint') typed.set('JMSXGroupSeq', BigInt(sequence.value));
    const user = this.sections.property(PropertyIndex.userId);
    if (user?.type === 'binary') typed.set('JMSXUserID', user.value.toString('utf8'));
    for (const [name, index] of JMS_IDS) {
      typed.delete(name);
      const id = this.sections.property(index);
      const text = id === undefined ? undefined : jmsIdOf(id);
      if (text !== undefined) typed.set(name, text);
    }
  }

  private isText(): boolean {
    const { form, body, bodyDescriptor } = this.sections;
    if (form === BodyForm.string) return true;
    if (form === BodyForm.whole && bodyDescriptor === Descriptor.amqpValue) {
      const code = this.sections.bytes(body)[0];
      return code === Code.str8 || code === Code.str32;
    }
    const type = this.from === undefined ? undefined : this.annotation(Annotation.jmsMessageType);
    return type?.type === 'byte' && type.value === JMS_TEXT_MESSAGE;
  }

  private replyTo(): string | undefined {
    const address = this.text(PropertyIndex.replyTo);
    const told = this.from === undefined ? undefined : this.textAnnotation(Annotation.replyTo);
    return told ?? (address === undefined ? undefined : replyTopicOf(address));
  }

  private contentType(): string | undefined {
    if (this.bodyFact() === 'encoded') return ENCODED_CONTENT_TYPE;
    return this.text(PropertyIndex.contentType) ?? this.textAnnotation(Annotation.contentType);
  }

  private facts(): MessageFacts {
    const body = this.bodyFact();
    const { sections, from } = this;
    const facts: MessageFacts = {
      body,
      contentType: body === 'encoded' ? this.text(PropertyIndex.contentType) : undefined,
      contentEncoding: this.text(PropertyIndex.contentEncoding),
      userId: base64Of(sections.property(PropertyIndex.userId)),
      replyToGroupId: this.text(PropertyIndex.replyToGroupId),
      messageFormat: sections.messageFormat || undefined,
      groupSequence: numberOf(sections.property(PropertyIndex.groupSequence)),
      empty: this.emptyTexts(),
      annotations: this.foreignAnnotations(),
      footer: sections.footer.isPresent ? sections.bytes(sections.footer).toString('base64') : undefined,
    };
    // These the gateway wrote, from what the core has.
    if (from === undefined) {
      facts.to = this.text(PropertyIndex.to);
      facts.replyTo = this.text(PropertyIndex.replyTo);
      facts.absoluteExpiryTime = timeText(sections.property(PropertyIndex.absoluteExpiryTime));
      facts.creationTime = timeText(sections.property(PropertyIndex.creationTime));
    } else if (Object.values(facts).some((fact) => fact !== undefined)) {
      facts.from = from;
    }
    return facts;
  }

  /** Undefined for one `data` section. */
  private bodyFact(): BodyFact | undefined {
    const { form, body, bodyDescriptor, dataLengths } = this.sections;
    switch (form) {
      case BodyForm.data:
        return undefined;
      case BodyForm.string:
        return 'string';
      case BodyForm.binary:
        return 'binary';
      case BodyForm.encoded:
        return 'encoded';
      case BodyForm.none:
        return body.isPresent ? 'null' : 'none';
      case BodyForm.whole:
        break;
    }
    if (bodyDescriptor === Descriptor.data) return dataLengths.length === 1 ? undefined : dataLengths;
    if (bodyDescriptor === 0) return 'none';
    return bodyDescriptor === Descriptor.amqpValue ? valueFact(this.sections.bytes(body)[0]!) : 'encoded';
  }

  private emptyTexts(): string[] | undefined {
    const { sections } = this;
    const own = (name: string): AmqpValue | undefined => this.own.find(([key]) => isString(key, name))?.[1];
    const fields: readonly [string, AmqpValue | undefined][] = [
      ['messageId', sections.property(PropertyIndex.messageId)],
      ['subject', sections.property(PropertyIndex.subject)],
      ['groupId', sections.property(PropertyIndex.groupId)],
      ['keys', own(KEYS_PROPERTY)],
      ['traceContext', own(TRACE_PROPERTY)],
    ];
    const empty = fields.filter(([, value]) => value !== undefined && textOf(value)[0] === '').map(([name]) => name);
    return empty.length === 0 ? undefined : empty;
  }

  /** The annotations as they are, without those of the gateway where it wrote them. */
  private foreignAnnotations(): string | undefined {
    const { annotations, sections, from } = this;
    if (!sections.messageAnnotations.isPresent) return undefined;
    if (from === undefined) return sections.bytes(sections.messageAnnotations).toString('base64');
    const foreign = annotations.filter(([key]) => key.type !== 'symbol' || !OWN_ANNOTATIONS.has(key.value));
    return foreign.length === 0 ? undefined : encodeValue({ type: 'map', value: foreign }).toString('base64');
  }

  private idType(): string | undefined {
    const id = this.sections.property(PropertyIndex.messageId);
    const text = id === undefined ? undefined : idText(id);
    return text === undefined ? undefined : typeUnless(id!, idOf(text));
  }

  /** Order and repetitions of the list in the annotations, but the map's word on what is there and what it is. */
  private withDuplicates(properties: readonly Property[]): Property[] {
    const list = this.from === undefined ? undefined : this.annotation(Annotation.duplicates);
    if (list?.type !== 'list') return [...properties];
    const values = new Map(properties);
    const seen = new Set<string>();
    const merged: Property[] = [];
    for (let i = 0; i + 1 < list.value.length; i += 2) {
      const [key, value] = [list.value[i]!, list.value[i + 1]!];
      if (key.type !== 'string' || value.type !== 'string') continue;
      const first = values.get(key.value);
      if (first === undefined) continue;
      merged.push([key.value, seen.has(key.value) ? value.value : first]);
      seen.add(key.value);
    }
    return [...merged, ...properties.filter(([key]) => !seen.has(key))];
  }

  private annotation(name: string): AmqpValue | undefined {
    return this.annotations.find(
      ([key]) => (key.type === 'symbol' || key.type === 'string') && key.value === name,
    )?.[1];
  }

  private textAnnotation(name: string): string | undefined {
    const value = this.annotation(name);
    return value?.type === 'string' ? value.value : undefined;
  }

  private text(index: PropertyIndex): string | undefined {
    const value = this.sections.property(index);
    return value?.type === 'string' || value?.type === 'symbol' ? value.value : undefined;
  }
}

function valueFact(code: number): BodyFact {
  if (code === Code.str8 || code === Code.str32) return 'string';
  if (code === Code.bin8 || code === Code.bin32) return 'binary';
  return code === Code.null ? 'null' : 'encoded';
}

/** The type of the value where the text alone would lead to another. */
function typeUnless(value: AmqpValue, guessed: AmqpValue): string | undefined {
  return value.type === guessed.type ? undefined : value.type;
}

function isString(value: AmqpValue, text: string): boolean {
  return value.type === 'string' && value.value === text;
}

function base64Of(value: AmqpValue | undefined): string | undefined {
  return value?.type === 'binary' ? value.value.toString('base64') : undefined;
}

function timeText(value: AmqpValue | undefined): string | undefined {
  return value?.type === 'timestamp' ? String(value.value) : undefined;
}

function numberOf(value: AmqpValue | undefined): number | undefined {
  return value?.type === 'uint' ? value.value : undefined;
}
