import { Metadata } from '@grpc/grpc-js';
import t from 'tap';
import { credentialsOf, type CallContext } from '../../../../adapters/grpc/call-context.ts';
import { ClientRegistry } from '../../../../adapters/grpc/client-registry.ts';
import { classify } from '../../../../adapters/grpc/connection-sniffer.ts';
import { Code } from '../../../../adapters/grpc/proto/generated/apache/rocketmq/v2/Code.ts';
import type { Settings__Output } from '../../../../adapters/grpc/proto/generated/apache/rocketmq/v2/Settings.ts';
import { consumerSettings, producerSettings } from '../../../../adapters/grpc/settings.ts';
import { CODE_OF, commonStatus, OK, ProtocolError, statusOf } from '../../../../adapters/grpc/status.ts';
import { fromMs } from '../../../../adapters/grpc/time.ts';
import { BROKER_ERROR_CODES, BrokerError } from '../../../../core/model/broker-error.ts';
import { DEFAULT_RETRY_POLICY, type GroupSpec } from '../../../../core/model/consumer-group.ts';
import { ManualClock } from '../../../helpers/manual-clock.ts';

t.test('every failure of the core has a code of the protocol', async (t) => {
  for (const code of BROKER_ERROR_CODES) {
    t.ok(Object.hasOwn(Code, CODE_OF[code]), code);
    t.strictSame(statusOf(new BrokerError(code, 'why')), { code: CODE_OF[code], message: 'why' });
    // Those RocketMQ has too keep their name.
    if (Object.hasOwn(Code, code)) t.equal(CODE_OF[code], code);
  }
  t.strictSame(statusOf(new ProtocolError('CLIENT_ID_REQUIRED', 'x')), { code: 'CLIENT_ID_REQUIRED', message: 'x' });
  t.strictSame(statusOf(new Error('secret')), { code: 'INTERNAL_SERVER_ERROR', message: 'internal error' });
});

t.test('the status of a batch', async (t) => {
  const stale = { code: 'INVALID_RECEIPT_HANDLE', message: 'stale' } as const;
  t.equal(commonStatus([]), OK);
  t.equal(commonStatus([OK, OK]), OK);
  t.equal(commonStatus([stale, { ...stale }]), stale);
  t.equal(commonStatus([OK, stale]).code, 'MULTIPLE_RESULTS');
});

const CLIENT: Settings__Output = {
  clientType: 'PUSH_CONSUMER',
  accessPoint: { scheme: 'IPv4', addresses: [{ host: '10.0.0.1', port: 8081 }] },
  requestTimeout: { seconds: 3, nanos: 0 },
  userAgent: { language: 'JAVA', version: '5', platform: 'p', hostname: 'h' },
  metric: null,
};
const GROUP: GroupSpec = { name: 'g', order: 'concurrent', retry: DEFAULT_RETRY_POLICY };
const EXPONENTIAL: GroupSpec = {
  name: 'g',
  order: 'fifo',
  retry: { attemptsMax: 4, backoff: { kind: 'exponential', initialMs: 1500, maxMs: 5000, multiplier: 2 } },
};

t.test('settings of a producer', async (t) => {
  const topics = [{ name: 'T', resourceNamespace: 'ns' }];
  const publishing = { topics, maxBodySize: 0, validateMessageType: false };
  const settings = producerSettings({ ...CLIENT, clientType: 'PRODUCER', pubSub: 'publishing', publishing }, 4 << 20);
  t.match(settings, {
    clientType: 'PRODUCER',
    accessPoint: CLIENT.accessPoint,
    requestTimeout: CLIENT.requestTimeout,
    userAgent: CLIENT.userAgent,
    pubSub: 'publishing',
    publishing: { topics, maxBodySize: 4 << 20, validateMessageType: true },
    backoffPolicy: { maxAttempts: 3, strategy: 'exponentialBackoff' },
    metric: { on: false },
  });
});

t.test('settings of a consumer', async (t) => {
  const group = { name: 'g', resourceNamespace: 'ns' };
  const subscription = { group, subscriptions: [{ topic: { name: 'T', resourceNamespace: 'ns' }, expression: null }] };
  const client: Settings__Output = { ...CLIENT, pubSub: 'subscription', subscription };
  const java = consumerSettings(client, GROUP, 'JAVA');
  t.match(java.subscription, {
    ...subscription,
    fifo: false,
    receiveBatchSize: 32,
    longPollingTimeout: { seconds: 20, nanos: 0 },
  });
  t.match(java, { metric: { on: false }, pubSub: 'subscription' });
  t.equal(java.backoffPolicy?.maxAttempts, 17);
  t.equal(java.backoffPolicy?.customizedBackoff?.next?.length, 18);
  t.match(java.backoffPolicy?.customizedBackoff?.next?.[1], { seconds: 5, nanos: 0 });

  const node = consumerSettings(client, GROUP, 'HTTP').backoffPolicy;
  t.match(node?.exponentialBackoff, { initial: fromMs(1000), max: fromMs(7_200_000), multiplier: 2 });
  t.notOk(node?.customizedBackoff);

  t.equal(consumerSettings(client, EXPONENTIAL, 'GO').subscription?.fifo, true);
  t.match(consumerSettings(client, EXPONENTIAL, 'GO').backoffPolicy?.exponentialBackoff, { initial: fromMs(1500) });
  const python = consumerSettings(client, EXPONENTIAL, 'PYTHON').backoffPolicy;
  t.strictSame(python?.customizedBackoff?.next, [2000, 3000, 5000, 5000].map(fromMs), 'listed, whole seconds');
});

function contextOf(clientId: string, name = 'me'): CallContext {
  return { clientId, language: 'JAVA', principal: { name, anonymous: false }, deadline: Infinity };
}

t.test('clients come, fall silent, and go', async (t) => {
  const clock = new ManualClock();
  const gone: string[] = [];
  const registry = new ClientRegistry(clock, 2, (id) => gone.push(id));
  const a = registry.enter(contextOf('a'));
  let ended = 0;
  a.streams.add({ sendSettings: () => {}, end: () => void ended++ });
  t.equal(registry.enter(contextOf('a')), a);
  t.equal(registry.seen(contextOf('b')), undefined);
  t.throws(() => registry.seen(contextOf('a', 'thief')), { code: 'UNAUTHORIZED' });
  const b = registry.enter(contextOf('b'));
  t.throws(() => registry.enter(contextOf('c')), { code: 'THROTTLED' });

  await clock.advance(100_000);
  registry.seen(contextOf('b'));
  await clock.advance(19_999);
  t.strictSame(gone, [], 'not before 120 s');
  await clock.advance(10_001);
  t.strictSame(gone, ['a']);
  t.equal(ended, 1);
  t.equal(registry.count, 1);

  registry.remove(b);
  registry.remove(b);
  t.strictSame(gone, ['a', 'b'], 'told once');
  registry.enter(contextOf('d'));
  registry.stop();
  t.strictSame(gone, ['a', 'b'], 'a gateway that stops says nothing about its clients');
  t.equal(registry.count, 0);
});

t.test('credentials', async (t) => {
  const read = (authorization?: string): object => {
    const metadata = new Metadata();
    metadata.set('x-mq-date-time', '20261123T103000Z');
    if (authorization !== undefined) metadata.set('authorization', authorization);
    return credentialsOf(metadata);
  };
  const signed = (credential: string): string =>
    `MQv2-HMAC-SHA1 Credential=${credential}, SignedHeaders=x-mq-date-time, Signature=AbC1`;
  const expected = { kind: 'signature', accessKey: 'ak', signed: '20261123T103000Z', signature: 'AbC1' };
  for (const credential of ['ak', 'ak//Rocketmq', 'ak/region/service'])
    t.strictSame(read(signed(credential)), expected);
  for (const none of [undefined, '', ' ', signed(''), signed('//Rocketmq')]) t.strictSame(read(none), { kind: 'none' });
  for (const bad of ['Basic dTpw', 'MQv2-HMAC-SHA1', 'nonsense']) t.throws(() => read(bad), { code: 'UNAUTHORIZED' });
});

t.test('first bytes', async (t) => {
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
  t.equal(classify(Buffer.from(preface)), 'http2');
  for (let i = 0; i < preface.length; i++) t.equal(classify(Buffer.from(preface.slice(0, i))), 'more', `${i} bytes`);
  t.equal(classify(Buffer.from([0x16, 3, 1])), 'tls');
  for (const line of ['GET / HTTP/1.1', 'POST /x', 'OPTIONS *', 'PRI * HTTP/1.1']) {
    t.equal(classify(Buffer.from(line)), 'http1', line);
  }
  t.equal(classify(Buffer.from('PROPF')), 'more');
  for (const bytes of ['\0\0', 'AMQP\0', '\x10\x10', 'get /', 'ABCDEFGHIJKLMNOPQRS', 'A ']) {
    t.equal(classify(Buffer.from(bytes, 'latin1')), 'unknown', JSON.stringify(bytes));
  }
});
