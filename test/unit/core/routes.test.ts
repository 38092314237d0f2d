import t from 'tap';
import { Routes, type RoutedFields, type RouteRule } from '../../../core/routing/routes.ts';
import { Random, seeds } from '../../helpers/random.ts';

const TELEMETRY: RouteRule = {
  filter: 'devices/{deviceId}/telemetry/#',
  topic: 'telemetry',
  messageGroup: '{deviceId}',
  keys: ['{deviceId}'],
  tag: '{rest}',
};

void t.test('the default route is the first level of the address, percent-encoded', async (t) => {
  const routes = new Routes();
  const topicOf = (address: string) => routes.resolve(address).topic;
  t.same(['a/b', 'a', '/a', 'ü x/1', '$x/y'].map(topicOf), ['a', 'a', 'mqtt', '%C3%BC%20x', '%24x']);
  t.same(routes.resolve('a/b'), { topic: 'a', keys: [] });
  t.throws(() => topicOf('TBW102/x'), { code: 'ILLEGAL_TOPIC' });
  t.throws(() => topicOf('x'.repeat(128)), { code: 'ILLEGAL_TOPIC' });
  const addressOf = (topic: string, tag?: string) => routes.addressOf({ topic, keys: [], tag });
  t.equal(addressOf('t'), 't');
  t.equal(addressOf('t', 'tag'), 't/tag');
  t.equal(addressOf('t', '50%'), 't/50%');
  t.equal(addressOf('t', 'C++#'), 't/C%2B%2B%23', 'no wildcard gets into an address');
  t.equal(addressOf('%C3%BC%20x'), 'ü x', 'a topic made of a level reads like it');
  t.equal(addressOf('%DLQ%g'), '%DLQ%g');
  t.equal(addressOf('%24x'), '%24x', 'nothing becomes one of the addresses of the gateway');
  t.equal(addressOf('%2Fa'), '%2Fa');
});

void t.test('placeholders', async (t) => {
  const routes = new Routes([
    TELEMETRY,
    { filter: '{tenant}/+/orders/{id}', topic: '{tenant}-orders', keys: ['{id}', '{2}:{4}'], tag: 'v{1}', queues: 8 },
    { filter: 'log/#', topic: '{1}', tag: '{3}', type: 'FIFO' },
    { filter: 'log/never', topic: 'never' },
  ]);
  const cases: [string, Partial<RoutedFields>][] = [
    ['devices/d1/telemetry/temp/c', { topic: 'telemetry', messageGroup: 'd1', keys: ['d1'], tag: 'temp/c' }],
    ['devices/d1/telemetry', { topic: 'telemetry', messageGroup: 'd1', keys: ['d1'], tag: undefined }],
    ['devices/d1/telemetry/', { topic: 'telemetry', messageGroup: 'd1', keys: ['d1'], tag: undefined }],
    ['devices//telemetry/x', { topic: 'telemetry', messageGroup: undefined, keys: [], tag: 'x' }],
    ['devices/d|1/telemetry/a|b', { messageGroup: 'd|1', keys: ['d|1'], tag: 'a%7Cb' }],
    ['devices/\u0001/telemetry/50%', { messageGroup: '%01', keys: ['%01'], tag: '50%' }],
    ['devices/d1/other', { topic: 'devices', keys: [] }],
    ['a b/x/orders/7', { topic: 'a%20b-orders', keys: ['7', 'x:7'], tag: 'va b' }],
    ['$a/x/orders/7', { topic: '%24a', keys: [] }],
    ['/x/orders/7', { topic: '-orders', keys: ['7', 'x:7'], tag: 'v' }],
    ['log', { topic: 'log', tag: undefined }],
    ['log/a/b/c', { topic: 'log', tag: 'b' }],
    ['log/never', { topic: 'log' }],
  ];
  for (const [address, fields] of cases) t.match(routes.resolve(address), fields, address);
  const group = (chars: number) => () => routes.resolve(`devices/${'é'.repeat(chars)}/telemetry`);
  t.equal(group(31)().messageGroup, 'é'.repeat(31));
  t.throws(group(32), { code: 'ILLEGAL_ADDRESS', message: /message group/ });
  t.throws(() => routes.resolve(`${'x'.repeat(121)}/x/orders/7`), { code: 'ILLEGAL_TOPIC' });
  t.same(
    ['telemetry', 'acme-orders', 'log', 'other'].map((topic) => routes.topicDefaults(topic)),
    [{}, { queues: 8 }, { type: 'FIFO' }, {}],
  );
});

void t.test('a topic without a name is mqtt', async (t) => {
  const routes = new Routes([{ filter: '+/x', topic: '{1}' }]);
  t.equal(routes.resolve('/x').topic, 'mqtt');
  t.equal(routes.resolve('a/x').topic, 'a');
});

void t.test('routes that cannot be used say which they are and why', async (t) => {
  const cases: [Partial<RouteRule>, RegExp][] = [
    [{ filter: '' }, /the filter of the route .*is empty/],
    [{ filter: 'a/#/b' }, /the filter of the route a\/#\/b .*not the last/],
    [{ filter: 'a/b+' }, /the route a\/b\+ .*not a whole level/],
    [{ filter: 'a/x{b}' }, /the route a\/x\{b\} /],
    [{ filter: 'a/{b c}' }, /\{b c\}, which cannot be a name/],
    [{ filter: 'a/{1}' }, /\{1\}, which cannot be a name/],
    [{ filter: 'a/{rest}' }, /\{rest\}, which cannot be a name/],
    [{ filter: '{a}/{a}' }, /two levels named \{a\}/],
    [{ topic: '' }, /the topic of the route devices\/\{id\} .*empty/],
    [{ topic: 'a/b' }, /the topic of the route devices\/\{id\} .*characters/],
    [{ topic: 'ü-{id}' }, /characters/],
    [{ topic: 'TBW102' }, /system topic/],
    [{ topic: '%DLQ%g' }, /writes that topic itself/],
    [{ topic: 'x'.repeat(128) }, /longer than 127/],
    [{ topic: '{name}' }, /the topic of the route devices\/\{id\} has \{name\}, which its filter does not/],
    [{ messageGroup: '{3}' }, /the messageGroup of the route devices\/\{id\} has \{3\}/],
    [{ messageGroup: '{0}' }, /has \{0\}/],
    [{ keys: ['{id}', '{rest}'] }, /the keys of the route devices\/\{id\} has \{rest\}/],
    [{ tag: '{id' }, /the tag of the route devices\/\{id\} has a \{ without \}/],
    [{ tag: 'id}' }, /has a \} without \{/],
  ];
  for (const [changes, message] of cases) {
    const rule = { filter: 'devices/{id}', topic: 't', ...changes };
    t.throws(() => new Routes([rule]), { code: 'BAD_REQUEST', message }, JSON.stringify(changes));
  }
});

void t.test('outward: the address is filled in when everything is known', async (t) => {
  const routes = new Routes([
    TELEMETRY,
    { filter: 'cmd/{device}/{verb}', topic: 'commands', tag: '{verb}', messageGroup: 'dev-{device}' },
    { filter: 'many/+', topic: 'many' },
    { filter: 'plain/#', topic: 'plain' },
    { filter: 'fixed/address', topic: 'fixed' },
  ]);
  const cases: [string, Partial<RoutedFields>, string][] = [
    ['telemetry', { messageGroup: 'd1', tag: 'temp/c' }, 'devices/d1/telemetry/temp/c'],
    ['telemetry', { messageGroup: 'd1' }, 'devices/d1/telemetry'],
    ['telemetry', { keys: ['d1'], tag: 'x' }, 'devices/d1/telemetry/x'],
    ['telemetry', { messageGroup: 'd1', keys: ['order-1'], tag: 'x' }, 'devices/d1/telemetry/x'],
    ['telemetry', { tag: 'x' }, 'telemetry/x'],
    ['telemetry', { messageGroup: 'a/b' }, 'telemetry'],
    ['telemetry', { messageGroup: 'a+' }, 'telemetry'],
    ['telemetry', { messageGroup: 'd1', tag: 'a#' }, 'telemetry/a%23'],
    ['telemetry', { messageGroup: 'd1', tag: 'a%7Cb' }, 'devices/d1/telemetry/a|b'],
    ['commands', { messageGroup: 'dev-7', tag: 'stop' }, 'cmd/7/stop'],
    ['commands', { messageGroup: '7', tag: 'stop' }, 'commands/stop'],
    ['commands', { messageGroup: 'dev-7' }, 'commands'],
    ['many', { tag: 'x' }, 'many/x'],
    ['plain', {}, 'plain'],
    ['fixed', { tag: 'x' }, 'fixed/address'],
  ];
  for (const [topic, fields, address] of cases) {
    t.equal(routes.addressOf({ topic, keys: [], ...fields }), address, JSON.stringify({ topic, ...fields }));
  }
  const shadowed = new Routes([
    { filter: 'a/x', topic: 'first' },
    { filter: 'a/{b}', topic: 'second', tag: '{b}' },
  ]);
  t.equal(shadowed.addressOf({ topic: 'second', keys: [], tag: 'y' }), 'a/y');
  t.equal(
    shadowed.addressOf({ topic: 'second', keys: [], tag: 'x' }),
    'second/x',
    'a device there would reach another topic',
  );
});

const WORDS = ['a', 'b-c', '7', 'ü', 'a b', '50%', 'x%41', '|', '%', '-', 'devices', 'TBW'];

/** A route in which every level is said by one of the templates, each a single placeholder. */
function randomRule(random: Random): RouteRule {
  const levels = Array.from({ length: random.int(1, 4) }, (_, i) => {
    return random.chance(0.4) ? random.pick(WORDS) : random.chance(0.5) ? `{n${i + 1}}` : '+';
  });
  const numbers = levels.flatMap((level, i) => (/^[+{]/.test(level) ? [i + 1] : []));
  const placeholder = (number: number) => (levels[number - 1] === '+' ? `{${number}}` : `{n${number}}`);
  const [first, second, ...others] = numbers;
  const hasRest = random.chance(0.5);
  return {
    filter: hasRest ? [...levels, '#'].join('/') : levels.join('/'),
    topic: first === undefined || random.chance(0.5) ? 'topic' : `t-${placeholder(first)}`,
    messageGroup: first === undefined ? undefined : placeholder(first),
    keys: [...(second === undefined ? [] : [second]), ...others].map(placeholder),
    tag: hasRest ? '{rest}' : undefined,
  };
}

void t.test('property: there and back again', async (t) => {
  for (const seed of seeds(2000)) {
    const random = new Random(seed);
    const routes = new Routes(Array.from({ length: random.int(1, 4) }, () => randomRule(random)));
    for (let i = 0; i < 10; i++) {
      const address = Array.from({ length: random.int(1, 6) }, () => random.pick(WORDS)).join('/');
      const fields = routes.resolve(address);
      const back = routes.addressOf(fields);
      const hint = `seed ${seed}: ${address} -> ${JSON.stringify(fields)} -> ${back}`;
      if (/[+#\0]/.test(back) || back === '') t.fail(`not an address: ${hint}`);
      // What no route is for keeps only its first level; and two addresses may say the same, told apart by nothing.
      const isRouted = fields.topic.startsWith('t-') || fields.topic === 'topic';
      const isSame = isRouted
        ? JSON.stringify(routes.resolve(back)) === JSON.stringify(fields)
        : back === address.split('/')[0];
      if (!isSame) t.fail(hint);
      const anything: RoutedFields = {
        topic: random.pick(['topic', 't-a', 't-%C3%BC', 'other', '%DLQ%g']),
        messageGroup: random.chance(0.5) ? random.pick(WORDS) : undefined,
        keys: random.some(WORDS, 0.2),
        tag: random.chance(0.5) ? random.text(6) : undefined,
      };
      if (/[+#\0]/.test(routes.addressOf(anything))) t.fail(`seed ${seed}: ${JSON.stringify(anything)}`);
    }
  }
  t.pass();
});
