import type { Test } from 'tap';
import type { Source } from '../../core/model/topic.ts';
import type { MessageEngine, Selector, SettleAction } from '../../core/ports/message-engine.ts';
import { settled } from '../helpers/manual-clock.ts';
import { Random } from '../helpers/random.ts';
import {
  addGroup,
  addTopic,
  ENDINGS,
  NEVER_ABORTED,
  outgoing,
  request,
  settle,
  textsOf,
  type EngineFixture,
  type RunningEngine,
} from './fixture.ts';

const ORDERS: Source = { kind: 'topic', topic: 'orders' };
const LIGHT: Source = { kind: 'light', name: 'light' };
const ACK: SettleAction = { kind: 'ack' };
const GIVE_BACK: SettleAction = { kind: 'release', delayMs: 0, countAttempt: false };
/** What selectors may leave to others. */
const LOOK_AHEAD = 4_096;

/** Messages whose text begins so; counts how often it was asked. */
function beginning(prefix: string): { readonly select: Selector; asked: number } {
  const selector = {
    asked: 0,
    select: ({ body }: { readonly body: Buffer }) => {
      selector.asked++;
      return body.toString('latin1', 0, prefix.length) === prefix;
    },
  };
  return selector;
}

function take(engine: MessageEngine, select?: Selector, changes = {}, group = 'workers', source = ORDERS) {
  const selective = select === undefined ? {} : { select };
  return engine.receive(request(group, source, { ...selective, ...changes }), NEVER_ABORTED);
}

function send(engine: MessageEngine, ...ids: string[]) {
  return engine.send(ids.map((id) => outgoing('orders', id, { lightQueues: ['light'] })));
}

/** Members of a group that take only some of its messages. */
export function runSelectorTests(t: Test, fixture: EngineFixture): void {
  const check = (name: string, run: (t: Test, made: RunningEngine) => Promise<RunningEngine | void>) =>
    void t.test(`${fixture.name}: ${name}`, async (t) => {
      const made = await fixture.create();
      if (made.engine.capabilities.selectors) {
        await addTopic(made.engine, 'orders');
        await addGroup(made.engine, 'workers');
        await made.engine.ensureLightQueue('light', { durable: false });
      }
      const last = made.engine.capabilities.selectors ? await run(t, made) : undefined;
      await (last ?? made).engine.stop();
    });

  for (const source of [ORDERS, LIGHT]) {
    check(`a selector leaves the rest in place and in order, ${source.kind}`, async (t, { engine }) => {
      const a = beginning('a');
      await send(engine, 'b1', 'a1', 'b2', 'a2', 'c1');
      const deliveries = await take(engine, a.select, {}, 'workers', source);
      t.same(textsOf(deliveries), ['a1', 'a2']);
      t.match(await engine.groupState('workers', source), [{ inflight: 2, leased: 2, lag: 5 }]);
      t.same(await take(engine, a.select, {}, 'workers', source), []);
      t.equal(a.asked, 5, 'each is looked at once');
      await send(engine, 'a3', 'b3');
      t.same(textsOf(await take(engine, beginning('b').select, { max: 2 }, 'workers', source)), ['b1', 'b2']);
      t.same(textsOf(await take(engine, undefined, { max: 2 }, 'workers', source)), ['c1', 'a3']);
      t.same(await take(engine, a.select, {}, 'workers', source), []);
      await settle(engine, deliveries, GIVE_BACK);
      t.match(await take(engine, a.select, { max: 1 }, 'workers', source), [{ attempt: 1 }]);
      t.same(textsOf(await take(engine, undefined, {}, 'workers', source)), ['a2', 'b3']);
    });
  }

  check('a waiting receive with a selector wakes for what it selects', async (t, { engine, clock }) => {
    const [a, b] = [beginning('a'), beginning('b')];
    await send(engine, 'b1');
    const onA = take(engine, a.select, { waitMs: 60_000 });
    const alsoOnA = take(engine, a.select, { waitMs: 60_000, max: 1 });
    await settled();
    await send(engine, 'c1');
    await send(engine, 'a1');
    const first = await onA;
    t.same(textsOf(first), ['a1']);
    await settle(engine, first, { kind: 'release', delayMs: 1_000, countAttempt: true });
    await clock.advance(1_000 + fixture.toleranceMs);
    t.match(await alsoOnA, [{ attempt: 2 }], 'what comes back is looked at again');
    const expired = take(engine, a.select, { waitMs: 60_000 });
    await clock.advance(30_000 + fixture.toleranceMs);
    t.match(await expired, [{ attempt: 3 }], 'and what a lease gives back');
    const onB = take(engine, b.select, { max: 1 });
    t.same(textsOf(await onB), ['b1']);
    const any = take(engine, undefined, { waitMs: 60_000 });
    t.same(textsOf(await any), ['c1']);
    t.equal(a.asked, 5);
  });

  check('a selector leaves no more than it may look at to others', async (t, { engine }) => {
    const a = beginning('a');
    for (let i = 0; i < LOOK_AHEAD; i += 512) {
      await send(engine, ...Array.from({ length: 512 }, (_, at) => `b${i + at}`));
    }
    await send(engine, 'a1');
    t.same(await take(engine, a.select), []);
    t.same(await take(engine, a.select), []);
    t.ok(a.asked <= 2 * LOOK_AHEAD);
    const waiting = take(engine, a.select, { waitMs: 60_000 });
    const [one] = await take(engine, undefined, { max: 1 });
    t.same(textsOf([one!]), ['b0']);
    await settle(engine, [one!], ACK);
    t.same(textsOf(await waiting), ['a1'], 'the others went on');
  });

  check('what expired or was purged is in nobody’s way', async (t, { engine, clock }) => {
    const a = beginning('a');
    const expiresAt = clock.now() + 10_000;
    for (let i = 0; i < LOOK_AHEAD; i += 512) {
      await engine.send(Array.from({ length: 512 }, (_, at) => outgoing('orders', `b${i + at}`, { expiresAt })));
    }
    await send(engine, 'a1', 'b');
    t.same(await take(engine, a.select), []);
    await clock.advance(20_000 + fixture.toleranceMs);
    t.same(textsOf(await take(engine, a.select)), ['a1']);
    t.equal(await engine.purge('workers', ORDERS), 1);
    t.same(await take(engine), []);
    await send(engine, 'b', 'a2');
    t.same(textsOf(await take(engine, a.select)), ['a2']);
    await engine.seek('workers', ORDERS, { kind: 'offset', queue: 0, offset: LOOK_AHEAD });
    t.same(textsOf(await take(engine, a.select)), ['a1', 'a2'], 'after a seek it looks anew');
  });

  check('a message group waits for who selects its oldest message', async (t, { engine }) => {
    if (!engine.capabilities.fifo) return;
    await addGroup(engine, 'ordered', 'fifo');
    const a = beginning('a');
    const messages: (readonly [string, string])[] = [
      ['b1', 'm'],
      ['a1', 'm'],
      ['a2', 'n'],
      ['b2', 'n'],
      ['a3', 'n'],
      ['a4', 'o'],
    ];
    await engine.send(messages.map(([id, messageGroup]) => outgoing('orders', id, { messageGroup })));
    const deliveries = await take(engine, a.select, {}, 'ordered');
    t.same(textsOf(deliveries), ['a2', 'a4']);
    t.same(await take(engine, a.select, {}, 'ordered'), []);
    await settle(engine, deliveries, ACK);
    t.same(await take(engine, a.select, {}, 'ordered'), []);
    const { asked } = a;
    t.same(await take(engine, a.select, {}, 'ordered'), []);
    t.equal(a.asked, asked, 'refused once is refused');
    const waiting = take(engine, a.select, { waitMs: 60_000, max: 1 }, 'ordered');
    const others = await take(engine, beginning('b').select, { max: 1 }, 'ordered');
    t.same(textsOf(others), ['b1']);
    await settle(engine, others, ACK);
    t.same(textsOf(await waiting), ['a1']);
    t.same(textsOf(await take(engine, undefined, {}, 'ordered')), ['b2', 'a3']);
  });

  check('a message group waits no longer than for a last attempt at a message nobody selects', async (t, made) => {
    const { engine, clock } = made;
    if (!engine.capabilities.fifo) return;
    await addGroup(engine, 'ordered', 'fifo', 1);
    await engine.send(['b1', 'a1'].map((id) => outgoing('orders', id, { messageGroup: 'm' })));
    const waiting = take(engine, beginning('a').select, { waitMs: 60_000 }, 'ordered');
    t.same(textsOf(await take(engine, undefined, { max: 1, leaseMs: 1_000 }, 'ordered')), ['b1']);
    await clock.advance(1_000 + fixture.toleranceMs);
    t.same(textsOf(await waiting), ['a1']);
  });

  const { restart } = fixture;
  if (restart === undefined) return;
  for (const how of ENDINGS) {
    check(`what selectors left is there after ${how}`, async (t, started) => {
      const a = beginning('a');
      await send(started.engine, 'b1', 'a1', 'b2', 'a2', 'b3');
      const [a1] = await take(started.engine, a.select, { max: 1 });
      await take(started.engine, a.select, { max: 1, leaseMs: 5_000 });
      await settle(started.engine, [a1!], ACK);
      const running = await restart(started, new Random(1), how);
      const b1 = await take(running.engine, undefined, { max: 1 });
      t.same(textsOf(b1), ['b1']);
      await running.clock.advance(6_000);
      t.match(await take(running.engine, a.select), [{ attempt: 2 }]);
      // The lease is durable with it.
      await settle(running.engine, b1, ACK);
      const again = await restart(running, new Random(1), how);
      t.same(textsOf(await take(again.engine)), ['b2', 'b3']);
      return again;
    });
  }
}
