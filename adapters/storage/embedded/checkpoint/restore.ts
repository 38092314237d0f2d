import type { KeyValueStore } from '../disk/key-value-store.ts';
import { Consumption } from '../pop/consumption.ts';
import type { BlockFiles } from '../queue/block-files.ts';
import { BlockEntry } from '../queue/block-store.ts';
import { LightQueue } from '../queue/light-queue.ts';
import { CorruptLogError } from '../log/wal-scan.ts';
import type { EngineState } from '../state.ts';
import { CHECKPOINT_KEY, numbersOf, rangeOf } from './keys.ts';
import {
  decodeConsumption,
  decodeHeld,
  decodeJson,
  decodeMeta,
  type StoredBlock,
  type StoredCheckpoint,
  type StoredGroup,
  type StoredLightQueue,
  type StoredQueue,
  type StoredTopic,
} from './values.ts';

export interface Restored {
  /** The log has to be replayed behind this record. */
  readonly sequence: number;
  /** The latest record that is in any part: the log must reach it. */
  readonly latestSequence: number;
  /** Keys that belong to nothing. */
  readonly garbage: readonly string[];
}

/** Fills an empty state from what checkpoints wrote. */
export async function restore(state: EngineState, store: KeyValueStore, blocks: BlockFiles): Promise<Restored> {
  return new Restorer(state, store, blocks).run();
}

/**
 * After the replay, which knows of messages that retention removed while a checkpoint was written.
 * @throws CorruptLogError when blocks are missing
 */
export function checkWhole(state: EngineState): void {
  for (const { queues } of state.topics.values()) {
    for (const { serial, topic, id, first, appended, blocks } of queues) {
      let next = first;
      for (const block of blocks) {
        if (block.baseOffset > next) break;
        // The newest one is still being filled.
        next = block.content?.nextOffset ?? block.nextOffset;
      }
      if (next < appended) throw new CorruptLogError(`queue ${id} of topic ${topic} (${serial}) lacks offset ${next}`);
    }
  }
}

class Restorer {
  private readonly state: EngineState;
  private readonly store: KeyValueStore;
  private readonly blocks: BlockFiles;
  private readonly garbage: string[] = [];
  private latestSequence = 0;

  constructor(state: EngineState, store: KeyValueStore, blocks: BlockFiles) {
    this.state = state;
    this.store = store;
    this.blocks = blocks;
  }

  async run(): Promise<Restored> {
    const bytes = await this.store.get(CHECKPOINT_KEY);
    const checkpoint = bytes && (decodeJson(bytes) as StoredCheckpoint);
    if (checkpoint !== undefined) {
      this.state.restoreCounters(checkpoint.generation, checkpoint.lastSerial, checkpoint.lastHeldId);
      this.state.meta.lastRevision = checkpoint.lastRevision;
    }
    await this.readSpecs();
    await this.readQueues();
    await this.readBlocks();
    await this.readLightQueues();
    await this.readConsumptions();
    await this.readHeldAndMeta();
    // What was read is not new.
    this.state.takeDirt();
    const sequence = checkpoint?.sequence ?? 0;
    return { sequence, latestSequence: Math.max(this.latestSequence, sequence), garbage: this.garbage };
  }

  private async readSpecs(): Promise<void> {
    for await (const [, value] of this.store.range(...rangeOf('t/'))) {
      const { spec, serials, sequence } = decodeJson(value) as StoredTopic;
      this.state.restoreTopic(spec, serials, this.seen(sequence));
    }
    for await (const [, value] of this.store.range(...rangeOf('g/'))) {
      const { spec, serial, sequence } = decodeJson(value) as StoredGroup;
      this.state.restoreGroup(spec, serial, this.seen(sequence));
    }
  }

  private async readQueues(): Promise<void> {
    for await (const [key, value] of this.store.range(...rangeOf('q/'))) {
      const queue = this.state.queueBySerial(numbersOf(key)[0]!);
      if (queue === undefined) {
        this.garbage.push(key);
        continue;
      }
      const { first, appended, sequence } = decodeJson(value) as StoredQueue;
      queue.first = first;
      queue.appended = appended;
      queue.visible = appended;
      queue.savedSequence = this.seen(sequence);
    }
  }

  private async readBlocks(): Promise<void> {
    for await (const [key, value] of this.store.range(...rangeOf('b/'))) {
      const [serial, base] = numbersOf(key) as [number, number];
      const queue = this.state.queueBySerial(serial);
      const stored = decodeJson(value) as StoredBlock;
      const end = base + stored.count;
      // Written beside a checkpoint that did not come to its end: the log has these messages too, or nobody needs them.
      const isWanted =
        queue !== undefined &&
        end > queue.first &&
        base < queue.appended &&
        base >= (queue.blocks.at(-1)?.nextOffset ?? 0);
      if (!isWanted) {
        this.garbage.push(key, `i${key.slice(1)}`);
        continue;
      }
      const entry = new BlockEntry(serial, base);
      entry.count = stored.count;
      entry.bytes = stored.bytes;
      entry.youngestAt = stored.youngestAt;
      entry.place = stored.place;
      queue.restore(entry);
      if (stored.place.kind === 'file') this.blocks.restore(entry, stored.place);
    }
  }

  private async readLightQueues(): Promise<void> {
    for await (const [key, value] of this.store.range(...rangeOf('l/'))) {
      const { name, first, appended, sequence } = decodeJson(value) as StoredLightQueue;
      const lightQueue = new LightQueue(numbersOf(key)[0]!, name, true, this.state);
      lightQueue.first = first;
      lightQueue.storedFrom = first;
      lightQueue.appended = appended;
      lightQueue.visible = appended;
      lightQueue.savedSequence = this.seen(sequence);
      this.state.registerLightQueue(lightQueue);
    }
  }

  private async readConsumptions(): Promise<void> {
    for await (const [key, value] of this.store.range(...rangeOf('c/'))) {
      const [queueSerial, groupSerial] = numbersOf(key) as [number, number];
      const queue = this.state.queue(queueSerial);
      const group = this.state.groupsBySerial.get(groupSerial);
      if (queue === undefined || group === undefined) {
        this.garbage.push(key);
        continue;
      }
      const { snapshot, sequence } = decodeConsumption(value);
      const consumption = Consumption.restore(queue, snapshot, this.state.epochs);
      consumption.savedSequence = this.seen(sequence);
      group.consumptions.set(queueSerial, consumption);
    }
  }

  private async readHeldAndMeta(): Promise<void> {
    for await (const [, value] of this.store.range(...rangeOf('x/'))) this.state.held.restoreHalf(decodeHeld(value));
    for await (const [key, value] of this.store.range(...rangeOf('m/'))) {
      this.state.meta.restore(key.slice(2), decodeMeta(value));
    }
  }

  private seen(sequence: number): number {
    this.latestSequence = Math.max(this.latestSequence, sequence);
    return sequence;
  }
}
