import type { GroupSpec } from '../../../../core/model/consumer-group.ts';
import type { TopicSpec } from '../../../../core/model/topic.ts';
import type { Capabilities, OutgoingMessage } from '../../../../core/ports/message-engine.ts';

/** One verdict inside a commit, already checked. */
export type SettleEntry = { readonly group: string; readonly queueSerial: number; readonly offset: number } & (
  | { readonly kind: 'ack' }
  | { readonly kind: 'extend'; readonly until: number; readonly keepReceipt: boolean }
  | { readonly kind: 'release'; readonly visibleAt: number; readonly countAttempt: boolean }
);

/** Everything that changes the engine's state. A record carries all times and choices: applying it needs no clock. */
export type LogRecord =
  | { readonly type: 'topic'; readonly spec: TopicSpec }
  | { readonly type: 'deleteTopic'; readonly name: string }
  | { readonly type: 'group'; readonly spec: GroupSpec }
  | { readonly type: 'deleteGroup'; readonly name: string }
  | { readonly type: 'lightQueue'; readonly name: string }
  | { readonly type: 'deleteLightQueue'; readonly name: string }
  /** Messages and verdicts, all or nothing. Offsets follow from the order of the log. */
  | {
      readonly type: 'commit';
      readonly at: number;
      readonly sends: readonly OutgoingMessage[];
      readonly settles: readonly SettleEntry[];
    }
  /** A group starts to read a queue. */
  | { readonly type: 'join'; readonly group: string; readonly queueSerial: number; readonly start: number }
  | {
      readonly type: 'lease';
      readonly group: string;
      readonly queueSerial: number;
      readonly until: number;
      readonly offsets: readonly number[];
      readonly attemptId: string | undefined;
    }
  | { readonly type: 'seek'; readonly group: string; readonly queueSerial: number; readonly offset: number }
  | { readonly type: 'trim'; readonly queueSerial: number; readonly before: number };

/** Where records become durable, in order. The engine's state is what comes out of applying them one after the other. */
export interface RecordLog {
  readonly durability: Capabilities['durability'];
  /** Gives every record that is there to `replay`. */
  open(replay: (record: LogRecord) => void): Promise<void>;
  /** Adds a record behind all others; `onDurable` is called when it and all before it are durable. */
  append(record: LogRecord, onDurable?: () => void): void;
  /** Resolves when everything appended is durable. */
  close(): Promise<void>;
}
