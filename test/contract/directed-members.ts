import type { Test } from 'tap';
import type { StoredMessage } from '../../core/model/message.ts';
import type { Delivery, MessageEngine, SettleAction } from '../../core/ports/message-engine.ts';
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

const ACK: SettleAction = { kind: 'ack' };
const ALICE = { name: 'alice' };
const BOB = { name: 'bob' };

function take(engine: MessageEngine, member: object | undefined, changes = {}): Promise<Delivery[]> {
  return engine.receive(request('grouped', 'orders', { ...(member && { member }), ...changes }), NEVER_ABORTED);
}

/** By `<message group><number>`, or `-` for none. */
function send(engine: MessageEngine, ...ids: string[]) {
  return engine.send(ids.map((id) => outgoing('orders', id, { messageGroup: id[0] === '-' ? undefined : id[0] })));
}

/** Members of a group with message groups in order: who holds a message group goes on with it. */
export function runMemberTests(t: Test, fixture: EngineFixture): void {
  const check = (name: string, run: (t: Test, made: RunningEngine) => Promise<RunningEngine | void>) =>
    void t.test(`${fixture.name}: ${name}`, async (t) => {
      const made = await fixture.create();
      const { fifo } = made.engine.capabilities;
      if (fifo) {
        await addTopic(made.engine, 'orders');
        await addGroup(made.engine, 'grouped', 'messageGroup');
        await take(made.engine, undefined);
      }
      const last = fifo ? await run(t, made) : undefined;
      await (last ?? made).engine.stop();
    });

  check('a message group goes on with the member that has what is out of it', async (t, { engine }) => {
    await send(engine, 'a1', 'a2', 'b1', '-1', 'a3');
    const [a1] = await take(engine, ALICE, { max: 1 });
    t.same(textsOf([a1!]), ['a1']);
    const bobs = await take(engine, BOB);
    t.same(textsOf(bobs), ['b1', '-1']);
    t.same(await take(engine, undefined), [], 'who does not say who it is gets neither');
    t.same(textsOf(await take(engine, ALICE)), ['a2', 'a3']);
    await send(engine, 'a4', 'b2');
    t.same(textsOf(await take(engine, BOB)), ['b2']);
    t.same(textsOf(await take(engine, ALICE)), ['a4']);
    await settle(engine, bobs, ACK);
    await send(engine, 'b3');
    t.same(await take(engine, ALICE), [], 'b2 is still out');
  });

  check('a message group is anybody’s when nothing of it is out', async (t, { engine, clock }) => {
    await send(engine, 'a1', 'a2', 'a3');
    await settle(engine, await take(engine, ALICE, { max: 1 }), ACK);
    const [a2] = await take(engine, BOB, { max: 1 });
    t.same(textsOf([a2!]), ['a2']);
    t.same(await take(engine, ALICE), []);
    await settle(engine, [a2!], { kind: 'release', delayMs: 0, countAttempt: true });
    t.same(textsOf(await take(engine, ALICE, { leaseMs: 1_000 })), ['a2', 'a3']);
    await clock.advance(1_000 + fixture.toleranceMs);
    t.same(textsOf(await take(engine, BOB)), ['a2', 'a3'], 'also when its leases ended');
  });

  check('what a member gives back, it gets back before what follows', async (t, { engine, clock }) => {
    await send(engine, 'a1', 'a2', 'a3');
    const [a1, a2] = await take(engine, ALICE, { max: 2 });
    await settle(engine, [a1!], { kind: 'release', delayMs: 1_000, countAttempt: true });
    t.same(await take(engine, ALICE), [], 'a1 backs off');
    t.same(await take(engine, BOB), []);
    await clock.advance(1_000 + fixture.toleranceMs);
    t.same(await take(engine, BOB), [], 'a2 is out');
    t.same(textsOf(await take(engine, ALICE)), ['a1', 'a3']);
    await settle(engine, [a2!], { kind: 'release', delayMs: 0, countAttempt: true });
    t.same(textsOf(await take(engine, ALICE)), ['a2']);
  });

  check('a waiting member gets what only it may have, whoever waits before it', async (t, { engine, clock }) => {
    await send(engine, 'a1', 'a2');
    const alices = await take(engine, ALICE);
    const bob = take(engine, BOB, { waitMs: 60_000 });
    const others = take(engine, undefined, { waitMs: 60_000 });
    const alice = take(engine, ALICE, { waitMs: 60_000 });
    await settled();
    await send(engine, 'a3');
    t.same(textsOf(await alice), ['a3']);
    const again = take(engine, ALICE, { waitMs: 60_000 });
    await settle(engine, [alices[0]!], { kind: 'release', delayMs: 1_000, countAttempt: true });
    await clock.advance(1_000 + fixture.toleranceMs);
    t.same(textsOf(await again), ['a1']);
    await settle(engine, [...alices.slice(1), ...(await alice), ...(await again)], ACK);
    await send(engine, 'a4');
    t.same(textsOf(await bob), ['a4'], 'who waits longest is first');
    await send(engine, '-1');
    t.same(textsOf(await others), ['-1']);
  });

  check('a member that selects leaves the rest of its message group alone', async (t, { engine }) => {
    if (!engine.capabilities.selectors) return;
    const select = ({ body }: StoredMessage) => body.toString() !== 'a3';
    await send(engine, 'a1', 'a2', 'a3', 'a4');
    t.same(textsOf(await take(engine, ALICE, { max: 1, select })), ['a1']);
    t.same(textsOf(await take(engine, ALICE, { select })), ['a2']);
    t.same(await take(engine, ALICE, { select }), []);
    t.same(await take(engine, BOB), []);
    t.same(textsOf(await take(engine, ALICE)), ['a3', 'a4']);
  });

  const { restart } = fixture;
  if (restart === undefined) return;
  for (const how of ENDINGS) {
    check(`what members had is there at once after ${how}, and nothing else that is out`, async (t, started) => {
      await send(started.engine, 'a1', 'a2', '-1', 'b1', '-2', 'c1');
      const [a1, none] = await take(started.engine, ALICE, { max: 3 });
      const [b1] = await take(started.engine, undefined, { max: 1 });
      const [, c1] = await take(started.engine, BOB);
      t.same(textsOf([a1!, none!, b1!, c1!]), ['a1', 'a2', 'b1', 'c1']);
      await settle(started.engine, [c1!], { kind: 'release', delayMs: 1_000, countAttempt: true });
      let made = await restart(started, new Random(1), how);
      t.match(await settle(made.engine, [a1!], ACK), [{ ok: false, error: { code: 'STALE_RECEIPT' } }]);
      t.match(await settle(made.engine, [b1!], { kind: 'extend', ms: 60_000, keepReceipt: true }), [{ ok: true }]);
      const again = await take(made.engine, BOB);
      t.same(
        again.map(({ attempt }) => attempt),
        [2, 2, 2, 2],
      );
      t.same(textsOf(again).toSorted(), ['-1', '-2', 'a1', 'a2']);
      await settle(made.engine, again.slice(0, 1), ACK);
      // What the first process began and the second ended is over for the third, too.
      made = await restart(made, new Random(1), how);
      await made.engine.purge('grouped', { kind: 'topic', topic: 'orders' });
      made = await restart(made, new Random(1), how);
      t.same(await take(made.engine, BOB), [], 'all else is purged');
      t.match(await settle(made.engine, [b1!], ACK), [{ ok: true }]);
      return made;
    });
  }
}
