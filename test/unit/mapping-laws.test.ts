import t from 'tap';
import { AMQP1_ENVELOPE_READER } from '../../adapters/amqp/v1/translate/envelope-reader.ts';
import { InboundTranslator as AmqpInbound } from '../../adapters/amqp/v1/translate/inbound-translator.ts';
import { OutboundTranslator as AmqpOutbound } from '../../adapters/amqp/v1/translate/outbound-translator.ts';
import { loadMessagingService } from '../../adapters/grpc/proto/definition.ts';
import type { Message as GrpcMessage } from '../../adapters/grpc/proto/generated/apache/rocketmq/v2/Message.ts';
import { fromMs } from '../../adapters/grpc/time.ts';
import { toGrpcMessage, toMessageFields } from '../../adapters/grpc/translate.ts';
import { Decoder } from '../../adapters/mqtt/codec/decoder.ts';
import { encodePacket } from '../../adapters/mqtt/codec/encoder.ts';
import type { Properties, Qos } from '../../adapters/mqtt/codec/packet.ts';
import { readProperties } from '../../adapters/mqtt/codec/properties.ts';
import {
  addedProperties,
  InboundTranslator as MqttInbound,
  MQTT_ENVELOPE_READER,
  OutboundTranslator as MqttOutbound,
} from '../../adapters/mqtt/translate.ts';
import { encodeMessage, StoredMessage, type Message } from '../../core/model/message.ts';
import { viewMessage, type EnvelopeReader, type MessageView } from '../../core/model/message-view.ts';
import { Routes } from '../../core/routing/routes.ts';
import { bytesOf, randomMessage, readMessage } from '../helpers/amqp-messages.ts';
import { ManualClock } from '../helpers/manual-clock.ts';
import { Random, testSeed } from '../helpers/random.ts';

/**
 * The laws of the mapping, for every ordered pair of protocols: a message that goes from one to the other, is sent again from
 * there as it was received, and comes back, is what its own protocol would have delivered at once; and on the way it says the
 * same in the words of the core.
 */

const NOW_MS = 1_700_000_000_000;
const RUNS = 400;
const clock = new ManualClock(NOW_MS);
const routes = new Routes([]);
const readers = new Map(
  [MQTT_ENVELOPE_READER, AMQP1_ENVELOPE_READER].map((reader: EnvelopeReader) => [reader.protocol, reader]),
);

function viewOf(message: Message): MessageView {
  return viewMessage(message, readers);
}

function stored({ buffer, start, end }: Message): StoredMessage {
  return new StoredMessage(buffer, start, end, 'T', 0, 7, NOW_MS);
}

/** One protocol's clients, and the gateway's side of them. `Sent` is also what a client sends that received it. */
interface Protocol<Sent> {
  readonly random: (random: Random) => Sent;
  readonly receive: (sent: Sent) => StoredMessage;
  readonly deliver: (message: StoredMessage) => Sent;
  /** What of a delivered message has to be the same again. */
  readonly comparable: (delivered: Sent, by: string) => unknown;
}

interface MqttPublish {
  readonly topicName: string;
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly properties: Properties;
}

const mqttInbound = new MqttInbound();
const mqttOutbound = new MqttOutbound(viewOf);

const mqtt: Protocol<MqttPublish> = {
  random(random) {
    const maybe = <T>(value: T): T | undefined => (random.chance(0.4) ? value : undefined);
    const names = ['p', 'é', 'p', '', 'tracestate', 'gantry-keys', 'gantry-tag', 'content-type', 'KEYS', 'reply-to'];
    const fields = ['tag', 'keys', 'message-id', 'message-group', 'priority', 'traceparent'];
    const valueOf = (name: string): string =>
      name === 'priority' ? '7' : random.pick(['x', 'k1', `y${random.text(4)}`]);
    const user: [string, string][] = [];
    for (let i = random.int(0, 6); i > 0; i--) user.push([random.pick(names), random.text(6)]);
    for (const name of random.some(fields, 0.3)) user.push([name, valueOf(name)]);
    const properties = definedOnly({
      userProperties: user,
      payloadFormatIndicator: maybe(1 as const),
      messageExpiryIntervalS: maybe(random.int(1, 1000)),
      contentType: maybe(random.pick(['text/plain', 'té/xt', 'application/vnd.amqp'])),
      correlationData: maybe(random.pick([Buffer.from('c-1'), random.bytes(8)])),
      responseTopic: maybe(random.pick(['response/c/1', 'a//b', '$reply/q/x', 'é/ü', '/lead'])),
    }) as Properties;
    return {
      topicName: random.pick(['devices/7', 'a//b', 'é/x', 'T']),
      payload: Buffer.from(random.text(12)),
      qos: random.pick([0, 1, 2]),
      properties,
    };
  },
  receive({ topicName, payload, qos, properties }) {
    let message: Message | undefined;
    const decoder = new Decoder(
      {
        onPublish: (view) => (message = mqttInbound.message(view, NOW_MS)),
        onAcknowledgement: () => {},
        onPacket: () => {},
      },
      { packetBytesMax: 1_000_000 },
    );
    const base = { protocolVersion: 5, clientIdentifier: 'c', cleanStart: true, keepAliveS: 0 } as const;
    decoder.push(encodePacket({ type: 'connect', ...base }, 5));
    const identifier = qos > 0 ? { packetIdentifier: 7 } : {};
    const packet = { type: 'publish', topicName, qos, dup: false, retain: false, payload, properties } as const;
    decoder.push(encodePacket({ ...packet, ...identifier }, 5));
    return stored(message!);
  },
  deliver(message) {
    const source = mqttOutbound.publishSource(message);
    const { buffer, topicStart, topicEnd, propertiesStart, propertiesEnd, payloadStart, payloadEnd } = source;
    const added = addedProperties(message, null, undefined, clock);
    const properties = {
      ...(added === null ? {} : readProperties(added, 0, added.length)),
      ...readProperties(buffer, propertiesStart, propertiesEnd),
    };
    return {
      topicName: buffer.toString('utf8', topicStart, topicEnd),
      payload: Buffer.from(buffer.subarray(payloadStart, payloadEnd)),
      qos: message.qos,
      properties,
    };
  },
  comparable: ({ topicName, payload, properties }, by) => {
    const { userProperties = [], ...others } = properties;
    // Properties of the publisher keep their order; where those stand that are fields is not said.
    const isField = ([name]: readonly [string, string]) => FIELD_NAMES.has(name);
    const user =
      by === 'mqtt'
        ? userProperties
        : [...userProperties.filter((one) => !isField(one)), ...userProperties.filter(isField).toSorted(byName)];
    return { topicName, payload, user, ...others };
  },
};

const FIELD_NAMES = new Set(['tag', 'keys', 'message-id', 'message-group', 'priority', 'traceparent']);

function definedOnly<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}

const amqpInbound = new AmqpInbound();
const amqpOutbound = new AmqpOutbound(viewOf, (address) => routes.resolve(address).topic);

interface AmqpTransfer {
  readonly bytes: Buffer;
  /** The target of the link it is sent on; else properties.to. */
  readonly target: string;
}

const amqp: Protocol<AmqpTransfer> = {
  random: (random) => ({
    bytes: bytesOf(randomMessage(random, NOW_MS)),
    target: random.pick(['devices/7', 'é/x', 'T']),
  }),
  receive({ bytes, target }) {
    amqpInbound.scan(bytes, 0, bytes.length);
    return stored(amqpInbound.message(Buffer.from(target), false, NOW_MS));
  },
  deliver(message) {
    amqpOutbound.translate(message, 1, NOW_MS);
    const { head, headEnd, buffer, start, end } = amqpOutbound;
    const bytes = Buffer.concat([head.subarray(0, headEnd), buffer.subarray(start, end)]);
    return { bytes, target: message.address };
  },
  comparable({ bytes, target }, by) {
    const { deliveryAnnotations: _hop, header, ...bare } = readMessage(bytes);
    // Who says nothing of durability is heard as somebody who does.
    return { ...bare, header: header.slice(by === 'amqp' ? 0 : 1, 3), target };
  },
};

const service = loadMessagingService();

const rocketmq: Protocol<GrpcMessage> = {
  random(random) {
    const maybe = <T extends object>(value: T): T | object => (random.chance(0.4) ? value : {});
    const names = [
      'p',
      'é',
      'keys',
      'tag',
      'priority',
      'traceparent',
      'tracestate',
      'gantry-tag',
      'gantry-keys',
      'message-id',
    ];
    const userProperties: Record<string, string> = {};
    for (let i = random.int(0, 6); i > 0; i--) userProperties[random.pick(names)] = random.text(6);
    for (const name of random.some(['content-type', 'reply-to', 'correlation-id'], 0.3)) {
      userProperties[name] = name === 'reply-to' ? 'response/c' : `x${random.text(4)}`;
    }
    if (random.chance(0.3)) userProperties['gantry-expires-at'] = String(NOW_MS + random.int(1, 1000) * 1000);
    userProperties['gantry-address'] = random.pick(['devices/7', 'a//b', 'T']);
    return {
      topic: { name: 'T' },
      userProperties,
      body: random.bytes(40),
      systemProperties: {
        messageId: random.pick(['M1', 'urn:uuid:0c1e7b3a-8d5f-4c2b-9a61-3f0d2e4b5a69']),
        keys: random.chance(0.4) ? ['k1', 'k 2'] : [],
        bornTimestamp: fromMs(NOW_MS - random.int(0, 1e6)),
        bornHost: random.pick(['10.0.0.1', 'h']),
        ...maybe({ tag: 'A' }),
        ...maybe({ messageGroup: 'g' }),
        ...maybe({ traceContext: '00-1-2-01' }),
        ...maybe({ priority: random.int(0, 9) }),
        ...maybe({ deliveryTimestamp: fromMs(NOW_MS + random.int(1, 1e6)) }),
      },
    };
  },
  receive(sent) {
    const { requestSerialize, requestDeserialize } = service.SendMessage;
    const message = requestDeserialize(requestSerialize({ messages: [sent] })).messages[0]!;
    return stored(encodeMessage(toMessageFields(message, message.systemProperties!, () => 'T', NOW_MS)));
  },
  deliver(message) {
    const delivery = { message, attempt: 1, receipt: 'r', visibleAt: NOW_MS };
    const { responseSerialize, responseDeserialize } = service.ReceiveMessage;
    const sent = toGrpcMessage(delivery, viewOf(message), 'gantry');
    // What had no id got one, and gets another where it is sent again.
    sent.systemProperties!.messageId = message.messageId ?? '';
    return responseDeserialize(responseSerialize({ message: sent, content: 'message' })).message!;
  },
  comparable({ userProperties = {}, systemProperties, body }, by) {
    const { messageId, keys, tag, messageGroup, traceContext, priority, ...others } = systemProperties!;
    // MQTT has no place for where and when it was born, and tells nobody when it was to be delivered.
    const { bornTimestamp, bornHost, deliveryTimestamp } = others;
    const born = by === 'mqtt' ? {} : { bornTimestamp, bornHost, deliveryTimestamp };
    return {
      messageId,
      keys,
      tag,
      messageGroup,
      traceContext,
      priority,
      ...born,
      userProperties: sorted(userProperties),
      body,
    };
  },
};

function byName([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

function sorted(properties: object): object {
  return Object.fromEntries(Object.entries(properties).toSorted(byName));
}

const PROTOCOLS: Readonly<Record<string, Protocol<never>>> = { mqtt, amqp, rocketmq } as never;

/** What every protocol has to get across, in the words of the core. */
function coreOf(message: StoredMessage): object {
  const view = viewOf(message);
  const { address, body, keys, tag, messageId, messageGroup, priority, contentType, replyTo, traceContext, text } =
    view;
  const fields = {
    address,
    body,
    keys,
    tag,
    messageId,
    messageGroup,
    priority,
    contentType,
    replyTo,
    traceContext,
    text,
  };
  const { expiresAt, correlationId } = view;
  const own = view.properties.filter(([key]) => key !== 'gantry-types' && key !== 'gantry-amqp');
  return {
    ...fields,
    own,
    correlationId: correlationId === undefined ? undefined : Buffer.from(correlationId),
    // MQTT counts in seconds, rounded up.
    expiresInS: expiresAt === 0 ? 0 : Math.ceil((expiresAt - NOW_MS) / 1000),
  };
}

for (const [from, one] of Object.entries(PROTOCOLS)) {
  for (const [to, other] of Object.entries(PROTOCOLS)) {
    void t.test(`${from} to ${to} and back`, async (t) => {
      const seed = testSeed();
      for (let i = 0; i < RUNS; i++) {
        const sent = one.random(new Random(seed + i));
        const message = one.receive(sent);
        const there = other.receive(other.deliver(message));
        const back = one.deliver(there);
        t.same(one.comparable(back, to), one.comparable(one.deliver(message), to), `seed ${seed + i}`);
        t.same(coreOf(there), coreOf(message), `seed ${seed + i}`);
        if (!t.passing()) return;
      }
    });
  }
}
