import t from 'tap';
import { encodePacket } from '../../../adapters/mqtt/codec/encoder.ts';
import { isAddressFilter, hashText, matchesAddress } from '../../../core/model/address.ts';
import { backoffMs, DEFAULT_RETRY_POLICY } from '../../../core/model/consumer-group.ts';
import { deadLetterCopy } from '../../../core/model/dead-letter.ts';
import { compileFilter } from '../../../core/model/filter.ts';
import { messageIdOf } from '../../../core/model/message-id.ts';
import { EnvelopeProtocol, SystemField } from '../../../core/model/message-layout.ts';
import { encodeMessage, Message, StoredMessage, type MessageFields } from '../../../core/model/message.ts';
import { viewMessage } from '../../../core/model/message-view.ts';
import { checkGroupName, checkTopicName, deadLetterTopic, encodeTopicName } from '../../../core/model/names.ts';
import { Random, seeds } from '../../helpers/random.ts';

const FULL = {
  address: 'meters/Süd/7',
  body: Buffer.from([0, 1, 255]),
  bornAt: 1_700_000_000_123,
  qos: 2,
  text: true,
  addressDerived: true,
  retained: true,
  properties: [
    ['k', 'v'],
    ['k', ''],
    ['', 'ü'],
  ],
  messageId: 'id-1',
  tag: 'T',
  keys: ['k1', 'k2'],
  messageGroup: 'g',
  deliverAt: 1_700_000_001_000,
  expiresAt: 1_700_000_002_000,
  priority: 9,
  bornHost: '10.0.0.1',
  contentType: 'text/plain',
  correlationId: Buffer.from([9, 8]),
  replyTo: 'answers',
  traceContext: '00-abc',
  bodyEncoding: 'gzip',
} as const satisfies MessageFields;

function plainMessage(address: string, body: Buffer, qos: 0 | 1): Message {
  const bytes = encodePacket(
    { type: 'publish', topicName: address, payload: body, qos, packetIdentifier: 0xffff, dup: false, retain: false },
    4,
  );
  return new Message(bytes, 0, bytes.length);
}

/** The same bytes in the middle of a buffer full of something else. */
function pooled(message: Message): Message {
  const buffer = Buffer.alloc(message.bytes + 300, 0xa5);
  message.buffer.copy(buffer, 123, message.start, message.end);
  return new Message(buffer, 123, 123 + message.bytes);
}

function stored(message: Message, offset = 5, storedAt = 1_700_000_000_000): StoredMessage {
  return new StoredMessage(message.buffer, message.start, message.end, 'orders', 3, offset, storedAt);
}

void t.test('a message says what it was made of, wherever its bytes are', async (t) => {
  const { qos, addressDerived, retained, text, ...values } = FULL;
  const made = encodeMessage(FULL);
  for (const message of [made, pooled(made)]) {
    t.same(viewMessage(message, new Map()), { ...values, addressDerived, text, deadLetter: undefined });
    t.equal(message.qos, qos);
    t.equal(message.isAddressDerived, true);
    t.equal(message.isRetained, retained);
    t.equal(message.hasSystemFields, true);
    t.equal(message.hasOwnFields, true);
    t.equal(message.bodyBytes, 3);
    t.equal(message.buffer.toString('utf8', message.addressStart, message.addressEnd), FULL.address);
    // The tail is one range in MQTT's order: length, address, envelope, body.
    t.equal(message.buffer.readUInt16BE(message.addressStart - 2), Buffer.byteLength(FULL.address));
    t.same(message.buffer.subarray(message.envelopeEnd, message.end), FULL.body);
  }
  const plain = pooled(encodeMessage({ address: 'a', body: Buffer.alloc(0), bornAt: 1 }));
  t.equal(plain.hasSystemFields, false);
  t.equal(plain.hasOwnFields, false);
  t.same(
    [plain.qos, plain.priority, plain.expiresAt, plain.deliverAt, plain.tag, plain.keys, plain.bodyBytes],
    [1, undefined, 0, 0, undefined, [], 0],
  );
});

void t.test('the plain form says its address and body, and that there is nothing else', async (t) => {
  const sizes = [0, 64, 117, 118, 119, 120, 16_375, 16_376, 2_097_143, 2_097_144];
  for (const [bodyBytes, qos] of sizes.flatMap((size) => [[size, 0] as const, [size, 1] as const])) {
    const body = Buffer.alloc(bodyBytes, 0x5a);
    const plain = pooled(plainMessage('a/b/c', body, qos));
    t.same(viewMessage(stored(plain, 0, 77), new Map()), {
      ...viewMessage(encodeMessage({ address: 'a/b/c', body, bornAt: 77, qos }), new Map()),
    });
    t.same([plain.isPlain, plain.qos, plain.bornAt, plain.bodyBytes], [true, qos, 0, bodyBytes]);
    t.same([plain.hasSystemFields, plain.hasOwnFields, plain.envelopeProtocol], [false, false, EnvelopeProtocol.none]);
    t.same(
      [plain.isExpired(1e15), plain.isText, plain.isAddressDerived, plain.isRetained, plain.envelope.length],
      [false, false, false, false, 0],
    );
  }
  const dead = deadLetterCopy(stored(pooled(plainMessage('a', Buffer.from('b'), 1)), 5, 77), 'bad');
  t.equal(dead.systemText(SystemField.deadLetterTopic), 'orders');
  t.match(dead, { isPlain: false, address: 'a', body: Buffer.from('b'), qos: 1, bornAt: 77 });
});

void t.test('an envelope is read by its protocol, and own fields go before it', async (t) => {
  const bytes = Buffer.from('envelope');
  const fields = { address: 'a', body: Buffer.from('b'), bornAt: 1, properties: [['own', '1']] as const };
  const message = pooled(
    encodeMessage({ ...fields, replyTo: 'own', envelope: { protocol: EnvelopeProtocol.mqtt5, bytes } }),
  );
  t.same(message.envelope, bytes);
  t.same(message.body, Buffer.from('b'));
  const reader = {
    protocol: EnvelopeProtocol.mqtt5,
    read: (envelope: Buffer) => ({
      properties: [['from', envelope.toString()] as const],
      text: true,
      contentType: 'x/y',
      replyTo: 'envelope',
    }),
  };
  t.match(viewMessage(message, new Map([[reader.protocol, reader]])), {
    properties: [
      ['own', '1'],
      ['from', 'envelope'],
    ],
    text: true,
    contentType: 'x/y',
    replyTo: 'own',
  });
  t.match(viewMessage(message, new Map()), { properties: [['own', '1']], text: false });
});

void t.test('random messages come back', async (t) => {
  for (const seed of seeds(200)) {
    const random = new Random(seed);
    const maybe = <T>(make: () => T): T | undefined => (random.chance(0.5) ? make() : undefined);
    const values = {
      address: random.text(40),
      body: random.bytes(60),
      bornAt: random.int(0, 2 ** 45),
      properties: Array.from({ length: random.below(4) }, () => [random.text(8), random.text(20)] as const),
      keys: Array.from({ length: random.below(3) }, () => random.text(9)),
      tag: maybe(() => random.text(9)),
      messageId: maybe(() => random.text(9)),
      messageGroup: maybe(() => random.text(9)),
      priority: maybe(() => random.below(255)),
      expiresAt: random.chance(0.5) ? 0 : random.int(1, 2 ** 45),
      deliverAt: random.chance(0.5) ? 0 : random.int(1, 2 ** 45),
    };
    const view = viewMessage(pooled(encodeMessage(values)), new Map());
    if (!t.match(view, values, `seed ${seed}`)) return;
    t.same(
      [view.tag, view.messageId, view.messageGroup, view.priority],
      [values.tag, values.messageId, values.messageGroup, values.priority],
    );
  }
});

void t.test('limits of the container', async (t) => {
  const body = Buffer.alloc(0);
  t.equal(encodeMessage({ address: 'ü'.repeat(32_767), body, bornAt: 1 }).address.length, 32_767);
  t.throws(() => encodeMessage({ address: 'ü'.repeat(32_768), body, bornAt: 1 }), { code: 'ILLEGAL_ADDRESS' });
  const properties = [['k'.repeat(65_536), '']] as const;
  t.throws(() => encodeMessage({ address: 'a', body, bornAt: 1, properties }), {
    code: 'MESSAGE_PROPERTIES_TOO_LARGE',
  });
});

void t.test('a dead letter is the message with its origin', async (t) => {
  const { qos, retained, text, ...values } = FULL;
  const copy = pooled(deadLetterCopy(stored(pooled(encodeMessage(FULL))), 'bad', 'really'));
  const deadLetter = { topic: 'orders', messageId: 'id-1', reason: 'bad', description: 'really' };
  t.same(viewMessage(copy, new Map()), { ...values, text, deadLetter });
  t.equal(copy.qos, qos);
  t.equal(copy.isRetained, retained);
  const plain = stored(encodeMessage({ address: 'a', body: Buffer.from('b'), bornAt: 1 }));
  const id = messageIdOf(plain);
  const plainCopy = deadLetterCopy(plain, 'x' + '𝄞'.repeat(4_000));
  t.equal(plainCopy.messageId, id);
  t.equal(plainCopy.systemText(SystemField.deadLetterMessageId), id);
  t.equal(
    plainCopy.systemText(SystemField.deadLetterReason),
    'x' + '𝄞'.repeat(2_047),
    'a reason is not kept at any length',
  );
  t.equal(plainCopy.body.toString(), 'b');
  const detailed = deadLetterCopy(plain, 'bad', '', Buffer.from('more'));
  t.equal(String(detailed.systemBytes(SystemField.deadLetterDetails)), 'more');
  // What dies a second time tells where and why it died last.
  const again = deadLetterCopy(new StoredMessage(copy.buffer, copy.start, copy.end, '%DLQ%g', 0, 0, 1), 'worse');
  t.match(viewMessage(again, new Map()).deadLetter, { topic: '%DLQ%g', reason: 'worse', description: undefined });
});

void t.test('message ids', async (t) => {
  t.equal(messageIdOf(stored(encodeMessage(FULL))), 'id-1');
  const plain = encodeMessage({ address: 'a', body: Buffer.alloc(0), bornAt: 1 });
  const ids = [0, 1, 2, 2 ** 20].map((offset) => messageIdOf(stored(plain, offset)));
  t.equal(new Set(ids).size, ids.length);
  for (const id of ids) t.match(id, /^01[0-9A-F]{12}0003[0-9A-F]{16}$/);
  t.equal(messageIdOf(stored(plain)), messageIdOf(stored(pooled(plain))));
  t.equal(messageIdOf(stored(plain, 1, 1_609_459_200_000 + 15_999)).slice(18, 26), '0000000F');
  t.match(messageIdOf(stored(plain, 1, 0)), /^01[0-9A-F]{32}$/);
});

void t.test('names', async (t) => {
  for (const name of ['a', '%DLQ%g', 'A-b_9|%', 'x'.repeat(127), deadLetterTopic('g'.repeat(120))])
    checkTopicName(name);
  for (const name of [
    '',
    'a/b',
    'ä',
    'a b',
    'TBW102',
    'rmq_sys_x',
    'RMQ_SYS_x',
    'x'.repeat(128),
    `%DLQ%${'x'.repeat(251)}`,
  ]) {
    t.throws(() => checkTopicName(name), { code: 'ILLEGAL_TOPIC' }, name.slice(0, 20));
  }
  for (const name of ['g', 'x'.repeat(120)]) checkGroupName(name);
  for (const name of ['', 'a.b', 'x'.repeat(121), 'TOOLS_CONSUMER', 'CID_RMQ_SYS_x']) {
    t.throws(() => checkGroupName(name), { code: 'ILLEGAL_CONSUMER_GROUP' }, name.slice(0, 20));
  }
  t.same(['plain-1_', 'a b', 'ü%', '$SYS'].map(encodeTopicName), ['plain-1_', 'a%20b', '%C3%BC%25', '%24SYS']);
});

void t.test('tag filters compare text', async (t) => {
  const passes = (expression: string, tag: string | undefined): boolean => {
    const filter = compileFilter({ type: 'TAG', expression });
    const message = encodeMessage({ address: 'a', body: Buffer.alloc(0), bornAt: 1, tag });
    return filter === undefined || filter(message, () => viewMessage(message, new Map()));
  };
  // Both have the same hash in Java, by which RocketMQ filters first.
  t.same(
    [passes('Aa', 'Aa'), passes('Aa', 'BB'), passes('BB||x', 'BB'), passes('Aa', undefined)],
    [true, false, true, false],
  );
  t.same([passes(' a ||  b||', 'b'), passes('a||b', 'a||b'), passes('a', 'A')], [true, false, false]);
  for (const all of ['', '*', ' * ']) t.equal(compileFilter({ type: 'TAG', expression: all }), undefined);
  for (const none of ['||', ' || ']) {
    t.throws(() => compileFilter({ type: 'TAG', expression: none }), { code: 'ILLEGAL_FILTER_EXPRESSION' });
  }
  t.throws(() => compileFilter({ type: 'ADDRESS', expression: 'a/#/b' }), { code: 'ILLEGAL_FILTER_EXPRESSION' });
  const byAddress = compileFilter({ type: 'ADDRESS', expression: 'a/+' })!;
  const at = (address: string): Message => encodeMessage({ address, body: Buffer.alloc(0), bornAt: 1 });
  const unused = (): never => t.fail('needs no view') as never;
  t.same([byAddress(at('a/b'), unused), byAddress(at('a'), unused)], [true, false]);
});

void t.test('address filters', async (t) => {
  const cases: [filter: string, address: string, matches: boolean][] = [
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['a/#', 'ab', false],
    ['#', 'a/b', true],
    ['#', '/', true],
    ['#', '$SYS/x', false],
    ['+/x', '$SYS/x', false],
    ['$SYS/#', '$SYS/x', true],
    ['$SYS/+', '$SYS/x', true],
    ['+', '', true],
    ['+', 'a', true],
    ['+', '/a', false],
    ['/+', '/a', true],
    ['+/+', '/a', true],
    ['a/+', 'a', false],
    ['a/+', 'a/', true],
    ['a/+/#', 'a', false],
    ['a/+/#', 'a/b', true],
    ['x/$y/+', 'x/$y/z', true],
    ['x/+', 'x/$y', true],
  ];
  for (const [filter, address, matches] of cases)
    t.equal(matchesAddress(filter, address), matches, `${filter} ${address}`);
  for (const filter of ['a', '/', '#', '+', 'a/+/b', '+/#', '$SYS/#', ' ', 'a//b'])
    t.ok(isAddressFilter(filter), filter);
  for (const filter of ['', 'a#', '#/a', 'a/#/b', 'a+', '+a/b', '##', '++', 'a\0'])
    t.notOk(isAddressFilter(filter), filter);
  t.equal(hashText(''), 0x811c9dc5);
  t.equal(hashText('a'), 0xe40c292c);
});

void t.test('backoff', async (t) => {
  const { backoff } = DEFAULT_RETRY_POLICY;
  t.same(
    [1, 2, 18, 19, 500].map((attempt) => backoffMs(backoff, attempt)),
    [1e3, 5e3, 7.2e6, 7.2e6, 7.2e6],
  );
  const exponential = { kind: 'exponential', initialMs: 100, maxMs: 1_000, multiplier: 3 } as const;
  t.same(
    [1, 2, 3, 4, 999].map((attempt) => backoffMs(exponential, attempt)),
    [100, 300, 900, 1_000, 1_000],
  );
});
