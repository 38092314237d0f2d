import type { Delivery } from '../../../core/ports/message-engine.ts';
import type { Message } from '../../../core/model/message.ts';
import type { Feed } from './feed.ts';

const IDENTIFIERS = 65_535;
const FIRST_CAPACITY = 16;

/** How far a message has come on its way to the client. */
export const Phase = {
  /** Done, or never begun. */
  none: 0,
  /** QoS 1, PUBACK is awaited. */
  published: 1,
  /** QoS 2, PUBREC is awaited. */
  publishedOnce: 2,
  /** QoS 2, PUBREC was received and PUBCOMP is awaited. */
  released: 3,
} as const;
export type Phase = (typeof Phase)[keyof typeof Phase];

/** One message on its way, to send it again or to write it down. */
export interface InflightMessage {
  readonly packetIdentifier: number;
  readonly phase: Phase;
  /** Where it came from, and its offset there; of what is kept instead, whether it goes out with RETAIN (1) or not (0). */
  readonly feed: Feed | undefined;
  readonly position: number;
  /** Where it cannot be read again by its offset: a retained message, or one leased to a shared subscription. */
  readonly kept: Message | Delivery | undefined;
}

/**
 * The QoS 1 and 2 messages sent and not yet acknowledged, in the order they were sent. Packet identifiers follow from a
 * running number, so that they are handed out in order and used again only after 65,535 others [MQTT-2.2.1-3]. They
 * outlive the connection: the next one sends them again, in order, under the same identifiers [MQTT-4.4.0-1].
 */
export class Inflight {
  /** How many may be on their way to this client. */
  private size = 0;
  /** Running numbers: of the oldest that is not done, of the next, and of the next to be sent again. */
  private base = 0;
  private next = 0;
  private resendAt = 0;
  /** Sent on this connection and not done. */
  private open = 0;
  private phases = new Uint8Array(0);
  private feeds: (Feed | undefined)[] = [];
  private positions: number[] = [];
  private kept: (Message | Delivery | undefined)[] = [];

  /** How many more messages may be sent now. None before those of the last connection are on their way again. */
  get room(): number {
    return this.isResent ? Math.max(0, this.size - (this.next - this.base)) : 0;
  }

  get isResent(): boolean {
    return this.resendAt >= this.next;
  }

  get isEmpty(): boolean {
    return this.base === this.next;
  }

  /** A new connection. @param size how many messages it takes, at most 65,535 */
  begin(size: number): void {
    this.size = size;
    this.resendAt = this.base;
    this.open = 0;
  }

  /** The packet identifier of the next message. There must be room. */
  take(qos: 1 | 2, feed: Feed | undefined, position: number, kept: Message | Delivery | undefined): number {
    if (this.next - this.base === this.phases.length) this.grow();
    const slot = this.next % this.phases.length;
    this.phases[slot] = qos;
    this.feeds[slot] = feed;
    this.positions[slot] = position;
    this.kept[slot] = kept;
    this.open++;
    this.resendAt = this.next + 1;
    return (this.next++ % IDENTIFIERS) + 1;
  }

  phase(packetIdentifier: number): Phase {
    const at = this.numberOf(packetIdentifier);
    return at === undefined ? Phase.none : (this.phases[at % this.phases.length] as Phase);
  }

  /** The message of an identifier that is on its way. */
  message(packetIdentifier: number): InflightMessage {
    return this.at(this.numberOf(packetIdentifier)!);
  }

  keptOf(packetIdentifier: number): Message | Delivery | undefined {
    return this.kept[this.numberOf(packetIdentifier)! % this.kept.length];
  }

  /** PUBREC was received. */
  release(packetIdentifier: number): void {
    this.phases[this.numberOf(packetIdentifier)! % this.phases.length] = Phase.released;
  }

  /** The identifier is free again. */
  done(packetIdentifier: number): void {
    const at = this.numberOf(packetIdentifier)!;
    const slot = at % this.phases.length;
    this.phases[slot] = Phase.none;
    this.feeds[slot] = undefined;
    this.kept[slot] = undefined;
    if (at < this.resendAt) this.open--;
    const { phases } = this;
    while (this.base < this.next && phases[this.base % phases.length] === Phase.none) this.base++;
    if (this.resendAt < this.base) this.resendAt = this.base;
  }

  /** The next message to be sent again, undefined when there is none or no room. */
  nextResent(): InflightMessage | undefined {
    while (this.resendAt < this.next && this.open < this.size) {
      const message = this.at(this.resendAt++);
      if (message.phase === Phase.none) continue;
      this.open++;
      return message;
    }
    return undefined;
  }

  /** The message cannot be read again later. @param retain whether it was sent with RETAIN */
  keep(packetIdentifier: number, message: Message, retain: boolean): void {
    const slot = this.numberOf(packetIdentifier)! % this.phases.length;
    this.positions[slot] = retain ? 1 : 0;
    this.kept[slot] = message;
  }

  /** The offset of the oldest message on its way that has to be read again from the feed, undefined when there is none. */
  oldestOf(feed: Feed): number | undefined {
    for (let at = this.base; at < this.next; at++) {
      const slot = at % this.phases.length;
      if (this.feeds[slot] !== feed || this.kept[slot] !== undefined) continue;
      if (this.phases[slot] !== Phase.none) return this.positions[slot]!;
    }
    return undefined;
  }

  /** All that are not done, in the order they were sent. */
  all(): InflightMessage[] {
    return Array.from({ length: this.next - this.base }, (_, i) => this.at(this.base + i)).filter(
      ({ phase }) => phase !== Phase.none,
    );
  }

  /** Where the running number stands, for `restore`. */
  get mark(): number {
    return this.next;
  }

  /** What an earlier run wrote down. */
  restore(mark: number, messages: readonly InflightMessage[]): void {
    this.next = mark;
    const ages = messages.map(({ packetIdentifier }) => mod(mark - packetIdentifier + 1, IDENTIFIERS) || IDENTIFIERS);
    this.base = mark - Math.max(0, ...ages);
    this.resendAt = this.base;
    while (this.phases.length < this.next - this.base) this.grow();
    this.phases.fill(Phase.none);
    messages.forEach(({ phase, feed, position, kept }, i) => {
      const slot = (mark - ages[i]!) % this.phases.length;
      this.phases[slot] = phase;
      this.feeds[slot] = feed;
      this.positions[slot] = position;
      this.kept[slot] = kept;
    });
  }

  private at(number: number): InflightMessage {
    const slot = number % this.phases.length;
    return {
      packetIdentifier: (number % IDENTIFIERS) + 1,
      phase: this.phases[slot] as Phase,
      feed: this.feeds[slot],
      position: this.positions[slot]!,
      kept: this.kept[slot],
    };
  }

  private numberOf(packetIdentifier: number): number | undefined {
    const ahead = mod(packetIdentifier - 1 - (this.base % IDENTIFIERS), IDENTIFIERS);
    return ahead < this.next - this.base ? this.base + ahead : undefined;
  }

  private grow(): void {
    const { phases, feeds, positions, kept } = this;
    const length = Math.max(FIRST_CAPACITY, phases.length * 2);
    this.phases = new Uint8Array(length);
    this.feeds = Array.from({ length }, () => undefined);
    this.positions = Array.from({ length }, () => 0);
    this.kept = Array.from({ length }, () => undefined);
    for (let at = this.base; at < this.next && phases.length > 0; at++) {
      const [from, to] = [at % phases.length, at % length];
      this.phases[to] = phases[from]!;
      this.feeds[to] = feeds[from];
      this.positions[to] = positions[from]!;
      this.kept[to] = kept[from];
    }
  }
}

function mod(a: number, b: number): number {
  return ((a % b) + b) % b;
}
