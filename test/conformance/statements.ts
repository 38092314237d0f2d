import { readFileSync } from 'node:fs';

/** What is said of one statement of a standard. */
export interface Coverage {
  readonly kind: 'test' | 'not applicable' | 'departs';
  /** The test by `<file>: <title>`, or the reason. */
  readonly text: string;
}

/** A normative statement: [MQTT-<number>]. */
export interface Statement {
  readonly number: string;
  readonly summary: string;
  readonly coverage: readonly Coverage[];
}

/** Reads a list of statements: a line that starts with a number begins one, indented lines say what covers it. */
export function readStatements(path: string): Statement[] {
  const statements: (Statement & { coverage: Coverage[] })[] = [];
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const start = /^(\d+\.\d+\.\d+-\d+) (.+)$/.exec(line);
    if (start !== null) statements.push({ number: start[1]!, summary: start[2]!, coverage: [] });
    else if (line.startsWith('  ')) statements.at(-1)!.coverage.push(coverageOf(line.trim()));
    else throw new Error(`${path}: neither a statement nor what covers one: ${line}`);
  }
  return statements;
}

function coverageOf(line: string): Coverage {
  for (const kind of ['not applicable', 'departs'] as const) {
    if (line.startsWith(`${kind}: `)) return { kind, text: line.slice(kind.length + 2) };
  }
  return { kind: 'test', text: line };
}

/** What is wrong with the numbers: sections map to how many statements they have, `absent` are numbers never given. */
export function numberFaults(
  statements: readonly Statement[],
  sections: Readonly<Record<string, number>>,
  absent: readonly string[],
): string[] {
  const expected = Object.entries(sections).flatMap(([section, count]) =>
    Array.from({ length: count }, (_, i) => `${section}-${i + 1}`).filter((number) => !absent.includes(number)),
  );
  const given = statements.map(({ number }) => number);
  return [
    ...expected.filter((number) => !given.includes(number)).map((number) => `${number} is missing`),
    ...given.filter((number) => !expected.includes(number)).map((number) => `${number} does not exist`),
    ...given.filter((number, i) => given.indexOf(number) !== i).map((number) => `${number} is there twice`),
  ];
}

/** The texts in quotes of a source file; `${...}` in a template stands for anything. */
export function quotedTexts(source: string): string[] {
  return [...source.matchAll(/'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g)].map(
    ([, single, double, template]) => single ?? double ?? template!,
  );
}

/** The titles of the tests of a source file, as they are written. */
export function testTitles(source: string): string[] {
  return [...source.matchAll(/\btest\(\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`)/g)].map(
    ([, single, double, template]) => single ?? double ?? template!,
  );
}

/**
 * Whether the file has a test of this title. A title that is put together, `refused: ${name}`, has to be found with a
 * text of the same file in its place; at the start or the end of a title, what is put in may also be left out.
 */
export function hasTest(source: string, title: string): boolean {
  const texts = new Set(quotedTexts(source));
  return testTitles(source).some((written) => {
    if (written === title) return true;
    if (!written.includes('${')) return false;
    if (written.replaceAll(/^\$\{[^}]*\} | \(.*\$\{[^}]*\}\)$/g, '') === title) return true;
    const pattern = written.split(/\$\{[^}]*\}/).map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    const match = new RegExp(`^${pattern.join('(.+)')}$`).exec(title);
    return match !== null && match.slice(1).every((part) => texts.has(part));
  });
}
