import t from 'tap';
import { AMQP1_ENVELOPE_READER } from '../../../../../adapters/amqp/v1/translate/envelope-reader.ts';
import { batchedMessages } from '../../../../../adapters/amqp/v1/translate/batched-messages.ts';
import { foreignMessage } from '../../../../../adapters/amqp/v1/translate/foreign-message.ts';
import { isPlainForeign, plainForeign } from '../../../../../adapters/amqp/v1/translate/foreign-plain.ts';
import { InboundTranslator } from '../../../../../adapters/amqp/v1/translate/inbound-translator.ts';
import { OutboundTranslator } from '../../../../../adapters/amqp/v1/translate/outbound-translator.ts';
import { replyAddressOf, replyTopicOf } from '../../../../../adapters/amqp/v1/translate/reply-addresses.ts';
import type { AmqpMap } from '../../../../../adapters/amqp/v1/codec/performatives.ts';
import type { AmqpValue } from '../../../../../adapters/amqp/v1/codec/values.ts';
import { deadLetterCopy } from '../../../../../core/model/dead-letter.ts';
import { compileFilter } from '../../../../../core/model/filter.ts';
import { EnvelopeProtocol } from '../../../../../core/model/message-layout.ts';
import { encodeMessage, Message, StoredMessage, type MessageFields } from '../../../../../core/model/message.ts';
import { viewMessage, type MessageView } from '../../../../../core/model/message-view.ts';
import {
  bin,
  bool,
  bytesOf,
  mapOf,
  NULL,
  propertiesOf,
  randomMessage,
  readMessage,
  str,
  sym,
  time,
  ubyte,
  uint,
  ulong,
  type ReadMessage,
  type Section,
} from '../../../../helpers/amqp-messages.ts';
import { Random, testSeed } from '../../../../helpers/random.ts';

const NOW_MS = 1_700_000_000_000;
const READERS = new Map([[EnvelopeProtocol.amqp1 as EnvelopeProtocol, AMQP1_ENVELOPE_READER]]);
const inbound = new InboundTranslator();
const outbound = new OutboundTranslator(viewOf, (address) => address.split('/')[0]!);

function viewOf(message: Message): MessageView {
  return viewMessage(message, READERS);
}

function stored(message: Message, topic = 'T'): StoredMessage {
  return new StoredMessage(message.buffer, message.start, message.end, topic, 0, 7, NOW_MS);
}

/** What the core has of a message a client sends. */
function received(bytes: Buffer, address = 'devices/7'): StoredMessage {
  // Not at the beginning of its buffer, as in a frame.
  const frame = Buffer.concat([Buffer.alloc(3), bytes, Buffer.alloc(2)]);
  inbound.scan(frame, 3, 3 + bytes.length);
  return stored(inbound.message(Buffer.from(address), false, NOW_MS));
}

/** What a client gets. */
function delivered(message: StoredMessage, attempt = 1, nowMs = NOW_MS, annotations?: AmqpMap) {
  outbound.translate(message, attempt, nowMs, annotations);
  const { head, headEnd, buffer, start, end } = outbound;
  const bare = Buffer.from(buffer.subarray(start, end));
  return { bare, whole: Buffer.concat([head.subarray(0, headEnd), bare]) };
}

function sent(...sections: Section[]): StoredMessage {
  return received(bytesOf(sections));
}

function foreign(fields: Partial<MessageFields>): ReadMessage {
  const message = encodeMessage({ address: 'devices/7', body: Buffer.from('b'), bornAt: NOW_MS, ...fields });
  return readMessage(delivered(stored(message)).whole);
}

const DATA: Section = ['data', bin('body')];

t.test('an AMQP message reaches AMQP clients bit by bit, whatever it is made of', async (t) => {
  const seed = testSeed();
  for (let i = 0; i < 2000; i++) {
    const sections = randomMessage(new Random(seed + i), NOW_MS);
    const kept = sections.filter(([name]) => name !== 'header' && name !== 'deliveryAnnotations');
    const message = sent(...sections);
    const { bare, whole } = delivered(message);
    t.same(bare, bytesOf(kept), `seed ${seed + i}`);
    const [durable = NULL, priority = NULL] = readMessage(bytesOf(sections)).header;
    t.same(readMessage(whole).header.slice(0, 2), [durable, priority], `seed ${seed + i}`);
    t.equal(readMessage(whole).header[3]!.type, 'boolean');
    t.doesNotThrow(() => viewOf(message), `seed ${seed + i}`);
    if (!t.passing()) return;
  }
});

t.test('delivery annotations say where it was published, unless that is the topic or queue as a whole', async (t) => {
  const addressOf = (message: StoredMessage, annotations?: AmqpMap) =>
    readMessage(delivered(message, 1, NOW_MS, annotations).whole).deliveryAnnotations.get('x-opt-address');
  const bytes = bytesOf([['messageAnnotations', mapOf({ a: uint(1) }, sym)], DATA]);
  for (const address of ['devices/7', 'devices/8', 'devices/8', 'devices/ü']) {
    t.same(addressOf(received(bytes, address)), str(address));
  }
  t.same(addressOf(received(bytes), new Map([['b', uint(2)]])), str('devices/7'), 'beside what a receiver added');
  inbound.scan(bytes, 0, bytes.length);
  t.equal(addressOf(stored(inbound.message(Buffer.from('devices'), true, NOW_MS))), undefined);
});

t.test('long and short encodings, and descriptors as symbols, stay what they are', async (t) => {
  const symbolic = Buffer.from('amqp:data:binary');
  const bodies = {
    'a long data': Buffer.from([0, 0x53, 0x75, 0xb0, 0, 0, 0, 1, 0x61]),
    'a long string': Buffer.from([0, 0x53, 0x77, 0xb1, 0, 0, 0, 1, 0x61]),
    'a ulong of eight bytes': Buffer.from([0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x75, 0xa0, 1, 0x61]),
    'a symbol': Buffer.concat([Buffer.from([0, 0xa3, symbolic.length]), symbolic, Buffer.from([0xa0, 1, 0x61])]),
  };
  for (const [what, bytes] of Object.entries(bodies)) {
    const message = received(bytes);
    t.equal(message.body.toString(), 'a', what);
    t.same(delivered(message).bare, bytes, what);
    t.equal(message.isText, what === 'a long string');
  }
});

t.test('the body of the core is the content', async (t) => {
  const content = (...sections: Section[]) => sent(...sections).body;
  t.same(content(DATA), Buffer.from('body'));
  t.same(content(['amqpValue', str('é')]), Buffer.from('é'));
  t.same(content(['amqpValue', bin('b')]), Buffer.from('b'));
  t.same(content(DATA, ['data', bin('')], ['data', bin('+')]), Buffer.from('body+'));
  t.same(content(['amqpValue', str('x')], ['footer', mapOf({}, sym)]), Buffer.from('x'));
  t.same(content(['amqpValue', NULL]), Buffer.alloc(0));
  t.same(content(), Buffer.alloc(0));
  const list: Section = ['amqpSequence', { type: 'list', value: [uint(1)] }];
  t.same(content(list, list), bytesOf([list, list]));
  t.equal(viewOf(sent(list)).contentType, 'application/vnd.amqp');
  t.equal(viewOf(sent(['amqpValue', str('x')], ['footer', mapOf({}, sym)])).text, true);
});

t.test('a batch is messages in data sections', async (t) => {
  const one = bytesOf([propertiesOf({ subject: str('1') }), DATA]);
  const batch = bytesOf([
    ['data', bin(one)],
    ['data', bin(bytesOf([DATA]))],
  ]);
  const ranges = batchedMessages(Buffer.concat([Buffer.alloc(2), batch]), 2, 2 + batch.length);
  t.same(
    ranges.map(([start, end]) => batch.subarray(start - 2, end - 2)),
    [one, bytesOf([DATA])],
  );
  t.throws(() => batchedMessages(bytesOf([['amqpValue', NULL]]), 0, 4), { name: 'CodecError' });
  t.throws(() => batchedMessages(batch, 0, batch.length - 1), { name: 'CodecError' });
});

t.test('bytes that are no message are refused', async (t) => {
  const refused = {
    'two properties sections': bytesOf([propertiesOf({}), propertiesOf({}), DATA]),
    'a body of two kinds': bytesOf([DATA, ['amqpValue', NULL]]),
    'properties with a field too many': bytesOf([
      ['properties', { type: 'list', value: Array.from({ length: 14 }, () => str('x')) }],
    ]),
    'properties that are cut off': Buffer.from([0, 0x53, 0x73, 0xc0, 6, 4, 0xa1, 1, 0x61, 0xa1, 1]),
    'a header of another type': bytesOf([['header', { type: 'list', value: [str('yes')] }], DATA]),
    'a cut off body': bytesOf([DATA]).subarray(0, 6),
    'a map without a value': Buffer.from([0, 0x53, 0x74, 0xc1, 3, 1, 0xa1, 0]),
    'a map without a count': Buffer.from([0, 0x53, 0x74, 0xc1, 0]),
    'a map with less than it says': Buffer.from([0, 0x53, 0x72, 0xc1, 1, 2]),
    'a map with more than it says': Buffer.from([0, 0x53, 0x72, 0xc1, 3, 0, 0x40, 0x40]),
    'a string that is not UTF-8': Buffer.from([0, 0x53, 0x77, 0xa1, 1, 0xff]),
    'an unknown section': Buffer.from([0, 0x53, 0x79, 0x40]),
    'no section': Buffer.from([0x40]),
  };
  for (const [what, bytes] of Object.entries(refused)) {
    t.throws(() => received(bytes), { name: 'CodecError', condition: 'amqp:decode-error' }, what);
    t.match(
      received(bytesOf([DATA])),
      { body: Buffer.from('body'), messageId: undefined, hasSystemFields: false },
      what,
    );
  }
});

t.test('what is wrong inside of a section is not read, and passed on to AMQP clients alone', async (t) => {
  const bad = Buffer.from([0, 0x53, 0x74, 0xc1, 6, 2, 0xa1, 1, 0x70, 0xa1, 0]);
  bad[bad.length - 2] = 0xff;
  const good = bytesOf([propertiesOf({ correlationId: str('c') })]);
  const bytes = Buffer.concat([
    good,
    Buffer.from([0, 0x53, 0x74, 0xc1, 6, 2, 0xa1, 1, 0x70, 0xa1, 1]),
    Buffer.from([0xff]),
    bytesOf([DATA]),
  ]);
  bytes[good.length + 4] = 7;
  const message = received(bytes);
  t.same(delivered(message).bare, bytes);
  t.match(viewOf(message), { correlationId: Buffer.from('c') });
  t.notOk(viewOf(message).properties.some(([key]) => key === 'p'));
});

t.test('header, annotations and properties become fields of the core', async (t) => {
  const message = sent(
    ['header', { type: 'list', value: [bool(true), ubyte(7), uint(60_000)] }],
    ['messageAnnotations', mapOf({ 'x-opt-delivery-delay': uint(5_000) }, sym)],
    propertiesOf({ messageId: str('m'), subject: str('S'), groupId: str('g'), creationTime: time(NOW_MS - 9) }),
    ['applicationProperties', mapOf({ a: uint(1), keys: str('k1,k 2,'), traceparent: str('00-1') })],
    DATA,
  );
  t.match(message, { qos: 1, priority: 7, expiresAt: NOW_MS + 60_000, deliverAt: NOW_MS + 5_000, bornAt: NOW_MS - 9 });
  t.match(message, { messageId: 'm', tag: 'S', messageGroup: 'g', address: 'devices/7', isAddressDerived: false });
  t.same(message.keys, ['k1', 'k 2', '']);
  t.match(viewOf(message), { traceContext: '00-1', properties: [['a', '1']] });
});

t.test('selectors see types, nulls, and the fields that are properties to JMS', async (t) => {
  const passes = (expression: string, message: StoredMessage): boolean =>
    compileFilter({ type: 'JMS', expression })!(message, () => viewOf(message));
  const message = sent(
    propertiesOf({ userId: bin('é'), groupSequence: uint(7) }),
    [
      'applicationProperties',
      mapOf({ i: uint(5), l: ulong(5n), d: { type: 'double', value: 5 }, n: NULL, b: bin('5') }),
    ],
    DATA,
  );
  for (const expression of [
    'i / 2 = 2 AND l / 2 = 2 AND d / 2 = 2.5 AND i = d',
    'n IS NULL AND b IS NOT NULL',
    "JMSXGroupSeq = 7 AND JMSXUserID = 'é' AND JMSPriority = 4",
  ]) {
    t.equal(passes(expression, message), true, expression);
  }
  const ids: [AmqpValue, string][] = [
    [str('ID:1'), 'ID:1'],
    [ulong(7n), 'ID:AMQP_ULONG:7'],
    [bin(Buffer.from([1, 0xab])), 'ID:AMQP_BINARY:01AB'],
    [{ type: 'uuid', value: Buffer.alloc(16, 1) }, 'ID:AMQP_UUID:01010101-0101-0101-0101-010101010101'],
  ];
  const spoof: Section = ['applicationProperties', mapOf({ JMSMessageID: str('x'), JMSCorrelationID: str('x') })];
  for (const [id, text] of ids) {
    const one = sent(propertiesOf({ messageId: id, correlationId: id }), spoof, DATA);
    t.ok(passes(`JMSMessageID = '${text}' AND JMSCorrelationID = '${text}'`, one), text);
  }
  t.equal(passes("n = '' OR n <> '' OR n LIKE '%'", message), false);
  t.equal(passes('JMSXGroupSeq IS NULL AND JMSXUserID IS NULL', sent(DATA)), true);
});

t.test('durable decides the quality, and a peer that is silent about it gets silence', async (t) => {
  for (const [value, qos] of [
    [bool(false), 0],
    [bool(true), 1],
    [NULL, 1],
  ] as const) {
    const message = sent(['header', { type: 'list', value: [value] }], DATA);
    t.equal(message.qos, qos);
    t.same(readMessage(delivered(message).whole).header[0], value);
  }
  t.equal(sent(DATA).qos, 1);
});

t.test('message ids are text in the core', async (t) => {
  const uuid = Buffer.from('0c1e7b3a8d5f4c2b9a613f0d2e4b5a69', 'hex');
  const ids: readonly (readonly [AmqpValue, string | undefined])[] = [
    [str('plain'), 'plain'],
    [{ type: 'uuid', value: uuid }, 'urn:uuid:0c1e7b3a-8d5f-4c2b-9a61-3f0d2e4b5a69'],
    [ulong(2n ** 63n), '9223372036854775808'],
    [bin(Buffer.from([0, 255])), 'AP8='],
    [uint(5), undefined],
    [{ type: 'list', value: [str('x')] }, undefined],
  ];
  for (const [id, text] of ids) t.equal(sent(propertiesOf({ messageId: id }), DATA).messageId, text);
});

t.test('the earlier of ttl and absolute-expiry-time counts, and the time that remains is told', async (t) => {
  const expiring = (ttlMs: number, absolute: number) =>
    sent(
      ['header', { type: 'list', value: [NULL, NULL, uint(ttlMs)] }],
      propertiesOf(absolute === 0 ? {} : { absoluteExpiryTime: time(absolute) }),
      DATA,
    );
  t.equal(expiring(1000, NOW_MS + 500).expiresAt, NOW_MS + 500);
  t.equal(expiring(1000, NOW_MS + 5000).expiresAt, NOW_MS + 1000);
  t.equal(expiring(0, 0).expiresAt, 0, 'no time to live is for ever');
  t.equal(expiring(0, NOW_MS + 5000).expiresAt, NOW_MS + 5000);
  const message = expiring(1000, 0);
  t.same(readMessage(delivered(message, 1, NOW_MS + 400).whole).header[2], uint(600));
  t.same(readMessage(delivered(message, 1, NOW_MS + 999.5).whole).header[2], uint(1));
  t.same(readMessage(delivered(sent(DATA)).whole).header[2], NULL);
});

t.test('a delivery time in any of its forms', async (t) => {
  const at = (name: string, value: AmqpValue) =>
    sent(['messageAnnotations', mapOf({ [name]: value }, sym)], DATA).deliverAt;
  const long = (value: number): AmqpValue => ({ type: 'long', value: BigInt(value) });
  t.equal(at('x-opt-delivery-time', long(NOW_MS + 1)), NOW_MS + 1);
  t.equal(at('x-opt-delivery-time', time(NOW_MS + 1)), NOW_MS + 1);
  t.equal(at('x-opt-scheduled-enqueue-time', time(NOW_MS + 1)), NOW_MS + 1);
  t.equal(at('x-opt-delivery-delay', long(7)), NOW_MS + 7);
  t.equal(at('x-opt-delivery-delay', long(-7)), 0);
  t.equal(at('x-opt-delivery-delay', long(0)), 0);
  t.equal(at('x-opt-delivery-time', str('soon')), 0);
});

t.test('the header says how often it was tried', async (t) => {
  const message = sent(DATA);
  t.same(readMessage(delivered(message, 1).whole).header.slice(3), [bool(true), uint(0)]);
  t.same(readMessage(delivered(message, 300).whole).header.slice(3), [bool(false), uint(299)]);
});

t.test('annotations of an earlier receiver are merged, and the rest stays as it was', async (t) => {
  const rest: Section[] = [propertiesOf({ subject: str('S') }), DATA];
  const message = sent(['messageAnnotations', mapOf({ a: uint(1), b: uint(2) }, sym)], ...rest);
  const added: AmqpMap = new Map([
    ['b', str('new')],
    ['c', uint(3)],
  ]);
  const { whole, bare } = delivered(message, 2, NOW_MS, added);
  t.same(bare, bytesOf(rest));
  t.same(
    [...readMessage(whole).messageAnnotations],
    [
      ['a', uint(1)],
      ['b', str('new')],
      ['c', uint(3)],
    ],
  );
  t.same([...readMessage(delivered(sent(DATA), 2, NOW_MS, added).whole).messageAnnotations], [...added]);
  t.same(
    [...readMessage(delivered(message).whole).messageAnnotations],
    [
      ['a', uint(1)],
      ['b', uint(2)],
    ],
  );
});

t.test('a message that was given up says where', async (t) => {
  const dead = stored(deadLetterCopy(sent(propertiesOf({ messageId: str('m') }), DATA), 'bad', 'really'), '%DLQ%G');
  const deaths = readMessage(delivered(dead).whole).messageAnnotations.get('x-opt-deaths');
  t.same(deaths, {
    type: 'array',
    elementType: 'map',
    value: [mapOf({ topic: str('T'), 'message-id': str('m'), reason: str('bad'), description: str('really') })],
  });
  t.same(delivered(dead).bare, bytesOf([propertiesOf({ messageId: str('m') }), DATA]));
});

t.test('a message of another protocol has everything in its standard field', async (t) => {
  const read = foreign({
    qos: 0,
    priority: 3,
    messageId: 'm',
    tag: 'T',
    keys: ['k1', 'k2'],
    messageGroup: 'g',
    expiresAt: NOW_MS + 1500,
    contentType: 'text/plain',
    correlationId: Buffer.from('c'),
    replyTo: 'response/c1/7',
    traceContext: '00-1',
    properties: [
      ['a', '1'],
      ['keys', 'own'],
      ['b', '2'],
      ['a', '3'],
    ],
  });
  t.same(read.header.slice(0, 3), [bool(false), ubyte(3), uint(1500)]);
  t.same(read.properties, {
    messageId: str('m'),
    to: str('devices/7'),
    subject: str('T'),
    replyTo: str('/topics/response/response/c1/7'),
    correlationId: str('c'),
    contentType: sym('text/plain'),
    absoluteExpiryTime: time(NOW_MS + 1500),
    creationTime: time(NOW_MS),
    groupId: str('g'),
  });
  t.same(
    [...read.applicationProperties],
    [
      ['a', str('1')],
      ['b', str('2')],
      ['gantry-keys', str('own')],
      ['keys', str('k1,k2')],
      ['traceparent', str('00-1')],
    ],
  );
  t.same(read.messageAnnotations.get('x-opt-duplicates'), {
    type: 'list',
    value: ['a', '1', 'keys', 'own', 'b', '2', 'a', '3'].map(str),
  });
  t.same(read.messageAnnotations.get('x-opt-gantry-from'), str('rocketmq'));
  t.same(read.body, [['data', bin('b')]]);
});

t.test('an MQTT message that says nothing but its body is made in a shorter way, with the same result', async (t) => {
  const topicOf = (address: string) => address;
  for (const addressBytes of [1, 236, 237, 240, 255, 256, 60_000]) {
    for (const bodyBytes of [0, 255, 256]) {
      const address = 'a'.repeat(addressBytes);
      const envelope = { protocol: EnvelopeProtocol.mqtt5, bytes: Buffer.alloc(0) };
      const message = encodeMessage({ address, body: Buffer.alloc(bodyBytes, 1), bornAt: NOW_MS, envelope });
      t.equal(isPlainForeign(message), true);
      t.same(plainForeign(message), foreignMessage(message, viewOf(message), topicOf), `${addressBytes}, ${bodyBytes}`);
    }
  }
  const packet = stored(new Message(Buffer.from([0x32, 7, 0, 1, 0x61, 0, 9, 0x62, 0x63]), 0, 9));
  t.equal(isPlainForeign(packet), true);
  t.same(plainForeign(packet), foreignMessage(packet, viewOf(packet), topicOf));
  const other = (fields: Partial<MessageFields>) =>
    encodeMessage({ address: 'a', body: Buffer.from('b'), bornAt: NOW_MS, ...fields });
  for (const fields of [{}, { text: true }, { tag: 'x' }, { properties: [['a', 'b']] as const }]) {
    const envelope = { protocol: EnvelopeProtocol.mqtt5, bytes: Buffer.alloc(0) };
    t.equal(isPlainForeign(other({ ...fields, envelope })), Object.keys(fields).length === 0);
  }
  t.equal(isPlainForeign(other({ messageId: 'm' })), false, 'of RocketMQ');
  t.same(plainForeign(other({})), foreignMessage(other({}), viewOf(other({})), topicOf), 'a retained one');
});

t.test('text is data that JMS clients read as a TextMessage', async (t) => {
  t.same(foreign({ text: true }).messageAnnotations.get('x-opt-jms-msg-type'), { type: 'byte', value: 5 });
  t.notOk(foreign({}).messageAnnotations.has('x-opt-jms-msg-type'));
  const lie = foreign({ text: true, body: Buffer.from([0xff]) });
  t.notOk(lie.messageAnnotations.has('x-opt-jms-msg-type'), 'what is none would fail there');
});

t.test('ids of other protocols get the type they look like', async (t) => {
  const urn = 'urn:uuid:0c1e7b3a-8d5f-4c2b-9a61-3f0d2e4b5a69';
  t.equal(foreign({ messageId: urn }).properties.messageId!.type, 'uuid');
  t.equal(foreign({ messageId: urn.toUpperCase() }).properties.messageId!.type, 'string');
  t.equal(foreign({ correlationId: Buffer.from(urn) }).properties.correlationId!.type, 'uuid');
  t.equal(foreign({ replyTo: 'a+' }).properties.replyTo!.type, 'string');
  t.equal(foreign({ correlationId: Buffer.from([1, 2]) }).properties.correlationId!.type, 'binary');
});

t.test('reserved properties that say nothing true are harmless', async (t) => {
  const facts = (value: object) =>
    foreign({
      properties: [
        ['gantry-amqp', JSON.stringify(value)],
        ['gantry-types', '{"properties":[["n","int"]]}'],
        ['n', 'x'],
      ],
    });
  for (const body of ['encoded', 'none', 'null', [1, 7], [], 'other', 5]) {
    t.same(facts({ body }).body, [['data', bin('b')]], JSON.stringify(body));
  }
  const read = facts({
    footer: 'AAAA',
    annotations: '!',
    userId: '!',
    creationTime: 'x',
    groupSequence: -1,
    empty: [7],
  });
  t.same([...read.applicationProperties], [['n', str('x')]]);
  t.equal(read.footer, undefined);
  t.same(read.properties, {});
  t.same(read.deliveryAnnotations.get('x-opt-address'), str('devices/7'));
  t.same(foreign({ properties: [['gantry-amqp', '[']] }).properties.to, str('devices/7'));
});

t.test('reply addresses of queues can be published to, those of devices are AMQP addresses', async (t) => {
  const topicOf = (address: string): string => {
    if (address.startsWith('$')) throw new Error('no topic');
    return address.split('/')[0]! || 'mqtt';
  };
  const shown: Readonly<Record<string, string>> = {
    '/queues/a%2Fb': '$reply/q/a%2Fb',
    '/queue/r': '$reply/q/r',
    '/amq/queue/r': '$reply/q/r',
    'queue://r/1': '$reply/q/r%2F1',
    'queue:///queues/r': '$reply/q/r',
    'queue:///topics/t/r/1': 'r/1',
    replies: '$reply/q/replies',
    '/topics/t/a/b%20c//d': 'a/b c//d',
    '/topics/t': 't',
    'topic://t': 't',
    '/exchanges/x/key': '$reply/a/%2Fexchanges%2Fx%2Fkey',
    'orders::group': '$reply/a/orders%3A%3Agroup',
    '/queues/%zz': '$reply/a/%2Fqueues%2F%25zz',
    '/topics/t/%23': '$reply/a/%2Ftopics%2Ft%2F%2523',
    '': '$reply/a/',
  };
  for (const [address, replyTo] of Object.entries(shown)) t.equal(replyTopicOf(address), replyTo, address);
  t.equal(replyAddressOf('$reply/q/a%2Fb', topicOf), '/queues/a%2Fb');
  t.equal(replyAddressOf('$reply/a/%2Fexchanges%2Fx%2Fkey', topicOf), '/exchanges/x/key');
  const seed = testSeed();
  for (let i = 0; i < 500; i++) {
    const random = new Random(seed + i);
    const topic = random.pick(['a/b', 'a//b/', `/${random.text(5)}`, `x${random.text(8)}`, '%zz']);
    t.equal(replyTopicOf(replyAddressOf(topic, topicOf)), topic, `seed ${seed + i}`);
  }
});
