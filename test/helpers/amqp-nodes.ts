import type { Attach, Coordinator, DeliveryState, Source, Target } from '../../adapters/amqp/v1/codec/performatives.ts';
import {
  LinkError,
  type IncomingLink,
  type Nodes,
  type OutgoingLink,
  type SourceNode,
  type TargetNode,
} from '../../adapters/amqp/v1/node.ts';

export interface Delivery {
  readonly deliveryId: number;
  readonly settled: boolean;
  readonly messageFormat: number;
  readonly payload: Buffer;
  readonly state: DeliveryState | undefined;
}

/** A target that keeps what it gets, and answers when a test says so. */
export class TestTarget implements TargetNode {
  readonly target: Target | Coordinator | undefined;
  readonly link: IncomingLink;
  readonly creditMax: number;
  readonly maxMessageSize: number;
  readonly deliveries: Delivery[] = [];
  /** What `detached` was called with. */
  left: boolean | undefined;
  /** Called for each delivery. */
  onDelivery: (delivery: Delivery) => void = () => {};

  constructor(attach: Attach, link: IncomingLink, { creditMax, maxMessageSize }: TestNodes) {
    this.target = attach.target;
    this.link = link;
    this.creditMax = creditMax;
    this.maxMessageSize = maxMessageSize;
  }

  deliver(
    deliveryId: number,
    settled: boolean,
    messageFormat: number,
    buffer: Buffer,
    start: number,
    end: number,
    state: DeliveryState | undefined,
  ): void {
    const payload = Buffer.from(buffer.subarray(start, end));
    const delivery = { deliveryId, settled, messageFormat, payload, state };
    this.deliveries.push(delivery);
    this.onDelivery(delivery);
  }

  detached(closed: boolean): void {
    if (this.left !== undefined) throw new Error('a target left twice');
    this.left = closed;
  }
}

/** A source that sends what a test has put into it as soon as there is room. */
export class TestSource implements SourceNode {
  source: Source | undefined;
  readonly link: OutgoingLink;
  readonly queue: Buffer[] = [];
  readonly outcomes: { kept: unknown; state: DeliveryState | undefined }[] = [];
  /** What stands before each message, as an engine rewrites a header. */
  head = Buffer.alloc(0);
  sent = 0;
  drains = 0;
  /** Answers drains at once. */
  drainsAtOnce = true;
  /** What it says waits. */
  onAvailable: () => number | Promise<number> = () => this.queue.length;
  left: { closed: boolean; isClean: boolean; unsettled: readonly unknown[] } | undefined;
  onPull: () => void = () => {};

  constructor(attach: Attach, link: OutgoingLink) {
    this.source = attach.source;
    this.link = link;
  }

  put(...messages: readonly (Buffer | string)[]): void {
    for (const message of messages) this.queue.push(Buffer.from(message));
    this.link.ready();
  }

  pull(): void {
    this.onPull();
    while (this.queue.length > 0 && this.link.room > 0) {
      const message = this.queue.shift()!;
      // The number of the message is what is kept of it.
      const head = Buffer.from(this.head);
      this.link.send(this.sent++, head, head.length, message, 0, message.length);
      // The head belongs to the caller again.
      head.fill(0xee);
    }
  }

  drain(): void {
    this.drains++;
    this.pull();
    if (this.drainsAtOnce) this.link.drained();
  }

  available(): number | Promise<number> {
    return this.onAvailable();
  }

  outcome(kept: unknown, state: DeliveryState | undefined): void {
    this.outcomes.push({ kept, state });
  }

  detached(closed: boolean, isClean: boolean, unsettled: readonly unknown[]): void {
    if (this.left !== undefined) throw new Error('a source left twice');
    this.left = { closed, isClean, unsettled };
  }
}

/**
 * Nodes for tests of the engine. An address says how it opens: `denied` is refused, `broken` fails, any that begins with
 * `late` opens when the test lets it.
 */
export class TestNodes implements Nodes {
  creditMax = 100;
  maxMessageSize = 0;
  /** In the order they were opened. */
  readonly targets: TestTarget[] = [];
  readonly sources: TestSource[] = [];
  /** Told of each node before its attach is answered. */
  onSource: (source: TestSource) => void = () => {};
  onTarget: (target: TestTarget) => void = () => {};
  private readonly waiting: (() => void)[] = [];

  start(): void {}

  stop(): void {}

  whenSettled(done: () => void): void {
    done();
  }

  get target(): TestTarget {
    return this.targets.at(-1)!;
  }

  get source(): TestSource {
    return this.sources.at(-1)!;
  }

  async openTarget(attach: Attach, link: IncomingLink): Promise<TestTarget> {
    await this.permit(attach.target?.kind === 'target' ? attach.target.address : undefined);
    const target = new TestTarget(attach, link, this);
    this.targets.push(target);
    this.onTarget(target);
    return target;
  }

  async openSource(attach: Attach, link: OutgoingLink): Promise<TestSource> {
    await this.permit(attach.source?.address);
    const source = new TestSource(attach, link);
    this.sources.push(source);
    this.onSource(source);
    return source;
  }

  /** Lets everything open that is late. */
  letOpen(): void {
    for (const open of this.waiting.splice(0)) open();
  }

  private async permit(address: string | undefined): Promise<void> {
    if (address?.startsWith('late') === true) await new Promise<void>((resolve) => this.waiting.push(resolve));
    if (address?.endsWith('denied') === true) throw new LinkError('amqp:unauthorized-access', 'not for you');
    if (address === 'broken') throw new Error('a fault of the node');
  }
}
