/**
 * What AMQP 1.0 says of a message and nobody else can. It travels through other protocols in two reserved properties and is
 * restored from them when the message comes back (docs/mapping-amqp.md).
 */
export const FactProperty = {
  /** JSON: MessageTypes. */
  types: 'gantry-types',
  /** JSON: MessageFacts. Every message of an AMQP client has it in other protocols. */
  facts: 'gantry-amqp',
} as const;

/** The types of what other protocols have as text; strings are left out. */
export interface MessageTypes {
  /** Of application properties, by name. */
  readonly properties: ReadonlyMap<string, string>;
  readonly messageId?: string | undefined;
  readonly correlationId?: string | undefined;
}

/** What kind of body it was: one `data` section unless said otherwise; numbers are the lengths of several. */
export type BodyFact = 'string' | 'binary' | 'encoded' | 'none' | 'null' | readonly number[];

/** Times are decimal texts in milliseconds, bytes are in base64. */
export interface MessageFacts {
  body?: BodyFact | undefined;
  to?: string | undefined;
  replyTo?: string | undefined;
  /** Where the body reads application/vnd.amqp for others. */
  contentType?: string | undefined;
  contentEncoding?: string | undefined;
  userId?: string | undefined;
  absoluteExpiryTime?: string | undefined;
  creationTime?: string | undefined;
  groupSequence?: number | undefined;
  /** Where it is not 0. */
  messageFormat?: number | undefined;
  replyToGroupId?: string | undefined;
  /** Texts that were there and empty, which in the core is the same as not there. */
  empty?: readonly string[] | undefined;
  /** The message annotations, encoded. */
  annotations?: string | undefined;
  /** The footer, encoded. */
  footer?: string | undefined;
  /** The protocol an AMQP client had the message from before it sent it on. */
  from?: string | undefined;
}

const TEXT_FACTS = [
  'to',
  'replyTo',
  'contentType',
  'contentEncoding',
  'userId',
  'absoluteExpiryTime',
  'creationTime',
  'replyToGroupId',
  'annotations',
  'footer',
  'from',
] as const;
const BODY_WORDS: readonly unknown[] = ['string', 'binary', 'encoded', 'none', 'null'];
const NO_TYPES: MessageTypes = { properties: new Map() };

/** Undefined when there is nothing to say. */
export function typesText({ properties, messageId, correlationId }: MessageTypes): string | undefined {
  if (properties.size === 0 && messageId === undefined && correlationId === undefined) return undefined;
  const pairs = properties.size === 0 ? undefined : [...properties];
  return JSON.stringify({ properties: pairs, messageId, correlationId });
}

/** Text that is not of that form says nothing: it is someone else's under our name. */
export function parseTypes(text: string | undefined): MessageTypes {
  const parsed = parseObject(text);
  if (parsed === undefined) return NO_TYPES;
  const { properties, messageId, correlationId } = parsed;
  return {
    properties: new Map(Array.isArray(properties) ? properties.filter(isTextPair) : []),
    messageId: textOrNone(messageId),
    correlationId: textOrNone(correlationId),
  };
}

/** Undefined when the text is not of that form. */
export function parseFacts(text: string | undefined): MessageFacts | undefined {
  const parsed = parseObject(text);
  if (parsed === undefined) return undefined;
  const facts: MessageFacts = {};
  for (const name of TEXT_FACTS) facts[name] = textOrNone(parsed[name]);
  for (const name of ['groupSequence', 'messageFormat'] as const) {
    const number = parsed[name];
    if (isUint32(number)) facts[name] = number;
  }
  const { body, empty } = parsed;
  if (BODY_WORDS.includes(body) || (Array.isArray(body) && body.every(isUint32))) facts.body = body as BodyFact;
  if (Array.isArray(empty)) facts.empty = empty.filter((name) => typeof name === 'string');
  return facts;
}

function parseObject(text: string | undefined): Readonly<Record<string, unknown>> | undefined {
  if (text === undefined) return undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
      ? (parsed as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function isTextPair(value: unknown): value is [string, string] {
  return Array.isArray(value) && value.length === 2 && typeof value[0] === 'string' && typeof value[1] === 'string';
}

function isUint32(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

function textOrNone(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
