import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto';
import type { AuthExchange, AuthStep, Principal } from '../../core/ports/authenticator.ts';

/** SCRAM-SHA-256, the server's side (RFC 5802 with the hash of RFC 7677), without channel binding. */
export const SCRAM_METHOD = 'SCRAM-SHA-256';

/** The client has to do the same work at each login, and may be a small device; RFC 7677 wants 4096 at least. */
const ITERATIONS = 16_384;
/** One login with a plain password stays below a second or so. */
const ITERATIONS_MAX = 1_000_000;
const SALT_BYTES = 16;
const KEY_BYTES = 32;
const NONCE_BYTES = 18;
/** Far more than a name and a nonce need. */
const MESSAGE_BYTES_MAX = 4096;
const BASE64 = '[A-Za-z0-9+/]+={0,2}';
/** SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, in base64: the text PostgreSQL keeps, too. */
const VERIFIER = new RegExp(`^SCRAM-SHA-256\\$(\\d{4,7}):(${BASE64})\\$(${BASE64}):(${BASE64})$`);
/** The mandatory extension (m=) is refused by not being there [RFC 5802, 5.1]. */
const CLIENT_FIRST = /^(([ny]),(?:a=([^,]*))?,)(n=([^,]*),r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,\0]+)*)$/;
const CLIENT_FINAL = new RegExp(`^(c=(${BASE64}),r=([\\x21-\\x2b\\x2d-\\x7e]+)(?:,[A-Za-z]=[^,\\0]+)*),p=(${BASE64})$`);

/** What a configuration keeps instead of a password; whoever reads it cannot log in with it. */
export interface ScramVerifier {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** Undefined when the text is not a verifier as `scramVerifierOf` makes them. */
export function parseScramVerifier(text: string): ScramVerifier | undefined {
  const parts = VERIFIER.exec(text);
  if (parts === null) return undefined;
  const iterations = Number(parts[1]);
  const [salt, storedKey, serverKey] = parts.slice(2).map((part) => Buffer.from(part, 'base64')) as Buffer[];
  if (iterations < 4096 || iterations > ITERATIONS_MAX || salt!.length < 8 || salt!.length > 64) return undefined;
  if (storedKey!.length !== KEY_BYTES || serverKey!.length !== KEY_BYTES) return undefined;
  return { iterations, salt: salt!, storedKey: storedKey!, serverKey: serverKey! };
}

/** The verifier to put into the configuration. */
export async function scramVerifierOf(
  password: string,
  iterations = ITERATIONS,
  salt = randomBytes(SALT_BYTES),
): Promise<string> {
  const { storedKey, serverKey } = await keysOf(password, salt, iterations);
  const [saltText, storedText, serverText] = [salt, storedKey, serverKey].map((bytes) => bytes.toString('base64'));
  return `${SCRAM_METHOD}$${iterations}:${saltText}$${storedText}:${serverText}`;
}

/** For a password that came as it is. */
export async function verifyScramPassword(password: Uint8Array, verifier: ScramVerifier): Promise<boolean> {
  const text = decodeUtf8(password);
  if (text === undefined) return false;
  const { storedKey } = await keysOf(text, verifier.salt, verifier.iterations);
  return timingSafeEqual(storedKey, verifier.storedKey);
}

/**
 * Names and passwords may be written in several ways that look alike. Of SASLprep (RFC 4013) this is the part that matters in
 * practice, NFKC, which also makes all kinds of spaces one; characters it would remove or forbid are taken as they are.
 */
export function prepared(text: string): string {
  return text.normalize('NFKC');
}

export interface ScramUser {
  readonly principal: Principal;
  readonly verifier: ScramVerifier;
}

/** The users who can log in by SCRAM, by their prepared name; there is at least one. */
export class ScramUsers {
  private readonly users: ReadonlyMap<string, ScramUser>;
  private readonly verifiers: readonly ScramVerifier[];

  constructor(users: ReadonlyMap<string, ScramUser>) {
    this.users = users;
    this.verifiers = [...users.values()].map(({ verifier }) => verifier);
  }

  find(name: string): ScramUser | undefined {
    return this.users.get(name);
  }

  /**
   * The verifier of an unknown user, which no proof fits: always the same for the same name, after a restart as well, and like those of real
   * users, so that nobody learns from it who exists. The secret behind it is a key of the first user.
   */
  pretended(name: string): ScramVerifier {
    const bytes = hmac(this.verifiers[0]!.serverKey, `unknown user ${name}`);
    const like = this.verifiers[bytes.readUInt32LE(0) % this.verifiers.length]!;
    const salt = createHash('sha512').update(bytes).digest().subarray(0, like.salt.length);
    return { salt, iterations: like.iterations, storedKey: hmac(bytes, 'stored'), serverKey: hmac(bytes, 'server') };
  }
}

/** One login. Any message that is not as it has to be ends it; why is not told. */
export class ScramExchange implements AuthExchange {
  private readonly users: ScramUsers;
  private readonly nonce: string;
  private state: 'first' | 'final' | 'ended' = 'first';
  private principal: Principal | undefined;
  private verifier!: ScramVerifier;
  private gs2Header = '';
  private combinedNonce = '';
  /** Of the AuthMessage [RFC 5802, 3], without the client's last message. */
  private messages = '';

  /** @param nonce printable characters without comma */
  constructor(users: ScramUsers, nonce = randomBytes(NONCE_BYTES).toString('base64')) {
    this.users = users;
    this.nonce = nonce;
  }

  async step(data: Uint8Array): Promise<AuthStep> {
    const { state } = this;
    this.state = 'ended';
    const text = data.length > MESSAGE_BYTES_MAX ? undefined : decodeUtf8(data);
    if (text === undefined || state === 'ended') return REFUSED;
    return state === 'first' ? this.first(text) : this.final(text);
  }

  private first(text: string): AuthStep {
    const parts = CLIENT_FIRST.exec(text);
    if (parts === null) return REFUSED;
    const [, gs2Header, , identity, bare, saslName, clientNonce] = parts;
    const name = nameOf(saslName!);
    // Nobody may act as somebody else.
    if (name === undefined || (identity !== undefined && nameOf(identity) !== name)) return REFUSED;
    const user = this.users.find(name);
    this.principal = user?.principal;
    this.verifier = user?.verifier ?? this.users.pretended(name);
    this.gs2Header = gs2Header!;
    this.combinedNonce = clientNonce! + this.nonce;
    const { salt, iterations } = this.verifier;
    const answer = `r=${this.combinedNonce},s=${salt.toString('base64')},i=${iterations}`;
    this.messages = `${bare},${answer}`;
    this.state = 'final';
    return { kind: 'continue', data: Buffer.from(answer) };
  }

  private final(text: string): AuthStep {
    const parts = CLIENT_FINAL.exec(text);
    if (parts === null) return REFUSED;
    const [, withoutProof, binding, nonce, proofText] = parts;
    // The header again: nobody in between has changed it.
    if (binding !== Buffer.from(this.gs2Header).toString('base64') || nonce !== this.combinedNonce) return REFUSED;
    const proof = Buffer.from(proofText!, 'base64');
    if (proof.length !== KEY_BYTES) return REFUSED;
    const { principal, verifier } = this;
    const authMessage = `${this.messages},${withoutProof}`;
    const signature = hmac(verifier.storedKey, authMessage);
    const clientKey = Buffer.from(proof.map((byte, i) => byte ^ signature[i]!));
    if (!timingSafeEqual(sha256(clientKey), verifier.storedKey) || principal === undefined) return REFUSED;
    const serverSignature = hmac(verifier.serverKey, authMessage).toString('base64');
    return { kind: 'done', principal, data: Buffer.from(`v=${serverSignature}`) };
  }
}

const REFUSED: AuthStep = { kind: 'refused' };

/** The prepared name of a saslname, in which `,` and `=` are written as =2C and =3D; undefined when it is none. */
function nameOf(saslName: string): string | undefined {
  if (saslName === '' || /\0|=(?!2C|3D)/.test(saslName)) return undefined;
  return prepared(saslName.replaceAll('=2C', ',').replaceAll('=3D', '='));
}

async function keysOf(
  password: string,
  salt: Buffer,
  iterations: number,
): Promise<{ storedKey: Buffer; serverKey: Buffer }> {
  const salted = await new Promise<Buffer>((resolve, reject) => {
    pbkdf2(prepared(password), salt, iterations, KEY_BYTES, 'sha256', (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
  return { storedKey: sha256(hmac(salted, 'Client Key')), serverKey: hmac(salted, 'Server Key') };
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}

/** Undefined when it is not UTF-8. */
function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return UTF8.decode(bytes);
  } catch {
    return undefined;
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
