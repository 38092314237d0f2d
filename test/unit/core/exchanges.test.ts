import t from 'tap';
import { BrokerError } from '../../../core/model/broker-error.ts';
import { Exchanges, type ExchangeType } from '../../../core/routing/exchanges.ts';
import { openMemoryEngine } from '../../../adapters/storage/embedded/open.ts';
import { ManualClock } from '../../helpers/manual-clock.ts';
import { SILENT } from '../../helpers/silent-logger.ts';

async function open(): Promise<{ exchanges: Exchanges; again: () => Promise<Exchanges> }> {
  const { engine, meta } = openMemoryEngine(64 * 1024 * 1024);
  await engine.start({ clock: new ManualClock(), log: SILENT, onFailure: (error) => t.fail(String(error)) });
  const load = async (): Promise<Exchanges> => {
    const exchanges = new Exchanges(meta);
    await exchanges.load();
    return exchanges;
  };
  return { exchanges: await load(), again: load };
}

const NO_HEADERS = (): undefined => undefined;

async function routes(
  exchanges: Exchanges,
  type: ExchangeType,
  keys: readonly string[],
  key: string,
): Promise<string[]> {
  const name = `${type}-${keys.join('+')}`;
  await exchanges.declare({ name, type, arguments: {} });
  for (const bound of keys) await exchanges.bind({ exchange: name, queue: bound, key: bound, arguments: {} });
  return exchanges.route(exchanges.get(name)!, key, NO_HEADERS);
}

t.test('direct, fanout and topic exchanges', async (t) => {
  const { exchanges } = await open();
  t.same(await routes(exchanges, 'direct', ['a', 'b'], 'b'), ['b']);
  t.same(await routes(exchanges, 'fanout', ['a', 'b'], 'x'), ['a', 'b']);
  const keys = ['a.b.c', 'a.*.c', 'a.#', '#', '#.c', 'a.*', '#.b.#', '*', 'b.#', 'a.#.b.#.c'];
  t.same(await routes(exchanges, 'topic', keys, 'a.b.c'), ['a.b.c', 'a.*.c', 'a.#', '#', '#.c', '#.b.#', 'a.#.b.#.c']);
  t.same(await routes(exchanges, 'topic', keys, 'a'), ['a.#', '#', '*']);
  t.same(await routes(exchanges, 'topic', keys, ''), ['#', '*'], 'an empty key is one empty word');
});

t.test('many wildcards cost no more than the two lengths', async (t) => {
  const { exchanges } = await open();
  const key = Array.from({ length: 120 }, () => 'a').join('.');
  t.same(await routes(exchanges, 'topic', [`${'#.a.'.repeat(50)}b`], key), []);
});

t.test('headers exchanges', async (t) => {
  const { exchanges } = await open();
  await exchanges.declare({ name: 'x', type: 'headers', arguments: {} });
  const exchange = exchanges.get('x')!;
  await exchanges.bind({ exchange: 'x', queue: 'all', key: '', arguments: { a: '1', b: '2' } });
  await exchanges.bind({ exchange: 'x', queue: 'any', key: '', arguments: { a: '1', b: '2', 'x-match': 'any' } });
  const route = (headers: Record<string, string>): string[] => exchanges.route(exchange, '', (name) => headers[name]);
  t.same(route({ a: '1', b: '2' }), ['all', 'any']);
  t.same(route({ a: '1', b: '3' }), ['any']);
  t.same(route({ c: '1' }), []);
});

t.test('one queue bound twice gets one message; unbound it gets none', async (t) => {
  const { exchanges, again } = await open();
  await exchanges.declare({ name: 'x', type: 'direct', arguments: {} });
  await exchanges.bind({ exchange: 'x', queue: 'q', key: 'a', arguments: {} });
  await exchanges.bind({ exchange: 'x', queue: 'q', key: 'b', arguments: {} });
  await exchanges.bind({ exchange: 'x', queue: 'r', key: 'a', arguments: {} });
  t.same(exchanges.route(exchanges.get('x')!, 'a', NO_HEADERS), ['q', 'r']);
  const restarted = await again();
  t.same(restarted.route(restarted.get('x')!, 'b', NO_HEADERS), ['q'], 'after a restart as well');
  await restarted.unbindQueue('q');
  t.same(restarted.route(restarted.get('x')!, 'a', NO_HEADERS), ['r']);
  await restarted.delete('x');
  t.equal(restarted.get('x'), undefined);
  t.same((await again()).bindingsOf('x'), []);
});

t.test('what cannot be', async (t) => {
  const { exchanges } = await open();
  await exchanges.declare({ name: 'x', type: 'direct', arguments: {} });
  await exchanges.declare({ name: 'x', type: 'direct', arguments: {} });
  await t.rejects(exchanges.declare({ name: 'x', type: 'fanout', arguments: {} }), BrokerError);
  await t.rejects(exchanges.bind({ exchange: 'y', queue: 'q', key: '', arguments: {} }), BrokerError);
});
