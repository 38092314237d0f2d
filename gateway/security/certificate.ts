import { readFile } from 'node:fs/promises';
import { generate } from 'selfsigned';

export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Reads a PEM pair. @throws Error naming the file that cannot be read */
export async function readCertificate(certFile: string, keyFile: string): Promise<Certificate> {
  return { cert: await readFile(certFile), key: await readFile(keyFile) };
}

/**
 * A certificate nobody vouches for, valid for ten years: RocketMQ clients encrypt by default and verify nothing, so TLS has
 * to work on a gateway nobody has configured.
 */
export async function selfSignedCertificate(now: number): Promise<Certificate> {
  const pair = await generate([{ name: 'commonName', value: 'gantry' }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    notBeforeDate: new Date(now - 24 * 3_600_000),
    notAfterDate: new Date(now + 3650 * 24 * 3_600_000),
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
  return { cert: Buffer.from(pair.cert), key: Buffer.from(pair.private) };
}
