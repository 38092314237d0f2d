import { BrokerError, failed, succeeded, type Outcome } from '../../../../core/model/broker-error.ts';
import { deadLetterCopy, DELIVERY_LIMIT } from '../../../../core/model/dead-letter.ts';
import type { Message, StoredMessage } from '../../../../core/model/message.ts';
import { deadLetterTopic } from '../../../../core/model/names.ts';
import { DEFAULT_RETENTION } from '../../../../core/model/topic.ts';
import type { Clock } from '../../../../core/ports/clock.ts';
import type { Settled, Settlement } from '../../../../core/ports/message-engine.ts';
import type { Journal } from '../journal.ts';
import type { SettleEntry } from '../log/record-log.ts';
import { parseReceipt, ReceiptWriter, type ReceiptParts } from '../receipt.ts';
import type { GroupState } from '../state.ts';
import type { ReadableQueue } from '../queue/message-queue.ts';

export interface Lease {
  readonly group: GroupState;
  readonly parts: ReceiptParts;
}

/** By receipt. */
export type DeadMessages = ReadonlyMap<string, StoredMessage>;

const SETTLED: Outcome<Settled> = succeeded({});

/** Verdicts on leased messages, and what becomes of messages nobody can deliver. */
export class Settling {
  private readonly journal: Journal;
  private readonly clock: Clock;

  constructor(journal: Journal, clock: Clock) {
    this.journal = journal;
    this.clock = clock;
  }

  /** The messages of which the verdicts need copies, by receipt; undefined when there are none. */
  messagesFor(batch: readonly Settlement[]): Promise<DeadMessages> | undefined {
    let receipts: string[] | undefined;
    for (let i = 0; i < batch.length; i++) {
      const { action, receipt } = batch[i]!;
      if (action.kind === 'deadLetter') (receipts ??= []).push(receipt);
    }
    return receipts && this.fetch(receipts);
  }

  /** The lease a receipt stands for, while it is live. */
  liveLease({ receipt, group: expected }: Settlement, now: number): Lease | undefined {
    const parts = parseReceipt(receipt);
    const group = parts && this.journal.state.groupsBySerial.get(parts.groupSerial);
    if (parts === undefined || group === undefined) return undefined;
    if (expected !== undefined && expected !== group.spec.name) return undefined;
    const consumption = group.consumptions.get(parts.queueSerial);
    return consumption?.isLeased(parts.offset, parts.epoch, now) === true ? { group, parts } : undefined;
  }

  /** Adds one verdict to the commit in progress. */
  settle(settlement: Settlement, at: number, groups: Set<string>, dead: DeadMessages | undefined): Outcome<Settled> {
    const lease = this.liveLease(settlement, at);
    if (lease === undefined) return stale();
    groups.add(lease.group.spec.name);
    return this.apply(settlement, lease, at, dead);
  }

  /** The same for a lease that was checked. */
  apply(settlement: Settlement, { group, parts }: Lease, at: number, dead: DeadMessages | undefined): Outcome<Settled> {
    const { action } = settlement;
    if (action.kind === 'deadLetter') {
      const message = dead?.get(settlement.receipt);
      const { reason, description, details } = action;
      if (message !== undefined) {
        this.sendDeadLetter(group, deadLetterCopy(message, reason, description, details), at);
      }
    }
    const entry = settleEntry(settlement, group, parts, at);
    const epoch = this.journal.settle(entry);
    if (entry.kind !== 'extend') return SETTLED;
    return succeeded({ receipt: new ReceiptWriter(group.serial, parts.queueSerial).write(parts.offset, epoch) });
  }

  /** Acknowledges what is gone, and moves what used up its attempts to the dead letter topic, atomically. */
  retire(group: GroupState, queue: ReadableQueue, gone: readonly number[], dead: readonly StoredMessage[]): void {
    const at = this.clock.now();
    this.journal.begin(at);
    for (const message of dead) this.sendDeadLetter(group, deadLetterCopy(message, DELIVERY_LIMIT), at);
    for (const offset of gone) {
      const { serial: groupSerial } = group;
      this.journal.settle({ kind: 'ack', groupSerial, queueSerial: queue.serial, offset, time: 0, flag: false });
    }
    void this.journal.commit(undefined);
  }

  private async fetch(receipts: readonly string[]): Promise<DeadMessages> {
    const found = new Map<string, StoredMessage>();
    for (const receipt of receipts) {
      const parts = parseReceipt(receipt);
      const queue = parts && this.journal.state.queue(parts.queueSerial);
      if (queue === undefined) continue;
      // At once after loading: the next one may take its place in memory.
      while (!queue.isLoaded(parts!.offset)) await queue.load(parts!.offset);
      const message = queue.get(parts!.offset);
      if (message !== undefined) found.set(receipt, message);
    }
    return found;
  }

  /** The dead letter topic is created when it is first needed. */
  private sendDeadLetter(group: GroupState, copy: Message, at: number): void {
    const { state } = this.journal;
    const name = deadLetterTopic(group.spec.name);
    if (!state.topics.has(name)) {
      const spec = { name, type: 'MIXED' as const, queues: 1, retention: DEFAULT_RETENTION };
      this.journal.write({ type: 'topic', spec, serials: [state.nextSerial()] });
    }
    this.journal.send(state.topics.get(name)!.queues[0]!, copy, at, state.lightTargets([]));
  }
}

function settleEntry({ action }: Settlement, group: GroupState, parts: ReceiptParts, at: number): SettleEntry {
  const groupSerial = group.serial;
  const { queueSerial, offset } = parts;
  switch (action.kind) {
    case 'ack':
    case 'deadLetter':
      return { kind: 'ack', groupSerial, queueSerial, offset, time: 0, flag: false };
    case 'extend':
      return {
        kind: 'extend',
        groupSerial,
        queueSerial,
        offset,
        time: at + action.ms,
        flag: action.keepReceipt === true,
      };
    case 'release': {
      const { delayMs, countAttempt } = action;
      return { kind: 'release', groupSerial, queueSerial, offset, time: at + delayMs, flag: countAttempt };
    }
  }
}

export function stale(): { ok: false; error: BrokerError } {
  return failed('STALE_RECEIPT', 'the receipt was acknowledged, superseded, expired or never issued');
}
