/** One measurement of `npm run bench -- memory`; needs --expose-gc. */
import { GantryStore } from './gantry-store.ts';
import { readPlan, serve } from './child.ts';
import { StorageLoad } from './storage-load.ts';
import { queueCount } from './store.ts';

export type MemoryPlan = { kind: 'flow' | 'backlog'; dir: string; messages: number; bodyBytes: number };

export type Sample = { messages: number; rssBytes: number; heapUsedBytes: number; externalBytes: number };
export type FlowFigures = { samples: Sample[]; elapsedMs: number };
export type BacklogFigures = {
  before: Sample;
  after: Sample;
  sendMs: number;
  readMs: number;
  consumeMs: number;
};

const producers = 1000;
const consumers = 2 * queueCount;
const samplesWanted = 50;
const readMax = 256;
const readBytesMax = 2 ** 20;

serve(run(readPlan() as MemoryPlan));

async function run(plan: MemoryPlan): Promise<FlowFigures | BacklogFigures> {
  const { dir, bodyBytes } = plan;
  const bytesPerQueue = plan.kind === 'flow' ? 64 * 2 ** 20 : 2 ** 40;
  const store = await GantryStore.open({ dir, flush: 'sync', bodyBytes, bytesPerQueue });
  const figures = plan.kind === 'flow' ? await flow(store, plan.messages) : await backlog(store, plan.messages);
  await store.close();
  return figures;
}

/** Messages pass through: sent, received, acknowledged. */
async function flow(store: GantryStore, messages: number): Promise<FlowFigures> {
  const samples: Sample[] = [];
  let next = messages / samplesWanted;
  // By progress, not by time: at the same places in every run.
  const onAcked = (): void => {
    if (load.acked < next) return;
    samples.push(sample(load.acked));
    next += messages / samplesWanted;
  };
  const options = { producers, consumers, backlogMax: 16_384, messagesMax: messages, onAcked };
  const load = new StorageLoad(store, options);
  const elapsedMs = await timed(() => {
    load.start();
    return load.drained();
  });
  return { samples, elapsedMs };
}

async function backlog(store: GantryStore, messages: number): Promise<BacklogFigures> {
  const before = sample(0);
  const sending = new StorageLoad(store, { producers, consumers: 0, backlogMax: Infinity, messagesMax: messages });
  const sendMs = await timed(() => {
    sending.start();
    return sending.drained();
  });
  const after = sample(messages);
  const readMs = await timed(() => readAll(store, messages));
  const consuming = new StorageLoad(store, { producers: 0, consumers, backlogMax: Infinity, messagesMax: messages });
  consuming.sent = messages;
  consuming.stored = messages;
  const consumeMs = await timed(() => {
    consuming.start();
    return consuming.drained();
  });
  return { before, after, sendMs, readMs, consumeMs };
}

/** As cursors and browsers read: from the first message of each queue to its last, all queues at once. */
async function readAll({ engine, sources }: GantryStore, messages: number): Promise<void> {
  const counts = await Promise.all(
    sources.map(async (source) => {
      const { first, next: end } = await engine.offsets(source);
      let read = 0;
      for (let from = first; from < end;) {
        const result = await engine.read(source, from, readMax, readBytesMax);
        read += result.messages.length;
        from = result.next;
      }
      return read;
    }),
  );
  const read = counts.reduce((sum, one) => sum + one, 0);
  if (read !== messages) throw new Error(`${read} of ${messages} messages were read`);
}

async function timed(what: () => Promise<void>): Promise<number> {
  const startedAtMs = performance.now();
  await what();
  return performance.now() - startedAtMs;
}

/** Of what is in use: garbage is collected first. Resident memory is what the process has taken from the machine so far. */
function sample(messages: number): Sample {
  gc!();
  const { rss, heapUsed, external } = process.memoryUsage();
  // Buffers outside the heap (arrayBuffers) are part of external.
  return { messages, rssBytes: rss, heapUsedBytes: heapUsed, externalBytes: external };
}
