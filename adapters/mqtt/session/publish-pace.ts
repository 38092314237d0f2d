import type { MqttOptions } from '../options.ts';

/** How fast one client may publish: an allowance that grows with the time, up to that of one second. */
export class PublishPace {
  private readonly messagesPerS: number;
  private readonly bytesPerS: number;
  private messages: number;
  private bytes: number;
  private atMs: number;

  /** Undefined when there is no limit. */
  static of({ publishRateMax, publishBytesRateMax }: MqttOptions, nowMs: number): PublishPace | undefined {
    if (publishRateMax === 0 && publishBytesRateMax === 0) return undefined;
    return new PublishPace(publishRateMax || Infinity, publishBytesRateMax || Infinity, nowMs);
  }

  private constructor(messagesPerS: number, bytesPerS: number, nowMs: number) {
    this.messagesPerS = messagesPerS;
    this.bytesPerS = bytesPerS;
    this.messages = messagesPerS;
    this.bytes = bytesPerS;
    this.atMs = nowMs;
  }

  /** Takes from the allowance what has come. @returns how long nothing more should be read, milliseconds */
  take(messages: number, bytes: number, nowMs: number): number {
    const elapsedS = (nowMs - this.atMs) / 1000;
    this.atMs = nowMs;
    this.messages = left(this.messages, messages, this.messagesPerS, elapsedS);
    this.bytes = left(this.bytes, bytes, this.bytesPerS, elapsedS);
    const missingS = Math.max(-this.messages / this.messagesPerS, -this.bytes / this.bytesPerS);
    return missingS > 0 ? Math.ceil(missingS * 1000) : 0;
  }
}

function left(allowance: number, taken: number, perS: number, elapsedS: number): number {
  return perS === Infinity ? 0 : Math.min(perS, allowance + elapsedS * perS) - taken;
}
