import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import { CodecError } from '../../adapters/amqp/v1/codec/codec-error.ts';
import { FrameDecoder, type FrameHandler } from '../../adapters/amqp/v1/codec/frame-decoder.ts';
import { encodeFrame, encodeSaslFrame } from '../../adapters/amqp/v1/codec/frame-encoder.ts';
import type { TransferFrame } from '../../adapters/amqp/v1/codec/hot-frames.ts';
import { type MessageHeader, readHeader } from '../../adapters/amqp/v1/codec/message-header.ts';
import {
  PROPERTY_COUNT,
  type PropertyIndex,
  PropertyRanges,
  readProperty,
  scanProperties,
} from '../../adapters/amqp/v1/codec/message-properties.ts';
import { PROTOCOL_HEADERS } from '../../adapters/amqp/v1/codec/protocol-header.ts';
import { Reader } from '../../adapters/amqp/v1/codec/reader.ts';
import { MessageSections, scanSections } from '../../adapters/amqp/v1/codec/sections.ts';
import { encodeValue } from '../../adapters/amqp/v1/codec/writer.ts';
import { type DecodedFrame, FrameCollector } from '../helpers/amqp-frames.ts';
import { AMQP_MUTATIONS, mutateFrame } from '../helpers/amqp-mutations.ts';
import { PERFORMATIVES, randomValue, SASL_PERFORMATIVES } from '../helpers/amqp-samples.ts';
import { Random, testSeed } from '../helpers/random.ts';
import { heapBytes } from '../helpers/heap.ts';

/** Frames of every kind with something wrong with them, against the decoder. GANTRY_SEED repeats a run, GANTRY_FRAMES sets how many. */

const FRAMES = Number(process.env['GANTRY_FRAMES'] ?? 1_000_000);
const TIMEOUT_MS = 90_000 * Math.max(1, FRAMES / 1_000_000);
const QUARTERS = 4;
/** What the heap may differ by between quarters: caches that fill, code that is compiled. */
const HEAP_BYTES_MAX = 4 * 1024 * 1024;
const FRAME_BYTES_MAX = 65_536;
const seed = testSeed();
const names = Object.keys(AMQP_MUTATIONS);

type Layer = 'amqp' | 'sasl';

/** A message of random sections, as the payload of a transfer. */
function randomMessage(random: Random): Buffer {
  const section = (code: number, value: Buffer): Buffer => Buffer.concat([Buffer.from([0x00, 0x53, code]), value]);
  const of = (type: 'list' | 'map'): Buffer => {
    const value = randomValue(random, 3);
    return value.type === type
      ? encodeValue(value)
      : Buffer.from(type === 'list' ? 'c0020140' : 'c10302a1016140', 'hex');
  };
  const parts = [
    section(0x70, Buffer.from('c003024140', 'hex')),
    section(0x72, of('map')),
    section(0x73, of('list')),
    section(0x74, of('map')),
    section(0x77, encodeValue(randomValue(random, 3))),
  ];
  return Buffer.concat(random.some(parts, 0.6));
}

function corpusOf(layer: Layer, random: Random): readonly Buffer[] {
  const makers = Object.entries<(random: Random) => unknown>(layer === 'amqp' ? PERFORMATIVES : SASL_PERFORMATIVES);
  const frames = makers.flatMap(([kind, make]) =>
    Array.from({ length: 200 }, () => {
      const performative = make(random) as never;
      if (layer === 'sasl') return encodeSaslFrame(performative);
      return encodeFrame(random.int(0, 3), performative, kind === 'transfer' ? randomMessage(random) : undefined);
    }),
  );
  return frames.filter(({ length }) => length < 2000 || random.chance(0.05));
}

const corpora = { amqp: corpusOf('amqp', new Random(seed)), sasl: corpusOf('sasl', new Random(seed ^ 1)) };

interface Input {
  readonly layer: Layer;
  readonly bytes: Buffer;
  /** How many frames in it were changed. */
  readonly mutated: number;
  readonly what: string;
}

/** Some frames in a row, valid and changed ones. */
function inputOf(random: Random): Input {
  const layer = random.chance(0.85) ? 'amqp' : 'sasl';
  const anyFrame = (): Buffer => random.pick(random.chance(0.95) ? corpora[layer] : corpora.amqp);
  const parts: Buffer[] = [];
  const done: string[] = [];
  if (random.chance(0.15)) parts.push(anyFrame());
  for (let i = random.int(1, 3); i > 0; i--) {
    const applied = Array.from({ length: random.chance(0.8) ? 1 : random.int(2, 4) }, () => random.pick(names));
    parts.push(mutateFrame(anyFrame(), anyFrame(), applied, random));
    done.push(applied.join('+'));
  }
  if (random.chance(0.15)) parts.push(anyFrame());
  return { layer, bytes: Buffer.concat(parts), mutated: done.length, what: done.join(', ') };
}

const sections = new MessageSections();
const ranges = new PropertyRanges();
const header: MessageHeader = { durable: false, priority: 0, ttlMs: 0, firstAcquirer: false, deliveryCount: 0 };

/** Reads everything there is in a payload. */
function readMessage({ buffer, payloadStart, payloadEnd }: TransferFrame): void {
  scanSections(buffer, payloadStart, payloadEnd, sections);
  readHeader(buffer, sections.header, header);
  scanProperties(buffer, sections.properties, ranges);
  for (let index = 0; index < PROPERTY_COUNT; index++) readProperty(buffer, ranges, index as PropertyIndex);
  for (const { isPresent, valueStart, end } of [sections.messageAnnotations, sections.body, sections.footer]) {
    if (isPresent) new Reader(buffer, valueStart, end).value('section');
  }
}

/** Keeps nothing, unless it is to be looked at. */
class Discarding implements FrameHandler {
  onProtocolHeader(): void {}
  onTransfer(_channel: number, transfer: TransferFrame): void {
    try {
      readMessage(transfer);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
    }
  }
  onDisposition(): void {}
  onFlow(): void {}
  onPerformative(): void {}
  onSasl(): void {}
  onEmptyFrame(): void {}
}

function push(decoder: FrameDecoder, { layer, bytes }: Input, random: Random): void {
  decoder.push(PROTOCOL_HEADERS[layer]);
  if (random.chance(0.6)) {
    decoder.push(bytes);
    return;
  }
  const at = random.int(0, bytes.length);
  const end = random.int(at, bytes.length);
  decoder.push(bytes, 0, at);
  decoder.push(bytes, at, end);
  decoder.push(bytes, end);
}

/** Gives one input to a decoder. Returns what is wrong with the outcome. */
function tryDecoder(random: Random, input: Input): string[] {
  const collector = random.chance(0.1) ? new FrameCollector({ frameBytesMax: FRAME_BYTES_MAX }) : undefined;
  const decoder = collector?.decoder ?? new FrameDecoder(new Discarding(), { frameBytesMax: FRAME_BYTES_MAX });
  try {
    push(decoder, input, random);
  } catch (error) {
    const isRefused = error instanceof CodecError && decoder.closed;
    if (!isRefused) return [`${input.what}: ${(error as Error).stack} ${input.bytes.toString('hex')}`];
  }
  return collector === undefined ? [] : misreadings(collector.frames);
}

/** What was accepted has to be a frame that can be written and read again. */
function misreadings(frames: readonly DecodedFrame[]): string[] {
  const wrong: string[] = [];
  for (const frame of frames) {
    if (frame.kind !== 'amqp' && frame.kind !== 'sasl') continue;
    const again = new FrameCollector();
    try {
      again.decoder.push(PROTOCOL_HEADERS[frame.kind]);
      const bytes =
        frame.kind === 'sasl'
          ? encodeSaslFrame(frame.performative)
          : encodeFrame(frame.channel, frame.performative, Buffer.from(frame.payload, 'hex'));
      again.decoder.push(bytes);
      if (!isDeepStrictEqual(again.frames[1], frame)) wrong.push(`read differently: ${bytes.toString('hex')}`);
    } catch (error) {
      wrong.push(`accepted, but not valid: ${(error as Error).stack}`);
    }
  }
  return wrong;
}

function timeOf(run: () => unknown): number {
  const startedAt = performance.now();
  run();
  return performance.now() - startedAt;
}

t.test(`${FRAMES} frames against the decoder (GANTRY_SEED=${seed})`, { timeout: TIMEOUT_MS }, async (t) => {
  const random = new Random(seed);
  const wrong: string[] = [];
  const heap: number[] = [];
  let tried = 0;
  let slowestMs = 0;
  for (let quarter = 1; quarter <= QUARTERS; quarter++) {
    while (tried < (FRAMES / QUARTERS) * quarter) {
      const input = inputOf(random);
      const own = random.int(0, 0xffff_ffff);
      const run = (): string[] => tryDecoder(new Random(own), input);
      const startedAt = performance.now();
      wrong.push(...run());
      const ms = performance.now() - startedAt;
      // Again, for what was slow only because the machine was busy.
      if (ms > slowestMs) slowestMs = Math.max(slowestMs, Math.min(ms, timeOf(run)));
      tried += input.mutated;
      if (wrong.length > 10) break;
    }
    heap.push(heapBytes());
  }
  t.same(wrong, []);
  const mebibytes = heap.map((value) => (value / 1024 ** 2).toFixed(1)).join(' ');
  t.comment(`seed ${seed}, ${tried} frames, slowest ${slowestMs.toFixed(1)} ms, heap ${mebibytes} MiB`);
  t.ok(slowestMs < 200, 'none takes long');
  t.ok(heap.at(-1)! - heap[0]! < HEAP_BYTES_MAX, 'the heap stays as it is');
});
