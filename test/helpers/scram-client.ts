import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';

/** The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677). */
export class ScramClient {
  private readonly user: string;
  private readonly password: string;
  private readonly nonce = randomBytes(18).toString('base64');
  private serverSignature: Buffer = Buffer.alloc(0);

  constructor(user: string, password: string) {
    this.user = user;
    this.password = password;
  }

  first(): Buffer {
    return Buffer.from(`n,,${this.bare}`);
  }

  final(serverFirst: Buffer): Buffer {
    const text = serverFirst.toString();
    const {
      r: nonce,
      s: salt,
      i: iterations,
    } = Object.fromEntries(text.split(',').map((part) => [part[0]!, part.slice(2)])) as {
      r: string;
      s: string;
      i: string;
    };
    const salted = pbkdf2Sync(this.password, Buffer.from(salt, 'base64'), Number(iterations), 32, 'sha256');
    const withoutProof = `c=biws,r=${nonce}`;
    const signed = `${this.bare},${text},${withoutProof}`;
    const clientKey = hmac(salted, 'Client Key');
    const signature = hmac(createHash('sha256').update(clientKey).digest(), signed);
    this.serverSignature = hmac(hmac(salted, 'Server Key'), signed);
    const proof = Buffer.from(clientKey.map((byte, i) => byte ^ signature[i]!)).toString('base64');
    return Buffer.from(`${withoutProof},p=${proof}`);
  }

  isServer(serverFinal: Buffer): boolean {
    const given = Buffer.from(serverFinal.toString().slice('v='.length), 'base64');
    return given.length === this.serverSignature.length && timingSafeEqual(given, this.serverSignature);
  }

  private get bare(): string {
    return `n=${this.user},r=${this.nonce}`;
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
