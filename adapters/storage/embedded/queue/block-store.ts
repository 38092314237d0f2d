import { Block } from './block.ts';

/** Where a sealed block is kept: beside the checkpoint while it is small, else in a file of its queue. */
export type BlockPlace =
  | { readonly kind: 'inline' }
  | { readonly kind: 'file'; readonly file: number; readonly position: number; readonly bytes: number };

/** A block of a queue, in memory or not. */
export class BlockEntry {
  readonly queueSerial: number;
  readonly baseOffset: number;
  /** Messages in it; of the newest block, those so far are in `content`. */
  count: number;
  /** Counted for retention. */
  bytes: number;
  youngestAt: number;
  /** Undefined when it has to be loaded first. */
  content: Block | undefined;
  /** Undefined while only memory and the log have it. */
  place: BlockPlace | undefined;
  loading: Promise<void> | undefined;
  /** Its queue does not have it any more. */
  isRemoved = false;

  constructor(queueSerial: number, baseOffset: number) {
    this.queueSerial = queueSerial;
    this.baseOffset = baseOffset;
    this.count = 0;
    this.bytes = 0;
    this.youngestAt = 0;
  }

  get nextOffset(): number {
    return this.baseOffset + this.count;
  }
}

/** What a queue asks of whoever keeps blocks out of memory. */
export interface BlockStore {
  /** An empty one with room for that many bytes of messages. */
  block(baseOffset: number, dataBytes: number): Block;
  /** Nothing is added to the block any more. */
  sealed(entry: BlockEntry): void;
  /** Sets `content`. @throws DamagedBlockError, or the disk's error */
  load(entry: BlockEntry): Promise<void>;
  /** The queue does not have it any more. */
  removed(entry: BlockEntry): void;
}

/** Everything stays in memory. */
export const MEMORY_BLOCKS: BlockStore = {
  block: (baseOffset, dataBytes) => Block.empty(baseOffset, dataBytes),
  sealed: () => {},
  load: () => Promise.reject(new Error('a block in memory is never loaded')),
  removed: () => {},
};
