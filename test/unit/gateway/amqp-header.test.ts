import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { AMQP_HEADER, AMQP_SASL_HEADER, AMQP_TLS_HEADER, greetAmqp } from '../../../gateway/listeners/amqp-header.ts';
import { streamPair } from '../../helpers/stream-pair.ts';

type Tls = Parameters<typeof greetAmqp>[1];

interface Greeted {
  readonly client: Duplex;
  readonly server: Duplex;
  /** What the greeting decided, when it has. */
  next: string | undefined;
}

function greeted(tls: Tls = 'unavailable'): Greeted {
  const [client, server] = streamPair();
  const result: Greeted = { client, server, next: undefined };
  greetAmqp(server, tls, (next) => (result.next = next));
  return result;
}

/** The next bytes of a stream, as many as these. */
async function bytesOf(stream: Duplex, count: number): Promise<Buffer> {
  for (;;) {
    const bytes = stream.read(count) as Buffer | null;
    if (bytes !== null) return bytes;
    await once(stream, 'readable');
  }
}

async function decided(one: Greeted): Promise<string | undefined> {
  while (one.next === undefined && !one.server.destroyed) await turn();
  return one.next;
}

/** Everything the server says until it has ended. */
async function answerOf({ client }: Greeted): Promise<Buffer> {
  const chunks: Buffer[] = [];
  client.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(client, 'end');
  return Buffer.concat(chunks);
}

async function closed(stream: Duplex): Promise<void> {
  if (!stream.closed) await once(stream, 'close');
}

const REST = Buffer.from(Array.from({ length: 3000 }, (_, i) => i & 0xff));

t.test('the headers of AMQP 1.0 and what follows them go on as they came', async (t) => {
  for (const header of [AMQP_HEADER, AMQP_SASL_HEADER]) {
    const all = Buffer.concat([header, REST]);
    for (const cut of [all.length, 8, 7, 1, 9, 20]) {
      const one = greeted();
      one.client.write(all.subarray(0, cut));
      await turn();
      one.client.write(all.subarray(cut));
      t.equal(await decided(one), 'protocol');
      t.same(await bytesOf(one.server, all.length), all, `cut at ${cut}`);
    }
    const slow = greeted();
    for (const byte of all.subarray(0, 12)) {
      slow.client.write(Buffer.of(byte));
      await turn();
      await turn();
    }
    t.equal(await decided(slow), 'protocol');
    t.same(await bytesOf(slow.server, 12), all.subarray(0, 12), 'byte by byte');
  }
});

t.test('the TLS header is answered in kind and taken off', async (t) => {
  for (const tls of ['available', 'required'] as const) {
    const one = greeted(tls);
    one.client.write(Buffer.concat([AMQP_TLS_HEADER, REST]));
    t.equal(await decided(one), 'tls');
    t.same(await bytesOf(one.client, 8), AMQP_TLS_HEADER);
    t.same(await bytesOf(one.server, REST.length), REST);
  }
  const plain = greeted('available');
  plain.client.write(AMQP_SASL_HEADER);
  t.equal(await decided(plain), 'protocol', 'who does not ask goes on without');
});

t.test('what is not spoken here is told what is, and ends', async (t) => {
  const others: [string, Buffer][] = [
    ['0-9-1', Buffer.from('AMQP\0\0\x09\x01', 'latin1')],
    ['0-9', Buffer.from('AMQP\x01\x01\0\x09', 'latin1')],
    ['0-10', Buffer.from('AMQP\x01\x01\0\x0a', 'latin1')],
    ['1.1', Buffer.from('AMQP\0\x01\x01\0', 'latin1')],
    ['1.0 revision 1', Buffer.from('AMQP\x03\x01\0\x01', 'latin1')],
    ['an unknown protocol id', Buffer.from('AMQP\x01\x01\0\0', 'latin1')],
    ['TLS from the first byte', Buffer.from([0x16, 3, 1, 2, 0, 1])],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['MQTT', Buffer.from('\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0', 'latin1')],
    ['two bytes that cannot become a header', Buffer.from('AX')],
    ['0-9-1 and more than that', Buffer.concat([Buffer.from('AMQP\0\0\x09\x01', 'latin1'), REST])],
  ];
  for (const [what, bytes] of others) {
    const one = greeted('available');
    one.client.write(bytes);
    t.same(await answerOf(one), AMQP_SASL_HEADER, what);
    one.client.end();
    await closed(one.server);
    t.equal(one.next, undefined, `${what} goes no further`);
  }
  const noTls = greeted('unavailable');
  noTls.client.write(AMQP_TLS_HEADER);
  t.same(await answerOf(noTls), AMQP_SASL_HEADER, 'TLS where there is none');
  for (const header of [AMQP_SASL_HEADER, AMQP_HEADER]) {
    const required = greeted('required');
    required.client.write(header);
    t.same(await answerOf(required), AMQP_TLS_HEADER, 'no TLS where it is required');
  }
});

t.test('a client that leaves in the middle of its header', async (t) => {
  for (const bytes of [Buffer.alloc(0), AMQP_HEADER.subarray(0, 7)]) {
    const one = greeted();
    if (bytes.length > 0) one.client.write(bytes);
    one.client.end();
    await closed(one.server);
    t.equal(one.next, undefined);
  }
});
