import { isIPv4, isIPv6, type Socket } from 'node:net';

/**
 * HAProxy's PROXY protocol, versions 1 and 2 (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt): what a proxy
 * sends before the client's own bytes, to say where the client is.
 */
export type ProxyHeader =
  | { readonly state: 'more' }
  | { readonly state: 'malformed'; readonly reason: string }
  | {
      readonly state: 'complete';
      /** Bytes of the header; what follows is the client's. */
      readonly bytes: number;
      /** Undefined when the proxy speaks for itself or cannot tell (LOCAL, UNKNOWN). */
      readonly source?: Source;
    };

export interface Source {
  readonly address: string;
  readonly port: number;
}

const V1_PREFIX = Buffer.from('PROXY ', 'latin1');
/** Section 2.1: the longest line, CRLF included. */
const V1_BYTES_MAX = 107;
const V2_SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const V2_FIXED_BYTES = 16;
/** Proxies add some hundred bytes of TLVs; the two length bytes would allow 64 KiB. */
const V2_BYTES_MAX = 4096;

const COMMAND_LOCAL = 0x20;
const COMMAND_PROXY = 0x21;
/** By address family and transport: where the source address and port are, and how long the addresses are together. */
const V2_UNSPECIFIED = 0x00;
const V2_TCP4 = 0x11;
const V2_TCP6 = 0x21;
const V2_UNIX_STREAM = 0x31;
const V2_ADDRESS_BYTES: ReadonlyMap<number, number> = new Map([
  [V2_UNSPECIFIED, 0],
  [V2_TCP4, 12],
  [V2_TCP6, 36],
  [V2_UNIX_STREAM, 216],
]);

const MORE: ProxyHeader = { state: 'more' };

/** Reads the header at the start of `bytes`, which may hold less than the header or more. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader {
  if (startsAlike(bytes, V2_SIGNATURE)) return bytes.length < V2_FIXED_BYTES ? parseV2Start(bytes) : parseV2(bytes);
  if (startsAlike(bytes, V1_PREFIX)) return parseV1(bytes);
  return malformed('the connection does not begin with a PROXY header');
}

/** Whether as much of the prefix as there can be is there. */
function startsAlike(bytes: Buffer, prefix: Buffer): boolean {
  const length = Math.min(bytes.length, prefix.length);
  return bytes.compare(prefix, 0, length, 0, length) === 0;
}

function malformed(reason: string): ProxyHeader {
  return { state: 'malformed', reason };
}

function parseV1(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, V1_BYTES_MAX).indexOf('\r\n', 0, 'latin1');
  if (end < 0) return bytes.length < V1_BYTES_MAX ? MORE : malformed('the PROXY line is too long');
  const fields = bytes.toString('latin1', V1_PREFIX.length, end).split(' ');
  const [protocol, source, destination, sourcePort, destinationPort] = fields;
  // Section 2.1: whatever follows UNKNOWN is to be ignored.
  if (protocol === 'UNKNOWN') return { state: 'complete', bytes: end + 2 };
  if (protocol !== 'TCP4' && protocol !== 'TCP6') return malformed('the PROXY line names an unknown protocol');
  const isAddress = protocol === 'TCP4' ? isIPv4 : isPlainIPv6;
  const isSound = fields.length === 5 && isAddress(source!) && isAddress(destination!);
  if (!isSound || !isPort(sourcePort!) || !isPort(destinationPort!)) {
    return malformed('the PROXY line does not hold two addresses and two ports');
  }
  return { state: 'complete', bytes: end + 2, source: { address: source!, port: Number(sourcePort) } };
}

function isPlainIPv6(text: string): boolean {
  return isIPv6(text) && !text.includes('%');
}

function isPort(text: string): boolean {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535;
}

/** What is wrong is said as soon as it is there: the rest may never come. */
function parseV2Start(bytes: Buffer): ProxyHeader {
  const command = bytes[12];
  if (command === undefined || command === COMMAND_LOCAL || command === COMMAND_PROXY) return MORE;
  return malformed('the PROXY header has an unknown version or command');
}

function parseV2(bytes: Buffer): ProxyHeader {
  const start = parseV2Start(bytes);
  if (start.state === 'malformed') return start;
  const total = V2_FIXED_BYTES + bytes.readUInt16BE(14);
  if (total > V2_BYTES_MAX) return malformed('the PROXY header is too long');
  const isLocal = bytes[12] === COMMAND_LOCAL;
  const family = bytes[13]!;
  const addressBytes = V2_ADDRESS_BYTES.get(family);
  // Section 2.2: with LOCAL the family is to be ignored.
  if (!isLocal && addressBytes === undefined) return malformed('the PROXY header names no stream protocol');
  if (!isLocal && total < V2_FIXED_BYTES + addressBytes!) return malformed('the PROXY header is too short');
  if (bytes.length < total) return MORE;
  if (isLocal || (family !== V2_TCP4 && family !== V2_TCP6)) return { state: 'complete', bytes: total };
  const source = family === V2_TCP4 ? sourceV4(bytes) : sourceV6(bytes);
  return { state: 'complete', bytes: total, source };
}

function sourceV4(bytes: Buffer): Source {
  const at = V2_FIXED_BYTES;
  return { address: bytes.subarray(at, at + 4).join('.'), port: bytes.readUInt16BE(at + 8) };
}

function sourceV6(bytes: Buffer): Source {
  const at = V2_FIXED_BYTES;
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(at + 2 * i).toString(16));
  // The URL parser knows the canonical form (RFC 5952).
  const { hostname } = new URL(`http://[${groups.join(':')}]`);
  return { address: hostname.slice(1, -1), port: bytes.readUInt16BE(at + 32) };
}

/**
 * Takes the header off the start of a connection, and puts back what came behind it.
 * @param done called once, unless the socket ends before
 */
export function readProxyHeader(socket: Socket, done: (header: ProxyHeader & { state: Settled }) => void): void {
  let seen: Buffer | undefined;
  const onReadable = (): void => {
    for (;;) {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      seen = seen === undefined ? chunk : Buffer.concat([seen, chunk]);
      const header = parseProxyHeader(seen);
      if (header.state === 'more') continue;
      socket.off('readable', onReadable);
      if (header.state === 'complete' && header.bytes < seen.length) socket.unshift(seen.subarray(header.bytes));
      done(header);
      return;
    }
  };
  socket.on('readable', onReadable);
}

type Settled = 'malformed' | 'complete';
