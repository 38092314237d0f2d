import { sqlError, sqlTokens, type SqlToken, type SqlWriting } from './sql-filter-lexer.ts';
import {
  asCondition,
  asNumber,
  asText,
  constant,
  refuseMixture,
  refuseNull,
  refuseOrder,
  type Operand,
} from './sql-filter-operands.ts';
import {
  and,
  calculate,
  compare,
  isNull,
  likePattern,
  negate,
  not,
  or,
  readLike,
  readNumber,
  textTest,
  TypedText,
  type Condition,
  type Evaluate,
  type NumberReader,
} from './sql-filter-values.ts';

/**
 * rocketmq: CONTAINS, STARTSWITH and ENDSWITH. jms: LIKE and arithmetic instead; values have types, and what compares those of
 * different types is false (Jakarta Messaging 3.8.1.2). A property that is only known as text counts as the number or the truth
 * value it reads like, where it is compared with one.
 */
export type SqlDialect = 'rocketmq' | 'jms';

interface Dialect {
  readonly words: ReadonlySet<string>;
  readonly writing: SqlWriting;
  readonly hasArithmetic: boolean;
  readonly isTyped: boolean;
  readonly read: NumberReader;
}

/** Parentheses, NOT and signs inside each other. */
const DEPTH_MAX = 64;
/** Characters of a text that is looked for in a property: together with the property's own length it bounds the work. */
const PATTERN_CHARS_MAX = 512;

const WORDS = ['AND', 'OR', 'NOT', 'BETWEEN', 'IN', 'IS', 'NULL', 'TRUE', 'FALSE'];
const DIALECTS: Readonly<Record<SqlDialect, Dialect>> = {
  rocketmq: {
    words: new Set([...WORDS, 'CONTAINS', 'STARTSWITH', 'ENDSWITH']),
    writing: 'plain',
    hasArithmetic: false,
    isTyped: false,
    read: readLike,
  },
  jms: {
    words: new Set([...WORDS, 'LIKE', 'ESCAPE']),
    writing: 'java',
    hasArithmetic: true,
    isTyped: true,
    read: readNumber,
  },
};

/**
 * Compiles an expression to closures.
 * @throws BrokerError ILLEGAL_FILTER_EXPRESSION, saying where
 */
export function parseSql(expression: string, dialect: SqlDialect): Condition {
  return new SqlParser(expression, DIALECTS[dialect]).parse();
}

/** Recursive descent: one method per level of precedence, the loosest first. */
class SqlParser {
  private readonly tokens: readonly SqlToken[];
  private readonly dialect: Dialect;
  private next = 0;
  private depth = 0;

  constructor(expression: string, dialect: Dialect) {
    this.tokens = sqlTokens(expression, dialect.writing);
    this.dialect = dialect;
  }

  parse(): Condition {
    const condition = asCondition(this.disjunction());
    if (this.token.kind !== 'end') throw this.unexpected();
    return condition;
  }

  private get token(): SqlToken {
    return this.tokens[this.next]!;
  }

  private disjunction(): Operand {
    return this.joined('OR', () => this.conjunction(), or);
  }

  private conjunction(): Operand {
    return this.joined('AND', () => this.negation(), and);
  }

  private joined(word: string, parsePart: () => Operand, join: (parts: readonly Condition[]) => Condition): Operand {
    const first = parsePart();
    if (!this.isWord(word)) return first;
    const conditions = [asCondition(first)];
    while (this.takeWord(word)) conditions.push(asCondition(parsePart()));
    return { kind: 'condition', at: first.at, evaluate: join(conditions) };
  }

  private negation(): Operand {
    const { at } = this.token;
    if (!this.takeWord('NOT')) return this.equality();
    const operand = this.nested(() => this.negation());
    return { kind: 'condition', at, evaluate: not(asCondition(operand)) };
  }

  private equality(): Operand {
    const left = this.comparison();
    if (this.takeWord('IS')) {
      const isNegated = this.takeWord('NOT');
      if (!this.takeWord('NULL')) throw this.unexpected('NULL');
      const test = isNull(left.evaluate);
      return { kind: 'condition', at: left.at, evaluate: isNegated ? not(test) : test };
    }
    const operator = this.takeSymbol('=', '<>');
    if (operator === undefined) return left;
    return this.compared(operator, left, this.comparison());
  }

  private comparison(): Operand {
    const left = this.sum();
    const operator = this.takeSymbol('<=', '>=', '<', '>');
    if (operator !== undefined) return this.compared(operator, left, this.sum());
    const isNegated = this.takeWord('NOT');
    const test = this.predicate(left);
    if (test === undefined) {
      if (isNegated) throw this.unexpected('BETWEEN, IN or the like');
      return left;
    }
    return { kind: 'condition', at: left.at, evaluate: isNegated ? not(test) : test };
  }

  /** What a word says of the operand before it. */
  private predicate(left: Operand): Condition | undefined {
    const { at } = this.token;
    if (this.takeWord('BETWEEN')) {
      const low = this.sum();
      if (!this.takeWord('AND')) throw this.unexpected('AND');
      const conditions = [this.compared('>=', left, low), this.compared('<=', left, this.sum())];
      return and(conditions.map(asCondition));
    }
    if (this.takeWord('IN')) return this.membership(left);
    if (this.takeWord('LIKE')) return this.likeness(left, at);
    if (this.takeWord('CONTAINS')) return this.search(left, (text, part) => text.includes(part));
    if (this.takeWord('STARTSWITH')) return this.search(left, (text, part) => text.startsWith(part));
    if (this.takeWord('ENDSWITH')) return this.search(left, (text, part) => text.endsWith(part));
    return undefined;
  }

  private membership(left: Operand): Condition {
    if (this.takeSymbol('(') === undefined) throw this.unexpected('(');
    const texts = new Set<string>();
    do texts.add(this.string().value);
    while (this.takeSymbol(',') !== undefined);
    if (this.takeSymbol(')') === undefined) throw this.unexpected(')');
    return textTest(asText(left), (text) => texts.has(text));
  }

  private search(left: Operand, test: (text: string, part: string) => boolean): Condition {
    const { value, at } = this.string();
    if (value.length > PATTERN_CHARS_MAX) throw sqlError(at, `the text is longer than ${PATTERN_CHARS_MAX} characters`);
    return textTest(asText(left), (text) => test(text, value));
  }

  private likeness(left: Operand, at: number): Condition {
    const { value } = this.string();
    if (value.length > PATTERN_CHARS_MAX) throw sqlError(at, `the text is longer than ${PATTERN_CHARS_MAX} characters`);
    const escape = this.takeWord('ESCAPE') ? this.string() : undefined;
    if (escape !== undefined && Array.from(escape.value).length !== 1) {
      throw sqlError(escape.at, 'one character can be the escape character');
    }
    const test = likePattern(value, escape?.value);
    if (test === undefined) throw sqlError(at, 'the escape character stands before neither %, _ nor itself');
    return textTest(asText(left), test);
  }

  private sum(): Operand {
    return this.calculated(['+', '-'], () => this.product());
  }

  private product(): Operand {
    return this.calculated(['*', '/'], () => this.signed());
  }

  private calculated(operators: readonly string[], parsePart: () => Operand): Operand {
    const first = parsePart();
    if (!this.dialect.hasArithmetic) return first;
    const rest: { operator: string; value: Evaluate }[] = [];
    for (;;) {
      const operator = this.takeSymbol(...operators);
      if (operator === undefined) break;
      rest.push({ operator, value: asNumber(parsePart()).evaluate });
    }
    if (rest.length === 0) return first;
    return { kind: 'number', at: first.at, evaluate: calculate(asNumber(first).evaluate, rest) };
  }

  private signed(): Operand {
    const { at } = this.token;
    const sign = this.takeSymbol('+', '-');
    if (sign === undefined) return this.primary();
    const operand = asNumber(this.nested(() => this.signed()));
    if (operand.kind === 'constant') {
      const value = operand.value as number | bigint;
      return constant(sign === '-' ? -value : value, at);
    }
    return { kind: 'number', at, evaluate: sign === '-' ? negate(operand.evaluate) : calculate(operand.evaluate, []) };
  }

  private primary(): Operand {
    const { token } = this;
    if (token.kind === 'string' || token.kind === 'number') {
      this.next++;
      const { value, at } = token;
      if (typeof value !== 'string' || !this.dialect.isTyped) return constant(value, at);
      const typed = new TypedText(value);
      return { kind: 'constant', at, value, evaluate: () => typed };
    }
    if (this.takeSymbol('(') !== undefined) {
      const inner = this.nested(() => this.disjunction());
      if (this.takeSymbol(')') === undefined) throw this.unexpected(')');
      return inner;
    }
    if (this.takeWord('NULL')) return constant(undefined, token.at);
    if (this.takeWord('TRUE')) return constant(true, token.at);
    if (this.takeWord('FALSE')) return constant(false, token.at);
    if (token.kind !== 'word' || this.dialect.words.has(wordOf(token.text))) {
      throw this.unexpected('a property or a value');
    }
    this.next++;
    const name = token.text;
    return { kind: 'property', at: token.at, evaluate: (properties) => properties.get(name) };
  }

  private compared(operator: string, left: Operand, right: Operand): Operand {
    for (const operand of [left, right]) {
      if (operator === '=' || operator === '<>') refuseNull(operand);
      else refuseOrder(operand, operator);
    }
    refuseMixture(left, right);
    refuseMixture(right, left);
    const { read, isTyped } = this.dialect;
    const evaluate = compare(operator, left.evaluate, right.evaluate, read, isTyped);
    return { kind: 'condition', at: left.at, evaluate };
  }

  private nested<T>(parse: () => T): T {
    if (++this.depth > DEPTH_MAX) throw sqlError(this.token.at, `it is nested more than ${DEPTH_MAX} deep`);
    const result = parse();
    this.depth--;
    return result;
  }

  private string(): Extract<SqlToken, { kind: 'string' }> {
    const { token } = this;
    if (token.kind !== 'string') throw this.unexpected("a 'text'");
    this.next++;
    return token;
  }

  private isWord(word: string): boolean {
    const { token, dialect } = this;
    return token.kind === 'word' && dialect.words.has(word) && wordOf(token.text) === word;
  }

  private takeWord(word: string): boolean {
    const isThere = this.isWord(word);
    if (isThere) this.next++;
    return isThere;
  }

  private takeSymbol(...symbols: readonly string[]): string | undefined {
    const { token } = this;
    if (token.kind !== 'symbol' || !symbols.includes(token.text)) return undefined;
    this.next++;
    return token.text;
  }

  private unexpected(wanted?: string) {
    const { text, at } = this.token;
    return sqlError(at, wanted === undefined ? `${text} is not expected` : `${wanted} is expected, not ${text}`);
  }
}

/** In capitals, but no other letter becomes one of A to Z by that. */
function wordOf(text: string): string {
  return /^[a-zA-Z]+$/.test(text) ? text.toUpperCase() : text;
}
