import { createRequire } from 'node:module';
import t from 'tap';
import { encodeFrame, encodeSaslFrame } from '../../../../../adapters/amqp/v1/codec/frame-encoder.ts';
import type { Performative, SaslPerformative } from '../../../../../adapters/amqp/v1/codec/performatives.ts';
import { PROTOCOL_HEADERS } from '../../../../../adapters/amqp/v1/codec/protocol-header.ts';
import { readValue } from '../../../../../adapters/amqp/v1/codec/reader.ts';
import { dataBody, MessageSections, scanSections } from '../../../../../adapters/amqp/v1/codec/sections.ts';
import type { AmqpValue } from '../../../../../adapters/amqp/v1/codec/values.ts';
import { encodeValue } from '../../../../../adapters/amqp/v1/codec/writer.ts';
import { type DecodedFrame, FrameCollector } from '../../../../helpers/amqp-frames.ts';
import { PERFORMATIVES, randomValue, SASL_PERFORMATIVES } from '../../../../helpers/amqp-samples.ts';
import { Random, seeds } from '../../../../helpers/random.ts';

/** Against rhea's codec, written by others from the same standard: what either writes the other reads. */

interface RheaTyped {
  readonly value: unknown;
}
interface RheaTypes {
  readonly Writer: new () => { write(value: unknown): void; toBuffer(): Buffer };
  readonly Reader: new (buffer: Buffer) => { read(): RheaTyped };
  wrap_described(value: unknown, descriptor: unknown): RheaTyped;
  wrap_uint(value: number): RheaTyped;
}
type RheaComposite = Readonly<Record<string, unknown>> & { described(): RheaTyped };
interface RheaFrames {
  write_frame(frame: object): Buffer;
  read_frame(buffer: Buffer): { channel: number; performative: RheaComposite; payload?: Buffer };
  amqp_frame(channel: number, performative: unknown, payload?: Buffer): object;
  sasl_frame(performative: unknown): object;
}

const require = createRequire(import.meta.url);
const types = require('rhea/lib/types.js') as RheaTypes;
const frames = require('rhea/lib/frames.js') as RheaFrames &
  Readonly<Record<string, (fields: object) => RheaComposite>>;
const termini = require('rhea/lib/terminus.js') as Readonly<Record<'source' | 'target', (f: object) => RheaComposite>>;
const message = require('rhea/lib/message.js') as {
  encode(message: object): Buffer;
  data_section(body: Buffer): unknown;
  decode(buffer: Buffer): Record<string, unknown>;
} & Readonly<Record<'accepted' | 'released' | 'rejected' | 'modified', (fields?: object) => RheaComposite>>;

function create(name: string, fields: object): RheaTyped {
  return frames[name]!(fields).described();
}

function readOne(bytes: Buffer, header: Buffer): DecodedFrame | undefined {
  const collector = new FrameCollector();
  collector.decoder.push(Buffer.concat([header, bytes]));
  return collector.frames[1];
}

t.test("rhea's frames are read", async (t) => {
  const filter = types.wrap_described('a = 1', 'apache.org:selector-filter:string');
  const properties = { product: 'x', version: types.wrap_uint(7) };
  const source = termini.source({
    address: '/queues/q',
    durable: 2,
    expiry_policy: 'never',
    timeout: 60,
    dynamic: true,
    distribution_mode: 'copy',
    filter: { selector: filter },
    default_outcome: message.modified({ delivery_failed: true }).described(),
    outcomes: ['amqp:accepted:list', 'amqp:released:list'],
    capabilities: ['queue'],
  });
  const cases: [name: string, fields: object, expected: Performative][] = [
    [
      'open',
      { container_id: 'c', hostname: 'h', max_frame_size: 4096, channel_max: 7, idle_time_out: 30_000, properties },
      {
        kind: 'open',
        containerId: 'c',
        hostname: 'h',
        maxFrameSize: 4096,
        channelMax: 7,
        idleTimeOutMs: 30_000,
        offeredCapabilities: [],
        desiredCapabilities: [],
        properties: new Map<string, AmqpValue>([
          ['product', { type: 'string', value: 'x' }],
          ['version', { type: 'uint', value: 7 }],
        ]),
      },
    ],
    [
      'begin',
      { next_outgoing_id: 0, incoming_window: 2048, outgoing_window: 4_294_967_295, offered_capabilities: 'one' },
      {
        kind: 'begin',
        remoteChannel: undefined,
        nextOutgoingId: 0,
        incomingWindow: 2048,
        outgoingWindow: 4_294_967_295,
        handleMax: 4_294_967_295,
        offeredCapabilities: ['one'],
        desiredCapabilities: [],
        properties: new Map(),
      },
    ],
    [
      'attach',
      {
        name: 'n',
        handle: 300,
        role: true,
        snd_settle_mode: 0,
        rcv_settle_mode: 1,
        source: source.described(),
        target: termini.target({ address: 't' }).described(),
        max_message_size: 1_000_000,
        desired_capabilities: ['a', 'b'],
      },
      {
        kind: 'attach',
        name: 'n',
        handle: 300,
        role: 'receiver',
        senderSettleMode: 0,
        receiverSettleMode: 1,
        source: {
          kind: 'source',
          address: '/queues/q',
          durable: 2,
          expiryPolicy: 'never',
          timeoutS: 60,
          dynamic: true,
          dynamicNodeProperties: new Map(),
          distributionMode: 'copy',
          filters: new Map([
            [
              'selector',
              { descriptor: 'apache.org:selector-filter:string', value: { type: 'string', value: 'a = 1' } },
            ],
          ]),
          defaultOutcome: {
            kind: 'modified',
            deliveryFailed: true,
            undeliverableHere: false,
            messageAnnotations: undefined,
          },
          outcomes: ['amqp:accepted:list', 'amqp:released:list'],
          capabilities: ['queue'],
        },
        target: {
          kind: 'target',
          address: 't',
          durable: 0,
          expiryPolicy: 'session-end',
          timeoutS: 0,
          dynamic: false,
          dynamicNodeProperties: new Map(),
          capabilities: [],
        },
        initialDeliveryCount: undefined,
        maxMessageSize: 1_000_000,
        offeredCapabilities: [],
        desiredCapabilities: ['a', 'b'],
        properties: new Map(),
      },
    ],
    [
      'flow',
      {
        next_incoming_id: 1,
        incoming_window: 2,
        next_outgoing_id: 3,
        outgoing_window: 4,
        handle: 0,
        link_credit: 1000,
      },
      {
        kind: 'flow',
        nextIncomingId: 1,
        incomingWindow: 2,
        nextOutgoingId: 3,
        outgoingWindow: 4,
        handle: 0,
        deliveryCount: undefined,
        linkCredit: 1000,
        available: undefined,
        drain: false,
        echo: false,
      },
    ],
    [
      'disposition',
      { role: true, first: 1, last: 4, settled: true, state: message.accepted().described() },
      { kind: 'disposition', role: 'receiver', first: 1, last: 4, settled: true, state: { kind: 'accepted' } },
    ],
    [
      'disposition',
      {
        role: true,
        first: 1,
        state: message.rejected({ error: { condition: 'x:y', description: 'why' } }).described(),
      },
      {
        kind: 'disposition',
        role: 'receiver',
        first: 1,
        last: 1,
        settled: false,
        state: { kind: 'rejected', error: { condition: 'x:y', description: 'why', info: undefined } },
      },
    ],
    ['detach', { handle: 1, closed: true }, { kind: 'detach', handle: 1, closed: true, error: undefined }],
    ['end', {}, { kind: 'end', error: undefined }],
    [
      'close',
      { error: { condition: 'amqp:not-found', description: 'd' } },
      { kind: 'close', error: { condition: 'amqp:not-found', description: 'd', info: undefined } },
    ],
  ];
  for (const [name, fields, performative] of cases) {
    const bytes = frames.write_frame(frames.amqp_frame(3, create(name, fields)));
    t.strictSame(readOne(bytes, PROTOCOL_HEADERS.amqp), { kind: 'amqp', channel: 3, performative, payload: '' }, name);
  }
  const fields = { handle: 0, delivery_id: 9, delivery_tag: Buffer.from('9'), message_format: 0, settled: false };
  const transfer = frames.write_frame(frames.amqp_frame(1, create('transfer', fields), Buffer.from('abc')));
  const read = readOne(transfer, PROTOCOL_HEADERS.amqp);
  t.match(read, {
    channel: 1,
    payload: '616263',
    performative: { handle: 0, deliveryId: 9, deliveryTag: Buffer.from('9') },
  });
});

t.test("rhea's SASL frames are read", async (t) => {
  const cases: [name: string, fields: object, expected: SaslPerformative][] = [
    [
      'sasl_mechanisms',
      { sasl_server_mechanisms: ['PLAIN', 'ANONYMOUS'] },
      { kind: 'sasl-mechanisms', mechanisms: ['PLAIN', 'ANONYMOUS'] },
    ],
    [
      'sasl_init',
      { mechanism: 'PLAIN', initial_response: Buffer.from('\0a\0b'), hostname: 'h' },
      { kind: 'sasl-init', mechanism: 'PLAIN', initialResponse: Buffer.from('\0a\0b'), hostname: 'h' },
    ],
    ['sasl_challenge', { challenge: Buffer.from('c') }, { kind: 'sasl-challenge', challenge: Buffer.from('c') }],
    ['sasl_response', { response: Buffer.from('r') }, { kind: 'sasl-response', response: Buffer.from('r') }],
    ['sasl_outcome', { code: 1 }, { kind: 'sasl-outcome', code: 1, additionalData: undefined }],
  ];
  for (const [name, fields, performative] of cases) {
    const bytes = frames.write_frame(frames.sasl_frame(create(name, fields)));
    t.strictSame(readOne(bytes, PROTOCOL_HEADERS.sasl), { kind: 'sasl', performative }, name);
  }
});

/** Ours to rhea's: names of fields that hold plain numbers, texts or booleans; symbols may come as one or as several. */
const PLAIN_FIELDS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  open: {
    containerId: 'container_id',
    hostname: 'hostname',
    maxFrameSize: 'max_frame_size',
    channelMax: 'channel_max',
    idleTimeOutMs: 'idle_time_out',
    offeredCapabilities: 'offered_capabilities',
  },
  begin: {
    remoteChannel: 'remote_channel',
    nextOutgoingId: 'next_outgoing_id',
    incomingWindow: 'incoming_window',
    outgoingWindow: 'outgoing_window',
    handleMax: 'handle_max',
  },
  attach: {
    name: 'name',
    handle: 'handle',
    senderSettleMode: 'snd_settle_mode',
    receiverSettleMode: 'rcv_settle_mode',
    initialDeliveryCount: 'initial_delivery_count',
    desiredCapabilities: 'desired_capabilities',
  },
  flow: {
    nextIncomingId: 'next_incoming_id',
    incomingWindow: 'incoming_window',
    nextOutgoingId: 'next_outgoing_id',
    outgoingWindow: 'outgoing_window',
    handle: 'handle',
    deliveryCount: 'delivery_count',
    linkCredit: 'link_credit',
    available: 'available',
    drain: 'drain',
    echo: 'echo',
  },
  transfer: {
    handle: 'handle',
    deliveryId: 'delivery_id',
    deliveryTag: 'delivery_tag',
    messageFormat: 'message_format',
    settled: 'settled',
    more: 'more',
    receiverSettleMode: 'rcv_settle_mode',
    resume: 'resume',
    aborted: 'aborted',
  },
  disposition: { first: 'first', settled: 'settled' },
  detach: { handle: 'handle', closed: 'closed' },
  'sasl-init': { mechanism: 'mechanism', initialResponse: 'initial_response', hostname: 'hostname' },
  'sasl-challenge': { challenge: 'challenge' },
  'sasl-response': { response: 'response' },
  'sasl-outcome': { code: 'code', additionalData: 'additional_data' },
  'sasl-mechanisms': { mechanisms: 'sasl_server_mechanisms' },
};

/** rhea leaves the defaults of the standard to who asks. */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  maxFrameSize: 4_294_967_295,
  channelMax: 65_535,
  handleMax: 4_294_967_295,
  offeredCapabilities: [],
  desiredCapabilities: [],
  settled: false,
  more: false,
  resume: false,
  aborted: false,
  drain: false,
  echo: false,
};

t.test('rhea reads our frames', async (t) => {
  const kinds = [...Object.entries(PERFORMATIVES), ...Object.entries(SASL_PERFORMATIVES)];
  for (const seed of seeds(200)) {
    const random = new Random(seed);
    for (const [kind, make] of kinds) {
      const performative = make(random) as unknown as Performative & Record<string, unknown>;
      const isSasl = kind.startsWith('sasl');
      const bytes = isSasl
        ? encodeSaslFrame(performative as unknown as SaslPerformative)
        : encodeFrame(9, performative, kind === 'transfer' ? Buffer.from('abc') : undefined);
      const read = frames.read_frame(bytes);
      if (!isSasl) t.equal(read.channel, 9);
      if (kind === 'transfer') t.equal(read.payload?.toString(), 'abc');
      for (const [ours, theirs] of Object.entries(PLAIN_FIELDS[kind] ?? {})) {
        const value = read.performative[theirs] ?? DEFAULTS[ours];
        if (!t.strictSame(value, performative[ours], `GANTRY_SEED=${seed} ${kind}.${theirs}`)) return;
      }
    }
  }
});

t.test('values: what rhea reads of ours it writes as we did', async (t) => {
  for (const seed of seeds(1000)) {
    const bytes = encodeValue(plain(randomValue(new Random(seed), 3)));
    const writer = new types.Writer();
    writer.write(new types.Reader(bytes).read());
    const again = writer.toBuffer();
    const [ours, theirs] = [readValue(bytes, 0, bytes.length), readValue(again, 0, again.length)];
    if (!t.strictSame(theirs, ours, `GANTRY_SEED=${seed} ${bytes.toString('hex')}`)) return;
  }
});

/** The elements rhea writes in arrays. */
const RHEA_ARRAYS = new Set([
  'boolean',
  'ubyte',
  'ushort',
  'uint',
  'byte',
  'short',
  'int',
  'float',
  'double',
  'string',
  'symbol',
]);

/** A value without what rhea changes: whole numbers of more than 53 bits, a second descriptor, many arrays. */
function plain(value: AmqpValue): AmqpValue {
  switch (value.type) {
    case 'ulong':
    case 'long':
    case 'timestamp':
      return value.value === BigInt.asIntN(53, value.value) ? value : { type: value.type, value: 7n };
    case 'list':
      return { type: 'list', value: value.value.map(plain) };
    case 'map':
      return { type: 'map', value: value.value.map(([key, element]) => [plain(key), plain(element)] as const) };
    case 'array':
      return RHEA_ARRAYS.has(value.elementType) ? value : { type: 'null' };
    case 'described': {
      const inner = plain(value.value);
      return { ...value, value: inner.type === 'described' ? { type: 'null' } : inner };
    }
    default:
      return value;
  }
}

t.test('messages', async (t) => {
  const bytes = message.encode({
    durable: true,
    ttl: 1000,
    message_annotations: { 'x-opt-a': 1 },
    message_id: 'id',
    subject: 's',
    application_properties: { a: 1 },
    body: message.data_section(Buffer.from('abc')),
  });
  const sections = new MessageSections();
  scanSections(bytes, 0, bytes.length, sections);
  for (const name of ['header', 'messageAnnotations', 'properties', 'applicationProperties', 'body'] as const) {
    t.ok(sections[name].isPresent, name);
  }
  t.equal(sections.bodyKind, 'data');
  t.equal(dataBody(bytes, sections).toString(), 'abc');
  t.same(message.decode(bytes)['message_id'], 'id');
});
