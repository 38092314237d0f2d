import type { Test } from 'tap';
import type { OutgoingMessage, Placed } from '../../core/ports/message-engine.ts';
import type { MetaChange, MetaEvent, MetaStore } from '../../core/ports/meta-store.ts';
import type { Outcome } from '../../core/model/broker-error.ts';
import { Random } from '../helpers/random.ts';
import {
  addGroup,
  addTopic,
  ENDINGS,
  NEVER_ABORTED,
  outgoing,
  readUpTo,
  request,
  type EngineFixture,
  type RunningEngine,
} from './fixture.ts';

function put(key: string, value: string): MetaChange {
  return { kind: 'put', key, value: Buffer.from(value) };
}

function remove(key: string): MetaChange {
  return { kind: 'delete', key };
}

function changing(id: string, changes: readonly MetaChange[], fields: Parameters<typeof outgoing>[2] = {}) {
  return Object.assign(outgoing('orders', id, fields), { changes });
}

async function values(meta: MetaStore): Promise<Record<string, string>> {
  const entries = await meta.list('');
  return Object.fromEntries(entries.map(({ key, value }) => [key, Buffer.from(value).toString()]));
}

function codeOf(outcome: Outcome<unknown> | undefined): string {
  return outcome!.ok ? 'ok' : outcome!.error.code;
}

async function idsIn({ engine }: RunningEngine): Promise<string[]> {
  const { messages } = await readUpTo(engine, { kind: 'topic', topic: 'orders', queue: 0 }, 0, 100);
  return messages.map(({ body }) => body.toString());
}

/** Keys that change together with a message. */
export function runChangesTests(t: Test, fixture: EngineFixture): void {
  const check = (name: string, run: (t: Test, made: RunningEngine) => Promise<RunningEngine | void>) =>
    void t.test(`${fixture.name}: ${name}`, async (t) => {
      const made = await fixture.create();
      await addTopic(made.engine, 'orders');
      await addGroup(made.engine, 'workers');
      const last = await run(t, made);
      await (last ?? made).engine.stop();
    });

  check('a message changes keys, in order, as a put and a delete do', async (t, { engine, meta }) => {
    const first = await meta.put('k/old', Buffer.from('x'), { ttlMs: 1_000 });
    const value = Buffer.from('mine');
    const events: MetaEvent[] = [];
    meta.watch('k/', (event) => void events.push(event));
    const changes: MetaChange[] = [{ kind: 'put', key: 'k/a', value }, put('k/old', 'new'), remove('k/none')];
    const sent = engine.send([
      changing('1', changes),
      outgoing('orders', '2'),
      changing('3', [put('k/b', 'b'), remove('k/a'), put('k/a', 'again'), put('k/é 𝄞', ''), remove('k/b')]),
    ]);
    value.fill(0);
    t.same(events, [], 'watchers hear of what is durable');
    let isAnswered = false;
    const answered = sent.then(() => (isAnswered = true));
    const told = new Promise<boolean>((resolve) => {
      meta.watch('k/é', () => resolve(isAnswered));
    });
    // Asked now, before anything can become durable.
    const seen = values(meta);
    t.equal(await told, false, 'watchers know first');
    await answered;
    t.same(await seen, { 'k/a': 'again', 'k/old': 'new', 'k/é 𝄞': '' }, 'at once');
    t.same(
      events.map((event) => (event.kind === 'put' ? `+${event.entry.key}` : `-${event.key}`)),
      ['+k/a', '+k/old', '+k/b', '-k/a', '+k/a', '+k/é 𝄞', '-k/b'],
    );
    const [a, old] = events.flatMap((event) => (event.kind === 'put' ? [event.entry] : []));
    t.equal(Buffer.from(a!.value).toString(), 'mine', 'the value is copied');
    t.ok(old!.revision > a!.revision && a!.revision > first!, 'revisions grow');
    t.equal((await meta.get('k/old'))!.revision, old!.revision);
    t.equal(await meta.put('k/old', Buffer.from('x'), { ifRevision: first! }), undefined);
    t.ok((await meta.put('k/old', Buffer.from('x'), { ifRevision: old!.revision }))! > old!.revision);
  });

  check('a watcher sees the changes of messages and others in their order', async (t, { engine, meta }) => {
    const seen: string[] = [];
    meta.watch('k', (event) => void seen.push(event.kind === 'put' ? String(event.entry.value[0]) : 'gone'));
    const byte = (value: number): MetaChange => ({ kind: 'put', key: 'k', value: Uint8Array.of(value) });
    await Promise.all([
      meta.put('k', Uint8Array.of(1)),
      engine.send([changing('1', [byte(2)])]),
      engine.send([changing('2', [byte(3)]), changing('3', [remove('k')])]),
      meta.put('k', Uint8Array.of(4)),
      engine.send([changing('4', [byte(5)])]),
      meta.delete('k'),
    ]);
    t.same(seen, ['1', '2', '3', 'gone', '4', '5', 'gone']);
  });

  check('what expires does so no more once a message has put it', async (t, { engine, meta, clock }) => {
    await meta.put('k', Buffer.from('x'), { ttlMs: 1_000 });
    await engine.send([changing('1', [put('k', 'y')])]);
    await clock.advance(2_000 + fixture.toleranceMs);
    t.same(await values(meta), { k: 'y' });
  });

  check('a message that is refused changes nothing', async (t, made) => {
    const { engine, meta, clock } = made;
    const bad: OutgoingMessage[] = [changing('1', [put('k/1', 'x')], { queue: 7 })];
    if (engine.capabilities.delay !== false) {
      const deliverAt = clock.now() + engine.capabilities.delay.maxMs + 60_000;
      bad.push(changing('2', [put('k/2', 'x')], { deliverAt }));
    }
    const outcomes = await engine.send([...bad, changing('3', [put('k/3', 'x')])]);
    t.same(outcomes.map(codeOf).slice(-1), ['ok']);
    t.notOk(outcomes.slice(0, -1).map(codeOf).includes('ok'));
    t.same(await values(meta), { 'k/3': 'x' });
    t.same(await idsIn(made), ['3']);
    if (!engine.capabilities.transactions) return;
    t.equal(codeOf(await engine.prepare(changing('4', [put('k/4', 'x')]), { checkAfterMs: 1 })), 'UNSUPPORTED');
    t.same(await values(meta), { 'k/3': 'x' });
  });

  check('a delayed message changes keys when it is taken in', async (t, made) => {
    const { engine, meta, clock } = made;
    if (engine.capabilities.delay === false) return;
    await meta.put('k/gone', Buffer.from('x'));
    const deliverAt = clock.now() + 5_000;
    const changes = [put('k/1', 'x'), remove('k/gone')];
    const [outcome] = await engine.send([changing('1', changes, { deliverAt })]);
    const { recallHandle } = (outcome as { value: Placed }).value;
    t.same(await values(meta), { 'k/1': 'x' });
    t.equal(codeOf(await engine.cancelDelayed(recallHandle!)), 'ok');
    await engine.send([changing('2', [put('k/1', 'y')], { deliverAt }), outgoing('orders', '3')]);
    await meta.put('k/1', Buffer.from('z'));
    await clock.advance(6_000 + fixture.toleranceMs);
    t.same(await idsIn(made), ['3', '2']);
    t.same(await values(meta), { 'k/1': 'z' }, 'and not again when it is due');
  });

  check('a transaction changes keys, or nothing at all', async (t, { engine, meta }) => {
    await engine.send([outgoing('orders', '1')]);
    const [delivery] = await engine.receive(request('workers', 'orders'), NEVER_ABORTED);
    const ack = { receipt: delivery!.receipt, action: { kind: 'ack' } } as const;
    const seen: string[] = [];
    meta.watch('k/', (event) => void seen.push(event.kind));
    const done = await engine.transact([changing('2', [put('k/a', 'x')]), changing('3', [put('k/b', 'x')])], [ack]);
    t.equal(codeOf(done), 'ok');
    t.same(await values(meta), { 'k/a': 'x', 'k/b': 'x' });
    t.same(seen, ['put', 'put']);
    t.equal(codeOf(await engine.transact([changing('4', [remove('k/a')])], [ack])), 'STALE_RECEIPT');
    t.same(await values(meta), { 'k/a': 'x', 'k/b': 'x' });
  });

  const { restart } = fixture;
  if (restart === undefined) return;
  for (const how of ENDINGS) {
    check(`what messages changed outlasts ${how}`, async (t, first) => {
      await first.meta.put('k/gone', Buffer.from('x'));
      const large = 'x'.repeat(2_000);
      await first.engine.send([changing('1', [put('k/é', large), put('k/empty', '')])]);
      await first.engine.send([
        changing('2', [put('k/short', 'x'), remove('k/gone')]),
        changing('3', [remove('k/short')]),
      ]);
      const { revision } = (await first.meta.get('k/é'))!;
      const second = await restart(first, new Random(1), how);
      t.same(await values(second.meta), { 'k/empty': '', 'k/é': large });
      t.equal((await second.meta.get('k/é'))!.revision, revision);
      await second.engine.send([changing('4', [put('k/é', 'y')])]);
      t.ok((await second.meta.get('k/é'))!.revision > revision + 4, 'revisions go on, deletions have some too');
      const third = await restart(second, new Random(1), how);
      t.same(await values(third.meta), { 'k/empty': '', 'k/é': 'y' });
      t.same(await idsIn(third), ['1', '2', '3', '4']);
      return third;
    });
  }
}
