import { once } from 'node:events';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { encodePacket } from '../../adapters/mqtt/codec/encoder.ts';
import type {
  ConnackPacket,
  ConnectPacket,
  Packet,
  ProtocolVersion,
  PublishPacket,
} from '../../adapters/mqtt/codec/packet.ts';
import { PacketCollector } from './mqtt-packets.ts';

/** A client without a will of its own: it sends what the test says, and shows every packet that comes. */
export class RawMqttClient {
  readonly socket: Duplex;
  readonly version: ProtocolVersion;
  /** Bytes received so far. */
  bytes = 0;
  isEnded = false;
  private readonly collector: PacketCollector;
  private wake: (() => void) | undefined;

  private constructor(socket: Duplex, version: ProtocolVersion) {
    this.socket = socket;
    this.version = version;
    this.collector = new PacketCollector('client', version);
    const wake = (): void => this.wake?.();
    socket.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length;
      this.collector.decoder.push(chunk);
      wake();
    });
    // A server that closes on bytes it has not read resets the connection.
    socket.on('error', wake);
    socket.on('close', () => {
      this.isEnded = true;
      wake();
    });
  }

  static async open(port: number, version: ProtocolVersion = 5): Promise<RawMqttClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    return new RawMqttClient(socket, version);
  }

  /** Over a stream that is open already: TLS, a WebSocket, something behind a PROXY header. */
  static over(stream: Duplex, version: ProtocolVersion = 5): RawMqttClient {
    return new RawMqttClient(stream, version);
  }

  /** Connected, and the CONNACK taken. */
  static async connected(
    port: number,
    version: ProtocolVersion = 5,
    fields: Partial<ConnectPacket> = {},
  ): Promise<RawMqttClient> {
    const client = await RawMqttClient.open(port, version);
    const connack = await client.connect(fields);
    if (connack.reasonCode !== 0) throw new Error(`refused with ${connack.reasonCode}`);
    return client;
  }

  connect(fields: Partial<ConnectPacket> = {}): Promise<ConnackPacket> {
    this.send(connectPacket(this.version, fields));
    return this.next('connack');
  }

  /** Sends everything as one chunk. */
  send(...parts: readonly (Packet | Uint8Array)[]): void {
    const chunks = parts.map((part) => (part instanceof Uint8Array ? part : encodePacket(part, this.version)));
    this.socket.write(Buffer.concat(chunks));
  }

  /** The next packet, whatever it is; undefined at the end of the connection. */
  async take(): Promise<Packet | undefined> {
    const { packets } = this.collector;
    while (packets.length === 0 && !this.isEnded) {
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    return packets.shift();
  }

  /** The next packet, which has to be of this type. */
  async next<Type extends Packet['type']>(type: Type): Promise<Extract<Packet, { type: Type }>> {
    const packet = await this.take();
    if (packet?.type !== type) throw new Error(`${type} expected, got ${JSON.stringify(packet ?? 'the end')}`);
    return packet as Extract<Packet, { type: Type }>;
  }

  /** The next packets of this type, in order. */
  async many<Type extends Packet['type']>(type: Type, count: number): Promise<Extract<Packet, { type: Type }>[]> {
    const packets: Extract<Packet, { type: Type }>[] = [];
    while (packets.length < count) packets.push(await this.next(type));
    return packets;
  }

  /** Everything that arrives up to the answer to a PINGREQ sent now. */
  async fence(): Promise<Packet[]> {
    this.send({ type: 'pingreq' });
    const before: Packet[] = [];
    for (;;) {
      const packet = await this.take();
      if (packet === undefined) throw new Error('the connection ended');
      if (packet.type === 'pingresp') return before;
      before.push(packet);
    }
  }

  /** Everything that still arrives until the server closes. */
  async rest(): Promise<Packet[]> {
    const packets: Packet[] = [];
    for (;;) {
      const packet = await this.take();
      if (packet === undefined) return packets;
      packets.push(packet);
    }
  }

  /** Publishes at QoS 1 and waits for the PUBACK, which has to come next. Resolves to its reason code. */
  async publish(topicName: string, payload: string, fields: Partial<PublishPacket> = {}): Promise<number> {
    this.send(publishPacket(topicName, payload, { qos: 1, packetIdentifier: 1, ...fields }));
    const packet = await this.take();
    if (packet?.type !== 'puback') throw new Error(`puback expected, got ${JSON.stringify(packet ?? 'the end')}`);
    return packet.reasonCode;
  }

  /** Subscribes and waits for the SUBACK, which has to come next. Resolves to its reason codes. */
  async subscribe(qos: 0 | 1 | 2, ...topicFilters: string[]): Promise<number[]> {
    this.send({
      type: 'subscribe',
      packetIdentifier: 1,
      subscriptions: topicFilters.map((topicFilter) => ({ ...PLAIN_SUBSCRIPTION, topicFilter, qos })),
    });
    return (await this.next('suback')).reasonCodes;
  }

  /** Says good-bye, and waits until the server has closed. */
  async leave(reasonCode = 0): Promise<void> {
    this.send({ type: 'disconnect', reasonCode });
    await this.rest();
  }

  destroy(): void {
    this.socket.destroy();
  }
}

let used = 0;

/** A name no other test of this process uses. */
export function fresh(what: string): string {
  return `${what}${++used}`;
}

/** CONNECT for a session that outlives its connection: in MQTT 3 every one that is not clean. */
export function kept(version: ProtocolVersion, clientIdentifier = fresh('kept')): Partial<ConnectPacket> {
  const fields = { cleanStart: false, clientIdentifier };
  return version === 5 ? { ...fields, properties: { sessionExpiryIntervalS: 3600 } } : fields;
}

export const PLAIN_SUBSCRIPTION = { noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;

export function connectPacket(version: ProtocolVersion, fields: Partial<ConnectPacket> = {}): ConnectPacket {
  const clientIdentifier = version === 3 ? `raw${Math.random().toString(36).slice(2, 12)}` : '';
  return {
    type: 'connect',
    protocolVersion: version,
    clientIdentifier,
    cleanStart: true,
    keepAliveS: 0,
    ...fields,
  };
}

export function publishPacket(
  topicName: string,
  payload: string | Buffer,
  fields: Partial<PublishPacket> = {},
): PublishPacket {
  return { type: 'publish', topicName, qos: 0, dup: false, retain: false, payload: Buffer.from(payload), ...fields };
}

export function puback(packetIdentifier: number | undefined): Packet {
  return { type: 'puback', packetIdentifier: packetIdentifier ?? 0, reasonCode: 0 };
}
