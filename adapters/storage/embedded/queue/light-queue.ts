import type { StoredMessage } from '../../../../core/model/message.ts';
import type { ReadResult } from '../../../../core/ports/message-engine.ts';
import type { MessageQueue, ReadableQueue } from './message-queue.ts';

/** The first chunk is small: most light queues are those of one device and nearly empty. */
const FIRST_CHUNK_ENTRIES = 16;
const CHUNK_ENTRIES_MAX = 4096;

class Chunk {
  readonly base: number;
  readonly queues: Uint32Array;
  readonly offsets: Float64Array;
  count = 0;

  constructor(base: number, entries: number) {
    this.base = base;
    this.queues = new Uint32Array(entries);
    this.offsets = new Float64Array(entries);
  }
}

/** An index of references to messages of ordinary queues, in the order they were stored. */
export class LightQueue implements ReadableQueue {
  readonly serial: number;
  readonly name: string;
  first = 0;
  appended = 0;
  visible = 0;
  /** Whether it waits in the state's list of queues to make visible. */
  isTouched = false;
  readonly listeners = new Set<() => void>();
  private chunks: Chunk[] = [];
  private readonly queueBySerial: (serial: number) => MessageQueue | undefined;

  constructor(serial: number, name: string, queueBySerial: (serial: number) => MessageQueue | undefined) {
    this.serial = serial;
    this.name = name;
    this.queueBySerial = queueBySerial;
  }

  append(queueSerial: number, offset: number): void {
    let chunk = this.chunks.at(-1);
    if (chunk === undefined || chunk.count === chunk.queues.length) {
      const entries = chunk === undefined ? FIRST_CHUNK_ENTRIES : Math.min(chunk.queues.length * 4, CHUNK_ENTRIES_MAX);
      this.chunks.push((chunk = new Chunk(this.appended, entries)));
    }
    chunk.queues[chunk.count] = queueSerial;
    chunk.offsets[chunk.count++] = offset;
    this.appended++;
  }

  get(offset: number): StoredMessage | undefined {
    if (offset < this.first || offset >= this.appended) return undefined;
    const chunk = this.chunkOf(offset);
    const i = offset - chunk.base;
    return this.queueBySerial(chunk.queues[i]!)?.get(chunk.offsets[i]!);
  }

  read(from: number, max: number, bytesMax: number): ReadResult {
    const messages: StoredMessage[] = [];
    let next = Math.max(from, this.first);
    let bytes = 0;
    while (next < this.visible && messages.length < max && bytes < bytesMax) {
      const message = this.get(next++);
      if (message === undefined) continue;
      messages.push(message);
      bytes += message.bytes;
    }
    return { messages, next };
  }

  /** Entries below the offset are gone; their chunks go as soon as nothing else is in them. */
  trim(before: number): void {
    // Not `visible`: nothing is while the log is replayed, and the record has to do then what it did before.
    this.first = Math.max(this.first, Math.min(before, this.appended));
    const keep = this.chunks.findIndex((chunk) => chunk.base + chunk.count > this.first);
    if (keep > 0) this.chunks = this.chunks.slice(keep);
  }

  private chunkOf(offset: number): Chunk {
    const { chunks } = this;
    let i = chunks.length - 1;
    while (chunks[i]!.base > offset) i--;
    return chunks[i]!;
  }
}
