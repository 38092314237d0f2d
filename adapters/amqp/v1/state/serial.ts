/** Sequence numbers of 32 bits that go round (RFC 1982, AMQP 2.8.8): delivery ids, transfer ids, delivery counts. */

/** The number `count` after it. */
export function after(serial: number, count = 1): number {
  return (serial + count) >>> 0;
}

/** How far it is from one to the other; negative where `to` lies before `from`. */
export function distance(from: number, to: number): number {
  return (to - from) | 0;
}
