/**
 * The values and operators of SQL92 filters. Undefined is NULL, and as the value of a condition it is "unknown": what cannot be
 * compared is unknown, and only what is true passes a filter.
 */
export type SqlValue = string | TypedText | number | bigint | boolean | undefined;

/** A text that is known to be one: unlike a plain string, which may be anything written as text, it is never a number. */
export class TypedText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** The properties of one message. */
export interface SqlProperties {
  get(name: string): SqlValue;
}

export type Evaluate = (properties: SqlProperties) => SqlValue;
export type Condition = (properties: SqlProperties) => boolean | undefined;
/** A property's text as a number, to be compared with this one. */
export type NumberReader = (text: string, other: number | bigint) => number | bigint | undefined;

/** The longest number anyone writes; reading a longer one would cost more than its length. */
const NUMBER_CHARS_MAX = 64;
const INTEGER = /^[+-]?\d+$/;
const DECIMAL = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;
const LONG_MIN = -(2n ** 63n);
const LONG_MAX = 2n ** 63n - 1n;

const COMPARISONS: Readonly<Record<string, (order: number) => boolean>> = {
  '=': (order) => order === 0,
  '<>': (order) => order !== 0,
  '<': (order) => order < 0,
  '<=': (order) => order <= 0,
  '>': (order) => order > 0,
  '>=': (order) => order >= 0,
};

export function not(condition: Condition): Condition {
  return (properties) => {
    const value = condition(properties);
    return value === undefined ? undefined : !value;
  };
}

/** True when all are, false when one is. Lists rather than pairs, so that long ones are not deep. */
export function and(conditions: readonly Condition[]): Condition {
  return decided(conditions, false);
}

export function or(conditions: readonly Condition[]): Condition {
  return decided(conditions, true);
}

/** @param deciding the value of one condition that makes the others irrelevant */
function decided(conditions: readonly Condition[], deciding: boolean): Condition {
  return (properties) => {
    let value: boolean | undefined = !deciding;
    for (const condition of conditions) {
      const one = condition(properties);
      if (one === deciding) return deciding;
      if (one === undefined) value = undefined;
    }
    return value;
  };
}

/** @param isTyped values of different types are not equal and not unequal either, but false */
export function compare(
  operator: string,
  left: Evaluate,
  right: Evaluate,
  read: NumberReader,
  isTyped: boolean,
): Condition {
  const holds = COMPARISONS[operator]!;
  const isEquality = operator === '=' || operator === '<>';
  return (properties) => {
    const order = orderOf(left(properties), right(properties), isEquality, read);
    if (order === undefined) return undefined;
    if (Number.isNaN(order)) return isTyped ? false : undefined;
    return holds(order);
  };
}

/** Negative, 0 or positive; undefined where one of the two is not known, NaN where they cannot be compared. */
function orderOf(left: SqlValue, right: SqlValue, isEquality: boolean, read: NumberReader): number | undefined {
  if (left === undefined || right === undefined) return undefined;
  if (left instanceof TypedText || right instanceof TypedText) {
    const [one, other] = [textOf(left), textOf(right)];
    return !isEquality || one === undefined || other === undefined ? NaN : Number(one !== other);
  }
  if (typeof left === 'boolean' || typeof right === 'boolean') {
    const [one, other] = [booleanOf(left), booleanOf(right)];
    return !isEquality || one === undefined || other === undefined ? NaN : Number(one !== other);
  }
  if (typeof left === 'string' && typeof right === 'string') {
    if (isEquality) return Number(left !== right);
    return numericOrder(readNumber(left), readNumber(right));
  }
  if (typeof left === 'string') return numericOrder(read(left, right as number | bigint), right as number | bigint);
  return numericOrder(left, typeof right === 'string' ? read(right, left) : right);
}

/** JavaScript compares a number with a bigint exactly. */
function numericOrder(left: number | bigint | undefined, right: number | bigint | undefined): number {
  if (left === undefined || right === undefined || Number.isNaN(left) || Number.isNaN(right)) return NaN;
  return left < right ? -1 : left > right ? 1 : 0;
}

function textOf(value: SqlValue): string | undefined {
  if (value instanceof TypedText) return value.text;
  return typeof value === 'string' ? value : undefined;
}

/** Whether the value is true or false, or reads like it. */
export function booleanOf(value: SqlValue): boolean | undefined {
  if (typeof value === 'boolean') return value;
  if (typeof value !== 'string' || value.length > 5) return undefined;
  const text = value.toLowerCase();
  return text === 'true' ? true : text === 'false' ? false : undefined;
}

/** RocketMQ: the text is read as what it is compared with is, so that 21.5 is neither above nor below the integer 20. */
export function readLike(text: string, other: number | bigint): number | bigint | undefined {
  return typeof other === 'bigint' ? readInteger(text) : readDecimal(text);
}

/** The text as the number it is. */
export function readNumber(text: string): number | bigint | undefined {
  return readInteger(text) ?? readDecimal(text);
}

function readInteger(text: string): bigint | undefined {
  if (text.length > NUMBER_CHARS_MAX || !INTEGER.test(text)) return undefined;
  const value = BigInt(text.startsWith('+') ? text.slice(1) : text);
  return value < LONG_MIN || value > LONG_MAX ? undefined : value;
}

function readDecimal(text: string): number | undefined {
  return text.length > NUMBER_CHARS_MAX || !DECIMAL.test(text) ? undefined : Number(text);
}

export function isNull(value: Evaluate): Condition {
  return (properties) => value(properties) === undefined;
}

/** Whether a text passes the test; unknown for what is no text. */
export function textTest(value: Evaluate, test: (text: string) => boolean): Condition {
  return (properties) => {
    const text = textOf(value(properties));
    return text === undefined ? undefined : test(text);
  };
}

export function negate(value: Evaluate): Evaluate {
  return (properties) => {
    const number = numberOf(value(properties));
    return number === undefined ? undefined : -number;
  };
}

const ARITHMETIC: Readonly<Record<string, (left: number, right: number) => number>> = {
  '+': (left, right) => left + right,
  '-': (left, right) => left - right,
  '*': (left, right) => left * right,
  '/': (left, right) => left / right,
};
/** Integers stay integers, as Java has it (Jakarta Messaging 3.8.1.1), and are divided without a rest. */
const INTEGER_ARITHMETIC: Readonly<Record<string, (left: bigint, right: bigint) => bigint | undefined>> = {
  '+': (left, right) => left + right,
  '-': (left, right) => left - right,
  '*': (left, right) => left * right,
  '/': (left, right) => (right === 0n ? undefined : left / right),
};

/** The first value, and then one operator and value after the other. */
export function calculate(first: Evaluate, rest: readonly { readonly operator: string; readonly value: Evaluate }[]) {
  return (properties: SqlProperties): SqlValue => {
    let result = numberOf(first(properties));
    for (const { operator, value } of rest) {
      const next = numberOf(value(properties));
      if (result === undefined || next === undefined) return undefined;
      if (typeof result === 'bigint' && typeof next === 'bigint') {
        const exact = INTEGER_ARITHMETIC[operator]!(result, next);
        result = exact && BigInt.asIntN(64, exact);
      } else result = ARITHMETIC[operator]!(Number(result), Number(next));
    }
    return typeof result === 'number' && !Number.isFinite(result) ? undefined : result;
  };
}

function numberOf(value: SqlValue): number | bigint | undefined {
  if (typeof value === 'string') return readNumber(value);
  return typeof value === 'number' || typeof value === 'bigint' ? value : undefined;
}

/** One part of a LIKE pattern: a character, any one character, or any characters. */
type LikePart = { readonly char: string } | 'one' | 'many';

/** @returns undefined when the escape character stands before nothing it could escape */
export function likePattern(pattern: string, escape: string | undefined): ((text: string) => boolean) | undefined {
  const parts: LikePart[] = [];
  let isEscaped = false;
  for (const char of pattern) {
    if (!isEscaped && char === escape) {
      isEscaped = true;
      continue;
    }
    if (isEscaped && char !== '%' && char !== '_' && char !== escape) return undefined;
    parts.push(isEscaped || (char !== '%' && char !== '_') ? { char } : char === '%' ? 'many' : 'one');
    isEscaped = false;
  }
  return isEscaped ? undefined : (text) => isLike(Array.from(text), parts);
}

/** Goes back to the last `%` only: at most text times pattern steps. */
function isLike(text: readonly string[], parts: readonly LikePart[]): boolean {
  let [at, part] = [0, 0];
  let retry: { at: number; readonly part: number } | undefined;
  while (at < text.length) {
    const wanted = parts[part];
    if (wanted === 'many') {
      retry = { at, part: ++part };
    } else if (wanted === 'one' || (wanted !== undefined && wanted.char === text[at])) {
      at++;
      part++;
    } else if (retry !== undefined) {
      at = ++retry.at;
      part = retry.part;
    } else return false;
  }
  while (parts[part] === 'many') part++;
  return part === parts.length;
}
