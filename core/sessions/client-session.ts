import type { MetaChange, MetaStore } from '../ports/meta-store.ts';
import type { Cursor } from '../routing/cursor.ts';
import type { SharedSubscriptions } from './shared-subscriptions.ts';

/** One subscription of a session. `options` are the adapter's own: plain JSON. */
export interface SessionSubscription<Options = unknown> {
  readonly filter: string;
  options: Options;
  /** Undefined where messages are handed over live, or leased to a group. */
  readonly cursor: Cursor | undefined;
  /** Where the session shares the work with others. */
  readonly share: Share | undefined;
}

/** A shared subscription: members of one name share what the address filter matches. */
export interface Share {
  readonly name: string;
  readonly filter: string;
}

/** How messages of a subscription come: handed over live, through a cursor, or leased to one of those who share it. */
export type Arrival = 'live' | 'cursor' | Share;

/**
 * Filter, options, where the cursor goes on, from where on entries may be asked for again (null without a cursor), and
 * what it shares with whom.
 */
export type StoredSubscription = readonly [string, unknown, number | null, number | null, Share?];

/** What is kept of a session under `session/<client id>`. */
export interface StoredSession {
  /** null: never. */
  readonly expiryMs: number | null;
  /** When its connection ended, milliseconds; 0 while connected. */
  readonly endedAt: number;
  readonly subscriptions: readonly StoredSubscription[];
  readonly state: unknown;
}

/** What the adapter knows of a session beyond its subscriptions. */
export interface SessionState {
  /** Plain JSON. */
  snapshot(): unknown;
  /** The lowest offset that may be asked for again: that of the oldest message on its way, or where the cursor is. */
  keptFrom(subscription: SessionSubscription): number;
}

/** How a session gets its cursors; the router's. */
export type OpenCursor = (
  filter: string,
  onReady: () => void,
  options: { readonly durable: boolean; readonly from?: number | undefined },
) => Promise<Cursor>;

export interface SessionHome {
  readonly meta: MetaStore;
  readonly openCursor: OpenCursor;
  readonly shared: SharedSubscriptions;
  /** The session changed in a way that is worth saving soon. */
  onTouched(session: ClientSession): void;
  onEnded(session: ClientSession): void;
}

/**
 * What outlives the connection of a client: its subscriptions, a cursor for each, and which of the messages sent exactly
 * once were received. A session that expires with its connection is kept in memory only.
 */
export class ClientSession {
  readonly clientId: string;
  /** Whether it is kept on disk. */
  readonly isDurable: boolean;
  /** How long it is kept without a connection; Infinity for ever. */
  expiryMs: number;
  /** When its connection ended; 0 while there is one. */
  endedAt = 0;
  isEnded = false;
  readonly subscriptions = new Map<string, SessionSubscription>();
  /** Identifiers of messages the client sent exactly once and has not released. */
  readonly received = new Set<number>();
  /** Set by the adapter; `stored` is what its snapshot was when the gateway stopped. */
  state: SessionState | undefined;
  stored: unknown;
  /** Called when a cursor has something to read. */
  onReady: ((subscription: SessionSubscription) => void) | undefined;
  isTouched = false;
  private readonly home: SessionHome;
  /** Released, and not yet durably so. */
  private readonly releasing = new Map<number, Promise<unknown>>();

  constructor(clientId: string, { isDurable, expiryMs }: { isDurable: boolean; expiryMs: number }, home: SessionHome) {
    this.clientId = clientId;
    this.isDurable = isDurable;
    this.expiryMs = expiryMs;
    this.home = home;
  }

  /**
   * Adds a subscription, or changes the options of one; `save` makes it durable. One that changes between live and cursor
   * is another subscription, which the caller removes first.
   */
  async subscribe(filter: string, options: unknown, arrival: Arrival): Promise<SessionSubscription> {
    const known = this.subscriptions.get(filter);
    if (known !== undefined) {
      known.options = options;
      return known;
    }
    if (arrival === 'cursor') return this.addCursor(filter, options, undefined);
    if (arrival === 'live') return this.add({ filter, options, cursor: undefined, share: undefined });
    return this.addShare(filter, options, arrival);
  }

  /** A subscription of an earlier run. Nothing is given up before those of all sessions are there. */
  async restore([filter, options, offset, keptFrom, share]: StoredSubscription): Promise<void> {
    if (offset === null || keptFrom === null) return void (await this.subscribe(filter, options, share ?? 'live'));
    const { cursor } = await this.addCursor(filter, options, offset);
    cursor!.keptFrom = keptFrom;
  }

  private async addCursor(filter: string, options: unknown, from: number | undefined): Promise<SessionSubscription> {
    const onReady = (): void => this.onReady?.(subscription);
    const cursor = await this.home.openCursor(filter, onReady, { durable: this.isDurable, from });
    const subscription: SessionSubscription = { filter, options, cursor, share: undefined };
    // Ended meanwhile: nobody else would close it.
    if (this.isEnded) await cursor.close();
    return this.add(subscription);
  }

  private async addShare(filter: string, options: unknown, share: Share): Promise<SessionSubscription> {
    await this.home.shared.join(share.name, share.filter);
    if (this.isEnded) await this.home.shared.leave(share.name, share.filter);
    return this.add({ filter, options, cursor: undefined, share });
  }

  /** Takes the subscription off; its cursor, or its share, can still be read until `close`. */
  unsubscribe(filter: string): SessionSubscription | undefined {
    const subscription = this.subscriptions.get(filter);
    this.subscriptions.delete(filter);
    return subscription;
  }

  /** Of a subscription that was taken off. */
  async close({ cursor, share }: SessionSubscription): Promise<void> {
    await cursor?.close();
    if (share !== undefined) await this.home.shared.leave(share.name, share.filter);
  }

  /** The client sends a message exactly once: remembered together with the message. */
  receive(identifier: number): readonly MetaChange[] {
    this.received.add(identifier);
    return this.isDurable ? [{ kind: 'put', key: this.receivedKey(identifier), value: NOTHING }] : NO_CHANGES;
  }

  /** The client will not send it again. Resolves when that is durable; undefined: there is nothing to wait for. */
  release(identifier: number): Promise<unknown> | undefined {
    const isKnown = this.received.delete(identifier);
    // Asked again over the next connection, the answer has to wait as well.
    if (!this.isDurable || !isKnown) return this.releasing.get(identifier);
    const released = this.home.meta.delete(this.receivedKey(identifier)).finally(() => {
      if (this.releasing.get(identifier) === released) this.releasing.delete(identifier);
    });
    this.releasing.set(identifier, released);
    return released;
  }

  /** Saved within a second: for what costs a repetition at most when it is lost. */
  touch(): void {
    if (this.isTouched || !this.isDurable || this.isEnded) return;
    this.isTouched = true;
    this.home.onTouched(this);
  }

  /** Resolves when the session, as it is now, is durable. */
  async save(): Promise<void> {
    if (!this.isDurable || this.isEnded) return;
    this.isTouched = false;
    const saved = [...this.subscriptions.values()];
    const record = this.record(saved);
    await this.home.meta.put(this.key, Buffer.from(JSON.stringify(record)));
    // Not before: a crash would go on from the old record.
    for (const [i, [, , , keptFrom]] of record.subscriptions.entries()) {
      if (keptFrom !== null) saved[i]!.cursor!.keepFrom(keptFrom);
    }
  }

  /** Forgets everything. */
  async end(): Promise<void> {
    if (this.isEnded) return;
    this.isEnded = true;
    this.home.onEnded(this);
    const work: Promise<unknown>[] = [...this.subscriptions.values()].map((subscription) => this.close(subscription));
    this.subscriptions.clear();
    if (this.isDurable) {
      work.push(this.home.meta.delete(this.key));
      for (const identifier of this.received) work.push(this.home.meta.delete(this.receivedKey(identifier)));
    }
    await Promise.all(work);
  }

  private record(subscriptions: readonly SessionSubscription[]): StoredSession {
    return {
      expiryMs: this.expiryMs,
      endedAt: this.endedAt,
      subscriptions: subscriptions.map((subscription): StoredSubscription => {
        const { filter, options, cursor, share } = subscription;
        if (share !== undefined) return [filter, options, null, null, share];
        return cursor === undefined
          ? [filter, options, null, null]
          : [filter, options, cursor.offset, this.keptFrom(subscription)];
      }),
      state: this.state === undefined ? this.stored : this.state.snapshot(),
    };
  }

  private keptFrom(subscription: SessionSubscription): number {
    return this.state?.keptFrom(subscription) ?? subscription.cursor!.keptFrom ?? subscription.cursor!.offset;
  }

  private add(subscription: SessionSubscription): SessionSubscription {
    if (!this.isEnded) this.subscriptions.set(subscription.filter, subscription);
    return subscription;
  }

  private get key(): string {
    return `${SESSION_PREFIX}${this.clientId}`;
  }
  private receivedKey(identifier: number): string {
    return `${RECEIVED_PREFIX}${this.clientId}/${identifier}`;
  }
}

export const SESSION_PREFIX = 'session/';
export const RECEIVED_PREFIX = 'received/';
const NOTHING = new Uint8Array(0);
const NO_CHANGES: readonly MetaChange[] = [];
