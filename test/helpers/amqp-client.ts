import { once } from 'node:events';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { FrameDecoder } from '../../adapters/amqp/v1/codec/frame-decoder.ts';
import { encodeFrame, encodeSaslFrame } from '../../adapters/amqp/v1/codec/frame-encoder.ts';
import { toDisposition, toFlow, toTransfer } from '../../adapters/amqp/v1/codec/hot-frames.ts';
import {
  ACCEPTED,
  type Attach,
  type Begin,
  type Detach,
  type Disposition,
  type Flow,
  type Open,
  type Performative,
  type SaslOutcome,
  type SaslPerformative,
  type Source,
  type Target,
  type Transfer,
} from '../../adapters/amqp/v1/codec/performatives.ts';
import { PROTOCOL_HEADERS, type HeaderProtocol } from '../../adapters/amqp/v1/codec/protocol-header.ts';

/** What came, with the channel it came on. */
export type Received =
  | { readonly kind: 'header'; readonly protocol: HeaderProtocol; readonly bytes: Buffer }
  | { readonly kind: 'empty'; readonly channel: number }
  | (SaslPerformative & { readonly channel: number })
  | (Exclude<Performative, Transfer> & { readonly channel: number })
  | ReceivedTransfer;
export type ReceivedTransfer = Transfer & { readonly channel: number; readonly payload: Buffer };
export type ReceivedOf<Kind extends Received['kind']> = Extract<Received, { kind: Kind }>;

const NO_PAYLOAD = Buffer.alloc(0);

/** A client without a will of its own: it sends what the test says, and shows everything that comes. */
export class RawAmqpClient {
  readonly stream: Duplex;
  /** Everything that came and was not taken yet, in order. */
  readonly received: Received[] = [];
  isEnded = false;
  /** What flows say unless told otherwise. */
  incomingWindow = 10_000;
  /** On channel 0. */
  private transfersReceived = 0;
  private transfersSent = 0;
  private readonly decoder: FrameDecoder;
  private wake: (() => void) | undefined;

  private constructor(stream: Duplex) {
    this.stream = stream;
    this.decoder = new FrameDecoder(
      {
        onProtocolHeader: (protocol, bytes) => this.add({ kind: 'header', protocol, bytes }),
        onSasl: (performative) => this.add({ ...performative, channel: 0 }),
        onPerformative: (channel, performative) => this.add({ ...performative, channel }),
        onDisposition: (channel, frame) => this.add({ ...toDisposition(frame), channel }),
        onFlow: (channel, frame) => this.add({ ...toFlow(frame), channel }),
        onEmptyFrame: (channel) => this.add({ kind: 'empty', channel }),
        onTransfer: (channel, frame) => {
          const payload = Buffer.from(frame.buffer.subarray(frame.payloadStart, frame.payloadEnd));
          if (channel === 0) this.transfersReceived++;
          this.add({ ...toTransfer(frame), channel, payload });
        },
      },
      { frameBytesMax: 0xffff_ffff },
    );
    stream.on('data', (chunk: Buffer) => {
      this.decoder.push(chunk);
      this.wake?.();
    });
    // A server that closes on bytes it has not read resets the connection.
    stream.on('error', () => this.wake?.());
    stream.on('close', () => {
      this.isEnded = true;
      this.wake?.();
    });
  }

  /** Connected, nothing sent. */
  static async connect(port: number): Promise<RawAmqpClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    return new RawAmqpClient(socket);
  }

  /** Over a stream that is open already: TLS, a WebSocket. */
  static over(stream: Duplex): RawAmqpClient {
    return new RawAmqpClient(stream);
  }

  /** Connected, anonymous without SASL, open, and one session on channel 0. */
  static async opened(port: number, open: Partial<Open> = {}, begin: Partial<Begin> = {}): Promise<RawAmqpClient> {
    const client = await RawAmqpClient.connect(port);
    client.header('amqp');
    await client.next('header');
    await client.open(open);
    await client.begin(begin);
    return client;
  }

  /** Sends everything as one chunk. */
  write(...parts: readonly Uint8Array[]): void {
    this.stream.write(Buffer.concat(parts));
  }

  /** Frames of one channel as one chunk. */
  send(...performatives: readonly Performative[]): void {
    this.write(...performatives.map((performative) => encodeFrame(0, performative)));
  }

  sendOn(channel: number, performative: Performative, payload?: Buffer): void {
    this.write(encodeFrame(channel, performative, payload));
  }

  sendSasl(performative: SaslPerformative): void {
    this.write(encodeSaslFrame(performative));
  }

  header(protocol: keyof typeof PROTOCOL_HEADERS): void {
    this.write(PROTOCOL_HEADERS[protocol]);
  }

  /** SASL up to the outcome. */
  async sasl(mechanism: string, initialResponse?: Buffer): Promise<SaslOutcome> {
    this.header('sasl');
    await this.next('sasl-mechanisms');
    this.sendSasl({ kind: 'sasl-init', mechanism, initialResponse });
    return this.next('sasl-outcome');
  }

  plain(username: string, password: string): Promise<SaslOutcome> {
    return this.sasl('PLAIN', Buffer.from(`\0${username}\0${password}`));
  }

  open(fields: Partial<Open> = {}): Promise<ReceivedOf<'open'>> {
    this.send(openFrame(fields));
    return this.next('open');
  }

  begin(fields: Partial<Begin> = {}, channel = 0): Promise<ReceivedOf<'begin'>> {
    this.sendOn(channel, beginFrame(fields));
    return this.next('begin');
  }

  /** Attaches and takes the answer, also that of a refusal, behind which a detach comes. */
  attach(fields: Partial<Attach> & Pick<Attach, 'role'>): Promise<ReceivedOf<'attach'>> {
    this.send(attachFrame(fields));
    return this.next('attach');
  }

  /** A link on which the client sends, with the credit it got. */
  async sender(address: string, fields: Partial<Attach> = {}): Promise<ReceivedOf<'flow'>> {
    const { handle } = await this.attach({ role: 'sender', target: targetOf(address), ...fields });
    return this.next('flow', (flow) => flow.handle === handle);
  }

  /** A link on which the client receives, with credit where it is more than 0. */
  async receiver(address: string, credit = 0, fields: Partial<Attach> = {}): Promise<ReceivedOf<'attach'>> {
    const attach = await this.attach({ role: 'receiver', source: sourceOf(address), ...fields });
    if (credit > 0) this.flow({ handle: fields.handle ?? 0, deliveryCount: 0, linkCredit: credit });
    return attach;
  }

  /** With the session's numbers as they are. */
  flow(fields: Partial<Flow> = {}): void {
    const { incomingWindow, transfersReceived: nextIncomingId, transfersSent: nextOutgoingId } = this;
    this.send(flowFrame({ incomingWindow, nextIncomingId, nextOutgoingId, ...fields }));
  }

  transfer(fields: Partial<Transfer>, payload: Buffer = NO_PAYLOAD): void {
    this.transfersSent++;
    this.write(transferFrame(fields, payload));
  }

  /** Of deliveries received, accepted and settled unless told otherwise. */
  disposition(first: number, last = first, fields: Partial<Disposition> = {}): void {
    this.send({ kind: 'disposition', role: 'receiver', first, last, settled: true, state: ACCEPTED, ...fields });
  }

  detach(fields: Partial<Detach> = {}): Promise<ReceivedOf<'detach'>> {
    this.send({ kind: 'detach', handle: 0, closed: true, ...fields });
    return this.next('detach');
  }

  /** The next frame, whatever it is; undefined at the end of the connection. */
  async take(): Promise<Received | undefined> {
    while (this.received.length === 0 && !this.isEnded) {
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    return this.received.shift();
  }

  /** The next frame of the kind that matches; what comes before it stays to be taken. */
  async next<Kind extends Received['kind']>(
    kind: Kind,
    matches: (one: ReceivedOf<Kind>) => boolean = () => true,
  ): Promise<ReceivedOf<Kind>> {
    for (;;) {
      const index = this.received.findIndex((one) => one.kind === kind && matches(one as ReceivedOf<Kind>));
      if (index >= 0) return this.received.splice(index, 1)[0] as ReceivedOf<Kind>;
      if (this.isEnded) throw new Error(`the connection ended before ${kind}; there came ${this.kinds().join()}`);
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }

  /** The next frames of the kind, as many as that. */
  async many<Kind extends Received['kind']>(kind: Kind, count: number): Promise<ReceivedOf<Kind>[]> {
    const frames: ReceivedOf<Kind>[] = [];
    while (frames.length < count) frames.push(await this.next(kind));
    return frames;
  }

  /** What came and was not taken. */
  kinds(): string[] {
    return this.received.map(({ kind }) => kind);
  }

  /** Resolves at the end of the connection. */
  async ended(): Promise<void> {
    while (!this.isEnded) await new Promise<void>((resolve) => (this.wake = resolve));
  }

  /** Resolves when the server has seen everything sent so far on channel 0: a flow with echo, whose answer is taken. */
  async seen(): Promise<void> {
    this.flow({ echo: true });
    await this.next('flow', ({ handle }) => handle === undefined);
  }

  /** Good-bye by the protocol, and the end of the connection. */
  async close(): Promise<void> {
    this.send({ kind: 'close' });
    await this.next('close');
    this.stream.end();
    await this.ended();
  }

  destroy(): void {
    this.stream.destroy();
  }

  private add(received: Received): void {
    this.received.push(received);
  }
}

export function openFrame(fields: Partial<Open> = {}): Open {
  return {
    kind: 'open',
    containerId: 'client',
    maxFrameSize: 0xffff_ffff,
    channelMax: 0xffff,
    offeredCapabilities: [],
    desiredCapabilities: [],
    properties: new Map(),
    ...fields,
  };
}

export function beginFrame(fields: Partial<Begin> = {}): Begin {
  return {
    kind: 'begin',
    nextOutgoingId: 0,
    incomingWindow: 10_000,
    outgoingWindow: 10_000,
    handleMax: 0xffff_ffff,
    offeredCapabilities: [],
    desiredCapabilities: [],
    properties: new Map(),
    ...fields,
  };
}

export function attachFrame(fields: Partial<Attach> & Pick<Attach, 'role'>): Attach {
  return {
    kind: 'attach',
    name: 'link',
    handle: 0,
    senderSettleMode: 2,
    receiverSettleMode: 0,
    initialDeliveryCount: fields.role === 'sender' ? 0 : undefined,
    source: fields.role === 'sender' ? sourceOf('client') : undefined,
    target: fields.role === 'receiver' ? targetOf('client') : undefined,
    maxMessageSize: 0,
    offeredCapabilities: [],
    desiredCapabilities: [],
    properties: new Map(),
    ...fields,
  };
}

export function flowFrame(fields: Partial<Flow> = {}): Flow {
  const windows = { nextIncomingId: 0, incomingWindow: 10_000, nextOutgoingId: 0, outgoingWindow: 10_000 };
  return { kind: 'flow', ...windows, drain: false, echo: false, ...fields };
}

/** The frame of an unsettled message in one transfer. */
export function transferFrame(fields: Partial<Transfer>, payload: Buffer = NO_PAYLOAD, channel = 0): Buffer {
  const { deliveryId } = fields;
  const deliveryTag = deliveryId === undefined ? undefined : Buffer.from([deliveryId >> 8, deliveryId & 0xff]);
  const transfer: Transfer = {
    kind: 'transfer',
    handle: 0,
    deliveryTag,
    messageFormat: deliveryId === undefined ? undefined : 0,
    more: false,
    resume: false,
    aborted: false,
    ...fields,
  };
  return encodeFrame(channel, transfer, payload);
}

const TERMINUS = {
  durable: 0,
  expiryPolicy: 'session-end',
  timeoutS: 0,
  dynamic: false,
  dynamicNodeProperties: new Map(),
  capabilities: [],
} as const;

export function sourceOf(address: string | undefined, fields: Partial<Source> = {}): Source {
  return { kind: 'source', ...TERMINUS, address, filters: new Map(), outcomes: [], ...fields };
}

export function targetOf(address: string | undefined, fields: Partial<Target> = {}): Target {
  return { kind: 'target', ...TERMINUS, address, ...fields };
}
