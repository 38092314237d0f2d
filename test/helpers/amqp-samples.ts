import type {
  AmqpMap,
  Attach,
  DeliveryState,
  Performative,
  SaslPerformative,
  Source,
  Target,
} from '../../adapters/amqp/v1/codec/performatives.ts';
import type { AmqpType, AmqpValue } from '../../adapters/amqp/v1/codec/values.ts';
import type { Random } from './random.ts';

/** Random values and performatives of every kind. */

const UINT_MAX = 0xffff_ffff;
const UINTS = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 0x7fff_ffff, 0x8000_0000, UINT_MAX];

export function randomUint(random: Random): number {
  return random.chance(0.7) ? random.pick(UINTS) : random.int(0, UINT_MAX);
}

function symbol(random: Random): string {
  return random.pick(['a', 'amqp:x', 'queue', 'x-opt-y', 'com.microsoft:z', '']) + random.int(0, 99);
}

function text(random: Random): string {
  return random.chance(0.03) ? random.text(90) + 'x'.repeat(random.int(0, 400)) : random.text(8);
}

function bytes(random: Random, count: number): Buffer {
  return Buffer.from(Array.from({ length: count }, () => random.int(0, 255)));
}

function bigint(random: Random, isSigned: boolean): bigint {
  const value = random.chance(0.5) ? BigInt(random.pick([...UINTS, 2 ** 40])) : bytes(random, 8).readBigUInt64BE();
  if (!isSigned) return random.chance(0.1) ? 2n ** 64n - 1n : value;
  return BigInt.asIntN(64, random.chance(0.5) ? -value : value);
}

const SCALARS: Readonly<Record<string, (random: Random) => AmqpValue>> = {
  null: () => ({ type: 'null' }),
  boolean: (random) => ({ type: 'boolean', value: random.chance(0.5) }),
  ubyte: (random) => ({ type: 'ubyte', value: random.int(0, 255) }),
  ushort: (random) => ({ type: 'ushort', value: random.int(0, 65_535) }),
  uint: (random) => ({ type: 'uint', value: randomUint(random) }),
  ulong: (random) => ({ type: 'ulong', value: bigint(random, false) }),
  byte: (random) => ({ type: 'byte', value: random.int(-128, 127) }),
  short: (random) => ({ type: 'short', value: random.int(-32_768, 32_767) }),
  int: (random) => ({ type: 'int', value: random.pick([0, -1, 127, 128, -128, -129, -(2 ** 31), 2 ** 31 - 1]) }),
  long: (random) => ({ type: 'long', value: bigint(random, true) }),
  float: (random) => ({ type: 'float', value: random.pick([0, -0, 1.5, Infinity, -Infinity, NaN, 2 ** -149]) }),
  double: (random) => ({ type: 'double', value: random.pick([0, -0, 0.1, Infinity, NaN, Number.MIN_VALUE]) }),
  char: (random) => ({ type: 'char', value: random.pick([0, 0x41, 0xd7ff, 0xe000, 0x1_f600, 0x10_ffff]) }),
  timestamp: (random) => ({ type: 'timestamp', value: bigint(random, true) }),
  decimal32: (random) => ({ type: 'decimal32', value: bytes(random, 4) }),
  decimal64: (random) => ({ type: 'decimal64', value: bytes(random, 8) }),
  decimal128: (random) => ({ type: 'decimal128', value: bytes(random, 16) }),
  uuid: (random) => ({ type: 'uuid', value: bytes(random, 16) }),
  binary: (random) => ({ type: 'binary', value: bytes(random, random.chance(0.05) ? 300 : random.int(0, 9)) }),
  string: (random) => ({ type: 'string', value: text(random) }),
  symbol: (random) => ({ type: 'symbol', value: symbol(random) }),
};

const SCALAR_TYPES = Object.keys(SCALARS);
export const COMPOUND_TYPES = ['list', 'map', 'array', 'described'] as const;
export const AMQP_TYPES = [...SCALAR_TYPES, ...COMPOUND_TYPES] as readonly AmqpType[];

export function randomValue(random: Random, depth = 3): AmqpValue {
  const isScalar = depth === 0 || random.chance(0.6);
  return valueOf(random, (isScalar ? random.pick(SCALAR_TYPES) : random.pick(COMPOUND_TYPES)) as AmqpType, depth);
}

/** A value of the type given. */
export function valueOf(random: Random, type: AmqpType, depth: number): AmqpValue {
  const deeper = Math.max(0, depth - 1);
  const count = random.chance(0.02) ? random.int(100, 300) : random.int(0, 4);
  switch (type) {
    case 'list':
      return { type, value: Array.from({ length: count }, () => randomValue(random, deeper)) };
    case 'map':
      return {
        type,
        value: Array.from({ length: count }, () => [randomValue(random, 0), randomValue(random, deeper)] as const),
      };
    case 'array': {
      const elementType = random.pick(depth === 0 ? (SCALAR_TYPES as AmqpType[]) : AMQP_TYPES);
      return { type, elementType, value: elements(random, elementType, count, deeper) };
    }
    case 'described':
      return { type, descriptor: descriptor(random), value: randomValue(random, deeper) };
    default:
      return SCALARS[type]!(random);
  }
}

/** Described ones share their descriptor, as those of an array have to. */
function elements(random: Random, type: AmqpType, count: number, depth: number): AmqpValue[] {
  if (type !== 'described') return Array.from({ length: count }, () => valueOf(random, type, depth));
  const shared = count === 0 ? undefined : descriptor(random);
  const inner = random.pick(SCALAR_TYPES) as AmqpType;
  return Array.from({ length: count }, () => ({ type, descriptor: shared!, value: valueOf(random, inner, 0) }));
}

function descriptor(random: Random): AmqpValue {
  return SCALARS[random.pick(['symbol', 'ulong'])]!(random);
}

function maybe<T>(random: Random, of: () => T): T | undefined {
  return random.chance(0.5) ? of() : undefined;
}

function symbols(random: Random): string[] {
  return Array.from({ length: random.pick([0, 0, 1, 2, 5]) }, () => symbol(random));
}

function fields(random: Random): AmqpMap {
  return new Map(Array.from({ length: random.int(0, 3) }, () => [symbol(random), randomValue(random, 2)] as const));
}

function error(random: Random) {
  return {
    condition: random.pick(['amqp:not-found', 'amqp:internal-error', 'x:y']),
    description: maybe(random, () => text(random)),
    info: maybe(random, () => new Map([['a', randomValue(random)]])),
  };
}

export function randomOutcome(random: Random) {
  return random.pick([
    { kind: 'accepted' as const },
    { kind: 'released' as const },
    { kind: 'rejected' as const, error: maybe(random, () => error(random)) },
    {
      kind: 'modified' as const,
      deliveryFailed: random.chance(0.5),
      undeliverableHere: random.chance(0.5),
      messageAnnotations: maybe(random, () => fields(random)),
    },
  ]);
}

export function randomState(random: Random): DeliveryState {
  return random.pick<DeliveryState>([
    randomOutcome(random),
    { kind: 'received', sectionNumber: randomUint(random), sectionOffset: randomUint(random) },
    { kind: 'declared', txnId: bytes(random, 16) },
    { kind: 'transactional', txnId: bytes(random, 4), outcome: maybe(random, () => randomOutcome(random)) },
  ]);
}

function terminus(random: Random): Omit<Target, 'kind'> {
  return {
    address: maybe(random, () => `/queues/${text(random)}`),
    durable: random.pick([0, 1, 2] as const),
    expiryPolicy: random.pick(['link-detach', 'session-end', 'connection-close', 'never'] as const),
    timeoutS: randomUint(random),
    dynamic: random.chance(0.3),
    dynamicNodeProperties: fields(random),
    capabilities: symbols(random),
  };
}

function source(random: Random): Source {
  const filter = () => ({ descriptor: random.pick([undefined, 'apache.org:x', 0x468c_0000_0004n]) });
  const entries = Array.from({ length: random.int(0, 2) }, () => {
    const { descriptor: of } = filter();
    const value = randomValue(random, 1);
    // A value alone that is described is read as one with a descriptor.
    const plain: AmqpValue = of === undefined && value.type === 'described' ? { type: 'null' } : value;
    return [symbol(random), of === undefined ? { value: plain } : { descriptor: of, value }] as const;
  });
  return {
    kind: 'source',
    ...terminus(random),
    distributionMode: maybe(random, () => random.pick(['move', 'copy'])),
    filters: new Map(entries),
    defaultOutcome: maybe(random, () => randomOutcome(random)),
    outcomes: symbols(random),
  };
}

function attach(random: Random): Attach {
  return {
    kind: 'attach',
    name: text(random),
    handle: randomUint(random),
    role: random.pick(['sender', 'receiver']),
    senderSettleMode: random.pick([0, 1, 2]),
    receiverSettleMode: random.pick([0, 1]),
    source: maybe(random, () => source(random)),
    target: maybe(random, () =>
      random.chance(0.3)
        ? { kind: 'coordinator' as const, capabilities: symbols(random) }
        : { kind: 'target' as const, ...terminus(random) },
    ),
    initialDeliveryCount: maybe(random, () => randomUint(random)),
    maxMessageSize: random.pick([0, 1, 2 ** 20, 2 ** 50]),
    offeredCapabilities: symbols(random),
    desiredCapabilities: symbols(random),
    properties: fields(random),
  };
}

/** One performative of each kind, with any of their fields. */
export const PERFORMATIVES: Readonly<Record<Performative['kind'], (random: Random) => Performative>> = {
  open: (random) => ({
    kind: 'open',
    containerId: text(random),
    hostname: maybe(random, () => text(random)),
    maxFrameSize: randomUint(random),
    channelMax: random.pick([0, 1, 255, 65_535]),
    idleTimeOutMs: maybe(random, () => randomUint(random)),
    offeredCapabilities: symbols(random),
    desiredCapabilities: symbols(random),
    properties: fields(random),
  }),
  begin: (random) => ({
    kind: 'begin',
    remoteChannel: maybe(random, () => random.int(0, 65_535)),
    nextOutgoingId: randomUint(random),
    incomingWindow: randomUint(random),
    outgoingWindow: randomUint(random),
    handleMax: randomUint(random),
    offeredCapabilities: symbols(random),
    desiredCapabilities: symbols(random),
    properties: fields(random),
  }),
  attach,
  flow: (random) => ({
    kind: 'flow',
    nextIncomingId: maybe(random, () => randomUint(random)),
    incomingWindow: randomUint(random),
    nextOutgoingId: randomUint(random),
    outgoingWindow: randomUint(random),
    handle: maybe(random, () => randomUint(random)),
    deliveryCount: maybe(random, () => randomUint(random)),
    linkCredit: maybe(random, () => randomUint(random)),
    available: maybe(random, () => randomUint(random)),
    drain: random.chance(0.5),
    echo: random.chance(0.5),
  }),
  transfer: (random) => ({
    kind: 'transfer',
    handle: randomUint(random),
    deliveryId: maybe(random, () => randomUint(random)),
    deliveryTag: maybe(random, () => bytes(random, random.int(0, 32))),
    messageFormat: maybe(random, () => randomUint(random)),
    settled: random.chance(0.5),
    more: random.chance(0.5),
    receiverSettleMode: maybe(random, () => random.pick([0, 1] as const)),
    state: maybe(random, () => randomState(random)),
    resume: random.chance(0.2),
    aborted: random.chance(0.2),
  }),
  disposition: (random) => ({
    kind: 'disposition',
    role: random.pick(['sender', 'receiver']),
    first: randomUint(random),
    last: randomUint(random),
    settled: random.chance(0.5),
    state: maybe(random, () => randomState(random)),
  }),
  detach: (random) => ({
    kind: 'detach',
    handle: randomUint(random),
    closed: random.chance(0.5),
    error: maybe(random, () => error(random)),
  }),
  end: (random) => ({ kind: 'end', error: maybe(random, () => error(random)) }),
  close: (random) => ({ kind: 'close', error: maybe(random, () => error(random)) }),
};

export const SASL_PERFORMATIVES: Readonly<Record<SaslPerformative['kind'], (random: Random) => SaslPerformative>> = {
  'sasl-mechanisms': (random) => ({ kind: 'sasl-mechanisms', mechanisms: symbols(random) }),
  'sasl-init': (random) => ({
    kind: 'sasl-init',
    mechanism: 'PLAIN',
    initialResponse: maybe(random, () => bytes(random, 20)),
    hostname: maybe(random, () => text(random)),
  }),
  'sasl-challenge': (random) => ({ kind: 'sasl-challenge', challenge: bytes(random, random.int(0, 300)) }),
  'sasl-response': (random) => ({ kind: 'sasl-response', response: bytes(random, 12) }),
  'sasl-outcome': (random) => ({
    kind: 'sasl-outcome',
    code: random.pick([0, 1, 2, 3, 4]),
    additionalData: maybe(random, () => bytes(random, 12)),
  }),
};
