/**
 * The MQTT load generator: a process of its own, started by mqtt.ts with a `LoadPlan` as JSON in argv[2].
 *
 * One publisher and one subscriber, each on a raw socket. It connects, subscribes, warms up, sends `{ kind: 'ready' }`,
 * waits for the word `go`, sends for `plan.durationMs`, waits until nothing is outstanding and sends its `LoadReport`.
 * Whatever goes wrong (a message lost, repeated or out of order, a refused publish, a closed connection, the deadline)
 * ends in `{ kind: 'failed' }` instead.
 */
import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import {
  allocPubacks,
  disconnectBytes,
  encodeConnect,
  encodePublishRing,
  encodeSubscribe,
  packetLength,
  packetType,
  pingreqBytes,
  publishLayout,
  type MqttVersion,
  type PublishRing,
} from './mqtt-wire.ts';

/**
 * How the generator waits for bytes. `block`: in the kernel, as any server does. `spin`: it keeps asking, which saves the
 * time a sleeping processor needs to wake up (tens of microseconds on virtual machines) but takes a whole core. A number:
 * it sleeps that many microseconds after each wake-up, so that a peer that writes packet by packet is read in bulk.
 */
export type WakeUp = 'block' | 'spin' | number;

export type LoadPlan = {
  port: number;
  version: MqttVersion;
  qos: 0 | 1;
  payloadBytes: number;
  /** Messages that may be outstanding: undelivered ones at QoS 0, unacknowledged ones at QoS 1. */
  window: number;
  warmupMs: number;
  durationMs: number;
  wakeUp: WakeUp;
  deadlineMs: number;
};

/** `cpuUs` leaves out the turns of a spinning generator that found nothing to do. */
export type LoadFigures = { messages: number; elapsedMs: number; cpuUs: number };

export type LoadReport = { kind: 'ready' } | ({ kind: 'done' } & LoadFigures) | { kind: 'failed'; reason: string };

const topicName = 'bench/1';
const readBytes = 256 * 1024;
/** Room in front of the read area for the unfinished packet of the chunk before; also the largest packet understood. */
const carryBytes = 64 * 1024;
/** No chunk holds more deliveries: with `topicName` and two bytes of payload one takes 15 bytes. */
const pubacksPerChunk = (carryBytes + readBytes) / 8;
/** Longer than any chunk: no packet is alike before the first has been seen. */
const noLength = 0x3fffffff;

/** Returns the offset of the first byte it did not use. */
type Consume = (bytes: Buffer, from: number, to: number) => number;

/** Opens a connection that always reads into the same buffer and hands out whole packets, a chunk at a time. */
function openLink(port: number, consume: Consume, onClose: () => void): Promise<Socket> {
  const bytes = Buffer.allocUnsafeSlow(carryBytes + readBytes);
  let from = carryBytes;
  const onBytes = (length: number): boolean => {
    const to = carryBytes + length;
    const used = consume(bytes, from, to);
    if (to - used > carryBytes) throw new Error(`the peer sent a packet of more than ${carryBytes} bytes`);
    from = carryBytes - (to - used);
    if (used < to) bytes.copyWithin(from, used, to);
    return true;
  };
  return new Promise((resolve, reject) => {
    const onread = { buffer: bytes.subarray(carryBytes), callback: onBytes };
    const socket = connect({ host: '127.0.0.1', port, noDelay: true, onread });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
    socket.once('close', onClose);
  });
}

class LoadGenerator {
  private readonly plan: LoadPlan;
  private readonly ring: PublishRing;
  private publisher!: Socket;
  private subscriber!: Socket;

  private sent = 0;
  private acked = 0;
  private delivered = 0;
  private sending = false;
  private stopAtMs = 0;
  private closing = false;
  private onIdle: () => void = () => {};
  private onReply: (type: number, packet: Buffer) => void = () => {};

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
  private loading = false;
  private turnHadBytes = false;
  private turnStartMs = 0;
  private emptyTurnsMs = 0;
  private readonly sleepCell = new Int32Array(new SharedArrayBuffer(4));

  constructor(plan: LoadPlan) {
    this.plan = plan;
    // Twice the window, so that a sequence number names one outstanding message only: at least 4096 packets, which
    // still fit a second-level cache.
    const count = Math.max(4096, 2 ** Math.ceil(Math.log2(plan.window * 2)));
    if (count > 32768) throw new Error(`a window of ${plan.window} messages is too large: at most 16384`);
    const { version, qos, payloadBytes } = plan;
    this.ring = encodePublishRing({ version, qos, payloadBytes, topicName }, count, plan.window);
    this.unacked = new Uint8Array(count);
  }

  async connect(): Promise<void> {
    const { port, version, qos } = this.plan;
    const onClose = (): void => {
      if (!this.closing) fail('the peer closed the connection', this);
    };
    this.subscriber = await openLink(port, (bytes, from, to) => this.onSubscriberBytes(bytes, from, to), onClose);
    this.publisher = await openLink(port, (bytes, from, to) => this.onPublisherBytes(bytes, from, to), onClose);
    for (const [name, socket] of Object.entries({ subscriber: this.subscriber, publisher: this.publisher })) {
      const clientId = `bench-${name}-${process.pid}`;
      const connack = await this.ask(socket, encodeConnect(version, clientId), packetType.connack);
      if (connack[3] !== 0) throw new Error(`CONNACK with code ${connack[3]} for the ${name}`);
    }
    const suback = await this.ask(this.subscriber, encodeSubscribe(version, topicName, qos), packetType.suback);
    if (suback.at(-1) !== qos) throw new Error(`SUBACK with code ${suback.at(-1)} instead of ${qos}`);
  }

  /** Sends for `durationMs`, then waits until every message has been delivered and, at QoS 1, acknowledged. */
  async load(durationMs: number): Promise<LoadFigures> {
    const sentBefore = this.sent;
    const cpuBefore = process.cpuUsage();
    const startMs = performance.now();
    this.stopAtMs = startMs + durationMs;
    this.sending = true;
    this.loading = true;
    this.emptyTurnsMs = 0;
    this.turnStartMs = startMs;
    if (this.plan.wakeUp === 'spin') this.spin();
    await new Promise<void>((resolve) => {
      this.onIdle = resolve;
      this.pump();
    });
    const elapsedMs = performance.now() - startMs;
    this.loading = false;
    const { user, system } = process.cpuUsage(cpuBefore);
    return { messages: this.sent - sentBefore, elapsedMs, cpuUs: user + system - this.emptyTurnsMs * 1000 };
  }

  /** A PINGREQ on each connection is the fence behind which a surplus delivery or PUBACK would have shown itself. */
  async close(): Promise<void> {
    await this.ask(this.publisher, pingreqBytes, packetType.pingresp);
    await this.ask(this.subscriber, pingreqBytes, packetType.pingresp);
    this.closing = true;
    this.publisher.end(disconnectBytes);
    this.subscriber.end(disconnectBytes);
  }

  describe(): string {
    const { qos, version } = this.plan;
    const acked = qos === 0 ? '' : `, ${this.acked} acknowledged`;
    return `QoS ${qos}, version ${version}: ${this.sent} sent, ${this.delivered} delivered${acked}`;
  }

  private ask(socket: Socket, request: Buffer, replyType: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.onReply = (type, packet) => {
        if (type === replyType) resolve(packet);
        else reject(new Error(`the peer sent packet type ${type >> 4} instead of ${replyType >> 4}`));
      };
      socket.write(request);
    });
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
    this.publisher.write(ring.bytes.subarray(start * ring.packetBytes, (start + count) * ring.packetBytes));
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
        this.onReply(bytes[at]! & 0xf0, Buffer.from(bytes.subarray(at, at + length)));
      }
      at += length;
    }
    this.acked += acked;
    if (acked > 0) this.pump();
    this.endChunk();
    return at;
  }

  private onSubscriberBytes(bytes: Buffer, from: number, to: number): number {
    const deliveredBefore = this.delivered;
    const used = this.plan.qos === 0 ? this.takeQos0(bytes, from, to) : this.takeQos1(bytes, from, to);
    if (this.delivered > deliveredBefore) this.pump();
    this.endChunk();
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
    const pubacks = this.freePubacks.pop() ?? allocPubacks(pubacksPerChunk);
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
    else this.subscriber.write(pubacks.subarray(0, pubacksTo), () => this.freePubacks.push(pubacks));
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
      this.onReply(first & 0xf0, Buffer.from(bytes.subarray(at, at + length)));
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

  /** The check phase of the event loop comes after the chunks of both sockets, whose answers have been written by then. */
  private endChunk(): void {
    const { wakeUp } = this.plan;
    if (typeof wakeUp === 'number' && !this.turnHadBytes) {
      setImmediate(() => {
        this.turnHadBytes = false;
        Atomics.wait(this.sleepCell, 0, 0, wakeUp / 1000);
      });
    }
    this.turnHadBytes = true;
  }

  /** A pending immediate keeps the event loop from blocking when it polls. */
  private spin(): void {
    const nowMs = performance.now();
    if (!this.turnHadBytes) this.emptyTurnsMs += nowMs - this.turnStartMs;
    this.turnHadBytes = false;
    this.turnStartMs = nowMs;
    if (this.loading) setImmediate(() => this.spin());
  }
}

let over = false;

function report(message: LoadReport): void {
  if (!over) process.send?.(message);
}

function fail(cause: unknown, generator: LoadGenerator | undefined): void {
  const reason = cause instanceof Error ? cause.message : String(cause);
  report({ kind: 'failed', reason: generator === undefined ? reason : `${reason} (${generator.describe()})` });
  over = true;
  process.disconnect?.();
  setImmediate(() => process.exit(1));
}

async function main(): Promise<void> {
  const plan: LoadPlan = JSON.parse(process.argv[2] ?? '{}');
  const generator = new LoadGenerator(plan);
  process.on('uncaughtException', (error) => fail(error, generator));
  process.on('disconnect', () => process.exit(over ? 0 : 1));
  setTimeout(() => fail(`not finished after ${plan.deadlineMs} ms`, generator), plan.deadlineMs).unref();
  await generator.connect();
  await generator.load(plan.warmupMs);
  const go = new Promise((resolve) => {
    process.once('message', resolve);
  });
  report({ kind: 'ready' });
  await go;
  const figures = await generator.load(plan.durationMs);
  await generator.close();
  report({ kind: 'done', ...figures });
  over = true;
}

main().catch((error: unknown) => fail(error, undefined));
