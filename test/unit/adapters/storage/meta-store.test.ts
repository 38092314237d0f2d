import t from 'tap';
import { openMemoryEngine } from '../../../../adapters/storage/embedded/open.ts';
import type { MetaEvent, MetaStore } from '../../../../core/ports/meta-store.ts';
import { fail } from '../../../helpers/fail.ts';
import { ManualClock } from '../../../helpers/manual-clock.ts';
import { SILENT } from '../../../helpers/silent-logger.ts';

async function openStore(clock = new ManualClock()): Promise<MetaStore> {
  const { engine, meta } = openMemoryEngine(1 << 20);
  await engine.start({ clock, log: SILENT, onFailure: fail });
  return meta;
}

const bytes = (text: string): Buffer => Buffer.from(text);
const textOf = (value: Uint8Array): string => Buffer.from(value).toString();

void t.test('entries, revisions and conditions', async (t) => {
  const store = await openStore();
  t.equal(await store.get('a/1'), undefined);
  const value = bytes('one');
  const first = await store.put('a/1', value, { ifRevision: 'absent' });
  value.fill(0);
  t.equal(textOf((await store.get('a/1'))!.value), 'one', 'the value is copied');
  t.equal(await store.put('a/1', bytes('x'), { ifRevision: 'absent' }), undefined);
  const second = await store.put('a/1', bytes('two'), { ifRevision: first! });
  t.ok(second! > first!);
  t.equal(await store.put('a/1', bytes('x'), { ifRevision: first! }), undefined);
  t.equal(await store.put('none', bytes('x'), { ifRevision: first! }), undefined);
  t.equal(await store.delete('a/1', first), false);
  t.equal(await store.delete('a/1', second), true);
  t.equal(await store.delete('a/1'), false);
  const third = await store.put('a/1', bytes('three'), { ifRevision: 'absent' });
  t.ok(third! > second!, 'a revision never comes twice');
});

void t.test('lists are sorted and by prefix', async (t) => {
  const store = await openStore();
  for (const key of ['b/1', 'a/2', 'a/10', 'ab', 'a/1']) await store.put(key, bytes(key));
  t.same(
    (await store.list('a/')).map(({ key }) => key),
    ['a/1', 'a/10', 'a/2'],
  );
  t.equal((await store.list('')).length, 5);
});

void t.test('entries end with their time, unless written again', async (t) => {
  const clock = new ManualClock();
  const store = await openStore(clock);
  const events: MetaEvent[] = [];
  const watch = store.watch('a/', (event) => void events.push(event));
  await store.put('a/1', bytes('x'), { ttlMs: 1_000 });
  await store.put('a/2', bytes('x'), { ttlMs: 1_000 });
  await store.put('a/3', bytes('x'), { ttlMs: 1_000 });
  await store.put('b/1', bytes('x'), { ttlMs: 1_000 });
  await clock.advance(999);
  await store.put('a/2', bytes('y'));
  await store.delete('a/3');
  await clock.advance(1);
  t.same(
    (await store.list('')).map(({ key }) => key),
    ['a/2'],
  );
  t.same(
    events.map((event) => (event.kind === 'put' ? `+${event.entry.key}` : `-${event.key}`)),
    ['+a/1', '+a/2', '+a/3', '+a/2', '-a/3', '-a/1'],
  );
  watch[Symbol.dispose]();
  await store.put('a/9', bytes('x'));
  t.equal(events.length, 6);
  await clock.advance(10_000);
  t.same(
    (await store.list('')).map(({ key }) => key),
    ['a/2', 'a/9'],
    'no old timer is left behind',
  );
});
