import type { DiskStorageOptions } from '../../adapters/storage/embedded/disk-storage.ts';
import { encodeMessage } from '../../core/model/message.ts';
import { deadLetterTopic } from '../../core/model/names.ts';
import type { Source } from '../../core/model/topic.ts';
import { OutgoingMessage, type Delivery, type Selector, type Settlement } from '../../core/ports/message-engine.ts';
import { addGroup, addTopic, NEVER_ABORTED, readUpTo, request } from '../contract/fixture.ts';
import { FaultDisk } from '../helpers/fault-disk.ts';
import { startOnDisk, TINY, type DiskEngine } from '../helpers/fault-engine.ts';
import { MicrotaskClock, turns } from '../helpers/manual-clock.ts';
import type { Random } from '../helpers/random.ts';
import { QueueStory } from './queue-story.ts';
import { idOf, laneOf, Violation, type Change, type Known, type Sent, type Verdict } from './story-records.ts';

const TOPIC = 'orders';
const QUEUES = 2;
const LIGHT = 'light';
const GROUPS = ['workers', 'ordered', 'grouped'] as const;
const SMALL: DiskStorageOptions = {
  ...TINY,
  walFileBytes: 6 * 1024,
  checkpointBytes: 3 * 1024,
  blockBytesMax: 1024,
  segmentFileBytes: 2 * 1024,
  cacheBytes: 1024,
};
/** By the number in a message's id. */
const SELECTORS = [0, 1].map(
  (rest): Selector =>
    ({ body }) =>
      Number(idOf(body).slice(1)) % 2 === rest,
);
const LEASE_MS = 30_000;
/** Of the group with message groups. */
const MEMBERS = [undefined, { name: 'a' }, { name: 'b' }];
const ROOMY = 2 ** 50;
const PATIENCE_TURNS = 4000;

/** A seeded life of an engine over several crashes, and a journal of what its callers were told. */
export class CrashStory {
  private readonly random: Random;
  private clock = new MicrotaskClock();
  private disk: FaultDisk;
  private running: DiskEngine | undefined;
  private failed: Promise<void> = new Promise(() => {});
  private count = 0;
  private lastDueAt = 0;
  /** Nothing waits for the disk: what was confirmed may be lost, but only from some moment on, and for good. */
  private readonly isLossy: boolean;
  private readonly sent = new Map<string, Sent>();
  private readonly verdicts = new Map<string, Verdict[]>(GROUPS.map((group) => [group, []]));
  private readonly meta = new Map<string, { confirmed: string | undefined; possible: Set<string | undefined> }>();
  /** By key. */
  private readonly changes = new Map<string, Change>();
  /** Keys that were put and confirmed, each for one message to delete. */
  private readonly deletable: string[] = [];
  private leases: { group: string; delivery: Delivery; member: object | undefined }[] = [];
  /** Sent and not there after a crash: gone for good. */
  private readonly lost = new Set<string>();
  /** What was read from each queue after the last crash: it must stay. */
  private readonly stored = new Map<string, string[]>();

  private readonly queues: QueueStory;
  private readonly isAboutQueues: boolean;

  constructor(random: Random) {
    this.random = random;
    this.queues = new QueueStory(random);
    this.disk = new FaultDisk(random);
    this.isLossy = random.chance(0.2);
    this.isAboutQueues = random.chance(0.15);
  }

  async play(lives: number, steps: number): Promise<void> {
    for (let life = 0; life < lives; life++) {
      if (life > 0)
        this.disk = this.disk.crash({ bytesMax: ROOMY, shortWriteProbability: this.random.chance(0.3) ? 0.2 : 0 });
      const { faults } = this.disk;
      const dice = this.random.below(10);
      // The whole life from the first byte of its recovery on.
      if (dice < 6) faults.crashAtMutation = 1 + this.random.below(70);
      else if (dice < 8) faults.failAtSync = 1 + this.random.below(40);
      else if (dice < 9) faults.bytesMax = this.disk.life.usedBytes + this.random.below(40_000);
      else faults.readFlipProbability = 0.05;
      await this.live(steps);
    }
    this.disk = this.disk.crash({ bytesMax: ROOMY });
    await this.start();
    await this.check();
    await this.drain();
    await this.running!.engine.stop();
  }

  /** Until the crash, or for some steps. */
  private async live(steps: number): Promise<void> {
    const start = this.start();
    // On a full disk everything may wait for space that never comes.
    const isFull = this.disk.faults.bytesMax < ROOMY;
    const given = isFull ? [turns(PATIENCE_TURNS)] : [];
    const dead = Promise.race([this.disk.life.crashed, this.failed, ...given]).then(() => 'dead' as const);
    // A recovery may fail as a process does: with an error.
    const begun = await Promise.race([
      dead,
      start.then(
        () => 'begun' as const,
        (error) => this.failedToStart(error),
      ),
    ]);
    if (begun !== 'begun') return;
    const checked = await Promise.race([dead, this.check().then(() => 'checked' as const, readWrongly)]);
    if (checked === 'dead') return;
    for (let i = 0; i < (this.isAboutQueues ? 4 * steps : steps); i++) {
      const done = this.step().catch((error: unknown) => {
        if (isDamage(error)) return;
        throw error instanceof Violation ? error : new Violation(`${String(error)}: ${(error as Error).stack}`);
      });
      // Some wait for each other, some go at once.
      if (this.random.chance(0.6) && (await Promise.race([dead, done])) === 'dead') return;
      done.catch(() => undefined);
    }
    await Promise.race([dead, this.clock.settle()]);
  }

  /** A process that cannot read its disk, or finds it full, ends with an error, as one that is killed. */
  private failedToStart(error: NodeJS.ErrnoException): 'dead' {
    const isFlipping = this.disk.faults.readFlipProbability > 0;
    if (error.code === 'EIO' || error.code === 'ENOSPC' || isFlipping) return 'dead';
    throw error;
  }

  private async start(): Promise<void> {
    let reportFailure = (): void => {};
    this.failed = new Promise((resolve) => (reportFailure = resolve));
    this.leases = [];
    // One of its own: that of a dead process must not go on.
    this.clock = new MicrotaskClock(this.clock.now());
    const starting = startOnDisk(this.disk, this.clock, this.options(), () => reportFailure());
    this.running = await starting;
    const { engine } = this.running;
    await Promise.all([
      addTopic(engine, TOPIC, QUEUES),
      engine.ensureLightQueue(LIGHT, { durable: true }),
      addGroup(engine, 'workers', 'concurrent', 100),
      addGroup(engine, 'ordered', 'fifo', 100),
      addGroup(engine, 'grouped', 'messageGroup', 100),
      this.queues.start(engine),
    ]);
  }

  private options(): DiskStorageOptions {
    return this.isLossy ? { ...SMALL, flush: 'none' } : SMALL;
  }

  private step(): Promise<void> {
    // Retention takes a while to have something to do.
    if (this.isAboutQueues && this.random.chance(0.8)) {
      return this.random.chance(0.2) ? this.clock.advance(12_000) : this.queues.step(this.running!.engine);
    }
    const dice = this.random.below(100);
    if (dice < 25) return this.send();
    if (dice < 35) return this.queues.step(this.running!.engine);
    if (dice < 50) return this.receive();
    if (dice < 68) return this.settle();
    if (dice < 75) return this.transact();
    if (dice < 80) return this.prepare();
    if (dice < 86) return this.end();
    if (dice < 92) return this.putMeta();
    if (dice < 96) return this.running!.storage.checkpoint().catch(() => undefined);
    return this.clock.advance(this.random.pick([0, 1_000, 40_000]));
  }

  private make(kind: Sent['kind'], known: Known = 'asked'): { id: string; outgoing: OutgoingMessage; sent: Sent } {
    const id = `m${this.count++}`;
    const sizes = [4, 40, 400, 1500];
    const body = Buffer.alloc(id.length + 1 + this.random.pick(sizes), `${id} `);
    const queue = this.random.below(QUEUES);
    const isLight = this.random.chance(0.4);
    // Rarely so far away that it is not kept in memory: each turn of the clock takes its time.
    const delayMs = this.random.chance(0.05) ? 1_200_000 : this.random.pick([1, 1_000]);
    const deliverAt = kind === 'delayed' ? this.clock.now() + delayMs : undefined;
    this.lastDueAt = Math.max(this.lastDueAt, deliverAt ?? 0);
    const messageGroup = this.random.chance(0.5) ? `g${queue}` : undefined;
    const message = encodeMessage({ address: TOPIC, body, bornAt: 1, messageId: id, deliverAt, messageGroup });
    const outgoing = new OutgoingMessage(TOPIC, TOPIC, message);
    outgoing.queue = queue;
    outgoing.lightQueues = isLight ? [LIGHT] : [];
    const sent: Sent = { queue, isLight, kind, known, offset: -1, handle: undefined, fate: undefined };
    this.sent.set(id, sent);
    if (kind !== 'half' && this.random.chance(0.3)) this.addChange(id, outgoing);
    return { id, outgoing, sent };
  }

  private addChange(id: string, outgoing: OutgoingMessage): void {
    const deleted = this.random.chance(0.5) ? this.deletable.pop() : undefined;
    const kind = deleted === undefined ? 'put' : 'delete';
    const key = deleted ?? `c/${id}`;
    this.changes.set(key, { kind, id, isRefused: false });
    outgoing.changes = [
      kind === 'put' ? { kind, key, value: Buffer.alloc(this.random.pick([0, 9, 900])) } : { kind, key },
    ];
  }

  private refuse(id: string): void {
    this.sent.delete(id);
    for (const change of this.changes.values()) if (change.id === id) change.isRefused = true;
  }

  private async send(): Promise<void> {
    const kind = this.random.chance(0.15) ? 'delayed' : 'plain';
    const made = Array.from({ length: 1 + this.random.below(3) }, () => this.make(kind));
    const outcomes = await this.running!.engine.send(made.map(({ outgoing }) => outgoing));
    made.forEach(({ sent, id }, i) => {
      const outcome = outcomes[i]!;
      if (!outcome.ok && outcome.error.code === 'STORE_FULL') {
        this.refuse(id);
        return;
      }
      if (!outcome.ok) throw new Violation(`${id} was refused: ${outcome.error.message}`);
      Object.assign(sent, { known: 'confirmed', offset: outcome.value.offset, handle: outcome.value.recallHandle });
    });
  }

  private async receive(): Promise<void> {
    const group = this.random.pick(GROUPS);
    const settledBefore = new Set(this.settledFor(group));
    const select = this.random.chance(0.3) ? { select: this.random.pick(SELECTORS) } : {};
    const member = group === 'grouped' ? this.random.pick(MEMBERS) : undefined;
    const changes = { max: this.random.pick([1, 4]), leaseMs: LEASE_MS, ...select };
    const asked = request(group, TOPIC, member === undefined ? changes : { ...changes, member });
    // Those of this life: the answer of a process that is dying may come when the next one has begun.
    const { leases } = this;
    const deliveries = await this.running!.engine.receive(asked, NEVER_ABORTED);
    const out = leases.filter((lease) => lease.group === group && lease.delivery.visibleAt > this.clock.now());
    const held = new Set(
      out.flatMap((lease) => {
        const isOwn = member !== undefined && lease.member === member;
        return isOwn ? [] : (laneOf(group, lease.delivery) ?? []);
      }),
    );
    for (const delivery of deliveries) {
      const id = idOf(delivery.message.body);
      const lane = laneOf(group, delivery);
      if (lane !== undefined && held.has(lane)) throw new Violation(`${group} got ${id} while ${lane} is out`);
      if (settledBefore.has(id)) throw new Violation(`${group} got ${id} again after it was settled for good`);
      if (!this.sent.has(id)) throw new Violation(`${group} got ${id}, which was never sent`);
      leases.push({ group, delivery, member });
    }
  }

  private settledFor(group: string): string[] {
    if (this.isLossy) return [];
    return this.verdicts.get(group)!.flatMap(({ id, known }) => (known === 'confirmed' ? [id] : []));
  }

  private async settle(): Promise<void> {
    const lease = this.leases.splice(this.random.below(Math.max(1, this.leases.length)), 1)[0];
    if (lease === undefined) return;
    const dice = this.random.below(10);
    const { receipt, message } = lease.delivery;
    if (dice < 2) {
      const action = { kind: 'release', delayMs: this.random.pick([0, 1_000]), countAttempt: true } as const;
      await this.running!.engine.settle([{ receipt, action }]);
      return;
    }
    const isDead = dice < 4;
    const settlement: Settlement = {
      receipt,
      action: isDead ? { kind: 'deadLetter', reason: 'test' } : { kind: 'ack' },
    };
    const verdict: Verdict = { id: idOf(message.body), isDead, with: undefined, known: 'asked' };
    this.verdicts.get(lease.group)!.push(verdict);
    const [outcome] = await this.running!.engine.settle([settlement]);
    this.conclude(lease.group, verdict, outcome!.ok);
  }

  /** One that was refused did nothing. */
  private conclude(group: string, verdict: Verdict, isDone: boolean): void {
    if (isDone) verdict.known = 'confirmed';
    else
      this.verdicts.set(
        group,
        this.verdicts.get(group)!.filter((other) => other !== verdict),
      );
  }

  private async transact(): Promise<void> {
    const leases = this.leases.splice(this.random.below(Math.max(1, this.leases.length)), this.random.int(1, 2));
    if (leases.length === 0) return;
    const { id, outgoing, sent } = this.make('plain');
    const settlements: Settlement[] = [];
    const verdicts: { readonly group: string; readonly verdict: Verdict }[] = [];
    for (const { group, delivery } of leases) {
      const kind = this.random.pick(['ack', 'ack', 'deadLetter', 'release'] as const);
      const { receipt, message } = delivery;
      const release = { kind: 'release', delayMs: 0, countAttempt: false } as const;
      settlements.push({ receipt, action: kind === 'release' ? release : { kind, reason: 'test' } });
      if (kind === 'release') continue;
      verdicts.push({
        group,
        verdict: { id: idOf(message.body), isDead: kind === 'deadLetter', with: id, known: 'asked' },
      });
    }
    for (const { group, verdict } of verdicts) this.verdicts.get(group)!.push(verdict);
    const outcome = await this.running!.engine.transact([outgoing], settlements);
    for (const { group, verdict } of verdicts) this.conclude(group, verdict, outcome.ok);
    if (outcome.ok) Object.assign(sent, { known: 'confirmed', offset: outcome.value[0]!.offset });
    else this.refuse(id);
  }

  private async prepare(): Promise<void> {
    const { outgoing, sent } = this.make('half');
    const outcome = await this.running!.engine.prepare(outgoing, { checkAfterMs: 1_000 });
    if (outcome.ok) Object.assign(sent, { known: 'confirmed', handle: outcome.value });
  }

  /** Commits or rolls back a transaction, or recalls a delayed message. */
  private async end(): Promise<void> {
    const open = [...this.sent.values()].filter(({ handle, fate }) => handle !== undefined && fate === undefined);
    if (open.length === 0) return;
    const sent = this.random.pick(open);
    const how = sent.kind === 'delayed' ? 'recall' : this.random.pick(['commit', 'rollback'] as const);
    const fate: { how: typeof how; known: Known } = { how, known: 'asked' };
    sent.fate = fate;
    const { engine } = this.running!;
    const outcome =
      how === 'recall' ? await engine.cancelDelayed(sent.handle!) : await engine.resolve(sent.handle!, how);
    // Recalled too late.
    if (!outcome.ok) sent.fate = undefined;
    else fate.known = 'confirmed';
  }

  private async putMeta(): Promise<void> {
    if (this.random.chance(0.5)) {
      const key = `d/${this.count++}`;
      await this.running!.meta.put(key, Buffer.from(key));
      this.deletable.push(key);
      return;
    }
    const key = `k/${this.random.below(3)}`;
    const state = this.meta.get(key) ?? { confirmed: undefined, possible: new Set() };
    this.meta.set(key, state);
    const value = this.random.chance(0.2) ? undefined : `v${this.count++}`;
    state.possible.add(value);
    const { meta } = this.running!;
    if (value === undefined) await meta.delete(key);
    else await meta.put(key, Buffer.from(value));
    state.confirmed = value;
    state.possible = new Set([...state.possible].slice([...state.possible].indexOf(value)));
  }

  /** After a start: everything that was confirmed is there, in its place, and nothing that was not asked for. */
  private async check(): Promise<void> {
    const found = new Set<string>();
    for (let queue = 0; queue < QUEUES; queue++) {
      const ids = await this.read({ kind: 'topic', topic: TOPIC, queue }, `queue ${queue}`);
      ids.forEach((id, offset) => {
        const sent = this.sent.get(id);
        if (sent === undefined || sent.queue !== queue) throw new Violation(`${id} is in queue ${queue}`);
        if (found.has(id)) throw new Violation(`${id} is there twice`);
        found.add(id);
        if (this.lost.has(id)) throw new Violation(`${id} was lost and is back`);
        if (sent.offset !== -1 && sent.offset !== offset) throw new Violation(`${id} moved to ${offset}`);
      });
    }
    for (const [id, sent] of this.sent) {
      this.checkPresence(id, sent, found.has(id));
      if (sent.kind === 'plain' && !found.has(id)) this.lost.add(id);
    }
    const light = await this.read({ kind: 'light', name: LIGHT }, LIGHT);
    const wanted = [...found].filter((id) => this.sent.get(id)!.isLight);
    if (light.toSorted().join() !== wanted.toSorted().join()) {
      throw new Violation(`the light queue has ${light.join()} instead of ${wanted.join()}`);
    }
    for (const [key, { confirmed, possible }] of this.isLossy ? [] : this.meta) {
      const entry = await this.running!.meta.get(key);
      const value = entry && Buffer.from(entry.value).toString();
      if (value !== confirmed && !possible.has(value))
        throw new Violation(`${key} is ${value} instead of ${confirmed}`);
    }
    await this.checkChanges(found);
    const problem = this.isLossy ? undefined : await this.queues.check(this.running!.engine);
    if (problem !== undefined) throw new Violation(problem);
  }

  /** A message and what it changed are both there or neither. */
  private async checkChanges(found: ReadonlySet<string>): Promise<void> {
    for (const [key, { kind, id, isRefused }] of this.changes) {
      const isThere = (await this.running!.meta.get(key)) !== undefined;
      const isDone = isThere === (kind === 'put');
      const sent = this.sent.get(id);
      const change = `its ${kind} of ${key}`;
      if (found.has(id)) {
        if (!isDone) throw new Violation(`${id} is there without ${change}`);
      } else if (sent?.kind === 'delayed' && !isRefused) {
        const mustBe = sent.known === 'confirmed' && !this.isLossy;
        if (mustBe && !isDone) throw new Violation(`the delayed ${id} was confirmed without ${change}`);
        // What was put before, to be deleted, may be lost by itself.
      } else if (isDone && !(kind === 'delete' && this.isLossy)) {
        throw new Violation(`${change} is there without ${id}`);
      }
    }
  }

  private checkPresence(id: string, { kind, known, fate }: Sent, isThere: boolean): void {
    const mustBe = kind === 'plain' ? known === 'confirmed' : fate?.how === 'commit' && fate.known === 'confirmed';
    if (mustBe && this.isLossy) return;
    if (mustBe && !isThere) throw new Violation(`${id} was confirmed and is lost`);
    const isEnded = !this.isLossy && fate !== undefined && fate.how !== 'commit' && fate.known === 'confirmed';
    const mayBe = kind === 'half' ? fate?.how === 'commit' || this.isLossy : !isEnded;
    if (isThere && !mayBe)
      throw new Violation(`${id} is there and must not be: ${kind} ${known} ${JSON.stringify(fate)}`);
  }

  /** The ids in a queue, which begins as it did after the last crash. */
  private async read(source: Source, key: string): Promise<string[]> {
    const { messages } = await readUpTo(this.running!.engine, source, 0, 1_000_000);
    const ids = messages.map(({ body }) => idOf(body));
    const before = this.stored.get(key) ?? [];
    if (before.some((id, i) => ids[i] !== id)) throw new Violation(`${key} was ${before.join()} and is ${ids.join()}`);
    this.stored.set(key, ids);
    return ids;
  }

  /** Every group takes what is left: all of it, and nothing that was settled. */
  private async drain(): Promise<void> {
    await this.clock.advance(Math.max(LEASE_MS, this.lastDueAt - this.clock.now()) + 1);
    // What was released, or became due, only now may have been leased anew meanwhile.
    await this.clock.advance(2 * LEASE_MS);
    await this.clock.settle();
    await this.check();
    for (const [id, { kind, known, fate }] of this.sent) {
      const mustBe = kind === 'delayed' && known === 'confirmed' && fate === undefined && !this.isLossy;
      const isThere = [...this.stored.values()].some((ids) => ids.includes(id));
      if (mustBe && !isThere) throw new Violation(`the delayed ${id} is lost`);
    }
    for (const [key, { kind, id }] of this.changes) {
      const sent = this.sent.get(id);
      // What was one commit may have gone to two places since, and a lossy disk may keep one of them.
      if (sent?.kind !== 'delayed' || sent.fate !== undefined || this.isLossy) continue;
      const isDone = ((await this.running!.meta.get(key)) !== undefined) === (kind === 'put');
      const isThere = [...this.stored.values()].some((ids) => ids.includes(id));
      if (isDone !== isThere) throw new Violation(`of the delayed ${id} and its ${kind} of ${key} only one is there`);
    }
    for (const group of GROUPS) await this.drainGroup(group);
  }

  private async drainGroup(group: string): Promise<void> {
    const { engine } = this.running!;
    const got = new Set<string>();
    const ends = new Map<string, number>();
    for (;;) {
      const deliveries = await engine.receive(request(group, TOPIC), NEVER_ABORTED);
      if (deliveries.length === 0) break;
      for (const delivery of deliveries) {
        const { message } = delivery;
        const lane = laneOf(group, delivery);
        if (lane !== undefined && message.offset < (ends.get(lane) ?? 0)) {
          throw new Violation(`${group} got ${idOf(message.body)} after a later one of ${lane}`);
        }
        if (lane !== undefined) ends.set(lane, message.offset);
        if (got.has(idOf(message.body))) throw new Violation(`${group} got ${idOf(message.body)} twice`);
        got.add(idOf(message.body));
      }
      await engine.settle(deliveries.map(({ receipt }) => ({ receipt, action: { kind: 'ack' } })));
    }
    const dead = await this.deadLetters(group);
    const there = [...this.stored].flatMap(([key, ids]) => (key === LIGHT ? [] : ids));
    const verdicts = this.verdicts.get(group)!;
    for (const id of there) {
      const mine = verdicts.filter((verdict) => verdict.id === id);
      const isSettled = !this.isLossy && mine.some(({ known }) => known === 'confirmed');
      if (got.has(id) && isSettled) throw new Violation(`${group} got ${id} although it was settled for good`);
      if (!got.has(id) && mine.length === 0) throw new Violation(`${group} never got ${id}`);
      // Moved as a whole or not at all.
      if (dead.has(id) && (got.has(id) || !mine.some(({ isDead }) => isDead))) {
        throw new Violation(`${group} has ${id} among its dead letters and got it`);
      }
      const isDead = mine.length > 0 && mine.every((verdict) => verdict.isDead);
      if (!got.has(id) && isDead && !dead.has(id)) throw new Violation(`${group} lost the dead letter ${id}`);
    }
    for (const verdict of verdicts) {
      const isAlone = verdicts.filter(({ id }) => id === verdict.id).length === 1;
      if (verdict.with === undefined || !isAlone || !there.includes(verdict.id)) continue;
      const isSent = there.includes(verdict.with);
      if (isSent === got.has(verdict.id)) throw new Violation(`half of a transaction: ${verdict.with}, ${verdict.id}`);
    }
  }

  private async deadLetters(group: string): Promise<Set<string>> {
    const topic = deadLetterTopic(group);
    if (!this.running!.engine.state.topics.has(topic)) return new Set();
    const { messages } = await readUpTo(this.running!.engine, { kind: 'topic', topic, queue: 0 }, 0, 1_000_000);
    const ids = messages.map(({ body }) => idOf(body));
    if (new Set(ids).size < ids.length) throw new Violation(`${topic} has one twice: ${ids.join()}`);
    return new Set(ids);
  }
}

function readWrongly(error: unknown): 'dead' {
  if (isDamage(error)) return 'dead';
  throw error;
}

/** What was read is not what was written, and the engine noticed. */
function isDamage(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'CORRUPT';
}
