import { BrokerError } from './broker-error.ts';

/** RocketMQ sets no limit; this is far beyond what its documentation shows, and bounds the work of one message. */
const EXPRESSION_CHARS_MAX = 8192;

export type SqlToken =
  | { readonly kind: 'word' | 'symbol' | 'end'; readonly text: string; readonly at: number }
  | { readonly kind: 'string'; readonly text: string; readonly value: string; readonly at: number }
  /** An integer is a bigint, so that it stays one, and is compared exactly. */
  | { readonly kind: 'number'; readonly text: string; readonly value: bigint | number; readonly at: number };

// Each of them looks at a character once.
const WORD = /[a-zA-Z_$][a-zA-Z0-9_$]*/y;
const NUMBER = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
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
export function sqlTokens(expression: string): SqlToken[] {
  if (expression.length > EXPRESSION_CHARS_MAX) {
    throw sqlError(EXPRESSION_CHARS_MAX, `it is longer than ${EXPRESSION_CHARS_MAX} characters`);
  }
  const tokens: SqlToken[] = [];
  let at = 0;
  for (;;) {
    at = blankEnd(expression, at);
    const token = at === expression.length ? { kind: 'end' as const, text: 'the end', at } : nextToken(expression, at);
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

function nextToken(expression: string, at: number): SqlToken {
  const word = match(WORD, expression, at);
  if (word !== '') return { kind: 'word', text: word, at };
  const number = match(NUMBER, expression, at);
  if (number !== '') return numberToken(expression, number, at);
  const string = match(STRING, expression, at);
  if (string !== '') return { kind: 'string', text: string, value: string.slice(1, -1).replaceAll("''", "'"), at };
  const symbol = match(SYMBOL, expression, at);
  if (symbol !== '') return { kind: 'symbol', text: symbol, at };
  if (expression[at] === "'") throw sqlError(at, 'the text has no closing quote');
  throw sqlError(at, `${JSON.stringify(String.fromCodePoint(expression.codePointAt(at)!))} has no meaning here`);
}

function numberToken(expression: string, digits: string, at: number): SqlToken {
  const isInteger = /^\d+$/.test(digits);
  const suffix = isInteger && /^[lL]/.test(expression.slice(at + digits.length, at + digits.length + 1)) ? 1 : 0;
  const text = expression.slice(at, at + digits.length + suffix);
  if (WORD_PART.test(expression[at + text.length] ?? ''))
    throw sqlError(at, `${text} is followed by what is no number`);
  const value = isInteger ? BigInt(digits) : Number(digits);
  if (typeof value === 'bigint' ? value > INTEGER_MAX : !Number.isFinite(value)) {
    throw sqlError(at, 'the number is too large');
  }
  return { kind: 'number', text, value, at };
}

function match(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? '';
}
