/**
 * Look-ups of retained messages: SUBSCRIBE to `x/+/NAME` until the last match has arrived. The first level has as many
 * children as there are messages: half of them have a child with a name of its own, the others share names in hundreds, and
 * the filter fits one kind or the other. Each client drops its last subscription together with the next look-up.
 */
import { performance } from 'node:perf_hooks';
import { timed, type Generator, type LoadFigures, type LoadFrame } from './mqtt-generator.ts';
import { Link } from './mqtt-link.ts';
import { Publisher } from './mqtt-publisher.ts';
import {
  encodePublishRing,
  encodeSubscribe,
  encodeUnsubscribe,
  packetLength,
  packetType,
  publishLayout,
} from './mqtt-wire.ts';

export type RetainedPlan = {
  kind: 'retained';
  messages: number;
  /** How many a look-up finds: 1 or 100. */
  matches: 1 | 100;
  clients: number;
  payloadBytes: number;
};

const window = 100;
const retainFlag = 1;

export class RetainedGenerator implements Generator {
  private readonly plan: RetainedPlan & LoadFrame;
  private readonly clients: LookUpClient[];
  private lookUps = 0;

  constructor(plan: RetainedPlan & LoadFrame) {
    this.plan = plan;
    this.clients = Array.from({ length: plan.clients }, (_, index) => new LookUpClient(plan, index));
  }

  async prepare(): Promise<void> {
    const { port, version, warmupMs } = this.plan;
    await this.publishAll();
    for (const [index, client] of this.clients.entries()) {
      await client.open(port);
      await client.link.connect(version, `bench-${process.pid}-${index}`);
    }
    await this.load(warmupMs);
  }

  async measure(): Promise<LoadFigures> {
    const figures = await this.load(this.plan.durationMs);
    await Promise.all(this.clients.map(({ link }) => link.ping()));
    return figures;
  }

  describe(): string {
    return `${this.lookUps} look-ups of ${this.plan.matches}`;
  }

  private async publishAll(): Promise<void> {
    const { port, version, messages, payloadBytes } = this.plan;
    const topicName = (sequence: number): string => `x/${digits(sequence)}/${nameOf(sequence, messages)}`;
    const shape = { version, qos: 1, retain: true, payloadBytes, topicName } as const;
    const publisher = new Publisher(encodePublishRing(shape, messages, window), 1);
    const link = await publisher.open(port);
    await link.connect(version, `bench-${process.pid}-publisher`);
    await publisher.publishAll(window);
  }

  private load(durationMs: number): Promise<LoadFigures> {
    const lookUpUntil = async (client: LookUpClient, stopAtMs: number): Promise<void> => {
      while (performance.now() < stopAtMs) {
        await client.lookUp();
        this.lookUps++;
      }
    };
    return timed(
      () => this.lookUps,
      (startMs) => Promise.all(this.clients.map((client) => lookUpUntil(client, startMs + durationMs))),
    );
  }
}

/** The last level of a topic: the first half share theirs in hundreds. */
function nameOf(sequence: number, messages: number): string {
  return sequence < messages / 2 ? `m${digits(Math.floor(sequence / 100))}` : `s${digits(sequence)}`;
}

function digits(value: number): string {
  return String(value).padStart(5, '0');
}

class LookUpClient {
  link!: Link;
  private readonly plan: RetainedPlan & LoadFrame;
  /** The message that the next look-up is to find, with those that share its name. */
  private target: number;
  private lastFilter: string | undefined;
  private found = new Set<number>();
  private repliesMissing = 0;
  private onDone: () => void = () => {};

  constructor(plan: RetainedPlan & LoadFrame, index: number) {
    this.plan = plan;
    this.target = index * 97;
  }

  async open(port: number): Promise<void> {
    this.link = await Link.open(port, (bytes, from, to) => this.onBytes(bytes, from, to));
  }

  lookUp(): Promise<void> {
    const { version, messages, matches } = this.plan;
    const half = messages / 2;
    this.target = (this.target + 131) % half;
    const filter = `x/+/${nameOf(this.target + (matches === 1 ? half : 0), messages)}`;
    const packets = [encodeSubscribe(version, filter, 0)];
    if (this.lastFilter !== undefined) packets.unshift(encodeUnsubscribe(version, this.lastFilter));
    this.lastFilter = filter;
    this.found.clear();
    this.repliesMissing = packets.length;
    this.link.socket.write(Buffer.concat(packets));
    return new Promise((resolve) => {
      this.onDone = resolve;
    });
  }

  private onBytes(bytes: Buffer, from: number, to: number): number {
    let at = from;
    for (let length; (length = packetLength(bytes, at, to)) > 0; at += length) {
      const type = bytes[at]! & 0xf0;
      if (type === packetType.publish) this.take(bytes, at);
      else if (type === packetType.suback || type === packetType.unsuback) {
        if (type === packetType.suback && bytes[at + length - 1] !== 0) throw new Error('SUBSCRIBE was refused');
        this.repliesMissing--;
      } else this.link.reply(bytes, at, length);
    }
    if (this.repliesMissing === 0 && this.found.size === this.plan.matches) this.done();
    return at;
  }

  private done(): void {
    this.repliesMissing = -1;
    this.onDone();
  }

  private take(bytes: Buffer, at: number): void {
    const { version, messages, matches } = this.plan;
    const sequence = bytes.readUInt16BE(at + publishLayout(bytes, at, version).payloadAt);
    const isWanted =
      matches === 1
        ? sequence === this.target + messages / 2
        : Math.floor(sequence / 100) === Math.floor(this.target / 100);
    if (!isWanted || (bytes[at]! & retainFlag) === 0 || this.found.has(sequence)) {
      throw new Error(`the look-up of ${this.lastFilter} got message ${sequence}, first byte ${bytes[at]}`);
    }
    this.found.add(sequence);
  }
}
