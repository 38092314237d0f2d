/** A queue on stock rhea as a benchmark peer: `node amqp-rhea-peer.js PORT`. With TCP_NODELAY, without which it is ten times slower. */
import rhea, { type Message, type Sender } from 'rhea';

const port = Number(process.argv[2]);
const container = rhea.create_container({ id: 'bench' });
/** Messages as they came, from `head` on. */
const queues = new Map<string, { messages: (Message | undefined)[]; head: number; consumers: Set<Sender> }>();
const queueOf = (address: string) => {
  let queue = queues.get(address);
  if (queue === undefined) queues.set(address, (queue = { messages: [], head: 0, consumers: new Set() }));
  return queue;
};
const addresses = new WeakMap<object, string>();

function pump(address: string): void {
  const queue = queueOf(address);
  for (const consumer of queue.consumers) {
    // rhea takes credit off only when it writes: what is queued there has to be counted.
    const { outgoing } = consumer.session as unknown as {
      outgoing: { next_delivery_id: number; next_pending_delivery: number; available(): number };
    };
    const { credit } = consumer as unknown as { credit: number };
    let room = Math.min(credit - (outgoing.next_delivery_id - outgoing.next_pending_delivery), outgoing.available());
    for (; room > 0 && queue.head < queue.messages.length; room--) {
      consumer.send(queue.messages[queue.head]!);
      queue.messages[queue.head++] = undefined;
    }
  }
  if (queue.head === queue.messages.length) {
    queue.messages = [];
    queue.head = 0;
  }
}

container.on('receiver_open', ({ receiver }) => {
  const { address } = receiver!.target;
  receiver!.set_target({ address: address as string });
  addresses.set(receiver, address as string);
});
container.on('sender_open', ({ sender }) => {
  const { address } = sender!.source;
  sender!.set_source({ address: address as string });
  addresses.set(sender, address as string);
  queueOf(address as string).consumers.add(sender);
});
container.on('message', ({ receiver, message }) => {
  const address = addresses.get(receiver)!;
  queueOf(address).messages.push(message);
  pump(address);
});
for (const event of ['sendable', 'settled']) {
  container.on(event, ({ sender }) => {
    if (sender !== undefined && addresses.has(sender)) pump(addresses.get(sender)!);
  });
}
for (const event of ['connection_close', 'disconnected']) {
  container.on(event, ({ connection }) => {
    for (const { consumers } of queues.values()) {
      for (const consumer of consumers) if (consumer.connection === connection) consumers.delete(consumer);
    }
  });
}
for (const event of ['protocol_error', 'error']) container.on(event, () => {});
container.listen({ port, host: '127.0.0.1', tcp_no_delay: true } as never);
process.on('SIGTERM', () => process.exit(0));
