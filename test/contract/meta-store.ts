import type { Test } from 'tap';
import type { MetaEvent, MetaStore } from '../../core/ports/meta-store.ts';
import { Random, seeds } from '../helpers/random.ts';
import type { TestClock } from './fixture.ts';

export interface RunningMetaStore {
  readonly meta: MetaStore;
  readonly clock: TestClock;
  stop(): Promise<void>;
}

/** What the suite needs to know about a meta store. */
export interface MetaStoreFixture {
  readonly name: string;
  /** An empty one. */
  create(): Promise<RunningMetaStore>;
  /** Ends it, one way or the other, lets time pass, and starts it again; those that keep nothing leave it out. */
  readonly restart?: (running: RunningMetaStore, random: Random, awayMs: number) => Promise<RunningMetaStore>;
  readonly histories: number;
}

const bytes = (text: string): Buffer => Buffer.from(text);
const textOf = (value: Uint8Array | undefined): string | undefined => value && Buffer.from(value).toString();

async function keysOf(meta: MetaStore, prefix = ''): Promise<string[]> {
  return (await meta.list(prefix)).map(({ key }) => key);
}

function summary(events: readonly MetaEvent[]): string[] {
  return events.map((event) => (event.kind === 'put' ? `+${event.entry.key}` : `-${event.key}`));
}

/** The suite every meta store has to pass. */
export function runMetaStoreContract(t: Test, fixture: MetaStoreFixture): void {
  const check = (name: string, run: (t: Test, made: RunningMetaStore) => Promise<RunningMetaStore | void>) =>
    void t.test(`${fixture.name}: ${name}`, async (t) => {
      const made = await fixture.create();
      const last = await run(t, made);
      await (last ?? made).stop();
    });

  check('entries, revisions and conditions', async (t, { meta }) => {
    t.equal(await meta.get('a/1'), undefined);
    const value = bytes('one');
    const first = await meta.put('a/1', value, { ifRevision: 'absent' });
    value.fill(0);
    t.match(await meta.get('a/1'), { key: 'a/1', revision: first });
    t.equal(textOf((await meta.get('a/1'))!.value), 'one', 'the value is copied');
    t.equal(await meta.put('a/1', bytes('x'), { ifRevision: 'absent' }), undefined);
    const second = await meta.put('a/1', bytes('two'), { ifRevision: first! });
    t.ok(second! > first!);
    t.equal(await meta.put('a/1', bytes('x'), { ifRevision: first! }), undefined);
    t.equal(await meta.put('none', bytes('x'), { ifRevision: first! }), undefined);
    t.equal(await meta.put('none', bytes('x'), { ifRevision: 0 }), undefined);
    t.equal(await meta.delete('a/1', first), false);
    t.equal(textOf((await meta.get('a/1'))?.value), 'two');
    t.equal(await meta.delete('a/1', second), true);
    t.equal(await meta.delete('a/1'), false);
    const third = await meta.put('a/1', bytes('three'), { ifRevision: 'absent' });
    t.ok(third! > second!, 'a revision never comes twice');
    const large = Buffer.alloc(200_000, 'é');
    await meta.put('large/é 𝄞', large);
    await meta.put('empty', Buffer.alloc(0));
    t.ok(large.equals((await meta.get('large/é 𝄞'))!.value));
    t.equal((await meta.get('empty'))!.value.length, 0);
  });

  check('of those who change an entry at the same time one wins', async (t, { meta }) => {
    const race = async (ifRevision: number | 'absent') => {
      const revisions = await Promise.all(
        Array.from({ length: 10 }, (_, i) => meta.put('lock', bytes(`${i}`), { ifRevision })),
      );
      const won = revisions.filter((revision) => revision !== undefined);
      t.equal(won.length, 1);
      t.equal(textOf((await meta.get('lock'))!.value), `${revisions.indexOf(won[0])}`);
      return won[0]!;
    };
    const first = await race('absent');
    const second = await race(first);
    const deleted = await Promise.all([meta.delete('lock', second), meta.delete('lock', second)]);
    t.same(deleted.toSorted(), [false, true]);
  });

  check('lists are sorted and by prefix', async (t, { meta }) => {
    for (const key of ['b/1', 'a/2', 'a/10', 'ab', 'a/1', 'a']) await meta.put(key, bytes(key));
    t.same(await keysOf(meta, 'a/'), ['a/1', 'a/10', 'a/2']);
    t.same(await keysOf(meta), ['a', 'a/1', 'a/10', 'a/2', 'ab', 'b/1']);
    t.same(await keysOf(meta, 'c'), []);
  });

  check('a watcher sees each change below its prefix, in order, when it is done', async (t, { meta }) => {
    const events: MetaEvent[] = [];
    const all: MetaEvent[] = [];
    const watch = meta.watch('a/', (event) => void events.push(event));
    const watchAll = meta.watch('', (event) => void all.push(event));
    const changes = [meta.put('a/1', bytes('1')), meta.put('b/1', bytes('1')), meta.put('a/1', bytes('2'))];
    t.same(events, [], 'not before it is durable');
    const revisions = await Promise.all(changes);
    await meta.put('a/1', bytes('no'), { ifRevision: 'absent' });
    await meta.delete('a/1', revisions[0]);
    await meta.delete('a/1');
    t.same(summary(events), ['+a/1', '+a/1', '-a/1']);
    t.same(summary(all), ['+a/1', '+b/1', '+a/1', '-a/1']);
    t.same(
      events.map((event) => (event.kind === 'put' ? [event.entry.revision, textOf(event.entry.value)] : [])),
      [[revisions[0], '1'], [revisions[2], '2'], []],
    );
    watch[Symbol.dispose]();
    await meta.put('a/2', bytes('x'));
    t.equal(events.length, 3);
    t.equal(all.length, 5);
    watchAll[Symbol.dispose]();
  });

  check('entries end with their time, unless written again', async (t, { meta, clock }) => {
    const events: MetaEvent[] = [];
    meta.watch('a/', (event) => void events.push(event));
    for (const key of ['a/1', 'a/2', 'a/3', 'b/1']) await meta.put(key, bytes('x'), { ttlMs: 1_000 });
    await clock.advance(999);
    t.equal((await keysOf(meta)).length, 4);
    await meta.put('a/2', bytes('y'));
    await meta.delete('a/3');
    await clock.advance(1);
    t.same(await keysOf(meta), ['a/2']);
    t.equal(await meta.delete('a/1'), false);
    t.ok(await meta.put('b/1', bytes('z'), { ifRevision: 'absent', ttlMs: 5_000 }));
    t.same(summary(events), ['+a/1', '+a/2', '+a/3', '+a/2', '-a/3', '-a/1']);
    await clock.advance(4_999);
    t.same(await keysOf(meta), ['a/2', 'b/1'], 'no old timer is left behind');
    await clock.advance(1);
    t.same(await keysOf(meta), ['a/2']);
  });

  const { restart } = fixture;
  if (restart === undefined) return;

  check('a restart keeps entries, conditions and times', async (t, made) => {
    const kept = await made.meta.put('kept', bytes('x'));
    await made.meta.put('short', bytes('x'), { ttlMs: 1_000 });
    await made.meta.put('long', bytes('x'), { ttlMs: 60_000 });
    const gone = await made.meta.put('gone', bytes('x'));
    await made.meta.delete('gone');
    const random = new Random(1);
    const second = await restart(made, random, 5_000);
    t.same(await keysOf(second.meta), ['kept', 'long'], 'what ended meanwhile is gone');
    t.ok((await second.meta.put('gone', bytes('y'), { ifRevision: 'absent' }))! > gone!, 'revisions go on');
    t.ok((await second.meta.put('short', bytes('y'), { ifRevision: 'absent' }))! > gone!);
    const changed = await second.meta.put('kept', bytes('y'), { ifRevision: kept! });
    t.ok(changed! > kept!);
    const events: MetaEvent[] = [];
    second.meta.watch('', (event) => void events.push(event));
    await second.clock.advance(54_999);
    t.same(summary(events), []);
    await second.clock.advance(1);
    t.same(summary(events), ['-long']);
    await second.meta.delete('gone');
    await second.meta.delete('short');
    // The latest revisions were of entries that are gone.
    const third = await restart(second, random, 0);
    const revision = await third.meta.put('gone', bytes('z'));
    const again = await restart(third, random, 0);
    t.ok((await again.meta.put('gone', bytes('z')))! > revision!);
    t.ok(revision! > changed! + 3, 'deletions have revisions, too');
    return again;
  });

  void t.test(`${fixture.name}: random histories with restarts`, async (t) => {
    for (const seed of seeds(fixture.histories)) {
      const problem = await playHistory(fixture, restart, new Random(seed));
      if (problem === undefined) continue;
      t.comment(`GANTRY_SEED=${seed} repeats this`);
      return void t.fail(problem);
    }
    t.pass(`${fixture.histories} histories`);
  });
}

interface Known {
  readonly value: string;
  readonly revision: number;
  readonly expiresAt: number;
}

/** @returns what went wrong */
async function playHistory(
  fixture: MetaStoreFixture,
  restart: NonNullable<MetaStoreFixture['restart']>,
  random: Random,
): Promise<string | undefined> {
  let running = await fixture.create();
  const model = new Map<string, Known>();
  let highest = 0;
  for (let step = 0; step < 80; step++) {
    const { meta, clock } = running;
    const key = `k/${random.below(5)}`;
    const known = model.get(key);
    const dice = random.below(100);
    if (dice < 50) {
      const ttlMs = random.chance(0.3) ? random.pick([1, 1_000, 10_000]) : undefined;
      const ifRevision = random.pick([undefined, 'absent' as const, known?.revision ?? 1, highest]);
      const value = 'x'.repeat(random.pick([0, 5, 2_000])) + step;
      const options = { ...(ttlMs && { ttlMs }), ...(ifRevision !== undefined && { ifRevision }) };
      const revision = await meta.put(key, bytes(value), options);
      const holds = ifRevision === undefined || (ifRevision === 'absent' ? !known : known?.revision === ifRevision);
      if ((revision !== undefined) !== holds) return `step ${step}: put of ${key} gave ${revision}`;
      if (revision === undefined) continue;
      if (revision <= highest) return `step ${step}: revision ${revision} after ${highest}`;
      highest = revision;
      model.set(key, { value, revision, expiresAt: ttlMs === undefined ? Infinity : clock.now() + ttlMs });
    } else if (dice < 70) {
      const isDeleted = await meta.delete(key);
      if (isDeleted !== (known !== undefined)) return `step ${step}: delete of ${key} gave ${isDeleted}`;
      model.delete(key);
    } else if (dice < 85) await clock.advance(random.pick([1, 500, 5_000]));
    else running = await restart(running, random, random.pick([0, 5_000]));
    for (const [name, { expiresAt }] of model) if (expiresAt <= running.clock.now()) model.delete(name);
    const found = (await running.meta.list('k/')).map(({ key, value, revision }) => [key, textOf(value), revision]);
    const entries = [...model].toSorted(([a], [b]) => (a < b ? -1 : 1));
    const wanted = entries.map(([key, { value, revision }]) => [key, value, revision]);
    if (JSON.stringify(found) !== JSON.stringify(wanted)) {
      return `step ${step}: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`;
    }
  }
  await running.stop();
  return undefined;
}
