import { NO_BYTES, readUint16, readUint32 } from './bytes.ts';
import { framingError } from './codec-error.ts';
import { Descriptor } from './descriptors.ts';
import { DispositionFrame, FlowFrame, readDisposition, readFlow, readTransfer, TransferFrame } from './hot-frames.ts';
import { type RarePerformative, readPerformative, readSaslPerformative } from './performative-reader.ts';
import type { SaslPerformative } from './performatives.ts';
import { type HeaderProtocol, PROTOCOL_HEADER_BYTES, protocolOf } from './protocol-header.ts';
import { Reader } from './reader.ts';

/** The part of a frame that every frame has (AMQP 2.3.1). */
export const FRAME_HEADER_BYTES = 8;
/** What every peer accepts (AMQP 2.4.1). */
export const MIN_MAX_FRAME_SIZE = 512;
/** Frames before login: credentials with room to spare. */
const SASL_FRAME_BYTES_MAX = 16 * 1024;
/** Up to this size the memory for an incomplete frame is allocated at once; larger ones grow into it. */
const WHOLE_ALLOCATION_BYTES_MAX = 4096;

const FRAME_TYPE = { amqp: 0, sasl: 1 } as const;

export interface FrameHandler {
  /**
   * A protocol header (AMQP 2.2). After `unknown` the decoder is closed, after `tls` it expects another header.
   * @param bytes all eight of it
   */
  onProtocolHeader(protocol: HeaderProtocol, bytes: Buffer): void;
  /** `transfer` is used again for the next one; its buffer may be kept. */
  onTransfer(channel: number, transfer: TransferFrame): void;
  /** `disposition` is used again for the next one. */
  onDisposition(channel: number, disposition: DispositionFrame): void;
  /** `flow` is used again for the next one. */
  onFlow(channel: number, flow: FlowFrame): void;
  /** Every other performative. Binary values in it are views of received bytes. */
  onPerformative(channel: number, performative: RarePerformative): void;
  onSasl(performative: SaslPerformative): void;
  /** A frame without a body: the peer is there. */
  onEmptyFrame(channel: number): void;
}

export interface FrameDecoderOptions {
  /** The largest AMQP frame accepted: our max-frame-size. */
  frameBytesMax: number;
  saslFrameBytesMax?: number;
}

/** Turns the received bytes of one connection into protocol headers and frames, those of clients as those of servers. */
export class FrameDecoder {
  /** May be changed at any time, also by the handler: it holds from the next frame on. */
  frameBytesMax: number;

  readonly #handler: FrameHandler;
  readonly #saslFrameBytesMax: number;
  /** What the last header announced: decides which frames may come. Undefined: a header has to come. */
  #protocol: 'amqp' | 'sasl' | undefined = undefined;
  #closed = false;
  #paused = false;
  /** Received while paused, in order. */
  #held: Buffer[] = [];
  #heldBytes = 0;

  // An incomplete header or frame: the bytes so far, and how many it has in all (0 while that is not known).
  #pending: Buffer | null = null;
  #pendingBytes = 0;
  #unitBytes = 0;

  readonly #reader = new Reader(NO_BYTES, 0, 0);
  readonly #transfer = new TransferFrame();
  readonly #disposition = new DispositionFrame();
  readonly #flow = new FlowFrame();

  constructor(handler: FrameHandler, { frameBytesMax, saslFrameBytesMax = SASL_FRAME_BYTES_MAX }: FrameDecoderOptions) {
    this.#handler = handler;
    this.frameBytesMax = frameBytesMax;
    this.#saslFrameBytesMax = saslFrameBytesMax;
  }

  /** True after close() and after an error: further bytes are ignored. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Received, and held back since pause(): for who has to stop reading the socket. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Whether a frame has begun to come and is not complete. */
  get isInFrame(): boolean {
    return this.#pending !== null;
  }

  /** A protocol header has to come next: SASL is done. (A received outcome leads to the same.) */
  expectHeader(): void {
    this.#protocol = undefined;
  }

  /** Ends decoding, also from inside the handler: it is not called again. */
  close(): void {
    this.#closed = true;
    this.#held = [];
    this.#heldBytes = 0;
    this.#pending = null;
  }

  /** Holds back everything behind the frame being handled until resume(): its answer has to be waited for. */
  pause(): void {
    this.#paused = true;
  }

  /** Goes on with what was held back. Not to be called from inside the handler. Throws as push does. */
  resume(): void {
    this.#paused = false;
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    for (const chunk of held) this.push(chunk);
  }

  /**
   * Decodes received bytes, [start, end) of the chunk, and calls the handler for everything they complete. The chunk must
   * not be written to afterwards. Not to be called from inside the handler.
   * @throws CodecError when the bytes are not allowed; the decoder is closed then. What the handler throws passes
   * through and closes it too.
   */
  push(chunk: Buffer, start = 0, end = chunk.length): void {
    if (this.#closed) return;
    if (this.#paused) return this.#hold(chunk, start, end);
    try {
      const at = this.#pending === null ? start : this.#continuePending(chunk, start, end);
      this.#decodeFrom(chunk, at, end);
    } catch (error) {
      this.close();
      throw error;
    } finally {
      // An idle connection must not keep its last chunk.
      this.#reader.buffer = NO_BYTES;
      this.#transfer.buffer = NO_BYTES;
      this.#transfer.state = this.#disposition.state = undefined;
    }
  }

  #hold(chunk: Buffer, start: number, end: number): void {
    if (start === end) return;
    this.#held.push(chunk.subarray(start, end));
    this.#heldBytes += end - start;
  }

  #decodeFrom(buffer: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end && !this.#closed) {
      if (this.#paused) return this.#hold(buffer, at, end);
      const unitBytes = this.#unitBytesAt(buffer, at, end);
      if (unitBytes === 0 || unitBytes > end - at) return this.#keep(buffer, at, end, unitBytes);
      this.#decodeUnit(buffer, at, at + unitBytes);
      at += unitBytes;
    }
  }

  /**
   * Bytes of the header or frame at `at`, 0 while that is not known. What its first bytes say is checked here, before
   * the rest is waited for.
   */
  #unitBytesAt(buffer: Buffer, at: number, end: number): number {
    if (this.#protocol === undefined) return PROTOCOL_HEADER_BYTES;
    if (end - at < 4) return 0;
    const size = readUint32(buffer, at);
    const limit = this.#protocol === 'sasl' ? this.#saslFrameBytesMax : this.frameBytesMax;
    if (size > limit) throw framingError(`a frame of ${size} bytes is larger than ${limit}`);
    if (size < FRAME_HEADER_BYTES) throw framingError(`a frame of ${size} bytes is smaller than its header`);
    return size;
  }

  /** Keeps the bytes of an incomplete unit in memory of their own: a few bytes must not hold a whole chunk. */
  #keep(buffer: Buffer, at: number, end: number, unitBytes: number): void {
    const bytes = end - at;
    this.#unitBytes = unitBytes;
    this.#pending = Buffer.allocUnsafeSlow(pendingCapacity(unitBytes, bytes));
    this.#pendingBytes = bytes;
    buffer.copy(this.#pending, 0, at, end);
  }

  /** Adds to the incomplete unit, decodes it when complete, and returns how far the chunk was taken. */
  #continuePending(chunk: Buffer, start: number, end: number): number {
    let pending = this.#pending!;
    let at = start;
    while (this.#unitBytes === 0) {
      if (at === end) return at;
      pending[this.#pendingBytes++] = chunk[at++]!;
      this.#unitBytes = this.#unitBytesAt(pending, 0, this.#pendingBytes);
    }
    const taken = Math.min(this.#unitBytes - this.#pendingBytes, end - at);
    const bytes = this.#pendingBytes + taken;
    if (bytes > pending.length) {
      // At least doubling keeps the copying linear, however small the pieces are.
      const larger = Buffer.allocUnsafeSlow(pendingCapacity(this.#unitBytes, bytes));
      pending.copy(larger, 0, 0, this.#pendingBytes);
      this.#pending = pending = larger;
    }
    chunk.copy(pending, this.#pendingBytes, at, at + taken);
    this.#pendingBytes = bytes;
    if (bytes === this.#unitBytes) {
      this.#pending = null;
      this.#decodeUnit(pending, 0, bytes);
    }
    return at + taken;
  }

  #decodeUnit(buffer: Buffer, at: number, end: number): void {
    if (this.#protocol === undefined) return this.#decodeHeader(buffer, at, end);
    const bodyAt = at + 4 * buffer[at + 4]!;
    if (bodyAt < at + FRAME_HEADER_BYTES || bodyAt > end) {
      throw framingError(`a frame of ${end - at} bytes has its body at ${bodyAt - at}`);
    }
    const type = buffer[at + 5]!;
    if (type !== FRAME_TYPE[this.#protocol])
      throw framingError(`a frame of type ${type} in place of ${this.#protocol}`);
    if (type === FRAME_TYPE.sasl) return this.#decodeSasl(buffer, bodyAt, end);
    const channel = readUint16(buffer, at + 6);
    if (bodyAt === end) this.#handler.onEmptyFrame(channel);
    else this.#decodeAmqp(buffer, bodyAt, end, channel);
  }

  #decodeHeader(buffer: Buffer, at: number, end: number): void {
    const protocol = protocolOf(buffer, at);
    if (protocol === 'amqp' || protocol === 'sasl') this.#protocol = protocol;
    this.#handler.onProtocolHeader(protocol, buffer.subarray(at, end));
    if (protocol === 'unknown') this.close();
  }

  #decodeSasl(buffer: Buffer, at: number, end: number): void {
    const reader = this.#reader;
    reader.reset(buffer, at, end);
    const performative = readSaslPerformative(reader, reader.descriptor('frame'));
    this.#checkEnd(end);
    if (performative.kind === 'sasl-outcome') this.expectHeader();
    this.#handler.onSasl(performative);
  }

  #decodeAmqp(buffer: Buffer, at: number, end: number, channel: number): void {
    const reader = this.#reader;
    reader.reset(buffer, at, end);
    const descriptor = reader.descriptor('frame');
    switch (descriptor) {
      case Descriptor.transfer:
        readTransfer(reader, this.#transfer);
        return this.#handler.onTransfer(channel, this.#transfer);
      case Descriptor.disposition:
        readDisposition(reader, this.#disposition);
        this.#checkEnd(end);
        return this.#handler.onDisposition(channel, this.#disposition);
      case Descriptor.flow:
        readFlow(reader, this.#flow);
        this.#checkEnd(end);
        return this.#handler.onFlow(channel, this.#flow);
      default: {
        const performative = readPerformative(reader, descriptor);
        this.#checkEnd(end);
        return this.#handler.onPerformative(channel, performative);
      }
    }
  }

  #checkEnd(end: number): void {
    if (this.#reader.at !== end) throw framingError('a frame is longer than its performative');
  }
}

function pendingCapacity(unitBytes: number, bytes: number): number {
  if (unitBytes === 0) return FRAME_HEADER_BYTES;
  if (unitBytes <= WHOLE_ALLOCATION_BYTES_MAX) return unitBytes;
  return Math.min(unitBytes, Math.max(WHOLE_ALLOCATION_BYTES_MAX, bytes * 2));
}
