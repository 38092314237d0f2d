/** AMQP 2.2: `AMQP`, the protocol, 1.0.0. */
export const PROTOCOL_HEADER_BYTES = 8;

/** What may follow a protocol header; `unknown` for any other eight bytes. */
export type HeaderProtocol = 'amqp' | 'tls' | 'sasl' | 'unknown';

const PROTOCOL_IDS: ReadonlyMap<number, HeaderProtocol> = new Map([
  [0, 'amqp'],
  [2, 'tls'],
  [3, 'sasl'],
]);

export const PROTOCOL_HEADERS: Readonly<Record<Exclude<HeaderProtocol, 'unknown'>, Buffer>> = {
  amqp: Buffer.from('AMQP\x00\x01\x00\x00', 'latin1'),
  tls: Buffer.from('AMQP\x02\x01\x00\x00', 'latin1'),
  sasl: Buffer.from('AMQP\x03\x01\x00\x00', 'latin1'),
};

/** Which one the eight bytes at `at` are. */
export function protocolOf(buffer: Buffer, at: number): HeaderProtocol {
  const isAmqp = buffer.toString('latin1', at, at + 4) === 'AMQP';
  const isVersion1 = buffer[at + 5] === 1 && buffer[at + 6] === 0 && buffer[at + 7] === 0;
  return (isAmqp && isVersion1 ? PROTOCOL_IDS.get(buffer[at + 4]!) : undefined) ?? 'unknown';
}
