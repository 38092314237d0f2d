import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import { CodecError } from '../../adapters/mqtt/codec/codec-error.ts';
import { encodePacket } from '../../adapters/mqtt/codec/encoder.ts';
import type { Packet, ProtocolVersion } from '../../adapters/mqtt/codec/packet.ts';
import type { Logger } from '../../core/ports/logger.ts';
import { startTestGateway } from '../helpers/gateway.ts';
import { connectPacket, puback, publishPacket, RawMqttClient } from '../helpers/mqtt-client.ts';
import { MUTATIONS, mutate } from '../helpers/mqtt-mutations.ts';
import { PacketCollector, randomConnect, randomPacket } from '../helpers/mqtt-packets.ts';
import { Random, testSeed } from '../helpers/random.ts';
import { SILENT } from '../helpers/silent-logger.ts';
import { heapBytes } from '../helpers/heap.ts';

/**
 * Packets of every type and version with something wrong with them, against the decoder and against a running gateway.
 * GANTRY_SEED repeats a run, GANTRY_PACKETS sets how many.
 */

const VERSIONS: readonly ProtocolVersion[] = [3, 4, 5];
const PACKETS = Number(process.env['GANTRY_PACKETS'] ?? 1_000_000);
/** With some seven packets each. */
const CONNECTIONS = Math.ceil(PACKETS * 0.012);
const TIMEOUT_MS = 60_000 * Math.max(1, PACKETS / 1_000_000);
/** Connections at a time. */
const WORKERS = 16;
const QUARTERS = 4;
/** What the heap may differ by between quarters: caches that fill, code that is compiled. */
const HEAP_BYTES_MAX = 4 * 1024 * 1024;
/** The same for the gateway, where changed packets may also leave sessions and retained messages behind. */
const GATEWAY_HEAP_BYTES_MAX = 8 * 1024 * 1024;
const seed = testSeed();
const names = Object.keys(MUTATIONS);

/** Valid packets by version: those that begin a connection, those of a client, those of a server. */
interface Corpus {
  readonly connects: readonly Buffer[];
  readonly client: readonly Buffer[];
  readonly server: readonly Buffer[];
}

function corpusOf(version: ProtocolVersion, random: Random): Corpus {
  const connects = Array.from({ length: 200 }, () => encodePacket(randomConnect(random, version), version));
  const packets = (to: 'server' | 'client'): Buffer[] =>
    Array.from({ length: 1000 }, () => encodePacket(randomPacket(random, version, to), version)).filter(
      // Few large ones: they take their time and have nothing in them that small ones have not.
      ({ length }) => length < 2000 || random.chance(0.05),
    );
  return { connects, client: packets('server'), server: packets('client') };
}

const corpora = new Map(VERSIONS.map((version) => [version, corpusOf(version, new Random(seed ^ version))]));

interface Input {
  readonly bytes: Buffer;
  /** How many packets in it were changed. */
  readonly mutated: number;
  readonly what: string;
}

/** Some packets in a row, valid and changed ones, in an order that may be wrong. */
function inputOf(random: Random, version: ProtocolVersion, from: 'client' | 'server'): Input {
  const corpus = corpora.get(version)!;
  const own = corpus[from];
  const anyPacket = (): Buffer => {
    if (random.chance(0.9)) return random.pick(own);
    const stranger = corpora.get(random.pick(VERSIONS))!;
    return random.pick(random.pick([stranger.connects, stranger.client, stranger.server]));
  };
  const parts: Buffer[] = [];
  const done: string[] = [];
  if (random.chance(0.15)) parts.push(anyPacket());
  for (let i = random.int(1, 3); i > 0; i--) {
    const base = from === 'client' && random.chance(0.2) ? random.pick(corpus.connects) : anyPacket();
    const applied = Array.from({ length: random.chance(0.8) ? 1 : random.int(2, 4) }, () => random.pick(names));
    parts.push(mutate(base, anyPacket(), applied, random));
    done.push(applied.join('+'));
  }
  if (random.chance(0.15)) parts.push(anyPacket());
  return { bytes: Buffer.concat(parts), mutated: done.length, what: done.join(', ') };
}

function pieces(bytes: Buffer, random: Random): Buffer[] {
  if (random.chance(0.6)) return [bytes];
  const at = random.int(0, bytes.length);
  const end = random.int(at, bytes.length);
  return [bytes.subarray(0, at), bytes.subarray(at, end), bytes.subarray(end)];
}

const REFUSED = Symbol('refused');

function decode(collector: PacketCollector, chunks: readonly Buffer[]): typeof REFUSED | undefined {
  try {
    for (const chunk of chunks) collector.decoder.push(chunk);
    return undefined;
  } catch (error) {
    if (error instanceof CodecError) return REFUSED;
    throw error;
  }
}

/** Gives one input to a decoder. Returns what is wrong with the outcome. */
function tryDecoder(random: Random, version: ProtocolVersion, from: 'client' | 'server', input: Input): string[] {
  const isStart = from === 'client' && random.chance(0.4);
  const collector = new PacketCollector(from === 'client' ? 'server' : 'client', isStart ? undefined : version, 65_536);
  const first = isStart && random.chance(0.7) ? [random.pick(corpora.get(version)!.connects)] : [];
  let outcome: typeof REFUSED | undefined;
  try {
    outcome = decode(collector, [...first, ...pieces(input.bytes, random)]);
  } catch (error) {
    return [`${input.what}: ${(error as Error).stack} ${input.bytes.toString('hex')}`];
  }
  const wrong: string[] = [];
  if (outcome === REFUSED && !collector.decoder.closed) wrong.push(`${input.what}: refused and not closed`);
  if (random.chance(0.1)) wrong.push(...misreadings(collector.packets, isStart ? undefined : version, from));
  return wrong;
}

/** What was accepted has to be a packet that can be written down and read again. */
function misreadings(
  packets: readonly Packet[],
  version: ProtocolVersion | undefined,
  from: 'client' | 'server',
): string[] {
  let current = version;
  const wrong: string[] = [];
  for (const packet of packets) {
    const isConnect = packet.type === 'connect';
    if (isConnect) current = packet.protocolVersion;
    const again = new PacketCollector(from === 'client' ? 'server' : 'client', isConnect ? undefined : current);
    try {
      again.decoder.push(encodePacket(packet, current!));
      if (!isDeepStrictEqual(again.packets, [packet])) wrong.push(`read differently: ${JSON.stringify(packet)}`);
    } catch (error) {
      wrong.push(`accepted, but not valid: ${String(error)} ${JSON.stringify(packet)}`);
    }
  }
  return wrong;
}

t.test(`${PACKETS} packets against the decoder (GANTRY_SEED=${seed})`, { timeout: TIMEOUT_MS }, async (t) => {
  const random = new Random(seed);
  const wrong: string[] = [];
  const heap: number[] = [];
  let tried = 0;
  let slowestMs = 0;
  for (let quarter = 1; quarter <= QUARTERS; quarter++) {
    while (tried < (PACKETS / QUARTERS) * quarter) {
      const version = random.pick(VERSIONS);
      const from = random.chance(0.8) ? 'client' : 'server';
      const input = inputOf(random, version, from);
      const own = random.int(0, 0xffff_ffff);
      const run = (): string[] => tryDecoder(new Random(own), version, from, input);
      const startedAt = performance.now();
      wrong.push(...run());
      const ms = performance.now() - startedAt;
      // Again, for what was slow only because the machine was busy.
      if (ms > slowestMs) slowestMs = Math.max(slowestMs, Math.min(ms, timeOf(run)));
      tried += input.mutated;
      if (wrong.length > 10) break;
    }
    heap.push(heapBytes());
  }
  t.same(wrong, []);
  t.comment(`seed ${seed}, ${tried} packets, slowest ${slowestMs.toFixed(1)} ms, heap ${mebibytes(heap)}`);
  t.ok(slowestMs < 200, 'none takes long');
  t.ok(heap.at(-1)! - heap[0]! < HEAP_BYTES_MAX, 'the heap stays as it is');
});

function timeOf(run: () => unknown): number {
  const startedAt = performance.now();
  run();
  return performance.now() - startedAt;
}

function mebibytes(bytes: readonly number[]): string {
  return `${bytes.map((value) => (value / 1024 ** 2).toFixed(1)).join(' ')} MiB`;
}

/** What a server says to one connection, and how it ends. */
async function converse(port: number, chunks: readonly Buffer[]): Promise<Buffer> {
  const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const answer: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => answer.push(chunk));
  // A server that closes on bytes it has not read resets the connection.
  socket.on('error', () => {});
  for (const chunk of chunks) socket.write(chunk);
  socket.end();
  await once(socket, 'close');
  return Buffer.concat(answer);
}

/** Everything a server says has to be MQTT, and begin with CONNACK. */
function answerFault(answer: Buffer, version: ProtocolVersion): string | undefined {
  if (answer.length === 0) return undefined;
  if (answer[0] !== 0x20) return 'the first packet is not a CONNACK';
  const collector = new PacketCollector('client', version);
  try {
    collector.decoder.push(answer);
  } catch (error) {
    return String(error);
  }
  const connacks = collector.packets.filter(({ type }) => type === 'connack').length;
  return connacks === 1 ? undefined : `${connacks} CONNACK`;
}

/** A client that does everything right, beside all the others. */
class Witness {
  private readonly client: RawMqttClient;
  private count = 0;
  private isBusy = false;

  private constructor(client: RawMqttClient) {
    this.client = client;
  }

  static async connected(port: number): Promise<Witness> {
    const client = await RawMqttClient.connected(port);
    await client.subscribe(1, 'witness/only');
    return new Witness(client);
  }

  /** Publishes, and sees its message come back next; not again while it waits for that. */
  async isServed(): Promise<boolean> {
    if (this.isBusy) return true;
    this.isBusy = true;
    const { client } = this;
    const text = `${++this.count}`;
    client.send(publishPacket('witness/only', text, { qos: 1, packetIdentifier: 1 }));
    const two = [await client.take(), await client.take()];
    const publish = two.find((packet) => packet?.type === 'publish');
    client.send(puback(publish?.packetIdentifier));
    this.isBusy = false;
    return two.some((packet) => packet?.type === 'puback') && publish?.payload.toString() === text;
  }

  close(): void {
    this.client.destroy();
  }
}

const GATEWAY = [
  'engine.type=memory',
  'engine.bytesMax=536870912',
  'topicsMax=50',
  'mqtt.packetBytesMax=65536',
  'mqtt.connectTimeoutMs=60000',
];

t.test(`${CONNECTIONS} connections to a gateway (GANTRY_SEED=${seed})`, { timeout: TIMEOUT_MS }, async (t) => {
  const errors: string[] = [];
  const record = (fields: object, message: string): void => {
    const { err } = fields as { err?: Error };
    errors.push(`${message}: ${err?.stack ?? JSON.stringify(fields)}`);
  };
  const log: Logger = { ...SILENT, warn: record, error: record };
  const { gateway, mqttPort } = await startTestGateway(GATEWAY, log);
  t.teardown(() => gateway.stop());
  const witness = await Witness.connected(mqttPort);
  const random = new Random(seed ^ 0xf022);
  const wrong: string[] = [];
  const heap: number[] = [];
  let tried = 0;
  let connections = 0;
  let answered = 0;
  const work = async (until: number): Promise<void> => {
    while (connections < until && wrong.length < 10) {
      connections++;
      const version = random.pick(VERSIONS);
      const inputs = Array.from({ length: random.int(1, 6) }, () => inputOf(random, version, 'client'));
      const isConnected = random.chance(0.8);
      const start = isConnected ? [encodePacket(connectPacket(version), version)] : [];
      const chunks = [...start, ...inputs.flatMap(({ bytes }) => pieces(bytes, random))];
      const answer = await converse(mqttPort, chunks);
      for (const { mutated } of inputs) tried += mutated;
      if (answer.length > 0) answered++;
      const fault = isConnected ? answerFault(answer, version) : undefined;
      const isSilent = isConnected && answer.length === 0;
      if (fault !== undefined || isSilent) {
        wrong.push(`${fault ?? 'no answer'} ${Buffer.concat(chunks).toString('hex')} -> ${answer.toString('hex')}`);
      }
      if (connections % 100 === 0 && !(await witness.isServed())) wrong.push('the witness was not served');
    }
  };
  for (let quarter = 1; quarter <= QUARTERS; quarter++) {
    await Promise.all(Array.from({ length: WORKERS }, () => work((CONNECTIONS / QUARTERS) * quarter)));
    heap.push(heapBytes());
  }
  t.same(wrong, []);
  t.same(errors.slice(0, 3), [], 'nothing unexpected in the log');
  t.ok(await witness.isServed(), 'who does everything right is served to the end');
  witness.close();
  t.comment(`seed ${seed}, ${tried} packets, ${answered} of ${connections} answered, heap ${mebibytes(heap)}`);
  t.ok(heap.at(-1)! - heap[0]! < GATEWAY_HEAP_BYTES_MAX, 'the heap stays as it is');
});
