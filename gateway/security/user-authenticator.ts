import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { AuthExchange, Authenticator, Credentials, Principal } from '../../core/ports/authenticator.ts';
import { parseVerifier, verifyPassword, type PasswordVerifier } from './password.ts';
import {
  parseScramVerifier,
  prepared,
  SCRAM_METHOD,
  ScramExchange,
  ScramUsers,
  verifyScramPassword,
  type ScramUser,
  type ScramVerifier,
} from './scram.ts';

export interface UserConfig {
  readonly name: string;
  /** A scrypt verifier. */
  readonly password?: string | undefined;
  /** A SCRAM verifier; a password that comes as it is, is checked with it where there is no other. */
  readonly scram?: string | undefined;
  /** RocketMQ clients sign with it, so it has to be kept as it is. */
  readonly secretKey?: string | undefined;
}

interface User {
  readonly principal: Principal;
  readonly verifier: PasswordVerifier | undefined;
  readonly scram: ScramVerifier | undefined;
  readonly secretKey: string | undefined;
}

const ANONYMOUS: Principal = { name: 'anonymous', anonymous: true };

/** Verified passwords remembered, so that a reconnect storm does not cost a scrypt each. */
const VERIFIED_MAX = 10_000;

/** The users of the configuration, for all protocols. Without any, everyone is let in as `anonymous`. */
export class UserAuthenticator implements Authenticator {
  private readonly users = new Map<string, User>();
  private readonly scramUsers: ScramUsers | undefined;
  private readonly allowAnonymous: boolean;
  /** Digests of name and password that were right, under a key that never leaves this process. */
  private readonly verified = new Set<string>();
  private readonly digestKey = randomBytes(32);

  constructor(users: readonly UserConfig[], anonymous: boolean) {
    this.allowAnonymous = anonymous || users.length === 0;
    const scramUsers = new Map<string, ScramUser>();
    for (const { name, password, scram: scramText, secretKey } of users) {
      const principal = { name, anonymous: false };
      const verifier = password === undefined ? undefined : parseVerifier(password);
      const scram = scramText === undefined ? undefined : parseScramVerifier(scramText);
      this.users.set(name, { principal, verifier, scram, secretKey });
      if (scram !== undefined) scramUsers.set(prepared(name), { principal, verifier: scram });
    }
    if (scramUsers.size > 0) this.scramUsers = new ScramUsers(scramUsers);
  }

  async authenticate(credentials: Credentials): Promise<Principal | undefined> {
    switch (credentials.kind) {
      case 'none':
        return this.allowAnonymous ? ANONYMOUS : undefined;
      case 'password':
        return this.byPassword(credentials.username, credentials.password);
      case 'certificate':
        return byCertificate(credentials.commonName);
      case 'signature':
        return this.bySignature(credentials.accessKey, credentials.signed, credentials.signature);
    }
  }

  exchange(method: string): AuthExchange | undefined {
    return method === SCRAM_METHOD && this.scramUsers !== undefined ? new ScramExchange(this.scramUsers) : undefined;
  }

  private async byPassword(username: string, password: Uint8Array): Promise<Principal | undefined> {
    if (this.users.size === 0) return ANONYMOUS;
    const user = this.users.get(username);
    if (user === undefined) return undefined;
    const digest = createHmac('sha256', this.digestKey).update(`${username}\0`).update(password).digest('base64');
    if (!this.verified.has(digest)) {
      if (!(await isRight(password, user))) return undefined;
      if (this.verified.size >= VERIFIED_MAX) this.verified.clear();
      this.verified.add(digest);
    }
    return user.principal;
  }

  private bySignature(accessKey: string, signed: string, signature: string): Principal | undefined {
    if (this.users.size === 0) return ANONYMOUS;
    const user = this.users.get(accessKey);
    if (user?.secretKey === undefined) return undefined;
    const expected = createHmac('sha1', user.secretKey).update(signed).digest();
    // Clients differ in the case of the hexadecimal digits.
    const given = Buffer.from(signature, 'hex');
    return given.length === expected.length && timingSafeEqual(given, expected) ? user.principal : undefined;
  }
}

/** Whoever issues certificates decides who there is: the name need not be among the users. */
function byCertificate(commonName: string): Principal | undefined {
  return commonName === '' ? undefined : { name: commonName, anonymous: false };
}

async function isRight(password: Uint8Array, { verifier, scram }: User): Promise<boolean> {
  if (verifier !== undefined) return verifyPassword(password, verifier);
  return scram !== undefined && verifyScramPassword(password, scram);
}
