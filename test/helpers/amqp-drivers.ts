import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';

/**
 * AMQP clients in other languages. Each driver takes HOST:PORT, or `list` for the names of its scenarios, and prints a line
 * for each: `PASS name` or `FAIL name: why`.
 */

/** Why there is none; undefined when there is. */
export interface Availability {
  readonly missing: string | undefined;
}

// The Python that Debian installs packages for, whatever else is first in the path.
export const PYTHON = '/usr/bin/python3';
export const PROTON: Availability = {
  missing: works(PYTHON, ['-c', 'import proton'])
    ? undefined
    : `Proton for ${PYTHON} (Debian package python3-qpid-proton) is not installed`,
};

const jmsFolder = fileURLToPath(new URL('../../dist/jms/', import.meta.url));
export const JMS_COMMAND = ['java', '-cp', `${jmsFolder}classes:${jmsFolder}lib/*`, 'Main'] as const;
export const JMS: Availability = {
  missing:
    existsSync(`${jmsFolder}classes/Main.class`) && works('java', ['-version'])
      ? undefined
      : 'the JMS driver is not built (mvn -f test/interop/jms/pom.xml compile)',
};

function works(file: string, args: readonly string[]): boolean {
  return spawnSync(file, args, { stdio: 'ignore' }).status === 0;
}

export function scenariosOf(file: string, args: readonly string[]): string[] {
  return execFileSync(file, args, { encoding: 'utf8' }).trim().split('\n');
}

/** Runs all scenarios of a driver: each is one assertion. */
export async function reportDriver(
  t: Test,
  file: string,
  args: readonly string[],
  scenarios: readonly string[],
): Promise<void> {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => child.kill('SIGKILL'));
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const closed = once(child, 'close') as Promise<[number | null]>;
  const left = new Set(scenarios);
  for await (const line of createInterface({ input: child.stdout })) {
    const [, word, name] = /^(PASS|FAIL) ([^: ]+)/.exec(line) ?? [];
    if (name !== undefined && left.delete(name)) t.ok(word === 'PASS', word === 'PASS' ? name : line);
  }
  const [code] = await closed;
  t.same([...left], [], 'all were run', { code, errors });
}
