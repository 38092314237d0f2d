import type { GroupSpec } from '../../../../core/model/consumer-group.ts';
import type { Message } from '../../../../core/model/message.ts';
import type { TopicSpec } from '../../../../core/model/topic.ts';
import type { MessageBytes } from '../queue/block.ts';
import type { Capabilities } from '../../../../core/ports/message-engine.ts';

/** One verdict inside a commit, already checked. All have the same shape, since there are many. */
export interface SettleEntry {
  readonly kind: 'ack' | 'extend' | 'release';
  readonly groupSerial: number;
  readonly queueSerial: number;
  readonly offset: number;
  /** extend: when the lease ends. release: when the message is visible again. */
  readonly time: number;
  /** extend: the receipt stays good. release: the attempt counts. */
  readonly flag: boolean;
}

/** A message taken in that is not in its queue yet: delayed, or half of a transaction. */
export interface HeldEntry {
  readonly id: number;
  readonly kind: 'delayed' | 'half';
  /** Delayed: when it is due. Half: when its producer is asked next. */
  readonly dueAt: number;
  readonly queueSerial: number;
  readonly lightQueueSerials: readonly number[];
  readonly message: Message;
}

/** Names a held message; with the time, because that is how delayed ones are kept. */
export interface HeldKey {
  readonly id: number;
  readonly kind: HeldEntry['kind'];
  readonly dueAt: number;
}

/** A change in the meta store that is part of a commit. */
export interface ChangeEntry {
  readonly key: string;
  /** Undefined deletes. */
  readonly value: Uint8Array | undefined;
  readonly revision: number;
}

/** Whatever changes the state and is not frequent. A record carries all times and choices: applying it needs no clock. */
export type LogRecord =
  /** The process started: leases of members are over, receipts of leases that were not logged must not come to life again. */
  | { readonly type: 'start'; readonly generation: number }
  /** `serials`: one per queue, in order. */
  | { readonly type: 'topic'; readonly spec: TopicSpec; readonly serials: readonly number[] }
  | { readonly type: 'deleteTopic'; readonly name: string }
  | { readonly type: 'group'; readonly spec: GroupSpec; readonly serial: number }
  | { readonly type: 'deleteGroup'; readonly name: string }
  | { readonly type: 'lightQueue'; readonly name: string; readonly serial: number }
  | { readonly type: 'deleteLightQueue'; readonly serial: number }
  /** A group starts to read a queue. */
  | { readonly type: 'join'; readonly groupSerial: number; readonly queueSerial: number; readonly start: number }
  | { readonly type: 'seek'; readonly groupSerial: number; readonly queueSerial: number; readonly offset: number }
  /** The group acknowledges all below `to` that has no lease which is live at `at`. */
  | {
      readonly type: 'purge';
      readonly groupSerial: number;
      readonly queueSerial: number;
      readonly to: number;
      readonly at: number;
    }
  | { readonly type: 'trim'; readonly queueSerial: number; readonly before: number }
  /** The producer of a half message is being asked; it is not asked again before `dueAt`. */
  | { readonly type: 'ask'; readonly id: number; readonly dueAt: number }
  | {
      readonly type: 'metaPut';
      readonly key: string;
      /** Base64. */
      readonly value: string;
      readonly revision: number;
      /** 0 never. */
      readonly expiresAt: number;
    }
  | { readonly type: 'metaDelete'; readonly key: string; readonly revision: number };

/** Messages leased to a group. */
export interface LeaseRecord {
  readonly groupSerial: number;
  readonly queueSerial: number;
  readonly until: number;
  readonly offsets: readonly number[];
  /** A member has them: the leases end with the process. */
  readonly isMembers: boolean;
  readonly attemptId: string | undefined;
  /** One each, empty for none; undefined where there is no order to keep. */
  readonly messageGroups: readonly string[] | undefined;
}

/** Gets the records of a log, one after the other. */
export interface Replay {
  /** Starts each record. Sequences grow by one. */
  record(sequence: number): void;
  apply(record: LogRecord): void;
  lease(record: LeaseRecord): void;
  /** The object is used again for the next. */
  send(
    queueSerial: number,
    offset: number,
    message: MessageBytes,
    storedAt: number,
    lightQueueSerials: readonly number[],
  ): void;
  settle(entry: SettleEntry): void;
  hold(entry: HeldEntry): void;
  unhold(key: HeldKey): void;
  /** Its value may change from here on. */
  change(entry: ChangeEntry): void;
  /** The bytes of the messages given so far may change from here on. */
  flush(): void;
}

/**
 * Where records become durable, in order. A commit is messages, verdicts and what changes with them, all or nothing: between `beginCommit` and
 * `endCommit` its parts are added in the order they were applied. Offsets follow from the order of the log.
 */
export interface RecordLog {
  readonly durability: Capabilities['durability'];
  /** Sequence of the last record appended. */
  readonly sequence: number;
  /** Whether only what frees space should still be written. */
  readonly isShortOfSpace: boolean;
  append(record: LogRecord): void;
  appendLease(record: LeaseRecord): void;
  beginCommit(at: number): void;
  addSend(queueSerial: number, offset: number, message: Message, lightQueueSerials: readonly number[]): void;
  addSettle(entry: SettleEntry): void;
  addHold(entry: HeldEntry): void;
  addUnhold(key: HeldKey): void;
  addChange(entry: ChangeEntry): void;
  endCommit(): void;
  /** Calls back when everything appended so far is durable. */
  whenDurable(callback: () => void): void;
  close(): Promise<void>;
}
