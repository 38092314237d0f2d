import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { hashPassword } from '../security/password.ts';
import { scramVerifierOf } from '../security/scram.ts';

/** Reads a password from standard input, so that it is in no shell history, and prints its verifier. */
export async function runHashPassword(forScram: boolean): Promise<void> {
  const lines = createInterface({ input: process.stdin, output: process.stderr, prompt: 'password: ' });
  lines.prompt();
  // The last line of a file need not have an end.
  const [password] = (await Promise.race([once(lines, 'line'), once(lines, 'close')])) as [string?];
  lines.close();
  if (password === undefined) throw new Error('no password was given');
  process.stdout.write(`${await (forScram ? scramVerifierOf(password) : hashPassword(password))}\n`);
}
