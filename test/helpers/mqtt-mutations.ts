import type { Random } from './random.ts';
import { varint } from './varint.ts';

/** Numbers at which parsers go wrong. */
const EDGES = [0, 1, 2, 4, 0x26, 0x7f, 0x80, 0x81, 0xc0, 0xed, 0xf4, 0xfe, 0xff];
/** Changed packets do not grow beyond this: the same few faults in more bytes only take longer. */
const BYTES_MAX = 60_000;

type Mutation = (packet: Buffer, other: Buffer, random: Random) => Buffer;

/** Where the body begins, after the first byte and the remaining length. */
function bodyAt(packet: Buffer): number {
  let at = 1;
  while (at < 5 && at < packet.length && packet[at]! > 0x7f) at++;
  return Math.min(at + 1, packet.length);
}

/** A packet whose remaining length is right, so that what is wrong in the body is reached. */
function withBody(firstByte: number, ...parts: Buffer[]): Buffer {
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([Buffer.from([firstByte, ...varint(bytes)]), ...parts]);
}

function range(body: Buffer, random: Random): [start: number, end: number] {
  const start = random.int(0, body.length);
  return [start, Math.min(body.length, start + random.int(0, random.chance(0.8) ? 12 : 2000))];
}

const flipBits: Mutation = (packet, _other, random) => {
  const copy = Buffer.from(packet);
  for (let flips = random.int(1, 5); flips > 0; flips--) copy[random.below(copy.length)]! ^= 1 << random.below(8);
  return copy;
};

const setBytes: Mutation = (packet, _other, random) => {
  const copy = Buffer.from(packet);
  // Most of what is worth changing stands in front.
  const reach = random.chance(0.7) ? Math.min(copy.length, 24) : copy.length;
  for (let set = random.int(1, 4); set > 0; set--) copy[random.below(reach)] = random.pick(EDGES);
  return copy;
};

const truncate: Mutation = (packet, _other, random) => packet.subarray(0, random.below(packet.length));

const cutBody: Mutation = (packet, _other, random) => {
  const body = packet.subarray(bodyAt(packet));
  return withBody(packet[0]!, body.subarray(0, random.int(0, body.length)));
};

const changeRemainingLength: Mutation = (packet, _other, random) => {
  const body = packet.subarray(bodyAt(packet));
  const { length } = body;
  const claims = [length + 1, Math.max(0, length - 1), length + random.below(300), 0, 127, 128, 16_384, 268_435_455];
  const written = varint(random.pick(claims));
  if (random.chance(0.2)) written[written.length - 1]! |= 0x80;
  if (random.chance(0.2)) written.push(random.pick(EDGES));
  return Buffer.concat([Buffer.from([packet[0]!, ...written]), body]);
};

/** Changes what may be the length of a text, of bytes or of the properties. */
const changeInnerLength: Mutation = (packet, _other, random) => {
  const copy = Buffer.from(packet);
  const start = bodyAt(copy);
  if (copy.length - start < 2) return copy;
  const at = start + random.below(Math.min(copy.length - start - 1, random.chance(0.7) ? 16 : copy.length));
  if (random.chance(0.3)) copy[at] = random.pick([0, 0x7f, 0x80, 0xff, copy[at]! + 1, copy[at]! - 1]);
  else copy.writeUInt16BE(random.pick([0, 1, 0xffff, (copy.readUInt16BE(at) + random.int(-2, 2)) & 0xffff]), at);
  return copy;
};

const splice: Mutation = (packet, other, random) => {
  const [body, otherBody] = [packet.subarray(bodyAt(packet)), other.subarray(bodyAt(other))];
  const head = body.subarray(0, random.int(0, body.length));
  return withBody(random.pick([packet, other])[0]!, head, otherBody.subarray(random.int(0, otherBody.length)));
};

const duplicateField: Mutation = (packet, _other, random) => {
  const body = packet.subarray(bodyAt(packet));
  const [start, end] = range(body, random);
  const field = body.subarray(start, end);
  const copies = Array.from({ length: random.chance(0.1) ? random.int(2, 200) : 1 }, () => field);
  return withBody(packet[0]!, body.subarray(0, end), ...copies, body.subarray(end));
};

const dropField: Mutation = (packet, _other, random) => {
  const body = packet.subarray(bodyAt(packet));
  const [start, end] = range(body, random);
  return withBody(packet[0]!, body.subarray(0, start), body.subarray(end));
};

const insertBytes: Mutation = (packet, _other, random) => {
  const body = packet.subarray(bodyAt(packet));
  const at = random.int(0, body.length);
  return withBody(packet[0]!, body.subarray(0, at), random.bytes(8), body.subarray(at));
};

const changeType: Mutation = (packet, other, random) =>
  withBody(random.chance(0.5) ? other[0]! : random.below(256), packet.subarray(bodyAt(packet)));

/** By name, so that a finding can say what was done. */
export const MUTATIONS: Readonly<Record<string, Mutation>> = {
  flipBits,
  setBytes,
  truncate,
  cutBody,
  changeRemainingLength,
  changeInnerLength,
  splice,
  duplicateField,
  dropField,
  insertBytes,
  changeType,
};

/** A packet with something wrong with it, most likely. `names` are of MUTATIONS, applied in this order. */
export function mutate(packet: Buffer, other: Buffer, names: readonly string[], random: Random): Buffer {
  let bytes = packet;
  for (const name of names) {
    if (bytes.length < 2) break;
    bytes = MUTATIONS[name]!(bytes, other, random).subarray(0, BYTES_MAX);
  }
  return bytes;
}
