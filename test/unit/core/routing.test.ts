import t, { type Test } from 'tap';
import { openMemoryEngine } from '../../../adapters/storage/embedded/open.ts';
import { matchesAddress } from '../../../core/model/address.ts';
import { encodeMessage, type Message } from '../../../core/model/message.ts';
import { OutgoingMessage, type MessageEngine } from '../../../core/ports/message-engine.ts';
import { AddressRouter } from '../../../core/routing/address-router.ts';
import { AddressTrie } from '../../../core/routing/address-trie.ts';
import { ManualClock } from '../../helpers/manual-clock.ts';
import { Random, seeds } from '../../helpers/random.ts';
import { fail } from '../../helpers/fail.ts';
import { SILENT } from '../../helpers/silent-logger.ts';

/** The matching rules as a regular expression: slow, and written down another way. */
function naivelyMatches(filter: string, address: string): boolean {
  if (/^[+#]/.test(filter) && address.startsWith('$')) return false;
  const pattern = filter
    .split('/')
    .map((level) => (level === '+' ? '[^/]*' : level.replace('$', String.raw`\$`)))
    .join('/')
    .replace(/^#$/, '.*')
    .replace(/\/#$/, '(/.*)?');
  return new RegExp(`^${pattern}$`, 's').test(address);
}

function randomLevels(random: Random, wildcards: boolean): string {
  const words = wildcards ? ['a', 'b', '', '$x', '+', '+'] : ['a', 'b', '', '$x', 'c'];
  const levels = Array.from({ length: 1 + random.below(4) }, () => random.pick(words));
  if (wildcards && random.chance(0.3)) levels.push('#');
  return levels.join('/') || 'a';
}

void t.test('the trie and the matcher agree with a naive one', async (t) => {
  for (const seed of seeds(50)) {
    const random = new Random(seed);
    const trie = new AddressTrie<string>();
    const filters = new Set(Array.from({ length: 40 }, () => randomLevels(random, true)).concat('#'));
    for (const filter of filters) trie.set(filter, filter);
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 60; i++) {
        const address = randomLevels(random, false);
        const wanted = [...filters].filter((filter) => naivelyMatches(filter, address)).toSorted();
        const byMatcher = [...filters].filter((filter) => matchesAddress(filter, address)).toSorted();
        const hint = `seed ${seed}, ${address}`;
        if (trie.match(address).toSorted().join(' ') !== wanted.join(' '))
          t.same(trie.match(address).toSorted(), wanted, hint);
        if (byMatcher.join(' ') !== wanted.join(' ')) t.same(byMatcher, wanted, hint);
      }
      for (const filter of random.some([...filters], 0.5)) {
        trie.delete(filter);
        filters.delete(filter);
      }
      trie.delete('never/was/here');
      for (const filter of filters) if (trie.get(filter) !== filter) t.fail(`seed ${seed}: ${filter} is gone`);
    }
    for (const filter of filters) trie.delete(filter);
    if (trie.match('a').length > 0) t.fail(`seed ${seed}: something is left`);
  }
  t.pass();
});

async function setUp(t: Test) {
  const { engine } = openMemoryEngine(1 << 28);
  await engine.start({ clock: new ManualClock(), log: SILENT, onFailure: fail });
  const retention = { ms: 1e9, bytesPerQueue: 1 << 27 };
  await engine.ensureTopic({ name: 'a', type: 'MIXED', queues: 1, retention });
  t.teardown(() => engine.stop());
  const router = new AddressRouter(engine);
  const publish = (address: string, body: string) => publishAll(engine, router, address, [body]);
  return { engine, router, publish };
}

async function publishAll(engine: MessageEngine, router: AddressRouter, address: string, bodies: string[]) {
  const batch = bodies.map((body) => {
    const made = new OutgoingMessage('a', address, encodeMessage({ address, body: Buffer.from(body), bornAt: 1 }));
    made.queue = 0;
    made.lightQueues = router.route(address).lightQueues;
    return made;
  });
  await engine.send(batch);
}

function bodies(messages: readonly Message[]): string[] {
  return messages.map(({ body }) => body.toString());
}

void t.test('live subscribers get one copy while they are subscribed', async (t) => {
  const { router } = await setUp(t);
  const got: Message[] = [];
  const subscriber = { deliver: (message: Message) => void got.push(message) };
  const subscriptions = ['a/+', 'a/#', 'a/b'].map((filter) => router.subscribeLive(filter, subscriber));
  t.equal(router.route('a/b').live.length, 1);
  t.same(router.route('a/b').lightQueues, []);
  t.equal(router.route('c').live.length, 0);
  for (const subscription of subscriptions.slice(1)) subscription[Symbol.dispose]();
  t.equal(router.route('a/b').live.length, 1);
  t.equal(router.route('a/b/c').live.length, 0);
  subscriptions[0]![Symbol.dispose]();
  t.equal(router.route('a/b').live.length, 0);
});

void t.test('cursors of one filter share its light queue', async (t) => {
  const { engine, router, publish } = await setUp(t);
  let woken = 0;
  const first = await router.openCursor('a/#', () => woken++, { durable: false });
  await publish('a/1', 'one');
  const second = await router.openCursor('a/#', () => woken++, { durable: false });
  await publish('a/2', 'two');
  t.equal(woken, 0, 'nobody has come to the end yet');
  t.same(router.route('a/1').lightQueues, ['%TMP%a/#']);
  t.same(bodies(first.read(10, 1e6)), ['one', 'two']);
  t.same(bodies(second.read(10, 1e6)), ['two'], 'a cursor starts at the end');
  t.same([first.read(10, 1e6), second.read(10, 1e6)], [[], []]);
  await publish('b/1', 'elsewhere');
  t.equal(woken, 0);
  await publish('a/3', 'three');
  t.equal(woken, 2);
  t.same([bodies(first.read(1, 1e6)), bodies(second.read(1, 1e6))], [['three'], ['three']]);

  await first.close();
  await first.close();
  await publish('a/4', 'four');
  t.same(bodies(second.read(10, 1e6)), ['four']);
  await second.close();
  t.same(router.route('a/1').lightQueues, []);
  await t.rejects(engine.offsets({ kind: 'light', name: '%TMP%a/#' }), { code: 'TOPIC_NOT_FOUND' });

  const third = await router.openCursor('a/#', () => woken++, { durable: false });
  t.same(third.read(10, 1e6), []);
  await publish('a/5', 'five');
  t.equal(woken, 3);
  t.same(bodies(third.read(10, 1e6)), ['five']);
  await third.close();
});

void t.test('closing the last cursor while another opens leaves a working light queue', async (t) => {
  const { router, publish } = await setUp(t);
  const first = await router.openCursor('a/#', () => {}, { durable: false });
  const [, second] = await Promise.all([first.close(), router.openCursor('a/#', () => {}, { durable: false })]);
  await publish('a/1', 'one');
  t.same(bodies(second.read(10, 1e6)), ['one']);
});

void t.test('light queues are trimmed behind the slowest cursor', async (t) => {
  const { engine, router } = await setUp(t);
  const [fast, slow] = [
    await router.openCursor('a', () => {}, { durable: false }),
    await router.openCursor('a', () => {}, { durable: false }),
  ];
  const source = { kind: 'light', name: '%TMP%a' } as const;
  for (let i = 0; i < 10; i++) {
    await publishAll(
      engine,
      router,
      'a',
      Array.from({ length: 1_000 }, (_, j) => `${i * 1_000 + j}`),
    );
  }
  while (fast.read(500, 1e6).length > 0);
  t.match(await engine.offsets(source), { first: 0, next: 10_000 });
  const seen: string[] = [];
  for (let read = bodies(slow.read(500, 1e6)); read.length > 0; read = bodies(slow.read(500, 1e6))) seen.push(...read);
  t.equal(seen.length, 10_000);
  t.ok(seen.every((body, i) => body === `${i}`));
  const { first } = await engine.offsets(source);
  t.ok(first >= 4_096 && first <= 10_000, `trimmed to ${first}`);
});

void t.test('an engine that answers later', async (t) => {
  const { engine, router, publish } = await setUp(t);
  const read = engine.read.bind(engine);
  let answer: (() => void) | undefined;
  // What it answers is what it knew when it was asked.
  const later = (...asked: Parameters<typeof read>) => {
    const result = read(...asked);
    return new Promise((resolve) => (answer = () => resolve(result)));
  };
  Object.assign(engine, { read: later });
  let ready = (): void => {};
  const cursor = await router.openCursor('a/#', () => ready(), { durable: false });
  const readWhenReady = async (meanwhile: () => Promise<void>) => {
    const isReady = new Promise<void>((resolve) => (ready = resolve));
    t.same(cursor.read(10, 1e6), []);
    await meanwhile();
    answer!();
    await isReady;
  };
  await publish('a/1', 'one');
  await readWhenReady(async () => {});
  t.same(bodies(cursor.read(10, 1e6)), ['one']);
  // The answer is empty, but is so no more when it comes.
  await readWhenReady(() => publish('a/2', 'two'));
  await readWhenReady(async () => {});
  t.same(bodies(cursor.read(10, 1e6)), ['two']);
});
