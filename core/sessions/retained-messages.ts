import { BrokerError, type Outcome } from '../model/broker-error.ts';
import { Message } from '../model/message.ts';
import type { Clock } from '../ports/clock.ts';
import type { OutgoingMessage, Placed } from '../ports/message-engine.ts';
import type { MetaStore } from '../ports/meta-store.ts';
import { AddressIndex } from '../routing/address-index.ts';

export interface RetainedOptions {
  /** Addresses with a retained message. */
  readonly countMax: number;
  /** Of all of them together. */
  readonly bytesMax: number;
}

export const DEFAULT_RETAINED_OPTIONS: RetainedOptions = { countMax: 100_000, bytesMax: 64 * 1024 * 1024 };

const KEY_PREFIX = 'retained/';
/** In front of the message's bytes: when it was taken in, milliseconds, float64 little endian. */
const HEAD_BYTES = 8;
/** How long what expired may stay in memory and in the store when nobody asks for it. */
const SWEEP_MS = 60_000;
/** Publishers that are refused must not make it look for room all the time. */
const SWEEP_AGAIN_MS = 1_000;

/**
 * The last message of each address that was published to be kept for those who subscribe later. What is stored changes
 * together with the message itself; what is in memory changes when the message goes to the engine: a subscription made
 * before it is durable may come too late for the message, so it has to find it here.
 */
export class RetainedMessages {
  private readonly meta: MetaStore;
  private readonly clock: Clock;
  private readonly options: RetainedOptions;
  private readonly index = new AddressIndex<Message>();
  private storedCount = 0;
  private storedBytes = 0;
  /** When they expire, by address, of those that do. */
  private readonly expiries = new Map<string, number>();
  /** The latest change of an address that may still be refused. */
  private readonly inFlight = new Map<string, object>();
  private timer: Disposable | undefined;
  private sweptAt = 0;
  private isStopped = false;

  constructor(meta: MetaStore, clock: Clock, options: RetainedOptions) {
    this.meta = meta;
    this.clock = clock;
    this.options = options;
  }

  get count(): number {
    return this.storedCount;
  }
  /** Of the messages. */
  get bytes(): number {
    return this.storedBytes;
  }

  /** Reads what earlier runs left. */
  async load(): Promise<void> {
    for (const { key, value } of await this.meta.list(KEY_PREFIX)) {
      this.set(key.slice(KEY_PREFIX.length), decode(value));
    }
    this.sweep();
  }

  stop(): void {
    this.isStopped = true;
    this.timer?.[Symbol.dispose]();
  }

  /** Of every address the filter matches. Their bytes stay as they are. */
  match(filter: string): Message[] {
    const now = this.clock.now();
    return this.index.match(filter).filter((message) => {
      if (!message.isExpired(now)) return true;
      this.expire(message.address);
      return false;
    });
  }

  /**
   * Takes over a message with the retain flag that is about to be sent; `settle` has to follow. An empty one clears its
   * address [MQTT-3.3.1-6].
   * @returns why it must not be sent; nothing changed then
   */
  take(outgoing: OutgoingMessage): BrokerError | undefined {
    const { address, message } = outgoing;
    const now = this.clock.now();
    if (message.hasDeliveryTime && message.deliverAt > now) {
      return new BrokerError('UNSUPPORTED', 'a message cannot be both delayed and retained');
    }
    const key = KEY_PREFIX + address;
    if (message.bodyBytes === 0) {
      if (this.index.get(address) === undefined) return undefined;
      this.remove(address);
      outgoing.changes = [...outgoing.changes, { kind: 'delete', key }];
    } else {
      const problem = this.problemWith(address, message.bytes, now);
      if (problem !== undefined) return problem;
      const value = encode(message, now);
      this.set(address, decode(value));
      outgoing.changes = [...outgoing.changes, { kind: 'put', key, value }];
    }
    this.inFlight.set(address, outgoing);
    return undefined;
  }

  /** The engine answered for a message that was taken. */
  settle(outgoing: OutgoingMessage, outcome: Outcome<Placed> | undefined): void {
    const { address } = outgoing;
    // One that came later decides.
    if (this.inFlight.get(address) !== outgoing) return;
    this.inFlight.delete(address);
    if (outcome?.ok !== true) void this.reload(address);
  }

  private async reload(address: string): Promise<void> {
    const token = {};
    this.inFlight.set(address, token);
    const entry = await this.meta.get(KEY_PREFIX + address);
    if (this.inFlight.get(address) !== token) return;
    this.inFlight.delete(address);
    if (entry === undefined) this.remove(address);
    else this.set(address, decode(entry.value));
  }

  private problemWith(address: string, bytes: number, now: number): BrokerError | undefined {
    const problem = this.limitProblem(address, bytes);
    if (problem === undefined || now < this.sweptAt + SWEEP_AGAIN_MS) return problem;
    this.sweep();
    return this.limitProblem(address, bytes);
  }

  private limitProblem(address: string, bytes: number): BrokerError | undefined {
    const { countMax, bytesMax } = this.options;
    const before = this.index.get(address);
    if (before === undefined && this.storedCount >= countMax) {
      return new BrokerError('LIMIT_EXCEEDED', `there are ${countMax} retained messages, the limit`);
    }
    const growth = bytes - (before?.bytes ?? 0);
    if (growth <= 0 || this.storedBytes + growth <= bytesMax) return undefined;
    return new BrokerError('LIMIT_EXCEEDED', `retained messages may have ${bytesMax} bytes together`);
  }

  private set(address: string, message: Message): void {
    this.remove(address);
    this.index.set(address, message);
    this.storedCount++;
    this.storedBytes += message.bytes;
    const { expiresAt } = message;
    if (expiresAt === 0) return;
    this.expiries.set(address, expiresAt);
    this.sweepLater();
  }

  private remove(address: string): void {
    const message = this.index.get(address);
    if (message === undefined) return;
    this.index.delete(address);
    this.expiries.delete(address);
    this.storedCount--;
    this.storedBytes -= message.bytes;
  }

  private expire(address: string): void {
    // Not known yet which one the store has.
    if (this.inFlight.has(address)) return;
    this.remove(address);
    // What stays is found again by the next start.
    this.meta.delete(KEY_PREFIX + address).catch(() => undefined);
  }

  private sweep(): void {
    const now = this.clock.now();
    this.sweptAt = now;
    for (const [address, expiresAt] of this.expiries) if (expiresAt <= now) this.expire(address);
  }

  private sweepLater(): void {
    if (this.isStopped || this.timer !== undefined) return;
    this.timer = this.clock.schedule(SWEEP_MS, () => {
      this.timer = undefined;
      this.sweep();
      if (this.expiries.size > 0) this.sweepLater();
    });
  }
}

/** A copy: those of a message on its way in are used again. */
function encode({ buffer, start, end, bytes }: Message, storedAt: number): Buffer {
  const value = Buffer.allocUnsafeSlow(HEAD_BYTES + bytes);
  value.writeDoubleLE(storedAt, 0);
  buffer.copy(value, HEAD_BYTES, start, end);
  return value;
}

function decode(value: Uint8Array): Message {
  const buffer = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return new Message(buffer, HEAD_BYTES, buffer.length);
}
