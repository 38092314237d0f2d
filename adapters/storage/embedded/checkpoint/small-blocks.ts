import { Block } from '../queue/block.ts';
import type { BlockFiles } from '../queue/block-files.ts';
import { BlockEntry } from '../queue/block-store.ts';
import type { MessageQueue } from '../queue/message-queue.ts';

/**
 * Blocks too small for a file, which a queue has when a checkpoint comes before much was sent to it. They are merged with
 * stored ones of their size, so that a queue has few of them and each message is written a few times at most.
 */
export class SmallBlocks {
  private readonly files: BlockFiles;
  private readonly blockBytesMax: number;
  /** Handed out in the checkpoint in progress. */
  private readonly staged = new Set<BlockEntry>();

  constructor(files: BlockFiles, blockBytesMax: number) {
    this.files = files;
    this.blockBytesMax = blockBytesMax;
  }

  /** What the checkpoint before handed out and did not report as written is handed out again. */
  reset(): void {
    this.staged.clear();
  }

  /** Everything below the offset that has no place and is not on its way into a file. */
  async take(queue: MessageQueue, before: number): Promise<BlockEntry[]> {
    const inline: BlockEntry[] = [];
    for (;;) {
      const run = this.nextRun(queue, before);
      if (run.length === 0) return inline;
      const contents = await Promise.all(run.map((entry) => this.files.read(entry)));
      // Retention may have taken some of it in the meantime.
      if (run.some(({ isRemoved }) => isRemoved)) continue;
      const entry = run.length === 1 ? run[0]! : merge(queue, run, contents);
      if (this.files.isForFile(entry)) this.files.write(entry);
      else {
        this.staged.add(entry);
        inline.push(entry);
      }
    }
  }

  /** It stands beside the checkpoint. */
  written(entry: BlockEntry): void {
    entry.place = { kind: 'inline' };
    this.files.keep(entry);
  }

  private nextRun(queue: MessageQueue, before: number): BlockEntry[] {
    const blocks = queue.sealedBlocks;
    let from = blocks.findIndex((entry) => this.isWaiting(entry, before));
    if (from === -1) return [];
    let to = from;
    let bytes = 0;
    for (; to < blocks.length && this.isWaiting(blocks[to]!, before); to++) {
      if (to > from && bytes + blocks[to]!.bytes > this.blockBytesMax) break;
      bytes += blocks[to]!.bytes;
    }
    for (; from > 0; from--) {
      const previous = blocks[from - 1]!;
      if (previous.place?.kind !== 'inline' || previous.bytes > 2 * bytes) break;
      if (bytes + previous.bytes > this.blockBytesMax) break;
      bytes += previous.bytes;
    }
    return blocks.slice(from, to);
  }

  private isWaiting(entry: BlockEntry, before: number): boolean {
    const isHandled = entry.place !== undefined || this.staged.has(entry) || this.files.isForFile(entry);
    return !isHandled && entry.baseOffset < before;
  }
}

function merge(queue: MessageQueue, run: readonly BlockEntry[], contents: readonly Block[]): BlockEntry {
  const content = Block.merge(contents);
  const merged = new BlockEntry(queue.serial, content.baseOffset);
  merged.content = content;
  merged.count = content.count;
  merged.bytes = content.encodedBytes;
  merged.youngestAt = content.youngestAt;
  queue.replace(run, merged);
  return merged;
}
