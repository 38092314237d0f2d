import type { Test } from 'tap';
import { viewMessage } from '../../core/model/message-view.ts';
import { deadLetterTopic } from '../../core/model/names.ts';
import type { StoredMessage } from '../../core/model/message.ts';
import type { Source } from '../../core/model/topic.ts';
import type { Delivery, MessageEngine, Settlement, SettleAction } from '../../core/ports/message-engine.ts';
import { settled } from '../helpers/manual-clock.ts';
import { Random } from '../helpers/random.ts';
import { addGroup, addTopic, NEVER_ABORTED, outgoing, request, type EngineFixture } from './fixture.ts';

const ORDERS: Source = { kind: 'topic', topic: 'orders', queue: 0 };

function ids(deliveries: readonly Delivery[]): string[] {
  return deliveries.map(({ message }) => message.body.toString());
}

function verdict(delivery: Delivery | undefined, action: SettleAction): Settlement[] {
  return [{ receipt: delivery!.receipt, action }];
}

async function codes(engine: MessageEngine, batch: readonly Settlement[]): Promise<string[]> {
  return (await engine.settle(batch)).map((outcome) => (outcome.ok ? 'ok' : outcome.error.code));
}

/** What is easier said than found by chance. */
export function runDirectedTests(t: Test, fixture: EngineFixture): void {
  const check = (name: string, run: (t: Test, made: Awaited<ReturnType<typeof fixture.create>>) => Promise<void>) =>
    void t.test(`${fixture.name}: ${name}`, async (t) => {
      const made = await fixture.create();
      await addTopic(made.engine, 'orders');
      await addGroup(made.engine, 'workers', 'concurrent', 3);
      await made.engine.receive(request('workers', 'orders'), NEVER_ABORTED);
      try {
        await run(t, made);
      } finally {
        await made.engine.stop();
      }
    });

  check('a waiting receive ends with an arrival, its time, its signal, or the engine', async (t, { engine, clock }) => {
    const wait = (signal = NEVER_ABORTED) => engine.receive(request('workers', 'orders', { waitMs: 5_000 }), signal);
    const arrival = wait();
    await engine.send([outgoing('orders', 'a')]);
    t.same(ids(await arrival), ['a']);

    const started = clock.now();
    const timeout = wait().then((deliveries) => ({ deliveries, at: clock.now() }));
    await clock.advance(6_000);
    const { deliveries, at } = await timeout;
    t.same(deliveries, []);
    t.ok(at >= started + 5_000 && at <= started + 5_000 + fixture.toleranceMs);

    const abort = new AbortController();
    const aborted = wait(abort.signal);
    abort.abort();
    t.same(await aborted, []);
    t.same(await wait(abort.signal), []);
    await engine.send([outgoing('orders', 'b')]);
    t.same(ids(await engine.receive(request('workers', 'orders'), NEVER_ABORTED)), ['b']);

    const last = wait();
    await engine.stop();
    t.same(await last, []);
  });

  check('a waiting receive ends when a lease ends or a message is released', async (t, { engine, clock }) => {
    await engine.send([outgoing('orders', 'a')]);
    const [first] = await engine.receive(request('workers', 'orders', { leaseMs: 1_000 }), NEVER_ABORTED);
    const wait = () => engine.receive(request('workers', 'orders', { waitMs: 60_000 }), NEVER_ABORTED);
    const afterLease = wait();
    await clock.advance(1_000);
    const [second] = await afterLease;
    t.match(second, { attempt: 2 });
    t.same(await codes(engine, verdict(first, { kind: 'ack' })), ['STALE_RECEIPT']);

    const afterRelease = wait();
    await engine.settle(verdict(second, { kind: 'release', delayMs: 0, countAttempt: false }));
    const [third] = await afterRelease;
    t.match(third, { attempt: 2 });

    const afterDelay = wait();
    await engine.settle(verdict(third, { kind: 'release', delayMs: 2_000, countAttempt: true }));
    await clock.advance(2_000);
    t.match((await afterDelay)[0], { attempt: 3 });
  });

  check('one arrival goes to one of those who wait', async (t, { engine, clock }) => {
    const waiting = Array.from({ length: 5 }, () =>
      engine.receive(request('workers', 'orders', { waitMs: 2_000, max: 1 }), NEVER_ABORTED),
    );
    await engine.send([outgoing('orders', 'a'), outgoing('orders', 'b')]);
    await clock.advance(2_000);
    t.same((await Promise.all(waiting)).flatMap(ids).toSorted(), ['a', 'b']);
  });

  check('a waiting receive ends when what it waits for is deleted', async (t, { engine }) => {
    await engine.ensureLightQueue('light', { durable: false });
    const light: Source = { kind: 'light', name: 'light' };
    const wait = (group: string, source: Source) =>
      engine.receive(request(group, source, { waitMs: 60_000 }), NEVER_ABORTED);
    await addGroup(engine, 'temporary');
    await addTopic(engine, 'elsewhere');
    const [onLight, onGroup, onTopic] = [wait('workers', light), wait('temporary', ORDERS), wait('workers', ORDERS)];
    await engine.deleteLightQueue('light');
    t.same(await onLight, []);
    await Promise.all([
      t.rejects(onGroup, { code: 'CONSUMER_GROUP_NOT_FOUND' }),
      t.rejects(onTopic, { code: 'TOPIC_NOT_FOUND' }),
      engine.deleteGroup('temporary'),
      engine.deleteTopic('orders'),
    ]);
    // Nothing is left behind that could fail the others.
    await engine.send([outgoing('elsewhere', 'a')]);
    const [delivery] = await engine.receive(request('workers', 'elsewhere'), NEVER_ABORTED);
    t.same(await codes(engine, verdict(delivery, { kind: 'ack' })), ['ok']);
    await t.rejects(engine.receive(request('temporary', 'elsewhere'), NEVER_ABORTED), {
      code: 'CONSUMER_GROUP_NOT_FOUND',
    });
    await t.rejects(engine.receive(request('workers', 'orders'), NEVER_ABORTED), { code: 'TOPIC_NOT_FOUND' });
  });

  check('the limit of attempts leads to the dead letter topic', async (t, { engine, clock }) => {
    await engine.send([outgoing('orders', 'a', { messageId: 'ID-A', tag: 'T', properties: [['k', 'v']] })]);
    for (let attempt = 1; attempt <= 3; attempt++) {
      const [delivery] = await engine.receive(request('workers', 'orders', { leaseMs: 1_000 }), NEVER_ABORTED);
      t.equal(delivery?.attempt, attempt);
      await clock.advance(1_000 + fixture.toleranceMs);
    }
    t.same(await engine.receive(request('workers', 'orders'), NEVER_ABORTED), []);
    await settled();
    const { messages } = await engine.read({ kind: 'topic', topic: deadLetterTopic('workers'), queue: 0 }, 0, 10, 1e6);
    t.equal(messages.length, 1);
    t.match(viewMessage(messages[0]!, new Map()), {
      messageId: 'ID-A',
      tag: 'T',
      properties: [['k', 'v']],
      address: 'orders/a',
      deadLetter: { topic: 'orders', messageId: 'ID-A' },
    });
    await addGroup(engine, 'undertakers');
    const dead = await engine.receive(request('undertakers', deadLetterTopic('workers')), NEVER_ABORTED);
    t.match(dead, [{ attempt: 1 }]);
  });

  check('receipts of another group, of nobody, and of before a change of order do nothing', async (t, { engine }) => {
    await addGroup(engine, 'others');
    await engine.send([outgoing('orders', 'a')]);
    const [delivery] = await engine.receive(request('workers', 'orders'), NEVER_ABORTED);
    const { receipt } = delivery!;
    const forged = ['', 'x', '...', `0${receipt}`, `${receipt}0`, receipt.slice(1), 'é'.repeat(100)];
    t.same(
      await codes(engine, [
        ...forged.map((text) => ({ receipt: text, action: { kind: 'ack' as const } })),
        { receipt, group: 'others', action: { kind: 'ack' } },
        { receipt, group: 'workers', action: { kind: 'extend', ms: 1_000, keepReceipt: true } },
      ]),
      [...forged, ''].map(() => 'STALE_RECEIPT').concat('ok'),
    );
    if (!engine.capabilities.fifo) return;
    await addGroup(engine, 'workers', 'fifo', 3);
    const [again] = await engine.receive(request('workers', 'orders'), NEVER_ABORTED);
    t.ok(again);
    t.same(await codes(engine, verdict(delivery, { kind: 'ack' })), ['STALE_RECEIPT']);
    t.same(await codes(engine, verdict(again, { kind: 'ack' })), ['ok']);
  });

  check('message groups in order, all else side by side', async (t, { engine, clock }) => {
    if (!engine.capabilities.fifo) return;
    await addGroup(engine, 'grouped', 'messageGroup');
    const take = async (max: number, changes = {}) => {
      const deliveries = await engine.receive(request('grouped', ORDERS, { max, ...changes }), NEVER_ABORTED);
      return { ids: ids(deliveries), deliveries };
    };
    const sent = [['a1', 'a'], ['x'], ['a2', 'a'], ['b1', 'b'], ['y'], ['b2', 'b'], ['a3', 'a']] as const;
    for (const [id, messageGroup] of sent) await engine.send([outgoing('orders', id, { messageGroup })]);
    const first = await take(2);
    t.same(first.ids, ['a1', 'x']);
    const second = await take(32, { perMessageGroupMax: 1 });
    t.same(second.ids, ['b1', 'y'], 'a waits for its first message');
    t.same((await take(32)).ids, []);
    await engine.settle(verdict(second.deliveries[0], { kind: 'ack' }));
    t.same((await take(32)).ids, ['b2']);
    const release = { kind: 'release', delayMs: 1_000, countAttempt: true } as const;
    const receipts = first.deliveries.map(({ receipt }) => ({ receipt, action: release }));
    await engine.settle([...receipts, ...verdict(second.deliveries[1], release)]);
    t.same((await take(32)).ids, [], 'all wait');
    await clock.advance(1_000 + fixture.toleranceMs);
    t.same((await take(1, { select: ({ body }: StoredMessage) => body.toString() === 'y' })).ids, ['y']);
    t.same((await take(32)).ids.toSorted(), ['a1', 'a2', 'a3', 'x']);
  });

  check('a message extended to where it was comes back once', async (t, { engine, clock }) => {
    await engine.send([outgoing('orders', 'a')]);
    const [delivery] = await engine.receive(request('workers', 'orders', { leaseMs: 1_000 }), NEVER_ABORTED);
    await engine.settle(verdict(delivery, { kind: 'extend', ms: 1_000, keepReceipt: true }));
    await clock.advance(1_000 + fixture.toleranceMs);
    const again = await engine.receive(request('workers', 'orders'), NEVER_ABORTED);
    t.match(again, [{ attempt: 2 }]);
    t.equal(again.length, 1);
  });

  check('seek to an offset and to a time', async (t, { engine, clock }) => {
    const { seek } = engine.capabilities;
    for (const id of ['a', 'b', 'c']) {
      await engine.send([outgoing('orders', id)]);
      await clock.advance(1_000);
    }
    const all = await engine.receive(request('workers', 'orders'), NEVER_ABORTED);
    await engine.settle(all.map(({ receipt }) => ({ receipt, action: { kind: 'ack' } })));
    const [, second] = all;
    if (seek.has('time')) {
      t.equal(await engine.offsetAt(ORDERS, second!.message.storedAt), second!.message.offset);
      await engine.seek('workers', ORDERS, { kind: 'time', time: second!.message.storedAt });
      t.same(ids(await engine.receive(request('workers', 'orders'), NEVER_ABORTED)), ['b', 'c']);
    }
    if (seek.has('offset')) {
      const waiting = engine.receive(request('workers', 'orders', { waitMs: 60_000 }), NEVER_ABORTED);
      await engine.seek('workers', ORDERS, { kind: 'offset', queue: 0, offset: second!.message.offset });
      t.same(ids(await waiting), ['b', 'c']);
      await engine.seek('workers', ORDERS, { kind: 'offset', queue: 0, offset: 1e9 });
      t.same(await engine.receive(request('workers', 'orders'), NEVER_ABORTED), []);
    }
  });

  check('a bad message fails alone, a bad transaction as a whole', async (t, { engine }) => {
    const [bad, good] = await engine.send([outgoing('nowhere', 'x'), outgoing('orders', 'a')]);
    t.match(bad, { ok: false, error: { code: 'TOPIC_NOT_FOUND' } });
    t.match(good, { ok: true });
    const [delivery] = await engine.receive(request('workers', 'orders'), NEVER_ABORTED);
    const ack = verdict(delivery, { kind: 'ack' });
    const refused = await engine.transact([outgoing('orders', 'b'), outgoing('nowhere', 'x')], ack);
    t.match(refused, { ok: false, error: { code: 'TOPIC_NOT_FOUND' } });
    t.match(await engine.transact([outgoing('orders', 'c')], [...ack, ...ack]), { error: { code: 'STALE_RECEIPT' } });
    t.match(await engine.transact([outgoing('orders', 'd')], ack), { ok: true, value: [{ queue: 0 }] });
    t.same(ids(await engine.receive(request('workers', 'orders'), NEVER_ABORTED)), ['d']);
    t.same(await codes(engine, ack), ['STALE_RECEIPT']);
  });

  check('what is given up for age is gone for everyone', async (t, { engine, clock }) => {
    await addTopic(engine, 'short', 1, { ms: 60_000, bytesPerQueue: 1 << 26 });
    await engine.ensureLightQueue('light', { durable: false });
    const body = Buffer.alloc(20_000, 1);
    const old = Array.from({ length: 30 }, () => outgoing('short', 'old', { body, lightQueues: ['light'] }));
    await engine.send(old);
    await clock.advance(100_000);
    // The newest part of a queue may stay; everything before it has to go.
    const { first, next } = await engine.offsets({ kind: 'topic', topic: 'short', queue: 0 });
    t.ok(first > 0 && first <= next);
    const { messages } = await engine.read({ kind: 'light', name: 'light' }, 0, 100, 1e9);
    t.equal(messages.length, next - first);
    t.ok(messages.every(({ offset }) => offset >= first));
  });

  check('what all groups acknowledged goes by whole blocks, where the topic says so', async (t, { engine, clock }) => {
    await addTopic(engine, 'jobs', 1, { ms: 1e12, bytesPerQueue: 1e12, consumed: true });
    const jobs: Source = { kind: 'topic', topic: 'jobs', queue: 0 };
    for (const group of ['fast', 'slow', 'elsewhere']) await addGroup(engine, group);
    for (const group of ['fast', 'slow']) await engine.receive(request(group, 'jobs'), NEVER_ABORTED);
    const body = Buffer.alloc(20_000, 1);
    await engine.send(Array.from({ length: 60 }, () => outgoing('jobs', 'x', { body })));
    const acknowledge = async (group: string, max: number) => {
      const deliveries = await engine.receive(request(group, 'jobs', { max }), NEVER_ABORTED);
      await engine.settle(deliveries.map(({ receipt }) => ({ receipt, action: { kind: 'ack' } })));
      await clock.advance(20_000);
      return deliveries.length;
    };
    t.equal(await acknowledge('fast', 60), 60);
    t.same(await engine.offsets(jobs), { first: 0, next: 60 }, 'a group that lags holds it');
    t.equal(await acknowledge('slow', 45), 45);
    const { first } = await engine.offsets(jobs);
    t.ok(first > 0 && first <= 45, `from ${first} on`);
    // What is leased is not acknowledged.
    const [leased] = await engine.receive(request('slow', 'jobs', { max: 1 }), NEVER_ABORTED);
    t.equal(leased!.message.offset, 45);
    t.equal(await acknowledge('slow', 60), 14);
    t.ok((await engine.offsets(jobs)).first <= 45);
    t.match(await engine.settle(verdict(leased, { kind: 'ack' })), [{ ok: true }]);
    await clock.advance(20_000);
    const end = await engine.offsets(jobs);
    t.ok(end.first > 45 && end.next === 60, `from ${end.first} on`);
    t.match(await engine.groupState('slow', jobs), [{ floor: 60, inflight: 0, lag: 0 }]);
    // Other topics keep what everyone has.
    t.same(await engine.offsets(ORDERS), { first: 0, next: 0 });
  });

  check('after the end nothing is promised', async (t, { engine }) => {
    await engine.send([outgoing('orders', 'a')]);
    const [delivery] = await engine.receive(request('workers', 'orders'), NEVER_ABORTED);
    const refused = { ok: false, error: { code: 'SHUTTING_DOWN' } };
    await engine.stop();
    t.match(await engine.send([outgoing('orders', 'b')]), [refused]);
    t.match(await engine.settle(verdict(delivery, { kind: 'ack' })), [refused]);
    t.match(await engine.transact([], verdict(delivery, { kind: 'ack' })), refused);
    t.same(await engine.receive(request('workers', 'orders', { waitMs: 1_000 }), NEVER_ABORTED), []);
    if (engine.capabilities.transactions) {
      t.match(await engine.prepare(outgoing('orders', 'c'), { checkAfterMs: 1 }), refused);
      t.match(await engine.resolve('none', 'commit'), refused);
    }
    if (engine.capabilities.delay !== false) t.match(await engine.cancelDelayed('none'), refused);
  });

  if (fixture.restart === undefined) return;
  void t.test(`${fixture.name}: a restart keeps what was confirmed`, async (t) => {
    let running = await fixture.create();
    await addTopic(running.engine, 'orders');
    await addGroup(running.engine, 'workers', 'concurrent', 3);
    await running.engine.send(['a', 'b', 'c'].map((id) => outgoing('orders', id)));
    const [a, b] = await running.engine.receive(request('workers', 'orders', { max: 2 }), NEVER_ABORTED);
    await running.engine.settle(verdict(a, { kind: 'ack' }));
    running = await fixture.restart!(running, new Random(1));
    t.same(ids(await running.engine.receive(request('workers', 'orders'), NEVER_ABORTED)), ['c']);
    t.same(await codes(running.engine, verdict(a, { kind: 'ack' })), ['STALE_RECEIPT']);
    t.same(await codes(running.engine, verdict(b, { kind: 'ack' })), ['ok']);
    await running.engine.stop();
  });
}
