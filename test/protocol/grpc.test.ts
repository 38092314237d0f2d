import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { credentials, status as GrpcStatus } from '@grpc/grpc-js';
import t from 'tap';
import type { Endpoints } from '../../adapters/grpc/proto/generated/apache/rocketmq/v2/Endpoints.ts';
import type { Message__Output } from '../../adapters/grpc/proto/generated/apache/rocketmq/v2/Message.ts';
import type { Settings } from '../../adapters/grpc/proto/generated/apache/rocketmq/v2/Settings.ts';
import { fromMs } from '../../adapters/grpc/time.ts';
import { DEFAULT_RETRY_POLICY } from '../../core/model/consumer-group.ts';
import type { Authenticator } from '../../core/ports/authenticator.ts';
import { GrpcTestClient, message, receiveRequest, type TestClientOptions } from '../helpers/grpc-client.ts';
import { startGrpcServer } from '../helpers/grpc-server.ts';
import { TEST_CERTIFICATE } from '../helpers/test-certificate.ts';

const server = await startGrpcServer({ tls: TEST_CERTIFICATE, options: { handshakeTimeoutMs: 300 } });
t.teardown(() => server.close());

const ENDPOINTS: Endpoints = { scheme: 'IPv4', addresses: [{ host: '203.0.113.7', port: 30_081 }] };

function client(
  t: { teardown(done: () => void): void },
  options: TestClientOptions = {},
  port = server.port,
): GrpcTestClient {
  const made = new GrpcTestClient(port, options);
  t.teardown(() => made.close());
  return made;
}

function producer(...topics: string[]): Settings {
  return { clientType: 'PRODUCER', publishing: { topics: topics.map((name) => ({ name })) } };
}

function consumer(group: string, topic: string): Settings {
  return {
    clientType: 'PUSH_CONSUMER',
    subscription: {
      group: { name: group, resourceNamespace: 'ns' },
      subscriptions: [{ topic: { name: topic, resourceNamespace: 'ns' } }],
    },
  };
}

async function ack(c: GrpcTestClient, group: string, topic: string, ...receipts: (string | undefined)[]) {
  return c.call('AckMessage', {
    group: { name: group },
    topic: { name: topic },
    entries: receipts.map((receiptHandle) => ({ messageId: 'x', receiptHandle: receiptHandle ?? '' })),
  });
}

function bodies(messages: readonly { body: Buffer | Uint8Array }[]): string[] {
  return messages.map(({ body }) => Buffer.from(body).toString());
}

t.test('routes', async (t) => {
  const c = client(t);
  const route = await c.call('QueryRoute', { topic: { name: 'fresh', resourceNamespace: 'ns' }, endpoints: ENDPOINTS });
  t.equal(route.status?.code, 'OK');
  t.strictSame(
    route.messageQueues.map(({ id }) => id),
    [0, 1, 2, 3],
  );
  for (const queue of route.messageQueues) {
    t.match(queue, {
      topic: { name: 'fresh', resourceNamespace: 'ns' },
      permission: 'READ_WRITE',
      broker: { name: 'gantry', id: 0, endpoints: ENDPOINTS },
      acceptMessageTypes: ['NORMAL', 'FIFO'],
    });
  }
  t.ok(server.broker.topics.get('fresh'), 'created on first use');
  const codeOf = async (name: string, endpoints: object = ENDPOINTS) =>
    (await c.call('QueryRoute', { topic: { name }, endpoints })).status?.code;
  t.equal(await codeOf('bad name'), 'ILLEGAL_TOPIC');
  t.equal(await codeOf(''), 'ILLEGAL_TOPIC');
  t.equal(await codeOf('TBW102'), 'ILLEGAL_TOPIC');
  t.equal(await codeOf('fresh', { addresses: [] }), 'ILLEGAL_ACCESS_POINT');
});

t.test('a topic that does not exist', async (t) => {
  const strict = await startGrpcServer({ autoCreate: false });
  t.teardown(() => strict.close());
  const c = client(t, {}, strict.port);
  const { status } = await c.call('QueryRoute', { topic: { name: 'nope' }, endpoints: ENDPOINTS });
  t.equal(status?.code, 'TOPIC_NOT_FOUND');
  t.match(status?.message, 'CODE: 17  DESC: No topic route info in name server for the topic: nope');
  const sent = await c.send('nope', 'x');
  t.match(sent, { status: { code: 'TOPIC_NOT_FOUND' }, entries: [{ status: { code: 'TOPIC_NOT_FOUND' } }] });
  t.equal(await c.receiveCode('g', 'nope'), 'TOPIC_NOT_FOUND');
  await strict.broker.topics.put({ name: 'there' });
  t.equal(await c.receiveCode('nobody', 'there'), 'CONSUMER_GROUP_NOT_FOUND');
});

t.test('assignments', async (t) => {
  const c = client(t);
  await server.broker.groups.put({ name: 'in-order', order: 'fifo' });
  const ids = async (group: string) => {
    const request = { topic: { name: 'assigned' }, group: { name: group }, endpoints: ENDPOINTS };
    const { status, assignments } = await c.call('QueryAssignment', request);
    t.equal(status?.code, 'OK');
    for (const { messageQueue } of assignments) t.match(messageQueue?.broker, { id: 0, endpoints: ENDPOINTS });
    return assignments.map(({ messageQueue }) => messageQueue?.id);
  };
  t.strictSame(await ids('any-order'), [-1]);
  t.strictSame(await ids('in-order'), [0, 1, 2, 3]);
});

t.test('a call without a client id', async (t) => {
  const c = client(t, { clientId: '' });
  const unary = ['QueryRoute', 'QueryAssignment', 'Heartbeat', 'SendMessage', 'AckMessage'] as const;
  const others = ['ChangeInvisibleDuration', 'ForwardMessageToDeadLetterQueue', 'NotifyClientTermination'] as const;
  for (const name of [...unary, ...others]) {
    t.equal((await c.call(name, {})).status?.code, 'CLIENT_ID_REQUIRED', name);
  }
  t.equal(await c.receiveCode('g', 't'), 'CLIENT_ID_REQUIRED');
  const stream = c.telemetry();
  t.match(await stream.ended, { code: GrpcStatus.INVALID_ARGUMENT, details: /x-mq-client-id/ });
});

t.test('calls that are not implemented say so in the body', async (t) => {
  const c = client(t);
  const names = ['EndTransaction', 'GetOffset', 'QueryOffset', 'SyncLiteSubscription', 'UpdateOffset'];
  for (const name of names as 'GetOffset'[]) {
    t.equal((await c.call(name, {})).status?.code, 'NOT_IMPLEMENTED', name);
  }
  const frames: unknown[] = [];
  for await (const frame of c.pull()) frames.push(frame);
  t.match(frames, [{ status: { code: 'NOT_IMPLEMENTED' } }]);
});

t.test('telemetry', async (t) => {
  const c = client(t);
  const stream = c.telemetry();
  t.ok(await stream.headers, 'headers come before the client says anything');
  t.equal((await c.call('Heartbeat', { clientType: 'PRODUCER' })).status?.code, 'UNRECOGNIZED_CLIENT_TYPE');
  t.equal((await c.call('NotifyClientTermination', {})).status?.code, 'UNRECOGNIZED_CLIENT_TYPE');

  stream.call.write({ settings: { ...producer('T'), accessPoint: ENDPOINTS, requestTimeout: fromMs(3000) } });
  const first = await stream.next();
  t.match(first, {
    status: { code: 'OK' },
    settings: {
      clientType: 'PRODUCER',
      accessPoint: ENDPOINTS,
      requestTimeout: { seconds: 3 },
      publishing: { topics: [{ name: 'T' }], maxBodySize: 4 * 1024 * 1024, validateMessageType: true },
      backoffPolicy: { maxAttempts: 3, strategy: 'exponentialBackoff' },
      metric: { on: false },
    },
  });
  t.same(await stream.next(), first, 'again, soon');
  t.same(await stream.next(), first, 'and about a second later');
  t.equal((await c.call('Heartbeat', { clientType: 'PRODUCER' })).status?.code, 'OK');
  t.same(await stream.next(), first, 'and with the first heartbeat');
  stream.call.end();
  t.match(await stream.ended, { code: GrpcStatus.OK });
  t.equal((await c.call('Heartbeat', {})).status?.code, 'OK', 'the settings outlast the stream');
  t.equal((await c.call('NotifyClientTermination', {})).status?.code, 'OK');
  t.equal((await c.call('Heartbeat', {})).status?.code, 'UNRECOGNIZED_CLIENT_TYPE');
});

t.test('telemetry of consumers', async (t) => {
  const settingsOf = async (language: string, group: string) => {
    const c = client(t, { metadata: { 'x-mq-language': language } });
    const stream = c.telemetry();
    stream.call.write({ settings: consumer(group, 'T') });
    const { settings } = await stream.next();
    stream.call.end();
    return settings;
  };
  await server.broker.groups.put({ name: 'ordered', order: 'fifo' });
  const java = await settingsOf('JAVA', 'ordered');
  t.match(java?.backoffPolicy, { maxAttempts: 17, strategy: 'customizedBackoff' });
  t.match(java?.subscription, {
    group: { name: 'ordered', resourceNamespace: 'ns' },
    subscriptions: [{ topic: { name: 'T', resourceNamespace: 'ns' } }],
    fifo: true,
    receiveBatchSize: 32,
    longPollingTimeout: { seconds: 20 },
  });
  const node = await settingsOf('HTTP', 'unordered');
  t.match(node?.backoffPolicy, { maxAttempts: 17, strategy: 'exponentialBackoff' });
  t.equal(node?.subscription?.fifo, false);
});

t.test('settings that are no settings end the stream', async (t) => {
  const bad: [Settings, RegExp][] = [
    [{ clientType: 'PRODUCER' }, /BAD_REQUEST/],
    [producer('bad name'), /ILLEGAL_TOPIC/],
    [consumer('bad group', 'T'), /ILLEGAL_CONSUMER_GROUP/],
    [consumer('g', 'TBW102'), /ILLEGAL_TOPIC/],
  ];
  for (const [settings, details] of bad) {
    const stream = client(t).telemetry();
    stream.call.write({ settings });
    t.match(await stream.ended, { code: GrpcStatus.INVALID_ARGUMENT, details });
  }
});

t.test('send, receive, acknowledge', async (t) => {
  const c = client(t);
  const sent = await c.send('round', 'hello', { messageId: 'M-1', tag: 'A', keys: ['k1', 'k2'] }, { p: 'v' });
  t.match(sent, {
    status: { code: 'OK' },
    entries: [{ status: { code: 'OK' }, messageId: 'M-1', transactionId: 'M-1' }],
  });
  t.ok((sent.entries[0]?.offset ?? -1) >= 0);

  const frames = await c.frames(receiveRequest('round-g', 'round'));
  t.strictSame(
    frames.map(({ content }) => content),
    ['status', 'message', 'deliveryTimestamp'],
  );
  t.equal(frames[0]?.status?.code, 'OK');
  const got = frames[1]?.message;
  t.match(got, {
    topic: { name: 'round' },
    userProperties: { p: 'v' },
    systemProperties: { messageId: 'M-1', tag: 'A', keys: ['k1', 'k2'], deliveryAttempt: 1, messageType: 'NORMAL' },
  });
  t.equal(got?.body.toString(), 'hello');

  const receipt = got?.systemProperties?.receiptHandle;
  t.match(await ack(c, 'round-g', 'round', receipt), {
    status: { code: 'OK' },
    entries: [{ messageId: 'x', receiptHandle: receipt, status: { code: 'OK' } }],
  });
  t.match(await ack(c, 'round-g', 'round', receipt), { status: { code: 'INVALID_RECEIPT_HANDLE' } }, 'only once');
  t.match(await ack(c, 'round-g', 'round', 'nonsense'), { status: { code: 'INVALID_RECEIPT_HANDLE' } });

  const empty = await c.frames(receiveRequest('round-g', 'round', { longPollingTimeout: fromMs(1) }));
  t.match(
    empty,
    [{ status: { code: 'MESSAGE_NOT_FOUND' } }, { content: 'deliveryTimestamp' }],
    'a short poll is honoured',
  );
});

t.test('several messages in one request', async (t) => {
  const c = client(t);
  const sent = await c.call('SendMessage', {
    messages: [message('several', 'one'), message('several', ''), message('several', 'three')],
  });
  t.equal(sent.status?.code, 'MULTIPLE_RESULTS');
  t.strictSame(
    sent.entries.map(({ status }) => status?.code),
    ['OK', 'MESSAGE_BODY_EMPTY', 'OK'],
  );
  t.equal((await c.call('SendMessage', { messages: [] })).status?.code, 'MESSAGE_CORRUPTED');

  const fifo = Array.from({ length: 40 }, (_, i) => message('several-fifo', String(i), { messageGroup: 'g' }));
  t.equal((await c.call('SendMessage', { messages: fifo })).status?.code, 'OK');
  await server.broker.groups.put({ name: 'several-g', order: 'fifo' });
  const got: Message__Output[] = [];
  while (got.length < fifo.length) {
    const batch = await c.receive('several-g', 'several-fifo', { batchSize: 1000 });
    t.ok(batch.length <= 32, 'at most 32');
    // The group waits for these before it gets the next.
    t.equal(await c.receiveCode('several-g', 'several-fifo', { longPollingTimeout: fromMs(1) }), 'MESSAGE_NOT_FOUND');
    await ack(c, 'several-g', 'several-fifo', ...batch.map(({ systemProperties }) => systemProperties?.receiptHandle));
    got.push(...batch);
  }
  t.strictSame(bodies(got), bodies(fifo), 'in order');
  t.equal(new Set(got.map(({ systemProperties }) => systemProperties?.queueId)).size, 1, 'one queue');
  t.match(got[0], { userProperties: { __SHARDINGKEY: 'g' }, systemProperties: { messageType: 'FIFO' } });
});

t.test('messages that are refused', async (t) => {
  const c = client(t);
  await server.broker.topics.put({ name: 'fifo-only', type: 'FIFO' });
  const refused: [string, ReturnType<typeof message>][] = [
    ['UNSUPPORTED', message('refused', 'x', { messageType: 'TRANSACTION' })],
    ['ILLEGAL_DELIVERY_TIME', message('refused', 'x', { deliveryTimestamp: fromMs(Date.now() + 400 * 86_400_000) })],
    ['UNSUPPORTED', message('refused', 'x', { priority: 1 })],
    ['UNSUPPORTED', message('refused', 'x', { liteTopic: 'l' })],
    ['MESSAGE_PROPERTY_CONFLICT_WITH_TYPE', message('fifo-only', 'x')],
    ['MESSAGE_BODY_TOO_LARGE', message('refused', Buffer.alloc(4 * 1024 * 1024 + 1))],
    ['ILLEGAL_MESSAGE_ID', message('refused', 'x', { messageId: '' })],
    ['ILLEGAL_TOPIC', message('bad name', 'x')],
    ['ILLEGAL_MESSAGE_PROPERTY_KEY', message('refused', 'x', {}, { 'gantry-address': 'a/#' })],
    ['ILLEGAL_MESSAGE_PROPERTY_KEY', message('refused', 'x', {}, { TTL: '1' })],
  ];
  for (const [code, bad] of refused) {
    const { status, entries } = await c.call('SendMessage', { messages: [bad] });
    t.equal(status?.code, code, status?.message ?? code);
    t.equal(entries.length, 1);
  }
  t.match(await c.send('fifo-only', 'x'), { status: { message: /expected type is FIFO, but actual type is NORMAL/ } });
  t.match(await c.send('refused', Buffer.alloc(4 * 1024 * 1024)), { status: { code: 'OK' } }, 'the limit itself');
});

t.test('delayed messages come when they are due, and can be taken back before', async (t) => {
  const c = client(t);
  const deliverAt = Date.now() + 300;
  const far = fromMs(Date.now() + 3_600_000);
  const delayed = (body: string, at: { seconds: number; nanos: number }) =>
    c.call('SendMessage', { messages: [message('later', body, { messageType: 'DELAY', deliveryTimestamp: at })] });
  const { entries } = await delayed('soon', fromMs(deliverAt));
  t.match(entries, [{ status: { code: 'OK' } }]);
  const recalled = (await delayed('never', far)).entries[0]!;
  const recall = (recallHandle: string) =>
    c.call('RecallMessage', { topic: { name: 'later', resourceNamespace: '' }, recallHandle });
  t.match(await recall(recalled.recallHandle), { status: { code: 'OK' }, messageId: recalled.messageId });
  t.match(await recall(recalled.recallHandle), { status: { code: 'BAD_REQUEST' } });
  const [got] = await c.receive('later-g', 'later');
  t.match(got, { systemProperties: { messageType: 'DELAY' } });
  t.equal(got?.body.toString(), 'soon');
  t.ok(Date.now() >= deliverAt, 'not before its time');
  t.match(await recall(entries[0]!.recallHandle), { status: { code: 'BAD_REQUEST' } });
});

t.test('a receive serves all queues, whichever it names', async (t) => {
  const c = client(t);
  for (const i of [0, 1, 2, 3, 4, 5, 6, 7]) await c.send('queues', String(i));
  const got: string[] = [];
  while (got.length < 8) got.push(...bodies(await c.receive('queues-g', 'queues', { batchSize: 3 })));
  t.strictSame(got.toSorted(), ['0', '1', '2', '3', '4', '5', '6', '7']);
});

t.test('filters', async (t) => {
  const c = client(t);
  for (const tag of ['Aa', 'BB', 'C']) await c.send('filtered', tag, { tag });
  const tags = await c.receive('filtered-g', 'filtered', { filterExpression: { type: 'TAG', expression: 'BB || C' } });
  t.strictSame(bodies(tags).toSorted(), ['BB', 'C']);
  for (const level of ['1', '5', 'x']) await c.send('filtered', level, { tag: 'level' }, { level });
  const sql = (expression: string) => ({ filterExpression: { type: 'SQL' as const, expression } });
  const high = await c.receive('filtered-s', 'filtered', sql("TAGS = 'level' AND level > 4"));
  t.strictSame(bodies(high), ['5']);
  t.equal(await c.receiveCode('filtered-s', 'filtered', sql("TAGS = 'level'")), 'MESSAGE_NOT_FOUND', 'acknowledged');
  const wrong = await c.frames(receiveRequest('filtered-e', 'filtered', sql('level > ')));
  t.match(wrong[0]?.status, { code: 'ILLEGAL_FILTER_EXPRESSION', message: /at character 9/ });
  t.equal(await c.receiveCode('filtered-e', 'filtered', sql('')), 'ILLEGAL_FILTER_EXPRESSION');
  const none = { type: 'TAG', expression: ' || ' } as const;
  t.equal(await c.receiveCode('filtered-t', 'filtered', { filterExpression: none }), 'ILLEGAL_FILTER_EXPRESSION');
});

t.test('receives that are refused', async (t) => {
  const c = client(t);
  const statusOf = async (group: string, topic: string, more: object) =>
    (await c.frames(receiveRequest(group, topic, more)))[0]?.status;
  t.match(await statusOf('g', 'T', { invisibleDuration: fromMs(9_999) }), {
    code: 'ILLEGAL_INVISIBLE_TIME',
    message: /the invisibleTime is too small. min is 10000/,
  });
  t.match(await statusOf('g', 'T', { invisibleDuration: fromMs(12 * 3_600_000 + 1) }), {
    code: 'ILLEGAL_INVISIBLE_TIME',
    message: /the invisibleTime is too large. max is 43200000/,
  });
  t.match(await statusOf('g', 'T', { invisibleDuration: null }), { code: 'ILLEGAL_INVISIBLE_TIME' });
  t.match(await statusOf('bad group', 'T', {}), { code: 'ILLEGAL_CONSUMER_GROUP' });
  t.match(await statusOf('TOOLS_CONSUMER', 'T', {}), { code: 'ILLEGAL_CONSUMER_GROUP' });
  t.match(await statusOf('g', '', {}), { code: 'ILLEGAL_TOPIC' });
});

t.test('a long poll', async (t) => {
  const c = client(t);
  const waiting = c.receive('poll-g', 'poll', { longPollingTimeout: fromMs(20_000) });
  // The poll is there when another one of the same client has been answered.
  await c.receiveCode('poll-g', 'poll', { longPollingTimeout: fromMs(1) });
  await c.send('poll', 'wakes');
  t.strictSame(bodies(await waiting), ['wakes']);
  const late = await c.frames(receiveRequest('poll-g', 'poll', { longPollingTimeout: fromMs(20_000) }), 1_500);
  t.equal(late[0]?.status?.code, 'MESSAGE_NOT_FOUND', 'answered before the deadline of the call');
});

t.test('a receive that was cancelled takes nothing', async (t) => {
  const c = client(t);
  const stream = c.receiveStream(receiveRequest('gone-g', 'gone', { longPollingTimeout: fromMs(20_000) }));
  const failed = once(stream, 'error');
  await c.receiveCode('gone-g', 'gone', { longPollingTimeout: fromMs(1) });
  stream.cancel();
  await failed;
  await c.call('Heartbeat', {});
  await c.send('gone', 'x');
  const [got] = await c.receive('gone-g', 'gone');
  t.equal(got?.systemProperties?.deliveryAttempt, 1);
});

t.test('a repeated attempt gets the same messages', async (t) => {
  const c = client(t);
  await server.broker.groups.put({ name: 'attempt-g', order: 'fifo' });
  await c.send('attempt', 'x', { messageGroup: 'g' });
  const more = { attemptId: 'once', longPollingTimeout: fromMs(1) };
  const [first] = await c.receive('attempt-g', 'attempt', more);
  const [again] = await c.receive('attempt-g', 'attempt', more);
  t.equal(again?.systemProperties?.messageId, first?.systemProperties?.messageId);
  t.same(await c.receive('attempt-g', 'attempt', { ...more, attemptId: 'other' }), []);
});

t.test('change of the invisible duration', async (t) => {
  const c = client(t);
  const change = (receiptHandle: string | undefined, ms: number, more: object = {}, group = 'change-g') =>
    c.call('ChangeInvisibleDuration', {
      group: { name: group },
      topic: { name: 'change' },
      receiptHandle: receiptHandle ?? '',
      invisibleDuration: fromMs(ms),
      ...more,
    });
  await c.send('change', 'x');
  const [got] = await c.receive('change-g', 'change');
  const old = got?.systemProperties?.receiptHandle;
  const changed = await change(old, 60_000);
  t.equal(changed.status?.code, 'OK');
  t.not(changed.receiptHandle, old);
  t.match(await change(old, 60_000), { status: { code: 'INVALID_RECEIPT_HANDLE' }, receiptHandle: old });
  t.match(await change(changed.receiptHandle, 12 * 3_600_000 + 1), {
    status: { code: 'ILLEGAL_INVISIBLE_TIME' },
    receiptHandle: changed.receiptHandle,
  });
  t.match(await change(changed.receiptHandle, 0, {}, 'someone-else'), { status: { code: 'INVALID_RECEIPT_HANDLE' } });
  t.match(await ack(c, 'someone-else', 'change', changed.receiptHandle), {
    status: { code: 'INVALID_RECEIPT_HANDLE' },
  });

  const both = await ack(c, 'change-g', 'change', old, changed.receiptHandle);
  t.equal(both.status?.code, 'MULTIPLE_RESULTS');
  t.strictSame(
    both.entries.map(({ status }) => status?.code),
    ['INVALID_RECEIPT_HANDLE', 'OK'],
  );

  await c.send('change', 'again');
  const [once] = await c.receive('change-g', 'change');
  t.equal((await change(once?.systemProperties?.receiptHandle, 0)).status?.code, 'OK');
  const [twice] = await c.receive('change-g', 'change');
  t.equal(twice?.systemProperties?.deliveryAttempt, 2, 'an attempt more');
  t.equal((await change(twice?.systemProperties?.receiptHandle, 0, { suspend: true })).status?.code, 'OK');
  const [thrice] = await c.receive('change-g', 'change');
  t.equal(thrice?.systemProperties?.deliveryAttempt, 2, 'a suspended attempt does not count');
});

t.test('dead letters', async (t) => {
  const c = client(t);
  await c.send('doomed', 'x', { messageId: 'M-doomed', tag: 'A' }, { p: 'v' });
  const [got] = await c.receive('doomed-g', 'doomed');
  const forward = () =>
    c.call('ForwardMessageToDeadLetterQueue', {
      group: { name: 'doomed-g' },
      topic: { name: 'doomed' },
      receiptHandle: got?.systemProperties?.receiptHandle ?? '',
      messageId: 'M-doomed',
      deliveryAttempt: 17,
      maxDeliveryAttempts: 17,
    });
  t.equal((await forward()).status?.code, 'OK');
  t.equal((await forward()).status?.code, 'INVALID_RECEIPT_HANDLE');
  const [dead] = await c.receive('undertaker', '%DLQ%doomed-g');
  t.match(dead, {
    topic: { name: '%DLQ%doomed-g' },
    userProperties: { p: 'v' },
    systemProperties: {
      messageId: 'M-doomed',
      tag: 'A',
      deliveryAttempt: 1,
      deadLetterQueue: { topic: 'doomed', messageId: 'M-doomed' },
    },
  });
  t.equal(await c.receiveCode('doomed-g', 'doomed', { longPollingTimeout: fromMs(1) }), 'MESSAGE_NOT_FOUND');
});

t.test('what the group gives up on goes there too', async (t) => {
  const c = client(t);
  await server.broker.groups.put({ name: 'twice-g', retry: { ...DEFAULT_RETRY_POLICY, attemptsMax: 2 } });
  await c.send('twice', 'x');
  for (const attempt of [1, 2]) {
    const [got] = await c.receive('twice-g', 'twice');
    t.equal(got?.systemProperties?.deliveryAttempt, attempt);
    await c.call('ChangeInvisibleDuration', {
      group: { name: 'twice-g' },
      topic: { name: 'twice' },
      receiptHandle: got?.systemProperties?.receiptHandle ?? '',
      invisibleDuration: fromMs(0),
    });
  }
  t.equal(await c.receiveCode('twice-g', 'twice', { longPollingTimeout: fromMs(1) }), 'MESSAGE_NOT_FOUND');
  t.strictSame(bodies(await c.receive('undertaker', '%DLQ%twice-g')), ['x']);
});

t.test('what a push consumer held comes back when it says goodbye', async (t) => {
  const [leaving, staying] = [client(t), client(t)];
  await leaving.start(consumer('bye-g', 'bye'));
  await leaving.send('bye', 'x');
  const held = await leaving.receive('bye-g', 'bye', { autoRenew: true, invisibleDuration: null });
  t.equal(held.length, 1);
  t.equal(await staying.receiveCode('bye-g', 'bye', { longPollingTimeout: fromMs(1) }), 'MESSAGE_NOT_FOUND');
  t.equal((await leaving.call('NotifyClientTermination', { group: { name: 'bye-g' } })).status?.code, 'OK');
  const [got] = await staying.receive('bye-g', 'bye', { longPollingTimeout: fromMs(20_000) });
  t.equal(got?.systemProperties?.deliveryAttempt, 2);
});

t.test('the address of a message', async (t) => {
  const c = client(t);
  const live: string[] = [];
  const subscription = server.broker.subscribeLive('addressed/#', { deliver: (m) => void live.push(m.address) });
  await c.send('addressed', 'x', { tag: 'A' });
  await c.send('addressed', 'y', {}, { 'gantry-address': 'addressed/d/1' });
  subscription[Symbol.dispose]();
  t.strictSame(live, ['addressed/A', 'addressed/d/1']);
  const got = [
    ...(await c.receive('addr-g', 'addressed')),
    ...(await c.receive('addr-g', 'addressed', { longPollingTimeout: fromMs(1) })),
  ];
  const addresses = got.map(({ userProperties }) => userProperties['gantry-address'] ?? 'none');
  t.strictSame(addresses.toSorted(), ['addressed/d/1', 'none']);
});

const SECRET = 'secret';
const SIGNED: Authenticator = {
  exchange: () => undefined,
  authenticate: (shown) => {
    if (shown.kind === 'none') return Promise.resolve({ name: 'guest', anonymous: true });
    if (shown.kind !== 'signature') return Promise.resolve(undefined);
    const right = createHmac('sha1', SECRET).update(shown.signed).digest('hex');
    const name = shown.accessKey;
    return Promise.resolve(shown.signature.toLowerCase() === right ? { name, anonymous: false } : undefined);
  },
};

t.test('who may come in, and do what', async (t) => {
  const guarded = await startGrpcServer({
    authenticator: SIGNED,
    authorizer: {
      isAllowed: ({ name }, action, resource) =>
        name === 'admin' || (resource.kind === 'topic' && action === 'PUB' && resource.topic === 'open'),
    },
  });
  t.teardown(() => guarded.close());
  const date = '20261123T103000Z';
  const signed = (key: string, secret = SECRET): TestClientOptions => {
    const signature = createHmac('sha1', secret).update(date).digest('hex').toUpperCase();
    const authorization = `MQv2-HMAC-SHA1 Credential=${key}, SignedHeaders=x-mq-date-time, Signature=${signature}`;
    return { metadata: { authorization, 'x-mq-date-time': date } };
  };
  const admin = client(t, signed('admin//Rocketmq'), guarded.port);
  t.match(await admin.send('closed', 'x'), { status: { code: 'OK' } });
  t.equal(await admin.receiveCode('g', 'closed'), 'OK');

  for (const options of [signed('admin', 'wrong'), { metadata: { authorization: 'Basic dTpw' } }]) {
    const stranger = client(t, options, guarded.port);
    t.match(await stranger.send('open', 'x'), { status: { code: 'UNAUTHORIZED' } });
    t.equal(await stranger.receiveCode('g', 'closed'), 'UNAUTHORIZED');
    const stream = stranger.telemetry();
    t.match(await stream.ended, { code: GrpcStatus.UNAUTHENTICATED });
  }

  for (const options of [{}, signed('')]) {
    const guest = client(t, options, guarded.port);
    t.match(await guest.send('open', 'x'), { status: { code: 'OK' } });
    t.match(await guest.send('closed', 'x'), { status: { code: 'UNAUTHORIZED' } });
    t.equal(await guest.receiveCode('g', 'open'), 'UNAUTHORIZED');
    t.match(await ack(guest, 'g', 'open', 'r'), { status: { code: 'UNAUTHORIZED' } });
    const request = { topic: { name: 'closed' }, group: { name: 'g' }, endpoints: ENDPOINTS };
    t.equal((await guest.call('QueryRoute', request)).status?.code, 'UNAUTHORIZED');
    t.equal((await guest.call('QueryAssignment', request)).status?.code, 'UNAUTHORIZED');
    const stream = guest.telemetry();
    stream.call.write({ settings: producer('closed') });
    t.match(await stream.ended, { code: GrpcStatus.UNAUTHENTICATED });
  }

  const owner = client(t, { ...signed('admin'), clientId: 'shared-id' }, guarded.port);
  await owner.start(producer('open'));
  const thief = client(t, { clientId: 'shared-id' }, guarded.port);
  t.equal((await thief.call('NotifyClientTermination', {})).status?.code, 'UNAUTHORIZED', 'a client id has one user');
});

t.test('TLS and plaintext on one port', async (t) => {
  const plain = client(t);
  const secure = client(t, { credentials: credentials.createSsl(TEST_CERTIFICATE.cert) });
  await secure.send('secured', 'x');
  t.strictSame(bodies(await plain.receive('secured-g', 'secured')), ['x']);
  const stream = await secure.start(producer('secured'));
  stream.call.end();
  t.match(await stream.ended, { code: GrpcStatus.OK });
});

/** Everything the server says until it closes. */
async function answerTo(socket: Socket, bytes: string | Buffer | undefined): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => {});
  if (bytes !== undefined) socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  return Buffer.concat(chunks).toString('latin1');
}

t.test('bad input closes one connection and disturbs nobody', async (t) => {
  const other = client(t);
  const stream = await other.start(consumer('calm-g', 'calm'));
  const waiting = other.receive('calm-g', 'calm', { longPollingTimeout: fromMs(20_000) });
  const open = () => connect(server.port, '127.0.0.1');
  t.equal(await answerTo(open(), Buffer.from([0, 1, 2, 3, 0xff])), '', 'garbage');
  t.equal(await answerTo(open(), 'AMQP\x00\x01\x00\x00'), '', 'another protocol');
  t.match(await answerTo(open(), 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'), /^HTTP\/1\.1 400 [^]*This port speaks gRPC/);
  t.equal(await answerTo(open(), undefined), '', 'silence');
  t.equal(await answerTo(open(), 'PRI * HT'), '', 'half a preface');
  await answerTo(open(), Buffer.from([0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]));
  t.match(
    await answerTo(open(), `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${'\xff'.repeat(64)}`),
    /^/,
    'no frames after the preface',
  );

  const tls = (options: object) =>
    connectTls({
      port: server.port,
      host: '127.0.0.1',
      ca: TEST_CERTIFICATE.cert,
      servername: 'localhost',
      ...options,
    });
  t.match(await answerTo(tls({}), 'GET / HTTP/1.1\r\n\r\n'), /^HTTP\/1\.1 400 /, 'HTTP/1 in TLS');
  t.equal(await answerTo(tls({ ALPNProtocols: ['http/1.1'] }), undefined), '', 'only HTTP/1 offered');
  t.equal(await answerTo(tls({ ALPNProtocols: ['h2'] }), undefined), '', 'silence in TLS');

  const http2 = connectHttp2(`http://127.0.0.1:${server.port}`);
  const request = http2.request({
    ':method': 'POST',
    ':path': '/apache.rocketmq.v2.MessagingService/Heartbeat',
    'content-type': 'text/plain',
  });
  const [headers] = (await once(request, 'response')) as [Record<string, unknown>];
  t.equal(headers[':status'], 415, 'not gRPC');
  http2.destroy();

  await other.send('calm', 'still here');
  t.strictSame(bodies(await waiting), ['still here']);
  t.equal((await other.call('Heartbeat', {})).status?.code, 'OK');
  stream.call.end();
  t.match(await stream.ended, { code: GrpcStatus.OK });
});

t.test('limits', async (t) => {
  const small = await startGrpcServer({ options: { clientCountMax: 1, longPollCountMax: 1 } });
  t.teardown(() => small.close());
  const [first, second] = [client(t, {}, small.port), client(t, {}, small.port)];
  const stream = await first.start(producer('T'));
  const refused = second.telemetry();
  refused.call.write({ settings: producer('T') });
  t.match(await refused.ended, { code: GrpcStatus.RESOURCE_EXHAUSTED });
  await first.call('NotifyClientTermination', {});
  stream.call.end();
  await second.start(producer('T'));

  const waiting = first.receive('g', 'T', { longPollingTimeout: fromMs(20_000) });
  let code: string | undefined;
  while (code !== 'TOO_MANY_REQUESTS') code = await first.receiveCode('h', 'T', { longPollingTimeout: fromMs(1) });
  await second.send('T', 'x');
  t.strictSame(bodies(await waiting), ['x']);
  t.not(await second.receiveCode('h', 'T'), 'TOO_MANY_REQUESTS');
});

t.test('shutdown ends what waits, then connections', async (t) => {
  const ending = await startGrpcServer({ tls: TEST_CERTIFICATE });
  const c = client(t, {}, ending.port);
  const stream = await c.start(consumer('g', 'T'));
  const poll = c.receiveCode('g', 'T', { longPollingTimeout: fromMs(20_000) });
  await c.receiveCode('g', 'T', { longPollingTimeout: fromMs(1) });
  const idle = connect(ending.port, '127.0.0.1');
  await once(idle, 'connect');
  const closed = once(idle, 'close');
  await ending.close();
  t.equal(await poll, 'MESSAGE_NOT_FOUND');
  t.match(await stream.ended, { code: GrpcStatus.OK });
  await closed;
});
