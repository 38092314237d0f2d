import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'selfsigned';

export interface IssuedCertificate {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

/** A certificate authority that issues whatever a test needs, as PEM and as files. */
export class TestAuthority {
  readonly cert: string;
  readonly dir: string;
  private readonly key: string;

  private constructor(dir: string, cert: string, key: string) {
    this.dir = dir;
    this.cert = cert;
    this.key = key;
  }

  static async create(): Promise<TestAuthority> {
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'Test Authority' }], {
      ...KEYS,
      extensions: [
        { name: 'basicConstraints', cA: true, critical: true },
        { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
      ],
    });
    const dir = await mkdtemp(join(tmpdir(), 'gantry-certificates-'));
    await writeFile(join(dir, 'ca.crt'), cert);
    return new TestAuthority(dir, cert, key);
  }

  get caFile(): string {
    return join(this.dir, 'ca.crt');
  }

  /** For localhost and 127.0.0.1, servers and clients; several names make a subject with several. */
  async issue(...commonNames: string[]): Promise<IssuedCertificate> {
    const subject = commonNames.map((value) => ({ name: 'commonName', value }));
    const { cert, private: key } = await generate(subject, {
      ...KEYS,
      ca: { cert: this.cert, key: this.key },
      extensions: [
        {
          name: 'subjectAltName',
          altNames: [
            { type: 2, value: 'localhost' },
            { type: 7, ip: '127.0.0.1' },
          ],
        },
      ],
    });
    return { cert, key };
  }

  /** A server certificate: the keys of `tls` in the configuration. */
  async serverFiles(): Promise<{ certFile: string; keyFile: string }> {
    const { cert, key } = await this.issue('localhost');
    const [certFile, keyFile] = [join(this.dir, 'server.crt'), join(this.dir, 'server.key')];
    await writeFile(certFile, cert);
    await writeFile(keyFile, key);
    return { certFile, keyFile };
  }
}

const KEYS = { keyType: 'ec', curve: 'P-256', algorithm: 'sha256' } as const;
