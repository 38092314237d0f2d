/** The load generator's AMQP connections, each with one session and one link. Whatever is not expected throws. */
import { connect, type Socket } from 'node:net';
import * as wire from './amqp-wire.ts';

const { code } = wire;

abstract class Link {
  readonly socket: Socket;
  protected readonly fields = new wire.Fields();
  private rest: Buffer = Buffer.alloc(0);
  private headersLeft = 2;
  private onAttached: () => void = () => {};
  private onClosed: (() => void) | undefined;

  constructor(port: number) {
    this.socket = connect({ host: '127.0.0.1', port, noDelay: true });
    this.socket.on('data', (chunk: Buffer) => this.onBytes(chunk));
    this.socket.on('close', () => this.closed());
    this.socket.write(wire.saslHeader);
  }

  /** Resolves when the peer has answered the attach. */
  attached(): Promise<this> {
    return new Promise((resolve, reject) => {
      this.onAttached = () => resolve(this);
      this.socket.once('error', reject);
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.onClosed = resolve;
      this.socket.write(wire.closing);
    });
  }

  protected abstract opening(): Buffer;
  protected abstract onFrame(performative: number, bytes: Buffer, at: number, length: number): void;
  /** All frames of a chunk have been handed out. */
  protected abstract onChunk(): void;

  private onBytes(chunk: Buffer): void {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    let at = 0;
    while (bytes.length - at >= 8) {
      if (this.headersLeft > 0 && bytes[at] === 0x41) {
        this.headersLeft--;
        at += 8;
        continue;
      }
      const length = bytes.readUInt32BE(at);
      if (bytes.length - at < length) break;
      this.dispatch(bytes, at, length);
      at += length;
    }
    this.rest = at === bytes.length ? Buffer.alloc(0) : bytes.subarray(at);
    this.onChunk();
  }

  private dispatch(bytes: Buffer, at: number, length: number): void {
    const performative = wire.frameCode(bytes, at);
    const text = (): string => bytes.toString('latin1', at, at + length).replaceAll(/[^ -~]+/g, ' ');
    if (performative === code.saslMechanisms) this.socket.write(wire.saslInit(text()));
    else if (performative === code.saslOutcome) {
      if (this.fields.read(bytes, at).next() !== 0) throw new Error('the peer refuses the user');
      this.socket.write(Buffer.concat([wire.amqpHeader, this.opening()]));
    } else if (performative === code.attach) this.onAttached();
    else if (performative === code.close && this.onClosed !== undefined) this.socket.end();
    else if (performative === code.close || performative === code.end || performative === code.detach) {
      throw new Error(`the peer ended the link: ${text()}`);
    } else this.onFrame(performative, bytes, at, length);
  }

  private closed(): void {
    if (this.onClosed === undefined) throw new Error('the peer closed the connection');
    this.onClosed();
  }
}

/** Numbers of deliveries are remembered in as many places; more can not be under way. */
const ring = 65_536;

/** Sends numbered messages, as many as credit, window and `allowed` let it. */
export class SendingLink extends Link {
  sent = 0;
  confirmed = 0;
  /** How many may have been sent by now. */
  allowed: () => number = () => 0;
  onProgress: () => void = () => {};
  private readonly address: string;
  private readonly unsettledMax: number;
  private readonly template: ReturnType<typeof wire.transferTemplate>;
  private readonly onTheirWay = new Uint8Array(ring);
  /** Both count deliveries; each is one transfer. */
  private creditEnd = 0;
  private windowEnd = 0;

  constructor(port: number, address: string, payloadBytes: number, unsettledMax: number) {
    super(port);
    this.address = address;
    this.unsettledMax = unsettledMax;
    this.template = wire.transferTemplate(payloadBytes);
  }

  pump(): void {
    const until = Math.min(this.allowed(), this.confirmed + this.unsettledMax, this.creditEnd, this.windowEnd);
    const count = until - this.sent;
    // With few at a time nobody would have anything to batch.
    if (count <= 0 || (count * 4 < this.unsettledMax && until === this.confirmed + this.unsettledMax)) return;
    const { bytes, idAt, bodyAt } = this.template;
    const out = Buffer.allocUnsafe(bytes.length * count);
    for (let i = 0, at = 0; i < count; i++, at += bytes.length) {
      bytes.copy(out, at);
      out.writeUInt32BE(this.sent + i, at + idAt);
      out.writeUInt32BE(this.sent + i, at + bodyAt);
      this.onTheirWay[(this.sent + i) % ring] = 1;
    }
    this.sent += count;
    this.socket.write(out);
  }

  protected override opening(): Buffer {
    return Buffer.concat([wire.openAndBegin('bench-sender'), wire.attach('bench-in', this.address, false)]);
  }

  protected override onFrame(performative: number, bytes: Buffer, at: number): void {
    if (performative === code.flow) this.onFlow(bytes, at);
    else if (performative === code.disposition) this.onDisposition(bytes, at);
    else if (performative === code.begin) {
      this.fields.read(bytes, at).next();
      this.fields.next();
      this.windowEnd = this.fields.next();
    }
  }

  protected override onChunk(): void {
    this.pump();
    this.onProgress();
  }

  private onFlow(bytes: Buffer, at: number): void {
    const { fields } = this;
    const nextIncoming = Math.max(fields.read(bytes, at).next(), 0);
    this.windowEnd = nextIncoming + fields.next();
    fields.next();
    fields.next();
    const handle = fields.next();
    if (handle < 0) return;
    const deliveryCount = Math.max(fields.next(), 0);
    this.creditEnd = deliveryCount + fields.next();
  }

  private onDisposition(bytes: Buffer, at: number): void {
    const { fields } = this;
    fields.read(bytes, at).next();
    const first = fields.next();
    const last = fields.next();
    const isSettled = fields.next() === 1;
    const state = fields.descriptor();
    if (!isSettled || state !== code.accepted)
      throw new Error(`message ${first} was not accepted but ${state.toString(16)}`);
    for (let id = first; id <= (last < 0 ? first : last); id++) {
      if (this.onTheirWay[id % ring] !== 1) throw new Error(`message ${id} was accepted twice`);
      this.onTheirWay[id % ring] = 0;
      this.confirmed++;
    }
  }
}

/** Takes messages in the order of their numbers and accepts those of a chunk together. */
export class ReceivingLink extends Link {
  received = 0;
  onProgress: () => void = () => {};
  private readonly address: string;
  private readonly payloadBytes: number;
  private readonly credit: number;
  private first = -1;
  private last = -1;
  private granted = 0;

  constructor(port: number, address: string, payloadBytes: number, credit: number) {
    super(port);
    this.address = address;
    this.payloadBytes = payloadBytes;
    this.credit = credit;
  }

  start(): void {
    this.granted = this.received + this.credit;
    this.socket.write(wire.flow(this.received, 0, this.received, this.credit));
  }

  protected override opening(): Buffer {
    return Buffer.concat([wire.openAndBegin('bench-receiver'), wire.attach('bench-out', this.address, true)]);
  }

  protected override onFrame(performative: number, bytes: Buffer, at: number, length: number): void {
    if (performative !== code.transfer) return;
    this.fields.read(bytes, at).next();
    const id = this.fields.next();
    const number = bytes.readUInt32BE(at + length - this.payloadBytes);
    if (number !== this.received) throw new Error(`delivery ${this.received} is message ${number}`);
    if (this.received === this.granted) throw new Error('more deliveries than there is credit');
    this.received++;
    if (this.first < 0) this.first = id;
    else if (id !== this.last + 1) throw new Error(`delivery id ${id} behind ${this.last}`);
    this.last = id;
  }

  protected override onChunk(): void {
    if (this.first >= 0) {
      const out = [wire.accepted(true, this.first, this.last)];
      this.first = -1;
      if (this.granted - this.received <= this.credit * 0.75) {
        this.granted = this.received + this.credit;
        out.push(wire.flow(this.received, 0, this.received, this.credit));
      }
      this.socket.write(Buffer.concat(out));
    }
    this.onProgress();
  }
}
