import { isUtf8 } from 'node:buffer';
import type { Message, Property } from '../../../../core/model/message.ts';
import type { MessageView } from '../../../../core/model/message-view.ts';
import { plainBody } from '../../../../core/model/plain-body.ts';
import { Descriptor } from '../codec/descriptors.ts';
import { readValue } from '../codec/reader.ts';
import type { AmqpValue } from '../codec/values.ts';
import { Writer } from '../codec/writer.ts';
import type { ValuePair } from './envelope-sections.ts';
import { bodyKind, writeBody } from './foreign-body.ts';
import { FactProperty, parseFacts, parseTypes, type MessageFacts, type MessageTypes } from './message-facts.ts';
import {
  Annotation,
  ENCODED_CONTENT_TYPE,
  JMS_TEXT_MESSAGE,
  KEYS_PROPERTY,
  protocolOf,
  TRACE_PROPERTY,
} from './message-form.ts';
import { toAmqpName } from './property-names.ts';
import { replyAddressOf, replyTopicOf } from './reply-addresses.ts';
import { base64Bytes, correlationOf, idOf, valueOf } from './typed-properties.ts';
import { addressAnnotations, writeSection } from './sections-out.ts';

const NULL: AmqpValue = { type: 'null' };
// oxlint-disable-next-line no-control-regex
const ASCII = /^[\u0000-\u007f]*$/;
const TIME = /^-?\d{1,18}$/;

/** A message of another protocol as AMQP has it. */
export interface ForeignMessage {
  /** Delivery annotations, encoded; empty where there are none. */
  readonly deliveryAnnotations: Buffer;
  /** Message annotations and the bare message. */
  readonly bytes: Buffer;
  readonly messageFormat: number;
}

/**
 * Makes an AMQP message of one that came by another protocol. What an AMQP client said of it before is restored; of any other
 * message the annotation `x-opt-gantry-from` says that its standard fields were filled in here.
 * @param topicOf the topic an address belongs to
 */
export function foreignMessage(
  message: Message,
  view: MessageView,
  topicOf: (address: string) => string,
): ForeignMessage {
  return new ForeignBuilder(message, view, topicOf).build();
}

class ForeignBuilder {
  private readonly view: MessageView;
  private readonly topicOf: (address: string) => string;
  private readonly facts: MessageFacts;
  private readonly types: MessageTypes;
  private readonly properties: readonly Property[];
  /** Where it comes from; undefined: from an AMQP client. */
  private readonly from: string | undefined;

  constructor(message: Message, view: MessageView, topicOf: (address: string) => string) {
    this.view = view;
    this.topicOf = topicOf;
    const text = (name: string) => view.properties.find(([key]) => key === name)?.[1];
    const facts = parseFacts(text(FactProperty.facts));
    this.facts = facts ?? {};
    this.types = parseTypes(text(FactProperty.types));
    this.properties = view.properties.filter(([key]) => key !== FactProperty.facts && key !== FactProperty.types);
    this.from = facts === undefined ? protocolOf(message) : facts.from;
  }

  build(): ForeignMessage {
    const { view, facts } = this;
    const body = plainBody(view);
    const writer = new Writer(256 + body.length);
    const isEncoded = view.contentType === ENCODED_CONTENT_TYPE;
    const isData = bodyKind(body, facts.body, isEncoded) === 'data';
    this.writeAnnotations(writer, isData);
    writeSection(writer, Descriptor.properties, { type: 'list', value: this.propertyList() });
    const applicationProperties = this.applicationProperties();
    if (applicationProperties.length > 0) {
      writeSection(writer, Descriptor.applicationProperties, { type: 'map', value: applicationProperties });
    }
    writeBody(writer, body, facts, isEncoded);
    const { messageFormat = 0 } = facts;
    return { deliveryAnnotations: this.deliveryAnnotations(), bytes: writer.bytes, messageFormat };
  }

  private deliveryAnnotations(): Buffer {
    const { address } = this.view;
    return this.from === undefined && this.facts.to !== address ? addressAnnotations(address) : Buffer.alloc(0);
  }

  private writeAnnotations(writer: Writer, isData: boolean): void {
    const { view, from } = this;
    const annotations: ValuePair[] = [...restoredMap(this.facts.annotations)];
    const add = (name: string, value: AmqpValue): void => {
      const isThere = annotations.some(
        ([key]) => (key.type === 'symbol' || key.type === 'string') && key.value === name,
      );
      if (!isThere) annotations.push([symbol(name), value]);
    };
    if (from !== undefined) {
      add(Annotation.from, string(from));
      if (view.deliverAt > 0) add(Annotation.deliveryTime, { type: 'long', value: BigInt(Math.floor(view.deliverAt)) });
      if (view.bornHost !== undefined) add(Annotation.bornHost, string(view.bornHost));
      const replyTo = this.replyTo();
      if (replyTo !== undefined && replyTopicOf(replyTo) !== view.replyTo)
        add(Annotation.replyTo, string(view.replyTo!));
      if (view.contentType !== undefined && !ASCII.test(view.contentType)) {
        add(Annotation.contentType, string(view.contentType));
      }
    }
    // What JMS clients tell a TextMessage by that is not an amqp-value.
    if (view.text && isData && isUtf8(view.body))
      add(Annotation.jmsMessageType, { type: 'byte', value: JMS_TEXT_MESSAGE });
    if (view.keys.some((key) => key === '' || key.includes(','))) {
      add(Annotation.keys, { type: 'list', value: view.keys.map(string) });
    }
    const names = new Set(this.properties.map(([key]) => key));
    if (names.size < this.properties.length) {
      add(Annotation.duplicates, { type: 'list', value: this.properties.flat().map(string) });
    }
    if (annotations.length > 0) {
      writeSection(writer, Descriptor.messageAnnotations, { type: 'map', value: annotations });
    }
  }

  /** In the order of AMQP 3.2.4; what is left out at the end need not be there. */
  private propertyList(): readonly AmqpValue[] {
    const { view, facts, types, from } = this;
    const messageId = this.orEmpty('messageId', view.messageId);
    const { correlationId } = view;
    const isOurs = from !== undefined;
    const fields: readonly (AmqpValue | undefined)[] = [
      messageId === undefined ? undefined : idOf(messageId, types.messageId),
      binary(facts.userId),
      optional('string', isOurs ? view.address : facts.to),
      optional('string', this.orEmpty('subject', view.tag)),
      optional('string', this.replyTo()),
      correlationId === undefined ? undefined : correlationOf(Buffer.from(correlationId), types.correlationId),
      optional('symbol', this.contentType()),
      optional('symbol', facts.contentEncoding),
      timestamp(isOurs ? timeText(view.expiresAt) : facts.absoluteExpiryTime),
      timestamp(isOurs ? timeText(view.bornAt) : facts.creationTime),
      optional('string', this.orEmpty('groupId', view.messageGroup)),
      facts.groupSequence === undefined ? undefined : { type: 'uint', value: facts.groupSequence },
      optional('string', facts.replyToGroupId),
    ];
    const last = fields.findLastIndex((field) => field !== undefined);
    return fields.slice(0, last + 1).map((field) => field ?? NULL);
  }

  /** The client's own words for it where they still mean the same. */
  private replyTo(): string | undefined {
    const { replyTo } = this.view;
    if (replyTo === undefined) return undefined;
    const told = this.facts.replyTo;
    return told !== undefined && replyTopicOf(told) === replyTo ? told : replyAddressOf(replyTo, this.topicOf);
  }

  private contentType(): string | undefined {
    const { contentType } = this.view;
    if (contentType === ENCODED_CONTENT_TYPE && this.facts.body === 'encoded') return this.facts.contentType;
    return contentType !== undefined && ASCII.test(contentType) ? contentType : undefined;
  }

  /** The first of each name; all of them are in the annotations. */
  private applicationProperties(): readonly ValuePair[] {
    const { view, types } = this;
    const map = new Map<string, ValuePair>();
    const put = (name: string, text: string): void => {
      if (!map.has(name)) map.set(name, [string(name), valueOf(text, types.properties.get(name))]);
    };
    for (const [key, text] of this.properties) put(toAmqpName(key), text);
    const keys = this.orEmpty('keys', view.keys.length === 0 ? undefined : view.keys.join(','));
    if (keys !== undefined) put(KEYS_PROPERTY, keys);
    const traceContext = this.orEmpty('traceContext', view.traceContext);
    if (traceContext !== undefined) put(TRACE_PROPERTY, traceContext);
    return [...map.values()];
  }

  private orEmpty(name: string, text: string | undefined): string | undefined {
    return text ?? (this.facts.empty?.includes(name) === true ? '' : undefined);
  }
}

function restoredMap(base64: string | undefined): readonly ValuePair[] {
  const bytes = base64 === undefined ? undefined : base64Bytes(base64);
  if (bytes === undefined) return [];
  try {
    const map = readValue(bytes, 0, bytes.length);
    return map.type === 'map' ? map.value : [];
  } catch {
    // Someone else's text under our name.
    return [];
  }
}

function binary(base64: string | undefined): AmqpValue | undefined {
  const value = base64 === undefined ? undefined : base64Bytes(base64);
  return value === undefined ? undefined : { type: 'binary', value };
}

function string(value: string): AmqpValue {
  return { type: 'string', value };
}

function symbol(value: string): AmqpValue {
  return { type: 'symbol', value };
}

function optional(type: 'string' | 'symbol', text: string | undefined): AmqpValue | undefined {
  if (text === undefined || (type === 'symbol' && !ASCII.test(text))) return undefined;
  return { type, value: text };
}

function timeText(ms: number): string | undefined {
  return ms > 0 ? String(Math.floor(ms)) : undefined;
}

function timestamp(text: string | undefined): AmqpValue | undefined {
  return text === undefined || !TIME.test(text) ? undefined : { type: 'timestamp', value: BigInt(text) };
}
