import { compileFilter, type Filter, type FilterExpression } from '../../../../core/model/filter.ts';
import type { StoredMessage } from '../../../../core/model/message.ts';
import type { Source } from '../codec/performatives.ts';
import type { OutgoingLink, SourceNode } from '../node.ts';
import type { NodeContext } from './node-context.ts';

/** What one look brings at most. */
const READ_MAX = 64;
const READ_BYTES_MAX = 1024 * 1024;

/** Where a browser is in one message queue. */
interface Position {
  readonly queue: number;
  next: number;
}

/** Shows the messages of a queue without taking them (AMQP 3.5.7, distribution mode `copy`). */
export class BrowseSource implements SourceNode {
  readonly source: Source;
  private readonly context: NodeContext;
  private readonly link: OutgoingLink;
  private readonly topic: string;
  /** What has a higher priority stands in a later message queue, and comes first. */
  private readonly positions: Position[];
  private readonly filter: Filter | undefined;
  private readonly arrival: Disposable;
  private isReading = false;
  /** Something happened during a look, which may have missed it. */
  private isStale = false;
  private isDetached = false;

  private constructor(
    context: NodeContext,
    link: OutgoingLink,
    source: Source,
    topic: string,
    positions: Position[],
    selector: FilterExpression | undefined,
  ) {
    this.context = context;
    this.link = link;
    this.source = source;
    this.topic = topic;
    this.positions = positions;
    this.filter = selector && compileFilter(selector);
    this.arrival = context.broker.onArrival({ kind: 'topic', topic }, () => link.ready());
  }

  /** Starts at the first message that the group has not acknowledged. */
  static async open(
    context: NodeContext,
    link: OutgoingLink,
    source: Source,
    { topic, group }: { readonly topic: string; readonly group: string },
    selector: FilterExpression | undefined,
  ): Promise<BrowseSource> {
    const states = await context.broker.groupState(group, { kind: 'topic', topic });
    const positions = states.map(({ queue, floor }) => ({ queue, next: floor })).toReversed();
    return new BrowseSource(context, link, source, topic, positions, selector);
  }

  pull(): void {
    if (this.isDetached) return;
    this.isStale = true;
    if (this.isReading) return;
    this.isReading = true;
    this.read().catch((error: unknown) => {
      this.isReading = false;
      this.link.detach(this.context.errorOf(error, 'a queue cannot be browsed'));
    });
  }

  async available(): Promise<number> {
    const ranges = await Promise.all(
      this.positions.map(({ queue }) => this.context.broker.offsets({ kind: 'topic', topic: this.topic, queue })),
    );
    return this.positions.reduce((sum, position, i) => {
      const { first, next } = ranges[i]!;
      return sum + Math.max(0, next - Math.max(first, position.next));
    }, 0);
  }

  outcome(): void {
    // Whatever the client thinks of a copy, the message stays.
  }

  detached(): void {
    this.isDetached = true;
    this.arrival[Symbol.dispose]();
  }

  private async read(): Promise<void> {
    let isMore = true;
    while ((isMore || this.isStale) && !this.isDetached && this.link.room > 0) {
      isMore = this.isStale = false;
      this.addNewQueues();
      for (const position of this.positions) while (await this.readQueue(position)) isMore = true;
    }
    this.isReading = false;
    if (!this.isDetached) this.link.drained();
  }

  /** Levels of priority come with the first message that needs them. */
  private addNewQueues(): void {
    const { positions } = this;
    const count = this.context.broker.topics.get(this.topic)?.queues ?? 0;
    while (positions.length < count) positions.unshift({ queue: positions.length, next: 0 });
  }

  /** @returns whether there was something */
  private async readQueue(position: Position): Promise<boolean> {
    const { room } = this.link;
    if (room <= 0) return false;
    const source = { kind: 'topic', topic: this.topic, queue: position.queue } as const;
    const { messages, next } = await this.context.broker.read(
      source,
      position.next,
      Math.min(room, READ_MAX),
      READ_BYTES_MAX,
    );
    if (this.isDetached || next === position.next) return false;
    const nowMs = this.context.broker.clock.now();
    for (const message of messages) {
      if (message.isExpired(nowMs) || !this.isWanted(message)) continue;
      if (this.link.room <= 0) {
        // Another link of the session was faster.
        position.next = message.offset;
        return true;
      }
      this.send(message, nowMs);
    }
    position.next = next;
    return true;
  }

  private isWanted(message: StoredMessage): boolean {
    return this.filter === undefined || this.filter(message, () => this.context.broker.view(message));
  }

  private send(message: StoredMessage, nowMs: number): void {
    this.context.send(this.link, undefined, message, 1, nowMs);
  }
}
