import {
  ServiceBusClient,
  type ServiceBusMessage,
  type ServiceBusReceivedMessage,
  type ServiceBusReceiver,
} from '@azure/service-bus';
import t, { type Test } from 'tap';
import { amqpBrokerPort, lacks } from '../helpers/amqp-broker.ts';

/** AMQP 1.0 through the SDK of Azure Service Bus, told that the broker is its emulator: plain TCP, and CBS in front of each link. */

if (lacks('azure')) t.pass('not for a broker that is no such thing');
else await scenarios();

async function scenarios(): Promise<void> {
  const port = await amqpBrokerPort(t);
  const options = { retryOptions: { maxRetries: 0, timeoutInMs: 8_000 } };
  let used = 0;
  const fresh = (what: string): string => `azure-${what}-${process.pid}-${++used}`;

  function scenario(title: string, run: (t: Test, client: ServiceBusClient) => Promise<void>): void {
    t.test(title, { timeout: 40_000 }, async (t) => {
      const key = 'SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=c2VjcmV0';
      const endpoint = `Endpoint=sb://127.0.0.1:${port}`;
      const client = new ServiceBusClient(`${endpoint};${key};UseDevelopmentEmulator=true;`, options);
      try {
        await run(t, client);
      } finally {
        await client.close();
      }
    });
  }

  /** So many, however few come at a time. */
  async function take(receiver: ServiceBusReceiver, count: number): Promise<ServiceBusReceivedMessage[]> {
    const all: ServiceBusReceivedMessage[] = [];
    while (all.length < count) {
      const some = await receiver.receiveMessages(count - all.length, { maxWaitTimeInMs: 5_000 });
      if (some.length === 0) throw new Error(`${all.length} of ${count} came`);
      all.push(...some);
    }
    return all;
  }

  /** The SDK settles only what has an id. */
  const withId = (body: unknown): ServiceBusMessage => ({ body, messageId: fresh('id') });

  /** What is there now. */
  const rest = (receiver: ServiceBusReceiver): Promise<ServiceBusReceivedMessage[]> =>
    receiver.receiveMessages(10, { maxWaitTimeInMs: 200 });
  const bodies = (messages: readonly ServiceBusReceivedMessage[]): unknown[] =>
    messages.map(({ body }) => body as unknown);

  scenario('a message comes as it was sent, and is completed', async (t, client) => {
    const queue = fresh('queue');
    const message = {
      body: { a: [1, 'é 𝄞'] },
      messageId: 'an id',
      correlationId: 'a correlation',
      subject: 'subject',
      contentType: 'application/json',
      replyTo: 'somewhere',
      to: 'there',
      timeToLive: 3_600_000,
      applicationProperties: { text: 'x', number: 7, yes: true },
    };
    await client.createSender(queue).sendMessages(message);
    const receiver = client.createReceiver(queue);
    const [received] = await take(receiver, 1);
    const { timeToLive: _left, ...same } = message;
    t.match(received, same);
    t.ok(received!.timeToLive! > 3_500_000 && received!.timeToLive! <= 3_600_000, 'what is left of its time');
    t.match(received!.lockToken, /^[0-9a-f-]{36}$/);
    await receiver.completeMessage(received!);
    t.same(await rest(receiver), []);
  });

  scenario('a message that was sent without an id can be completed', async (t, client) => {
    const queue = fresh('queue');
    await client.createSender(queue).sendMessages({ body: 'x' });
    const receiver = client.createReceiver(queue);
    const [received] = await take(receiver, 1);
    await receiver.completeMessage(received!);
    t.same(await rest(receiver), []);
  });

  scenario('a batch is as many messages', async (t, client) => {
    const queue = fresh('queue');
    const sender = client.createSender(queue);
    const batch = await sender.createMessageBatch();
    for (let i = 0; i < 50; i++)
      t.ok(batch.tryAddMessage({ body: i, messageId: `id ${i}`, applicationProperties: { i } }));
    await sender.sendMessages(batch);
    await sender.sendMessages([{ body: 50 }, { body: 51 }]);
    const receiver = client.createReceiver(queue, { receiveMode: 'receiveAndDelete' });
    const received = await take(receiver, 52);
    t.same(
      bodies(received),
      Array.from({ length: 52 }, (_, i) => i),
    );
    t.match(received[49], { messageId: 'id 49', applicationProperties: { i: 49 } });
    t.same(await rest(receiver), []);
  });

  scenario('abandoned, it comes again and is counted', async (t, client) => {
    const queue = fresh('queue');
    await client.createSender(queue).sendMessages(withId('x'));
    const receiver = client.createReceiver(queue);
    const [first] = await take(receiver, 1);
    await receiver.abandonMessage(first!);
    const [second] = await take(receiver, 1);
    t.equal(second!.body, 'x');
    t.equal(second!.deliveryCount, first!.deliveryCount! + 1);
    await receiver.completeMessage(second!);
  });

  scenario('deferring is refused by name, and the message is there again', async (t, client) => {
    const queue = fresh('queue');
    await client.createSender(queue).sendMessages(withId('x'));
    const receiver = client.createReceiver(queue);
    const [first] = await take(receiver, 1);
    await t.rejects(receiver.deferMessage(first!, { why: 'later' }), {
      name: 'ServiceBusError',
      message: /cannot be deferred/,
    });
    const [second] = await take(receiver, 1);
    t.match(second, { body: 'x', deliveryCount: first!.deliveryCount! + 1 });
    await receiver.completeMessage(second!);
    t.same(await rest(client.createReceiver(queue, { subQueueType: 'deadLetter' })), []);
  });

  scenario('dead letters are read with their reason', async (t, client) => {
    const queue = fresh('queue');
    await client.createSender(queue).sendMessages(['bad', 'good'].map(withId));
    const receiver = client.createReceiver(queue);
    const [bad, good] = await take(receiver, 2);
    await receiver.deadLetterMessage(bad!, { deadLetterReason: 'reason', deadLetterErrorDescription: 'description' });
    await receiver.completeMessage(good!);
    t.same(await rest(receiver), []);
    const dead = client.createReceiver(queue, { subQueueType: 'deadLetter' });
    const [letter] = await take(dead, 1);
    t.match(letter, { body: 'bad', deadLetterReason: 'reason', deadLetterErrorDescription: 'description' });
    await dead.completeMessage(letter!);
    t.same(await rest(dead), []);
  });

  scenario('a subscription of a topic', async (t, client) => {
    const topic = fresh('topic');
    const [one, two] = [client.createReceiver(topic, 'one'), client.createReceiver(topic, 'two')];
    // They are there from the first look on.
    t.same([...(await rest(one)), ...(await rest(two))], []);
    await client.createSender(topic).sendMessages([1, 2].map(withId));
    for (const receiver of [one, two]) {
      const received = await take(receiver, 2);
      t.same(bodies(received), [1, 2]);
      for (const message of received) await receiver.completeMessage(message);
    }
  });

  scenario('a message for later', async (t, client) => {
    const queue = fresh('queue');
    const sender = client.createSender(queue);
    const at = new Date(Date.now() + 800);
    await sender.sendMessages([{ body: 'later', scheduledEnqueueTimeUtc: at }]);
    await sender.sendMessages({ body: 'now' });
    const receiver = client.createReceiver(queue, { receiveMode: 'receiveAndDelete' });
    t.same(bodies(await take(receiver, 2)), ['now', 'later']);
    t.ok(Date.now() >= at.getTime() - 5);
  });

  scenario('scheduled, and cancelled', async (t, client) => {
    const queue = fresh('queue');
    const sender = client.createSender(queue);
    const receiver = client.createReceiver(queue, { receiveMode: 'receiveAndDelete' });
    const [cancelled] = await sender.scheduleMessages({ body: 'never' }, new Date(Date.now() + 1_500));
    await sender.scheduleMessages([{ body: 'later' }], new Date(Date.now() + 2_000));
    await sender.cancelScheduledMessages(cancelled!);
    t.same(bodies(await take(receiver, 1)), ['later']);
  });

  scenario('peeking takes nothing away', async (t, client) => {
    const queue = fresh('queue');
    await client.createSender(queue).sendMessages([{ body: 1 }, { body: 2 }, { body: 3 }]);
    const receiver = client.createReceiver(queue, { receiveMode: 'receiveAndDelete' });
    t.same(bodies(await receiver.peekMessages(2)), [1, 2]);
    t.same(bodies(await receiver.peekMessages(2)), [3], 'goes on where it was');
    t.same(bodies(await take(receiver, 3)), [1, 2, 3]);
  });

  scenario('a lock is renewed', async (t, client) => {
    const queue = fresh('queue');
    await client.createSender(queue).sendMessages(withId('x'));
    const receiver = client.createReceiver(queue);
    const [message] = await take(receiver, 1);
    t.ok((await receiver.renewMessageLock(message!)).getTime() > Date.now());
    await receiver.completeMessage(message!);
  });

  scenario('management says what is wrong', async (t, client) => {
    const queue = fresh('queue');
    const sender = client.createSender(queue);
    const numbers = await sender.scheduleMessages([{ body: 1 }, { body: 2 }], new Date(Date.now() + 60_000));
    t.equal(new Set(numbers.map(String)).size, 2);
    await sender.cancelScheduledMessages(numbers);
    await t.rejects(sender.cancelScheduledMessages(numbers[0]!), { code: 'MessageNotFound' });
    const [late] = await sender.scheduleMessages({ body: 'at once' }, new Date(1_000));
    await t.rejects(client.createSender(fresh('queue')).cancelScheduledMessages(late!), { code: 'MessageNotFound' });
    const receiver = client.createReceiver(queue);
    const [message] = await take(receiver, 1);
    t.equal(message!.body, 'at once');
    await receiver.completeMessage(message!);
    await t.rejects(receiver.renewMessageLock(message!), { code: 'MessageLockLost' });
    await t.rejects(receiver.receiveDeferredMessages(late!), /not implemented/);
    t.same(await receiver.peekMessages(10), []);
  });

  scenario('a dead letter keeps what it had', async (t, client) => {
    const queue = fresh('queue');
    const applicationProperties = { a: 'x', DeadLetterReason: 'of before' };
    await client.createSender(queue).sendMessages({ body: 'bad', subject: 's', applicationProperties });
    const receiver = client.createReceiver(queue);
    const [bad] = await take(receiver, 1);
    t.ok(bad!.messageId, 'made up');
    t.ok(Math.abs(bad!.enqueuedTimeUtc!.getTime() - Date.now()) < 10_000);
    await receiver.deadLetterMessage(bad!, { deadLetterReason: 'reason', deadLetterErrorDescription: '' });
    const dead = client.createReceiver(queue, { subQueueType: 'deadLetter' });
    const letter = {
      body: 'bad',
      subject: 's',
      messageId: bad!.messageId!,
      deadLetterReason: 'reason',
      applicationProperties: { a: 'x', DeadLetterReason: 'reason' },
    };
    t.match(await dead.peekMessages(10), [letter]);
    const [received] = await take(dead, 1);
    t.match(received, letter);
    await dead.completeMessage(received!);
    t.same(await dead.peekMessages(10), []);
  });

  scenario('properties a message is abandoned or given up with are among its own', async (t, client) => {
    const queue = fresh('queue');
    await client.createSender(queue).sendMessages({ ...withId('x'), applicationProperties: { own: 1, both: 'old' } });
    const receiver = client.createReceiver(queue);
    const [first] = await take(receiver, 1);
    await receiver.abandonMessage(first!, { tries: 1, both: 'new' });
    const [second] = await take(receiver, 1);
    t.match(second!.applicationProperties, { own: 1, both: 'new', tries: 1 });
    await receiver.deadLetterMessage(second!, {
      deadLetterReason: 'reason',
      deadLetterErrorDescription: 'description',
      tries: 2,
      text: 'why',
    });
    const dead = client.createReceiver(queue, { subQueueType: 'deadLetter' });
    const letter = {
      deadLetterReason: 'reason',
      deadLetterErrorDescription: 'description',
      applicationProperties: { own: 1, both: 'new', tries: 2, text: 'why', DeadLetterReason: 'reason' },
    };
    t.match(await dead.peekMessages(1), [letter]);
    const [received] = await take(dead, 1);
    t.match(received, letter);
    await dead.completeMessage(received!);
  });

  scenario('subscribing with a handler', async (t, client) => {
    const queue = fresh('queue');
    const count = 40;
    const receiver = client.createReceiver(queue);
    const seen: unknown[] = [];
    const all = new Promise<void>((resolve, reject) => {
      receiver.subscribe(
        {
          async processMessage({ body }) {
            if (seen.push(body) === count) resolve();
          },
          async processError({ error }) {
            reject(error);
          },
        },
        { maxConcurrentCalls: 5 },
      );
    });
    await client.createSender(queue).sendMessages(Array.from({ length: count }, (_, i) => withId(i)));
    await all;
    t.equal(new Set(seen).size, count);
    await receiver.close();
  });
}
