import type { Random } from './random.ts';

/** Bytes at which parsers go wrong: sizes, counts, and the first and last of each kind of constructor. */
const EDGES = [0, 1, 2, 3, 0x0f, 0x7f, 0x80, 0xfe, 0xff];
const CONSTRUCTORS = [
  0x00, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x50, 0x52, 0x53, 0x56, 0x60, 0x70, 0x73, 0x80, 0x83, 0x94, 0x98,
  0xa0, 0xa1, 0xa3, 0xb0, 0xb1, 0xb3, 0xc0, 0xc1, 0xd0, 0xd1, 0xe0, 0xf0,
];
const DESCRIPTORS = [
  0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x1d, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x30, 0x33,
  0x34, 0x40, 0x41, 0x42, 0x43, 0x44, 0x70, 0x75, 0x77,
];
/** Changed frames do not grow beyond this: the same few faults in more bytes only take longer. */
const BYTES_MAX = 60_000;
const HEADER_BYTES = 8;

type Mutation = (frame: Buffer, other: Buffer, random: Random) => Buffer;

/** A frame whose size is right, so that what is wrong in the body is reached. */
function withBody(frame: Buffer, ...parts: Buffer[]): Buffer {
  const bytes = Buffer.concat([frame.subarray(0, HEADER_BYTES), ...parts]);
  bytes.writeUInt32BE(bytes.length);
  return bytes;
}

function bodyOf(frame: Buffer): Buffer {
  return frame.subarray(HEADER_BYTES);
}

function range(body: Buffer, random: Random): [start: number, end: number] {
  const start = random.int(0, body.length);
  return [start, Math.min(body.length, start + random.int(0, random.chance(0.8) ? 12 : 2000))];
}

/** A byte behind the frame header. Most of what is worth changing stands in front. */
function place(frame: Buffer, random: Random): number {
  const reach = random.chance(0.5) ? Math.min(frame.length, 40) : frame.length;
  return random.int(Math.min(HEADER_BYTES, reach - 1), reach - 1);
}

const flipBits: Mutation = (frame, _other, random) => {
  const copy = Buffer.from(frame);
  for (let flips = random.int(1, 5); flips > 0; flips--) copy[random.below(copy.length)]! ^= 1 << random.below(8);
  return copy;
};

const setBytes: Mutation = (frame, _other, random) => {
  const copy = Buffer.from(frame);
  for (let set = random.int(1, 4); set > 0; set--) copy[place(copy, random)] = random.pick(EDGES);
  return copy;
};

const setConstructors: Mutation = (frame, _other, random) => {
  const copy = Buffer.from(frame);
  for (let set = random.int(1, 3); set > 0; set--) copy[place(copy, random)] = random.pick(CONSTRUCTORS);
  return copy;
};

/** Puts another value where one is: bytes that are a constructor are taken for it. */
const replaceConstructor: Mutation = (frame, _other, random) => {
  const copy = Buffer.from(frame);
  const places = Array.from(copy.keys()).filter((at) => at >= HEADER_BYTES && CONSTRUCTORS.includes(copy[at]!));
  if (places.length > 0) copy[random.pick(places)] = random.pick(CONSTRUCTORS);
  return copy;
};

const changeDescriptor: Mutation = (frame, _other, random) => {
  const copy = Buffer.from(frame);
  if (copy.length > HEADER_BYTES + 2) copy[HEADER_BYTES + 2] = random.pick(DESCRIPTORS);
  return copy;
};

const truncate: Mutation = (frame, _other, random) => frame.subarray(0, random.below(frame.length));

const cutBody: Mutation = (frame, _other, random) => {
  const body = bodyOf(frame);
  return withBody(frame, body.subarray(0, random.int(0, body.length)));
};

const changeHeader: Mutation = (frame, _other, random) => {
  const copy = Buffer.from(frame);
  const { length } = copy;
  if (length < HEADER_BYTES) return copy;
  if (random.chance(0.6)) {
    copy.writeUInt32BE(
      random.pick([0, 7, 8, length - 1, length + 1, length + random.below(300), 2 ** 31, 2 ** 32 - 1]),
    );
  } else {
    copy[4 + random.below(2)] = random.pick(EDGES);
  }
  return copy;
};

/** Changes what may be a size or a count of four bytes, or of one. */
const changeInnerSize: Mutation = (frame, _other, random) => {
  const copy = Buffer.from(frame);
  const at = place(copy, random);
  if (random.chance(0.5) || at + 4 > copy.length) {
    copy[at] = random.pick([0, 1, 0x7f, 0xff, (copy[at]! + 1) & 0xff, (copy[at]! - 1) & 0xff]);
  } else {
    copy.writeUInt32BE(random.pick([0, 1, 0xff, 0xffff, 2 ** 27, 2 ** 31, 2 ** 32 - 1, copy.length]), at);
  }
  return copy;
};

const splice: Mutation = (frame, other, random) => {
  const [body, otherBody] = [bodyOf(frame), bodyOf(other)];
  return withBody(
    frame,
    body.subarray(0, random.int(0, body.length)),
    otherBody.subarray(random.int(0, otherBody.length)),
  );
};

const duplicateField: Mutation = (frame, _other, random) => {
  const body = bodyOf(frame);
  const [start, end] = range(body, random);
  const field = body.subarray(start, end);
  const copies = Array.from({ length: random.chance(0.1) ? random.int(2, 200) : 1 }, () => field);
  return withBody(frame, body.subarray(0, end), ...copies, body.subarray(end));
};

const dropField: Mutation = (frame, _other, random) => {
  const body = bodyOf(frame);
  const [start, end] = range(body, random);
  return withBody(frame, body.subarray(0, start), body.subarray(end));
};

const insertBytes: Mutation = (frame, _other, random) => {
  const body = bodyOf(frame);
  const at = random.int(0, body.length);
  return withBody(frame, body.subarray(0, at), random.bytes(8), body.subarray(at));
};

/** A list as the whole body, or as the last field: counts and depths that no bytes stand for. */
const bomb: Mutation = (frame, _other, random) => {
  const bombs = [
    'f0000000050800000040',
    'd0ffffffff7fffffff',
    'c1ff05',
    'e0ffff40',
    'f000000008ffffffff00530145',
    'b1ffffffff',
  ];
  const chain = random.chance(0.3) ? random.pick(['00', '0040', 'c0ff01', 'f00000ffff00000001']) : random.pick(bombs);
  const repeated = Buffer.from(chain.repeat(random.pick([1, 1, 40, 3000])), 'hex');
  const body = bodyOf(frame);
  return withBody(frame, body.subarray(0, random.int(0, body.length)), repeated);
};

/** By name, so that a finding can say what was done. */
export const AMQP_MUTATIONS: Readonly<Record<string, Mutation>> = {
  flipBits,
  setBytes,
  setConstructors,
  replaceConstructor,
  changeDescriptor,
  truncate,
  cutBody,
  changeHeader,
  changeInnerSize,
  splice,
  duplicateField,
  dropField,
  insertBytes,
  bomb,
};

/** A frame with something wrong with it, most likely. `names` are of AMQP_MUTATIONS, applied in this order. */
export function mutateFrame(frame: Buffer, other: Buffer, names: readonly string[], random: Random): Buffer {
  let bytes = frame;
  for (const name of names) {
    if (bytes.length < HEADER_BYTES) break;
    bytes = AMQP_MUTATIONS[name]!(bytes, other, random).subarray(0, BYTES_MAX);
  }
  return bytes;
}
