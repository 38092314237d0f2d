import t from 'tap';
import { SendWindow } from '../../../../adapters/mqtt/session/send-window.ts';

const IDENTIFIERS = 65_535;

t.test('identifiers run from 1 to 65,535 and begin again', async (t) => {
  const window = new SendWindow(100);
  let wrong = 0;
  for (let i = 0; i < 2 * IDENTIFIERS + 10; i++) {
    const packetIdentifier = window.take();
    if (packetIdentifier !== (i % IDENTIFIERS) + 1 || !window.acknowledge(packetIdentifier)) wrong++;
  }
  t.equal(wrong, 0);
  t.equal(window.room, 100);
});

t.test('across the wrap, acknowledged out of order', async (t) => {
  const window = new SendWindow(50);
  for (let i = 0; i < IDENTIFIERS - 5; i++) window.acknowledge(window.take());
  const taken = Array.from({ length: 50 }, () => window.take());
  t.same(taken.slice(0, 7), [65_531, 65_532, 65_533, 65_534, 65_535, 1, 2]);
  t.equal(window.room, 0);
  t.notOk(window.acknowledge(65_530), 'from before');
  t.notOk(window.acknowledge(46), 'not sent yet');
  for (const packetIdentifier of taken.slice(1).toReversed()) t.ok(window.acknowledge(packetIdentifier));
  t.equal(window.room, 0, 'the oldest one holds the window');
  t.ok(window.acknowledge(65_531));
  t.equal(window.room, 50);
  t.equal(window.take(), 46);
});

t.test('unknown and repeated acknowledgements', async (t) => {
  const window = new SendWindow(3);
  t.notOk(window.acknowledge(1), 'nothing was sent');
  window.take();
  window.take();
  t.notOk(window.acknowledge(3));
  t.notOk(window.acknowledge(65_535));
  t.ok(window.acknowledge(2));
  t.notOk(window.acknowledge(2), 'once only');
  t.equal(window.room, 1);
  t.ok(window.acknowledge(1));
  t.equal(window.room, 3);
});

t.test('the largest window', async (t) => {
  const window = new SendWindow(IDENTIFIERS);
  for (let i = 0; i < IDENTIFIERS; i++) window.take();
  t.equal(window.room, 0);
  let acknowledged = 0;
  for (let i = IDENTIFIERS; i > 0; i--) if (window.acknowledge(i)) acknowledged++;
  t.equal(acknowledged, IDENTIFIERS);
  t.equal(window.room, IDENTIFIERS);
  t.equal(window.take(), 1);
});

t.test('no window before CONNECT', async (t) => {
  t.equal(new SendWindow(0).room, 0);
});
