import rhea, { type Message } from 'rhea';
import t, { type Test } from 'tap';
import { amqpBrokerPort, lacks, type AmqpFeature } from '../helpers/amqp-broker.ts';
import { bodyText, dataBody, RheaClient, type Received } from '../helpers/rhea-client.ts';

/** AMQP 1.0 through rhea. What is sent to which address, and how it is settled, is seen as an application sees it. */

const { filter, types } = rhea;
const port = await amqpBrokerPort(t);

let used = 0;
const fresh = (what: string): string => `rhea-${what}-${process.pid}-${++used}`;
const texts = (received: readonly Received[]): string[] => received.map(({ message }) => bodyText(message));
const numbered = (count: number, from = 0): Message[] =>
  Array.from({ length: count }, (_, i) => ({ body: dataBody(`${from + i}`) }));
const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `${from + i}`);

/** With a connection, which is closed afterwards. */
function scenario(
  title: string,
  feature: AmqpFeature | undefined,
  run: (t: Test, client: RheaClient) => Promise<void>,
): void {
  if (lacks(feature)) {
    t.comment(`NOT TRIED: ${title} (the broker lacks ${feature})`);
    return;
  }
  t.test(title, { timeout: 30_000 }, async (t) => {
    const client = await RheaClient.connect(port);
    try {
      await run(t, client);
    } finally {
      await client.close();
    }
  });
}

scenario('a message comes as it was sent', undefined, async (t, client) => {
  const queue = fresh('queue');
  const sender = await client.sender(queue);
  const sent: Message = {
    durable: true,
    priority: 7,
    message_id: 'an id',
    user_id: Buffer.from('me') as unknown as string,
    subject: 'subject',
    reply_to: 'somewhere',
    correlation_id: types.wrap_ulong(2 ** 40),
    content_type: 'text/plain',
    content_encoding: 'identity',
    absolute_expiry_time: new Date(4_102_444_800_000),
    creation_time: new Date(1_000),
    group_id: 'group',
    group_sequence: 3,
    message_annotations: { 'x-opt-mine': types.wrap_byte(-3) },
    application_properties: {
      text: 'é 𝄞',
      yes: true,
      long: types.wrap_long(-5),
      float: types.wrap_float(0.5),
      none: null,
    },
    body: { a: [1, 'two', null], b: Buffer.from([0, 255]) },
    footer: { 'x-opt-foot': 'note' },
  };
  t.match(await sender.send(sent), { kind: 'accepted', settled: true });
  const receiver = (await client.receiver(queue)).credit(1);
  const { message, delivery } = await receiver.next();
  const {
    correlation_id: _correlation,
    message_annotations: _annotations,
    application_properties: _properties,
    ...same
  } = sent;
  t.match(message, same);
  t.equal(message.correlation_id, 2 ** 40);
  t.equal(message.message_annotations!['x-opt-mine'], -3);
  t.same(message.application_properties, { text: 'é 𝄞', yes: true, long: -5, float: 0.5, none: null });
  t.equal(message.delivery_count ?? 0, 0);
  delivery.accept();
});

scenario('bodies of every kind', undefined, async (t, client) => {
  const queue = fresh('queue');
  const bodies = ['text', '', Buffer.from([0, 1, 255]), 7, true, null, ['a', 1], { k: 'v' }];
  const sender = await client.sender(queue);
  await sender.sendAll([
    ...bodies.map((body): Message => ({ body })),
    { body: dataBody('data') },
    { body: { typecode: 0x76, content: [1, 'x'], multiple: false } },
  ]);
  const receiver = (await client.receiver(queue)).credit(20);
  const received = await receiver.take(bodies.length + 2);
  t.same(
    received.slice(0, bodies.length).map(({ message }) => message.body as unknown),
    bodies,
  );
  t.match(received.at(-2)!.message.body, { typecode: 0x75 });
  t.match(received.at(-1)!.message.body, { typecode: 0x76 });
});

scenario('many messages arrive in order, each once, each confirmed', undefined, async (t, client) => {
  const queue = fresh('queue');
  const count = 1_500;
  const receiver = (await client.receiver(queue, { credit_window: 100, autoaccept: true })) as {
    take: (n: number) => Promise<Received[]>;
  };
  const outcomes = await (await client.sender(queue)).sendAll(numbered(count));
  t.ok(outcomes.every(({ kind, settled }) => kind === 'accepted' && settled));
  t.same(texts(await receiver.take(count)), numbers(count));
});

scenario('settled by the sender', undefined, async (t, client) => {
  const queue = fresh('queue');
  const sender = await client.sender(queue, { snd_settle_mode: 1 });
  for (const message of numbered(100)) sender.link.send(message);
  const receiver = (await client.receiver(queue, { snd_settle_mode: 1 })).credit(100);
  const received = await receiver.take(100);
  t.same(texts(received), numbers(100));
  t.ok(received.every(({ delivery }) => delivery.remote_settled));
  await receiver.close();
  t.same(await (await client.receiver(queue)).drain(10), [], 'none is left');
});

scenario('outcomes', 'modified', async (t, client) => {
  const queue = fresh('queue');
  await (await client.sender(queue)).sendAll(numbered(5));
  const receiver = (await client.receiver(queue)).credit(5);
  const [accepted, released, modified, rejected, elsewhere] = await receiver.take(5);
  // Each in a turn of its own: rhea merges what is answered within one, whatever the outcomes are.
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  accepted!.delivery.accept();
  await turn();
  released!.delivery.release();
  await turn();
  modified!.delivery.modified({ delivery_failed: true, message_annotations: { 'x-opt-why': 'broken' } });
  await turn();
  rejected!.delivery.reject({ condition: 'test:bad', description: 'bad' });
  await turn();
  elsewhere!.delivery.modified({ delivery_failed: true, undeliverable_here: true });
  await turn();
  receiver.credit(2);
  const again = await receiver.take(2);
  t.same(texts(again).toSorted(), ['1', '2']);
  const by = (text: string): Message => again.find(({ message }) => bodyText(message) === text)!.message;
  t.equal(by('1').delivery_count ?? 0, 0, 'released: not counted');
  t.equal(by('2').delivery_count, 1, 'modified, delivery failed: counted');
  for (const { delivery } of again) delivery.accept();
  t.same(texts(await receiver.drain(10)), [], 'the others do not come back here');
});

scenario('receiver settles second', 'second', async (t, client) => {
  const queue = fresh('queue');
  await (await client.sender(queue)).sendAll(numbered(3));
  const receiver = (await client.receiver(queue, { rcv_settle_mode: 1 })).credit(3);
  t.equal(receiver.link.rcv_settle_mode, 1, 'the mode asked for');
  const settled: number[] = [];
  const allSettled = new Promise<void>((resolve) => {
    receiver.link.on('settled', ({ delivery }) => settled.push(delivery!.id) === 3 && resolve());
  });
  const received = await receiver.take(3);
  for (const { delivery } of received) delivery.accept();
  await allSettled;
  t.same(
    settled,
    received.map(({ delivery }) => delivery.id),
  );
  await receiver.close();
  t.same(await (await client.receiver(queue)).drain(10), []);
});

scenario('messages of many frames', undefined, async (t, client) => {
  const queue = fresh('queue');
  const small = await RheaClient.connect(port, { max_frame_size: 4_096 });
  const body = Buffer.alloc(3_000_000, 'abcdefg');
  t.match(await (await client.sender(queue)).send({ body: dataBody(body) }), { kind: 'accepted' });
  t.match(await (await small.sender(queue)).sendAll([{ body: dataBody(body.subarray(0, 400_000)) }, { body: 'x' }]), [
    { kind: 'accepted' },
    { kind: 'accepted' },
  ]);
  const receiver = (await small.receiver(queue)).credit(3);
  const [first, second, third] = await receiver.take(3);
  t.ok(body.equals((first!.message.body as { content: Buffer }).content));
  t.ok(body.subarray(0, 400_000).equals((second!.message.body as { content: Buffer }).content));
  t.equal(third!.message.body, 'x');
  await small.close();
});

scenario('no more than the credit, and drain', 'drain', async (t, client) => {
  const queue = fresh('queue');
  await (await client.sender(queue)).sendAll(numbered(10));
  const receiver = await client.receiver(queue);
  let delivered = 0;
  receiver.link.on('message', () => delivered++);
  t.same(texts(await receiver.credit(4).take(4)), numbers(4));
  t.equal(delivered, 4, 'as many as there is credit');
  t.same(texts(await receiver.credit(4).take(4)), numbers(4, 4));
  t.equal(delivered, 8);
  t.same(texts(await receiver.drain(40)), numbers(2, 8), 'what there is, without waiting for more');
  t.same(await receiver.drain(1_000_000), [], 'at once');
});

scenario('what is not answered comes back', undefined, async (t, client) => {
  const queue = fresh('queue');
  await (await client.sender(queue)).sendAll(numbered(4));
  const other = await RheaClient.connect(port);
  const first = (await other.receiver(queue)).credit(4);
  (await first.take(4))[0]!.delivery.accept();
  await first.close();
  const second = (await other.receiver(queue)).credit(3);
  const again = await second.take(3);
  t.same(texts(again), numbers(3, 1), 'after the link is closed');
  other.vanish();
  const third = (await client.receiver(queue)).credit(3);
  t.same(texts(await third.take(3)), numbers(3, 1), 'after the connection is lost');
});

scenario('several consumers share a queue', undefined, async (t, client) => {
  const queue = fresh('queue');
  const members = await Promise.all(
    [1, 2, 3].map(() => client.receiver(queue, { credit_window: 10, autoaccept: true })),
  );
  const shares = members.map(() => 0);
  const seen: string[] = [];
  const all = new Promise<void>((resolve) => {
    for (const [i, member] of members.entries()) {
      member.link.on('message', ({ message }) => {
        shares[i]!++;
        if (seen.push(bodyText(message)) === 300) resolve();
      });
    }
  });
  await (await client.sender(queue)).sendAll(numbered(300));
  await all;
  t.same(seen.toSorted(), numbers(300).toSorted(), 'each message once');
  t.ok(shares.filter((share) => share > 0).length > 1, `shared ${shares.join(' ')}`);
});

scenario('request and response over a dynamic node', 'dynamic', async (t, client) => {
  const queue = fresh('queue');
  const server = await RheaClient.connect(port);
  const requests = await server.receiver(queue, { credit_window: 10, autoaccept: true });
  const replies = await server.sender({});
  requests.link.on('message', ({ message }) => {
    const { reply_to, correlation_id, body } = message!;
    replies.link.send({ to: reply_to!, correlation_id: correlation_id!, body: String(body).toUpperCase() });
  });
  const answers = (await client.receiver({ address: '', dynamic: true })).credit(20);
  t.ok(answers.address.length > 0, answers.address);
  const sender = await client.sender(queue);
  for (let i = 0; i < 20; i++) {
    await sender.send({ reply_to: answers.address, correlation_id: `${i}`, body: `question ${i}` });
    const { message, delivery } = await answers.next();
    t.match(message, { correlation_id: `${i}`, body: `QUESTION ${i}` });
    delivery.accept();
  }
  await server.close();
});

scenario('a sender without an address', 'anonymous', async (t, client) => {
  const [one, two] = [fresh('queue'), fresh('queue')];
  // A queue is there once somebody has asked for it.
  for (const queue of [one, two]) await (await client.receiver(queue)).close();
  const sender = await client.sender({});
  t.match(await sender.send({ to: one, body: 'to one' }), { kind: 'accepted' });
  t.match(await sender.send({ to: two, body: 'to two' }), { kind: 'accepted' });
  t.not((await sender.send({ body: 'to nobody' })).kind, 'accepted');
  t.match(await (await client.receiver(one)).drain(10), [{ message: { body: 'to one' } }]);
  t.match(await (await client.receiver(two)).drain(10), [{ message: { body: 'to two' } }]);
});

scenario('selectors', 'selectors', async (t, client) => {
  const queue = fresh('queue');
  const red = await client.receiver({ address: queue, filter: filter.selector("colour = 'red'") as never });
  const big = await client.receiver({ address: queue, filter: filter.selector("n > 5 AND colour <> 'red'") as never });
  t.ok(
    (red.link.source.filter as Record<string, unknown>)['jms-selector'] !== undefined,
    'the filter in force is told',
  );
  const sender = await client.sender(queue);
  const messages = Array.from({ length: 12 }, (_, i): Message => {
    return { application_properties: { n: i, colour: i % 3 === 0 ? 'red' : 'blue' }, body: dataBody(`${i}`) };
  });
  await sender.sendAll(messages);
  const [reds, bigs] = [await red.credit(4).take(4), await big.credit(4).take(4)];
  t.same(texts(reds), ['0', '3', '6', '9']);
  t.same(texts(bigs), ['7', '8', '10', '11']);
  for (const { delivery } of [...reds, ...bigs]) delivery.accept();
  t.same(await red.drain(5), []);
  await Promise.all([red.close(), big.close()]);
  t.same(texts(await (await client.receiver(queue)).drain(20)), ['1', '2', '4', '5'], 'the rest is still there');
});

scenario('browsing', 'browse', async (t, client) => {
  const queue = fresh('queue');
  await (await client.sender(queue)).sendAll(numbered(20));
  const browse = async (): Promise<string[]> => {
    const browser = await client.receiver({ address: queue, distribution_mode: 'copy' } as never, {
      snd_settle_mode: 1,
    });
    const seen = texts(await browser.drain(100));
    await browser.close();
    return seen;
  };
  t.same(await browse(), numbers(20));
  t.same(await browse(), numbers(20), 'again');
  const consumer = await client.receiver(queue);
  const taken = await consumer.drain(100);
  t.same(texts(taken), numbers(20), 'nothing was taken away');
  for (const { delivery } of taken) delivery.accept();
  await consumer.close();
  t.same(await browse(), []);
});

scenario('a topic', 'topics', async (t, client) => {
  const address = fresh('topic');
  const source = { address, capabilities: ['topic'] } as never;
  const sender = await client.sender({ address, capabilities: ['topic'] });
  await sender.send({ body: dataBody('before anybody listens') });
  const one = (await client.receiver(source)).credit(10);
  const two = (await client.receiver(source)).credit(10);
  await sender.sendAll(numbered(5));
  t.same(texts(await one.take(5)), numbers(5));
  t.same(texts(await two.take(5)), numbers(5));
});

scenario('a durable subscription', 'durable', async (t, client) => {
  const address = fresh('topic');
  const name = fresh('subscription');
  const container_id = fresh('container');
  const source = { address, capabilities: ['topic'], durable: 2, expiry_policy: 'never' } as never;
  const sender = await client.sender({ address, capabilities: ['topic'] });
  const attach = async (): Promise<[RheaClient, Awaited<ReturnType<RheaClient['receiver']>>]> => {
    const owner = await RheaClient.connect(port, { container_id });
    return [owner, await owner.receiver(source, { name })];
  };
  let [owner, receiver] = await attach();
  await receiver.detach();
  await owner.close();
  await sender.sendAll(numbered(10));
  [owner, receiver] = await attach();
  const first = await receiver.credit(4).take(4);
  t.same(texts(first), numbers(4), 'what came meanwhile');
  for (const { delivery } of first) delivery.accept();
  await owner.close();
  [owner, receiver] = await attach();
  const rest = await receiver.credit(6).take(6);
  t.same(texts(rest), numbers(6, 4), 'a closed connection only detaches');
  for (const { delivery } of rest) delivery.accept();
  await receiver.close();
  await sender.sendAll(numbered(2));
  await owner.close();
  [owner, receiver] = await attach();
  t.same(await receiver.drain(10), [], 'closing the link ends the subscription');
  await receiver.close();
  await owner.close();
});

scenario('a shared subscription', 'shared', async (t, client) => {
  const address = fresh('topic');
  const name = fresh('shared');
  const other = await RheaClient.connect(port);
  const source = { address, capabilities: ['topic', 'shared', 'global'] } as never;
  const options = { credit_window: 5, autoaccept: true };
  const members = [
    await client.receiver(source, { ...options, name: `${name}|global-volatile1` }),
    await other.receiver(source, { ...options, name: `${name}|global-volatile1` }),
  ];
  const seen: string[] = [];
  const all = new Promise<void>((resolve) => {
    for (const { link } of members) {
      link.on('message', ({ message }) => seen.push(bodyText(message)) === 100 && resolve());
    }
  });
  await (await client.sender({ address, capabilities: ['topic'] })).sendAll(numbered(100));
  await all;
  t.same(seen.toSorted(), numbers(100).toSorted());
  await other.close();
});

scenario('a link that makes no sense is refused, and only that', 'selectors', async (t, client) => {
  const queue = fresh('queue');
  const refused = client.receiver({ address: queue, filter: filter.selector('n >') as never });
  // Some brokers answer first and refuse then.
  await t.rejects(
    refused.then((receiver) => receiver.next()),
    { condition: /^amqp:/ } as never,
  );
  t.match(await (await client.sender(queue)).send({ body: 'x' }), { kind: 'accepted' }, 'the connection goes on');
});

scenario('later delivery', 'delay', async (t, client) => {
  const queue = fresh('queue');
  const receiver = (await client.receiver(queue)).credit(2);
  const sender = await client.sender(queue);
  const at = Date.now() + 600;
  await sender.send({
    message_annotations: { 'x-opt-delivery-time': types.wrap_long(at) },
    body: dataBody('later'),
  });
  await sender.send({ body: dataBody('now') });
  t.same(texts(await receiver.take(1)), ['now']);
  t.same(texts(await receiver.take(1)), ['later']);
  t.ok(Date.now() >= at - 5);
});
