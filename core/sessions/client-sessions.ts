import { BrokerError } from '../model/broker-error.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { MetaStore } from '../ports/meta-store.ts';
import {
  ClientSession,
  RECEIVED_PREFIX,
  SESSION_PREFIX,
  type SessionHome,
  type StoredSession,
} from './client-session.ts';

export interface SessionsOptions {
  /** Sessions kept, with a connection or without. */
  readonly countMax: number;
}

export const DEFAULT_SESSIONS_OPTIONS: SessionsOptions = { countMax: 100_000 };

/** How often changes are saved that need not be durable at once, and sessions looked at that may have expired. */
const TICK_MS = 1_000;

/** The sessions of all clients, by client id. */
export class ClientSessions {
  private readonly sessions = new Map<string, ClientSession>();
  private readonly meta: MetaStore;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly options: SessionsOptions;
  private readonly home: SessionHome;
  /** Since the start. */
  expired = 0;
  private touched: ClientSession[] = [];
  private timer: Disposable | undefined;

  constructor(
    meta: MetaStore,
    { openCursor, shared }: Pick<SessionHome, 'openCursor' | 'shared'>,
    clock: Clock,
    log: Logger,
    options: SessionsOptions,
  ) {
    this.meta = meta;
    this.clock = clock;
    this.log = log;
    this.options = options;
    this.home = {
      meta,
      openCursor,
      shared,
      onTouched: (session) => void this.touched.push(session),
      onEnded: (session) => {
        if (this.sessions.get(session.clientId) === session) this.sessions.delete(session.clientId);
      },
    };
  }

  get count(): number {
    return this.sessions.size;
  }
  get withoutConnection(): number {
    return this.countOf(({ endedAt }) => (endedAt === 0 ? 0 : 1));
  }
  get subscriptionCount(): number {
    return this.countOf(({ subscriptions }) => subscriptions.size);
  }

  has(clientId: string): boolean {
    return this.sessions.has(clientId);
  }

  /** Reads what earlier runs left: sessions go on where they were. */
  async load(): Promise<void> {
    const now = this.clock.now();
    const cutOff: ClientSession[] = [];
    for (const { key, value } of await this.meta.list(SESSION_PREFIX)) {
      const stored = JSON.parse(Buffer.from(value).toString('utf8')) as StoredSession;
      const session = await this.restore(key.slice(SESSION_PREFIX.length), stored, now);
      if (stored.endedAt === 0) cutOff.push(session);
    }
    for (const { key } of await this.meta.list(RECEIVED_PREFIX)) {
      const slash = key.lastIndexOf('/');
      const session = this.sessions.get(key.slice(RECEIVED_PREFIX.length, slash));
      if (session === undefined) await this.meta.delete(key);
      else session.received.add(Number(key.slice(slash + 1)));
    }
    // With all cursors in their places: what the last one has passed, or leaves behind, is given up.
    const expired = [...this.sessions.values()].filter((session) => this.isExpired(session));
    await Promise.all([...expired.map((session) => session.end()), ...cutOff.map((session) => session.save())]);
    this.tick();
  }

  /** Saves what is still to be saved. Clients are gone already. */
  async stop(): Promise<void> {
    this.timer?.[Symbol.dispose]();
    await this.saveTouched();
  }

  /**
   * The session for a client that has come in: the one it had, or a new one. The caller made sure that no other connection
   * uses it.
   * @param isClean an old session ends
   * @param expiryMs how long it outlives the connection; 0: not at all, and a new one is kept in memory only
   * @throws BrokerError LIMIT_EXCEEDED
   */
  async open(
    clientId: string,
    { isClean, expiryMs }: { readonly isClean: boolean; readonly expiryMs: number },
  ): Promise<{ readonly session: ClientSession; readonly isPresent: boolean }> {
    const known = this.sessions.get(clientId);
    const isPresent = known !== undefined && !isClean && !this.isExpired(known);
    if (isPresent) {
      known.expiryMs = expiryMs;
      known.endedAt = 0;
      await known.save();
      return { session: known, isPresent };
    }
    if (known === undefined && this.sessions.size >= this.options.countMax) {
      throw new BrokerError('LIMIT_EXCEEDED', `there are ${this.options.countMax} sessions, the configured limit`);
    }
    const session = new ClientSession(clientId, { isDurable: expiryMs > 0, expiryMs }, this.home);
    this.sessions.set(clientId, session);
    // Ended after the new one is in its place: whoever comes at the same time finds that.
    await known?.end();
    await session.save();
    return { session, isPresent: false };
  }

  /** Its connection is gone. */
  async detach(session: ClientSession): Promise<void> {
    session.onReady = undefined;
    session.endedAt = this.clock.now();
    await (session.isDurable && session.expiryMs > 0 ? session.save() : session.end());
  }

  private async restore(clientId: string, stored: StoredSession, now: number): Promise<ClientSession> {
    const session = new ClientSession(clientId, { isDurable: true, expiryMs: stored.expiryMs ?? Infinity }, this.home);
    // Connected when the process ended: it lost its connection no later than now.
    session.endedAt = stored.endedAt === 0 ? now : stored.endedAt;
    session.stored = stored.state;
    this.sessions.set(clientId, session);
    for (const subscription of stored.subscriptions) await session.restore(subscription);
    return session;
  }

  private isExpired({ endedAt, expiryMs }: ClientSession): boolean {
    return endedAt !== 0 && endedAt + expiryMs <= this.clock.now();
  }

  private countOf(of: (session: ClientSession) => number): number {
    let count = 0;
    for (const session of this.sessions.values()) count += of(session);
    return count;
  }

  private tick(): void {
    this.timer = this.clock.schedule(TICK_MS, () => {
      this.tick();
      const expired = [...this.sessions.values()].filter((session) => this.isExpired(session));
      this.expired += expired.length;
      Promise.all([this.saveTouched(), ...expired.map((session) => session.end())]).catch((error: unknown) => {
        this.log.error({ err: error }, 'sessions could not be saved');
      });
    });
  }

  private async saveTouched(): Promise<void> {
    const { touched } = this;
    this.touched = [];
    await Promise.all(touched.filter(({ isTouched }) => isTouched).map((session) => session.save()));
  }
}
