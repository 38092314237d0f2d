import t from 'tap';
import { Inflight, Phase } from '../../../../adapters/mqtt/session/inflight.ts';
import { Random, testSeed } from '../../../helpers/random.ts';

const IDENTIFIERS = 65_535;
const seed = testSeed();
t.comment(`GANTRY_SEED=${seed} repeats this`);

function inflightOf(size: number): Inflight {
  const inflight = new Inflight();
  inflight.begin(size);
  return inflight;
}

function take(inflight: Inflight, position = 0): number {
  return inflight.take(1, undefined, position, undefined);
}

t.test('identifiers run from 1 to 65,535 and begin again', async (t) => {
  const inflight = inflightOf(100);
  let wrong = 0;
  for (let i = 0; i < 2 * IDENTIFIERS + 10; i++) {
    const packetIdentifier = take(inflight);
    if (packetIdentifier !== (i % IDENTIFIERS) + 1 || inflight.phase(packetIdentifier) !== Phase.published) wrong++;
    inflight.done(packetIdentifier);
  }
  t.equal(wrong, 0);
  t.equal(inflight.room, 100);
});

t.test('across the wrap, acknowledged out of order', async (t) => {
  const inflight = inflightOf(50);
  for (let i = 0; i < IDENTIFIERS - 5; i++) inflight.done(take(inflight));
  const taken = Array.from({ length: 50 }, () => take(inflight));
  t.same(taken.slice(0, 7), [65_531, 65_532, 65_533, 65_534, 65_535, 1, 2]);
  t.equal(inflight.room, 0);
  t.equal(inflight.phase(65_530), Phase.none, 'from before');
  t.equal(inflight.phase(46), Phase.none, 'not sent yet');
  for (const packetIdentifier of taken.slice(1).toReversed()) inflight.done(packetIdentifier);
  t.equal(inflight.room, 0, 'the oldest one holds the window');
  inflight.done(65_531);
  t.equal(inflight.room, 50);
  t.equal(take(inflight), 46);
});

t.test('the largest window', async (t) => {
  const inflight = inflightOf(IDENTIFIERS);
  for (let i = 0; i < IDENTIFIERS; i++) take(inflight);
  t.equal(inflight.room, 0);
  for (let i = IDENTIFIERS; i > 0; i--) inflight.done(i);
  t.equal(inflight.room, IDENTIFIERS);
  t.equal(take(inflight), 1);
});

t.test('no room before CONNECT', async (t) => {
  const inflight = new Inflight();
  t.equal(inflight.room, 0);
  t.equal(inflight.phase(1), Phase.none);
});

t.test('a new connection sends what is on its way again, in order, as many as it takes at a time', async (t) => {
  const inflight = inflightOf(10);
  const taken = Array.from({ length: 6 }, (_, i) => take(inflight, i));
  inflight.done(taken[1]!);
  inflight.release(taken[2]!);
  inflight.begin(2);
  t.equal(inflight.room, 0, 'nothing new before');
  t.match(inflight.nextResent(), { packetIdentifier: taken[0], position: 0, phase: Phase.published });
  t.match(inflight.nextResent(), { packetIdentifier: taken[2], phase: Phase.released });
  t.equal(inflight.nextResent(), undefined, 'no more than two');
  inflight.done(taken[2]!);
  t.match(inflight.nextResent(), { packetIdentifier: taken[3] });
  inflight.done(taken[0]!);
  inflight.done(taken[3]!);
  t.notOk(inflight.isResent);
  t.match(inflight.nextResent(), { packetIdentifier: taken[4] });
  t.match(inflight.nextResent(), { packetIdentifier: taken[5] });
  t.ok(inflight.isResent);
  inflight.done(taken[4]!);
  inflight.done(taken[5]!);
  t.equal(inflight.room, 2);
  t.ok(inflight.isEmpty);
});

t.test('what is written down is there again', async (t) => {
  const random = new Random(seed);
  for (let round = 0; round < 300; round++) {
    const inflight = inflightOf(200);
    const skipped = random.below(3 * IDENTIFIERS);
    for (let i = 0; i < skipped % (IDENTIFIERS + 300); i++) inflight.done(take(inflight));
    const taken = Array.from({ length: random.below(100) }, (_, i) =>
      inflight.take(i % 2 === 0 ? 1 : 2, undefined, i, undefined),
    );
    for (const packetIdentifier of taken) {
      const fate = random.below(3);
      if (fate === 0) inflight.done(packetIdentifier);
      else if (fate === 1 && inflight.phase(packetIdentifier) === Phase.publishedOnce)
        inflight.release(packetIdentifier);
    }
    const restored = new Inflight();
    restored.restore(inflight.mark, inflight.all());
    restored.begin(200);
    if (round < 3) t.same(restored.all(), inflight.all());
    else if (JSON.stringify(restored.all()) !== JSON.stringify(inflight.all())) t.fail(`round ${round} differs`);
    while (restored.nextResent() !== undefined);
    const next = take(restored);
    if (next !== take(inflight)) t.fail(`round ${round}: another next identifier`);
  }
});
