import type { ReplayRange } from '../../core/broker.ts';
import type { StoredMessage } from '../../core/model/message.ts';
import type { MqttContext } from './mqtt-context.ts';
import type { Feed } from './session/feed.ts';

/** Messages looked at with one read, of which the filter may match few. */
const READ_MAX = 1000;
const READ_BYTES_MAX = 1024 * 1024;

/** What replays need of the deliveries they are part of. */
export interface ReplayTarget {
  /** How many messages may be sent now; 0 also when nothing may be for another reason. */
  readonly room: number;
  readonly isOpen: boolean;
  sendStored(feed: Feed, message: StoredMessage): void;
  /** The progress is worth saving. */
  progressed(): void;
  /** Nothing is left to replay, or there was no room. */
  replayed(): void;
}

/** Subscriptions that start before what is published from now on: they read stored messages first. */
export class Replays {
  private readonly context: MqttContext;
  private readonly target: ReplayTarget;
  private readonly feeds: Feed[] = [];
  /** Read, and not sent yet for lack of room. */
  private pending: readonly StoredMessage[] = [];
  /** What is left when they are sent. */
  private rest: readonly ReplayRange[] = [];
  private isRunning = false;

  constructor(context: MqttContext, target: ReplayTarget) {
    this.context = context;
    this.target = target;
  }

  get isEmpty(): boolean {
    return this.feeds.length === 0;
  }

  add(feed: Feed): void {
    this.feeds.push(feed);
  }

  /** The subscription is gone. */
  remove(feed: Feed): void {
    const at = this.feeds.indexOf(feed);
    if (at === -1) return;
    this.feeds.splice(at, 1);
    if (at === 0) this.pending = [];
  }

  run(): void {
    if (this.isRunning) return;
    this.isRunning = true;
    this.replayAll()
      .catch((error: unknown) => this.context.log.error({ err: error }, 'stored messages could not be read again'))
      .finally(() => (this.isRunning = false));
  }

  private async replayAll(): Promise<void> {
    const { target } = this;
    for (let feed = this.feeds[0]; feed !== undefined && target.isOpen; feed = this.feeds[0]) {
      if (!this.sendPending(feed)) return;
      const [range, ...others] = feed.options.replay ?? [];
      if (range === undefined) {
        this.setProgress(feed, undefined);
        this.feeds.shift();
        continue;
      }
      const { messages, rest } = await this.context.broker.replay.read(feed.filter, range, READ_MAX, READ_BYTES_MAX);
      // Unsubscribed meanwhile.
      if (feed !== this.feeds[0]) continue;
      this.pending = messages;
      this.rest = rest.next < rest.end ? [rest, ...others] : others;
      if (messages.length === 0) this.setProgress(feed, this.rest);
    }
    target.replayed();
  }

  /** @returns false when there is no room for all */
  private sendPending(feed: Feed): boolean {
    const { pending, target } = this;
    let sent = 0;
    while (sent < pending.length && target.isOpen && target.room > 0) target.sendStored(feed, pending[sent++]!);
    if (sent === 0) return pending.length === 0;
    this.pending = pending.slice(sent);
    const [range, ...others] = feed.options.replay!;
    const isAll = sent === pending.length;
    this.setProgress(feed, isAll ? this.rest : [{ ...range!, next: pending[sent - 1]!.offset + 1 }, ...others]);
    return isAll;
  }

  private setProgress(feed: Feed, replay: readonly ReplayRange[] | undefined): void {
    const { replay: _before, ...options } = feed.options;
    feed.options = replay === undefined ? options : { ...options, replay };
    this.target.progressed();
  }
}
