import { resolve } from 'node:path';
import type { Examination } from '../../adapters/storage/embedded/doctor/doctor.ts';
import {
  DamagedStoreError,
  examineDirectory,
  NotExaminedError,
} from '../../adapters/storage/embedded/doctor/examine-directory.ts';
import { DATA_FORMAT } from '../../adapters/storage/embedded/disk/format-file.ts';
import type { ReadableQueue } from '../../adapters/storage/embedded/queue/message-queue.ts';
import type { GroupState, TopicState } from '../../adapters/storage/embedded/state.ts';
import { ConfigError } from '../config/load.ts';

const LIGHT_QUEUES_SHOWN = 20;

/**
 * Checks a data directory and prints what is in it.
 * @returns the exit code: 0 sound, 1 damaged
 * @throws ConfigError when it cannot be examined
 */
export async function runDoctor(directories: readonly string[], all: boolean): Promise<number> {
  const [given] = directories;
  if (given === undefined || directories.length > 1) throw new ConfigError('doctor wants one data directory');
  const directory = resolve(given);
  try {
    const examination = await examineDirectory(directory);
    print(report(directory, examination, all));
    return examination.damages.length === 0 ? 0 : 1;
  } catch (error) {
    if (error instanceof NotExaminedError) throw new ConfigError(error.message);
    if (!(error instanceof DamagedStoreError)) throw error;
    print([`DAMAGED: ${error.message}`]);
    return 1;
  }
}

function print(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

function report(directory: string, examination: Examination, all: boolean): string[] {
  const { checkpoint, log, notes, damages, state, delayed } = examination;
  const at =
    checkpoint === undefined
      ? 'no checkpoint yet'
      : `checkpoint at record ${checkpoint.sequence}, start ${checkpoint.generation}`;
  return [
    `${directory}: format ${DATA_FORMAT}, ${at}`,
    `log: ${log.files} files, ${size(log.bytes)}; behind the checkpoint ${log.records} records, ${size(log.recordBytes)}`,
    ...topicLines([...state.topics.values()]),
    ...groupLines([...state.groups.values()], queueNames(examination)),
    ...lightQueueLines(examination, all),
    `delayed messages: ${delayed}; half messages: ${state.held.halves.size}`,
    `meta keys: ${metaKinds([...state.meta.entries.keys()])}`,
    ...notes.map((note) => `note: ${note}`),
    ...damages.map((damage) => `DAMAGED: ${damage}`),
    damages.length === 0 ? 'sound' : `damaged in ${damages.length} places`,
  ];
}

function topicLines(topics: readonly TopicState[]): string[] {
  const lines = topics.flatMap(({ spec, queues }) => [
    `  ${spec.name}: ${spec.type}`,
    ...queues.map(
      ({ id, first, appended, bytes }) => `    queue ${id}: offsets ${first} to ${appended}, ${size(bytes)}`,
    ),
  ]);
  return [`topics: ${topics.length}`, ...lines];
}

function groupLines(groups: readonly GroupState[], names: ReadonlyMap<number, string>): string[] {
  const lines = groups.flatMap(({ spec, consumptions }) => [
    `  ${spec.name}: ${spec.order}`,
    ...[...consumptions].map(([serial, consumption]) => {
      const { floor, cursor, inflight, lag } = consumption.state(0);
      const progress = `acknowledged below ${floor}, read up to ${cursor}, ${inflight} out, lag ${lag}`;
      return `    ${names.get(serial) ?? serial}: ${progress}`;
    }),
  ]);
  return [`groups: ${groups.length}`, ...lines];
}

function lightQueueLines({ state }: Examination, all: boolean): string[] {
  const lightQueues = [...state.lightQueues.values()];
  const shown = all ? lightQueues : lightQueues.slice(0, LIGHT_QUEUES_SHOWN);
  const entries = lightQueues.reduce((sum, lightQueue) => sum + count(lightQueue, lightQueue.appended), 0);
  const rest = lightQueues.length - shown.length;
  return [
    `light queues: ${lightQueues.length}, ${entries} entries`,
    ...shown.map(({ name, first, appended }) => `  ${JSON.stringify(name)}: entries ${first} to ${appended}`),
    ...(rest > 0 ? [`  and ${rest} more, which --all lists`] : []),
  ];
}

function count({ first }: ReadableQueue, end: number): number {
  return end - first;
}

/** By serial. */
function queueNames({ state }: Examination): Map<number, string> {
  const names = new Map<number, string>();
  for (const { spec, queues } of state.topics.values()) {
    for (const { serial, id } of queues) names.set(serial, `${spec.name}, queue ${id}`);
  }
  for (const { serial, name } of state.lightQueues.values()) names.set(serial, `light queue ${JSON.stringify(name)}`);
  return names;
}

/** Keys are `kind/name`. */
function metaKinds(keys: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const key of keys) {
    const [kind = ''] = key.split('/', 1);
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return counts.size === 0 ? '0' : [...counts].map(([kind, sum]) => `${sum} ${kind}`).join(', ');
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 ** 2 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
