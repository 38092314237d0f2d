import t from 'tap';
import { PublishOutput } from '../../../../adapters/mqtt/publish-output.ts';
import { Random, seeds } from '../../../helpers/random.ts';
import { streamPair } from '../../../helpers/stream-pair.ts';

/** The packets of a store: [start, end) in one of two buffers. */
const PACKET_BYTES = 100;
const STORED = [1, 2].map((byte) => Buffer.alloc(2_000 * PACKET_BYTES, byte));

t.test('packets side by side, patched, and others between them come as they were appended', async (t) => {
  for (const seed of seeds(50)) {
    const random = new Random(seed);
    const [ours, theirs] = streamPair();
    const output = new PublishOutput(ours);
    const expected: Buffer[] = [];
    let source = STORED[0]!;
    let at = 0;
    for (let i = 0, count = random.int(1, 1_500); i < count; i++) {
      if (random.chance(0.05)) {
        source = random.pick(STORED);
        at = random.below(1_000) * PACKET_BYTES;
      }
      output.append(source, at, at + PACKET_BYTES);
      const packet = Buffer.from(source.subarray(at, at + PACKET_BYTES));
      at = (at + PACKET_BYTES) % source.length;
      if (random.chance(0.7)) {
        const distance = random.int(2, PACKET_BYTES);
        output.patchUint16(distance, i);
        packet.writeUInt16BE(i, PACKET_BYTES - distance);
      }
      expected.push(packet);
      if (random.chance(0.05)) {
        const text = random.text(20);
        output.reserve(100);
        output.used += output.chunk.write(text, output.used);
        expected.push(Buffer.from(text));
      }
    }
    const whole = Buffer.concat(expected);
    t.equal(output.bytes, whole.length);
    output.flush();
    t.equal(ours.writes, 1);
    t.ok((theirs.read() as Buffer).equals(whole), `seed ${seed}`);
  }
  t.ok(
    STORED.every((buffer, i) => buffer.every((byte) => byte === i + 1)),
    'the store is as it was',
  );
});
