import t from 'tap';
import { toMessageFields, toGrpcMessage } from '../../../../adapters/grpc/translate.ts';
import { loadMessagingService } from '../../../../adapters/grpc/proto/definition.ts';
import type { Message, Message__Output } from '../../../../adapters/grpc/proto/generated/apache/rocketmq/v2/Message.ts';
import { fromMs, toMs } from '../../../../adapters/grpc/time.ts';
import { fromUserProperties, toUserProperties } from '../../../../adapters/grpc/user-properties.ts';
import { checkMessage } from '../../../../adapters/grpc/validate.ts';
import { messageIdOf } from '../../../../core/model/message-id.ts';
import { encodeMessage, StoredMessage, type MessageFields, type Property } from '../../../../core/model/message.ts';
import { viewMessage } from '../../../../core/model/message-view.ts';
import { RESERVED_PROPERTY_KEYS } from '../../../../core/model/names.ts';
import type { Delivery } from '../../../../core/ports/message-engine.ts';
import { Random, testSeed } from '../../../helpers/random.ts';

const NOW = 1_700_000_000_000;
const service = loadMessagingService();

/** What the server decodes when a client sends this message. */
function received(message: Message): Message__Output {
  const { requestSerialize, requestDeserialize } = service.SendMessage;
  return requestDeserialize(requestSerialize({ messages: [message] })).messages[0]!;
}

/** What a client decodes when the server sends this message. */
function delivered(message: Message): Message__Output {
  const { responseSerialize, responseDeserialize } = service.ReceiveMessage;
  return responseDeserialize(responseSerialize({ message, content: 'message' })).message!;
}

function deliveryOf(fields: MessageFields, topic = 'T'): Delivery {
  const { buffer, start, end } = encodeMessage(fields);
  return {
    message: new StoredMessage(buffer, start, end, topic, 3, 42, NOW),
    attempt: 2,
    receipt: 'r',
    visibleAt: NOW,
  };
}

function toGrpc(fields: MessageFields, topic = 'T'): Message__Output {
  const delivery = deliveryOf(fields, topic);
  return delivered(toGrpcMessage(delivery, viewMessage(delivery.message, new Map()), 'gantry'));
}

function fromGrpc(message: Message__Output): MessageFields {
  return toMessageFields(message, message.systemProperties!, () => 'T', NOW);
}

const KEYS = ['a', 'é', 'KEYS', 'TTL', 'gantry-', 'gantry-address', 'gantry-KEYS', 'gantry-gantry-TTL', 'gantry-types'];
const TAKEN = [
  'content-type',
  'reply-to',
  'correlation-id',
  '__SHARDINGKEY',
  '__proto__',
  'constructor',
  'gantry-text',
];

function randomProperties(random: Random): Property[] {
  return Array.from({ length: random.int(0, 8) }, (): Property => [
    random.pick([...KEYS, ...TAKEN, ...RESERVED_PROPERTY_KEYS]),
    random.text(6),
  ]);
}

function randomFields(random: Random): MessageFields {
  const maybe = <T>(value: T): T | undefined => (random.chance(0.5) ? value : undefined);
  const derived = random.chance(0.5);
  return {
    address: derived ? 'T' : `devices/${random.int(0, 9)}/${random.text(4)}`,
    addressDerived: derived,
    body: random.bytes(40),
    bornAt: NOW - random.int(0, 1e6),
    text: random.chance(0.5),
    properties: randomProperties(random),
    messageId: `id-${random.int(0, 99)}`,
    tag: maybe('tag'),
    keys: random.chance(0.5) ? ['k1', 'k 2'] : [],
    messageGroup: maybe(`g${random.int(0, 9)}`),
    expiresAt: maybe(NOW + random.int(1, 1e9)),
    deliverAt: maybe(NOW + random.int(1, 1e9)),
    priority: maybe(random.int(0, 9)),
    bornHost: maybe('10.0.0.1'),
    contentType: maybe('text/plain'),
    correlationId: maybe(random.chance(0.5) ? random.bytes(8) : Buffer.from('c-1')),
    replyTo: maybe('$reply/q/x'),
    traceContext: maybe('00-1-2-01'),
    deadLetter: maybe({ topic: 'origin', messageId: 'before' }),
    bodyEncoding: maybe('GZIP'),
  };
}

function comparable(fields: MessageFields): object {
  return viewMessage(deliveryOf(fields).message, new Map());
}

t.test('a message of the core survives RocketMQ and comes back as it was', async (t) => {
  const seed = testSeed();
  for (let i = 0; i < 500; i++) {
    const fields = randomFields(new Random(seed + i));
    const back = fromGrpc(toGrpc(fields));
    t.strictSame(comparable(back), comparable(fields), `seed ${seed + i}`);
    if (!t.passing()) return;
  }
});

t.test('a message of a RocketMQ client reaches RocketMQ clients unchanged', async (t) => {
  const seed = testSeed();
  for (let i = 0; i < 300; i++) {
    const random = new Random(seed + i);
    const names = ['p', 'content-type', 'reply-to', 'correlation-id', 'gantry-types', 'gantry-', 'traceparent'];
    const userProperties: Record<string, string> = {};
    for (let n = random.int(0, 5); n > 0; n--) userProperties[random.pick(names)] = random.text(5);
    const sent = received({
      topic: { name: 'T' },
      userProperties,
      body: random.bytes(30),
      systemProperties: {
        messageId: 'M1',
        keys: random.chance(0.5) ? ['a', 'b c'] : [],
        bornTimestamp: fromMs(NOW - random.int(0, 1e6)),
        bornHost: 'host',
        bodyEncoding: random.pick(['IDENTITY', 'GZIP'] as const),
        ...(random.chance(0.5) && { tag: 'A' }),
        ...(random.chance(0.5) && { messageGroup: 'g' }),
        ...(random.chance(0.5) && { traceContext: 'trace' }),
      },
    });
    const got = toGrpc(fromGrpc(sent));
    const { __SHARDINGKEY: shardingKey, ...properties } = got.userProperties;
    const system = sent.systemProperties!;
    t.strictSame(properties, sent.userProperties, `seed ${seed + i}`);
    t.equal(shardingKey, system.messageGroup);
    t.same(got.body, sent.body);
    t.match(got.systemProperties, {
      messageId: 'M1',
      keys: system.keys,
      bornTimestamp: system.bornTimestamp,
      bornHost: 'host',
      bodyEncoding: system.bodyEncoding,
    });
    for (const field of ['tag', 'messageGroup', 'traceContext'] as const) {
      t.equal(got.systemProperties?.[field], system[field], field);
    }
    if (!t.passing()) return;
  }
});

t.test('delivery facts are filled in', async (t) => {
  const fields: MessageFields = { address: 'T/x', body: Buffer.from('hello'), bornAt: NOW - 1 };
  const { systemProperties, topic, userProperties } = toGrpc(fields, '%DLQ%g');
  t.match(systemProperties, {
    // Known answer: printf hello | md5sum
    bodyDigest: { type: 'MD5', checksum: '5D41402ABC4B2A76B9719D911017C592' },
    bodyEncoding: 'IDENTITY',
    messageType: 'NORMAL',
    messageId: messageIdOf(deliveryOf(fields, '%DLQ%g').message),
    deliveryAttempt: 2,
    queueId: 3,
    queueOffset: 42,
    receiptHandle: 'r',
    storeTimestamp: fromMs(NOW),
    storeHost: 'gantry',
  });
  t.match(systemProperties?.messageId, /^01[0-9A-F]{32}$/, 'in the form of RocketMQ ids');
  t.equal(topic?.name, '%DLQ%g');
  t.strictSame({ ...userProperties }, { 'gantry-address': 'T/x' });
  t.equal(toGrpc({ ...fields, messageGroup: 'g' }).systemProperties?.messageType, 'FIFO');
  t.equal(toGrpc({ ...fields, deliverAt: NOW }).systemProperties?.messageType, 'DELAY');
  t.match(toGrpc({ ...fields, deadLetter: { topic: 'o', messageId: 'i' } }).systemProperties?.deadLetterQueue, {
    topic: 'o',
    messageId: 'i',
  });
});

t.test('the sharding key names the message group too', async (t) => {
  const message = received({ userProperties: { __SHARDINGKEY: 'g' }, systemProperties: {}, body: Buffer.from('x') });
  t.match(fromGrpc(message), { messageGroup: 'g', properties: [] });
});

t.test('bad values under our own names are refused', async (t) => {
  const withProperty = (key: string, value: string) => () =>
    fromGrpc(received({ userProperties: { [key]: value }, systemProperties: {} }));
  for (const address of ['', 'a/+/b', 'a/#', '$SYS/x']) {
    t.throws(withProperty('gantry-address', address), { code: 'ILLEGAL_ADDRESS' }, address);
  }
  for (const time of ['', 'soon', '-1', '0', '1.5', '99999999999999999999']) {
    t.throws(withProperty('gantry-expires-at', time), { code: 'ILLEGAL_MESSAGE_PROPERTY_KEY' }, time);
  }
  t.match(withProperty('gantry-duplicates', '{"not":"a list"')(), { properties: [] });
  const priority = received({ systemProperties: { priority: 300 } });
  t.throws(() => fromGrpc(priority), { code: 'BAD_REQUEST' });
  const born = received({ systemProperties: { bornTimestamp: { seconds: Number.MAX_SAFE_INTEGER, nanos: 0 } } });
  t.throws(() => fromGrpc(born), { code: 'BAD_REQUEST' });
});

t.test('a client that edits one of several properties has its way', async (t) => {
  const map = toUserProperties([
    ['a', '1'],
    ['b', '2'],
    ['a', '3'],
    ['c', '4'],
  ]);
  delete map['c'];
  map['a'] = 'one';
  map['d'] = '5';
  t.strictSame(fromUserProperties(map), [
    ['a', 'one'],
    ['b', '2'],
    ['a', '3'],
    ['d', '5'],
  ]);
});

t.test('times', async (t) => {
  for (const ms of [0, 1, 999, 1000, NOW, NOW + 1, -1, -1001]) t.equal(toMs(fromMs(ms)), ms);
  t.equal(toMs({ seconds: 1, nanos: 1_999_999 }), 1001, 'rounded down');
  t.throws(() => toMs({ seconds: 1e14, nanos: 0 }), { code: 'BAD_REQUEST' });
});

t.test('the limits of RocketMQ', async (t) => {
  const good = { messageId: 'M', tag: 'A', keys: ['k'], messageGroup: 'g'.repeat(63) };
  const check = (system: object, userProperties: Record<string, string> = {}, body = 'x'): void => {
    const message = received({ systemProperties: { ...good, ...system }, userProperties, body: Buffer.from(body) });
    checkMessage(message, message.systemProperties!);
  };
  const many = (n: number): Record<string, string> => Object.fromEntries(Array.from({ length: n }, (_, i) => [i, '']));
  t.doesNotThrow(() => check({}));
  t.doesNotThrow(() => check({}, many(128)));
  // Tag and key take two bytes of the sum, the property's own key one.
  t.doesNotThrow(() => check({}, { k: 'v'.repeat(16_384 - 3) }));
  const bad: [string, object, Record<string, string>?, string?][] = [
    ['MESSAGE_BODY_EMPTY', {}, {}, ''],
    ['ILLEGAL_MESSAGE_ID', { messageId: ' ' }],
    ['ILLEGAL_MESSAGE_TAG', { tag: '' }],
    ['ILLEGAL_MESSAGE_TAG', { tag: 'a|b' }],
    ['ILLEGAL_MESSAGE_TAG', { tag: 'a\nb' }],
    ['ILLEGAL_MESSAGE_KEY', { keys: ['a', ' '] }],
    ['ILLEGAL_MESSAGE_KEY', { keys: ['\u0000'] }],
    ['ILLEGAL_MESSAGE_GROUP', { messageGroup: ' ' }],
    ['ILLEGAL_MESSAGE_GROUP', { messageGroup: 'g'.repeat(64) }],
    ['ILLEGAL_MESSAGE_GROUP', { messageGroup: 'é'.repeat(32) }],
    ['ILLEGAL_MESSAGE_GROUP', { messageGroup: 'a\u0085' }],
    ['MESSAGE_PROPERTIES_TOO_LARGE', {}, many(129)],
    ['MESSAGE_PROPERTIES_TOO_LARGE', {}, { k: 'v'.repeat(16_384 - 2) }],
    ['ILLEGAL_MESSAGE_PROPERTY_KEY', {}, { KEYS: 'x' }],
    ['ILLEGAL_MESSAGE_PROPERTY_KEY', {}, { k: 'a\u0007' }],
  ];
  for (const [code, system, properties, body] of bad) {
    t.throws(() => check(system, properties, body), { code }, `${code} ${JSON.stringify(system)}`);
  }
});
