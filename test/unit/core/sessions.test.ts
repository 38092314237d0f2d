import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openEmbeddedEngine } from '../../../adapters/storage/embedded/open.ts';
import type { ClientSession } from '../../../core/broker.ts';
import { encodeMessage } from '../../../core/model/message.ts';
import { OutgoingMessage } from '../../../core/ports/message-engine.ts';
import { ManualClock } from '../../helpers/manual-clock.ts';
import { startMqttServer } from '../../helpers/mqtt-server.ts';

/** A broker that can be stopped and started again on what it left. */
function makeHome(t: Test) {
  const dir = mkdtempSync(join(tmpdir(), 'gantry-sessions-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const clock = new ManualClock();
  return {
    clock,
    async start() {
      const { engine, meta } = openEmbeddedEngine({ dir, flush: 'none' });
      const server = await startMqttServer({}, [], { engine: { engine, meta }, clock });
      const { broker } = server;
      const session = async (clientId: string, expiryMs: number): Promise<ClientSession> => {
        const opened = await broker.sessions.open(clientId, { isClean: false, expiryMs });
        opened.session.state = { snapshot: () => null, keptFrom: ({ cursor }) => cursor!.offset };
        return opened.session;
      };
      const publish = async (count: number): Promise<void> => {
        const messages = Array.from({ length: count }, () =>
          encodeMessage({ address: 'a', body: Buffer.from('x'), bornAt: clock.now() }),
        );
        await broker.send(messages.map((message) => new OutgoingMessage('a', 'a', message)));
      };
      const offsets = () => engine.offsets({ kind: 'light', name: '%LMQ%a' });
      return { broker, meta, session, publish, offsets, close: () => server.close() };
    },
  };
}

async function readAll(session: ClientSession): Promise<number> {
  const cursor = session.subscriptions.get('a')!.cursor!;
  const end = await cursor.end();
  let count = 0;
  while (cursor.offset < end) {
    const ready = new Promise<void>((resolve) => (session.onReady = () => resolve()));
    const messages = cursor.read(500, 1e6);
    count += messages.length;
    if (messages.length === 0) await ready;
  }
  await session.save();
  return count;
}

void t.test(
  'what every session has passed is given up, after a restart too, and not before all are there',
  async (t) => {
    const home = makeHome(t);
    let life = await home.start();
    for (const clientId of ['ahead', 'behind']) {
      const session = await life.session(clientId, Infinity);
      await session.subscribe('a', {}, 'cursor');
      await session.save();
    }
    await life.publish(10_000);
    t.equal(await readAll(await life.session('ahead', Infinity)), 10_000);
    t.match(await life.offsets(), { first: 0, next: 10_000 });
    await life.close();

    life = await home.start();
    t.match(await life.offsets(), { first: 0, next: 10_000 }, 'one is still behind');
    t.equal(await readAll(await life.session('behind', Infinity)), 10_000);
    t.ok((await life.offsets()).first > 4096);
    await life.close();

    life = await home.start();
    await life.publish(6_000);
    for (const clientId of ['ahead', 'behind']) t.equal(await readAll(await life.session(clientId, Infinity)), 6_000);
    t.ok((await life.offsets()).first > 10_000, 'trimmed again');
    await life.close();
  },
);

void t.test('a session that expired while the gateway was down leaves nothing behind', async (t) => {
  const home = makeHome(t);
  let life = await home.start();
  for (const [clientId, expiryMs] of [
    ['long', 60_000],
    ['short', 1_000],
  ] as const) {
    const session = await life.session(clientId, expiryMs);
    await session.subscribe('a', {}, 'cursor');
    await life.broker.sessions.detach(session);
  }
  await life.publish(10);
  await life.close();

  await home.clock.advance(5_000);
  life = await home.start();
  t.equal(life.broker.sessions.count, 1);
  t.equal(await readAll(await life.session('long', 1_000)), 10, 'the other one still has everything');
  await life.broker.sessions.detach(await life.session('long', 1_000));
  await life.close();

  await home.clock.advance(5_000);
  life = await home.start();
  t.equal(life.broker.sessions.count, 0);
  await t.rejects(life.offsets(), { code: 'TOPIC_NOT_FOUND' });
  await life.close();
});

void t.test('an identifier released twice is durably forgotten before the second answer', async (t) => {
  const home = makeHome(t);
  const life = await home.start();
  const session = await life.session('publisher', Infinity);
  for (const change of session.receive(7)) if (change.kind === 'put') await life.meta.put(change.key, change.value);
  const order: string[] = [];
  const first = session.release(7)!.then(() => order.push('first'));
  const second = session.release(7);
  t.not(second, undefined, 'it waits as well');
  await Promise.all([first, second?.then(() => order.push('second'))]);
  t.same(order, ['first', 'second']);
  t.equal(session.release(7), undefined, 'nothing to wait for any more');
  await life.close();
});
