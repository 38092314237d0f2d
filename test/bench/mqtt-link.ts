/** The load generator's connections: raw sockets that hand out whole packets. */
import { connect, type Socket } from 'node:net';
import {
  encodeConnect,
  encodeSubscribe,
  packetLength,
  packetType,
  pingreqBytes,
  type MqttVersion,
  type QoS,
} from './mqtt-wire.ts';

const readBytes = 256 * 1024;
/** Room in front of the read area for the unfinished packet of the chunk before; also the largest packet understood. */
const carryBytes = 64 * 1024;
/** No chunk holds more deliveries or acknowledgements: the shortest of them takes 4 bytes. */
export const packetsPerChunk = (carryBytes + readBytes) / 4;

/** All connections read into one buffer: each chunk is used up, or its rest copied, before the next one is read. */
const chunk = Buffer.allocUnsafeSlow(carryBytes + readBytes);
const nothing = Buffer.alloc(0);

/** Returns the offset of the first byte it did not use. */
export type Consume = (bytes: Buffer, from: number, to: number) => number;

/** What the peer cannot do, which is no fault of it: the scenario is left out for it. */
export class NotSupported extends Error {}

export class Link {
  readonly socket: Socket;
  /** Packets that nobody waits for may come from now on, and the connection may go. */
  private closing = false;
  private rest = nothing;
  private readonly consume: Consume;
  private onReply: ((type: number, packet: Buffer) => void) | undefined;
  private onLost: (() => void) | undefined;

  private constructor(port: number, consume: Consume | undefined) {
    this.consume = consume ?? ((bytes, from, to) => this.replies(bytes, from, to));
    const onread = { buffer: chunk.subarray(carryBytes), callback: (length: number) => this.onBytes(length) };
    this.socket = connect({ host: '127.0.0.1', port, noDelay: true, onread });
  }

  /** Without `consume` every packet is a reply. */
  static open(port: number, consume?: Consume): Promise<Link> {
    return new Promise((resolve, reject) => {
      const link = new Link(port, consume);
      link.socket.once('connect', () => resolve(link));
      link.socket.once('error', reject);
      link.socket.once('close', () => link.closed());
    });
  }

  /** For a packet the owner has no use for: somebody must have asked for it. */
  reply(bytes: Buffer, at: number, length: number): void {
    const type = bytes[at]! & 0xf0;
    if (this.onReply === undefined) throw new Error(`the peer sent packet type ${type >> 4}, which nobody asked for`);
    this.onReply(type, Buffer.from(bytes.subarray(at, at + length)));
  }

  ask(request: Buffer, replyType: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        this.onReply = undefined;
        this.onLost = undefined;
      };
      this.onReply = (type, packet) => {
        settle();
        if (type === replyType) resolve(packet);
        else reject(new Error(`the peer sent packet type ${type >> 4} instead of ${replyType >> 4}`));
      };
      this.onLost = () => {
        settle();
        reject(new Error('the peer closed the connection'));
      };
      this.socket.write(request);
    });
  }

  async connect(version: MqttVersion, clientId: string, request = encodeConnect(version, clientId)): Promise<Buffer> {
    const connack = await this.ask(request, packetType.connack);
    if (connack[3] !== 0) throw new Error(`CONNACK with code ${connack[3]} for ${clientId}`);
    return connack;
  }

  async subscribe(version: MqttVersion, topicFilter: string, qos: QoS): Promise<void> {
    const suback = await this.ask(encodeSubscribe(version, topicFilter, qos), packetType.suback);
    if (suback.at(-1) !== qos) throw new Error(`SUBACK with code ${suback.at(-1)} instead of ${qos}`);
  }

  /** The fence behind which a surplus delivery or acknowledgement would have shown itself. */
  async ping(): Promise<void> {
    await this.ask(pingreqBytes, packetType.pingresp);
  }

  /** Ends the connection with these last bytes; resolves when the peer has closed it too. */
  end(lastBytes: Buffer): Promise<void> {
    this.closing = true;
    return new Promise((resolve) => {
      this.socket.once('close', () => resolve());
      this.socket.end(lastBytes);
    });
  }

  private closed(): void {
    if (this.onLost !== undefined) this.onLost();
    else if (!this.closing) throw new Error('the peer closed the connection');
  }

  private onBytes(length: number): boolean {
    const { rest } = this;
    const from = carryBytes - rest.length;
    const to = carryBytes + length;
    if (rest.length > 0) chunk.set(rest, from);
    const used = this.consume(chunk, from, to);
    if (to - used > carryBytes) throw new Error(`the peer sent a packet of more than ${carryBytes} bytes`);
    this.rest = used < to ? Buffer.from(chunk.subarray(used, to)) : nothing;
    return true;
  }

  private replies(bytes: Buffer, from: number, to: number): number {
    let at = from;
    for (let length; (length = packetLength(bytes, at, to)) > 0; at += length) this.reply(bytes, at, length);
    return at;
  }
}

/** Does the work for 0 to count - 1, at most 200 at once: more than that may not fit a listener's backlog. */
export async function forAll(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(count, 200) }, worker));
}
