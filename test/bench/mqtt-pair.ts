/** One publisher and one subscriber: the load with the least work for the generator itself. */
import { performance } from 'node:perf_hooks';
import { timed, type Generator, type LoadFigures, type LoadFrame } from './mqtt-generator.ts';
import { Link, packetsPerChunk } from './mqtt-link.ts';
import { Waiting } from './mqtt-wake-up.ts';
import {
  allocAcks,
  disconnectBytes,
  encodePublishRing,
  packetLength,
  packetType,
  publishLayout,
  type PublishRing,
} from './mqtt-wire.ts';

export type PairPlan = {
  kind: 'pair';
  qos: 0 | 1;
  payloadBytes: number;
  /** Messages that may be outstanding: undelivered ones at QoS 0, unacknowledged ones at QoS 1. */
  window: number;
};

const topicName = 'bench/1';
/** Longer than any chunk: no packet is alike before the first has been seen. */
const noLength = 0x3fffffff;

export class PairGenerator implements Generator {
  private readonly plan: PairPlan & LoadFrame;
  private readonly ring: PublishRing;
  private publisher!: Link;
  private subscriber!: Link;

  private sent = 0;
  private acked = 0;
  private delivered = 0;
  private sending = false;
  private stopAtMs = 0;
  private onIdle: () => void = () => {};

  /** Ring positions whose PUBACK is still to come. */
  private readonly unacked: Uint8Array;
  private nextSequence = 0;
  /** The length, first bytes and layout of the last PUBLISH that was taken apart: the next one is nearly always alike. */
  private likeBytes = noLength;
  private likeFirst = -1;
  private likeSecond = -1;
  private likeThird = -1;
  private likePacketIdentifierAt = 0;
  private likePayloadAt = 0;

  private readonly freePubacks: Buffer[] = [];
  private readonly waiting: Waiting;

  constructor(plan: PairPlan & LoadFrame) {
    this.plan = plan;
    this.waiting = new Waiting(plan.wakeUp);
    // Twice the window, so that a sequence number names one outstanding message only: at least 4096 packets, which
    // still fit a second-level cache.
    const count = Math.max(4096, 2 ** Math.ceil(Math.log2(plan.window * 2)));
    if (count > 32768) throw new Error(`a window of ${plan.window} messages is too large: at most 16384`);
    const { version, qos, payloadBytes } = plan;
    const shape = { version, qos, payloadBytes, topicName: () => topicName };
    this.ring = encodePublishRing(shape, count, plan.window);
    this.unacked = new Uint8Array(count);
  }

  async prepare(): Promise<void> {
    const { port, version, qos, warmupMs } = this.plan;
    this.subscriber = await Link.open(port, (bytes, from, to) => this.onSubscriberBytes(bytes, from, to));
    this.publisher = await Link.open(port, (bytes, from, to) => this.onPublisherBytes(bytes, from, to));
    await this.subscriber.connect(version, `bench-subscriber-${process.pid}`);
    await this.publisher.connect(version, `bench-publisher-${process.pid}`);
    await this.subscriber.subscribe(version, topicName, qos);
    await this.load(warmupMs);
  }

  async measure(): Promise<LoadFigures> {
    const figures = await this.load(this.plan.durationMs);
    await Promise.all([this.publisher.ping(), this.subscriber.ping()]);
    await Promise.all([this.publisher.end(disconnectBytes), this.subscriber.end(disconnectBytes)]);
    return figures;
  }

  /** Sends for `durationMs`, then waits until every message has been delivered and, at QoS 1, acknowledged. */
  private async load(durationMs: number): Promise<LoadFigures> {
    const figures = await timed(
      () => this.sent,
      (startMs) => {
        this.stopAtMs = startMs + durationMs;
        this.sending = true;
        this.waiting.start(startMs);
        return new Promise<void>((resolve) => {
          this.onIdle = resolve;
          this.pump();
        });
      },
    );
    // Not the generator's work, but its way of waiting.
    return { ...figures, cpuUs: figures.cpuUs - this.waiting.stop() * 1000 };
  }

  describe(): string {
    const { qos, version } = this.plan;
    const acked = qos === 0 ? '' : `, ${this.acked} acknowledged`;
    return `QoS ${qos}, version ${version}: ${this.sent} sent, ${this.delivered} delivered${acked}`;
  }

  private pump(): void {
    const { qos, window } = this.plan;
    if (this.sending && performance.now() >= this.stopAtMs) this.sending = false;
    if (this.sending) {
      const free = window - (this.sent - (qos === 0 ? this.delivered : this.acked));
      if (free > 0) this.publish(free);
    } else if (this.delivered === this.sent && (qos === 0 || this.acked === this.sent)) {
      this.onIdle();
    }
  }

  private publish(count: number): void {
    const { ring, unacked } = this;
    const start = this.sent % ring.count;
    if (this.plan.qos === 1) {
      unacked.fill(1, start, start + count);
      if (start + count > ring.count) unacked.fill(1, 0, start + count - ring.count);
    }
    this.sent += count;
    this.publisher.socket.write(ring.bytes.subarray(start * ring.packetBytes, (start + count) * ring.packetBytes));
  }

  private onPublisherBytes(bytes: Buffer, from: number, to: number): number {
    const { unacked } = this;
    let at = from;
    let acked = 0;
    for (;;) {
      const length = packetLength(bytes, at, to);
      if (length === 0) break;
      if (bytes[at] === packetType.puback) {
        const packetIdentifier = (bytes[at + 2]! << 8) | bytes[at + 3]!;
        if (unacked[packetIdentifier - 1] !== 1)
          throw new Error(`PUBACK for ${packetIdentifier}, which is not in flight`);
        if (length > 4 && bytes[at + 4]! >= 0x80) throw new Error(`PUBACK with reason code ${bytes[at + 4]}`);
        unacked[packetIdentifier - 1] = 0;
        acked++;
      } else {
        this.publisher.reply(bytes, at, length);
      }
      at += length;
    }
    this.acked += acked;
    if (acked > 0) this.pump();
    this.waiting.endChunk();
    return at;
  }

  private onSubscriberBytes(bytes: Buffer, from: number, to: number): number {
    const deliveredBefore = this.delivered;
    const used = this.plan.qos === 0 ? this.takeQos0(bytes, from, to) : this.takeQos1(bytes, from, to);
    if (this.delivered > deliveredBefore) this.pump();
    this.waiting.endChunk();
    return used;
  }

  private takeQos0(bytes: Buffer, from: number, to: number): number {
    let at = from;
    while (to - at >= 2) {
      if (this.isLikeLast(bytes, at, to)) {
        this.delivered++;
        at += this.likeBytes;
        continue;
      }
      const length = this.takeAny(bytes, at, to);
      if (length === 0) break;
      at += length;
    }
    return at;
  }

  /** Answers the deliveries of a chunk with one write. */
  private takeQos1(bytes: Buffer, from: number, to: number): number {
    const pubacks = this.freePubacks.pop() ?? allocAcks(packetType.puback, packetsPerChunk);
    let pubacksTo = 0;
    let at = from;
    while (to - at >= 2) {
      const deliveredBefore = this.delivered;
      let length = this.likeBytes;
      if (this.isLikeLast(bytes, at, to)) this.delivered++;
      else length = this.takeAny(bytes, at, to);
      if (length === 0) break;
      if (this.delivered > deliveredBefore) {
        pubacks[pubacksTo + 2] = bytes[at + this.likePacketIdentifierAt]!;
        pubacks[pubacksTo + 3] = bytes[at + this.likePacketIdentifierAt + 1]!;
        pubacksTo += 4;
      }
      at += length;
    }
    if (pubacksTo === 0) this.freePubacks.push(pubacks);
    else this.subscriber.socket.write(pubacks.subarray(0, pubacksTo), () => this.freePubacks.push(pubacks));
    return at;
  }

  /** Whether a whole PUBLISH stands at `at` that has the last one's shape and the next sequence number; if so it is counted on. */
  private isLikeLast(bytes: Buffer, at: number, to: number): boolean {
    if (at + this.likeBytes > to || bytes[at] !== this.likeFirst || bytes[at + 1] !== this.likeSecond) return false;
    if (bytes[at + 2] !== this.likeThird) return false;
    const payloadAt = at + this.likePayloadAt;
    if (((bytes[payloadAt]! << 8) | bytes[payloadAt + 1]!) !== this.nextSequence) return false;
    this.nextSequence = (this.nextSequence + 1) & (this.ring.count - 1);
    return true;
  }

  /** Takes apart one packet of any kind; returns its length, or 0 when it is not all there. */
  private takeAny(bytes: Buffer, at: number, to: number): number {
    const length = packetLength(bytes, at, to);
    if (length === 0) return 0;
    const first = bytes[at]!;
    if ((first & 0xf0) !== packetType.publish) {
      this.subscriber.reply(bytes, at, length);
      return length;
    }
    const { packetIdentifierAt, payloadAt } = publishLayout(bytes, at, this.plan.version);
    const payloadBytes = length - payloadAt;
    const sequence = bytes.readUInt16BE(at + payloadAt);
    if (((first >> 1) & 3) !== this.plan.qos) throw new Error(`a delivery with first byte 0x${first.toString(16)}`);
    if (payloadBytes !== this.plan.payloadBytes) throw new Error(`a delivery with a payload of ${payloadBytes} bytes`);
    if (this.delivered === this.sent) throw new Error(`a delivery too many, with sequence number ${sequence}`);
    if (sequence !== this.nextSequence) {
      throw new Error(`delivery ${this.delivered} has sequence number ${sequence} instead of ${this.nextSequence}`);
    }
    this.nextSequence = (sequence + 1) & (this.ring.count - 1);
    this.delivered++;
    this.likeBytes = length;
    this.likeFirst = first;
    this.likeSecond = bytes[at + 1]!;
    this.likeThird = bytes[at + 2]!;
    this.likePacketIdentifierAt = packetIdentifierAt;
    this.likePayloadAt = payloadAt;
    return length;
  }
}
