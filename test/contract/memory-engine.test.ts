import t from 'tap';
import { openMemoryEngine } from '../../adapters/storage/embedded/open.ts';
import { fail } from '../helpers/fail.ts';
import { ManualClock } from '../helpers/manual-clock.ts';
import { SILENT } from '../helpers/silent-logger.ts';
import { addTopic, NEVER_ABORTED, outgoing, request } from './fixture.ts';
import { runMessageEngineContract } from './message-engine.ts';

async function start(bytesMax = 1 << 28) {
  const { engine, meta } = openMemoryEngine(bytesMax);
  const clock = new ManualClock();
  await engine.start({ clock, log: SILENT, onFailure: fail });
  return { engine, meta, clock };
}

runMessageEngineContract(t, {
  name: 'memory',
  create: () => start(),
  histories: 200,
  stepsPerHistory: 200,
  toleranceMs: 0,
});

void t.test('a full store takes no messages but settles those it has', async (t) => {
  const { engine } = await start(100_000);
  await addTopic(engine, 'orders');
  await engine.ensureGroup({
    name: 'workers',
    order: 'concurrent',
    retry: { attemptsMax: 3, backoff: { kind: 'listed', delaysMs: [1] } },
  });
  t.match(await engine.send([outgoing('orders', 'a')]), [{ ok: true }]);
  const large = outgoing('orders', 'b', { body: Buffer.alloc(100_000) });
  t.match(await engine.send([large]), [{ ok: false, error: { code: 'STORE_FULL' } }]);
  const [delivery] = await engine.receive(request('workers', 'orders'), NEVER_ABORTED);
  t.match(await engine.settle([{ receipt: delivery!.receipt, action: { kind: 'ack' } }]), [{ ok: true }]);
  await engine.stop();
  t.match(await engine.send([outgoing('orders', 'c')]), [{ ok: false, error: { code: 'SHUTTING_DOWN' } }]);
});

void t.test('nothing is kept of delayed messages that are gone', async (t) => {
  const { engine, clock } = await start();
  await addTopic(engine, 'orders');
  for (let round = 0; round < 3; round++) {
    const made = Array.from({ length: 50 }, (_, i) =>
      outgoing('orders', `${i}`, { deliverAt: clock.now() + 1_000 + i }),
    );
    const [first] = await engine.send(made);
    if (first!.ok) await engine.cancelDelayed(first!.value.recallHandle!);
    await clock.advance(20_000);
  }
  t.same(await engine.offsets({ kind: 'topic', topic: 'orders', queue: 0 }), { first: 0, next: 147 });
  t.same(engine.state.held.takeChanges().removed, []);
  await engine.stop();
});
