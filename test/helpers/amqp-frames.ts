import {
  FrameDecoder,
  type FrameDecoderOptions,
  type FrameHandler,
} from '../../adapters/amqp/v1/codec/frame-decoder.ts';
import { toDisposition, toFlow, toTransfer, type TransferFrame } from '../../adapters/amqp/v1/codec/hot-frames.ts';
import type { Performative, SaslPerformative } from '../../adapters/amqp/v1/codec/performatives.ts';
import type { HeaderProtocol } from '../../adapters/amqp/v1/codec/protocol-header.ts';

/** Whatever comes out of a decoder, as values that may be kept. */
export type DecodedFrame =
  | { readonly kind: 'header'; readonly protocol: HeaderProtocol; readonly bytes: string }
  | { readonly kind: 'empty'; readonly channel: number }
  | { readonly kind: 'sasl'; readonly performative: SaslPerformative }
  | { readonly kind: 'amqp'; readonly channel: number; readonly performative: Performative; readonly payload: string };

/** Collects what a decoder finds; bytes as hex. `onFrame` is called after each. */
export class FrameCollector implements FrameHandler {
  readonly frames: DecodedFrame[] = [];
  readonly decoder: FrameDecoder;
  onFrame: (frame: DecodedFrame) => void = () => {};

  constructor(options: FrameDecoderOptions = { frameBytesMax: 1024 * 1024 }) {
    this.decoder = new FrameDecoder(this, options);
  }

  #add(frame: DecodedFrame): void {
    this.frames.push(frame);
    this.onFrame(frame);
  }

  #amqp(channel: number, performative: Performative, payload = ''): void {
    this.#add({ kind: 'amqp', channel, performative, payload });
  }

  onProtocolHeader(protocol: HeaderProtocol, bytes: Buffer): void {
    this.#add({ kind: 'header', protocol, bytes: bytes.toString('hex') });
  }

  onTransfer(channel: number, transfer: TransferFrame): void {
    const { buffer, payloadStart, payloadEnd } = transfer;
    this.#amqp(channel, toTransfer(transfer), buffer.toString('hex', payloadStart, payloadEnd));
  }

  onDisposition(channel: number, disposition: Parameters<FrameHandler['onDisposition']>[1]): void {
    this.#amqp(channel, toDisposition(disposition));
  }

  onFlow(channel: number, flow: Parameters<FrameHandler['onFlow']>[1]): void {
    this.#amqp(channel, toFlow(flow));
  }

  onPerformative(channel: number, performative: Performative): void {
    this.#amqp(channel, performative);
  }

  onSasl(performative: SaslPerformative): void {
    this.#add({ kind: 'sasl', performative });
  }

  onEmptyFrame(channel: number): void {
    this.#add({ kind: 'empty', channel });
  }
}
