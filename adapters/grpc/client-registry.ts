import { BrokerError } from '../../core/model/broker-error.ts';
import type { Clock } from '../../core/ports/clock.ts';
import type { CallContext } from './call-context.ts';
import { CLIENT_SILENCE_MAX_MS } from './options.ts';
import type { Settings } from './proto/generated/apache/rocketmq/v2/Settings.ts';

const SWEEP_MS = 10_000;

/** The open telemetry stream of a client. */
export interface ClientStream {
  /** Sends the settings of the client. */
  sendSettings(settings: Settings): void;
  end(): void;
}

/** A connected client as far as the gateway knows it. */
export interface Client {
  readonly id: string;
  readonly principalName: string;
  /** What was answered to its settings; undefined until it sent them. */
  settings: Settings | undefined;
  /** How long it waits for an answer, milliseconds. */
  requestTimeoutMs: number | undefined;
  lastSeenAt: number;
  heartbeats: number;
  readonly streams: Set<ClientStream>;
}

/**
 * The clients, by client id. A client lives as long as it calls now and then: its settings outlast its telemetry stream,
 * since clients rebuild the stream in their own time. When it falls silent or says goodbye, `onGone` is told.
 */
export class ClientRegistry {
  private readonly clients = new Map<string, Client>();
  private readonly clock: Clock;
  private readonly countMax: number;
  private readonly onGone: (clientId: string) => void;
  private sweep: Disposable | undefined;

  constructor(clock: Clock, countMax: number, onGone: (clientId: string) => void) {
    this.clock = clock;
    this.countMax = countMax;
    this.onGone = onGone;
  }

  get count(): number {
    return this.clients.size;
  }

  /**
   * The client that calls, which counts as a sign of life; undefined when it is not known.
   * @throws BrokerError UNAUTHORIZED when the client id belongs to another user
   */
  seen(context: CallContext): Client | undefined {
    const client = this.clients.get(context.clientId);
    if (client === undefined) return undefined;
    if (client.principalName !== context.principal.name) {
      throw new BrokerError('UNAUTHORIZED', 'the client id is in use by another user');
    }
    client.lastSeenAt = this.clock.now();
    return client;
  }

  /**
   * The client that calls, made known when it was not.
   * @throws BrokerError UNAUTHORIZED, THROTTLED when there are too many
   */
  enter(context: CallContext): Client {
    const known = this.seen(context);
    if (known !== undefined) return known;
    if (this.clients.size >= this.countMax) {
      throw new BrokerError('THROTTLED', `there are ${this.countMax} clients already, the configured limit`);
    }
    const client: Client = {
      id: context.clientId,
      principalName: context.principal.name,
      settings: undefined,
      requestTimeoutMs: undefined,
      lastSeenAt: this.clock.now(),
      heartbeats: 0,
      streams: new Set(),
    };
    this.clients.set(client.id, client);
    this.sweep ??= this.clock.schedule(SWEEP_MS, () => this.removeSilent());
    return client;
  }

  /**
   * The client said goodbye. It ends its telemetry stream itself: the Node.js client opens a new one when the server is
   * first, and then never ends.
   */
  remove(client: Client): void {
    if (this.clients.delete(client.id)) this.onGone(client.id);
  }

  /** Ends all streams; nobody counts as gone. */
  stop(): void {
    this.sweep?.[Symbol.dispose]();
    this.sweep = undefined;
    for (const client of this.clients.values()) {
      for (const stream of client.streams) stream.end();
    }
    this.clients.clear();
  }

  private removeSilent(): void {
    const since = this.clock.now() - CLIENT_SILENCE_MAX_MS;
    for (const client of this.clients.values()) {
      if (client.lastSeenAt > since) continue;
      for (const stream of client.streams) stream.end();
      this.remove(client);
    }
    this.sweep = this.clients.size === 0 ? undefined : this.clock.schedule(SWEEP_MS, () => this.removeSilent());
  }
}
