import { createInterface } from 'node:readline/promises';
import { hashPassword } from '../security/password.ts';
import { scramVerifierOf } from '../security/scram.ts';

/** Reads a password from standard input, so that it is in no shell history, and prints its verifier. */
export async function runHashPassword(forScram: boolean): Promise<void> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const password = await lines.question('password: ');
  lines.close();
  process.stdout.write(`${await (forScram ? scramVerifierOf(password) : hashPassword(password))}\n`);
}
