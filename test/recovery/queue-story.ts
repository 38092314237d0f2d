import { BrokerError } from '../../core/model/broker-error.ts';
import { encodeMessage } from '../../core/model/message.ts';
import { QUEUE_RETENTION, type Source } from '../../core/model/topic.ts';
import { OutgoingMessage, type Delivery, type MessageEngine } from '../../core/ports/message-engine.ts';
import { addGroup, NEVER_ABORTED, readUpTo, request } from '../contract/fixture.ts';
import type { Random } from '../helpers/random.ts';
import { idOf } from './story-records.ts';

const TOPIC = 'queue';
const QUEUE: Source = { kind: 'topic', topic: TOPIC, queue: 0 };
const LIGHT_NAME = 'of the queue';
const LIGHT: Source = { kind: 'light', name: LIGHT_NAME };
const GROUP = 'consumers';
const TEMPORARY = 'temporary';
const LEASE_MS = 30_000;

interface Queued {
  readonly id: string;
  readonly isLight: boolean;
  isConfirmed: boolean;
  /** Somebody was done with it, or may have been. */
  isConsumed: boolean;
  isRead: boolean;
}

/** The part of a crash story about a topic that removes what was consumed, and about a group that comes and goes. */
export class QueueStory {
  private readonly random: Random;
  private readonly sent = new Map<string, Queued>();
  private leases: Delivery[] = [];
  private count = 0;
  /** Whether the temporary group has to be there; undefined while nobody knows. */
  private isThere: boolean | undefined = false;
  private lastChange: object | undefined;

  constructor(random: Random) {
    this.random = random;
  }

  async start(engine: MessageEngine): Promise<void> {
    this.leases = [];
    await Promise.all([
      engine.ensureTopic({ name: TOPIC, type: 'MIXED', queues: 1, retention: QUEUE_RETENTION }),
      engine.ensureLightQueue(LIGHT_NAME, { durable: true }),
      addGroup(engine, GROUP, 'concurrent', 100),
    ]);
    await engine.join(GROUP, QUEUE, 'earliest');
  }

  step(engine: MessageEngine): Promise<void> {
    const dice = this.random.below(10);
    if (dice < 4) return this.send(engine);
    if (dice < 8) return this.consume(engine);
    if (dice < 9) return this.readLight(engine);
    return this.comeOrGo(engine);
  }

  /** @returns what is wrong */
  async check(engine: MessageEngine): Promise<string | undefined> {
    const there = new Set((await readUpTo(engine, QUEUE, 0, 1_000_000)).messages.map(({ body }) => idOf(body)));
    const inLight = new Set((await readUpTo(engine, LIGHT, 0, 1_000_000)).messages.map(({ body }) => idOf(body)));
    for (const id of [...there, ...inLight]) if (!this.sent.has(id)) return `${id} was never sent`;
    for (const { id, isLight, isConfirmed, isConsumed, isRead } of this.sent.values()) {
      if (!isConfirmed) continue;
      if (!there.has(id) && !isConsumed) return `${id} was removed and never consumed`;
      if (isLight && !isRead && !(there.has(id) && inLight.has(id))) return `${id} was removed under its light queue`;
    }
    const isThere = await engine.groupState(TEMPORARY, QUEUE).then(
      () => true,
      () => false,
    );
    if (this.isThere !== undefined && isThere !== this.isThere) return `the group is there: ${isThere}`;
    return undefined;
  }

  private async send(engine: MessageEngine): Promise<void> {
    const made = Array.from({ length: this.random.int(1, 6) }, () => {
      const id = `q${this.count++}`;
      const isLight = this.random.chance(0.15);
      this.sent.set(id, { id, isLight, isConfirmed: false, isConsumed: false, isRead: false });
      const body = Buffer.alloc(id.length + 1 + this.random.pick([20, 300]), `${id} `);
      const outgoing = new OutgoingMessage(TOPIC, TOPIC, encodeMessage({ address: TOPIC, body, bornAt: 1 }));
      outgoing.queue = 0;
      outgoing.lightQueues = isLight ? [LIGHT_NAME] : [];
      return { id, outgoing };
    });
    const outcomes = await engine.send(made.map(({ outgoing }) => outgoing));
    made.forEach(({ id }, i) => (this.sent.get(id)!.isConfirmed = outcomes[i]!.ok));
  }

  private async consume(engine: MessageEngine): Promise<void> {
    const asked = request(GROUP, QUEUE, { max: this.random.pick([2, 12]), leaseMs: LEASE_MS });
    const even = ({ body }: { readonly body: Buffer }): boolean => Number(idOf(body).slice(1)) % 2 === 0;
    const isSelective = this.random.chance(0.3);
    this.leases.push(...(await engine.receive(isSelective ? { ...asked, select: even } : asked, NEVER_ABORTED)));
    if (this.random.chance(0.1)) {
      const left = [...this.sent.values()];
      // Whatever is not leased, known or not.
      for (const queued of left) queued.isConsumed = true;
      await engine.purge(GROUP, QUEUE);
      return;
    }
    const done = this.leases.splice(0, this.random.int(0, this.leases.length));
    for (const { message } of done) this.sent.get(idOf(message.body))!.isConsumed = true;
    const settle = done.map(({ receipt }) => ({ receipt, action: { kind: 'ack' } as const }));
    if (this.random.chance(0.5)) await engine.settle(settle);
    else await engine.transact([], settle);
  }

  /** What is trimmed counts as read. */
  private async readLight(engine: MessageEngine): Promise<void> {
    const { first } = await engine.offsets(LIGHT);
    const max = this.random.int(1, 3);
    const { messages, next } = await readUpTo(engine, LIGHT, first, max);
    for (const { body } of messages) this.sent.get(idOf(body))!.isRead = true;
    engine.trimLightQueue(LIGHT_NAME, next);
  }

  private async comeOrGo(engine: MessageEngine): Promise<void> {
    const comes = this.random.chance(0.5);
    const token = {};
    this.lastChange = token;
    this.isThere = undefined;
    if (comes) {
      await addGroup(engine, TEMPORARY);
      await engine
        .join(TEMPORARY, QUEUE, 'latest')
        .then(() => engine.receive(request(TEMPORARY, QUEUE), NEVER_ABORTED))
        .catch(unlessDeleted);
    }
    await engine.deleteGroup(TEMPORARY);
    // Another one may have brought it back.
    if (this.lastChange === token) this.isThere = false;
  }
}

/** Another step may have deleted the group meanwhile. */
function unlessDeleted(error: unknown): void {
  if (!(error instanceof BrokerError && error.code === 'CONSUMER_GROUP_NOT_FOUND')) throw error;
}
