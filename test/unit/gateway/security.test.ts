import { createHash, createHmac, createPrivateKey, pbkdf2Sync, X509Certificate } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { AuthExchange, AuthStep } from '../../../core/ports/authenticator.ts';
import { readCertificate, selfSignedCertificate } from '../../../gateway/security/certificate.ts';
import { hashPassword, parseVerifier, verifyPassword } from '../../../gateway/security/password.ts';
import {
  parseScramVerifier,
  ScramExchange,
  ScramUsers,
  scramVerifierOf,
  verifyScramPassword,
} from '../../../gateway/security/scram.ts';
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

/** RFC 7677, 3. */
const PENCIL = {
  salt: 'W22ZaJ0SNY7soEsUEjb6gQ==',
  clientNonce: 'rOprNGfwEbeRWgbNEkqO',
  serverNonce: '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  proof: 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  signature: '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};

async function pencilUsers(): Promise<ScramUsers> {
  const verifier = parseScramVerifier(await scramVerifierOf('pencil', 4096, Buffer.from(PENCIL.salt, 'base64')))!;
  return new ScramUsers(new Map([['user', { principal: { name: 'user', anonymous: false }, verifier }]]));
}

async function step(exchange: AuthExchange, text: string | Buffer): Promise<[kind: AuthStep['kind'], text: string]> {
  const answer = await exchange.step(Buffer.from(text));
  return [answer.kind, 'data' in answer ? Buffer.from(answer.data).toString() : ''];
}

/** What a client does. @returns the answer to its last message */
async function logIn(exchange: AuthExchange, name: string, password: string, header = 'n,,'): Promise<AuthStep> {
  const bare = `n=${name},r=mine`;
  const [kind, first] = await step(exchange, header + bare);
  if (kind !== 'continue') return { kind: 'refused' };
  const [, nonce, salt, iterations] = /^r=(mine[^,]+),s=([^,]+),i=(\d+)$/.exec(first)!;
  const salted = pbkdf2Sync(password, Buffer.from(salt!, 'base64'), Number(iterations), 32, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  const last = `c=${Buffer.from(header).toString('base64')},r=${nonce}`;
  const authMessage = `${bare},${first},${last}`;
  const storedKey = createHash('sha256').update(clientKey).digest();
  const signature = createHmac('sha256', storedKey).update(authMessage).digest();
  const proof = Buffer.from(clientKey.map((byte, i) => byte ^ signature[i]!)).toString('base64');
  const answer = await exchange.step(Buffer.from(`${last},p=${proof}`));
  if (answer.kind !== 'done') return answer;
  const serverKey = createHmac('sha256', salted).update('Server Key').digest();
  const expected = createHmac('sha256', serverKey).update(authMessage).digest('base64');
  t.equal(Buffer.from(answer.data!).toString(), `v=${expected}`, 'the server proves that it knows the user');
  return answer;
}

t.test('SCRAM', async (t) => {
  const users = await pencilUsers();
  const { clientNonce, serverNonce, salt, proof, signature } = PENCIL;
  const nonce = clientNonce + serverNonce;
  const start = () => new ScramExchange(users, serverNonce);
  const first = `n,,n=user,r=${clientNonce}`;
  const final = `c=biws,r=${nonce},p=${proof}`;

  await t.test('the example of RFC 7677', async (t) => {
    const exchange = start();
    t.same(await step(exchange, first), ['continue', `r=${nonce},s=${salt},i=4096`]);
    const done = await exchange.step(Buffer.from(final));
    t.match(done, { kind: 'done', principal: { name: 'user', anonymous: false } });
    t.equal(Buffer.from((done as { data: Uint8Array }).data).toString(), `v=${signature}`);
    t.same(await step(exchange, final), ['refused', ''], 'once');
    t.same(await step(exchange, first), ['refused', '']);
  });

  await t.test('first messages', async (t) => {
    const long = `n,,n=user,r=${'x'.repeat(5_000)}`;
    const wrong = [
      '',
      'n,,',
      long,
      `p=tls-unique,,n=user,r=x`,
      `p=tls-exporter,,n=user,r=x`,
      `x,,n=user,r=x`,
      `n,n=user,r=x`,
      `n,,n=user`,
      `n,,n=user,r=`,
      `n,,n=,r=x`,
      `n,,n=user,r=a b`,
      `n,,n=user,r=é`,
      `n,,r=x,n=user`,
      `n,,m=needed,n=user,r=x`,
      `n,,n=us=er,r=x`,
      `n,,n=us=2cer,r=x`,
      `n,,n=us\0er,r=x`,
      `n,a=other,n=user,r=x`,
      `n,a=,n=user,r=x`,
      Buffer.from([...Buffer.from('n,,n=us'), 0xff, ...Buffer.from('er,r=x')]),
    ];
    for (const text of wrong) {
      const exchange = start();
      t.same(await step(exchange, text), ['refused', ''], String(text).slice(0, 40));
      t.same(await step(exchange, first), ['refused', ''], 'no second try');
    }
    for (const text of [`y,,n=user,r=x`, `n,a=user,n=user,r=x`, `n,,n=user,r=x,e=later,f=x=y`]) {
      t.match(await step(start(), text), ['continue', /^r=x/], text);
    }
  });

  await t.test('final messages', async (t) => {
    const flipped = Buffer.from(proof, 'base64');
    flipped[31]! ^= 1;
    const wrong = [
      '',
      first,
      `c=biws,r=${nonce}`,
      `c=eSws,r=${nonce},p=${proof}`,
      `c=,r=${nonce},p=${proof}`,
      `c=biws,r=${clientNonce},p=${proof}`,
      `c=biws,r=${nonce}x,p=${proof}`,
      `c=biws,r=${nonce},p=`,
      `c=biws,r=${nonce},p=AAAA`,
      `c=biws,r=${nonce},p=${flipped.toString('base64')}`,
      `c=biws,r=${nonce},x=y,p=${proof}`,
      `c=biws,r=${nonce},p=${proof},x=y`,
    ];
    for (const text of wrong) {
      const exchange = start();
      await step(exchange, first);
      t.same(await step(exchange, text), ['refused', ''], text);
      t.same(await step(exchange, final), ['refused', ''], 'no second try');
    }
  });

  await t.test('an unknown user is asked like a known one, always the same', async (t) => {
    const asked = async (of: ScramUsers, name: string): Promise<string> => {
      const [kind, text] = await step(new ScramExchange(of, serverNonce), `n,,n=${name},r=x`);
      t.equal(kind, 'continue');
      return text;
    };
    const unknown = await asked(users, 'nobody');
    t.match(unknown, /^r=x[^,]+,s=[A-Za-z0-9+/]{22}==,i=4096$/);
    t.equal(await asked(await pencilUsers(), 'nobody'), unknown, 'after a restart as well');
    t.not(await asked(users, 'nobody2'), unknown);
    t.match(await logIn(new ScramExchange(users), 'nobody', 'pencil'), { kind: 'refused' });
    const nonces = await Promise.all([1, 2].map(() => step(new ScramExchange(users), first)));
    t.not(nonces[0]![1], nonces[1]![1], 'nonces are random');
  });

  await t.test('verifiers', async (t) => {
    const text = await scramVerifierOf('sécret');
    t.match(text, /^SCRAM-SHA-256\$16384:[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/);
    t.not(await scramVerifierOf('sécret'), text, 'salted');
    const verifier = parseScramVerifier(text)!;
    t.ok(await verifyScramPassword(Buffer.from('sécret'), verifier));
    t.ok(await verifyScramPassword(Buffer.from('se\u0301cret'), verifier), 'written another way');
    t.notOk(await verifyScramPassword(Buffer.from('secret'), verifier));
    t.notOk(await verifyScramPassword(Buffer.from([0xff]), verifier), 'no UTF-8');
    const [, , keys] = text.split('$');
    const wrong = [
      '',
      'secret',
      text.slice(0, -1) + '$',
      text.replace('256', '512'),
      text.replace('16384', '4095'),
      text.replace('16384', '1000001'),
      `SCRAM-SHA-256$4096:AAAA$${keys}`,
      `SCRAM-SHA-256$4096:${'A'.repeat(88)}$${keys}`,
      `SCRAM-SHA-256$4096:${salt}$AAAA:AAAA`,
      `SCRAM-SHA-256$4096:${salt}$${keys!.split(':')[0]}`,
    ];
    for (const one of wrong) t.equal(parseScramVerifier(one), undefined, one);
  });

  await t.test('authenticator', async (t) => {
    const scram = await scramVerifierOf('secret', 4096);
    const password = await hashPassword('other');
    const both = { name: 'both', scram, password };
    const named = { name: 'a,b=c', scram };
    const authenticator = new UserAuthenticator(
      [{ name: 'meter', scram }, both, named, { name: 'old', password }],
      false,
    );
    const log = (name: string, secret: string) => logIn(authenticator.exchange('SCRAM-SHA-256')!, name, secret);
    t.match(await log('meter', 'secret'), { kind: 'done', principal: { name: 'meter', anonymous: false } });
    t.match(await log('meter', 'Secret'), { kind: 'refused' });
    t.match(await log('both', 'secret'), { kind: 'done' });
    t.match(await log('a=2Cb=3Dc', 'secret'), { kind: 'done', principal: { name: 'a,b=c' } });
    t.match(await log('old', 'other'), { kind: 'refused' }, 'has no verifier for it');
    t.match(await logIn(authenticator.exchange('SCRAM-SHA-256')!, 'meter', 'secret', 'y,a=meter,'), { kind: 'done' });
    const byPassword = async (username: string, text: string) =>
      (await authenticator.authenticate({ kind: 'password', username, password: Buffer.from(text) }))?.name;
    for (let i = 0; i < 2; i++) {
      t.equal(await byPassword('meter', 'secret'), 'meter', 'a password as it is');
      t.equal(await byPassword('meter', 'Secret'), undefined);
    }
    t.equal(await byPassword('both', 'other'), 'both');
    t.equal(await byPassword('both', 'secret'), undefined, 'its own verifier counts');
    for (const method of ['', 'PLAIN', 'SCRAM-SHA-1', 'SCRAM-SHA-256-PLUS', 'scram-sha-256']) {
      t.equal(authenticator.exchange(method), undefined, method);
    }
    t.equal(new UserAuthenticator([{ name: 'old', password }], false).exchange('SCRAM-SHA-256'), undefined);
    t.equal(new UserAuthenticator([], false).exchange('SCRAM-SHA-256'), undefined);
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
