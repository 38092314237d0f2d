import type { LogRecord, RecordLog } from '../../adapters/storage/embedded/log/record-log.ts';
import { Message } from '../../core/model/message.ts';
import { OutgoingMessage } from '../../core/ports/message-engine.ts';

/** A log in memory that outlives its engine: the records are there for the next one. */
export class KeepingLog implements RecordLog {
  readonly durability = 'process';
  readonly records: LogRecord[] = [];

  async open(replay: (record: LogRecord) => void): Promise<void> {
    for (const record of this.records) replay(record);
  }

  append(record: LogRecord, onDurable?: () => void): void {
    this.records.push(copyOf(record));
    if (onDurable !== undefined) queueMicrotask(onDurable);
  }

  close(): Promise<void> {
    return new Promise((resolve) => queueMicrotask(resolve));
  }

  /** A log with the records of this one, as a process finds it that starts now. */
  fork(): KeepingLog {
    const fork = new KeepingLog();
    fork.records.push(...this.records);
    return fork;
  }
}

/** Callers go on using their buffers, so nothing may be shared with them. */
function copyOf(record: LogRecord): LogRecord {
  if (record.type !== 'commit') return structuredClone(record);
  const sends = record.sends.map((sent) => {
    const bytes = Buffer.from(sent.message.buffer.subarray(sent.message.start, sent.message.end));
    const copy = new OutgoingMessage(sent.topic, sent.address, new Message(bytes, 0, bytes.length));
    copy.queue = sent.queue;
    copy.lightQueues = [...sent.lightQueues];
    return copy;
  });
  return { type: 'commit', at: record.at, sends, settles: structuredClone(record.settles) };
}
