/** A receiving connection of the load generator: takes deliveries apart, answers them chunk by chunk. */
import { Link, packetsPerChunk } from './mqtt-link.ts';
import { packetLength, packetType, publishLayout, pubrelFirstByte, type MqttVersion, type QoS } from './mqtt-wire.ts';

/** Longer than any chunk: no packet is alike before the first has been seen. */
const noLength = 0x3fffffff;

/** The length, first bytes and layout of the last PUBLISH that was taken apart: in one load the next is nearly always alike. */
export class DeliveryShape {
  readonly version: MqttVersion;
  readonly qos: QoS;
  readonly payloadBytes: number;
  length = noLength;
  first = -1;
  second = -1;
  third = -1;
  packetIdentifierAt = 0;
  payloadAt = 0;

  constructor(version: MqttVersion, qos: QoS, payloadBytes: number) {
    this.version = version;
    this.qos = qos;
    this.payloadBytes = payloadBytes;
  }

  isAlike(bytes: Buffer, at: number, to: number): boolean {
    return (
      at + this.length <= to &&
      bytes[at] === this.first &&
      bytes[at + 1] === this.second &&
      bytes[at + 2] === this.third
    );
  }

  learn(bytes: Buffer, at: number, length: number): void {
    const { packetIdentifierAt, payloadAt } = publishLayout(bytes, at, this.version);
    const first = bytes[at]!;
    if (((first >> 1) & 3) !== this.qos) throw new Error(`a delivery with first byte 0x${first.toString(16)}`);
    if (length - payloadAt !== this.payloadBytes) throw new Error(`a payload of ${length - payloadAt} bytes`);
    this.length = length;
    this.first = first;
    this.second = bytes[at + 1]!;
    this.third = bytes[at + 2]!;
    this.packetIdentifierAt = packetIdentifierAt;
    this.payloadAt = payloadAt;
  }
}

/** Checks a delivery and counts it; throws when it should not have come. */
export type Take = (receiver: Receiver, publisher: number, sequence: number) => void;

/** The answers to one chunk: filled, copied, written. */
const answers = Buffer.allocUnsafeSlow(packetsPerChunk * 4);

export class Receiver {
  link!: Link;
  readonly index: number;
  delivered = 0;
  /** At QoS 2: deliveries whose PUBREL has come. */
  released = 0;
  nextSequence = 0;
  private answersTo = 0;
  private readonly shape: DeliveryShape;
  private readonly take: Take;
  private readonly onChunk: () => void;

  constructor(index: number, shape: DeliveryShape, take: Take, onChunk: () => void) {
    this.index = index;
    this.shape = shape;
    this.take = take;
    this.onChunk = onChunk;
  }

  async open(port: number): Promise<Link> {
    this.link = await Link.open(port, (bytes, from, to) => this.onBytes(bytes, from, to));
    return this.link;
  }

  private onBytes(bytes: Buffer, from: number, to: number): number {
    const { shape } = this;
    let at = from;
    this.answersTo = 0;
    while (to - at >= 2) {
      let length = shape.length;
      if (!shape.isAlike(bytes, at, to)) {
        length = packetLength(bytes, at, to);
        if (length === 0) break;
        if ((bytes[at]! & 0xf0) !== packetType.publish) {
          this.takeOther(bytes, at, length);
          at += length;
          continue;
        }
        shape.learn(bytes, at, length);
      }
      const payloadAt = at + shape.payloadAt;
      const sequence = (bytes[payloadAt]! << 8) | bytes[payloadAt + 1]!;
      const publisher = (bytes[payloadAt + 2]! << 8) | bytes[payloadAt + 3]!;
      this.take(this, publisher, sequence);
      this.delivered++;
      if (shape.qos > 0) {
        this.answer(shape.qos === 1 ? packetType.puback : packetType.pubrec, bytes, at + shape.packetIdentifierAt);
      }
      at += length;
    }
    if (this.answersTo > 0) this.link.socket.write(Buffer.from(answers.subarray(0, this.answersTo)));
    this.onChunk();
    return at;
  }

  private takeOther(bytes: Buffer, at: number, length: number): void {
    if (bytes[at] !== pubrelFirstByte) return this.link.reply(bytes, at, length);
    this.released++;
    if (this.released > this.delivered) throw new Error('a PUBREL too many');
    this.answer(packetType.pubcomp, bytes, at + 2);
  }

  private answer(firstByte: number, bytes: Buffer, packetIdentifierAt: number): void {
    const at = this.answersTo;
    answers[at] = firstByte;
    answers[at + 1] = 2;
    answers[at + 2] = bytes[packetIdentifierAt]!;
    answers[at + 3] = bytes[packetIdentifierAt + 1]!;
    this.answersTo = at + 4;
  }
}
