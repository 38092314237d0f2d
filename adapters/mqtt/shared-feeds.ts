import type { Message } from '../../core/model/message.ts';
import { backoffMs } from '../../core/model/consumer-group.ts';
import type { Delivery, SettleAction, Settlement } from '../../core/ports/message-engine.ts';
import type { MqttContext } from './mqtt-context.ts';
import type { Feed } from './session/feed.ts';

/** What one receive brings at most. */
const RECEIVE_MAX = 32;
/** Members that wait are asked again after this, which costs next to nothing. */
const WAIT_MS = 60_000;
/** Renewed while the connection lives. */
const LEASE_MS = 60_000;

const EVERYTHING = { type: 'TAG', expression: '*' } as const;

interface SharedFeed {
  readonly feed: Feed;
  readonly abort: AbortController;
  /** Leased, and the client has no room for them yet. */
  readonly waiting: Delivery[];
  isReceiving: boolean;
}

/** A message leased to this client. */
export interface LeasedMessage {
  readonly feed: Feed;
  readonly delivery: Delivery;
}

/** The shared subscriptions of one connection: leases messages as the client has room, and settles them as it answers. */
export class SharedFeeds {
  private readonly context: MqttContext;
  /** Who renews the leases: ends with the connection. */
  private readonly owner: string;
  private readonly onReady: () => void;
  private readonly feeds = new Map<Feed, SharedFeed>();
  private readonly held = new Map<Delivery, Feed>();
  private settlements: Settlement[] = [];
  private isSettling = false;

  constructor(context: MqttContext, owner: string, onReady: () => void) {
    this.context = context;
    this.owner = owner;
    this.onReady = onReady;
  }

  get isEmpty(): boolean {
    return this.feeds.size === 0;
  }

  /** Whether there is nothing to read, and nothing to settle either. */
  get isIdle(): boolean {
    return this.isEmpty && this.held.size === 0;
  }

  add(feed: Feed): void {
    if (this.feeds.has(feed)) return;
    this.feeds.set(feed, { feed, abort: new AbortController(), waiting: [], isReceiving: false });
  }

  /** What it holds goes back to the others. */
  remove(feed: Feed): void {
    const shared = this.feeds.get(feed);
    if (shared === undefined) return;
    this.feeds.delete(feed);
    shared.abort.abort();
    for (const delivery of shared.waiting) this.giveBack(delivery);
    // What was sent stays with the client: its answer counts.
  }

  /** The connection is gone: everything that is not answered goes back, and the attempt does not count. */
  close(): void {
    for (const feed of this.feeds.keys()) this.remove(feed);
    for (const delivery of this.held.keys()) this.giveBack(delivery);
    this.held.clear();
  }

  /** The next leased message; asks for more where there are none. */
  next(): LeasedMessage | undefined {
    for (const shared of this.feeds.values()) {
      const delivery = shared.waiting.shift();
      if (delivery === undefined) this.receive(shared);
      else {
        // Last in line, so that no subscription starves the others.
        this.feeds.delete(shared.feed);
        this.feeds.set(shared.feed, shared);
        this.held.set(delivery, shared.feed);
        return { feed: shared.feed, delivery };
      }
    }
    return undefined;
  }

  /** The client has the message. */
  acknowledge(delivery: Delivery): void {
    this.settle(delivery, { kind: 'ack' });
  }

  /** The client refused the message: again later, to whoever has room. */
  retry(delivery: Delivery): void {
    const { broker } = this.context;
    const { share } = this.held.get(delivery) ?? {};
    const group = share && broker.groups.get(broker.shared.source(share.name, share.filter).group);
    const delayMs = group === undefined ? 0 : backoffMs(group.retry.backoff, delivery.attempt);
    this.settle(delivery, { kind: 'release', delayMs, countAttempt: true });
  }

  private giveBack(delivery: Delivery): void {
    this.settle(delivery, { kind: 'release', delayMs: 0, countAttempt: false });
  }

  private receive(shared: SharedFeed): void {
    if (shared.isReceiving) return;
    shared.isReceiving = true;
    this.lease(shared)
      .catch((error: unknown) => {
        if (!shared.abort.signal.aborted)
          this.context.log.error({ err: error }, 'a shared subscription cannot be read');
      })
      .finally(() => (shared.isReceiving = false));
  }

  private async lease({ feed, abort, waiting }: SharedFeed): Promise<void> {
    const { broker } = this.context;
    const { signal } = abort;
    const { group, source } = broker.shared.source(feed.share!.name, feed.share!.filter);
    while (!signal.aborted && waiting.length === 0) {
      const filter = feed.options.expression ?? EVERYTHING;
      const call = {
        group,
        source,
        filter,
        max: RECEIVE_MAX,
        waitMs: WAIT_MS,
        leaseMs: LEASE_MS,
        renewFor: this.owner,
      };
      const deliveries = await broker.receive(call, signal);
      if (signal.aborted) for (const delivery of deliveries) this.giveBack(delivery);
      else waiting.push(...deliveries);
    }
    if (waiting.length > 0) this.onReady();
  }

  private settle(delivery: Delivery, action: SettleAction): void {
    this.held.delete(delivery);
    this.settlements.push({ receipt: delivery.receipt, action });
    if (this.isSettling) return;
    this.isSettling = true;
    this.context.broker.clock.soon(() => {
      this.isSettling = false;
      const batch = this.settlements;
      this.settlements = [];
      this.context.broker.settle(batch).catch((error: unknown) => {
        this.context.log.error({ err: error }, 'messages of a shared subscription could not be settled');
      });
    });
  }
}

/** Whether what is kept of a message on its way is a lease. */
export function isLease(kept: Message | Delivery | undefined): kept is Delivery {
  return kept !== undefined && 'receipt' in kept;
}
