import type { AmqpMap } from './performatives.ts';
import type { AmqpValue } from './values.ts';

/** Between plain values and typed ones. */

export const NULL_VALUE: AmqpValue = { type: 'null' };

export function booleanValue(value: boolean): AmqpValue {
  return { type: 'boolean', value };
}

export function ubyteValue(value: number): AmqpValue {
  return { type: 'ubyte', value };
}

export function ushortValue(value: number): AmqpValue {
  return { type: 'ushort', value };
}

export function uintValue(value: number): AmqpValue {
  return { type: 'uint', value };
}

export function ulongValue(value: bigint | number): AmqpValue {
  return { type: 'ulong', value: BigInt(value) };
}

export function intValue(value: number): AmqpValue {
  return { type: 'int', value };
}

export function longValue(value: bigint | number): AmqpValue {
  return { type: 'long', value: BigInt(value) };
}

export function timestampValue(ms: bigint | number): AmqpValue {
  return { type: 'timestamp', value: BigInt(ms) };
}

export function stringValue(value: string): AmqpValue {
  return { type: 'string', value };
}

export function symbolValue(value: string): AmqpValue {
  return { type: 'symbol', value };
}

export function binaryValue(value: Buffer): AmqpValue {
  return { type: 'binary', value };
}

export function listValue(value: readonly AmqpValue[]): AmqpValue {
  return { type: 'list', value };
}

export function describedValue(descriptor: AmqpValue, value: AmqpValue): AmqpValue {
  return { type: 'described', descriptor, value };
}

/** An array of symbols, as fields that may have several values have them (AMQP 1.4). */
export function symbolsValue(symbols: readonly string[]): AmqpValue {
  return { type: 'array', elementType: 'symbol', value: symbols.map(symbolValue) };
}

/** A map with symbols as keys, as `fields` and annotations have them. */
export function fieldsValue(fields: AmqpMap): AmqpValue {
  return { type: 'map', value: Array.from(fields, ([key, value]) => [symbolValue(key), value] as const) };
}

/** A map with strings as keys, as application-properties have them. */
export function stringMapValue(entries: AmqpMap): AmqpValue {
  return { type: 'map', value: Array.from(entries, ([key, value]) => [stringValue(key), value] as const) };
}

export function mapOf(entries: Readonly<Record<string, AmqpValue>>): AmqpMap {
  return new Map(Object.entries(entries));
}

/** A string or a symbol; undefined for everything else. */
export function textOf(value: AmqpValue | undefined): string | undefined {
  return value?.type === 'string' || value?.type === 'symbol' ? value.value : undefined;
}

export function booleanOf(value: AmqpValue | undefined): boolean | undefined {
  return value?.type === 'boolean' ? value.value : undefined;
}

export function binaryOf(value: AmqpValue | undefined): Buffer | undefined {
  return value?.type === 'binary' ? value.value : undefined;
}

/** A number of any type; those of 64 bits only where a number holds them exactly. */
export function numberOf(value: AmqpValue | undefined): number | undefined {
  const plain = numeric(value);
  if (typeof plain !== 'bigint') return plain;
  return plain >= Number.MIN_SAFE_INTEGER && plain <= Number.MAX_SAFE_INTEGER ? Number(plain) : undefined;
}

/** A whole number of any type, also a timestamp. */
export function bigintOf(value: AmqpValue | undefined): bigint | undefined {
  const plain = numeric(value);
  return typeof plain !== 'number' ? plain : Number.isSafeInteger(plain) ? BigInt(plain) : undefined;
}

function numeric(value: AmqpValue | undefined): number | bigint | undefined {
  if (value === undefined || value.type === 'char' || !('value' in value)) return undefined;
  return typeof value.value === 'number' || typeof value.value === 'bigint' ? value.value : undefined;
}
