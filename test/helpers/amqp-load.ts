import { once } from 'node:events';
import type { EventContext } from 'rhea';
import { ACCEPTED, type DeliveryState } from '../../adapters/amqp/v1/codec/performatives.ts';
import { RawAmqpClient, type ReceivedOf } from './amqp-client.ts';
import type { AmqpJournal, QueuedMessage } from './amqp-journal.ts';
import { bin, bool, bytesOf, readMessage, ulong } from './amqp-messages.ts';
import type { Life, LoadClient } from './killed-gateway.ts';
import type { Random } from './random.ts';
import { bodyText, dataBody, RheaClient } from './rhea-client.ts';

/** What all clients of one load share. */
export interface AmqpLoad {
  readonly journal: AmqpJournal;
  readonly random: Random;
}

/** Rejects when the life ends before it is done, and when the connection is lost although nobody killed the gateway. */
class LifeEnded extends Error {}
function within<T>(life: Life, work: Promise<T>): Promise<T> {
  const ended = life.ended.then(() => {
    throw new LifeEnded('the gateway was killed');
  });
  return Promise.race([work, ended]);
}

async function live(life: Life, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!life.isKilled) throw error;
  }
}

async function connectRhea(life: Life): Promise<{ client: RheaClient; lost: Promise<never> }> {
  const client = await within(life, RheaClient.connect(life.amqpPort));
  const lost = once(client.connection, 'disconnected').then(() => {
    throw new Error('the connection was lost');
  });
  lost.catch(() => {});
  return { client, lost };
}

/** Sends through rhea, with some messages without an outcome at a time. */
export class AmqpLoadSender implements LoadClient {
  /** In the order of sending. */
  private readonly unaccepted = new Set<QueuedMessage>();
  private readonly load: AmqpLoad;
  private readonly queue: string;
  private readonly name: string;
  private readonly window: number;

  constructor(load: AmqpLoad, queue: string, name: string, window: number) {
    this.load = load;
    this.queue = queue;
    this.name = name;
    this.window = window;
  }

  live(life: Life): Promise<void> {
    return live(life, () => this.work(life));
  }

  private async work(life: Life): Promise<void> {
    const { journal } = this.load;
    const { client, lost } = await connectRhea(life);
    try {
      const sender = await within(life, client.sender(this.queue));
      let inFlight = 0;
      let wake = (): void => {};
      const send = async (message: QueuedMessage): Promise<void> => {
        inFlight++;
        const serial = journal.sent(message);
        const { kind } = await sender.send({ durable: true, body: dataBody(journal.bodyOf(serial)) });
        inFlight--;
        if (kind !== 'accepted') journal.fault(`${serial} was ${kind}`);
        this.unaccepted.delete(message);
        journal.sendAccepted(serial);
        wake();
      };
      for (const message of this.unaccepted) void send(message);
      for (;;) {
        if (!life.isLast && inFlight <= this.window / 2) {
          await within(life, Promise.race([journal.roomToSend(), lost]));
          while (inFlight < this.window) {
            const message = journal.create(this.queue, this.name);
            this.unaccepted.add(message);
            void send(message);
          }
        }
        if (inFlight === 0) return;
        await within(life, Promise.race([new Promise<void>((resolve) => (wake = resolve)), lost]));
      }
    } finally {
      client.vanish();
    }
  }
}

/** Messages that are not accepted at once: forgotten until the connection ends, given back, or failed. */
const ODD_SHARE = 0.02;

/** Receives through rhea and accepts; with mode `second` the gateway settles, and so says that it is done. */
export class AmqpLoadReceiver implements LoadClient {
  private readonly load: AmqpLoad;
  private readonly queue: string;
  private readonly mode: 'first' | 'second';

  constructor(load: AmqpLoad, queue: string, mode: 'first' | 'second') {
    this.load = load;
    this.queue = queue;
    this.mode = mode;
  }

  live(life: Life): Promise<void> {
    return live(life, () => this.work(life));
  }

  private async work(life: Life): Promise<void> {
    const { client, lost } = await connectRhea(life);
    try {
      const options = { credit_window: 60, rcv_settle_mode: this.mode === 'second' ? 1 : 0 } as const;
      const { link } = await within(life, client.receiver(this.queue, options));
      const serials = new Map<unknown, number>();
      link.on('settled', ({ delivery }: EventContext) => {
        const serial = serials.get(delivery);
        serials.delete(delivery);
        if (serial !== undefined) this.load.journal.receiverConfirmed(serial);
      });
      link.on('message', (context: EventContext) => this.arrived(context, serials, life));
      await within(life, lost);
    } finally {
      client.vanish();
    }
  }

  private arrived({ message, delivery }: EventContext, serials: Map<unknown, number>, life: Life): void {
    const { journal, random } = this.load;
    const serial = journal.arrived(this.queue, Buffer.from(bodyText(message!), 'latin1'));
    if (serial === undefined) return;
    if (!life.isLast && random.chance(ODD_SHARE)) {
      if (random.chance(0.4)) return;
      // In a turn of its own: rhea merges what is answered within one.
      setImmediate(() => {
        if (life.isKilled) return;
        journal.released(serial);
        if (random.chance(0.5)) delivery!.release({ delivery_failed: false, undeliverable_here: false });
        else delivery!.modified({ delivery_failed: true, undeliverable_here: false });
      });
      return;
    }
    if (this.mode === 'second') serials.set(delivery, serial);
    delivery!.accept();
    journal.receiverAccepted(serial);
  }
}

const Handle = { coordinator: 0, in: 1, out: 2 } as const;
const DECLARE = bytesOf([
  ['amqpValue', { type: 'described', descriptor: ulong(0x31n), value: { type: 'list', value: [] } }],
]);

function discharge(txnId: Buffer, fail: boolean): Buffer {
  const value = { type: 'list', value: [bin(txnId), bool(fail)] } as const;
  return bytesOf([['amqpValue', { type: 'described', descriptor: ulong(0x32n), value }]]);
}

/** One transaction after the other: accepts some messages of a queue, and sends some to each of several others. */
export class AmqpLoadTransactions implements LoadClient {
  private readonly load: AmqpLoad;
  private readonly from: string;
  private readonly to: readonly string[];

  constructor(load: AmqpLoad, from: string, to: readonly string[]) {
    this.load = load;
    this.from = from;
    this.to = to;
  }

  live(life: Life): Promise<void> {
    return live(life, () => this.work(life));
  }

  private async work(life: Life): Promise<void> {
    const client = await within(life, RawAmqpClient.opened(life.amqpPort, { containerId: `of ${this.from}` }));
    try {
      const target = { kind: 'coordinator', capabilities: [] } as const;
      const { handle } = await client.attach({
        role: 'sender',
        name: 'coordinator',
        handle: Handle.coordinator,
        target,
      });
      await client.next('flow', (flow) => flow.handle === handle);
      await client.receiver(this.from, 0, { handle: Handle.in, name: 'in' });
      for (const [i, queue] of this.to.entries()) await client.sender(queue, { handle: Handle.out + i, name: queue });
      await new OneByOne(client, this.load, this.from, this.to).run(life);
    } finally {
      client.destroy();
    }
  }
}

class OneByOne {
  private nextDeliveryId = 0;
  private receivedCount = 0;
  private readonly client: RawAmqpClient;
  private readonly load: AmqpLoad;
  private readonly from: string;
  private readonly to: readonly string[];

  constructor(client: RawAmqpClient, load: AmqpLoad, from: string, to: readonly string[]) {
    this.client = client;
    this.load = load;
    this.from = from;
    this.to = to;
  }

  async run(life: Life): Promise<void> {
    for (;;) {
      // In the last life nothing is left waiting for more to come.
      const inputs = await this.receive(life.isLast ? 1 : this.load.random.int(1, 4));
      await this.transact(inputs, this.load.random.chance(0.2));
      this.client.received.length = 0;
    }
  }

  private async receive(count: number): Promise<Map<number, number>> {
    const { client, load } = this;
    client.flow({ handle: Handle.in, deliveryCount: this.receivedCount, linkCredit: count });
    this.receivedCount += count;
    const inputs = new Map<number, number>();
    for (let i = 0; i < count; i++) {
      const { deliveryId, payload } = await client.next('transfer');
      const data = readMessage(payload).body[0]![1];
      const serial = load.journal.arrived(this.from, data.type === 'binary' ? data.value : Buffer.alloc(0));
      if (serial !== undefined) inputs.set(serial, deliveryId!);
    }
    return inputs;
  }

  private async transact(inputs: ReadonlyMap<number, number>, fail: boolean): Promise<void> {
    const { client, load } = this;
    const { journal, random } = load;
    const declared = await this.outcomeOf(this.send(Handle.coordinator, DECLARE));
    if (declared?.kind !== 'declared') throw new Error(`declare: ${JSON.stringify(declared)}`);
    const { txnId } = declared;
    const queues = this.to.flatMap((queue) => Array.from({ length: random.int(1, 3) }, () => queue));
    const transaction = journal.begin([...inputs.keys()], queues, this.from);
    const state = { kind: 'transactional', txnId } as const;
    const sent = transaction.outputs.map((serial, i) => {
      const payload = bytesOf([['data', bin(journal.bodyOf(serial))]]);
      return this.send(Handle.out + this.to.indexOf(queues[i]!), payload, state);
    });
    for (const deliveryId of inputs.values()) {
      client.disposition(deliveryId, deliveryId, { state: { ...state, outcome: ACCEPTED } });
    }
    // Some wait for the outcomes before they discharge, others do not.
    if (random.chance(0.5)) for (const deliveryId of sent) await this.outcomeOf(deliveryId);
    const outcome = await this.outcomeOf(this.send(Handle.coordinator, discharge(txnId, fail)));
    if (outcome?.kind !== 'accepted') throw new Error(`discharge: ${JSON.stringify(outcome)}`);
    if (fail) journal.undo(transaction, 'its rollback was confirmed');
    else journal.apply(transaction, 'its commit was confirmed');
  }

  private send(handle: number, payload: Buffer, state?: DeliveryState): number {
    const deliveryId = this.nextDeliveryId++;
    this.client.transfer({ handle, deliveryId, state }, payload);
    return deliveryId;
  }

  private async outcomeOf(deliveryId: number): Promise<DeliveryState | undefined> {
    const covers = ({ first, last }: ReceivedOf<'disposition'>): boolean => first <= deliveryId && deliveryId <= last;
    const disposition = await this.client.next('disposition', covers);
    // It may cover others that are waited for.
    if (disposition.first !== disposition.last) this.client.received.push(disposition);
    return disposition.state;
  }
}
