import t from 'tap';
import { FlowFrame, TransferFrame } from '../../../../../adapters/amqp/v1/codec/hot-frames.ts';
import { ACCEPTED, RELEASED, type DeliveryState } from '../../../../../adapters/amqp/v1/codec/performatives.ts';
import { Assembly } from '../../../../../adapters/amqp/v1/state/assembly.ts';
import { DispositionBatch } from '../../../../../adapters/amqp/v1/state/disposition-batch.ts';
import { IncomingCredit } from '../../../../../adapters/amqp/v1/state/incoming-credit.ts';
import { lowestFree } from '../../../../../adapters/amqp/v1/state/lowest-free.ts';
import { OutgoingCredit } from '../../../../../adapters/amqp/v1/state/outgoing-credit.ts';
import { after, distance } from '../../../../../adapters/amqp/v1/state/serial.ts';
import { SessionWindow } from '../../../../../adapters/amqp/v1/state/session-window.ts';
import { Unsettled, type DeliveryOwner } from '../../../../../adapters/amqp/v1/state/unsettled.ts';
import { beginFrame } from '../../../../helpers/amqp-client.ts';
import { Random, seeds } from '../../../../helpers/random.ts';

function flow(fields: Partial<FlowFrame>): FlowFrame {
  return Object.assign(new FlowFrame(), fields);
}

t.test('serial numbers go round', async (t) => {
  t.equal(after(0xffff_ffff), 0);
  t.equal(after(0, -1), 0xffff_ffff);
  t.equal(after(5, 0xffff_ffff), 4);
  t.equal(distance(0xffff_fffe, 3), 5);
  t.equal(distance(3, 0xffff_fffe), -5);
  t.equal(distance(7, 7), 0);
});

t.test('the window of a session', async (t) => {
  const window = new SessionWindow(4);
  window.onBegin(beginFrame({ nextOutgoingId: 0xffff_ffff, incomingWindow: 3 }));
  t.equal(window.outgoing, 3);
  for (const nextIncomingId of [0, 1, 2, 3]) {
    t.ok(window.onTransfer());
    t.equal(window.nextIncomingId, nextIncomingId);
    t.equal(window.isReplenishDue, nextIncomingId >= 1);
  }
  t.notOk(window.onTransfer(), 'more than there was room for');
  window.replenish();
  t.equal(window.incoming, 4);

  window.sent();
  window.sent();
  t.equal(window.outgoing, 1);
  // The peer has seen the first of two, and has room for five behind it.
  window.onFlow(flow({ nextIncomingId: 1, incomingWindow: 5, nextOutgoingId: 9 }));
  t.equal(window.outgoing, 4);
  t.equal(window.nextIncomingId, 9);
  // It has not seen our begin.
  window.onFlow(flow({ nextIncomingId: -1, incomingWindow: 5, nextOutgoingId: 9 }));
  t.equal(window.outgoing, 3);
  window.onFlow(flow({ nextIncomingId: 2, incomingWindow: 0xffff_ffff, nextOutgoingId: 9 }));
  t.equal(window.outgoing, 0xffff_ffff);
  window.onFlow(flow({ nextIncomingId: 0, incomingWindow: 1, nextOutgoingId: 9 }));
  t.equal(window.outgoing, 0, 'smaller than what is on its way');
  window.onFlow(flow({ nextIncomingId: 50, incomingWindow: 1, nextOutgoingId: 9 }));
  t.equal(window.outgoing, 1, 'a peer that is ahead of us');
});

t.test('credit of an incoming link', async (t) => {
  const credit = new IncomingCredit(0xffff_fffe);
  t.notOk(credit.isGrantDue, 'nothing before the node is there');
  credit.open(4);
  t.ok(credit.isGrantDue);
  credit.grant();
  t.equal(credit.credit, 4);
  for (let i = 0; i < 4; i++) credit.received();
  t.equal(credit.deliveryCount, 2);
  t.equal(credit.credit, 0);
  t.notOk(credit.isGrantDue, 'nothing is answered');
  credit.answered();
  t.ok(credit.isGrantDue, 'there is no credit at all');
  credit.grant();
  t.equal(credit.credit, 1);
  credit.answered();
  t.notOk(credit.isGrantDue, 'less than half');
  credit.answered();
  t.ok(credit.isGrantDue);
  credit.withhold();
  t.notOk(credit.isGrantDue);
  credit.resume();
  credit.grant();
  t.equal(credit.credit, 3);
  credit.onDeliveryCount(4);
  t.equal(credit.credit, 1, 'two were skipped');
  credit.onDeliveryCount(1);
  t.equal(credit.credit, 1, 'what is behind us says nothing');

  const one = new IncomingCredit(0);
  one.open(1);
  for (let i = 0; i < 3; i++) {
    t.ok(one.isGrantDue);
    one.grant();
    one.received();
    t.notOk(one.isGrantDue);
    one.answered();
  }
});

t.test('credit of an outgoing link', async (t) => {
  const credit = new OutgoingCredit();
  credit.onFlow(flow({ deliveryCount: -1, linkCredit: 5 }));
  t.equal(credit.credit, 5);
  credit.sent();
  credit.sent();
  credit.onFlow(flow({ deliveryCount: 1, linkCredit: 5 }));
  t.equal(credit.credit, 4, 'one is on its way');
  credit.onFlow(flow({ deliveryCount: 0, linkCredit: 1 }));
  t.equal(credit.credit, 0, 'taken back, and too late for one');
  credit.onFlow(flow({ deliveryCount: 9, linkCredit: 3 }));
  t.equal(credit.credit, 3, 'a receiver that is ahead of us');
  credit.onFlow(flow({ deliveryCount: 2, linkCredit: -1, drain: true }));
  t.equal(credit.credit, 3, 'a flow that says nothing of credit');
  t.ok(credit.isDraining);
  credit.drained();
  t.match(credit, { credit: 0, deliveryCount: 5, isDraining: false });
  credit.onFlow(flow({ deliveryCount: 5, linkCredit: 0xffff_ffff, drain: true }));
  t.equal(credit.credit, 0xffff_ffff);
  credit.drained();
  t.match(credit, { credit: 0, deliveryCount: 4 });
});

t.test('dispositions: ranges of neighbours of which the same is said', async (t) => {
  const batch = new DispositionBatch();
  const rejected: DeliveryState = { kind: 'rejected' };
  batch.add(0xffff_fffe, 0xffff_fffe, true, ACCEPTED);
  batch.add(0xffff_ffff, 0xffff_ffff, true, ACCEPTED);
  batch.add(0, 0, true, { kind: 'accepted' });
  batch.add(1, 1, true, RELEASED);
  batch.add(2, 2, true, rejected);
  batch.add(3, 5, true, rejected);
  batch.add(6, 6, true, { kind: 'rejected' });
  batch.add(7, 7, false, RELEASED);
  batch.add(8, 8, true, RELEASED);
  batch.add(8, 8, true, undefined);
  batch.add(9, 9, true, undefined);
  batch.add(11, 11, true, undefined);
  batch.add(10, 10, true, undefined);
  const written: unknown[] = [];
  batch.writeTo({
    writeDisposition: (first, last, settled, state) => written.push([first, last, settled, state?.kind]),
  });
  t.same(written, [
    [0xffff_fffe, 0, true, 'accepted'],
    [1, 1, true, 'released'],
    [2, 5, true, 'rejected'],
    [6, 6, true, 'rejected'],
    [7, 7, false, 'released'],
    [8, 8, true, 'released'],
    [8, 9, true, undefined],
    [11, 11, true, undefined],
    [10, 10, true, undefined],
  ]);
  t.ok(batch.isEmpty);
});

t.test('a delivery in pieces keeps none of the chunks they came in', async (t) => {
  const frame = (text: string, fields: Partial<TransferFrame> = {}): TransferFrame => {
    const buffer = Buffer.from(`..${text}..`);
    return Object.assign(new TransferFrame(), { buffer, payloadStart: 2, payloadEnd: buffer.length - 2, ...fields });
  };
  const assembly = new Assembly(frame('', { deliveryId: 7, messageFormat: -1 }));
  const parts = ['a', 'b'.repeat(1000), '', 'c'.repeat(5000), 'd'];
  for (const part of parts) {
    const said = part === 'a' ? { receiverSettleMode: 1 as const } : {};
    const piece = frame(part, part === 'd' ? { settled: true, state: ACCEPTED } : said);
    assembly.add(piece);
    piece.buffer.fill(0);
  }
  t.match(assembly, { deliveryId: 7, messageFormat: 0, isSettled: true, state: ACCEPTED, receiverSettleMode: 1 });
  t.equal(assembly.bytes.toString('utf8', 0, assembly.length), parts.join(''));
});

t.test('the lowest free number', async (t) => {
  t.equal(lowestFree([]), 0);
  t.equal(lowestFree([1, 2]), 2);
  t.equal(lowestFree([1, undefined, 2, undefined]), 1);
});

/** Keeps what it is told. */
class Owner implements DeliveryOwner {
  readonly told: [unknown, DeliveryState | undefined][] = [];

  settled(kept: unknown, state: DeliveryState | undefined): void {
    this.told.push([kept, state]);
  }
}

t.test('what is unsettled: an old delivery does not make the rest grow', async (t) => {
  const unsettled = new Unsettled();
  const owner = new Owner();
  unsettled.add(0xffff_fff0, owner, 'old');
  for (let i = 1; i <= 100_000; i++) {
    const id = after(0xffff_fff0, i);
    unsettled.add(id, owner, id);
    if (i % 10 === 0) unsettled.settle(after(id, -9), id, ACCEPTED);
  }
  t.equal(owner.told.length, 100_000);
  t.equal(unsettled.count, 1);
  t.ok(unsettled.slots <= 64, `${unsettled.slots} slots`);
  unsettled.settle(0xffff_ff00, 0x7fff_0000, RELEASED);
  t.same(owner.told.at(-1), ['old', RELEASED]);
  t.equal(unsettled.count, 0);
});

for (const seed of seeds(5)) {
  t.test(`what is unsettled is settled once, in order: GANTRY_SEED=${seed}`, async (t) => {
    const random = new Random(seed);
    const owners = [new Owner(), new Owner(), new Owner()];
    const unsettled = new Unsettled<Owner>();
    let next = after(0, -random.int(0, 2000));
    /** What should be there, in order. */
    const model = new Map<number, Owner>();
    const wrong: string[] = [];
    const check = (what: string, actual: unknown, expected: unknown): void => {
      const [one, other] = [JSON.stringify(actual), JSON.stringify(expected)];
      if (one !== other) wrong.push(`${what}: ${one} in place of ${other}`);
    };
    for (let step = 0; step < 3000; step++) {
      const choice = random.int(0, 9);
      if (choice < 6) {
        for (let count = random.int(1, 40); count > 0; count--) {
          const owner = random.pick(owners);
          unsettled.add(next, owner, next);
          model.set(next, owner);
          // Presettled deliveries take ids, too.
          next = after(next, random.chance(0.2) ? random.int(2, 50) : 1);
        }
      } else if (choice < 9) {
        const ids = [...model.keys()];
        if (ids.length === 0) continue;
        // Old ones are left behind often.
        const low = random.chance(0.1) ? 0 : Math.floor(ids.length * random.next());
        const first = after(ids[low]!, -random.int(0, 3));
        const last = after(ids[random.int(low, ids.length - 1)]!, random.chance(0.1) ? 100_000 : 0);
        const expected = ids.filter((id) => distance(first, id) >= 0 && distance(id, last) >= 0);
        for (const owner of owners) owner.told.length = 0;
        unsettled.settle(first, last, ACCEPTED);
        for (const owner of owners) {
          const own = expected.filter((id) => model.get(id) === owner);
          check(
            'settled',
            owner.told.map(([kept]) => kept),
            own,
          );
        }
        for (const id of expected) model.delete(id);
      } else if (random.chance(0.1)) {
        const owner = random.pick(owners);
        const own = [...model].filter(([, of]) => of === owner).map(([id]) => id);
        check('known', [...unsettled.of(owner, own.length)], own);
        check('taken', unsettled.takeOf(owner), own);
        for (const id of own) model.delete(id);
      }
      check('count', unsettled.count, model.size);
    }
    t.same(wrong.slice(0, 3), []);
  });
}
