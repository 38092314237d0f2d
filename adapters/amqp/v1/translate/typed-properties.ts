import { isUtf8 } from 'node:buffer';
import { readValue } from '../codec/reader.ts';
import type { AmqpValue } from '../codec/values.ts';
import { encodeValue } from '../codec/writer.ts';

/**
 * AMQP values as the text other protocols have in their properties, and back. Whoever sends the text back names the type
 * beside it (`gantry-types`); text that does not fit the type any more is a string.
 */

/** Types that are said in a text of their own; everything else is encoded and said in base64. */
export type TextType = Exclude<AmqpValue['type'], 'list' | 'map' | 'array' | 'described'> | 'base64';

/** MQTT has no null character in its texts. */
const NULL_CHARACTER = '\0';
// oxlint-disable-next-line no-control-regex
const ASCII = /^[\u0000-\u007f]*$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const URN_UUID = /^urn:uuid:([0-9a-f-]{36})$/;
const INTEGER = /^-?\d{1,20}$/;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

const INTEGER_RANGES: Readonly<Record<string, readonly [bigint, bigint]>> = {
  ubyte: [0n, 0xffn],
  ushort: [0n, 0xffffn],
  uint: [0n, 0xffff_ffffn],
  ulong: [0n, 2n ** 64n - 1n],
  byte: [-0x80n, 0x7fn],
  short: [-0x8000n, 0x7fffn],
  int: [-0x8000_0000n, 0x7fff_ffffn],
  long: [-(2n ** 63n), 2n ** 63n - 1n],
  timestamp: [-(2n ** 63n), 2n ** 63n - 1n],
};

const FIXED_BYTES: Readonly<Record<string, number>> = { decimal32: 4, decimal64: 8, decimal128: 16 };

/** A value as text, and the type that brings it back; undefined for a string, which needs none. */
export function textOf(value: AmqpValue): readonly [text: string, type: TextType | undefined] {
  switch (value.type) {
    case 'string':
      return value.value.includes(NULL_CHARACTER) ? encoded(value) : [value.value, undefined];
    case 'symbol':
      return value.value.includes(NULL_CHARACTER) ? encoded(value) : [value.value, 'symbol'];
    case 'null':
      return ['', 'null'];
    case 'float':
    case 'double':
      return [Object.is(value.value, -0) ? '-0' : String(value.value), value.type];
    case 'char':
      return isCharacter(value.value) ? [String.fromCodePoint(value.value), 'char'] : encoded(value);
    case 'uuid':
      return [uuidText(value.value), 'uuid'];
    case 'binary':
    case 'decimal32':
    case 'decimal64':
    case 'decimal128':
      return [value.value.toString('base64'), value.type];
    case 'list':
    case 'map':
    case 'array':
    case 'described':
      return encoded(value);
    default:
      return [String(value.value), value.type];
  }
}

/** The value of a text; a string where it is none of that type. */
export function valueOf(text: string, type: string | undefined): AmqpValue {
  return typedValue(text, type) ?? { type: 'string', value: text };
}

function typedValue(text: string, type: string | undefined): AmqpValue | undefined {
  switch (type) {
    case 'boolean':
      return text === 'true' || text === 'false' ? { type, value: text === 'true' } : undefined;
    case 'null':
      return text === '' ? { type } : undefined;
    case 'float':
    case 'double':
      return numberOf(text, type);
    case 'char': {
      const value = text.codePointAt(0);
      return value !== undefined && String.fromCodePoint(value) === text ? { type, value } : undefined;
    }
    case 'symbol':
      return ASCII.test(text) ? { type, value: text } : undefined;
    case 'uuid':
      return UUID.test(text) ? { type, value: uuidBytes(text) } : undefined;
    case 'binary':
    case 'decimal32':
    case 'decimal64':
    case 'decimal128': {
      const value = base64Bytes(text);
      return value !== undefined && value.length === (FIXED_BYTES[type] ?? value.length) ? { type, value } : undefined;
    }
    case 'base64': {
      const bytes = base64Bytes(text);
      return bytes === undefined ? undefined : decoded(bytes);
    }
    default:
      return type === undefined ? undefined : integerOf(text, type);
  }
}

function integerOf(text: string, type: string): AmqpValue | undefined {
  const range = Object.hasOwn(INTEGER_RANGES, type) ? INTEGER_RANGES[type] : undefined;
  if (range === undefined || !INTEGER.test(text)) return undefined;
  const value = BigInt(text);
  if (value < range[0] || value > range[1]) return undefined;
  return (
    type === 'ulong' || type === 'long' || type === 'timestamp' ? { type, value } : { type, value: Number(value) }
  ) as AmqpValue;
}

function numberOf(text: string, type: 'float' | 'double'): AmqpValue | undefined {
  if (text === 'NaN') return { type, value: NaN };
  const value = text.trim() === text && text !== '' ? Number(text) : NaN;
  if (Number.isNaN(value)) return undefined;
  return { type, value: type === 'float' ? Math.fround(value) : value };
}

function encoded(value: AmqpValue): readonly [string, TextType] {
  return [encodeValue(value).toString('base64'), 'base64'];
}

function decoded(bytes: Buffer): AmqpValue | undefined {
  try {
    return readValue(bytes, 0, bytes.length);
  } catch {
    // Someone else's text under our name.
    return undefined;
  }
}

/** A Unicode scalar value that may stand in any text. */
function isCharacter(code: number): boolean {
  return code > 0 && code <= 0x10_ffff && !(code >= 0xd800 && code <= 0xdfff);
}

export function base64Bytes(text: string): Buffer | undefined {
  return BASE64.test(text) && text.length % 4 === 0 ? Buffer.from(text, 'base64') : undefined;
}

function uuidText(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function uuidBytes(text: string): Buffer {
  return Buffer.from(text.replaceAll('-', ''), 'hex');
}

/** Message ids: AMQP 3.2.4 has four types of them, the core a text. */
export type IdType = 'string' | 'uuid' | 'ulong' | 'binary';

/** A message id as text, as RabbitMQ converts it: a uuid as URN, a ulong in decimal, a binary in base64. */
export function idText(id: AmqpValue): string | undefined {
  switch (id.type) {
    case 'string':
      return id.value;
    case 'uuid':
      return `urn:uuid:${uuidText(id.value)}`;
    case 'ulong':
      return String(id.value);
    case 'binary':
      return id.value.toString('base64');
    default:
      return undefined;
  }
}

/** A text as a message id of the type it had, else of the type it looks like: a uuid as URN, or a string. */
export function idOf(text: string, type?: string): AmqpValue {
  if (type === 'ulong') return integerOf(text, 'ulong') ?? idOf(text, undefined);
  if (type === 'binary') {
    const value = base64Bytes(text);
    if (value !== undefined) return { type, value };
  }
  const uuid = type === 'string' ? undefined : URN_UUID.exec(text)?.[1];
  return uuid !== undefined && UUID.test(uuid)
    ? { type: 'uuid', value: uuidBytes(uuid) }
    : { type: 'string', value: text };
}

/** A correlation id as bytes: those of its text, but a binary as it is. */
export function correlationBytes(id: AmqpValue): Buffer | undefined {
  if (id.type === 'binary') return id.value;
  const text = idText(id);
  return text === undefined ? undefined : Buffer.from(text, 'utf8');
}

/** Bytes as a correlation id of the type it had, else a string where they can be one, else a binary. */
export function correlationOf(bytes: Buffer, type?: string): AmqpValue {
  const text = type !== 'binary' && isUtf8(bytes) ? bytes.toString('utf8') : undefined;
  const isText = text !== undefined && (type === 'string' || !/\p{Cc}/u.test(text));
  return isText ? idOf(text, type) : { type: 'binary', value: bytes };
}
