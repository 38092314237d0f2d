import { Message, StoredMessage } from '../../../../core/model/message.ts';
import type { Clock } from '../../../../core/ports/clock.ts';

/** A message in a temporary queue, with how often it was sent. */
export interface TemporaryMessage {
  readonly message: StoredMessage;
  attempt: number;
}

export interface QueueReader {
  /** There may be something to take. */
  wake(): void;
  /** The queue is gone. */
  closed(): void;
}

export interface TemporaryLimits {
  readonly messagesMax: number;
  readonly bytesMax: number;
}

/**
 * A queue that lives as long as its link (AMQP 3.5.10, dynamic nodes): in memory, bounded, gone with the process. Replies go
 * there, one per request, so no topic is made for it.
 */
export class TemporaryQueue {
  readonly name: string;
  private readonly limits: TemporaryLimits;
  private readonly clock: Clock;
  private readonly waiting: TemporaryMessage[] = [];
  private readonly readers = new Set<QueueReader>();
  private bytes = 0;
  private count = 0;

  constructor(name: string, limits: TemporaryLimits, clock: Clock) {
    this.name = name;
    this.limits = limits;
    this.clock = clock;
  }

  get length(): number {
    return this.waiting.length;
  }

  /** Takes a copy of the message. False: it is full. */
  offer(message: Message): boolean {
    if (this.waiting.length >= this.limits.messagesMax || this.bytes + message.bytes > this.limits.bytesMax)
      return false;
    const bytes = Buffer.from(message.buffer.subarray(message.start, message.end));
    const stored = new StoredMessage(bytes, 0, bytes.length, this.name, 0, this.count++, this.clock.now());
    this.bytes += bytes.length;
    this.waiting.push({ message: stored, attempt: 1 });
    for (const reader of this.readers) reader.wake();
    return true;
  }

  /** The next one that has not expired. */
  take(): TemporaryMessage | undefined {
    const now = this.clock.now();
    for (let next = this.waiting.shift(); next !== undefined; next = this.waiting.shift()) {
      this.bytes -= next.message.bytes;
      if (!next.message.isExpired(now)) return next;
    }
    return undefined;
  }

  /** Puts back what was taken, at its old place. */
  putBack(messages: readonly TemporaryMessage[]): void {
    for (const taken of messages) this.bytes += taken.message.bytes;
    this.waiting.push(...messages);
    this.waiting.sort((a, b) => a.message.offset - b.message.offset);
    for (const reader of this.readers) reader.wake();
  }

  addReader(reader: QueueReader): Disposable {
    this.readers.add(reader);
    return { [Symbol.dispose]: () => this.readers.delete(reader) };
  }

  /** Whoever made it is gone, and so is it. */
  close(): void {
    for (const reader of this.readers) reader.closed();
  }
}
