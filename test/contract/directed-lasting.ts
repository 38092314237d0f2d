import type { Test } from 'tap';
import type { GroupOrder } from '../../core/model/consumer-group.ts';
import type { Source } from '../../core/model/topic.ts';
import type { Delivery, MessageEngine, SettleAction } from '../../core/ports/message-engine.ts';
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

async function settle(engine: MessageEngine, delivery: Delivery | undefined, action: SettleAction): Promise<string> {
  const [outcome] = await engine.settle([{ receipt: delivery!.receipt, action }]);
  return outcome!.ok ? 'ok' : outcome!.error.code;
}

const ACK: SettleAction = { kind: 'ack' };

function take(engine: MessageEngine, group: string, source: Source | string, max = 32, leaseMs = 30_000) {
  return engine.receive(request(group, source, { max, leaseMs }), NEVER_ABORTED);
}

/** What has to hold over the end and the next start of an engine that keeps what it is told. */
export function runLastingTests(t: Test, fixture: EngineFixture): void {
  const { restart } = fixture;
  if (restart === undefined) return;
  for (const how of ENDINGS) {
    const again = (running: RunningEngine) => restart(running, new Random(1), how);
    const check = (name: string, run: (t: Test, made: RunningEngine) => Promise<RunningEngine | void>) =>
      void t.test(`${fixture.name}: ${name}, over ${how}`, async (t) => {
        const made = await fixture.create();
        await addTopic(made.engine, 'orders');
        await addGroup(made.engine, 'workers');
        const last = await run(t, made);
        await (last ?? made).engine.stop();
      });

    check('leases, attempts and receipts', async (t, first) => {
      await first.engine.send(['a', 'b', 'c', 'd', 'e', 'f'].map((id) => outgoing('orders', id)));
      const [a, b, c, d, e] = await take(first.engine, 'workers', 'orders', 5, 10_000);
      t.equal(await settle(first.engine, a, ACK), 'ok');
      const [extended] = await first.engine.settle([
        { receipt: b!.receipt, action: { kind: 'extend', ms: 20_000 } },
        { receipt: e!.receipt, action: { kind: 'release', delayMs: 5_000, countAttempt: true } },
      ]);
      const newer = extended!.ok ? { ...b!, receipt: extended!.value.receipt! } : undefined;
      let running = await again(first);
      t.same(textsOf(await take(running.engine, 'workers', 'orders', 32, 1_000)), ['f'], 'the leases hold');
      t.equal(await settle(running.engine, a, ACK), 'STALE_RECEIPT');
      t.equal(await settle(running.engine, b, ACK), 'STALE_RECEIPT');
      t.equal(await settle(running.engine, e, ACK), 'STALE_RECEIPT');
      t.equal(await settle(running.engine, newer, ACK), 'ok', 'the receipt after an extension');
      t.equal(await settle(running.engine, newer, ACK), 'STALE_RECEIPT');
      t.equal(await settle(running.engine, c, { kind: 'extend', ms: 60_000, keepReceipt: true }), 'ok');
      running = await again(running);
      t.equal(await settle(running.engine, c, ACK), 'ok', 'the receipt that was kept');
      await running.clock.advance(9_999);
      const back = await take(running.engine, 'workers', 'orders');
      t.same(
        back.map(({ message, attempt }) => [message.body.toString(), attempt]),
        [
          ['f', 2],
          ['e', 2],
        ],
      );
      await running.clock.advance(1);
      t.match(await take(running.engine, 'workers', 'orders'), [{ attempt: 2, message: { messageId: 'd' } }]);
      t.equal(await settle(running.engine, d, ACK), 'STALE_RECEIPT');
      t.match(await running.engine.groupState('workers', ORDERS), [{ floor: 3, cursor: 6, inflight: 3, lag: 3 }]);
      running = await again(running);
      t.match(await running.engine.groupState('workers', ORDERS), [{ floor: 3, cursor: 6, inflight: 3, lag: 3 }]);
      for (const delivery of back) t.equal(await settle(running.engine, delivery, ACK), 'ok');
      return running;
    });

    check('receipts never repeat, whatever was logged of them', async (t, first) => {
      await first.engine.send([outgoing('orders', 'a'), outgoing('orders', 'b')]);
      let running = first;
      const seen: Delivery[] = [];
      for (let life = 0; life < 12; life++) {
        const deliveries = await take(running.engine, 'workers', 'orders', 2, 1_000);
        // A lease nobody asked to be durable may be lost with the process.
        if (life % 2 === 0) await running.engine.send([outgoing('orders', 'x')]);
        seen.push(...deliveries);
        running = await again(running);
        // Those whose lease is still there must do nothing to other messages, those before nothing at all.
        for (const old of seen.slice(0, -deliveries.length || undefined)) {
          t.equal(await settle(running.engine, old, { kind: 'extend', ms: 1 }), 'STALE_RECEIPT');
        }
        await running.clock.advance(1_000);
      }
      t.equal(new Set(seen.map(({ receipt }) => receipt)).size, seen.length);
      return running;
    });

    check('groups and topics of the same name are new ones', async (t, first) => {
      await first.engine.send(['a', 'b', 'c'].map((id) => outgoing('orders', id)));
      const [a, b] = await take(first.engine, 'workers', 'orders', 2);
      await settle(first.engine, a, ACK);
      await first.engine.deleteGroup('workers');
      let running = await again(first);
      await t.rejects(take(running.engine, 'workers', 'orders'), { code: 'CONSUMER_GROUP_NOT_FOUND' });
      await addGroup(running.engine, 'workers');
      running = await again(running);
      t.equal(await settle(running.engine, b, ACK), 'STALE_RECEIPT');
      const fresh = await take(running.engine, 'workers', 'orders');
      t.match(
        fresh,
        ['a', 'b', 'c'].map((messageId) => ({ attempt: 1, message: { messageId } })),
      );
      t.equal(await settle(running.engine, b, ACK), 'STALE_RECEIPT');
      await running.engine.deleteTopic('orders');
      running = await again(running);
      await t.rejects(take(running.engine, 'workers', 'orders'), { code: 'TOPIC_NOT_FOUND' });
      await addTopic(running.engine, 'orders', 2);
      running = await again(running);
      t.same(await take(running.engine, 'workers', 'orders'), []);
      t.same(await running.engine.offsets(ORDERS), { first: 0, next: 0 });
      t.match(await running.engine.send([outgoing('orders', 'new')]), [{ ok: true, value: { offset: 0 } }]);
      const [delivery] = await take(running.engine, 'workers', 'orders');
      for (const old of [b, ...fresh]) t.equal(await settle(running.engine, old, ACK), 'STALE_RECEIPT');
      running = await again(running);
      t.same(await idsIn(running.engine, ORDERS), ['new']);
      // Deleted and made again without a start in between.
      await running.engine.deleteTopic('orders');
      await addTopic(running.engine, 'orders');
      await running.engine.send([outgoing('orders', 'newer')]);
      running = await again(running);
      t.same(await idsIn(running.engine, ORDERS), ['newer']);
      t.equal(await settle(running.engine, delivery, ACK), 'STALE_RECEIPT');
      t.same(textsOf(await take(running.engine, 'workers', 'orders')), ['newer']);
      return running;
    });

    check('durable light queues stay, others end', async (t, first) => {
      const lasting: Source = { kind: 'light', name: 'lasting' };
      const passing: Source = { kind: 'light', name: 'passing' };
      await first.engine.ensureLightQueue('lasting', { durable: true });
      await first.engine.ensureLightQueue('passing', { durable: false });
      const lightQueues = ['lasting', 'passing'];
      await first.engine.send(['a', 'b', 'c'].map((id) => outgoing('orders', id, { lightQueues })));
      for (const source of [lasting, passing]) {
        t.same(await idsIn(first.engine, source), ['a', 'b', 'c']);
        const [a] = await take(first.engine, 'workers', source, 1);
        t.equal(await settle(first.engine, a, ACK), 'ok');
      }
      let running = await again(first);
      t.same(await idsIn(running.engine, lasting), ['a', 'b', 'c']);
      t.same(textsOf(await take(running.engine, 'workers', lasting, 1)), ['b']);
      await t.rejects(running.engine.offsets(passing), { code: 'TOPIC_NOT_FOUND' });
      // What comes next has the number the other had, and nothing else of it.
      await addTopic(running.engine, 'next');
      await running.engine.send(['x', 'y'].map((id) => outgoing('next', id)));
      await running.engine.ensureLightQueue('passing', { durable: false });
      running = await again(running);
      t.same(textsOf(await take(running.engine, 'workers', 'next')), ['x', 'y']);
      await running.engine.ensureLightQueue('passing', { durable: true });
      t.same(await idsIn(running.engine, passing), []);
      await running.engine.send([outgoing('orders', 'd', { lightQueues })]);
      await running.engine.deleteLightQueue('lasting');
      running = await again(running);
      t.same(await idsIn(running.engine, passing), ['d']);
      await running.engine.ensureLightQueue('lasting', { durable: true });
      t.same(await idsIn(running.engine, lasting), [], 'one of the same name is another one');
      running = await again(running);
      t.same(await idsIn(running.engine, lasting), []);
      return running;
    });

    check('light queues are trimmed for good', async (t, first) => {
      const light: Source = { kind: 'light', name: 'light' };
      await first.engine.ensureLightQueue('light', { durable: true });
      let running = first;
      let count = 0;
      const send = async (more: number) => {
        for (let i = 0; i < more; i++)
          await running.engine.send([outgoing('orders', `${count++}`, { lightQueues: ['light'] })]);
      };
      const expected = (from: number) => Array.from({ length: count - from }, (_, i) => `${from + i}`);
      for (const [more, before] of [
        [20, 5],
        [0, 12],
        [30, 3],
        [15, 40],
        [5, 70],
        [3, 1_000],
      ] as const) {
        await send(more);
        running.engine.trimLightQueue('light', before);
        const { first: start, next } = await running.engine.offsets(light);
        t.equal(next, count);
        t.equal(start, Math.min(count, Math.max(start, before)));
        const there = await idsIn(running.engine, light);
        t.same(there, expected(start));
        // Anything confirmed makes the trim durable, too.
        await addGroup(running.engine, `group ${count} ${before}`);
        running = await again(running);
        t.same(await running.engine.offsets(light), { first: start, next });
        t.same(await idsIn(running.engine, light), expected(start));
      }
      await send(2);
      t.same(await idsIn(running.engine, light), expected(count - 2));
      return running;
    });

    check('seek', async (t, first) => {
      const { seek } = first.engine.capabilities;
      if (!seek.has('offset') || !seek.has('time')) return;
      for (const id of ['a', 'b', 'c', 'd']) {
        await first.engine.send([outgoing('orders', id)]);
        await first.clock.advance(1_000);
      }
      const all = await take(first.engine, 'workers', 'orders');
      for (const delivery of all.slice(0, 3)) await settle(first.engine, delivery, ACK);
      await first.engine.seek('workers', ORDERS, { kind: 'offset', queue: 0, offset: 1 });
      let running = await again(first);
      t.equal(await settle(running.engine, all[3], ACK), 'STALE_RECEIPT');
      const sought = await take(running.engine, 'workers', 'orders', 2);
      t.match(sought, [{ attempt: 1, message: { messageId: 'b' } }, { message: { messageId: 'c' } }]);
      t.equal(await settle(running.engine, sought[0], ACK), 'ok');
      running = await again(running);
      t.same(textsOf(await take(running.engine, 'workers', 'orders')), ['d']);
      const time = all[2]!.message.storedAt;
      t.equal(await running.engine.offsetAt(ORDERS, time), 2, 'times are kept');
      await running.engine.seek('workers', ORDERS, { kind: 'time', time });
      running = await again(running);
      t.same(textsOf(await take(running.engine, 'workers', 'orders')), ['c', 'd']);
      await running.engine.seek('workers', ORDERS, { kind: 'latest' });
      running = await again(running);
      t.same(await take(running.engine, 'workers', 'orders'), []);
      await running.engine.seek('workers', ORDERS, { kind: 'earliest' });
      running = await again(running);
      t.same(textsOf(await take(running.engine, 'workers', 'orders')), ['a', 'b', 'c', 'd']);
      return running;
    });

    const checkOrder = (order: GroupOrder) => async (t: Test, first: RunningEngine) => {
      if (!first.engine.capabilities.fifo) return first;
      await addGroup(first.engine, 'ordered', order);
      let running = first;
      const random = new Random(7);
      const groups = ['m1', 'm2', 'm3', ''];
      const laneOf = ({ message }: Delivery) => message.messageGroup ?? '';
      const isOrdered = (lane: string) => lane !== '' || order === 'fifo';
      const sent = new Map<string, string[]>(groups.map((group) => [group, []]));
      const got = new Map<string, string[]>(groups.map((group) => [group, []]));
      let count = 0;
      let leased: Delivery[] = [];
      for (let life = 0; life < 8; life++) {
        for (let i = 0; i < 12; i++) {
          const messageGroup = random.pick(groups);
          const id = `${count++}`;
          sent.get(messageGroup)!.push(id);
          await running.engine.send([
            outgoing('orders', id, {
              messageGroup: messageGroup || undefined,
              body: Buffer.from(id.padEnd(random.pick([1, 900]))),
            }),
          ]);
        }
        const settleAll = async () => {
          for (const delivery of leased) {
            const lane = laneOf(delivery);
            const list = got.get(lane)!;
            const id = delivery.message.body.toString().trimEnd();
            if (isOrdered(lane) && id !== sent.get(lane)![list.length]) t.fail(`${id} of ${lane} after ${list.join()}`);
            list.push(id);
            t.equal(await settle(running.engine, delivery, ACK), 'ok');
          }
          leased = [];
        };
        // What was leased before the restart blocks its message groups until it is settled.
        const blocked = new Set(leased.map(laneOf).filter(isOrdered));
        const others = await take(running.engine, 'ordered', 'orders', 2);
        for (const other of others) t.notOk(blocked.has(laneOf(other)), `${laneOf(other)} is out`);
        await settleAll();
        leased = others;
        await settleAll();
        leased = await take(running.engine, 'ordered', 'orders', random.pick([1, 2, 5]));
        // Makes the lease durable.
        await running.engine.send([outgoing('orders', `${count}`, { messageGroup: 'm1' })]);
        sent.get('m1')!.push(`${count++}`);
        running = await again(running);
      }
      await running.clock.advance(30_000);
      leased = [];
      for (;;) {
        const deliveries = await take(running.engine, 'ordered', 'orders', 5);
        if (deliveries.length === 0) break;
        for (const delivery of deliveries) {
          got.get(laneOf(delivery))!.push(delivery.message.body.toString().trimEnd());
          await settle(running.engine, delivery, ACK);
        }
      }
      for (const [lane, ids] of sent) {
        t.same(isOrdered(lane) ? got.get(lane) : new Set(got.get(lane)), isOrdered(lane) ? ids : new Set(ids), lane);
      }
      return running;
    };
    check('order in a fifo group', checkOrder('fifo'));
    check('order in message groups', checkOrder('messageGroup'));
  }
}
