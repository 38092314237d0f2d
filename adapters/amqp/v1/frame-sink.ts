import type { Output } from '../../connection/output.ts';
import { encodeFrame, encodeSaslFrame } from './codec/frame-encoder.ts';
import {
  DISPOSITION_BYTES_MAX,
  EMPTY_FRAME_BYTES,
  FLOW_BYTES_MAX,
  TRANSFER_HEAD_BYTES_MAX,
  writeDisposition,
  writeEmptyFrame,
  writeFlow,
  writeTransfer,
} from './codec/frame-writer.ts';
import type { AmqpError, DeliveryState, Flow, Performative, Role, SaslPerformative } from './codec/performatives.ts';

const LOOP_BYTES_MAX = 32;

/** Writes frames into an output, none longer than the peer takes. */
export class FrameSink {
  /** The peer's max-frame-size, once it is known. */
  frameBytesMax = 512;
  private readonly output: Output;

  constructor(output: Output) {
    this.output = output;
  }

  /** Bytes as they are: a protocol header, or a frame. */
  raw(bytes: Buffer): void {
    this.output.append(bytes, 0, bytes.length);
  }

  sasl(performative: SaslPerformative): void {
    this.raw(encodeSaslFrame(performative));
  }

  performative(channel: number, performative: Performative): void {
    const frame = encodeFrame(channel, performative);
    this.raw(frame.length <= this.frameBytesMax ? frame : encodeFrame(channel, withoutText(performative)));
  }

  empty(): void {
    const { output } = this;
    output.reserve(EMPTY_FRAME_BYTES);
    output.used = writeEmptyFrame(output.chunk, output.used, 0);
  }

  flow(channel: number, flow: Flow): void {
    const { output } = this;
    output.reserve(FLOW_BYTES_MAX);
    output.used = writeFlow(output.chunk, output.used, channel, flow);
  }

  disposition(
    channel: number,
    role: Role,
    first: number,
    last: number,
    settled: boolean,
    state: DeliveryState | undefined,
  ): void {
    if (state !== undefined && state.kind !== 'accepted' && state.kind !== 'released') {
      return this.performative(channel, { kind: 'disposition', role, first, last, settled, state });
    }
    const { output } = this;
    output.reserve(DISPOSITION_BYTES_MAX);
    output.used = writeDisposition(output.chunk, output.used, channel, role, first, last, settled, state);
  }

  /**
   * The first transfer of a delivery, with as much of the message as there is room for.
   * @returns how many bytes of the message it has
   */
  transfer(
    channel: number,
    handle: number,
    deliveryId: number,
    tag: Buffer | number,
    messageFormat: number,
    settled: boolean,
    head: Buffer,
    headEnd: number,
    buffer: Buffer,
    start: number,
    end: number,
  ): number {
    const { output } = this;
    const whole = headEnd + end - start;
    const bytes = Math.min(whole, this.frameBytesMax - TRANSFER_HEAD_BYTES_MAX);
    output.reserve(TRANSFER_HEAD_BYTES_MAX + bytes);
    output.used = writeTransfer(
      output.chunk,
      output.used,
      channel,
      handle,
      deliveryId,
      tag,
      messageFormat,
      settled,
      bytes < whole,
      bytes,
    );
    this.payload(head, 0, headEnd, buffer, start, bytes);
    return bytes;
  }

  /** One more transfer of a delivery; as `transfer`. */
  furtherTransfer(
    channel: number,
    handle: number,
    head: Buffer,
    headAt: number,
    buffer: Buffer,
    at: number,
    end: number,
  ): number {
    const { output } = this;
    const rest = head.length - headAt + end - at;
    const bytes = Math.min(rest, this.frameBytesMax - TRANSFER_HEAD_BYTES_MAX);
    output.reserve(TRANSFER_HEAD_BYTES_MAX + bytes);
    const more = bytes < rest;
    output.used = writeTransfer(output.chunk, output.used, channel, handle, -1, undefined, -1, false, more, bytes);
    this.payload(head, headAt, head.length, buffer, at, bytes);
    return bytes;
  }

  /** The next `bytes` of a message whose rest is [headAt, headEnd) of `head` and what lies at `at` of `buffer`. */
  private payload(head: Buffer, headAt: number, headEnd: number, buffer: Buffer, at: number, bytes: number): void {
    const { output } = this;
    const ofHead = Math.min(bytes, headEnd - headAt);
    // A header alone is so short that a loop is faster than a call of `copy`.
    if (ofHead > LOOP_BYTES_MAX) head.copy(output.chunk, output.used, headAt, headAt + ofHead);
    else for (let i = 0; i < ofHead; i++) output.chunk[output.used + i] = head[headAt + i]!;
    if (bytes > ofHead) buffer.copy(output.chunk, output.used + ofHead, at, at + bytes - ofHead);
    output.used += bytes;
  }
}

/** What only explains is left out where the frame would be too long for the peer. */
function withoutText(performative: Performative): Performative {
  if (performative.kind === 'disposition') {
    const { state } = performative;
    if (state?.kind !== 'rejected') return performative;
    return { ...performative, state: { kind: 'rejected', error: shortened(state.error) } };
  }
  return 'error' in performative ? { ...performative, error: shortened(performative.error) } : performative;
}

function shortened(error: AmqpError | undefined): AmqpError | undefined {
  return error && { condition: error.condition };
}
