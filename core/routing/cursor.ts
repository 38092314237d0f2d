import type { StoredMessage } from '../model/message.ts';
import type { Source } from '../model/topic.ts';
import type { MessageEngine, ReadResult } from '../ports/message-engine.ts';

/** Entries a light queue may hold below its lowest cursor before they are given up. */
const TRIM_EVERY = 4096;
const NO_MESSAGES: readonly StoredMessage[] = [];

/** The light queue that all cursors on one filter share: one that outlives the process, or one that does not. */
export class Binding {
  readonly lightQueue: string;
  private readonly isDurable: boolean;
  private readonly cursors = new Set<Cursor>();
  private readonly engine: MessageEngine;
  private readonly source: Source;
  private arrival: Disposable | undefined;
  /** The last read, so that subscribers who move in step decode each message once. */
  private recent: { readonly from: number; readonly max: number; readonly result: ReadResult } | undefined;
  /** Below that offset entries were given up. */
  private trimmed = 0;
  /** Cursors of an earlier run may begin beyond where a trim is due. */
  private hasLooked = false;

  constructor(filter: string, isDurable: boolean, engine: MessageEngine) {
    this.lightQueue = `${isDurable ? '%LMQ%' : '%TMP%'}${filter}`;
    this.isDurable = isDurable;
    this.source = { kind: 'light', name: this.lightQueue };
    this.engine = engine;
  }

  get hasCursors(): boolean {
    return this.cursors.size > 0;
  }
  addCursor(onReady: () => void, onClosed: () => void): Cursor {
    const cursor = new Cursor(this, onReady, onClosed);
    this.cursors.add(cursor);
    return cursor;
  }

  /** Creates the light queue if need be and sets the cursor to the offset, or to its end. */
  async start(cursor: Cursor, from: number | undefined): Promise<void> {
    await this.engine.ensureLightQueue(this.lightQueue, { durable: this.isDurable });
    if (this.cursors.size === 0) return this.engine.deleteLightQueue(this.lightQueue);
    this.arrival ??= this.engine.onArrival(this.source, () => this.wakeCursors());
    const { first, next } = await this.engine.offsets(this.source);
    this.trimmed = Math.max(this.trimmed, first);
    cursor.offset = from === undefined ? next : Math.min(Math.max(from, first), next);
    // The session it belongs to moves it, when it is sure of what it will not need again.
    if (this.isDurable) cursor.keptFrom = cursor.offset;
  }

  async removeCursor(cursor: Cursor): Promise<void> {
    if (!this.cursors.delete(cursor)) return;
    if (this.cursors.size > 0) {
      // It may have been the one that held back the trim.
      this.trim();
      return;
    }
    this.arrival?.[Symbol.dispose]();
    this.arrival = undefined;
    this.recent = undefined;
    this.trimmed = 0;
    this.hasLooked = false;
    await this.engine.deleteLightQueue(this.lightQueue);
  }

  read(from: number, max: number, bytesMax: number): ReadResult | Promise<ReadResult> {
    const { recent } = this;
    // Only an answer that was not cut short by its own limit is the answer for a larger limit too.
    if (recent !== undefined && recent.from === from && recent.max === max) return recent.result;
    const result = this.engine.read(this.source, from, max, bytesMax);
    if (!(result instanceof Promise)) this.remember(from, max, result);
    return result;
  }

  /** The message at an offset, undefined when retention removed it. */
  async at(offset: number): Promise<StoredMessage | undefined> {
    const { first } = await this.engine.offsets(this.source);
    if (offset < first) return undefined;
    const { messages } = await this.engine.read(this.source, offset, 1, Infinity);
    return messages[0];
  }

  async end(): Promise<number> {
    return (await this.engine.offsets(this.source)).next;
  }

  /** A cursor went on. When it is the last to cross a stretch of entries, those are given up. */
  advanced(before: number, after: number): void {
    const boundary = this.trimmed + TRIM_EVERY;
    if (!this.hasLooked || (before < boundary && after >= boundary)) this.trim();
  }

  private trim(): void {
    this.hasLooked = true;
    let lowest = Infinity;
    for (const cursor of this.cursors) lowest = Math.min(lowest, cursor.keptFrom ?? cursor.offset);
    if (lowest < this.trimmed + TRIM_EVERY) return;
    this.trimmed = lowest;
    this.engine.trimLightQueue(this.lightQueue, lowest);
  }

  private remember(from: number, max: number, result: ReadResult): void {
    // With a single cursor nobody asks again; an empty answer goes stale at once.
    if (this.cursors.size > 1 && result.messages.length > 0) this.recent = { from, max, result };
  }

  private wakeCursors(): void {
    this.recent = undefined;
    for (const cursor of this.cursors) cursor.wake();
  }
}

/** A place in a light queue. Reading moves it; nothing else is kept per message. */
export class Cursor {
  /** The next entry to read. */
  offset = 0;
  /** Where the last read began: the offset of its first message, unless retention made gaps. */
  readFrom = 0;
  /** Entries from here on may be asked for again; undefined: only what was not read yet. */
  keptFrom: number | undefined;
  private readonly binding: Binding;
  private readonly onReady: () => void;
  private readonly onClosed: () => void;
  private parked = false;
  /** An answer that had to be waited for. */
  private fetched: ReadResult | undefined;
  private fetching = false;
  /** Something arrived since the last read began: an empty answer may be out of date. */
  private arrived = false;
  private closed = false;

  constructor(binding: Binding, onReady: () => void, onClosed: () => void) {
    this.binding = binding;
    this.onReady = onReady;
    this.onClosed = onClosed;
  }

  /** Up to `max` messages. Empty: nothing at hand; `onReady` will be called. */
  read(max: number, bytesMax: number): readonly StoredMessage[] {
    while (!this.fetching) {
      const fetched = this.takeFetched(max);
      if (fetched === undefined) this.arrived = false;
      const result = fetched ?? this.binding.read(this.offset, max, bytesMax);
      if (result instanceof Promise) {
        this.fetch(result);
      } else if (result.next === this.offset) {
        if (this.arrived) continue;
        this.parked = true;
        return NO_MESSAGES;
      } else {
        const before = this.offset;
        this.readFrom = before;
        this.offset = result.next;
        if (this.keptFrom === undefined) this.binding.advanced(before, result.next);
        // Everything in this stretch may have been removed by retention.
        if (result.messages.length > 0) return result.messages;
      }
    }
    return NO_MESSAGES;
  }

  /** Entries below the offset are not needed any more. */
  keepFrom(offset: number): void {
    const before = this.keptFrom ?? 0;
    this.keptFrom = offset;
    this.binding.advanced(before, offset);
  }

  /** Where the light queue ends now. */
  end(): Promise<number> {
    return this.binding.end();
  }

  /** A message that was read before, undefined when retention removed it. */
  again(offset: number): Promise<StoredMessage | undefined> {
    return this.binding.at(offset);
  }

  wake(): void {
    this.arrived = true;
    if (!this.parked) return;
    this.parked = false;
    this.onReady();
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    const removed = this.binding.removeCursor(this);
    this.onClosed();
    await removed;
  }

  /** The awaited answer, unless the caller has room for less by now. */
  private takeFetched(max: number): ReadResult | undefined {
    const { fetched } = this;
    this.fetched = undefined;
    return fetched !== undefined && fetched.messages.length <= max ? fetched : undefined;
  }

  private fetch(result: Promise<ReadResult>): void {
    this.fetching = true;
    result.then(
      (answer) => {
        this.fetching = false;
        this.fetched = answer;
        if (!this.closed) this.onReady();
      },
      () => {
        // The engine reports its failure itself; the next arrival tries again.
        this.fetching = false;
        this.parked = true;
      },
    );
  }
}
