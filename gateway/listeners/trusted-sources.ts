import { BlockList, isIP } from 'node:net';

const FAMILY = { 4: 'ipv4', 6: 'ipv6' } as const;
const BITS = { 4: 32, 6: 128 } as const;

interface Cidr {
  readonly address: string;
  readonly version: 4 | 6;
  readonly prefixBits: number;
}

/** `10.0.0.0/8`, `fd00::/8`, or one address. Undefined when the text is neither. */
export function parseCidr(text: string): Cidr | undefined {
  const [address, prefix, ...more] = text.split('/') as [string, string?, ...string[]];
  const version = isIP(address);
  // A zone (fe80::1%eth0) names an interface of this machine, not a network.
  if ((version !== 4 && version !== 6) || more.length > 0 || address.includes('%')) return undefined;
  if (prefix === undefined) return { address, version, prefixBits: BITS[version] };
  if (!/^(0|[1-9]\d{0,2})$/.test(prefix) || Number(prefix) > BITS[version]) return undefined;
  return { address, version, prefixBits: Number(prefix) };
}

/** The addresses of proxies that are believed. */
export class TrustedSources {
  private readonly list = new BlockList();

  /** @throws RangeError for what is neither a network nor an address */
  constructor(cidrs: readonly string[]) {
    for (const text of cidrs) {
      const cidr = parseCidr(text);
      if (cidr === undefined) throw new RangeError(`${text} is no network in CIDR notation`);
      this.list.addSubnet(cidr.address, cidr.prefixBits, FAMILY[cidr.version]);
    }
  }

  has(address: string): boolean {
    const version = isIP(address);
    return (version === 4 || version === 6) && this.list.check(address, FAMILY[version]);
  }
}

/** IPv4 as IPv4 where a socket for both shows it as `::ffff:192.0.2.1`. */
export function plainAddress(address: string | undefined): string {
  if (address === undefined) return '';
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  return mapped === null ? address : mapped[1]!;
}
