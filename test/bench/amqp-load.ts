/**
 * The AMQP load generator: a process of its own, started by amqp-round.ts with an `AmqpLoadPlan` as JSON in argv[2]. It does
 * its phases one after the other: before each it sends `{ kind: 'ready' }` and waits for the word `go`, and after each comes
 * `{ kind: 'done' }` with its figures. Whatever goes wrong ends in `{ kind: 'failed' }` instead.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ReceivingLink, SendingLink } from './amqp-link.ts';
import { timed, type LoadFigures } from './mqtt-generator.ts';
import { forAll } from './mqtt-link.ts';

export type AmqpTask =
  /** Two phases: into the queue for the time given, then all of it out again. */
  | { kind: 'in-out'; payloadBytes: number; credit: number }
  /** Both at once, with at most `undelivered` in between. */
  | { kind: 'through'; payloadBytes: number; credit: number; undelivered: number }
  | { kind: 'idle'; connections: number };

export type AmqpLoadPlan = AmqpTask & { port: number; durationMs: number; warmupMs: number; deadlineMs: number };
export type AmqpLoadReport = { kind: 'ready' } | ({ kind: 'done' } & LoadFigures) | { kind: 'failed'; reason: string };

const plan = JSON.parse(process.argv[2] ?? '{}') as AmqpLoadPlan;
let describe = (): string => '';

function report(message: AmqpLoadReport): void {
  process.send?.(message);
}

function fail(cause: unknown): void {
  report({ kind: 'failed', reason: `${cause instanceof Error ? cause.message : String(cause)} (${describe()})` });
  process.disconnect?.();
  setImmediate(() => process.exit(1));
}

async function phase(run: () => Promise<LoadFigures>): Promise<void> {
  const go = new Promise((resolve) => {
    process.once('message', resolve);
  });
  report({ kind: 'ready' });
  await go;
  report({ kind: 'done', ...(await run()) });
}

/** The links of one queue, which is empty before and after. */
class Pair {
  readonly sender: SendingLink;
  private readonly receiver: ReceivingLink;

  private constructor(sender: SendingLink, receiver: ReceivingLink) {
    this.sender = sender;
    this.receiver = receiver;
    describe = () => `${sender.sent} sent, ${sender.confirmed} confirmed, ${receiver.received} received`;
  }

  static async open(payloadBytes: number, credit: number): Promise<Pair> {
    const address = `/queue/bench-${process.pid}`;
    const sender = await new SendingLink(plan.port, address, payloadBytes, credit).attached();
    const receiver = await new ReceivingLink(plan.port, address, payloadBytes, credit).attached();
    return new Pair(sender, receiver);
  }

  /** For so long; resolves when all of it is confirmed. */
  fill(durationMs: number): Promise<LoadFigures> {
    const { sender } = this;
    return timed(
      () => sender.confirmed,
      (startMs) => {
        const until = startMs + durationMs;
        sender.allowed = () => (performance.now() < until ? Infinity : sender.sent);
        return this.until(() => performance.now() >= until && sender.confirmed === sender.sent);
      },
    );
  }

  drain(): Promise<LoadFigures> {
    const { sender, receiver } = this;
    return timed(
      () => receiver.received,
      () => {
        receiver.start();
        return this.until(() => receiver.received === sender.sent);
      },
    );
  }

  through(durationMs: number, undelivered: number): Promise<LoadFigures> {
    const { sender, receiver } = this;
    receiver.start();
    return timed(
      () => receiver.received,
      (startMs) => {
        const until = startMs + durationMs;
        sender.allowed = () => (performance.now() < until ? receiver.received + undelivered : sender.sent);
        const isOver = (): boolean => performance.now() >= until;
        return this.until(() => isOver() && sender.confirmed === sender.sent && receiver.received === sender.sent);
      },
    );
  }

  /** Closing shows what came too much. */
  async close(): Promise<void> {
    await this.sender.close();
    await this.receiver.close();
  }

  private until(isDone: () => boolean): Promise<void> {
    const { sender, receiver } = this;
    return new Promise((resolve) => {
      const check = (): void => {
        if (isDone()) resolve();
      };
      sender.onProgress = check;
      receiver.onProgress = () => {
        sender.pump();
        check();
      };
      sender.pump();
      check();
    });
  }
}

async function inOut(payloadBytes: number, credit: number): Promise<void> {
  const warmUp = await Pair.open(payloadBytes, credit);
  await warmUp.fill(plan.warmupMs);
  await warmUp.drain();
  await warmUp.close();
  const pair = await Pair.open(payloadBytes, credit);
  await phase(() => pair.fill(plan.durationMs));
  await phase(() => pair.drain());
  await pair.close();
}

async function through(payloadBytes: number, credit: number, undelivered: number): Promise<void> {
  const warmUp = await Pair.open(payloadBytes, credit);
  await warmUp.through(plan.warmupMs, undelivered);
  await warmUp.close();
  const pair = await Pair.open(payloadBytes, credit);
  await phase(() => pair.through(plan.durationMs, undelivered));
  await pair.close();
}

/** Each with a session and a receiver that has credit. @param firstConnections so that the peer has compiled its code */
async function idle(connections: number, firstConnections = 200, restMs = 1000): Promise<void> {
  const open = async (): Promise<void> => {
    const link = new ReceivingLink(plan.port, '/queue/bench-idle', 64, 10);
    (await link.attached()).start();
  };
  await forAll(firstConnections, open);
  await delay(restMs);
  await phase(async () => {
    const figures = await timed(
      () => 0,
      () => forAll(connections, open),
    );
    await delay(restMs);
    return { ...figures, messages: connections };
  });
}

process.on('uncaughtException', fail);
process.on('disconnect', () => process.exit());
setTimeout(() => fail(new Error(`not finished after ${plan.deadlineMs} ms`)), plan.deadlineMs).unref();
const work =
  plan.kind === 'in-out'
    ? inOut(plan.payloadBytes, plan.credit)
    : plan.kind === 'through'
      ? through(plan.payloadBytes, plan.credit, plan.undelivered)
      : idle(plan.connections);
work.catch(fail);
