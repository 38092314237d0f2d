import { BrokerError } from '../../../core/model/broker-error.ts';
import type { Capabilities, EngineContext } from '../../../core/ports/message-engine.ts';
import { MemoryLog } from './log/memory-log.ts';
import type { RecordLog } from './log/record-log.ts';
import { EngineState } from './state.ts';

/** Where an engine keeps its state: a log, and what the log has been condensed to. */
export interface Storage {
  readonly durability: Capabilities['durability'];
  /** The state left by earlier runs, and the log that goes on from there. */
  open(context: EngineContext): Promise<{ readonly state: EngineState; readonly log: RecordLog }>;
  /** Why that many bytes of messages cannot be taken; undefined when they can. */
  problemWith(bytes: number): BrokerError | undefined;
  /** From time to time, after retention removed something. */
  tidy(): void;
  /** Everything logged is durable. */
  close(): Promise<void>;
  statistics(): StorageStatistics;
}

/** Since the start. */
export interface StorageStatistics {
  /** Group commits, their bytes, and syncs of the log. */
  readonly commits: number;
  readonly commitBytes: number;
  readonly syncs: number;
}

const NO_STATISTICS: StorageStatistics = { commits: 0, commitBytes: 0, syncs: 0 };

/** Everything in memory, gone with the process. */
export class MemoryStorage implements Storage {
  readonly durability = 'none';
  private readonly state = new EngineState();
  private readonly log = new MemoryLog();
  private readonly bytesMax: number;

  /** @param bytesMax memory the messages may take; beyond it sends are refused with STORE_FULL */
  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  async open(): Promise<{ state: EngineState; log: RecordLog }> {
    return { state: this.state, log: this.log };
  }

  problemWith(bytes: number): BrokerError | undefined {
    if (this.state.usage.bytes + bytes <= this.bytesMax) return undefined;
    return new BrokerError('STORE_FULL', `the store holds its limit of ${this.bytesMax} bytes`);
  }

  tidy(): void {
    // Nobody makes checkpoints of it. Removals count as saved; what was added has no other place.
    const { removed } = this.state.takeDirt().held;
    this.state.held.saved({ added: [], removed });
  }

  close(): Promise<void> {
    return this.log.close();
  }

  statistics(): StorageStatistics {
    return NO_STATISTICS;
  }
}
