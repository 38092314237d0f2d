const IDENTIFIERS = 65_535;
const FIRST_CAPACITY = 16;

/**
 * QoS 1 messages sent and not yet acknowledged. Packet identifiers follow from a running number, so that they are handed
 * out in order and used again only after 65,535 others [MQTT-2.2.1-3].
 */
export class SendWindow {
  private readonly size: number;
  private base = 0;
  private next = 0;
  /** By running number: 1 acknowledged. Grows to the window's size when it is used. */
  private acknowledged: Uint8Array | undefined;

  /** @param size how many messages may be unacknowledged, at most 65,535 */
  constructor(size: number) {
    this.size = size;
  }

  /** How many more messages may be sent now. */
  get room(): number {
    return this.size - (this.next - this.base);
  }

  /** The packet identifier of the next message. There must be room. */
  take(): number {
    let ring = this.acknowledged;
    if (ring === undefined || this.next - this.base === ring.length) ring = this.grow();
    ring[this.next % ring.length] = 0;
    return (this.next++ % IDENTIFIERS) + 1;
  }

  /** Whether the packet identifier belonged to an unacknowledged message. */
  acknowledge(packetIdentifier: number): boolean {
    const ahead = (packetIdentifier - 1 - (this.base % IDENTIFIERS) + IDENTIFIERS) % IDENTIFIERS;
    const ring = this.acknowledged;
    if (ring === undefined || ahead >= this.next - this.base) return false;
    const slot = (this.base + ahead) % ring.length;
    if (ring[slot] === 1) return false;
    ring[slot] = 1;
    while (this.base < this.next && ring[this.base % ring.length] === 1) this.base++;
    return true;
  }

  private grow(): Uint8Array {
    const old = this.acknowledged;
    const ring = new Uint8Array(old === undefined ? FIRST_CAPACITY : old.length * 2);
    if (old !== undefined) for (let i = this.base; i < this.next; i++) ring[i % ring.length] = old[i % old.length]!;
    this.acknowledged = ring;
    return ring;
  }
}
