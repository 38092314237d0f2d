import t from 'tap';
import { LinkError } from '../../../../../../adapters/amqp/v1/node.ts';
import { parseAddress, type NodeAddress } from '../../../../../../adapters/amqp/v1/nodes/address.ts';

/** Every way of writing an address that MAPPING names, and what it means. */
const ADDRESSES: readonly (readonly [text: string, capabilities: readonly string[], node: NodeAddress])[] = [
  ['/queues/orders', [], { kind: 'queue', queue: 'orders' }],
  ['/queues/a%2Fb%20c', [], { kind: 'queue', queue: 'a/b c' }],
  ['/queue/orders', [], { kind: 'queue', queue: 'orders' }],
  ['/amq/queue/orders', [], { kind: 'queue', queue: 'orders' }],
  ['queue://orders', [], { kind: 'queue', queue: 'orders' }],
  ['queue://a/b', [], { kind: 'queue', queue: 'a/b' }],
  ['temp-queue://x', [], { kind: 'queue', queue: 'x' }],
  ['queue:///queues/a%20b', ['queue'], { kind: 'queue', queue: 'a b' }],
  ['queue:///topics/t/a/b', ['queue'], { kind: 'topic', topic: 't', address: 'a/b' }],
  ['topic:///topics/t', ['topic'], { kind: 'topic', topic: 't', address: undefined }],
  ['queue:///else', [], { kind: 'queue', queue: '/else' }],
  ['/topics/news', [], { kind: 'topic', topic: 'news', address: undefined }],
  ['/topics/devices/devices/1/state', [], { kind: 'topic', topic: 'devices', address: 'devices/1/state' }],
  ['topic://news', [], { kind: 'topic', topic: 'news' }],
  ['topic://devices/+/state', [], { kind: 'address', address: 'devices/+/state' }],
  ['/groups/g/topics/t', [], { kind: 'group', group: 'g', topic: 't' }],
  ['t::g', [], { kind: 'group', topic: 't', group: 'g' }],
  ['t/Subscriptions/s', [], { kind: 'group', topic: 't', group: 's' }],
  ['t/subscriptions/s', [], { kind: 'group', topic: 't', group: 's' }],
  ['q/$deadletterqueue', [], { kind: 'deadLetter', group: 'q' }],
  ['q/$DeadLetterQueue', [], { kind: 'deadLetter', group: 'q' }],
  ['/queues/q/$deadletterqueue', [], { kind: 'deadLetter', group: 'q' }],
  ['t/Subscriptions/s/$deadletterqueue', [], { kind: 'deadLetter', group: 's' }],
  ['/exchanges/x/k', [], { kind: 'exchange', exchange: 'x', key: 'k' }],
  ['/exchanges/x', [], { kind: 'exchange', exchange: 'x', key: undefined }],
  ['/exchange/x/a%2Fb', [], { kind: 'exchange', exchange: 'x', key: 'a/b' }],
  ['/exchanges/amq.topic/devices.1.state', [], { kind: 'address', address: 'devices/1/state' }],
  ['/topic/devices.1.state', [], { kind: 'address', address: 'devices/1/state' }],
  ['$cbs', [], { kind: 'cbs' }],
  ['$management', [], { kind: 'management', of: '' }],
  ['/management', [], { kind: 'management', of: '' }],
  ['q/$management', [], { kind: 'management', of: 'q' }],
  ['orders', ['queue'], { kind: 'queue', queue: 'orders' }],
  ['orders', ['topic', 'shared'], { kind: 'topic', topic: 'orders' }],
  ['orders', ['temporary-topic'], { kind: 'topic', topic: 'orders' }],
  ['a.b.c', [], { kind: 'queue', queue: 'a.b.c' }],
];

t.test('every way of writing an address', (t) => {
  for (const [text, capabilities, node] of ADDRESSES) {
    t.same(parseAddress(text, capabilities, 'queue'), node, `${text} [${capabilities.join()}]`);
  }
  t.same(parseAddress('orders', [], 'topic'), { kind: 'topic', topic: 'orders' }, 'as configured');
  t.end();
});

t.test('addresses that name nothing', (t) => {
  for (const text of [
    '',
    '/',
    '/queues/',
    '/queues',
    '/nodes/x',
    '/groups/g',
    '/groups/g/queues/q',
    '/queues/%zz',
    '/topics//a',
  ]) {
    t.throws(() => parseAddress(text, [], 'queue'), LinkError, JSON.stringify(text));
  }
  t.throws(() => parseAddress('/topics/t/$deadletterqueue', [], 'queue'), LinkError, 'a topic has no dead letters');
  t.end();
});
