import type { GroupSpec } from '../../../core/model/consumer-group.ts';
import type { TopicSpec } from '../../../core/model/topic.ts';
import type { OutgoingMessage, Placed } from '../../../core/ports/message-engine.ts';
import type { LogRecord, SettleEntry } from './log/record-log.ts';
import { Consumption } from './pop/consumption.ts';
import { LightQueue } from './queue/light-queue.ts';
import { MessageQueue, type ReadableQueue, type Usage } from './queue/message-queue.ts';

export interface TopicState {
  spec: TopicSpec;
  readonly queues: MessageQueue[];
  readonly listeners: Set<() => void>;
}

export interface GroupState {
  spec: GroupSpec;
  readonly serial: number;
  /** By queue serial. */
  readonly consumptions: Map<number, Consumption>;
}

/**
 * Everything the engine knows, as a function of the records applied so far: no clock, no random, no I/O. What was appended
 * becomes visible when the log says it is durable.
 */
export class EngineState {
  readonly topics = new Map<string, TopicState>();
  readonly groups = new Map<string, GroupState>();
  readonly groupsBySerial = new Map<number, GroupState>();
  readonly lightQueues = new Map<string, LightQueue>();
  private readonly queues = new Map<number, MessageQueue | LightQueue>();
  /** Message queues by serial: the fast way from a light queue's entry to its message. */
  private readonly messageQueues: (MessageQueue | undefined)[] = [];
  /** Memory of all message queues. */
  readonly usage: Usage = { bytes: 0 };
  private serial = 0;
  /** Queues that got messages since they were last made visible. */
  private touched: (MessageQueue | LightQueue)[] = [];

  queue(serial: number): ReadableQueue | undefined {
    return this.queues.get(serial);
  }

  messageQueue(serial: number): MessageQueue | undefined {
    return this.messageQueues[serial];
  }

  apply(record: LogRecord): void {
    switch (record.type) {
      case 'topic':
        return this.applyTopic(record.spec);
      case 'deleteTopic':
        return this.deleteTopic(record.name);
      case 'group':
        return this.applyGroup(record.spec);
      case 'deleteGroup':
        return this.deleteGroup(record.name);
      case 'lightQueue':
        return this.addLightQueue(record.name);
      case 'deleteLightQueue':
        return this.deleteLightQueue(record.name);
      case 'commit':
        for (const outgoing of record.sends) this.append(outgoing, record.at);
        for (const entry of record.settles) this.applySettle(entry);
        return undefined;
      case 'join':
        return this.join(record.group, record.queueSerial, record.start);
      case 'lease':
        return this.consumption(record.group, record.queueSerial)?.applyLease(
          record.offsets,
          record.until,
          record.attemptId,
        );
      case 'seek':
        return this.consumption(record.group, record.queueSerial)?.applySeek(record.offset);
      case 'trim':
        return this.queues.get(record.queueSerial)?.trim(record.before);
    }
  }

  consumption(group: string, queueSerial: number): Consumption | undefined {
    return this.groups.get(group)?.consumptions.get(queueSerial);
  }

  /** Stores one message and its references. */
  append(outgoing: OutgoingMessage, at: number): Placed {
    return this.appendTo(this.topics.get(outgoing.topic)!.queues[outgoing.queue]!, outgoing, at);
  }

  /** The same, for callers who know the queue. */
  appendTo(queue: MessageQueue, outgoing: OutgoingMessage, at: number): Placed {
    const offset = queue.append(outgoing.message, at);
    this.touch(queue);
    const { lightQueues } = outgoing;
    for (let i = 0; i < lightQueues.length; i++) {
      const lightQueue = this.lightQueues.get(lightQueues[i]!);
      if (lightQueue === undefined) continue;
      lightQueue.append(queue.serial, offset);
      this.touch(lightQueue);
    }
    return { queue: outgoing.queue, offset, storedAt: at };
  }

  /** @returns the epoch of the receipt that is good from now on, for 'extend' */
  applySettle(entry: SettleEntry): number {
    const consumption = this.consumption(entry.group, entry.queueSerial);
    if (consumption === undefined) return 0;
    switch (entry.kind) {
      case 'ack':
        consumption.applyAck(entry.offset);
        return 0;
      case 'extend':
        return consumption.applyExtend(entry.offset, entry.until, entry.keepReceipt);
      case 'release':
        consumption.applyRelease(entry.offset, entry.visibleAt, entry.countAttempt);
        return 0;
    }
  }

  /** Ends a batch: hands out the queues appended to since the last call, each with the end it has now. */
  takeTouched(): { queue: MessageQueue | LightQueue; end: number }[] {
    const touched = this.touched.map((queue) => ({ queue, end: queue.appended }));
    for (const { queue } of touched) {
      queue.isTouched = false;
      if (queue instanceof MessageQueue) queue.flush();
    }
    this.touched = [];
    return touched;
  }

  private touch(queue: MessageQueue | LightQueue): void {
    if (queue.isTouched) return;
    queue.isTouched = true;
    this.touched.push(queue);
  }

  private applyTopic(spec: TopicSpec): void {
    let topic = this.topics.get(spec.name);
    if (topic === undefined) this.topics.set(spec.name, (topic = { spec, queues: [], listeners: new Set() }));
    topic.spec = spec;
    while (topic.queues.length < spec.queues) {
      const queue = new MessageQueue(++this.serial, spec.name, topic.queues.length, this.usage);
      topic.queues.push(queue);
      this.queues.set(queue.serial, queue);
      this.messageQueues[queue.serial] = queue;
    }
  }

  private deleteTopic(name: string): void {
    for (const queue of this.topics.get(name)?.queues ?? []) {
      this.forget(queue);
      this.usage.bytes -= queue.bytes;
      this.messageQueues[queue.serial] = undefined;
    }
    this.topics.delete(name);
  }

  private applyGroup(spec: GroupSpec): void {
    const group = this.groups.get(spec.name);
    if (group !== undefined) {
      const isFifo = spec.order === 'fifo';
      // The order is part of how progress is kept: a change goes on at the first message not acknowledged.
      for (const [serial, { queue, floor, lastEpoch }] of group.spec.order === spec.order ? [] : group.consumptions) {
        group.consumptions.set(serial, new Consumption(queue, floor, isFifo, lastEpoch));
      }
      group.spec = spec;
      return;
    }
    const added = { spec, serial: ++this.serial, consumptions: new Map<number, Consumption>() };
    this.groups.set(spec.name, added);
    this.groupsBySerial.set(added.serial, added);
  }

  private deleteGroup(name: string): void {
    const group = this.groups.get(name);
    if (group === undefined) return;
    this.groups.delete(name);
    this.groupsBySerial.delete(group.serial);
  }

  private addLightQueue(name: string): void {
    if (this.lightQueues.has(name)) return;
    const lightQueue = new LightQueue(++this.serial, name, (serial) => this.messageQueues[serial]);
    this.lightQueues.set(name, lightQueue);
    this.queues.set(lightQueue.serial, lightQueue);
  }

  private deleteLightQueue(name: string): void {
    const lightQueue = this.lightQueues.get(name);
    if (lightQueue === undefined) return;
    this.lightQueues.delete(name);
    this.forget(lightQueue);
  }

  private forget(queue: ReadableQueue): void {
    this.queues.delete(queue.serial);
    for (const group of this.groups.values()) group.consumptions.delete(queue.serial);
  }

  private join(groupName: string, queueSerial: number, start: number): void {
    const group = this.groups.get(groupName);
    const queue = this.queues.get(queueSerial);
    if (group === undefined || queue === undefined) return;
    group.consumptions.set(queueSerial, new Consumption(queue, start, group.spec.order === 'fifo'));
  }
}
