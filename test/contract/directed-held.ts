import type { Test } from 'tap';
import type { Source } from '../../core/model/topic.ts';
import type { MessageEngine } from '../../core/ports/message-engine.ts';
import { Random } from '../helpers/random.ts';
import {
  addGroup,
  addTopic,
  ENDINGS,
  idsIn,
  NEVER_ABORTED,
  outgoing,
  request,
  textsOf,
  type EngineFixture,
  type RunningEngine,
} from './fixture.ts';

const ORDERS: Source = { kind: 'topic', topic: 'orders', queue: 0 };
const MINUTE_MS = 60_000;

async function take(engine: MessageEngine): Promise<string[]> {
  const deliveries = await engine.receive(request('workers', 'orders'), NEVER_ABORTED);
  await engine.settle(deliveries.map(({ receipt }) => ({ receipt, action: { kind: 'ack' } })));
  return textsOf(deliveries);
}

async function setUp({ engine }: RunningEngine): Promise<void> {
  await addTopic(engine, 'orders');
  await addGroup(engine, 'workers');
  await engine.receive(request('workers', 'orders'), NEVER_ABORTED);
}

/** Messages taken in that are not visible yet: delayed ones and halves of transactions. */
export function runHeldTests(t: Test, fixture: EngineFixture): void {
  const check = (name: string, run: (t: Test, made: RunningEngine) => Promise<RunningEngine | void>) =>
    void t.test(`${fixture.name}: ${name}`, async (t) => {
      const made = await fixture.create();
      await setUp(made);
      const last = await run(t, made);
      await (last ?? made).engine.stop();
    });

  const later = async ({ engine, clock }: RunningEngine, id: string, delayMs: number, lightQueues: string[] = []) => {
    const [outcome] = await engine.send([outgoing('orders', id, { deliverAt: clock.now() + delayMs, lightQueues })]);
    if (!outcome!.ok) throw outcome!.error;
    return outcome!.value;
  };

  check('a delayed message is never early, hardly late, and in the order of the times', async (t, made) => {
    const { engine, clock } = made;
    const { delay } = engine.capabilities;
    if (delay === false) return;
    await engine.ensureLightQueue('passing', { durable: false });
    await engine.ensureLightQueue('lasting', { durable: true });
    const place = await later(made, 'c', 2_000, ['passing', 'lasting', 'none']);
    t.match(place, { queue: 0, offset: -1, storedAt: clock.now(), recallHandle: String });
    await later(made, 'a', 1_000, ['lasting']);
    await later(made, 'b', 1_000, ['passing']);
    const at = await later(made, 'now', 0);
    t.match(at, { offset: 0 });
    t.equal(at.recallHandle, undefined, 'due already: like any other');
    t.same(await take(engine), ['now']);
    await clock.advance(999);
    t.same(await take(engine), []);
    t.same(await idsIn(engine, ORDERS), ['now']);
    // One that waits gets it in time.
    const started = clock.now();
    const waiting = engine
      .receive(request('workers', 'orders', { waitMs: 60_000, max: 1 }), NEVER_ABORTED)
      .then((deliveries) => ({ texts: textsOf(deliveries), at: clock.now() }));
    await clock.advance(1 + delay.precisionMs);
    const got = await waiting;
    t.same(got.texts, ['a']);
    t.ok(got.at >= started + 1 && got.at <= started + 1 + delay.precisionMs);
    t.same(await take(engine), ['b']);
    await clock.advance(1_000 - delay.precisionMs - 1);
    t.same(await take(engine), []);
    await clock.advance(delay.precisionMs);
    t.same(await take(engine), ['c']);
    t.same(await idsIn(engine, { kind: 'light', name: 'passing' }), ['b', 'c']);
    t.same(await idsIn(engine, { kind: 'light', name: 'lasting' }), ['a', 'c']);
    const { messages } = await engine.read(ORDERS, 0, 10, 1e6);
    t.ok(
      messages.every(({ storedAt, deliverAt }) => storedAt >= deliverAt),
      'stored when it became visible',
    );
  });

  check('a delayed message is recalled once, and not after its delivery', async (t, made) => {
    const { engine, clock } = made;
    if (engine.capabilities.delay === false) return;
    const refused = { ok: false, error: { code: 'BAD_REQUEST' } };
    const places = [await later(made, 'a', 1_000), await later(made, 'b', 1_000), await later(made, 'far', 3_600_000)];
    const [a, b, far] = places.map(({ recallHandle }) => recallHandle!);
    for (const forged of ['', 'x', `${a}0`, `${a} `, a!.slice(0, -1), a!.toUpperCase()]) {
      if (forged === b || forged === far) continue;
      t.match(await engine.cancelDelayed(forged), refused, forged);
    }
    const both = await Promise.all([engine.cancelDelayed(a!), engine.cancelDelayed(a!)]);
    t.match(both, [{ ok: true, value: { messageId: 'a' } }, refused]);
    t.match(await engine.cancelDelayed(a!), refused);
    t.match(await engine.cancelDelayed(far!), { ok: true });
    await clock.advance(1_500);
    t.match(await engine.cancelDelayed(b!), refused);
    t.same(await take(engine), ['b']);
    await clock.advance(60 * MINUTE_MS);
    t.same(await take(engine), []);
  });

  check('delays of hours, and a topic or light queue that is gone by then', async (t, made) => {
    const { engine, clock } = made;
    if (engine.capabilities.delay === false) return;
    await engine.ensureLightQueue('passing', { durable: false });
    await engine.ensureLightQueue('replaced', { durable: true });
    await addTopic(engine, 'gone');
    const minutes = [9, 10, 11, 14, 15, 16, 20, 21, 45, 90];
    for (const minute of minutes) await later(made, `${minute}`, minute * MINUTE_MS, ['passing', 'replaced']);
    await engine.send([outgoing('gone', 'gone', { deliverAt: clock.now() + 12 * MINUTE_MS })]);
    await engine.deleteTopic('gone');
    await addTopic(engine, 'gone');
    await engine.deleteLightQueue('replaced');
    await engine.ensureLightQueue('replaced', { durable: true });
    let passed = 0;
    for (const minute of minutes) {
      await clock.advance((minute - passed) * MINUTE_MS - 1);
      t.same(await take(engine), [], `${minute} minutes, not yet`);
      await clock.advance(101);
      t.same(await take(engine), [`${minute}`]);
      passed = minute + 100 / MINUTE_MS;
    }
    t.same(await idsIn(engine, { kind: 'light', name: 'passing' }), minutes.map(String));
    t.same(await idsIn(engine, { kind: 'light', name: 'replaced' }), [], 'one of the same name is another one');
    t.same(await idsIn(engine, { kind: 'topic', topic: 'gone', queue: 0 }), []);
  });

  check('a half message becomes visible once, by its commit', async (t, { engine, clock }) => {
    if (!engine.capabilities.transactions) return;
    const invalid = { ok: false, error: { code: 'INVALID_TRANSACTION_ID' } };
    await engine.ensureLightQueue('passing', { durable: false });
    await engine.ensureLightQueue('lasting', { durable: true });
    const prepare = async (id: string) => {
      const half = outgoing('orders', id, { lightQueues: ['passing', 'lasting'] });
      const outcome = await engine.prepare(half, { checkAfterMs: 1_000 });
      if (!outcome.ok) throw outcome.error;
      return outcome.value;
    };
    const ids = [await prepare('a'), await prepare('b'), await prepare('c')];
    t.equal(new Set(ids).size, 3);
    t.same(await take(engine), []);
    t.same(await engine.offsets(ORDERS), { first: 0, next: 0 });
    t.match(await engine.resolve(ids[1]!, 'commit'), {
      ok: true,
      value: { queue: 0, offset: 0, storedAt: clock.now() },
    });
    t.same(await take(engine), ['b']);
    t.match(await engine.resolve(ids[0]!, 'rollback'), { ok: true, value: undefined });
    for (const id of [ids[0]!, ids[1]!, '', 'x', `${ids[2]}0`]) {
      for (const how of ['commit', 'rollback'] as const)
        t.match(await engine.resolve(id, how), invalid, `${how} ${id}`);
    }
    const race = await Promise.all([engine.resolve(ids[2]!, 'commit'), engine.resolve(ids[2]!, 'rollback')]);
    t.match(race, [{ ok: true }, invalid]);
    t.same(await take(engine), ['c']);
    await clock.advance(120_000);
    t.same(await engine.orphans(10), [], 'none of them is asked for');
    for (const name of ['passing', 'lasting']) t.same(await idsIn(engine, { kind: 'light', name }), ['b', 'c'], name);
    t.match(await engine.prepare(outgoing('nowhere', 'x'), { checkAfterMs: 1 }), {
      error: { code: 'TOPIC_NOT_FOUND' },
    });
  });

  check('an orphan is asked for by one caller at a time, and again later', async (t, { engine, clock }) => {
    if (!engine.capabilities.transactions) return;
    const ids: string[] = [];
    for (const [id, checkAfterMs] of [
      ['a', 1_000],
      ['b', 1_000],
      ['c', 60_000],
    ] as const) {
      const outcome = await engine.prepare(outgoing('orders', id), { checkAfterMs });
      if (outcome.ok) ids.push(outcome.value);
    }
    t.same(await engine.orphans(10), []);
    await clock.advance(1_000);
    const answers = await Promise.all([engine.orphans(1), engine.orphans(1), engine.orphans(10)]);
    const asked = answers.flat();
    t.same(
      answers.map(({ length }) => length),
      [1, 1, 0],
    );
    t.same(
      asked.map(({ transactionId }) => transactionId),
      ids.slice(0, 2),
    );
    t.match(asked[0]!.message, { topic: 'orders', queue: 0, messageId: 'a' });
    await engine.resolve(ids[0]!, 'commit');
    // Asked again when the first that was asked had time enough.
    await clock.advance(59_000);
    const again = await engine.orphans(10);
    t.same(again.map(({ transactionId }) => transactionId).toSorted(), ids.slice(1).toSorted());
    t.same(await take(engine), ['a']);
  });

  const { restart } = fixture;
  if (restart === undefined) return;
  for (const how of ENDINGS) {
    check(`delayed messages outlast ${how}`, async (t, first) => {
      if (first.engine.capabilities.delay === false) return;
      await first.engine.ensureLightQueue('lasting', { durable: true });
      await first.engine.ensureLightQueue('passing', { durable: false });
      const light = ['lasting', 'passing'];
      const near = await later(first, 'near', 5_000, light);
      await later(first, 'far', 30 * MINUTE_MS, light);
      const recalled = [await later(first, 'no', 5_000), await later(first, 'no far', 30 * MINUTE_MS)];
      const early = await later(first, 'recalled early', 4_000);
      await later(first, 'was due', 1_000, light);
      t.match(await first.engine.cancelDelayed(early.recallHandle!), { ok: true });
      await first.clock.advance(1_100);
      t.same(await take(first.engine), ['was due']);

      let running = await restart(first, new Random(1), how);
      // A light queue made now is another one, whatever its number.
      await running.engine.ensureLightQueue('other', { durable: false });
      await running.engine.ensureLightQueue('another', { durable: true });
      for (const { recallHandle } of recalled) {
        t.match(await running.engine.cancelDelayed(recallHandle!), { ok: true });
        t.match(await running.engine.cancelDelayed(recallHandle!), { ok: false });
      }
      t.match(await running.engine.cancelDelayed(early.recallHandle!), { ok: false });
      t.same(await take(running.engine), []);
      running = await restart(running, new Random(2), how);
      await running.clock.advance(3_899);
      t.same(await take(running.engine), [], 'not early');
      await running.clock.advance(101);
      t.same(await take(running.engine), ['near']);
      t.match(await running.engine.cancelDelayed(near.recallHandle!), { ok: false });
      running = await restart(running, new Random(3), how);
      t.match(await running.engine.cancelDelayed(near.recallHandle!), { ok: false });
      await running.clock.advance(30 * MINUTE_MS - 5_101);
      t.same(await take(running.engine), []);
      // Due while nobody is there: the clock goes on when the engine does.
      running = await restart(running, new Random(4), how);
      await running.clock.advance(102);
      t.same(await take(running.engine), ['far']);
      running = await restart(running, new Random(5), how);
      await running.clock.advance(60 * MINUTE_MS);
      t.same(await take(running.engine), [], 'and that was all');
      t.same(await idsIn(running.engine, ORDERS), ['was due', 'near', 'far']);
      t.same(await idsIn(running.engine, { kind: 'light', name: 'lasting' }), ['was due', 'near', 'far']);
      t.same(await idsIn(running.engine, { kind: 'light', name: 'another' }), []);
      return running;
    });

    check(`transactions outlast ${how}`, async (t, first) => {
      if (!first.engine.capabilities.transactions) return;
      await first.engine.ensureLightQueue('lasting', { durable: true });
      const prepare = async ({ engine }: RunningEngine, id: string, checkAfterMs = 1_000) => {
        const outcome = await engine.prepare(outgoing('orders', id, { lightQueues: ['lasting'] }), { checkAfterMs });
        if (!outcome.ok) throw outcome.error;
        return outcome.value;
      };
      const ids = [];
      for (const id of ['commit', 'rollback', 'open', 'committed', 'rolled back']) ids.push(await prepare(first, id));
      await first.engine.resolve(ids[3]!, 'commit');
      await first.engine.resolve(ids[4]!, 'rollback');
      let running = await restart(first, new Random(1), how);
      t.same(await take(running.engine), ['committed']);
      for (const id of ids.slice(3)) t.match(await running.engine.resolve(id, 'commit'), { ok: false });
      const later = await prepare(running, 'later');
      t.notOk(ids.includes(later), 'ids never repeat');
      t.match(await running.engine.resolve(ids[0]!, 'commit'), { ok: true });
      t.match(await running.engine.resolve(ids[1]!, 'rollback'), { ok: true });
      running = await restart(running, new Random(2), how);
      for (const id of ids.slice(0, 2)) t.match(await running.engine.resolve(id, 'commit'), { ok: false });
      t.same(await take(running.engine), ['commit']);
      await running.clock.advance(1_000);
      const asked = (await running.engine.orphans(10)).map(({ transactionId }) => transactionId);
      t.same(asked.toSorted(), [ids[2]!, later].toSorted());
      // Makes durable who was asked.
      await running.engine.send([outgoing('orders', 'x')]);
      running = await restart(running, new Random(3), how);
      t.same(await running.engine.orphans(10), [], 'asked already');
      await running.clock.advance(MINUTE_MS);
      t.equal((await running.engine.orphans(10)).length, 2);
      t.match(await running.engine.resolve(ids[2]!, 'commit'), { ok: true });
      t.same(await take(running.engine), ['x', 'open']);
      t.same(await idsIn(running.engine, { kind: 'light', name: 'lasting' }), ['committed', 'commit', 'open']);
      return running;
    });
  }
}
