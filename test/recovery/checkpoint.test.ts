import t from 'tap';
import { addGroup, addTopic, NEVER_ABORTED, outgoing, readUpTo, request } from '../contract/fixture.ts';
import { FaultDisk } from '../helpers/fault-disk.ts';
import { startOnDisk, type DiskEngine } from '../helpers/fault-engine.ts';
import { MicrotaskClock } from '../helpers/manual-clock.ts';
import { Random, testSeed } from '../helpers/random.ts';

/**
 * A checkpoint is written in several parts, and the engine goes on meanwhile. Here it ends at every one of its operations,
 * one after the other; the next start has to find what was there.
 */
const seed = testSeed();

interface Story {
  readonly name: string;
  /** Up to the checkpoint before. */
  readonly prepare: (running: DiskEngine) => Promise<void>;
  /** What the checkpoint finds. */
  readonly change: (running: DiskEngine) => Promise<void>;
  /** While it runs; may never end. */
  readonly meanwhile: (running: DiskEngine) => Promise<unknown>;
  readonly check: (running: DiskEngine) => Promise<string>;
}

async function play({ prepare, change, meanwhile, check }: Story, mutation: number): Promise<'crashed' | 'through'> {
  const disk = new FaultDisk(new Random(seed + mutation));
  const first = await startOnDisk(disk, new MicrotaskClock(), { checkpointBytes: 1 << 30 });
  await prepare(first);
  await first.storage.checkpoint();
  await change(first);
  disk.faults.crashAtMutation = disk.life.mutations + mutation;
  const checkpoint = first.storage.checkpoint().then(() => 'through' as const);
  const rest = meanwhile(first).then(() => checkpoint);
  const ended = await Promise.race([rest, disk.life.crashed.then(() => 'crashed' as const)]);
  const second = await startOnDisk(disk.crash(), new MicrotaskClock(first.clock.now()));
  const problem = await check(second);
  if (problem !== '') throw new Error(problem);
  await second.engine.stop();
  return ended;
}

function run(story: Story): void {
  void t.test(`a checkpoint ends at any moment: ${story.name}`, async (t) => {
    for (let mutation = 1; ; mutation++) {
      try {
        if ((await play(story, mutation)) === 'through') return void t.pass(`${mutation} operations`);
      } catch (error) {
        t.comment(`GANTRY_SEED=${seed} repeats this; it ended at operation ${mutation}`);
        throw error;
      }
    }
  });
}

const ORDERS = { kind: 'topic', topic: 'orders', queue: 0 } as const;

function bodies(from: number, to: number, bytes: number) {
  return Array.from({ length: to - from }, (_, i) => {
    const id = `${from + i} `;
    return outgoing('orders', id, { body: Buffer.alloc(bytes, id) });
  });
}

async function numbersIn({ engine }: DiskEngine): Promise<string> {
  const { messages } = await readUpTo(engine, ORDERS, 0, 1000);
  return messages.map(({ body }) => Number.parseInt(body.toString(), 10)).join();
}

function range(from: number, to: number): string {
  return Array.from({ length: to - from }, (_, i) => from + i).join();
}

run({
  name: 'messages in files and beside it',
  async prepare({ engine }) {
    await addTopic(engine, 'orders');
    await engine.send(bodies(0, 3, 3_000));
  },
  async change({ engine, meta }) {
    await engine.send(bodies(3, 8, 3_000));
    await engine.send(bodies(8, 10, 10));
    for (let i = 0; i < 10; i++) await meta.put(`k/${i}`, Buffer.from(`${i}`));
  },
  meanwhile: ({ engine }) => engine.send(bodies(10, 12, 3_000)),
  async check(running) {
    const found = await numbersIn(running);
    // The last ones were not confirmed where the crash came first.
    if (![range(0, 10), range(0, 12)].includes(found)) return `found ${found}`;
    const keys = (await running.meta.list('k/')).map(({ key }) => key.slice(2));
    return keys.join() === range(0, 10) ? '' : `meta ${keys.join()}`;
  },
});

run({
  name: 'retention goes on',
  async prepare({ engine }) {
    await addTopic(engine, 'orders', 1, { ms: 1e9, bytesPerQueue: 20_000 });
    await engine.send(bodies(0, 6, 3_000));
  },
  async change({ engine, meta }) {
    await engine.send(bodies(6, 7, 100));
    for (let i = 0; i < 10; i++) await meta.put(`k/${i}`, Buffer.from(`${i}`));
  },
  async meanwhile({ engine }) {
    for (let i = 7; i < 14; i++) await engine.send(bodies(i, i + 1, 3_000));
  },
  async check(running) {
    const { first, next } = await running.engine.offsets(ORDERS);
    const found = await numbersIn(running);
    if (next < 7) return `ends at ${next}`;
    return found === range(first, next) ? '' : `found ${found} instead of ${first} to ${next}`;
  },
});

run({
  name: 'a topic is changed, deleted and made again; so is a group',
  async prepare({ engine }) {
    await addTopic(engine, 'orders');
    await addTopic(engine, 'other');
    await addGroup(engine, 'workers');
    await engine.send(bodies(0, 5, 3_000));
    const [first] = await engine.receive(request('workers', 'orders', { max: 1 }), NEVER_ABORTED);
    await engine.settle([{ receipt: first!.receipt, action: { kind: 'ack' } }]);
  },
  async change({ engine, meta }) {
    await addTopic(engine, 'orders', 2);
    await addGroup(engine, 'workers', 'fifo');
    await engine.send(bodies(5, 6, 3_000));
    await engine.deleteTopic('orders');
    await engine.deleteGroup('workers');
    await engine.deleteTopic('other');
    await addTopic(engine, 'other');
    await addGroup(engine, 'workers');
    for (let i = 0; i < 10; i++) await meta.put(`k/${i}`, Buffer.from(`${i}`));
  },
  async meanwhile({ engine }) {
    await addTopic(engine, 'orders');
    await engine.send(bodies(100, 102, 3_000));
  },
  async check(running) {
    await addTopic(running.engine, 'orders');
    const found = await numbersIn(running);
    if (!['', range(100, 102)].includes(found)) return `found ${found}`;
    const deliveries = await running.engine.receive(request('workers', 'orders'), NEVER_ABORTED);
    const got = deliveries.map(({ message }) => Number.parseInt(message.body.toString(), 10)).join();
    return got === found ? '' : `got ${got} of ${found}`;
  },
});

const LIGHT = { kind: 'light', name: 'light' } as const;

run({
  name: 'a light queue is trimmed, deleted and made again',
  async prepare({ engine }) {
    await addTopic(engine, 'orders');
    for (const name of ['light', 'trimmed']) await engine.ensureLightQueue(name, { durable: true });
    await engine.send(bodies(0, 5, 10).map((one) => Object.assign(one, { lightQueues: ['light', 'trimmed'] })));
  },
  async change({ engine, meta }) {
    engine.trimLightQueue('trimmed', 3);
    await engine.deleteLightQueue('light');
    await engine.ensureLightQueue('light', { durable: true });
    await engine.send(bodies(5, 8, 10).map((one) => Object.assign(one, { lightQueues: ['light', 'trimmed'] })));
    for (let i = 0; i < 10; i++) await meta.put(`k/${i}`, Buffer.from(`${i}`));
  },
  async meanwhile({ engine }) {
    engine.trimLightQueue('trimmed', 4);
    await engine.ensureLightQueue('another', { durable: true });
  },
  async check({ engine }) {
    const light = await readUpTo(engine, LIGHT, 0, 100);
    const trimmed = await readUpTo(engine, { kind: 'light', name: 'trimmed' }, 0, 100);
    const texts = [light, trimmed].map(({ messages }) =>
      messages.map(({ body }) => Number.parseInt(body.toString(), 10)),
    );
    const isRight = texts[0]!.join() === range(5, 8) && [range(3, 8), range(4, 8)].includes(texts[1]!.join());
    return isRight ? '' : `found ${texts.join(' and ')}`;
  },
});

void t.test(
  'what was out when the engine ended comes before what never was, also where only that is in memory',
  async (t) => {
    const disk = new FaultDisk(new Random(seed));
    const first = await startOnDisk(disk, new MicrotaskClock(), { checkpointBytes: 1 << 30 });
    await addTopic(first.engine, 'orders');
    await addGroup(first.engine, 'workers');
    await first.engine.send(bodies(0, 4, 3_000));
    const read = { source: ORDERS, leaseMs: 60_000 };
    const out = await first.engine.receive(request('workers', 'orders', { ...read, max: 2 }), NEVER_ABORTED);
    t.equal(out.length, 2);
    await first.storage.checkpoint();
    // Behind the checkpoint: these are read at the start, the others when they are wanted.
    await first.engine.send(bodies(4, 6, 3_000));
    const second = await startOnDisk(disk.crash(), new MicrotaskClock(first.clock.now() + 61_000), {
      checkpointBytes: 1 << 30,
    });
    const numbers: number[] = [];
    while (numbers.length < 6) {
      const got = await second.engine.receive(request('workers', 'orders', { ...read, max: 10 }), NEVER_ABORTED);
      for (const { message } of got) numbers.push(Number.parseInt(message.body.toString(), 10));
    }
    t.same(numbers, [0, 1, 2, 3, 4, 5]);
    await second.engine.stop();
  },
);

/** @returns whether the disk was full */
async function playFull(roomBytes: number, mutation: number): Promise<{ wasFull: boolean; ended: string }> {
  const disk = new FaultDisk(new Random(seed));
  const first = await startOnDisk(disk, new MicrotaskClock(), { checkpointBytes: 1 << 30 });
  await addTopic(first.engine, 'orders');
  await addTopic(first.engine, 'others');
  for (let i = 0; i < 3; i++) {
    // Another queue is written first.
    await first.engine.send([outgoing('others', `${i}`)]);
    await first.engine.send(bodies(i, i + 1, 100));
    if (i < 2) await first.storage.checkpoint();
  }
  for (let i = 0; i < 4; i++) await first.meta.put(`k/${i}`, Buffer.from(`${i}`));
  disk.faults.bytesMax = disk.life.usedBytes + roomBytes;
  const wasFull = await first.storage.checkpoint().then(
    () => false,
    () => true,
  );
  disk.faults.bytesMax = Infinity;
  disk.faults.crashAtMutation = disk.life.mutations + mutation;
  const again = first.storage.checkpoint().then(() => 'through');
  const ended = await Promise.race([again, disk.life.crashed.then(() => 'crashed')]);
  const second = await startOnDisk(disk.crash(), new MicrotaskClock(first.clock.now()));
  const found = await numbersIn(second);
  if (found !== range(0, 3)) throw new Error(`found ${found}`);
  await second.engine.stop();
  return { wasFull, ended };
}

void t.test(
  'a checkpoint that a full disk refused is tried again, and ends at any moment: blocks are merged',
  async (t) => {
    let refused = 0;
    for (let roomBytes = 0, wasFull = true; wasFull; roomBytes += 32) {
      for (let mutation = 1, ended = ''; ended !== 'through'; mutation++) {
        try {
          ({ wasFull, ended } = await playFull(roomBytes, mutation));
        } catch (error) {
          t.comment(
            `GANTRY_SEED=${seed} repeats this; with room for ${roomBytes} bytes, ended at operation ${mutation}`,
          );
          throw error;
        }
        if (wasFull) refused++;
      }
    }
    t.ok(refused > 20, `${refused} times`);
  },
);
