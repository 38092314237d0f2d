import t from 'tap';
import { BrokerError } from '../../../core/model/broker-error.ts';
import { compileFilter } from '../../../core/model/filter.ts';
import { encodeMessage, type Property } from '../../../core/model/message.ts';
import { viewMessage } from '../../../core/model/message-view.ts';
import { parseSql, type SqlDialect } from '../../../core/model/sql-filter-parser.ts';
import type { SqlValue } from '../../../core/model/sql-filter-values.ts';
import { Random, seeds, testSeed } from '../../helpers/random.ts';

const PROPERTIES: readonly Property[] = [
  ['a', '5'],
  ['a', '6'],
  ['f', '21.5'],
  ['text', "it's"],
  ['yes', 'true'],
  ['no', 'FALSE'],
  ['big', '9007199254740993'],
  ['empty', ''],
  ['word', 'abc'],
  ['_x$1', '1'],
];
const MESSAGE = encodeMessage({
  address: 'x',
  body: Buffer.alloc(0),
  bornAt: 1,
  tag: 'TagA',
  keys: ['k1', 'k2'],
  properties: PROPERTIES,
});

function passes(expression: string, message = MESSAGE): boolean {
  const filter = compileFilter({ type: 'SQL92', expression })!;
  return filter(message, () => viewMessage(message, new Map()));
}

/** The error of an expression that is refused; undefined when it is not. */
function errorOf(expression: string, dialect: SqlDialect = 'rocketmq'): BrokerError | undefined {
  try {
    parseSql(expression, dialect);
    return undefined;
  } catch (error) {
    if (error instanceof BrokerError) return error;
    throw error;
  }
}

void t.test('what passes and what does not', async (t) => {
  const yes = [
    'a = 5 and a <> 6 And NOT a = 6',
    'a > 4 AND a >= 5 AND a < 6 AND a <= 5',
    "a = '5'",
    'a BETWEEN 5 AND 5 AND a NOT BETWEEN 6 AND 9',
    'f > 20.0 AND f > 2e1 AND f < 22. AND f > .5',
    'f = 21.50',
    "word IN ('x', 'abc') AND word NOT IN ('x')",
    "text = 'it''s'",
    "text CONTAINS '''' AND word STARTSWITH 'ab' AND word ENDSWITH 'bc' AND word NOT CONTAINS 'x'",
    'missing IS NULL AND a IS NOT NULL AND empty IS NOT NULL',
    "TAGS = 'TagA' AND TAGS IS NOT NULL AND KEYS = 'k1 k2'",
    'yes = TRUE AND no = FALSE AND yes <> no AND yes AND NOT no',
    '(a = 5) = TRUE AND (a = 6) = FALSE',
    'TRUE',
    'a = 6 OR a = 5',
    'a = 5 OR missing = 1',
    'big = 9007199254740993 AND big > 9007199254740992 AND big <> 9007199254740992',
    'a > -5 AND a > +4 AND -a = -5 AND a = 5L AND 5 = a',
    '_x$1 = 1',
    'a = 5 -- a comment\n AND /* and * another **/ a = 5',
    '((((a = 5))))',
    'a = 1 OR a = 5 AND a = 5',
    "empty = ''",
  ];
  const no = [
    'a = 6',
    'missing = 1',
    'missing <> 1',
    'NOT missing = 1',
    'missing > 1 OR missing <= 1',
    "missing IN ('a')",
    "missing NOT IN ('a')",
    "NOT missing CONTAINS 'a'",
    'NOT (missing = 1 AND a = 5)',
    'missing',
    // RocketMQ: a text that is no integer is not compared with one.
    'f > 20',
    'NOT f > 20',
    'word > 1 OR word <= 1',
    'word = 1 OR word <> 1',
    'word = TRUE OR word = FALSE',
    'word',
    'word < text',
    "a = '5.0'",
    'A = 5',
    "tags = 'TagA'",
    'big = 9007199254740992',
    '(a = 5 OR a = 5) AND a = 6',
    'FALSE',
    'a < word',
    'a > 99999999999999999.5',
  ];
  for (const expression of yes) t.equal(passes(expression), true, expression);
  for (const expression of no) t.equal(passes(expression), false, expression);
  const untagged = encodeMessage({ address: 'x', body: Buffer.alloc(0), bornAt: 1 });
  t.equal(passes('TAGS IS NULL AND KEYS IS NULL', untagged), true);
  t.equal(passes(`a = 5${' AND a = 5'.repeat(800)}`), true, 'a long list is not a deep one');
});

void t.test('what is refused says where', async (t) => {
  const cases: [string, number, RegExp][] = [
    ['', 1, /empty/],
    ['  ', 1, /empty/],
    ['a =', 4, /a property or a value is expected, not the end/],
    ['a = 5 b', 7, /b is not expected/],
    ["a > '5'", 5, /> compares numbers only/],
    ['a < TRUE', 5, /numbers only/],
    ["a BETWEEN '1' AND '2'", 11, /numbers only/],
    ['(a = 1) > 5', 2, /numbers only|true or false/],
    ['a = NULL', 5, /IS NULL/],
    ['a IS 5', 6, /NULL is expected, not 5/],
    ['a IN (1)', 7, /a 'text' is expected/],
    ["a IN ('x'", 10, /\) is expected, not the end/],
    ['a IN ()', 7, /text/],
    ['a CONTAINS b', 12, /text/],
    ['a BETWEEN 1 OR 2', 13, /AND is expected/],
    ['a NOT 5', 7, /BETWEEN/],
    ['(a = 1', 7, /\) is expected/],
    ['a = 1)', 6, /\) is not expected/],
    ['5', 1, /neither true nor false/],
    ["'x' OR a = 1", 1, /neither true nor false/],
    ['a = 5 AND 7', 11, /neither true nor false/],
    ['(a = 1) = 5', 11, /true or false/],
    ["a = 'x", 5, /closing quote/],
    ['a = 5 /* x', 7, /comment has no end/],
    ['a != 5', 3, /"!" has no meaning/],
    ['a = "x"', 5, /has no meaning/],
    ['a = ü', 5, /"ü" has no meaning/],
    ['a = 𝄞', 5, /"𝄞" has no meaning/],
    ['a = 5x', 5, /followed by/],
    ['a = 1.2.3', 5, /followed by/],
    ['a = 9223372036854775809', 5, /too large/],
    ['a = 1e999', 5, /too large/],
    ['AND = 5', 1, /a property or a value/],
    ["5 CONTAINS 'x'", 1, /not a text/],
    ["-'x' = 5", 2, /not a number/],
    ['a + 1 = 6', 3, /\+ is not expected/],
    ["a LIKE 'x'", 3, /LIKE is not expected/],
    ["a = 5 OR a CONTAINS '".concat('x'.repeat(513), "'"), 21, /longer than 512/],
    [`${'('.repeat(65)}a = 1${')'.repeat(65)}`, 66, /nested more than 64/],
    [`${'NOT '.repeat(65)}a = 1`, 261, /nested more than 64/],
    [`a = ${'-'.repeat(1)}${'+'.repeat(65)}5`, 70, /nested more than 64/],
    [`a = '${'x'.repeat(9000)}'`, 8193, /longer than 8192/],
  ];
  for (const [expression, at, reason] of cases) {
    t.throws(() => compileFilter({ type: 'SQL92', expression }), {
      code: 'ILLEGAL_FILTER_EXPRESSION',
      message: new RegExp(`at character ${at}: .*(${reason.source})`),
    });
  }
});

void t.test('the JMS dialect: LIKE and arithmetic', async (t) => {
  const values: Record<string, SqlValue> = {
    n: 5,
    f: '21.5',
    s: 'a_b%c',
    u: '𝄞x',
    d: 2.5,
    yes: true,
    l: 5n,
    float: Math.fround(0.1),
  };
  Object.assign(values, { größe: 5n, λ_1: 5, '€$': 5, ſ: 'no keyword' });
  const evaluate = (expression: string) => parseSql(expression, 'jms')({ get: (name) => values[name] });
  const cases: [string, boolean | undefined][] = [
    ['n + 1 = 6 AND n * 2 - 1 = 9 AND n / 2 = 2.5 AND 1 + 2 * 3 = 7 AND (1 + 2) * 3 = 9', true],
    ['f > 20 AND f * 2 = 43', true],
    ['n / 0 = 1', undefined],
    ['missing + 1 = 1', undefined],
    ['s + 1 = 1', undefined],
    ['-n = -5 AND l = 5 AND l = n AND d = 2.5', true],
    ['yes AND NOT (yes = FALSE)', true],
    ["s LIKE 'a%' AND s LIKE '%c' AND s LIKE '_\\__%' ESCAPE '\\' AND s LIKE '%b!%c' ESCAPE '!'", true],
    ["s LIKE 'a_b' OR s LIKE 'a' OR s LIKE '' OR s LIKE '%d%'", false],
    ["s NOT LIKE 'x%' AND u LIKE '_x'", true],
    ["missing LIKE '%'", undefined],
    ["n LIKE '5'", undefined],
    ["s NOT IN ('x') AND contains IS NULL", true],
    // Java's numbers, and its arithmetic of integers.
    ['d = 2.5f AND d = 2.5F AND d = 2.5d AND d = 25e-1D AND 5d = n AND 5f = n AND 1e3 = 1000 AND 7. > 6', true],
    ['float = 0.1f AND NOT float = 0.1 AND float <> 0.1d', true],
    ['0x1F = 31 AND 0Xffl = 255 AND 0b101 = 5 AND 017 = 15 AND 00 = 0 AND 017L = 15 AND 10L = 10 AND 017d = 17', true],
    ['-0x10 = -16 AND 0x7fffffffffffffff = 9223372036854775807 AND 0x1D = 29 AND 0xF + 1 = 16', true],
    ['l / 2 = 2 AND l / 2.0 = 2.5 AND n / 2 = 2.5 AND -7 / 2 = -3 AND 5 / 2 * 2 = 4 AND 10 * l / 4 = 12', true],
    ['l / 0 = 1', undefined],
    ['9007199254740992 + 1 = 9007199254740993 AND l * 1801439850948199 = 9007199254740995', true],
    ['9223372036854775807 + 1 < 0', true],
    // Java's names, and no keyword in other letters.
    ["größe = 5 AND λ_1 = 5 AND €$ = 5 AND ſ = 'no keyword' AND ıN IS NULL", true],
  ];
  for (const [expression, value] of cases) t.equal(evaluate(expression), value, expression);
  t.match(errorOf('a = 08', 'jms'), { message: /at character 5: 08 begins with 0, but is not octal/ });
  for (const number of ['0x', '0xg', '1.5L', '5dd', '1e3x', '0b2', '0x1.8']) {
    t.match(errorOf(`a = ${number}`, 'jms'), { message: /at character 5: .* is followed by what is no number/ });
  }
  for (const number of ['0x8000000000000001', '1e999d']) {
    t.match(errorOf(`a = ${number}`, 'jms'), { message: /at character 5: the number is too large/ });
  }
  for (const number of ['5d', '1.5f', '0x1F']) t.match(errorOf(`a = ${number}`), { message: /no number/ }, 'RocketMQ');
  t.match(errorOf("a LIKE 'x' ESCAPE 'xy'", 'jms'), { message: /at character 19: one character/ });
  t.match(errorOf("a LIKE 'x!y' ESCAPE '!'", 'jms'), { message: /escape character stands before/ });
  t.match(errorOf("a LIKE 'x!' ESCAPE '!'", 'jms'), { message: /escape character stands before/ });
  t.match(errorOf("a CONTAINS 'x'", 'jms'), { message: /CONTAINS is not expected/ });
  const started = performance.now();
  const slow = parseSql(`s LIKE '${'%a'.repeat(255)}b'`, 'jms');
  t.equal(slow({ get: () => 'a'.repeat(65_535) }), false);
  t.ok(performance.now() - started < 5_000, 'the worst pattern takes no more than text times pattern steps');
});

type Truth = boolean | undefined;
interface Tree {
  readonly text: string;
  readonly value: Truth;
}

const NUMBERS: Readonly<Record<string, number | undefined>> = { one: 1, two: 2, seven: 7, none: undefined };

/** A random expression, and what it has to be worth by the truth tables of SQL. */
function randomTree(random: Random, depth: number): Tree {
  const kind = depth === 0 ? 0 : random.below(4);
  if (kind === 0) return randomComparison(random);
  if (kind === 1) {
    const { text, value } = randomTree(random, depth - 1);
    return { text: `NOT (${text})`, value: value === undefined ? undefined : !value };
  }
  const parts = Array.from({ length: random.int(2, 4) }, () => randomTree(random, depth - 1));
  const deciding = kind === 3;
  const values = parts.map(({ value }) => value);
  const value = values.includes(deciding) ? deciding : values.includes(undefined) ? undefined : !deciding;
  const word = random.pick(deciding ? ['OR', 'or', ' OR '] : ['AND', 'aNd']);
  return { text: parts.map(({ text }) => `(${text})`).join(` ${word} `), value };
}

function randomComparison(random: Random): Tree {
  const name = random.pick(Object.keys(NUMBERS));
  const number = random.int(-1, 8);
  const left = NUMBERS[name];
  const known = (value: boolean): Truth => (left === undefined ? undefined : value);
  const high = number + random.below(3);
  const trees: Tree[] = [
    { text: `${name} = ${number}`, value: known(left === number) },
    { text: `${number} <> ${name}`, value: known(left !== number) },
    { text: `${name}<${number}`, value: known(left! < number) },
    { text: `${name}>=${number}`, value: known(left! >= number) },
    { text: `${name} BETWEEN ${number} AND ${high}`, value: known(left! >= number && left! <= high) },
    { text: `${name} NOT IN ('1', '2')`, value: known(left !== 1 && left !== 2) },
    { text: `${name} IS NULL`, value: left === undefined },
    { text: `${name} IS NOT NULL`, value: left !== undefined },
  ];
  return random.pick(trees);
}

void t.test('property: the truth tables of SQL hold', async (t) => {
  const properties = { get: (name: string): SqlValue => NUMBERS[name]?.toString() };
  for (const seed of seeds(5000)) {
    const { text, value } = randomTree(new Random(seed), 3);
    const got = parseSql(text, 'rocketmq')(properties);
    if (got !== value) t.fail(`seed ${seed}: ${text} is ${got}, not ${value}`);
  }
  t.pass();
});

const SCRAPS = (
  "a b TAGS AND OR NOT IN BETWEEN IS NULL TRUE FALSE CONTAINS STARTSWITH ENDSWITH LIKE ESCAPE ( ) ( ) , = <> < <= > >= + - * / ' '' " +
  "'x' 'a b' 5 1.5 .5 5L 1e9 -- /* */ \n ; ! \" ü 𝄞 \u0000 {} a.b 9999999999999999999 1.2.3 $ _ % \\"
).split(' ');

void t.test('fuzz: 100,000 expressions are taken or refused, and nothing else', async (t) => {
  const random = new Random(testSeed());
  let taken = 0;
  for (let i = 0; i < 100_000; i++) {
    const parts = random.chance(0.5)
      ? Array.from({ length: random.int(1, 12) }, () => random.pick(SCRAPS))
      : mutated(random, randomTree(random, 2).text);
    const expression = parts.join(random.chance(0.8) ? ' ' : '');
    try {
      const condition = parseSql(expression, random.chance(0.5) ? 'rocketmq' : 'jms');
      const value = condition({ get: () => random.pick(['5', 'x', '', 'true', undefined, 1.5, 7n, false]) });
      if (value !== undefined && typeof value !== 'boolean')
        t.fail(`${JSON.stringify(expression)} is ${String(value)}`);
      taken++;
    } catch (error) {
      const isRefusal = error instanceof BrokerError && error.code === 'ILLEGAL_FILTER_EXPRESSION';
      if (!isRefusal) t.fail(`seed ${random.seed}, ${JSON.stringify(expression)}: ${String(error)}`);
    }
  }
  t.ok(taken > 1000, `${taken} are expressions`);
});

/** A valid expression with some of its characters changed. */
function mutated(random: Random, text: string): string[] {
  const at = random.below(text.length);
  return [text.slice(0, at) + random.pick(SCRAPS) + text.slice(at + random.below(3))];
}

void t.test('message selectors compare by type, and text of other protocols by what it reads like', async (t) => {
  const message = encodeMessage({
    address: 'a',
    body: Buffer.alloc(0),
    bornAt: 1_000,
    messageId: 'ID:1',
    tag: 'news',
    messageGroup: 'g',
    correlationId: Buffer.from('c'),
    properties: [
      ['five', '5'],
      ['yes', 'true'],
      ['word', 'x'],
      ['number', '7'],
    ],
  });
  const view = viewMessage(message, new Map());
  const typed = new Map<string, string | number | bigint | boolean>([
    ['text', '5'],
    ['truth', 'true'],
    ['number', 7],
    ['long', 9007199254740993n],
    ['double', 2.5],
    ['nan', NaN],
    ['on', true],
  ]);
  const passes = (expression: string): boolean =>
    compileFilter({ type: 'JMS', expression })!(message, () => ({ ...view, typed }));
  const cases: [string, boolean][] = [
    // A text that is one is no number and no truth value, whatever is said of it.
    ["text = '5'", true],
    ['text = 5', false],
    ['text <> 5', false],
    ['NOT (text = 5)', true],
    ['NOT (text <> 5)', true],
    ['text > 4', false],
    ['text + 1 = 6', false],
    ['text BETWEEN 4 AND 6', false],
    ['truth', false],
    ['truth = TRUE', false],
    ["truth = 'true'", true],
    ["text LIKE '_' AND text IN ('5', '6') AND text NOT IN ('x')", true],
    // Numbers and truth values.
    ['number = 7 AND number = 7.0 AND number <> 8 AND number BETWEEN 7 AND 8 AND number NOT BETWEEN 8 AND 9', true],
    ["number = '7'", false],
    ["number <> '7'", false],
    ["number IN ('7')", false],
    ["number LIKE '7'", false],
    ['long = 9007199254740993 AND long <> 9007199254740992 AND long > 9007199254740992', true],
    ['double = 2.5 AND double * 2 = 5 AND -double < 0 AND double > long - long', true],
    ['nan = nan OR nan <> nan OR nan > 0 OR nan = 5', false],
    ['on AND on = TRUE AND on <> FALSE', true],
    ['on = 1 OR on <> 1', false],
    ['NOT (on = number)', true],
    ["on = 'true'", false],
    // Only known as text.
    ["five = 5 AND five = '5' AND five > 4.5 AND five + 1 = 6 AND five BETWEEN 5 AND 5", true],
    ["yes AND yes = TRUE AND yes = 'true'", true],
    ['word = 5 OR word <> 5', false],
    ['word', false],
    ['text = five', true],
    // What is not there is not known.
    ['none = 5 OR none <> 5 OR NOT (none = 5) OR none OR NOT none', false],
    ["none LIKE '%' OR none NOT LIKE '%' OR none IN ('x') OR none NOT IN ('x')", false],
    ['none BETWEEN 1 AND 2 OR none NOT BETWEEN 1 AND 2 OR none + 1 > 0', false],
    ['none IS NULL AND five IS NOT NULL AND text IS NOT NULL', true],
    ['none = 5 OR five = 5', true],
    ['NOT (none = 5 AND five = 6)', true],
    ["word LIKE 'x' AND word NOT LIKE 'x_' AND word LIKE '%!%' ESCAPE '!'", false],
    // Header fields.
    ["JMSMessageID = 'ID:1' AND JMSType = 'news' AND JMSXGroupID = 'g' AND JMSCorrelationID = 'c'", true],
    ["JMSMessageID LIKE 'ID:%' AND JMSType IN ('news', 'sport')", true],
    ['JMSPriority = 4 AND JMSTimestamp = 1000 AND JMSTimestamp BETWEEN 0 AND 5 * 1000', true],
    ["JMSDeliveryMode = 'PERSISTENT'", true],
    ['JMSXDeliveryCount IS NULL AND jmsPriority IS NULL AND JMSExpiration = 0', true],
    ['JMSTimestamp / 300 = 3 AND JMSPriority / 3 = 1', true],
    ["JMSPriority = '4'", false],
  ];
  for (const [expression, value] of cases) t.equal(passes(expression), value, expression);
  t.equal(compileFilter({ type: 'JMS', expression: ' ' }), undefined, 'an empty selector is none');
  for (const expression of [
    'a =',
    'a LIKE 5',
    'a BETWEEN 1',
    'a IN ()',
    'a IS',
    '= 5',
    "a LIKE 'x' ESCAPE ''",
    'a = = 5',
  ]) {
    t.throws(() => compileFilter({ type: 'JMS', expression }), { code: 'ILLEGAL_FILTER_EXPRESSION' }, expression);
  }
});
