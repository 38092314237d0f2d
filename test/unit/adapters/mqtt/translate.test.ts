import t from 'tap';
import { encodePacket } from '../../../../adapters/mqtt/codec/encoder.ts';
import { Decoder } from '../../../../adapters/mqtt/codec/decoder.ts';
import type { Properties, ProtocolVersion, Qos } from '../../../../adapters/mqtt/codec/packet.ts';
import { InboundTranslator } from '../../../../adapters/mqtt/translate.ts';
import type { Message } from '../../../../core/model/message.ts';

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
