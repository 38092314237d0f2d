import t from 'tap';
import { encodeFrame, encodeSaslFrame } from '../../../../../adapters/amqp/v1/codec/frame-encoder.ts';
import { PROTOCOL_HEADERS } from '../../../../../adapters/amqp/v1/codec/protocol-header.ts';
import { type DecodedFrame, FrameCollector } from '../../../../helpers/amqp-frames.ts';
import { PERFORMATIVES, SASL_PERFORMATIVES } from '../../../../helpers/amqp-samples.ts';
import { Random, seeds } from '../../../../helpers/random.ts';

/** Frames written and read again: whole, in pieces, from the middle of a buffer, with something wrong in them. */

const RUNS = 300;

/** A conversation with one frame of every kind in it, and what has to be read. */
function conversation(random: Random): { bytes: Buffer; frames: DecodedFrame[] } {
  const parts: Buffer[] = [PROTOCOL_HEADERS.sasl];
  const frames: DecodedFrame[] = [{ kind: 'header', protocol: 'sasl', bytes: '414d515003010000' }];
  for (const make of Object.values(SASL_PERFORMATIVES)) {
    const performative = make(random);
    parts.push(encodeSaslFrame(performative));
    frames.push({ kind: 'sasl', performative });
  }
  parts.push(PROTOCOL_HEADERS.amqp);
  frames.push({ kind: 'header', protocol: 'amqp', bytes: '414d515000010000' });
  for (const make of Object.values(PERFORMATIVES)) {
    const performative = make(random);
    const channel = random.pick([0, 1, 255, 256, 65_535]);
    const payload = performative.kind === 'transfer' ? random.bytes(40) : Buffer.alloc(0);
    parts.push(encodeFrame(channel, performative, payload), Buffer.from('0000000802000007', 'hex'));
    frames.push(
      { kind: 'amqp', channel, performative, payload: payload.toString('hex') },
      { kind: 'empty', channel: 7 },
    );
  }
  return { bytes: Buffer.concat(parts), frames };
}

t.test('every performative, whole', async (t) => {
  for (const seed of seeds(RUNS)) {
    const { bytes, frames } = conversation(new Random(seed));
    const collector = new FrameCollector();
    collector.decoder.push(bytes);
    if (!t.strictSame(collector.frames, frames, `GANTRY_SEED=${seed}`)) return;
  }
});
