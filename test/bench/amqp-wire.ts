/** As much of AMQP 1.0 as the benchmark needs: frames written by hand, and the fields of those that come often. */

export const code = {
  open: 0x10,
  begin: 0x11,
  attach: 0x12,
  flow: 0x13,
  transfer: 0x14,
  disposition: 0x15,
  detach: 0x16,
  end: 0x17,
  close: 0x18,
  accepted: 0x24,
  source: 0x28,
  target: 0x29,
  saslMechanisms: 0x40,
  saslInit: 0x41,
  saslOutcome: 0x44,
} as const;

export const saslHeader = Buffer.from('AMQP\x03\x01\x00\x00', 'latin1');
export const amqpHeader = Buffer.from('AMQP\x00\x01\x00\x00', 'latin1');
export const windowMax = 0x7fffffff;
export const maxFrameSize = 65_536;

export const nil = Buffer.from([0x40]);
export const yes = Buffer.from([0x41]);
export const no = Buffer.from([0x42]);

export function uint(value: number): Buffer {
  const bytes = Buffer.from([0x70, 0, 0, 0, 0]);
  bytes.writeUInt32BE(value >>> 0, 1);
  return bytes;
}

export function ubyte(value: number): Buffer {
  return Buffer.from([0x50, value]);
}

export function ushort(value: number): Buffer {
  return Buffer.from([0x60, value >> 8, value & 0xff]);
}

function text(constructor: number, value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([constructor, bytes.length]), bytes]);
}

export const string = (value: string): Buffer => text(0xa1, value);
export const symbol = (value: string): Buffer => text(0xa3, value);
export const binary = (value: string): Buffer => text(0xa0, value);

export function described(descriptor: number, fields: readonly Buffer[]): Buffer {
  const body = Buffer.concat(fields);
  const head = Buffer.from([0x00, 0x53, descriptor, 0xd0, 0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(body.length + 4, 4);
  head.writeUInt32BE(fields.length, 8);
  return Buffer.concat([head, body]);
}

export function frame(performative: Buffer, payload = Buffer.alloc(0), type = 0): Buffer {
  const head = Buffer.from([0, 0, 0, 0, 2, type, 0, 0]);
  head.writeUInt32BE(head.length + performative.length + payload.length);
  return Buffer.concat([head, performative, payload]);
}

/** ANONYMOUS, or PLAIN as RabbitMQ's guest where that is not offered. */
export function saslInit(mechanisms: string): Buffer {
  const isAnonymous = mechanisms.includes('ANONYMOUS');
  const fields = isAnonymous ? [symbol('ANONYMOUS')] : [symbol('PLAIN'), binary('\0guest\0guest')];
  return frame(described(code.saslInit, fields), undefined, 1);
}

export function openAndBegin(containerId: string): Buffer {
  const open = [string(containerId), string('127.0.0.1'), uint(maxFrameSize), ushort(10)];
  return Buffer.concat([
    frame(described(code.open, open)),
    frame(described(code.begin, [nil, uint(0), uint(windowMax), uint(windowMax)])),
  ]);
}

export function attach(name: string, address: string, isReceiver: boolean): Buffer {
  const there = described(isReceiver ? code.source : code.target, [string(address)]);
  const here = described(isReceiver ? code.target : code.source, []);
  const [source, target] = isReceiver ? [there, here] : [here, there];
  const fields = [string(name), uint(0), isReceiver ? yes : no, ubyte(0), ubyte(0), source, target];
  return frame(described(code.attach, isReceiver ? fields : [...fields, nil, nil, uint(0)]));
}

export function flow(nextIncoming: number, nextOutgoing: number, deliveryCount: number, credit: number): Buffer {
  const session = [uint(nextIncoming), uint(windowMax), uint(nextOutgoing), uint(windowMax)];
  return frame(described(code.flow, [...session, uint(0), uint(deliveryCount), uint(credit)]));
}

export function accepted(isReceiver: boolean, first: number, last: number): Buffer {
  const state = described(code.accepted, []);
  return frame(described(code.disposition, [isReceiver ? yes : no, uint(first), uint(last), yes, state]));
}

export const closing = frame(described(code.close, []));

/** Unsettled, with a data section. Where the delivery id is, and where the body begins. */
export function transferTemplate(payloadBytes: number): { bytes: Buffer; idAt: number; bodyAt: number } {
  const performative = described(code.transfer, [uint(0), uint(0x01020304), binary('abcd'), uint(0), no]);
  const section = Buffer.from([0x00, 0x53, 0x75, 0xb0, 0, 0, 0, 0]);
  section.writeUInt32BE(payloadBytes, 4);
  const bytes = frame(performative, Buffer.concat([section, Buffer.alloc(payloadBytes, 'x')]));
  return { bytes, idAt: bytes.indexOf(uint(0x01020304)) + 1, bodyAt: bytes.length - payloadBytes };
}

/** The descriptor of the frame's performative; -1 for an empty frame. */
export function frameCode(bytes: Buffer, at: number): number {
  const start = at + bytes[at + 4]! * 4;
  if (bytes.readUInt32BE(at) === start - at) return -1;
  return bytes[start + 1] === 0x53 ? bytes[start + 2]! : bytes[start + 9]!;
}

/** Reads the numbers of a performative's list in order. Anything else is skipped, as -1. */
export class Fields {
  private bytes: Buffer = Buffer.alloc(0);
  private at = 0;
  private left = 0;

  read(bytes: Buffer, frameAt: number): this {
    let at = frameAt + bytes[frameAt + 4]! * 4;
    at += bytes[at + 1] === 0x53 ? 3 : 10;
    const constructor = bytes[at]!;
    this.bytes = bytes;
    this.left = constructor === 0x45 ? 0 : constructor === 0xc0 ? bytes[at + 2]! : bytes.readUInt32BE(at + 5);
    this.at = at + (constructor === 0x45 ? 1 : constructor === 0xc0 ? 3 : 9);
    return this;
  }

  /** A number or a boolean; -1 where there is none. */
  next(): number {
    if (this.left === 0) return -1;
    this.left--;
    const { bytes, at } = this;
    const constructor = bytes[at]!;
    switch (constructor) {
      case 0x41:
      case 0x42:
        this.at += 1;
        return constructor === 0x41 ? 1 : 0;
      case 0x43:
        this.at += 1;
        return 0;
      case 0x50:
      case 0x52:
      case 0x56:
        this.at += 2;
        return bytes[at + 1]!;
      case 0x70:
        this.at += 5;
        return bytes.readUInt32BE(at + 1);
      default:
        this.at += skipped(bytes, at);
        return -1;
    }
  }

  /** The descriptor of the described value that is next; -1 when it is none. */
  descriptor(): number {
    if (this.left === 0 || this.bytes[this.at] !== 0) return -1;
    return this.bytes[this.at + 1] === 0x53 ? this.bytes[this.at + 2]! : this.bytes[this.at + 9]!;
  }
}

/** AMQP 1.6: the high half of a constructor says how long the value is. */
function skipped(bytes: Buffer, at: number): number {
  const constructor = bytes[at]!;
  if (constructor === 0) {
    const descriptorBytes = skipped(bytes, at + 1);
    return 1 + descriptorBytes + skipped(bytes, at + 1 + descriptorBytes);
  }
  const kind = constructor >> 4;
  if (kind === 4) return 1;
  if (kind <= 9) return 1 + 2 ** (kind - 5);
  return kind % 2 === 0 ? 2 + bytes[at + 1]! : 5 + bytes.readUInt32BE(at + 1);
}
