import { BrokerError } from './broker-error.ts';

/** RocketMQ sets no limit; this is far beyond what its documentation shows, and bounds the work of one message. */
const EXPRESSION_CHARS_MAX = 8192;

export type SqlToken =
  | { readonly kind: 'word' | 'symbol' | 'end'; readonly text: string; readonly at: number }
  | { readonly kind: 'string'; readonly text: string; readonly value: string; readonly at: number }
  /** An integer is a bigint, so that it stays one, and is compared exactly. */
  | { readonly kind: 'number'; readonly text: string; readonly value: bigint | number; readonly at: number };

/** How names and numbers are written: those of Java are what Jakarta Messaging 3.8.1.1 has. */
export type SqlWriting = 'plain' | 'java';

// Each of them looks at a character once.
const WORDS: Readonly<Record<SqlWriting, RegExp>> = {
  plain: /[a-zA-Z_$][a-zA-Z0-9_$]*/y,
  java: /[\p{L}\p{Nl}\p{Sc}\p{Pc}][\p{L}\p{Nl}\p{Sc}\p{Pc}\p{Nd}\p{Mn}\p{Mc}]*/uy,
};
const NUMBERS: Readonly<Record<SqlWriting, RegExp>> = {
  plain: /\d+[lL]|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y,
  java: /0[xX][\da-fA-F]+[lL]?|0[bB][01]+[lL]?|\d+[lL]|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?[fFdD]?/y,
};
const INTEGER = /^(0[xX][\da-fA-F]+|0[bB][01]+|\d+)[lL]?$/;
const STRING = /'[^']*'(?:'[^']*')*/y;
const SYMBOL = /<>|<=|>=|[=<>(),+\-*/]/y;
const WORD_PART = /[a-zA-Z0-9_$.]/;
const INTEGER_MAX = 2n ** 63n;

/** @param at counted from 0 */
export function sqlError(at: number, reason: string): BrokerError {
  return new BrokerError('ILLEGAL_FILTER_EXPRESSION', `filter expression, at character ${at + 1}: ${reason}`);
}

/**
 * Cuts an expression into tokens, the last of which is its end.
 * @throws BrokerError ILLEGAL_FILTER_EXPRESSION
 */
export function sqlTokens(expression: string, writing: SqlWriting): SqlToken[] {
  if (expression.length > EXPRESSION_CHARS_MAX) {
    throw sqlError(EXPRESSION_CHARS_MAX, `it is longer than ${EXPRESSION_CHARS_MAX} characters`);
  }
  const tokens: SqlToken[] = [];
  let at = 0;
  for (;;) {
    at = blankEnd(expression, at);
    const token =
      at === expression.length ? { kind: 'end' as const, text: 'the end', at } : nextToken(expression, at, writing);
    tokens.push(token);
    if (token.kind === 'end') return tokens;
    at += token.text.length;
  }
}

/** Behind blanks and comments. */
function blankEnd(expression: string, start: number): number {
  let at = start;
  for (;;) {
    if (expression.startsWith('--', at)) {
      while (at < expression.length && expression[at] !== '\n') at++;
    } else if (expression.startsWith('/*', at)) {
      const end = expression.indexOf('*/', at + 2);
      if (end === -1) throw sqlError(at, 'the comment has no end');
      at = end + 2;
    } else if (at < expression.length && expression[at]!.trim() === '') at++;
    else return at;
  }
}

function nextToken(expression: string, at: number, writing: SqlWriting): SqlToken {
  const word = match(WORDS[writing], expression, at);
  if (word !== '') return { kind: 'word', text: word, at };
  const number = match(NUMBERS[writing], expression, at);
  if (number !== '') return numberToken(expression, number, at, writing);
  const string = match(STRING, expression, at);
  if (string !== '') return { kind: 'string', text: string, value: string.slice(1, -1).replaceAll("''", "'"), at };
  const symbol = match(SYMBOL, expression, at);
  if (symbol !== '') return { kind: 'symbol', text: symbol, at };
  if (expression[at] === "'") throw sqlError(at, 'the text has no closing quote');
  throw sqlError(at, `${JSON.stringify(String.fromCodePoint(expression.codePointAt(at)!))} has no meaning here`);
}

function numberToken(expression: string, text: string, at: number, writing: SqlWriting): SqlToken {
  if (WORD_PART.test(expression[at + text.length] ?? ''))
    throw sqlError(at, `${text} is followed by what is no number`);
  const integer = INTEGER.exec(text)?.[1];
  const value = integer === undefined ? decimalOf(text) : integerOf(integer, at, writing);
  if (typeof value === 'bigint' ? value > INTEGER_MAX : !Number.isFinite(value)) {
    throw sqlError(at, 'the number is too large');
  }
  return { kind: 'number', text, value, at };
}

function integerOf(digits: string, at: number, writing: SqlWriting): bigint {
  if (writing === 'plain' || !/^0\d/.test(digits)) return BigInt(digits);
  if (!/^[0-7]+$/.test(digits)) throw sqlError(at, `${digits} begins with 0, but is not octal`);
  return BigInt(`0o${digits}`);
}

/** A float is as exact as that of a property. */
function decimalOf(text: string): number {
  const value = Number(text.replace(/[fFdD]$/, ''));
  return /[fF]$/.test(text) ? Math.fround(value) : value;
}

function match(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? '';
}
