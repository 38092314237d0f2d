/** One measurement of `npm run bench -- scale`; needs --expose-gc. */
import { OutgoingMessage, type MessageEngine } from '../../core/ports/message-engine.ts';
import { readPlan, reportAndDie, serve } from './child.ts';
import { openEngine } from './engine.ts';
import { check, messagePool } from './gantry-store.ts';
import { median } from './table.ts';

export type ScalePlan = { dir: string } & (
  | { kind: 'fill'; bytes: number; checkpoints: boolean }
  | { kind: 'names'; topics: number; queuesPerTopic: number; groups: number }
  | { kind: 'light'; count: number }
  | { kind: 'start' }
);

export type FillFigures = { messages: number; bytes: number };
export type StartFigures = { startMs: number; memoryBytes: number };
export type LightFigures = { memoryBytes: number; publishUs: number };

const batchMessages = 1000;
const bodyBytes = 256;
/** Next to nothing, so that what is measured is what the light queues cost. */
const lightBodyBytes = 1;
/** Until the engine counts what it writes: a body and what goes with it. */
const assumedBytesPerMessage = 300;
const publishSeries = 10;
const publishBatches = 200;
const publishBatchMessages = 100;
/** Names are made known side by side, so that they share commits. */
const namesAtOnce = 1000;
const retention = { ms: 72 * 3_600_000, bytesPerQueue: 2 ** 40 };
const plan = readPlan() as ScalePlan;
const pool = messagePool(plan.kind === 'light' ? lightBodyBytes : bodyBytes);

serve(run(plan));

function run(plan: ScalePlan): Promise<unknown> {
  switch (plan.kind) {
    case 'fill':
      return fill(plan);
    case 'names':
      return makeNames(plan);
    case 'light':
      return makeLightQueues(plan.dir, plan.count);
    case 'start':
      return start(plan.dir);
  }
}

/** Writes so many bytes and dies, so that the next start has to recover them. */
async function fill({ dir, bytes, checkpoints }: ScalePlan & { kind: 'fill' }): Promise<never> {
  const options = checkpoints ? {} : { checkpointBytes: 2 ** 50 };
  const { engine, statistics } = await openEngine(dir, { flush: 'none', ...options });
  await addTopic(engine, 'fill', 8);
  let messages = 0;
  const written = (): number => statistics()?.commitBytes ?? messages * assumedBytesPerMessage;
  while (written() < bytes) {
    await send(engine, 'fill', batchMessages, (outgoing, i) => (outgoing.queue = i % 8));
    messages += batchMessages;
  }
  return reportAndDie({ messages, bytes: written() } satisfies FillFigures);
}

/** Every queue holds a message, and every group has acknowledged one. */
async function makeNames(plan: ScalePlan & { kind: 'names' }): Promise<void> {
  const { engine } = await openEngine(plan.dir);
  const topic = (i: number): string => `topic-${i % plan.topics}`;
  const group = (i: number): string => `group-${i}`;
  await manyTimes(plan.topics, async (i) => {
    await addTopic(engine, topic(i), plan.queuesPerTopic);
    await send(engine, topic(i), plan.queuesPerTopic, (outgoing, queue) => (outgoing.queue = queue));
  });
  await manyTimes(plan.groups, async (i) => {
    const retry = { attemptsMax: 17, backoff: { kind: 'listed', delaysMs: [1000] } } as const;
    await engine.ensureGroup({ name: group(i), order: 'concurrent', retry });
    const source = { kind: 'topic', topic: topic(i) } as const;
    const request = { group: group(i), source, max: 1, bytesMax: 1 << 20, waitMs: 0, leaseMs: 60_000 };
    const deliveries = await engine.receive(request, new AbortController().signal);
    check(await engine.settle(deliveries.map(({ receipt }) => ({ receipt, action: { kind: 'ack' } }))));
  });
  await engine.stop();
}

/** Each holds one entry; then one of them is published to. */
async function makeLightQueues(dir: string, count: number): Promise<LightFigures> {
  const { engine } = await openEngine(dir);
  const name = (i: number): string => `%LMQ%devices/${i}/commands`;
  await addTopic(engine, 'devices', 4);
  const before = memoryBytes();
  await manyTimes(count, (i) => engine.ensureLightQueue(name(i), { durable: true }));
  for (let at = 0; at < count; at += batchMessages) {
    await send(engine, 'devices', Math.min(batchMessages, count - at), (outgoing, i) => {
      outgoing.queue = i % 4;
      outgoing.lightQueues = [name(at + i)];
    });
  }
  const after = memoryBytes();
  const publishUs = await publishTo(engine, name(Math.floor(count / 2)));
  await engine.stop();
  return { memoryBytes: after - before, publishUs };
}

/** CPU time of a message to one light queue. */
async function publishTo(engine: MessageEngine, lightQueue: string): Promise<number> {
  const lightQueues = [lightQueue];
  const costsUs: number[] = [];
  for (let series = 0; series < publishSeries; series++) {
    const before = process.cpuUsage();
    for (let batch = 0; batch < publishBatches; batch++) {
      await send(engine, 'devices', publishBatchMessages, (outgoing, i) => {
        outgoing.queue = i % 4;
        outgoing.lightQueues = lightQueues;
      });
    }
    const { user, system } = process.cpuUsage(before);
    costsUs.push((user + system) / (publishBatches * publishBatchMessages));
  }
  // Who made many light queues has compiled more by now: only the last series compare.
  return median(costsUs.slice(publishSeries / 2));
}

async function start(dir: string): Promise<StartFigures> {
  const before = memoryBytes();
  const startedAtMs = performance.now();
  const { engine } = await openEngine(dir);
  const startMs = performance.now() - startedAtMs;
  const memory = memoryBytes() - before;
  await engine.stop();
  return { startMs, memoryBytes: memory };
}

function addTopic(engine: MessageEngine, name: string, queues: number): Promise<void> {
  return engine.ensureTopic({ name, type: 'MIXED', queues, retention });
}

async function send(
  engine: MessageEngine,
  topic: string,
  count: number,
  place: (outgoing: OutgoingMessage, i: number) => void,
): Promise<void> {
  const batch = Array.from({ length: count }, (_, i) => {
    const outgoing = new OutgoingMessage(topic, 'bench/a', pool[i % pool.length]!);
    place(outgoing, i);
    return outgoing;
  });
  check(await engine.send(batch));
}

async function manyTimes(count: number, what: (i: number) => Promise<void>): Promise<void> {
  for (let at = 0; at < count; at += namesAtOnce) {
    await Promise.all(Array.from({ length: Math.min(namesAtOnce, count - at) }, (_, i) => what(at + i)));
  }
}

function memoryBytes(): number {
  gc!();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
