import t from 'tap';
import { CodecError } from '../../../../../adapters/amqp/v1/codec/codec-error.ts';
import { FrameDecoder } from '../../../../../adapters/amqp/v1/codec/frame-decoder.ts';
import { encodeFrame, encodeSaslFrame } from '../../../../../adapters/amqp/v1/codec/frame-encoder.ts';
import {
  DISPOSITION_BYTES_MAX,
  EMPTY_FRAME_BYTES,
  FLOW_BYTES_MAX,
  TRANSFER_HEAD_BYTES_MAX,
  writeDisposition,
  writeEmptyFrame,
  writeFlow,
  writeTransfer,
} from '../../../../../adapters/amqp/v1/codec/frame-writer.ts';
import type { TransferFrame } from '../../../../../adapters/amqp/v1/codec/hot-frames.ts';
import { performativeValue, saslValue } from '../../../../../adapters/amqp/v1/codec/performative-values.ts';
import type {
  Accepted,
  Disposition,
  Flow,
  Performative,
  Released,
  SaslPerformative,
} from '../../../../../adapters/amqp/v1/codec/performatives.ts';
import {
  booleanValue,
  describedValue,
  fieldsValue,
  listValue,
  mapOf,
  NULL_VALUE,
  stringValue,
  symbolValue,
  ubyteValue,
  uintValue,
  ulongValue,
} from '../../../../../adapters/amqp/v1/codec/plain-values.ts';
import { PROTOCOL_HEADERS } from '../../../../../adapters/amqp/v1/codec/protocol-header.ts';
import type { AmqpValue } from '../../../../../adapters/amqp/v1/codec/values.ts';
import { encodeValue } from '../../../../../adapters/amqp/v1/codec/writer.ts';
import { type DecodedFrame, FrameCollector } from '../../../../helpers/amqp-frames.ts';
import { PERFORMATIVES, randomUint, SASL_PERFORMATIVES } from '../../../../helpers/amqp-samples.ts';
import { Random, seeds } from '../../../../helpers/random.ts';

/** Frames written and read again: whole, in pieces, from the middle of a buffer, with something wrong in them. */

const RUNS = 300;
const { amqp: AMQP, sasl: SASL } = PROTOCOL_HEADERS;

/** A conversation with one frame of every kind in it, and what has to be read. */
function conversation(random: Random): { bytes: Buffer; frames: DecodedFrame[] } {
  const parts: Buffer[] = [SASL];
  const frames: DecodedFrame[] = [{ kind: 'header', protocol: 'sasl', bytes: '414d515003010000' }];
  for (const make of Object.values(SASL_PERFORMATIVES)) {
    const performative = make(random);
    parts.push(encodeSaslFrame(performative));
    frames.push({ kind: 'sasl', performative });
  }
  parts.push(AMQP);
  frames.push({ kind: 'header', protocol: 'amqp', bytes: '414d515000010000' });
  for (const make of Object.values(PERFORMATIVES)) {
    const performative = make(random);
    const channel = random.pick([0, 1, 255, 256, 65_535]);
    const payload = performative.kind === 'transfer' ? random.bytes(40) : Buffer.alloc(0);
    parts.push(encodeFrame(channel, performative, payload), Buffer.from('0000000802000007', 'hex'));
    frames.push({ kind: 'amqp', channel, performative, payload: payload.toString('hex') });
    frames.push({ kind: 'empty', channel: 7 });
  }
  return { bytes: Buffer.concat(parts), frames };
}

/** A frame around bytes that may be anything. */
function frame(body: Buffer, { type = 0, channel = 0, doff = 2, size = body.length + 8 } = {}): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(size);
  head[4] = doff;
  head[5] = type;
  head.writeUInt16BE(channel, 6);
  return Buffer.concat([head, body]);
}

/** What comes of bytes behind a protocol header. */
function refusal(bytes: Buffer, header = AMQP): string {
  const collector = new FrameCollector();
  try {
    collector.decoder.push(Buffer.concat([header, bytes]));
    return 'none';
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    return `${error.condition}: ${error.message}${collector.decoder.closed ? '' : ' (not closed)'}`;
  }
}

t.test('every performative, whole', async (t) => {
  for (const seed of seeds(RUNS)) {
    const { bytes, frames } = conversation(new Random(seed));
    const collector = new FrameCollector();
    collector.decoder.push(bytes);
    if (!t.strictSame(collector.frames, frames, `GANTRY_SEED=${seed}`)) return;
  }
});

t.test('byte by byte, at every split, from the middle of a buffer that has other things in it', async (t) => {
  const [seed] = seeds(1);
  const { bytes, frames } = conversation(new Random(seed!));
  const single = new FrameCollector();
  for (let at = 0; at < bytes.length; at++) single.decoder.push(bytes.subarray(at, at + 1));
  t.strictSame(single.frames, frames, `GANTRY_SEED=${seed}`);
  const pooled = Buffer.concat([Buffer.alloc(13, 0xff), bytes, Buffer.alloc(9, 0xff)]);
  const before = Buffer.from(pooled);
  for (let split = 0; split <= bytes.length; split++) {
    const collector = new FrameCollector();
    collector.decoder.push(pooled, 13, 13 + split);
    t.equal(collector.decoder.closed, false);
    collector.decoder.push(pooled, 13 + split, 13 + bytes.length);
    if (!t.strictSame(collector.frames, frames, `GANTRY_SEED=${seed} ${split}`)) return;
    t.notOk(collector.decoder.isInFrame);
  }
  t.strictSame(pooled, before, 'nothing was written to it');
});

t.test('in random pieces', async (t) => {
  for (const seed of seeds(RUNS)) {
    const random = new Random(seed);
    const { bytes, frames } = conversation(random);
    const collector = new FrameCollector();
    for (let at = 0; at < bytes.length;) {
      const end = Math.min(bytes.length, at + random.int(1, random.pick([3, 50, 1000])));
      collector.decoder.push(bytes, at, end);
      at = end;
    }
    if (!t.strictSame(collector.frames, frames, `GANTRY_SEED=${seed}`)) return;
  }
});

t.test('a payload that is whole is not copied; one in pieces has memory of its own', async (t) => {
  const transfer = encodeFrame(0, PERFORMATIVES.transfer(new Random(1)), Buffer.alloc(200_000, 7));
  const buffers: Buffer[] = [];
  const collector = new FrameCollector();
  const { decoder } = collector;
  collector.onTransfer = (_channel: number, { buffer, payloadStart, payloadEnd }: TransferFrame) => {
    t.equal(payloadEnd - payloadStart, 200_000);
    t.equal(buffer[payloadEnd - 1], 7);
    buffers.push(buffer);
  };
  decoder.push(AMQP);
  decoder.push(transfer);
  t.equal(buffers[0], transfer);
  for (let at = 0; at < transfer.length; at++) decoder.push(transfer, at, at + 1);
  t.equal(buffers.length, 2);
  t.not(buffers[1]?.buffer, transfer.buffer);
});

t.test('held back at every frame until it goes on', async (t) => {
  const [seed] = seeds(1);
  const { bytes, frames } = conversation(new Random(seed!));
  for (const piece of [bytes.length, 7]) {
    const collector = new FrameCollector();
    const { decoder } = collector;
    collector.onFrame = () => decoder.pause();
    for (let at = 0; at < bytes.length; at += piece) decoder.push(bytes, at, Math.min(bytes.length, at + piece));
    for (let count = 1; count <= frames.length; count++) {
      t.equal(collector.frames.length, count);
      decoder.resume();
    }
    t.equal(decoder.heldBytes, 0);
    t.strictSame(collector.frames, frames, `GANTRY_SEED=${seed}`);
  }
  const collector = new FrameCollector();
  collector.onFrame = () => collector.decoder.close();
  collector.decoder.push(bytes);
  collector.decoder.push(bytes);
  t.equal(collector.frames.length, 1, 'closed from inside');
});

t.test('protocol headers', async (t) => {
  const headers = (bytes: Buffer): string[] => {
    const collector = new FrameCollector();
    for (const byte of bytes) collector.decoder.push(Buffer.from([byte]));
    return collector.frames.map((found) => (found.kind === 'header' ? `${found.protocol} ${found.bytes}` : found.kind));
  };
  t.same(headers(PROTOCOL_HEADERS.tls), ['tls 414d515002010000']);
  t.same(headers(Buffer.concat([PROTOCOL_HEADERS.tls, SASL])), ['tls 414d515002010000', 'sasl 414d515003010000']);
  for (const bytes of [
    'AMQP\x00\x00\x09\x01',
    'AMQP\x01\x01\x00\x0a',
    'AMQP\x00\x01\x00\x01',
    'GET / HT',
    'AMQP\x04\x01\x00\x00',
  ]) {
    const unknown = Buffer.from(bytes, 'latin1');
    t.same(headers(Buffer.concat([unknown, AMQP])), [`unknown ${unknown.toString('hex')}`]);
  }
  t.same(headers(AMQP.subarray(0, 7)), []);
  const init = encodeSaslFrame({ kind: 'sasl-init', mechanism: 'PLAIN' });
  const collector = new FrameCollector();
  collector.decoder.push(Buffer.concat([SASL, init]));
  collector.decoder.expectHeader();
  collector.decoder.push(Buffer.concat([AMQP, frame(Buffer.alloc(0))]));
  t.same(
    collector.frames.map(({ kind }) => kind),
    ['header', 'sasl', 'header', 'empty'],
  );
});

t.test('what a frame may be', async (t) => {
  const open = encodeFrame(0, PERFORMATIVES.open(new Random(1)));
  const body = open.subarray(8);
  const init = encodeSaslFrame({ kind: 'sasl-init', mechanism: 'PLAIN' });
  const framing = /^amqp:connection:framing-error/;
  t.equal(
    refusal(frame(Buffer.concat([Buffer.alloc(12), body]), { doff: 5 })),
    'none',
    'an extended header is skipped',
  );
  t.match(refusal(frame(body, { doff: 1 })), framing);
  t.match(refusal(frame(body, { doff: 0 })), framing);
  t.match(refusal(frame(body, { doff: 255 })), framing);
  t.match(refusal(frame(body, { size: 7 })), framing);
  t.match(refusal(frame(body, { size: 0 })), framing);
  t.match(refusal(frame(body, { size: 1024 * 1024 + 1 })), framing);
  t.match(refusal(frame(body, { size: 0xffff_ffff }).subarray(0, 4)), framing, 'as soon as the size is there');
  t.match(refusal(frame(body, { type: 1 })), framing);
  t.match(refusal(frame(body, { type: 2 })), framing);
  t.match(refusal(init), framing);
  t.match(refusal(open, SASL), framing);
  t.match(refusal(frame(Buffer.alloc(0), { type: 1 }), SASL), /^amqp:decode-error/);
  t.match(refusal(frame(Buffer.alloc(0), { type: 1, size: 16 * 1024 + 1 }), SASL), framing, 'before login');
  t.match(refusal(Buffer.concat([open, AMQP])), framing, 'a header in place of a frame');
  for (const [kind, make] of Object.entries(PERFORMATIVES)) {
    const more = frame(Buffer.concat([encodeFrame(0, make(new Random(1))).subarray(8), Buffer.from([0x40])]));
    if (kind === 'transfer') t.equal(refusal(more), 'none');
    else t.match(refusal(more), /longer than its performative/, kind);
  }
  const body49 = encodeValue(describedValue(ulongValue(0x49), listValue([])));
  t.match(refusal(frame(body49)), /^amqp:not-implemented/);
  t.match(refusal(frame(body49, { type: 1 }), SASL), /^amqp:not-implemented/);
  t.match(refusal(frame(encodeValue(describedValue(symbolValue('x:y'), listValue([]))))), /^amqp:not-implemented/);
  t.match(refusal(frame(Buffer.from('0044c00100', 'hex'))), /^amqp:not-implemented/);
  t.match(refusal(frame(Buffer.from('00a10161c00100', 'hex'))), /^amqp:decode-error/);
  const decoder = new FrameDecoder(new FrameCollector(), { frameBytesMax: 512 });
  decoder.push(AMQP);
  decoder.push(frame(Buffer.alloc(0)));
  decoder.frameBytesMax = open.length - 1;
  t.throws(() => decoder.push(open), CodecError);
});

t.test('symbolic descriptors, long forms, lists of four-byte sizes', async (t) => {
  const read = (hex: string): DecodedFrame | undefined => {
    const collector = new FrameCollector();
    collector.decoder.push(Buffer.concat([AMQP, frame(Buffer.from(hex.replaceAll(' ', ''), 'hex'))]));
    return collector.frames[1];
  };
  const accepted: Disposition = {
    kind: 'disposition',
    role: 'receiver',
    first: 5,
    last: 5,
    settled: true,
    state: { kind: 'accepted' },
  };
  const expected = { kind: 'amqp', channel: 0, performative: accepted, payload: '' };
  const text = (symbol: string): string => Buffer.from(symbol).toString('hex');
  const dispositions = [
    '00 53 15 c0 0a 05 41 52 05 40 41 00 53 24 45',
    '00 80 0000000000000015 d0 0000000d 00000005 41 52 05 40 41 00 53 24 45',
    `00 a3 15 ${text('amqp:disposition:list')} c0 0a 05 41 52 05 40 41 00 53 24 45`,
    `00 b3 00000015 ${text('amqp:disposition:list')} c0 0f 06 56 01 70 00000005 40 41 00 53 24 45 42`,
    `00 53 15 c0 0c 05 41 52 05 40 41 00 53 24 c0 01 00`,
    `00 53 15 c0 24 05 41 52 05 40 41 00 a3 12 ${text('amqp:accepted:list')} d0 00000004 00000000`,
  ];
  for (const hex of dispositions) t.strictSame(read(hex), expected, hex);
});

t.test('the frames written by hand', async (t) => {
  const target = Buffer.alloc(200);
  const readBack = (end: number): DecodedFrame | undefined => {
    const collector = new FrameCollector();
    collector.decoder.push(Buffer.concat([AMQP, target.subarray(3, end)]));
    return collector.frames[1];
  };
  for (const seed of seeds(RUNS)) {
    const random = new Random(seed);
    const channel = random.int(0, 65_535);
    const flow = PERFORMATIVES.flow(random) as Flow;
    const flowEnd = writeFlow(target, 3, channel, flow);
    t.ok(flowEnd - 3 <= FLOW_BYTES_MAX);
    t.strictSame(readBack(flowEnd), { kind: 'amqp', channel, performative: flow, payload: '' }, `GANTRY_SEED=${seed}`);

    const state = random.pick<Accepted | Released | undefined>([{ kind: 'accepted' }, { kind: 'released' }, undefined]);
    const disposition = { ...(PERFORMATIVES.disposition(random) as Disposition), state };
    const { role, first, last, settled } = disposition;
    const dispositionEnd = writeDisposition(target, 3, channel, role, first, last, settled, state);
    t.ok(dispositionEnd - 3 <= DISPOSITION_BYTES_MAX);
    t.strictSame(readBack(dispositionEnd), { kind: 'amqp', channel, performative: disposition, payload: '' });

    const deliveryId = random.chance(0.3) ? -1 : randomUint(random);
    const handle = randomUint(random);
    const tag = random.pick([undefined, random.bytes(32), Buffer.alloc(32, 1), 0xfedc_ba98]);
    const more = random.chance(0.5);
    const settles = random.chance(0.5);
    const payload = random.bytes(20);
    const head = writeTransfer(target, 3, channel, handle, deliveryId, tag, 0, settles, more, payload.length);
    t.ok(head - 3 <= TRANSFER_HEAD_BYTES_MAX);
    payload.copy(target, head);
    const isFirst = deliveryId >= 0;
    t.strictSame(readBack(head + payload.length), {
      kind: 'amqp',
      channel,
      performative: {
        kind: 'transfer',
        handle,
        deliveryId: isFirst ? deliveryId : undefined,
        deliveryTag: !isFirst ? undefined : typeof tag === 'number' ? Buffer.from('fedcba98', 'hex') : tag,
        messageFormat: isFirst ? 0 : undefined,
        settled: isFirst && settles,
        more,
        receiverSettleMode: undefined,
        state: undefined,
        resume: false,
        aborted: false,
      },
      payload: payload.toString('hex'),
    });
  }
  t.equal(writeEmptyFrame(target, 3, 258), 3 + EMPTY_FRAME_BYTES);
  t.strictSame(readBack(3 + EMPTY_FRAME_BYTES), { kind: 'empty', channel: 258 });
});

/** The fields of every performative as the standard names them; `!` for those that have to be there. */
const FIELDS: Readonly<Record<Performative['kind'] | SaslPerformative['kind'], string>> = {
  open:
    'container-id! hostname max-frame-size channel-max idle-time-out outgoing-locales incoming-locales ' +
    'offered-capabilities desired-capabilities properties',
  begin:
    'remote-channel next-outgoing-id! incoming-window! outgoing-window! handle-max offered-capabilities ' +
    'desired-capabilities properties',
  attach:
    'name! handle! role! snd-settle-mode rcv-settle-mode source target - incomplete-unsettled initial-delivery-count ' +
    'max-message-size offered-capabilities desired-capabilities properties',
  flow:
    'next-incoming-id incoming-window! next-outgoing-id! outgoing-window! handle delivery-count link-credit available ' +
    'drain echo properties',
  transfer:
    'handle! delivery-id delivery-tag message-format settled more rcv-settle-mode state resume aborted batchable',
  disposition: 'role! first! last settled state batchable',
  detach: 'handle! closed error',
  end: 'error',
  close: 'error',
  'sasl-mechanisms': 'sasl-server-mechanisms!',
  'sasl-init': 'mechanism! initial-response hostname',
  'sasl-challenge': 'challenge!',
  'sasl-response': 'response!',
  'sasl-outcome': 'code! additional-data',
};

type Described = Extract<AmqpValue, { type: 'described' }>;

/** A performative with its fields filled up to `count` and one of them another. */
function withField(value: AmqpValue, count: number, at: number, field: AmqpValue): Buffer {
  const { descriptor, value: list } = value as Described;
  const { value: fields } = list as Extract<AmqpValue, { type: 'list' }>;
  const filled = Array.from({ length: count }, (_, i) => (i === at ? field : (fields[i] ?? NULL_VALUE)));
  return encodeValue(describedValue(descriptor, listValue(filled)));
}

t.test('every field of every performative: of another type, missing, one too many', async (t) => {
  const all: [string, AmqpValue, Buffer, 0 | 1][] = [
    ...Object.entries(PERFORMATIVES).map(([kind, make]): [string, AmqpValue, Buffer, 0] => [
      kind,
      performativeValue(make(new Random(3))),
      AMQP,
      0,
    ]),
    ...Object.entries(SASL_PERFORMATIVES).map(([kind, make]): [string, AmqpValue, Buffer, 1] => [
      kind,
      saslValue(make(new Random(3))),
      SASL,
      1,
    ]),
  ];
  const double: AmqpValue = { type: 'double', value: 0.5 };
  for (const [kind, value, header, type] of all) {
    const names = FIELDS[kind as keyof typeof FIELDS].split(' ');
    for (const [at, name] of names.entries()) {
      const label = `${kind}.${name.replace('!', '')}`;
      const send = (field: AmqpValue): string =>
        refusal(frame(withField(value, names.length, at, field), { type }), header);
      if (name !== '-') t.match(send(double), new RegExp(`^amqp:decode-error: ${label} `), label);
      if (name.endsWith('!')) t.equal(send(NULL_VALUE), `amqp:invalid-field: ${label} is missing`);
      else t.equal(send(NULL_VALUE), 'none', label);
    }
    const tooMany = frame(withField(value, names.length + 1, names.length, NULL_VALUE), { type });
    t.match(refusal(tooMany, header), /^amqp:decode-error: .* fields, not/, kind);
    const body = encodeValue(value);
    const cuts = Array.from({ length: body.length }, (_, end) => frame(body.subarray(0, end), { type, channel: 1 }));
    for (const cut of cuts.slice(1)) t.match(refusal(cut, header), /^amqp:decode-error: .* too early$/, kind);
    const map = encodeValue(describedValue((value as Described).descriptor, fieldsValue(mapOf({}))));
    t.match(refusal(frame(map, { type }), header), /is map, not list/, kind);
  }
});

t.test('fields inside of fields, and values out of range', async (t) => {
  const attach = (at: number, field: AmqpValue): string => {
    const whole = performativeValue({ ...PERFORMATIVES.attach(new Random(3)) });
    return refusal(frame(withField(whole, 14, at, field)));
  };
  const composite = (descriptor: number, ...fields: AmqpValue[]): AmqpValue =>
    describedValue(ulongValue(descriptor), listValue(fields));
  const nulls = (count: number): AmqpValue[] => Array.from({ length: count }, () => NULL_VALUE);
  const double: AmqpValue = { type: 'double', value: 0.5 };
  const sourceFields =
    'durable expiry-policy timeout dynamic dynamic-node-properties distribution-mode filter default-outcome outcomes capabilities';
  for (const [i, name] of sourceFields.split(' ').entries()) {
    const said = attach(5, composite(0x28, ...nulls(i + 1), double));
    t.match(said, new RegExp(`^amqp:decode-error: source.${name} `), said);
    if (i > 4 && name !== 'capabilities') continue;
    const target = attach(6, composite(0x29, ...nulls(Math.min(i, 5) + 1), double));
    t.match(target, new RegExp(`^amqp:decode-error: target.${name} `), target);
  }
  t.equal(attach(5, composite(0x28, double)), 'none', 'an address of another type is none');
  t.match(attach(5, composite(0x28, NULL_VALUE, uintValue(3))), /^amqp:invalid-field: source.durable is 3/);
  t.match(attach(5, composite(0x28, ...nulls(2), symbolValue('x'))), /^amqp:invalid-field: source.expiry-policy is x/);
  t.match(attach(5, composite(0x28, ...nulls(12))), /source has 12 fields/);
  t.match(attach(5, composite(0x29)), /^amqp:not-implemented: attach.source/);
  t.match(attach(6, composite(0x28)), /^amqp:not-implemented: attach.target/);
  t.match(attach(6, composite(0x30, double)), /coordinator.capabilities/);
  t.match(attach(3, ubyteValue(3)), /^amqp:invalid-field: attach.snd-settle-mode is 3/);
  t.match(attach(4, ubyteValue(2)), /^amqp:invalid-field: attach.rcv-settle-mode is 2/);
  t.match(attach(12, { type: 'array', elementType: 'uint', value: [uintValue(1)] }), /array of uint/);
  const twice: AmqpValue = { type: 'map', value: [1, 2].map((n) => [symbolValue('a'), uintValue(n)] as const) };
  t.match(attach(13, twice), /^amqp:decode-error: attach.properties has a twice/);
  t.match(attach(13, { type: 'map', value: [[uintValue(1), NULL_VALUE]] }), /attach.properties is uint, not symbol/);
  t.equal(attach(13, { type: 'map', value: [[stringValue('a'), NULL_VALUE]] }), 'none', 'a string as key');

  t.match(attach(13, { type: 'map', value: [[stringValue('é'), NULL_VALUE]] }), /ASCII/, 'one that is no symbol');
  t.match(attach(12, stringValue('é')), /ASCII/);
  t.match(attach(12, { type: 'array', elementType: 'string', value: [stringValue('é')] }), /array of string/);
  t.equal(attach(12, { type: 'array', elementType: 'string', value: [stringValue('a')] }), 'none');
  t.equal(attach(10, ulongValue(2n ** 64n - 1n)), 'none', 'no limit as some say it');

  const state = (field: AmqpValue): string =>
    refusal(frame(encodeValue(composite(0x15, booleanValue(true), uintValue(1), ...nulls(2), field))));
  t.match(state(composite(0x23, uintValue(1))), /^amqp:invalid-field: received.section-offset is missing/);
  t.match(state(composite(0x24, NULL_VALUE)), /accepted has 1 fields, not 0/);
  t.match(state(composite(0x25, composite(0x1d))), /^amqp:invalid-field: error.condition is missing/);
  t.match(state(composite(0x25, composite(0x1e))), /rejected.error is not an error/);
  t.match(state(composite(0x27, double)), /modified.delivery-failed/);
  t.match(state(composite(0x33)), /^amqp:invalid-field: declared.txn-id is missing/);
  t.match(state(composite(0x34)), /^amqp:invalid-field: transactional-state.txn-id is missing/);
  const nested = composite(0x34, { type: 'binary', value: Buffer.from('a') }, composite(0x33));
  t.match(state(nested), /^amqp:not-implemented: transactional-state.outcome/);
  t.match(state(composite(0x99)), /^amqp:not-implemented: disposition.state/);
  const longTag = composite(0x14, uintValue(0), uintValue(0), { type: 'binary', value: Buffer.alloc(33) });
  t.match(refusal(frame(encodeValue(longTag))), /^amqp:invalid-field: transfer.delivery-tag/);
  const mode = composite(0x14, uintValue(0), uintValue(0), ...nulls(4), ubyteValue(2));
  t.match(refusal(frame(encodeValue(mode))), /^amqp:invalid-field: transfer.rcv-settle-mode is 2/);
  const outcome = encodeValue(composite(0x44, ubyteValue(5)));
  t.match(refusal(frame(outcome, { type: 1 }), SASL), /^amqp:invalid-field: sasl-outcome.code is 5/);
});
