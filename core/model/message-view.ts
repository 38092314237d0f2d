import type { DeadLetter, Message, Property } from './message.ts';
import { SystemField, type EnvelopeProtocol } from './message-layout.ts';

/** The fields an envelope may carry in its publisher's own encoding. */
export interface EnvelopeFields {
  readonly properties: readonly Property[];
  /** What selectors find by name where the protocol knows its type: integers are bigint, and undefined is a null. */
  readonly typed?: ReadonlyMap<string, string | number | bigint | boolean | undefined> | undefined;
  /** Whether the body is UTF-8 text. */
  readonly text: boolean;
  readonly contentType?: string | undefined;
  readonly correlationId?: Uint8Array | undefined;
  readonly replyTo?: string | undefined;
  readonly traceContext?: string | undefined;
}

/** Reads the verbatim bytes an adapter kept. Each adapter that keeps an envelope gives one to the broker. */
export interface EnvelopeReader {
  readonly protocol: EnvelopeProtocol;
  read(envelope: Buffer): EnvelopeFields;
}

/** A message as values, whatever protocol it came from: what an adapter of another protocol, or a filter, reads. */
export interface MessageView extends EnvelopeFields {
  readonly address: string;
  readonly addressDerived: boolean;
  readonly body: Buffer;
  readonly tag: string | undefined;
  readonly keys: readonly string[];
  readonly messageId: string | undefined;
  readonly messageGroup: string | undefined;
  readonly priority: number | undefined;
  readonly bornAt: number;
  readonly bornHost: string | undefined;
  readonly expiresAt: number;
  readonly deliverAt: number;
  readonly bodyEncoding: string | undefined;
  readonly deadLetter: DeadLetter | undefined;
}

/** Decodes a message, its envelope included. An unknown envelope counts as empty. */
export function viewMessage(message: Message, readers: ReadonlyMap<EnvelopeProtocol, EnvelopeReader>): MessageView {
  const envelope = readers.get(message.envelopeProtocol)?.read(message.envelope);
  return {
    address: message.address,
    addressDerived: message.isAddressDerived,
    body: message.body,
    text: message.isText || envelope?.text === true,
    tag: message.tag,
    keys: message.keys,
    messageId: message.messageId,
    messageGroup: message.messageGroup,
    priority: message.priority,
    bornAt: message.bornAt,
    bornHost: message.systemText(SystemField.bornHost),
    expiresAt: message.expiresAt,
    deliverAt: message.deliverAt,
    bodyEncoding: message.systemText(SystemField.bodyEncoding),
    properties: envelope === undefined ? message.ownProperties : [...message.ownProperties, ...envelope.properties],
    typed: envelope?.typed,
    contentType: message.systemText(SystemField.contentType) ?? envelope?.contentType,
    correlationId: message.systemBytes(SystemField.correlationId) ?? envelope?.correlationId,
    replyTo: message.systemText(SystemField.replyTo) ?? envelope?.replyTo,
    traceContext: message.systemText(SystemField.traceContext) ?? envelope?.traceContext,
    deadLetter: deadLetterOf(message),
  };
}

/** Undefined for a message that was never given up. */
export function deadLetterOf(message: Message): DeadLetter | undefined {
  const topic = message.systemText(SystemField.deadLetterTopic);
  if (topic === undefined) return undefined;
  return {
    topic,
    messageId: message.systemText(SystemField.deadLetterMessageId) ?? '',
    reason: message.systemText(SystemField.deadLetterReason),
    description: message.systemText(SystemField.deadLetterDescription) || undefined,
  };
}
