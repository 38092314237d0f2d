import t from 'tap';
import { Connections, type Tracked } from '../../../../adapters/connection/connections.ts';
import { Output } from '../../../../adapters/connection/output.ts';
import { ReadGate, type Pausable } from '../../../../adapters/connection/read-gate.ts';
import { Turn } from '../../../../adapters/connection/turn.ts';
import { deferred } from '../../../helpers/deferred.ts';
import { ManualClock, settled } from '../../../helpers/manual-clock.ts';
import { streamPair, type StreamEnd } from '../../../helpers/stream-pair.ts';

const CHUNK_BYTES = 64 * 1024;

function received(stream: StreamEnd): Buffer {
  return (stream.read() as Buffer | null) ?? Buffer.alloc(0);
}

t.test('Output', async (t) => {
  await t.test('what a turn gathers is one write, whatever its size', async (t) => {
    const sizes = [[1], [10, 20, 30], [CHUNK_BYTES], [CHUNK_BYTES - 1, 2], [200_000], [5, 200_000, 70_000, 3]];
    for (const [i, turn] of sizes.entries()) {
      const [ours, theirs] = streamPair();
      const output = new Output(ours);
      t.equal(output.isEmpty, true);
      output.flush();
      t.equal(ours.writes, 0, 'nothing to write');
      const parts = turn.map((bytes, part) => Buffer.alloc(bytes, 1 + i + part));
      for (const part of parts) output.append(part, 0, part.length);
      const whole = Buffer.concat(parts);
      t.equal(output.bytes, whole.length);
      output.flush();
      t.equal(output.isEmpty, true);
      t.equal(ours.writes, 1);
      t.ok(received(theirs).equals(whole), `${turn.join(' + ')} bytes`);
    }
  });

  await t.test('the caller writes into what was reserved', async (t) => {
    const [ours, theirs] = streamPair();
    const output = new Output(ours);
    for (const text of ['one', 'two']) {
      output.reserve(100);
      output.used += output.chunk.write(text, output.used);
    }
    output.append(Buffer.from('xthreex'), 1, 6);
    output.flush();
    t.equal(received(theirs).toString(), 'onetwothree');
  });

  await t.test('a turn that gathers too much is known', async (t) => {
    const output = new Output(streamPair()[0]);
    const part = Buffer.alloc(CHUNK_BYTES);
    for (const [full, isOver] of [false, false, true].entries()) {
      output.append(part, 0, part.length);
      t.equal(output.isOver(CHUNK_BYTES), isOver, `${full} full chunks`);
    }
  });
});

t.test('ReadGate', async (t) => {
  /** A decoder that says what is asked of it, and what it does then. */
  class Decoder implements Pausable {
    readonly calls: string[] = [];
    onResume = (): void => {};
    pause(): void {
      this.calls.push('pause');
    }
    resume(): void {
      this.calls.push('resume');
      this.onResume();
    }
  }
  const start = () => {
    const [stream, peer] = streamPair();
    const decoder = new Decoder();
    let read = 0;
    stream.on('data', (chunk: Buffer) => (read += chunk.length));
    /** Whether what the peer sends now is read. */
    const isRead = async (): Promise<boolean> => {
      const before = read;
      peer.write('x');
      await settled();
      return read > before;
    };
    return { gate: new ReadGate<'one' | 'two'>(stream, decoder), decoder, isRead };
  };
  const unexpected = (error: unknown): void => void t.fail(String(error));

  await t.test('reads when no reason is left', async (t) => {
    const { gate, isRead } = start();
    t.equal(await isRead(), true);
    gate.hold('one');
    gate.hold('two');
    gate.hold('one');
    t.same([gate.isHeld, gate.has('one')], [true, true]);
    t.equal(await isRead(), false);
    gate.release('one');
    t.equal(await isRead(), false);
    gate.release('two');
    t.same([gate.isHeld, gate.has('one')], [false, false]);
    t.equal(await isRead(), true);
  });

  await t.test('a packet that was held back may hold back those behind it', async (t) => {
    const { gate, decoder, isRead } = start();
    const done: string[] = [];
    const second = deferred<string>();
    gate.holdFor(Promise.resolve('first'), (result) => done.push(result), unexpected);
    decoder.onResume = () => {
      decoder.onResume = () => {};
      gate.holdFor(second.promise, (result) => done.push(result), unexpected);
    };
    t.equal(await isRead(), false);
    t.same(done, ['first']);
    t.same(decoder.calls, ['pause', 'resume', 'pause']);
    second.resolve('second');
    await settled();
    t.equal(await isRead(), true);
    t.same(done, ['first', 'second']);
  });

  await t.test('what is stopped does not go on', async (t) => {
    const { gate, decoder, isRead } = start();
    const done: number[] = [];
    gate.holdFor(Promise.resolve(1), (result) => done.push(result), unexpected);
    gate.stop();
    t.equal(await isRead(), false);
    t.same(done, [1], 'what was taken in is answered');
    t.notOk(decoder.calls.includes('resume'));
  });

  await t.test('faults of the work, of its end, and of what was held back', async (t) => {
    const seen: unknown[] = [];
    const failed = (error: unknown): void => void seen.push(error);
    const fault = (text: string) => (): never => {
      throw new Error(text);
    };
    const { gate, decoder } = start();
    gate.holdFor(Promise.reject(new Error('work')), unexpected, failed);
    await settled();
    gate.holdFor(Promise.resolve(), fault('proceed'), failed);
    await settled();
    decoder.onResume = fault('held back');
    gate.holdFor(Promise.resolve(), () => {}, failed);
    await settled();
    t.match(seen, [{ message: 'work' }, { message: 'proceed' }, { message: 'held back' }]);
  });
});

t.test('Turn: pulls, then flushes, once for all', async (t) => {
  const turn = new Turn();
  const calls: string[] = [];
  const dirty = (name: string) => ({ flush: () => void calls.push(`flush ${name}`) });
  turn.addDirty(dirty('a'));
  turn.addReady({
    pull: () => {
      calls.push('pull');
      turn.addDirty(dirty('b'));
      turn.addReady({ pull: () => void calls.push('pull again') });
    },
  });
  turn.addDirty({
    flush: () => {
      calls.push('flush c');
      turn.addDirty(dirty('d'));
    },
  });
  t.same(calls, []);
  await settled();
  t.same(calls, ['pull', 'flush a', 'flush c', 'flush b', 'pull again', 'flush d']);
});

t.test('Connections', async (t) => {
  class Tracker implements Tracked {
    readonly calls: string[] = [];
    checkIdle(nowMs: number): void {
      this.calls.push(`idle ${nowMs}`);
    }
    stopReading(): void {
      this.calls.push('stop');
    }
    destroy(): void {
      this.calls.push('destroy');
    }
  }
  const start = (count: number) => {
    const clock = new ManualClock(1_000);
    const connections = new Connections<Tracker>(clock, 100);
    const trackers = Array.from({ length: count }, () => new Tracker());
    for (const tracker of trackers) connections.add(tracker);
    return { clock, connections, trackers };
  };
  const dismiss = (tracker: Tracker): void => void tracker.calls.push('dismiss');

  await t.test('are looked at until they end', async (t) => {
    const { clock, connections, trackers } = start(2);
    connections.watchIdle();
    await clock.advance(250);
    connections.remove(trackers[1]!);
    t.equal(connections.size, 1);
    t.equal(connections.nowMs, 1_200);
    connections.readClock();
    t.equal(connections.nowMs, 1_250);
    await clock.advance(100);
    t.same(
      trackers.map(({ calls }) => calls),
      [
        ['idle 1100', 'idle 1200', 'idle 1300'],
        ['idle 1100', 'idle 1200'],
      ],
    );
  });

  await t.test('shutdown: answers, good-byes, the end of each', async (t) => {
    const { clock, connections, trackers } = start(2);
    connections.watchIdle();
    const answered = deferred<void>();
    let isDown = false;
    const down = connections.shutdown(1_000, answered.promise, dismiss).then(() => (isDown = true));
    await clock.advance(500);
    for (const { calls } of trackers) t.same(calls, ['stop'], 'and is not looked at any more');
    answered.resolve();
    await settled();
    for (const tracker of trackers) {
      t.same(tracker.calls, ['stop', 'dismiss']);
      t.equal(isDown, false);
      connections.remove(tracker);
      await settled();
    }
    await down;
    for (const { calls } of trackers) t.same(calls, ['stop', 'dismiss']);
  });

  await t.test('shutdown without connections waits for the answers', async (t) => {
    const { connections } = start(0);
    let isAnswered = false;
    await connections.shutdown(
      1_000,
      settled().then(() => void (isAnswered = true)),
      dismiss,
    );
    t.equal(isAnswered, true);
  });

  const slow: [string, Promise<void>, string[]][] = [
    ['answers that do not come', new Promise<void>(() => {}), ['stop', 'destroy']],
    ['a client that stays', Promise.resolve(), ['stop', 'dismiss', 'destroy']],
  ];
  for (const [name, answered, calls] of slow) {
    await t.test(`shutdown within the grace period: ${name}`, async (t) => {
      const { clock, connections, trackers } = start(1);
      const down = connections.shutdown(1_000, answered, dismiss);
      await clock.advance(999);
      t.same(trackers[0]!.calls, calls.slice(0, -1));
      await clock.advance(1);
      await down;
      t.same(trackers[0]!.calls, calls);
    });
  }
});
