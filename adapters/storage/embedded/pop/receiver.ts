import { BrokerError } from '../../../../core/model/broker-error.ts';
import type { StoredMessage } from '../../../../core/model/message.ts';
import type { Source } from '../../../../core/model/topic.ts';
import type { Clock } from '../../../../core/ports/clock.ts';
import type { Delivery, ReceiveRequest, Selector } from '../../../../core/ports/message-engine.ts';
import type { LeaseRecord, LogRecord } from '../log/record-log.ts';
import type { ReadableQueue } from '../queue/message-queue.ts';
import { ReceiptWriter } from '../receipt.ts';
import type { EngineState, GroupState } from '../state.ts';
import type { Consumption } from './consumption.ts';
import type { Pop } from './parked-receives.ts';
import type { Selection } from './selection.ts';

type GatheredMessages = ReadonlyMap<string, StoredMessage | undefined>;

const NOTHING_GATHERED: GatheredMessages = new Map();

interface Place {
  readonly queue: ReadableQueue;
  readonly offset: number;
}

function placeKey({ queue, offset }: Place): string {
  return `${queue.serial} ${offset}`;
}

/** What the receiver asks of the engine. */
export interface ReceiverPorts {
  readonly state: EngineState;
  readonly clock: Clock;
  /** Applies a record and appends it to the log, without waiting. */
  write(record: LogRecord): void;
  writeLease(record: LeaseRecord): void;
  /** Acknowledges `gone`, and moves those of them that used up their attempts to the group's dead letter topic, atomically. */
  retire(group: GroupState, queue: ReadableQueue, gone: readonly number[], dead: readonly StoredMessage[]): void;
}

/** Chooses what a group gets next and leases it. */
export class Receiver implements Pop {
  private readonly ports: ReceiverPorts;
  /** Resolves when a message that the last receive needed is loaded; undefined when it needed none. */
  loading: Promise<void> | undefined;
  /** What the last attempt that had to be loaded gets again, by place: it may be more than memory holds at one time. */
  private gathered: { readonly attemptId: string; readonly messages: GatheredMessages } | undefined;
  /** Which queue a receive looks at first, so that no queue of a topic starves. */
  private rotation = 0;

  constructor(ports: ReceiverPorts) {
    this.ports = ports;
  }

  receiveNow(request: ReceiveRequest): Delivery[] {
    const group = this.group(request.group);
    const queues = this.queuesOf(request.source);
    this.loading = undefined;
    // All at once: what is in one must not count as acknowledged by all before this group came to it.
    for (const queue of queues) this.join(group, queue);
    const repeated = this.repeat(group, queues, request);
    if (repeated.length > 0 || this.loading !== undefined) return repeated;
    const deliveries: Delivery[] = [];
    const start = this.rotation++;
    const hasPriorities = this.hasPriorities(request.source);
    let bytes = 0;
    for (let i = 0; i < queues.length && deliveries.length < request.max && bytes < request.bytesMax; i++) {
      const queue = queues[hasPriorities ? queues.length - 1 - i : (start + i) % queues.length]!;
      bytes += this.lease(group, queue, request, request.bytesMax - bytes, deliveries);
    }
    return deliveries;
  }

  nextVisibleAt(request: ReceiveRequest): number {
    const group = this.group(request.group);
    let earliest = Infinity;
    for (const queue of this.queuesOf(request.source)) {
      earliest = Math.min(
        earliest,
        group.consumptions.get(queue.serial)?.nextVisibleAt(request.select !== undefined) ?? Infinity,
      );
    }
    return earliest;
  }

  readyMembers({ group: name, source }: ReceiveRequest): Set<object | undefined> {
    const { consumptions } = this.group(name);
    const members = new Set<object>();
    for (const { serial } of this.queuesOf(source)) {
      for (const member of consumptions.get(serial)?.readyMembers() ?? []) members.add(member);
    }
    return members;
  }

  /** The queues behind a source. @throws BrokerError TOPIC_NOT_FOUND */
  queuesOf(source: Source): readonly ReadableQueue[] {
    const { state } = this.ports;
    if (source.kind === 'light') {
      const lightQueue = state.lightQueues.get(source.name);
      if (lightQueue === undefined) throw new BrokerError('TOPIC_NOT_FOUND', `no light queue ${source.name}`);
      return [lightQueue];
    }
    const topic = state.topics.get(source.topic);
    if (topic === undefined) throw new BrokerError('TOPIC_NOT_FOUND', `no topic ${source.topic}`);
    if (source.queue === undefined) return topic.queues;
    const queue = topic.queues[source.queue];
    if (queue === undefined)
      throw new BrokerError('TOPIC_NOT_FOUND', `topic ${source.topic} has no queue ${source.queue}`);
    return [queue];
  }

  private hasPriorities(source: Source): boolean {
    return source.kind === 'topic' && this.ports.state.topics.get(source.topic)?.spec.priorityFrom !== undefined;
  }

  /** The group's progress in the queue, begun now if need be. */
  join(group: GroupState, queue: ReadableQueue, start = initialOffset(queue)): Consumption {
    const known = group.consumptions.get(queue.serial);
    if (known !== undefined) return known;
    this.ports.write({ type: 'join', groupSerial: group.serial, queueSerial: queue.serial, start });
    return group.consumptions.get(queue.serial)!;
  }

  /** @throws BrokerError CONSUMER_GROUP_NOT_FOUND */
  group(name: string): GroupState {
    const group = this.ports.state.groups.get(name);
    if (group === undefined) throw new BrokerError('CONSUMER_GROUP_NOT_FOUND', `no consumer group ${name}`);
    return group;
  }

  private repeat(group: GroupState, queues: readonly ReadableQueue[], request: ReceiveRequest): Delivery[] {
    const { attemptId } = request;
    const deliveries: Delivery[] = [];
    if (attemptId === undefined || group.spec.order !== 'fifo') return deliveries;
    const now = this.ports.clock.now();
    const places = queues.flatMap((queue) =>
      (group.consumptions.get(queue.serial)?.repeatAttempt(attemptId, now) ?? []).map((offset) => ({ queue, offset })),
    );
    const gathered = this.gathered?.attemptId === attemptId ? this.gathered.messages : NOTHING_GATHERED;
    // All of it is repeated, or nothing yet.
    if (!places.every((place) => gathered.has(placeKey(place)) || place.queue.isLoaded(place.offset))) {
      this.loadWith(this.gather(attemptId, places));
      return [];
    }
    for (const place of places) {
      const { queue, offset } = place;
      const message = queue.isLoaded(offset) ? queue.get(offset) : gathered.get(placeKey(place));
      const receipts = new ReceiptWriter(group.serial, queue.serial);
      if (message !== undefined)
        deliveries.push(delivery(group.consumptions.get(queue.serial)!, offset, message, receipts));
    }
    return deliveries;
  }

  /** Loads the messages at all places, keeping each where the next one takes its place in memory. */
  private async gather(attemptId: string, places: readonly Place[]): Promise<void> {
    const messages = new Map<string, StoredMessage | undefined>();
    for (const place of places) {
      const { queue, offset } = place;
      while (!queue.isLoaded(offset)) await queue.load(offset);
      messages.set(placeKey(place), queue.get(offset));
    }
    this.gathered = { attemptId, messages };
  }

  private selection(
    selector: Selector,
    group: GroupState,
    queue: ReadableQueue,
    consumption: Consumption,
    now: number,
  ): Selection {
    const { attemptsMax } = group.spec.retry;
    return {
      selector,
      isWanted: (offset) => {
        const message = queue.get(offset);
        if (message === undefined || message.isExpired(now)) return true;
        return consumption.attemptCount(offset) >= attemptsMax || selector(message);
      },
    };
  }

  private load(queue: ReadableQueue, offset: number): void {
    if (this.loading === undefined) this.loadWith(queue.load(offset));
  }

  private loadWith(loading: Promise<void>): void {
    this.loading = loading;
    // Nobody waits for it where other messages are the answer; who asks next gets the error.
    loading.catch(() => undefined);
  }

  /** Leases from one queue into `deliveries`. @returns the bytes of what was leased */
  private lease(
    group: GroupState,
    queue: ReadableQueue,
    request: ReceiveRequest,
    bytesMax: number,
    deliveries: Delivery[],
  ): number {
    const consumption = this.join(group, queue);
    const now = this.ports.clock.now();
    const room = request.max - deliveries.length;
    const leased: number[] = [];
    const messages: StoredMessage[] = [];
    const gone: number[] = [];
    const dead: StoredMessage[] = [];
    let bytes = 0;
    const selection = request.select && this.selection(request.select, group, queue, consumption, now);
    consumption.beginReceive(now, request);
    while (leased.length < room && bytes < bytesMax) {
      const offset = consumption.next(now, selection);
      if (offset === -1) break;
      const message = queue.get(offset);
      if (message !== undefined && !message.isExpired(now)) {
        if (consumption.attemptCount(offset) < group.spec.retry.attemptsMax) {
          leased.push(offset);
          messages.push(message);
          bytes += message.bytes;
          continue;
        }
        dead.push(message);
      }
      gone.push(offset);
      consumption.drop(offset);
    }
    if (leased.length > 0) {
      const { attemptId, leaseMs } = request;
      this.ports.writeLease({
        groupSerial: group.serial,
        queueSerial: queue.serial,
        until: now + leaseMs,
        offsets: leased,
        isMembers: request.member !== undefined,
        attemptId: group.spec.order === 'fifo' ? attemptId : undefined,
        messageGroups: consumption.messageGroupsOf(leased),
      });
    }
    if (consumption.missing !== -1) this.load(queue, consumption.missing);
    if (gone.length > 0) this.ports.retire(group, queue, gone, dead);
    consumption.endReceive();
    const receipts = new ReceiptWriter(group.serial, queue.serial);
    for (let i = 0; i < leased.length; i++) {
      deliveries.push(delivery(consumption, leased[i]!, messages[i]!, receipts));
    }
    return bytes;
  }
}

/** RocketMQ: a new group starts at the beginning of a queue that was never trimmed, else at its end. */
export function initialOffset(queue: ReadableQueue): number {
  return queue.first === 0 ? 0 : queue.visible;
}

function delivery(consumption: Consumption, offset: number, message: StoredMessage, receipts: ReceiptWriter): Delivery {
  return {
    message,
    attempt: consumption.attemptCount(offset),
    receipt: receipts.write(offset, consumption.epochOf(offset)),
    visibleAt: consumption.visibleAt(offset),
  };
}
