import t from 'tap';
import type { DeliveryState } from '../../adapters/amqp/v1/codec/performatives.ts';
import { readMessage, str } from '../helpers/amqp-messages.ts';
import { startNodeServer, textOf, type NodeClient } from '../helpers/amqp-node-server.ts';

/** Outcomes that mean something else to Azure's clients than to others. */

const SECOND = { receiverSettleMode: 1 } as const;
const AZURE = { ...SECOND, properties: new Map([['com.microsoft:receiver-name', str('one')]]) } as const;
const HERE: DeliveryState = { kind: 'modified', deliveryFailed: false, undeliverableHere: true };
const NOT_DEFERRED = { kind: 'rejected', error: { condition: 'amqp:not-implemented' } };

async function linked(one: NodeClient, queue: string, handle: number, credit: number, texts: string[], azure: boolean) {
  await one.sender(handle, queue);
  await one.receiver(handle + 10, queue, credit, {}, azure ? AZURE : SECOND);
  for (const text of texts) await one.send(handle, text);
  return one.raw.many('transfer', texts.length);
}

t.test('what Azure clients defer is there again, and they are told', async (t) => {
  const { client } = await startNodeServer(t);
  const one = await client();
  const plain = await linked(one, '/queues/p', 0, 2, ['p1'], false);
  const azure = await linked(one, '/queues/a', 1, 2, ['a1', 'a2'], true);
  const more = await linked(one, '/queues/q', 2, 1, ['q1'], false);
  const ids = [...plain, ...azure, ...more].map(({ deliveryId }) => deliveryId!);
  // One range over deliveries of several links.
  one.raw.disposition(ids[0]!, ids[3], { settled: false, state: HERE });
  const answers = await one.raw.many('disposition', 4);
  t.match(answers, [
    { first: ids[0], settled: true, state: HERE },
    { first: ids[1], settled: true, state: NOT_DEFERRED },
    { first: ids[2], settled: true, state: NOT_DEFERRED },
    { first: ids[3], settled: true, state: HERE },
  ]);
  one.credit(11, 2, 2);
  const again = await one.raw.many('transfer', 2);
  t.same(again.map(textOf), ['a1', 'a2']);
  t.match(readMessage(again[0]!.payload).header[4], { type: 'uint', value: 1 });
  await one.receiver(20, '/queues/p/$deadletterqueue', 5);
  t.same(await one.texts(1), ['p1'], 'to others it means what the standard says');
  await one.receiver(21, '/queues/a/$deadletterqueue', 5);
  await one.raw.seen();
  t.same(one.raw.kinds(), []);
  // Who settles itself hears of it by the end of the link.
  one.raw.disposition(again[0]!.deliveryId!, again[0]!.deliveryId, { settled: true, state: HERE });
  t.match(await one.raw.next('detach'), { error: { condition: 'amqp:not-implemented' } });
});
