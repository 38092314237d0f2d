import t from 'tap';
import { encodePacket } from '../../../../adapters/mqtt/codec/encoder.ts';
import { Decoder } from '../../../../adapters/mqtt/codec/decoder.ts';
import type { Properties, ProtocolVersion, Qos } from '../../../../adapters/mqtt/codec/packet.ts';
import { readProperties } from '../../../../adapters/mqtt/codec/properties.ts';
import { InboundTranslator, OutboundTranslator } from '../../../../adapters/mqtt/translate.ts';
import { encodeMessage, type Message, type MessageFields } from '../../../../core/model/message.ts';
import { viewMessage } from '../../../../core/model/message-view.ts';

const NOW_MS = 1_700_000_000_000;
const translator = new InboundTranslator();

function received(version: ProtocolVersion, qos: Qos, retain: boolean, properties?: Properties): Message {
  let message: Message | undefined;
  const decoder = new Decoder(
    {
      onPublish: (view) => (message = translator.message(view, NOW_MS)),
      onAcknowledgement: () => {},
      onPacket: () => {},
    },
    { packetBytesMax: 1_000 },
  );
  const connect = {
    type: 'connect',
    protocolVersion: version,
    clientIdentifier: 'c',
    cleanStart: true,
    keepAliveS: 0,
  } as const;
  decoder.push(encodePacket(connect, version));
  const packet = {
    type: 'publish',
    topicName: 'a/b',
    qos,
    dup: false,
    retain,
    payload: Buffer.from('x'),
    ...(qos > 0 && { packetIdentifier: 7 }),
    ...(properties !== undefined && { properties }),
  } as const;
  decoder.push(encodePacket(packet, version));
  return message!;
}

void t.test('a message says whether its publisher wants it retained', async (t) => {
  for (const version of [3, 4, 5] as const) {
    for (const qos of [0, 1, 2] as const) {
      for (const retain of [false, true]) {
        const message = received(version, qos, retain);
        const what = `version ${version}, QoS ${qos}, retain ${retain}`;
        t.match(message, { isRetained: retain, qos, address: 'a/b' }, what);
        t.equal(message.body.toString(), 'x');
        if (retain) t.equal(message.isPlain, false, what);
      }
    }
  }
  const expiring = received(5, 1, true, { messageExpiryIntervalS: 5 });
  t.match(expiring, { isRetained: true, expiresAt: NOW_MS + 5_000, qos: 1 });
  const named = received(5, 2, true, { userProperties: [['tag', 'T']] });
  t.match(named, { isRetained: true, tag: 'T', qos: 2 });
});

/** The properties MQTT clients get of another protocol's message. */
function foreign(fields: Partial<MessageFields>): Properties {
  const message = encodeMessage({ address: 'a/b', body: Buffer.from('x'), bornAt: NOW_MS, ...fields });
  const outbound = new OutboundTranslator((one) => viewMessage(one, new Map()));
  const { buffer, propertiesStart, propertiesEnd } = outbound.publishSource(message);
  return readProperties(buffer, propertiesStart, propertiesEnd);
}

void t.test('what MQTT cannot say of a message is left out, and the rest arrives', async (t) => {
  const tooLong = 'x'.repeat(65_536);
  const properties = foreign({
    properties: [
      ['a', '1'],
      ['null', 'a\0b'],
      ['n\0', ''],
      ['long', tooLong],
    ],
    tag: 'a\0b',
    keys: ['k'],
    contentType: 'a\0',
    correlationId: Buffer.alloc(65_536),
    replyTo: tooLong,
  });
  t.same(properties, {
    userProperties: [
      ['a', '1'],
      ['keys', 'k'],
    ],
  });
});

void t.test('a message that has nothing but a priority or a text is not one of MQTT', async (t) => {
  t.same(foreign({ priority: 3 }), { userProperties: [['priority', '3']] });
  t.same(foreign({ text: true }), { payloadFormatIndicator: 1 });
  t.same(foreign({}), {});
});

void t.test("a property of another publisher that is called like a field is the publisher's own", async (t) => {
  const { userProperties } = foreign({
    tag: 'T',
    properties: [
      ['tag', 'own'],
      ['gantry-tag', 'too'],
    ],
  });
  t.same(userProperties, [
    ['gantry-tag', 'own'],
    ['gantry-gantry-tag', 'too'],
    ['tag', 'T'],
  ]);
});
