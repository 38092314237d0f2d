import { randomBytes, scrypt, timingSafeEqual, type ScryptOptions } from 'node:crypto';

/** N, r, p as OWASP recommends for scrypt with 32 MiB of memory. */
const COST = { N: 32_768, r: 8, p: 1 } as const;
const KEY_BYTES = 32;
const SALT_BYTES = 16;
/** scrypt$N$r$p$salt$key, the last two in base64url. */
const VERIFIER = /^scrypt\$(\d{1,8})\$(\d{1,3})\$(\d{1,3})\$([\w-]{16,86})\$([\w-]{22,86})$/;

/** What a configuration keeps instead of a password. */
export interface PasswordVerifier {
  readonly N: number;
  readonly r: number;
  readonly p: number;
  readonly salt: Buffer;
  readonly key: Buffer;
}

/** Undefined when the text is not a verifier made by `hashPassword`. */
export function parseVerifier(text: string): PasswordVerifier | undefined {
  const parts = VERIFIER.exec(text);
  if (parts === null) return undefined;
  const [N, r, p] = parts.slice(1, 4).map(Number) as [number, number, number];
  // scrypt wants a power of two; the upper limits keep one login below a second or so.
  if (N < 2 || (N & (N - 1)) !== 0 || N > 2 ** 20 || r < 1 || r > 32 || p < 1 || p > 16) return undefined;
  return { N, r, p, salt: Buffer.from(parts[4]!, 'base64url'), key: Buffer.from(parts[5]!, 'base64url') };
}

/** The verifier to put into the configuration. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const key = await derive(Buffer.from(password), salt, KEY_BYTES, COST);
  return ['scrypt', COST.N, COST.r, COST.p, salt.toString('base64url'), key.toString('base64url')].join('$');
}

export async function verifyPassword(password: Uint8Array, verifier: PasswordVerifier): Promise<boolean> {
  const key = await derive(password, verifier.salt, verifier.key.length, verifier);
  return timingSafeEqual(key, verifier.key);
}

function derive(
  password: Uint8Array,
  salt: Buffer,
  bytes: number,
  { N, r, p }: { N: number; r: number; p: number },
): Promise<Buffer> {
  const options: ScryptOptions = { N, r, p, maxmem: 256 * N * r };
  return new Promise((resolve, reject) => {
    scrypt(password, salt, bytes, options, (error, key) => (error === null ? resolve(key) : reject(error)));
  });
}
