import { Message, rebornAt } from '../model/message.ts';
import type { Outcome } from '../model/broker-error.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import { OutgoingMessage, type Placed } from '../ports/message-engine.ts';
import type { MetaStore } from '../ports/meta-store.ts';

/** What is published for a client whose connection ends without a farewell. */
export interface Will {
  readonly topic: string;
  /** Not in the plain form; when it is born is when it is published. */
  readonly message: Message;
  /** How long the client may take to come back. */
  readonly delayMs: number;
  /** From its publication on; undefined: never. */
  readonly expiryMs: number | undefined;
}

interface StoredWill {
  readonly topic: string;
  /** Base64. */
  readonly message: string;
  readonly delayMs: number;
  readonly expiryMs?: number;
  /** When it has to be published; 0 while the client is connected. */
  readonly dueAt: number;
}

interface Held {
  readonly will: Will;
  /** Infinity while the client is connected. */
  dueAt: number;
}

const PREFIX = 'will/';
const TICK_MS = 1_000;

/** The wills of all clients, by client id. They outlive the process: those of clients that were connected then are due at the next start. */
export class Wills {
  private readonly held = new Map<string, Held>();
  /** Of `held`: those whose client is not connected. */
  private readonly waiting = new Set<string>();
  private readonly meta: MetaStore;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly send: (batch: readonly OutgoingMessage[]) => Promise<Outcome<Placed>[]>;
  /** Sent, and not yet stored. */
  private readonly publishing = new Map<string, Promise<void>>();
  private timer: Disposable | undefined;
  private isStopped = false;

  constructor(
    meta: MetaStore,
    clock: Clock,
    log: Logger,
    send: (batch: readonly OutgoingMessage[]) => Promise<Outcome<Placed>[]>,
  ) {
    this.meta = meta;
    this.clock = clock;
    this.log = log;
    this.send = send;
  }

  /** Reads what earlier runs left. Whoever was connected then has lost the connection, at the latest now. */
  async load(): Promise<void> {
    const now = this.clock.now();
    for (const { key, value } of await this.meta.list(PREFIX)) {
      const stored = JSON.parse(Buffer.from(value).toString('utf8')) as StoredWill;
      const bytes = Buffer.from(stored.message, 'base64');
      const { topic, delayMs, expiryMs } = stored;
      const will = { topic, message: new Message(bytes, 0, bytes.length), delayMs, expiryMs };
      const clientId = key.slice(PREFIX.length);
      this.held.set(clientId, { will, dueAt: stored.dueAt === 0 ? now + delayMs : stored.dueAt });
      this.waiting.add(clientId);
    }
    this.publishDue();
  }

  stop(): void {
    this.isStopped = true;
    this.timer?.[Symbol.dispose]();
  }

  /** The will of a client that has come in, whose session outlives the connection so long. Resolves when it is durable. */
  async set(clientId: string, will: Will, sessionExpiryMs: number): Promise<void> {
    this.held.set(clientId, { will, dueAt: Infinity });
    this.waiting.delete(clientId);
    // Should the process end first, its next run knows no longer how long the session was to last.
    await this.store(clientId, { ...will, delayMs: Math.min(will.delayMs, sessionExpiryMs) }, 0);
  }

  /** The client has gone with a farewell, or has come back in time. */
  async clear(clientId: string): Promise<void> {
    this.waiting.delete(clientId);
    if (this.held.delete(clientId)) await this.meta.delete(PREFIX + clientId);
  }

  /** The client has come back: in time for its session, or with a new one, which ends the old. */
  async returned(clientId: string, { isPresent }: { readonly isPresent: boolean }): Promise<void> {
    // The old will takes its key along when it is stored: not that of the next one.
    if (!this.waiting.has(clientId)) return this.publishing.get(clientId);
    await (isPresent ? this.clear(clientId) : this.publish(clientId));
  }

  /** The connection ended without a farewell: the will is due after its delay, at the latest with the session's end. */
  connectionLost(clientId: string, sessionExpiryMs: number): void {
    const held = this.held.get(clientId);
    // A gateway that goes down leaves it to the next start.
    if (held === undefined || this.isStopped) return;
    const delayMs = Math.min(held.will.delayMs, sessionExpiryMs);
    held.dueAt = this.clock.now() + delayMs;
    this.waiting.add(clientId);
    if (delayMs > 0) this.store(clientId, held.will, held.dueAt).catch((error: unknown) => this.failed(error));
    this.publishDue();
  }

  private publishDue(): void {
    const now = this.clock.now();
    for (const clientId of this.waiting) {
      if (this.held.get(clientId)!.dueAt > now) continue;
      this.publish(clientId).catch((error: unknown) => this.failed(error));
    }
    if (this.waiting.size === 0 || this.isStopped || this.timer !== undefined) return;
    this.timer = this.clock.schedule(TICK_MS, () => {
      this.timer = undefined;
      this.publishDue();
    });
  }

  private publish(clientId: string): Promise<void> {
    const { will } = this.held.get(clientId)!;
    this.held.delete(clientId);
    this.waiting.delete(clientId);
    const published = this.sendOnce(clientId, will).finally(() => {
      if (this.publishing.get(clientId) === published) this.publishing.delete(clientId);
    });
    this.publishing.set(clientId, published);
    return published;
  }

  private async sendOnce(clientId: string, will: Will): Promise<void> {
    const message = rebornAt(will.message, this.clock.now(), will.expiryMs);
    const outgoing = new OutgoingMessage(will.topic, message.address, message);
    // With the message: it is published once.
    outgoing.changes = [{ kind: 'delete', key: PREFIX + clientId }];
    const [outcome] = await this.send([outgoing]);
    if (outcome?.ok === true) return;
    this.log.warn({ client: clientId, err: outcome?.error }, 'a will could not be published');
    await this.meta.delete(PREFIX + clientId);
  }

  private async store(clientId: string, { topic, message, delayMs, expiryMs }: Will, dueAt: number): Promise<void> {
    const bytes = message.buffer.toString('base64', message.start, message.end);
    const stored: StoredWill = { topic, message: bytes, delayMs, ...(expiryMs !== undefined && { expiryMs }), dueAt };
    await this.meta.put(PREFIX + clientId, Buffer.from(JSON.stringify(stored)));
  }

  private failed(error: unknown): void {
    this.log.error({ err: error }, 'a will could not be stored');
  }
}
