import { createHmac, X509Certificate, createPrivateKey } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { readCertificate, selfSignedCertificate } from '../../../gateway/security/certificate.ts';
import { hashPassword, parseVerifier, verifyPassword } from '../../../gateway/security/password.ts';
import { UserAuthenticator } from '../../../gateway/security/user-authenticator.ts';

/** A verifier of `secret` that is quick to check. */
const CHEAP = { N: 2, r: 1, p: 1 };

t.test('password verifiers', async (t) => {
  const text = await hashPassword('sécret');
  t.match(text, /^scrypt\$32768\$8\$1\$[\w-]{22}\$[\w-]{43}$/);
  t.not(await hashPassword('sécret'), text, 'salted');
  const verifier = parseVerifier(text)!;
  t.ok(await verifyPassword(Buffer.from('sécret'), verifier));
  t.notOk(await verifyPassword(Buffer.from('secret'), verifier));
  t.notOk(await verifyPassword(Buffer.alloc(0), verifier));
  const [, , , , salt, key] = text.split('$');
  const wrong = [
    '',
    'secret',
    `bcrypt$${CHEAP.N}$1$1$${salt}$${key}`,
    `scrypt$3$1$1$${salt}$${key}`,
    `scrypt$1$1$1$${salt}$${key}`,
    `scrypt$2097152$1$1$${salt}$${key}`,
    `scrypt$2$0$1$${salt}$${key}`,
    `scrypt$2$33$1$${salt}$${key}`,
    `scrypt$2$1$17$${salt}$${key}`,
    `scrypt$2$1$1$short$${key}`,
    `scrypt$2$1$1$${salt}$${key}$`,
    `scrypt$2$1$1$${salt}`,
  ];
  for (const one of wrong) t.equal(parseVerifier(one), undefined, one);
  t.match(parseVerifier(`scrypt$2$1$1$${salt}$${key}`), CHEAP);
});

t.test('authenticator', async (t) => {
  const password = await hashPassword('secret');
  const users = [
    { name: 'meter', password },
    { name: 'backend', secretKey: 'key' },
  ];
  const signed = '20260101T000000Z';
  const signature = createHmac('sha1', 'key').update(signed).digest('hex');
  const byPassword = (username: string, text: string) =>
    ({ kind: 'password', username, password: Buffer.from(text) }) as const;
  const bySignature = (accessKey: string, hex: string) =>
    ({ kind: 'signature', accessKey, signed, signature: hex }) as const;

  await t.test('with users', async (t) => {
    const authenticator = new UserAuthenticator(users, false);
    const meter = { name: 'meter', anonymous: false };
    const backend = { name: 'backend', anonymous: false };
    for (let i = 0; i < 2; i++) {
      t.same(await authenticator.authenticate(byPassword('meter', 'secret')), meter);
      t.equal(await authenticator.authenticate(byPassword('meter', 'Secret')), undefined);
    }
    t.equal(await authenticator.authenticate(byPassword('nobody', 'secret')), undefined);
    t.equal(await authenticator.authenticate(byPassword('backend', 'key')), undefined, 'has no password');
    t.same(await authenticator.authenticate(bySignature('backend', signature)), backend);
    t.same(await authenticator.authenticate(bySignature('backend', signature.toUpperCase())), backend, 'either case');
    t.equal(await authenticator.authenticate(bySignature('backend', `${signature}00`)), undefined);
    t.equal(await authenticator.authenticate(bySignature('backend', '')), undefined);
    t.equal(await authenticator.authenticate(bySignature('backend', `zz${signature.slice(2)}`)), undefined);
    t.equal(await authenticator.authenticate(bySignature('meter', signature)), undefined, 'has no secret key');
    t.equal(await authenticator.authenticate(bySignature('nobody', signature)), undefined);
    t.equal(await authenticator.authenticate({ kind: 'none' }), undefined);
    const byCertificate = (commonName: string) => ({ kind: 'certificate', commonName }) as const;
    t.same(await authenticator.authenticate(byCertificate('pump')), { name: 'pump', anonymous: false });
    t.equal(await authenticator.authenticate(byCertificate('')), undefined);
  });

  await t.test('anonymous next to users', async (t) => {
    const authenticator = new UserAuthenticator(users, true);
    t.match(await authenticator.authenticate({ kind: 'none' }), { anonymous: true });
    t.equal(
      await authenticator.authenticate(byPassword('meter', 'wrong')),
      undefined,
      'who says a name has to prove it',
    );
  });

  await t.test('without users everyone comes in', async (t) => {
    const authenticator = new UserAuthenticator([], false);
    for (const credentials of [{ kind: 'none' } as const, byPassword('a', 'b'), bySignature('a', 'b')]) {
      t.match(await authenticator.authenticate(credentials), { anonymous: true });
    }
  });
});

t.test('certificates', async (t) => {
  const now = Date.now();
  const { cert, key } = await selfSignedCertificate(now);
  const parsed = new X509Certificate(cert);
  t.ok(parsed.checkPrivateKey(createPrivateKey(key)));
  t.equal(parsed.checkHost('localhost'), 'localhost');
  t.equal(parsed.checkIP('127.0.0.1'), '127.0.0.1');
  t.ok(Date.parse(parsed.validFrom) < now && Date.parse(parsed.validTo) > now + 9 * 365 * 24 * 3_600_000);
  const folder = mkdtempSync(join(tmpdir(), 'gantry-certificate-'));
  writeFileSync(join(folder, 'crt'), cert);
  writeFileSync(join(folder, 'key'), key);
  t.same(await readCertificate(join(folder, 'crt'), join(folder, 'key')), { cert, key });
  await t.rejects(readCertificate(join(folder, 'none'), join(folder, 'key')), { code: 'ENOENT', message: /none/ });
});
