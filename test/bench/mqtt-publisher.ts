/** A publishing connection of the load generator: sends runs of prepared packets and keeps account of their acknowledgements. */
import { Link } from './mqtt-link.ts';
import { allocAcks, packetLength, packetType, pubrelFirstByte, type PublishRing, type QoS } from './mqtt-wire.ts';

/** What became of a packet identifier. */
const state = { free: 0, sent: 1, released: 2 } as const;

export class Publisher {
  link!: Link;
  sent = 0;
  /** Acknowledged for good: by PUBACK or PUBCOMP. */
  acked = 0;
  /** Counted by the owner, over all receivers. */
  delivered = 0;
  readonly ring: PublishRing;
  private readonly qos: QoS;
  private onChunk: () => void;
  private readonly states: Uint8Array;

  constructor(ring: PublishRing, qos: QoS, onChunk = (): void => {}) {
    this.ring = ring;
    this.qos = qos;
    this.onChunk = onChunk;
    this.states = new Uint8Array(ring.count);
  }

  async open(port: number): Promise<Link> {
    this.link = await Link.open(port, (bytes, from, to) => this.onBytes(bytes, from, to));
    return this.link;
  }

  publish(count: number): void {
    const { ring, states } = this;
    const start = this.sent % ring.count;
    if (this.qos > 0) {
      states.fill(state.sent, start, start + count);
      if (start + count > ring.count) states.fill(state.sent, 0, start + count - ring.count);
    }
    this.sent += count;
    this.link.socket.write(ring.bytes.subarray(start * ring.packetBytes, (start + count) * ring.packetBytes));
  }

  /** Everything in the ring once, at most `window` at a time; resolves when the last is acknowledged. Not for QoS 0. */
  publishAll(window: number): Promise<void> {
    return new Promise((resolve) => {
      this.onChunk = () => {
        const free = Math.min(window - (this.sent - this.acked), this.ring.count - this.sent);
        if (free > 0) this.publish(free);
        else if (this.acked === this.ring.count) resolve();
      };
      this.onChunk();
    });
  }

  private onBytes(bytes: Buffer, from: number, to: number): number {
    let at = from;
    let pubrecs = 0;
    for (let length; (length = packetLength(bytes, at, to)) > 0; at += length) {
      const type = bytes[at]!;
      if (type === packetType.puback) this.take(bytes, at, length, state.sent, state.free);
      else if (type === packetType.pubcomp) this.take(bytes, at, length, state.released, state.free);
      else if (type === packetType.pubrec) {
        this.take(bytes, at, length, state.sent, state.released);
        pubrecs++;
      } else this.link.reply(bytes, at, length);
    }
    if (pubrecs > 0) this.release(bytes, from, at, pubrecs);
    this.onChunk();
    return at;
  }

  private take(bytes: Buffer, at: number, length: number, before: number, after: number): void {
    const packetIdentifier = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    const type = bytes[at]! >> 4;
    if (this.states[packetIdentifier - 1] !== before) {
      throw new Error(`packet type ${type} for packet identifier ${packetIdentifier}, which does not wait for it`);
    }
    if (length > 4 && bytes[at + 4]! >= 0x80) throw new Error(`packet type ${type} with reason code ${bytes[at + 4]}`);
    this.states[packetIdentifier - 1] = after;
    if (after === state.free) this.acked++;
  }

  /** Answers the PUBRECs of a chunk with one write. */
  private release(bytes: Buffer, from: number, to: number, count: number): void {
    const pubrels = allocAcks(pubrelFirstByte, count);
    let writtenTo = 0;
    for (let at = from; at < to; at += packetLength(bytes, at, to)) {
      if (bytes[at] !== packetType.pubrec) continue;
      pubrels[writtenTo + 2] = bytes[at + 2]!;
      pubrels[writtenTo + 3] = bytes[at + 3]!;
      writtenTo += 4;
    }
    this.link.socket.write(pubrels);
  }
}
