import type { Message, StoredMessage } from '../../../../core/model/message.ts';
import type { Retention } from '../../../../core/model/topic.ts';
import type { ReadResult } from '../../../../core/ports/message-engine.ts';
import { Segment } from './segment.ts';

/** Memory in use, shared by all queues of an engine. */
export interface Usage {
  bytes: number;
}

/** What leases and cursors need of a queue, ordinary or light. */
export interface ReadableQueue {
  /** Identifies the queue inside the engine; never reused. */
  readonly serial: number;
  readonly first: number;
  /** One behind the last message that is durable and may be handed out. */
  readonly visible: number;
  /** Undefined when retention removed it. */
  get(offset: number): StoredMessage | undefined;
}

const FIRST_SEGMENT_BYTES = 16 * 1024;
const SEGMENT_BYTES_MAX = 1024 * 1024;

/** An append-only sequence of messages with offsets 0, 1, 2, ... */
export class MessageQueue implements ReadableQueue {
  readonly serial: number;
  readonly topic: string;
  readonly id: number;
  first = 0;
  appended = 0;
  visible = 0;
  /** Whether it waits in the state's list of queues to make visible. */
  isTouched = false;
  /** Memory of all its segments. */
  bytes = 0;
  private segments: Segment[] = [];
  private nextSegmentBytes = FIRST_SEGMENT_BYTES;
  private readonly usage: Usage;

  constructor(serial: number, topic: string, id: number, usage: Usage) {
    this.usage = usage;
    this.serial = serial;
    this.topic = topic;
    this.id = id;
  }

  /** @returns the offset of the message */
  append(message: Message, storedAt: number): number {
    let segment = this.segments.at(-1);
    if (segment === undefined || !segment.append(message, storedAt)) {
      segment?.flush();
      segment = this.addSegment(message.bytes);
      segment.append(message, storedAt);
    }
    return this.appended++;
  }

  /** Copies the messages appended so far; before that their bytes must not change. */
  flush(): void {
    this.segments.at(-1)?.flush();
  }

  get(offset: number): StoredMessage | undefined {
    if (offset < this.first || offset >= this.appended) return undefined;
    return this.segmentOf(offset).get(offset, this.topic, this.id);
  }

  read(from: number, max: number, bytesMax: number): ReadResult {
    const messages: StoredMessage[] = [];
    let next = Math.max(from, this.first);
    let bytes = 0;
    while (next < this.visible && messages.length < max && bytes < bytesMax) {
      const message = this.get(next)!;
      messages.push(message);
      bytes += message.bytes;
      next++;
    }
    return { messages, next };
  }

  /** The first offset stored at or after the time; `visible` when there is none. */
  offsetAt(time: number): number {
    let low = this.first;
    let high = this.visible;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.segmentOf(middle).storedAt(middle) < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The offset up to which retention allows to remove messages, whole segments only; the newest segment stays. */
  removableBefore(retention: Retention, now: number): number {
    let bytes = this.bytes;
    let before = this.first;
    for (const segment of this.segments.slice(0, -1)) {
      const isOld = segment.youngestAt + retention.ms < now;
      if (!isOld && bytes <= retention.bytesPerQueue) break;
      bytes -= segment.bytes;
      before = segment.nextOffset;
    }
    return Math.min(before, this.visible);
  }

  /** Removes all segments that end at or before the offset. */
  trim(before: number): void {
    let gone = 0;
    while (gone < this.segments.length - 1 && this.segments[gone]!.nextOffset <= before) {
      this.count(-this.segments[gone]!.bytes);
      gone++;
    }
    if (gone === 0) return;
    this.segments = this.segments.slice(gone);
    this.first = this.segments[0]!.baseOffset;
  }

  private count(bytes: number): void {
    this.bytes += bytes;
    this.usage.bytes += bytes;
  }

  private addSegment(messageBytes: number): Segment {
    const segment = new Segment(this.appended, Math.max(this.nextSegmentBytes, messageBytes));
    this.nextSegmentBytes = Math.min(this.nextSegmentBytes * 4, SEGMENT_BYTES_MAX);
    this.segments.push(segment);
    this.count(segment.bytes);
    return segment;
  }

  private segmentOf(offset: number): Segment {
    const { segments } = this;
    let high = segments.length - 1;
    // Nearly every read is at the tail.
    if (segments[high]!.baseOffset <= offset) return segments[high]!;
    let low = 0;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (segments[middle]!.baseOffset <= offset) low = middle;
      else high = middle - 1;
    }
    return segments[low]!;
  }
}
