import t from 'tap';
import { ConnectPace } from '../../../gateway/listeners/connect-pace.ts';
import { ConnectionLimit } from '../../../gateway/listeners/connection-limit.ts';
import { parseProxyHeader, type ProxyHeader } from '../../../gateway/listeners/proxy-header.ts';
import { parseCidr, plainAddress, TrustedSources } from '../../../gateway/listeners/trusted-sources.ts';
import { proxyV2 } from '../../helpers/proxy-headers.ts';

const REST = Buffer.from('\x10\x00PROXY \r\n');
const LONG_V6 = 'ffff:f000:f000:f000:f000:f000:f000:ffff';
const ADDRESSES_V4 = Buffer.from([192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x07, 0x5b]);
const ADDRESSES_V6 = Buffer.concat([
  Buffer.from('20010db8000000000000000000000001', 'hex'),
  Buffer.from('fd000000000000000000000000000002', 'hex'),
  Buffer.from([0xdc, 0x04, 0x07, 0x5b]),
]);
const TLV = Buffer.from([0x04, 0, 3, 1, 2, 3]);

const SOUND: [name: string, header: Buffer, address: string | undefined, port: number | undefined][] = [
  ['v1 TCP4', Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883\r\n'), '192.0.2.7', 56_324],
  ['v1 TCP4 ports', Buffer.from('PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n'), '0.0.0.0', 0],
  ['v1 TCP6', Buffer.from('PROXY TCP6 2001:db8::1 fd00::2 56324 1883\r\n'), '2001:db8::1', 56_324],
  ['v1 TCP6 longest', Buffer.from(`PROXY TCP6 ${LONG_V6} ${LONG_V6} 65535 65535\r\n`), LONG_V6, 65_535],
  ['v1 UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n'), undefined, undefined],
  ['v1 UNKNOWN longest', Buffer.from(`PROXY UNKNOWN ${'f'.repeat(91)}\r\n`), undefined, undefined],
  ['v2 TCP4', proxyV2(0x21, 0x11, ADDRESSES_V4), '192.0.2.7', 56_324],
  ['v2 TCP4 with TLVs', proxyV2(0x21, 0x11, ADDRESSES_V4, TLV, TLV), '192.0.2.7', 56_324],
  ['v2 TCP6', proxyV2(0x21, 0x21, ADDRESSES_V6), '2001:db8::1', 56_324],
  ['v2 UNIX', proxyV2(0x21, 0x31, Buffer.alloc(216)), undefined, undefined],
  ['v2 UNSPEC', proxyV2(0x21, 0x00), undefined, undefined],
  ['v2 UNSPEC with TLVs', proxyV2(0x21, 0x00, TLV), undefined, undefined],
  ['v2 LOCAL', proxyV2(0x20, 0x00), undefined, undefined],
  ['v2 LOCAL with addresses', proxyV2(0x20, 0x11, ADDRESSES_V4), undefined, undefined],
  ['v2 LOCAL of any family', proxyV2(0x20, 0xff, Buffer.from([1])), undefined, undefined],
  ['v2 longest', proxyV2(0x21, 0x11, ADDRESSES_V4, Buffer.alloc(4096 - 16 - 12)), '192.0.2.7', 56_324],
];

t.test('PROXY headers, whole and at every split', async (t) => {
  for (const [name, header, address, port] of SOUND) {
    const source = address === undefined ? {} : { source: { address, port } };
    const expected = { state: 'complete', bytes: header.length, ...source };
    t.same(parseProxyHeader(header), expected, name);
    t.same(parseProxyHeader(Buffer.concat([header, REST])), expected, `${name}, and what follows it`);
    const states = new Set<string>();
    for (let end = 0; end < header.length; end++) states.add(parseProxyHeader(header.subarray(0, end)).state);
    t.same([...states], ['more'], `${name}, every part of it`);
  }
});

/** How many bytes it took to see that the header is wrong. */
function seenAfter(bytes: Buffer): number | ProxyHeader['state'] {
  for (let end = 0; end <= bytes.length; end++) {
    const { state } = parseProxyHeader(bytes.subarray(0, end));
    if (state === 'malformed') return end;
    if (state === 'complete') return state;
  }
  return 'more';
}

t.test('malformed PROXY lines', async (t) => {
  const line = 'PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883';
  const wrong = [
    line.replace('PROXY TCP4', 'PROXY  TCP4'),
    line.replace('TCP4', 'tcp4'),
    line.replace('TCP4', 'TCP5'),
    line.replace('TCP4', 'UDP4'),
    line.replace('TCP4', ''),
    line.replace('TCP4', 'TCP6'),
    line.replace('192.0.2.7', '192.0.2.256'),
    line.replace('192.0.2.7', '192.0.2.07'),
    line.replace('192.0.2.7', '192.0.2'),
    line.replace('192.0.2.7', '2001:db8::1'),
    line.replace('192.0.2.7', 'example.org'),
    line.replace('198.51.100.1', ''),
    line.replace('198.51.100.1', '198.51.100.1.1'),
    line.replace('56324', '65536'),
    line.replace('56324', '056324'),
    line.replace('56324', '-1'),
    line.replace('56324', '5a'),
    line.replace('56324', ''),
    line.replace('1883', '99999'),
    line.replace(' 1883', ''),
    `${line} `,
    `${line} 7`,
    line.replaceAll(' ', '\t').replace('PROXY\t', 'PROXY '),
    `${line}\n`,
    'PROXY TCP6 2001:db8::g fd00::2 1 2',
    'PROXY TCP6 fe80::1%eth0 fd00::2 1 2',
    'PROXY TCP6 192.0.2.7 fd00::2 1 2',
    'PROXY ',
  ];
  for (const text of wrong) t.equal(parseProxyHeader(Buffer.from(`${text}\r\n`)).state, 'malformed', text);
  for (const start of ['GET / HTTP/1.1', 'P\r', 'PROXYTCP4', 'proxy TCP4', '\x10\x0c\x00\x04MQTT', '\x16\x03\x01']) {
    t.type(seenAfter(Buffer.from(start, 'latin1')), 'number', `${JSON.stringify(start)} is not waited for`);
  }
  t.equal(seenAfter(Buffer.from(`PROXY UNKNOWN ${'f'.repeat(200)}`)), 107, 'a line without an end');
  t.equal(seenAfter(Buffer.from(`PROXY UNKNOWN ${'f'.repeat(92)}\r\n`)), 107, 'one byte too long');
});

t.test('malformed PROXY headers of version 2', async (t) => {
  const sound = proxyV2(0x21, 0x11, ADDRESSES_V4);
  for (let at = 0; at < 12; at++) {
    const bytes = Buffer.from(sound);
    bytes[at]! ^= 0x20;
    t.equal(seenAfter(bytes), at + 1, `byte ${at} of the signature`);
  }
  for (const command of [0x00, 0x01, 0x11, 0x22, 0x2f, 0x31]) {
    t.equal(seenAfter(proxyV2(command, 0x11, ADDRESSES_V4)), 13, `version and command ${command}`);
  }
  for (const family of [0x01, 0x02, 0x10, 0x12, 0x20, 0x22, 0x30, 0x32, 0x41, 0xff]) {
    t.equal(seenAfter(proxyV2(0x21, family, Buffer.alloc(300))), 16, `family and protocol ${family}`);
  }
  for (const [family, bytes] of [
    [0x11, 11],
    [0x21, 35],
    [0x31, 215],
  ] as const) {
    t.equal(seenAfter(proxyV2(0x21, family, Buffer.alloc(bytes))), 16, `too short for family ${family}`);
  }
  t.equal(seenAfter(proxyV2(0x21, 0x11, Buffer.alloc(4096 - 16 + 1))), 16, 'too long');
  t.equal(seenAfter(proxyV2(0x20, 0x00, Buffer.alloc(65_535))), 16, 'too long for LOCAL as well');
});

t.test('trusted sources', async (t) => {
  for (const text of ['10.0.0.0/8', '10.1.2.3', '0.0.0.0/0', '::/0', 'fd00::/8', '::1', '::1/128', '1.2.3.4/32']) {
    t.ok(parseCidr(text), text);
  }
  const wrong = ['', '10.0.0.0/', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/08', '10.0.0.0/8/8', '10.0.0/8', '::/129'];
  for (const text of [...wrong, 'localhost', 'fe80::1%lo/64', '/8', '10.0.0.0/a', '10.0.0.0 /8']) {
    t.equal(parseCidr(text), undefined, text);
    t.throws(() => new TrustedSources([text]), RangeError);
  }
  const trusted = new TrustedSources(['10.0.0.0/8', '192.0.2.7', 'fd00::/8', '::1']);
  for (const address of ['10.0.0.0', '10.255.255.255', '192.0.2.7', 'fd12::1', '::1']) {
    t.ok(trusted.has(address), address);
  }
  for (const address of ['9.255.255.255', '11.0.0.0', '192.0.2.6', '192.0.2.8', 'fe00::1', '::2', '', 'x']) {
    t.notOk(trusted.has(address), address);
  }
  t.equal(plainAddress('::ffff:192.0.2.7'), '192.0.2.7');
  t.equal(plainAddress('::1'), '::1');
  t.equal(plainAddress(undefined), '');
});

t.test('the limit of connections', async (t) => {
  const limit = new ConnectionLimit(2);
  limit.take();
  t.notOk(limit.isReached);
  limit.take();
  t.ok(limit.isReached);
  limit.giveBack();
  t.notOk(limit.isReached);
});

t.test('the rate of connections', async (t) => {
  let now = 0;
  const pace = new ConnectPace(20, () => now);
  t.teardown(() => pace.close());
  let started = 0;
  const enter = (): boolean => pace.enter(() => started++);
  for (let i = 0; i < 20; i++) enter();
  t.equal(started, 20, 'those of a second may come at once');
  now += 50;
  enter();
  t.equal(started, 21, 'and one more for each twentieth of a second');
  const order: number[] = [];
  const late: Promise<void>[] = [];
  for (let i = 0; i < 100; i++) {
    late.push(
      new Promise((resolve) => {
        t.ok(
          pace.enter(() => {
            order.push(i);
            resolve();
          }),
        );
      }),
    );
  }
  t.notOk(enter(), 'the line is full after five seconds');
  t.equal(order.length, 0);
  now += 150;
  await late[2];
  t.same(order, [0, 1, 2], 'in order, and no more than there is time for');
  now += 1_000_000;
  await late[22];
  t.equal(order.length, 23, 'a pause lets no more in at once than one second');
  pace.close();
  t.equal(started, 21);
});
