import { failed, succeeded, type Outcome } from '../../../../core/model/broker-error.ts';
import { messageIdOf } from '../../../../core/model/message-id.ts';
import { Message, StoredMessage } from '../../../../core/model/message.ts';
import type { Clock } from '../../../../core/ports/clock.ts';
import type { Logger } from '../../../../core/ports/logger.ts';
import type { DueMessages, EngineContext, OutgoingMessage, Placed } from '../../../../core/ports/message-engine.ts';
import type { Journal } from '../journal.ts';
import type { HeldEntry, HeldKey } from '../log/record-log.ts';
import type { MessageQueue } from '../queue/message-queue.ts';
import type { LightTargets } from '../state.ts';

/** Delayed messages that become due are moved to their queues in commits of this many. */
const FIRE_BATCH_MAX = 512;
/** Halves there may be at a time; all of them are in memory. */
const HALVES_MAX = 10_000;
/** A producer that does not answer is asked again after this. */
const ASK_AGAIN_MS = 30_000;
/** Looked at least this often, so that messages that come near are known in time. */
const TICK_MAX_MS = 60_000;
const RETRY_MS = 1000;

const HANDLE = /^([dh])\.(0|[1-9a-z][0-9a-z]{0,10})\.(0|[1-9a-z][0-9a-z]{0,10})$/;

/** Messages taken in that do not become visible yet: delayed ones, and halves of transactions. */
export class Holding {
  private readonly journal: Journal;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly dueMessages: DueMessages | undefined;
  private timer: Disposable | undefined;
  private timerAt = Infinity;
  private isFiring = false;
  private isStopped = false;

  constructor(journal: Journal, { clock, log, due }: EngineContext) {
    this.journal = journal;
    this.clock = clock;
    this.log = log;
    this.dueMessages = due;
  }

  /** Gets to know what is due soon. */
  async start(): Promise<void> {
    await this.journal.state.held.advance(this.clock.now());
    this.arm();
  }

  stop(): void {
    this.isStopped = true;
    this.timer?.[Symbol.dispose]();
  }

  /** Adds a message to the commit in progress, to be sent when it is due. @returns its recall handle */
  delay(queue: MessageQueue, { message, lightQueues }: OutgoingMessage): string {
    const key = { id: this.journal.state.nextHeldId(), kind: 'delayed' as const, dueAt: message.deliverAt };
    this.hold(key, queue, message, lightQueues);
    this.arm();
    return formatHandle(key);
  }

  /** Takes a delayed message back. */
  async recall(handle: string): Promise<Outcome<{ messageId: string }>> {
    const key = parseHandle(handle, 'd');
    const { held } = this.journal.state;
    const entry = key && (await held.find(key));
    // It may have become due in the meantime.
    if (entry === undefined || held.isRemoved(entry.id))
      return failed('BAD_REQUEST', 'the message was delivered or recalled, or there never was one');
    this.journal.begin(this.clock.now());
    this.journal.unhold(entry);
    return this.journal.commit(succeeded({ messageId: messageIdOf(this.stored(entry)) }));
  }

  prepare(
    queue: MessageQueue,
    { message, lightQueues }: OutgoingMessage,
    checkAfterMs: number,
  ): Promise<Outcome<string>> {
    const { state } = this.journal;
    if (state.held.halves.size >= HALVES_MAX) {
      return Promise.resolve(failed('THROTTLED', `there are ${HALVES_MAX} transactions in progress, the limit`));
    }
    const now = this.clock.now();
    const key = { id: state.nextHeldId(), kind: 'half' as const, dueAt: now + checkAfterMs };
    this.journal.begin(now);
    this.hold(key, queue, message, lightQueues);
    return this.journal.commit(succeeded(formatHandle(key)));
  }

  /** Ends a transaction. Message and half are one commit: it is sent once or not at all. */
  resolve(transactionId: string, how: 'commit' | 'rollback'): Promise<Outcome<Placed | undefined>> {
    const key = parseHandle(transactionId, 'h');
    const entry = key && this.journal.state.held.halves.get(key.id);
    if (entry === undefined) {
      return Promise.resolve(failed('INVALID_TRANSACTION_ID', 'the transaction ended already, or there never was one'));
    }
    const at = this.clock.now();
    this.journal.begin(at);
    const placed = how === 'commit' ? this.release(entry, at) : undefined;
    this.journal.unhold(entry);
    return this.journal.commit(succeeded(placed));
  }

  /** Halves whose producer should be asked; each is given to one caller until it is time to ask again. */
  async orphans(max: number): Promise<{ transactionId: string; message: StoredMessage }[]> {
    const now = this.clock.now();
    const due = [...this.journal.state.held.halves.values()].filter(({ dueAt }) => dueAt <= now).slice(0, max);
    for (const { id } of due) this.journal.write({ type: 'ask', id, dueAt: now + ASK_AGAIN_MS });
    return due.map((entry) => ({ transactionId: formatHandle(entry), message: this.stored(entry) }));
  }

  private hold(key: HeldKey, queue: MessageQueue, message: Message, names: readonly string[]): void {
    const { state } = this.journal;
    const { queues, durableSerials } = state.lightTargets(names);
    this.journal.hold({ ...key, queueSerial: queue.serial, lightQueueSerials: durableSerials, message: copy(message) });
    state.held.addPassingTargets(
      key.id,
      queues.filter(({ isDurable }) => !isDurable),
    );
  }

  /** Sets the timer to the next message that is due. */
  private arm(): void {
    if (this.isStopped) return;
    const now = this.clock.now();
    const at = Math.min(this.journal.state.held.nextDueAt, now + TICK_MAX_MS);
    if (at >= this.timerAt) return;
    this.armAt(at, now);
  }

  private armAt(at: number, now: number): void {
    this.timer?.[Symbol.dispose]();
    this.timerAt = at;
    this.timer = this.clock.schedule(Math.max(0, at - now), () => {
      this.timerAt = Infinity;
      // The one that runs looks again at its end.
      if (this.isFiring) return;
      this.fire().then(
        () => this.arm(),
        (error: unknown) => {
          this.log.error({ err: error }, 'delayed messages cannot be read; they are tried again');
          this.armAt(this.clock.now() + RETRY_MS, this.clock.now());
        },
      );
    });
  }

  private async fire(): Promise<void> {
    this.isFiring = true;
    try {
      const { held } = this.journal.state;
      await held.advance(this.clock.now());
      for (;;) {
        const due = await held.due(this.clock.now(), FIRE_BATCH_MAX);
        if (due.length === 0 || this.isStopped) return;
        const at = this.clock.now();
        this.journal.begin(at);
        const released: Message[] = [];
        for (const entry of due) {
          // It may have been recalled since.
          if (held.isRemoved(entry.id)) continue;
          if (this.release(entry, at) !== undefined) released.push(entry.message);
          this.journal.unhold(entry);
        }
        await this.journal.commit(undefined);
        this.dueMessages?.arrived(released);
      }
    } finally {
      this.isFiring = false;
    }
  }

  /** Puts the message where it was going; undefined when that is gone. */
  private release(entry: HeldEntry, at: number): Placed | undefined {
    const queue = this.journal.state.queueBySerial(entry.queueSerial);
    if (queue === undefined) return undefined;
    const targets = this.targetsOf(entry);
    return { queue: queue.id, offset: this.journal.send(queue, entry.message, at, targets), storedAt: at };
  }

  /** The light queues that matched when the message was sent and are still there, and those that match now. */
  private targetsOf(entry: HeldEntry): LightTargets {
    const { state } = this.journal;
    const then = state.lightTargetsOf(entry);
    const now = state.lightTargets(this.dueMessages?.lightQueuesOf(entry.message) ?? []);
    if (now.queues.length === 0) return then;
    const queues = [...new Set([...then.queues, ...now.queues])];
    return { queues, durableSerials: queues.filter(({ isDurable }) => isDurable).map(({ serial }) => serial) };
  }

  private stored({ message, queueSerial }: HeldEntry): StoredMessage {
    const queue = this.journal.state.queueBySerial(queueSerial);
    const { buffer, start, end } = message;
    return new StoredMessage(buffer, start, end, queue?.topic ?? '', queue?.id ?? 0, 0, message.bornAt);
  }
}

/** Opaque to clients; says where to look, not whether there is something. */
function formatHandle({ id, kind, dueAt }: HeldKey): string {
  // When a half is asked for changes; its name does not.
  return kind === 'half' ? `h.0.${id.toString(36)}` : `d.${dueAt.toString(36)}.${id.toString(36)}`;
}

function parseHandle(text: string, kind: 'd' | 'h'): HeldKey | undefined {
  const parts = HANDLE.exec(text);
  if (parts === null || parts[1] !== kind) return undefined;
  const dueAt = Number.parseInt(parts[2]!, 36);
  return { id: Number.parseInt(parts[3]!, 36), kind: kind === 'h' ? 'half' : 'delayed', dueAt };
}

/** The sender's buffer is its own again once the send resolved. */
function copy({ buffer, start, end }: Message): Message {
  const bytes = Buffer.from(Uint8Array.prototype.slice.call(buffer, start, end).buffer);
  return new Message(bytes, 0, bytes.length);
}
