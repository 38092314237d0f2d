import type { GroupOrder } from '../../core/model/consumer-group.ts';
import { messageIdOf } from '../../core/model/message-id.ts';
import { deadLetterTopic } from '../../core/model/names.ts';
import { viewMessage } from '../../core/model/message-view.ts';
import type { Source } from '../../core/model/topic.ts';
import type { Delivery, OutgoingMessage, Selector, Settlement, SettleAction } from '../../core/ports/message-engine.ts';
import type { Random } from '../helpers/random.ts';
import { settled } from '../helpers/manual-clock.ts';
import {
  addGroup,
  addTopic,
  NEVER_ABORTED,
  outgoing,
  readUpTo,
  request,
  type EngineFixture,
  type RunningEngine,
} from './fixture.ts';
import { GroupModel, isGone, queueKey, Violation, type Firsts, type Sent, type Stream } from './model.ts';

/** All times are multiples of this, so that many things fall on the same moment. */
const UNIT_MS = 1_000;
const PLAIN = 'orders';
const TRIMMED = 'metrics';
const QUEUES = [queueKey(PLAIN, 0), queueKey(PLAIN, 1), queueKey(TRIMMED, 0)];
const LIGHT_QUEUES = ['light a', 'light b'];
const MESSAGE_GROUPS = [undefined, 'm1', 'm2', 'm3'];
/** By the number in the id of a message; the same functions each time. */
const SELECTORS = [0, 1, 2].map(
  (rest): Selector =>
    ({ body }) =>
      numberOf(body.toString('latin1', 0, 40)) % 3 === rest,
);
/** Of consumer groups; one of them does not say who it is. */
const MEMBERS = [undefined, { name: 'a' }, { name: 'b' }, { name: 'c' }];
const LEASES = [1, 2, 5, 10].map((units) => units * UNIT_MS);

interface Subscription {
  readonly group: GroupModel;
  readonly source: Source;
  readonly streams: readonly Stream[];
}

interface Poll {
  readonly subscription: Subscription;
  readonly abort: AbortController;
  readonly select: Selector | undefined;
  readonly member: object | undefined;
  readonly until: number;
}

type Arrived = Poll & { readonly leaseMs: number; readonly deliveries: Delivery[]; readonly now: number };

/** One random life of an engine, checked step by step against the model. */
export class History {
  private running: RunningEngine;
  private readonly random: Random;
  private readonly toleranceMs: number;
  private readonly restart: EngineFixture['restart'];
  private readonly streams = new Map<string, Stream>();
  private readonly cursors = new Map<string, { next: number; index: number }>();
  private readonly groups: GroupModel[] = [];
  private readonly subscriptions: Subscription[] = [];
  private readonly polls = new Set<Poll>();
  private readonly originals = new Map<string, string>();
  private arrived: Arrived[] = [];
  private firsts: Firsts = new Map();
  private count = 0;

  constructor(running: RunningEngine, random: Random, fixture: Pick<EngineFixture, 'toleranceMs' | 'restart'>) {
    this.running = running;
    this.random = random;
    this.toleranceMs = fixture.toleranceMs;
    this.restart = fixture.restart;
  }

  /** The engine as it is now: restarts change it. */
  get engine(): RunningEngine {
    return this.running;
  }

  /** Random calls, each checked; leaves things as they are then, with nobody waiting. */
  async play(steps: number): Promise<void> {
    await this.setUp();
    for (let i = 0; i < steps; i++) {
      await this.step();
      await this.lookAround();
    }
    for (const poll of this.polls) poll.abort.abort();
    await this.lookAround();
  }

  /** Lets every group take what is left, and checks that this is all there was. */
  async finish(): Promise<void> {
    await this.drain();
    await this.checkDeadLetters();
    for (const key of [...QUEUES, ...LIGHT_QUEUES]) await this.readOn(key, 1_000_000);
  }

  private get now(): number {
    return this.running.clock.now();
  }

  private async setUp(): Promise<void> {
    const { engine } = this.running;
    const { capabilities } = engine;
    await addTopic(engine, PLAIN, 2);
    await addTopic(engine, TRIMMED, 1, { ms: 3_600_000, bytesPerQueue: 24 * 1024 });
    const durable = this.restart !== undefined;
    for (const name of LIGHT_QUEUES) await engine.ensureLightQueue(name, { durable });
    for (const key of [...QUEUES, ...LIGHT_QUEUES]) {
      this.streams.set(key, { key, sent: [] });
      this.cursors.set(key, { next: 0, index: 0 });
    }
    await this.addGroup('workers', 'concurrent', 3, [PLAIN, TRIMMED, LIGHT_QUEUES[0]!]);
    await this.addGroup('auditors', 'concurrent', 16, [PLAIN]);
    if (!capabilities.fifo) return;
    await this.addGroup('ordered', 'fifo', 3, [PLAIN, TRIMMED]);
    await this.addGroup('strict', 'fifo', 16, [PLAIN, LIGHT_QUEUES[1]!]);
    await this.addGroup('grouped', 'messageGroup', 3, [PLAIN, TRIMMED, LIGHT_QUEUES[0]!]);
  }

  private async addGroup(name: string, order: GroupOrder, attemptsMax: number, sources: string[]) {
    await addGroup(this.running.engine, name, order, attemptsMax);
    const group = new GroupModel(name, order, attemptsMax, this.toleranceMs);
    this.groups.push(group);
    for (const source of sources) {
      if (LIGHT_QUEUES.includes(source)) this.subscribe(group, { kind: 'light', name: source }, [source]);
      else {
        const keys = QUEUES.filter((key) => key.startsWith(source));
        this.subscribe(group, { kind: 'topic', topic: source }, keys);
        keys.forEach((key, queue) => this.subscribe(group, { kind: 'topic', topic: source, queue }, [key]));
      }
    }
    // Where a new group starts is up to the engine, so they all start while there is nothing.
    for (const one of this.subscriptions) {
      await this.running.engine.receive(request(one.group.name, one.source), NEVER_ABORTED);
    }
  }

  private subscribe(group: GroupModel, source: Source, keys: string[]): void {
    this.subscriptions.push({ group, source, streams: keys.map((key) => this.streams.get(key)!) });
  }

  private step(): Promise<void> {
    const dice = this.random.below(100);
    if (dice < 30) return this.send();
    if (dice < 52) return this.receive();
    if (dice < 76) return this.settle();
    if (dice < 80) return this.transact();
    if (dice < 90) return this.running.clock.advance(this.random.pick([0, 1, 2, 5, 20]) * UNIT_MS);
    if (dice < 94) return this.poll();
    if (dice < 96) return this.abortPoll();
    if (dice < 97) return this.seek();
    if (dice < 98 && this.restart !== undefined) return this.startAgain(this.restart);
    return this.readOn(this.random.pick([...QUEUES, ...LIGHT_QUEUES]), 1 + this.random.below(20));
  }

  private async startAgain(restart: NonNullable<EngineFixture['restart']>): Promise<void> {
    for (const poll of this.polls) poll.abort.abort();
    await settled();
    this.running = await restart(this.running, this.random);
    for (const group of this.groups) group.restarted();
  }

  private makeBatch(): OutgoingMessage[] {
    const { random } = this;
    return Array.from({ length: 1 + random.below(5) }, () => {
      const topic = random.pick([PLAIN, PLAIN, TRIMMED]);
      const messageGroup = random.pick(MESSAGE_GROUPS);
      const plainQueue = messageGroup === undefined ? random.below(2) : Number(messageGroup.slice(1)) % 2;
      const id = `${topic}-${this.count++}`;
      // Large ones make retention remove something.
      const body = Buffer.alloc(random.chance(0.2) ? 3_000 : id.length + 1, `${id} `);
      return outgoing(topic, id, {
        body,
        messageGroup,
        messageId: random.chance(0.5) ? id : undefined,
        queue: topic === TRIMMED ? 0 : plainQueue,
        lightQueues: random.some(LIGHT_QUEUES, 0.4),
        ...(random.chance(0.2) ? { expiresAt: this.now + random.pick([1, 3, 10]) * UNIT_MS } : {}),
      });
    });
  }

  private confirm(batch: readonly OutgoingMessage[], places: readonly { queue: number; offset: number }[]): void {
    const { offsets } = this.running.engine.capabilities;
    batch.forEach(({ topic, message, lightQueues }, i) => {
      const { queue, offset } = places[i]!;
      const body = message.body.toString();
      const id = body.slice(0, body.indexOf(' '));
      const sent: Sent = { id, topic, queue, offset, expiresAt: message.expiresAt, messageGroup: message.messageGroup };
      const stream = this.streams.get(queueKey(topic, queue))!;
      const last = stream.sent.at(-1)?.offset ?? -1;
      if (offset <= last || (offsets === 'dense' && last !== -1 && offset !== last + 1)) {
        throw new Violation(`${sent.id} got offset ${offset} after ${last}`);
      }
      stream.sent.push(sent);
      for (const name of lightQueues) this.streams.get(name)!.sent.push(sent);
    });
  }

  private async send(): Promise<void> {
    const batch = this.makeBatch();
    const outcomes = await this.running.engine.send(batch);
    const places = outcomes.map((outcome) => {
      if (!outcome.ok) throw new Violation(`send failed: ${outcome.error.message}`);
      return outcome.value;
    });
    this.confirm(batch, places);
  }

  private async receive(): Promise<void> {
    const { random } = this;
    const subscription = random.pick(this.subscriptions);
    const { group, source, streams } = subscription;
    const leaseMs = random.pick(LEASES);
    const max = random.pick([1, 2, 8, 32]);
    const wantsAttempt = this.running.engine.capabilities.attemptReplay && group.order === 'fifo' && random.chance(0.4);
    const attemptId = wantsAttempt ? `attempt ${random.below(30)}` : undefined;
    const select = attemptId === undefined ? this.pickSelector() : undefined;
    const member = attemptId === undefined ? this.pickMember(group) : undefined;
    const isOnePerGroup = member === undefined && group.order === 'messageGroup' && random.chance(0.5);
    const perMessageGroupMax = isOnePerGroup ? 1 : undefined;
    const changes = {
      leaseMs,
      max,
      ...(perMessageGroupMax === undefined ? {} : { perMessageGroupMax }),
      ...(attemptId === undefined ? {} : { attemptId }),
      ...(member === undefined ? {} : { member }),
      ...(select === undefined ? {} : { select }),
    };
    const { now, firsts } = this;
    const deliveries = await this.running.engine.receive(request(group.name, source, changes), NEVER_ABORTED);
    checkSelected(group, deliveries, select);
    if (perMessageGroupMax !== undefined) checkOnePerMessageGroup(group, deliveries);
    group.deliver(streams, deliveries, { now, leaseMs, firstsBefore: firsts, firsts }, attemptId, member);
    if (attemptId === undefined && deliveries.length < max) {
      this.checkNothingLeft(subscription, firsts, { select, member });
    }
  }

  private pickSelector(): Selector | undefined {
    const { selectors } = this.running.engine.capabilities;
    return selectors && this.random.chance(0.4) ? this.random.pick(SELECTORS) : undefined;
  }

  /** One that does not receive already. */
  private pickMember(group: GroupModel): object | undefined {
    const busy = [...this.polls].filter((poll) => poll.subscription.group === group).map(({ member }) => member);
    return this.random.pick(MEMBERS.filter((member) => member === undefined || !busy.includes(member)));
  }

  /** A live receipt mostly, sometimes an old or a made up one. */
  private pickReceipt(): { group: GroupModel; receipt: string } | undefined {
    const group = this.random.pick(this.groups);
    const receipts = group.receipts();
    const live = receipts.filter((receipt) => group.isLive(receipt, this.now));
    if (live.length > 0 && this.random.chance(0.8)) return { group, receipt: this.random.pick(live) };
    if (receipts.length === 0) return undefined;
    const old = this.random.pick(receipts);
    return { group, receipt: this.random.chance(0.8) ? old : this.random.pick([`${old}0`, old.slice(0, -1), '', 'x']) };
  }

  private makeSettlements(): { group: GroupModel; settlement: Settlement }[] {
    const { random } = this;
    const made: { group: GroupModel; settlement: Settlement }[] = [];
    for (let i = 1 + random.below(6); i > 0; i--) {
      const picked = this.pickReceipt();
      if (picked === undefined) break;
      const named = random.chance(0.1) ? random.pick(this.groups).name : picked.group.name;
      const settlement = { receipt: picked.receipt, action: this.makeAction() };
      made.push({ ...picked, settlement: random.chance(0.5) ? settlement : { ...settlement, group: named } });
    }
    return made;
  }

  private makeAction(): SettleAction {
    const { random } = this;
    const dice = random.below(10);
    if (dice < 5) return { kind: 'ack' };
    if (dice < 7) return { kind: 'extend', ms: random.pick(LEASES), keepReceipt: random.chance(0.5) };
    if (dice === 7) return { kind: 'deadLetter', reason: 'test' };
    return { kind: 'release', delayMs: random.pick([0, 1, 5]) * UNIT_MS, countAttempt: random.chance(0.5) };
  }

  private isGood(group: GroupModel, { receipt, group: named }: Settlement): boolean {
    return (named === undefined || named === group.name) && group.isLive(receipt, this.now);
  }

  private noteSettled(group: GroupModel, { receipt, action }: Settlement, replacement: string | undefined): void {
    if (action.kind === 'ack') group.acknowledged(receipt);
    else if (action.kind === 'deadLetter') group.deadLettered(receipt, this.now, this.firsts);
    else if (action.kind === 'release') group.released(receipt, this.now + action.delayMs, action.countAttempt);
    else if (action.keepReceipt === true) group.extended(receipt, this.now + action.ms, undefined);
    else group.extended(receipt, this.now + action.ms, replacement);
  }

  private async settle(): Promise<void> {
    const made = this.makeSettlements();
    const outcomes = await this.running.engine.settle(made.map(({ settlement }) => settlement));
    made.forEach(({ group, settlement }, i) => {
      const outcome = outcomes[i]!;
      const isGood = this.isGood(group, settlement);
      if (outcome.ok !== isGood) {
        throw new Violation(
          `${group.name}: ${settlement.action.kind} of ${settlement.receipt} gave ${outcome.ok}, not ${isGood}`,
        );
      }
      if (outcome.ok) this.noteSettled(group, settlement, outcome.value.receipt);
      else if (outcome.error.code !== 'STALE_RECEIPT')
        throw new Violation(`a stale receipt gave ${outcome.error.code}`);
    });
  }

  private async transact(): Promise<void> {
    const { capabilities } = this.running.engine;
    const batch = this.makeBatch();
    // An extended lease would get its new receipt with no one to tell.
    const made = this.makeSettlements().filter(
      ({ settlement: { action } }) => action.kind !== 'extend' || action.keepReceipt === true,
    );
    const isBad = new Set(made.map(({ settlement }) => settlement.receipt)).size < made.length;
    const isGood = !isBad && made.every(({ group, settlement }) => this.isGood(group, settlement));
    const outcome = await this.running.engine.transact(
      batch,
      made.map(({ settlement }) => settlement),
    );
    if (!outcome.ok && outcome.error.code === 'UNSUPPORTED' && capabilities.multiNode) return;
    if (outcome.ok !== isGood) throw new Violation(`a transaction gave ${outcome.ok}, not ${isGood}`);
    if (!outcome.ok) return;
    this.confirm(batch, outcome.value);
    for (const { group, settlement } of made) this.noteSettled(group, settlement, undefined);
  }

  private async poll(): Promise<void> {
    const { random, now } = this;
    const subscription = random.pick(this.subscriptions);
    const abort = new AbortController();
    const waitMs = random.pick([1, 5, 20]) * UNIT_MS;
    const leaseMs = random.pick(LEASES);
    const select = this.pickSelector();
    const member = this.pickMember(subscription.group);
    const poll = { subscription, abort, select, member, until: now + waitMs };
    this.polls.add(poll);
    const asked = request(subscription.group.name, subscription.source, {
      waitMs,
      leaseMs,
      max: 2,
      ...(select === undefined ? {} : { select }),
      ...(member === undefined ? {} : { member }),
    });
    void this.running.engine.receive(asked, abort.signal).then((deliveries) => {
      this.arrived.push({ ...poll, leaseMs, deliveries, now: this.now });
      this.polls.delete(poll);
    });
  }

  private async abortPoll(): Promise<void> {
    for (const poll of this.random.some([...this.polls], 0.5)) poll.abort.abort();
  }

  private async seek(): Promise<void> {
    const { engine } = this.running;
    const subscription = this.random.pick(this.subscriptions);
    const { group, source, streams } = subscription;
    const kind = this.random.pick(['earliest', 'latest'] as const);
    if (!engine.capabilities.seek.has(kind)) return;
    // What came in between the two belongs to one side or the other, so nobody waits meanwhile.
    for (const poll of this.polls) poll.abort.abort();
    await settled();
    await engine.seek(group.name, source, { kind });
    for (const stream of streams) group.sought(stream, kind === 'earliest' ? 0 : stream.sent.length, this.now);
  }

  /** Reads on where the last read of the stream ended. */
  private async readOn(key: string, max: number): Promise<void> {
    const stream = this.streams.get(key)!;
    const cursor = this.cursors.get(key)!;
    const [topic, queue] = key.split('/');
    const source: Source =
      queue === undefined ? { kind: 'light', name: key } : { kind: 'topic', topic: topic!, queue: Number(queue) };
    const { messages, next } = await readUpTo(this.running.engine, source, cursor.next, max);
    let { index } = cursor;
    for (const message of messages) {
      const removed = (sent: Sent): boolean => isGone({ ...sent, expiresAt: 0 }, this.now, this.firsts);
      while (index < stream.sent.length && removed(stream.sent[index]!)) index++;
      const sent = stream.sent[index++];
      if (sent === undefined || !message.body.toString().startsWith(`${sent.id} `)) {
        throw new Violation(`${key} gave ${message.body.toString('utf8', 0, 20)} instead of ${sent?.id}`);
      }
      if (message.offset !== sent.offset) throw new Violation(`${sent.id} was read at offset ${message.offset}`);
      this.originals.set(sent.id, messageIdOf(message));
    }
    if (messages.length < max) {
      const left = stream.sent.slice(index).find((sent) => !isGone({ ...sent, expiresAt: 0 }, this.now, this.firsts));
      if (left !== undefined) throw new Violation(`${key} ends before ${left.id}`);
      index = stream.sent.length;
    }
    if (next < cursor.next + messages.length) throw new Violation(`${key} goes on at ${next}`);
    this.cursors.set(key, { next, index });
  }

  /** After each step: what waiting receives got, and what retention took. */
  private async lookAround(): Promise<void> {
    await settled();
    const firstsBefore = this.firsts;
    const firsts = new Map<string, number>();
    for (const key of QUEUES) {
      const [topic, queue] = key.split('/');
      const { first, next } = await this.running.engine.offsets({ kind: 'topic', topic: topic!, queue: Number(queue) });
      const end = (this.streams.get(key)!.sent.at(-1)?.offset ?? -1) + 1;
      if (next !== end || first < (firstsBefore.get(key) ?? 0)) throw new Violation(`${key}: ${first} to ${next}`);
      if (first > 0 && !key.startsWith(TRIMMED)) throw new Violation(`${key} lost messages below ${first}`);
      firsts.set(key, first);
    }
    this.firsts = firsts;
    const { arrived } = this;
    this.arrived = [];
    for (const { subscription, leaseMs, deliveries, now, abort, until, select, member } of arrived) {
      const { group, streams } = subscription;
      checkSelected(group, deliveries, select);
      group.deliver(streams, deliveries, { now, leaseMs, firstsBefore, firsts }, undefined, member);
      if (deliveries.length === 0 && !abort.signal.aborted && now < until) {
        throw new Violation(`a receive that might wait until ${until} ended at ${now}`);
      }
    }
    for (const { subscription, until, select, member } of this.polls) {
      if (this.now > until + this.toleranceMs) throw new Violation(`a receive still waits after ${until}`);
      this.checkNothingLeft(subscription, firsts, { select, member });
    }
  }

  /** Only where time stands still can one tell that a receive should have found more. */
  private checkNothingLeft(
    { group, streams, source }: Subscription,
    firsts: Firsts,
    { select, member }: Pick<Poll, 'select' | 'member'>,
  ): void {
    if (this.toleranceMs > 0) return;
    for (const stream of streams) {
      const missed = group.deliverable(
        stream,
        this.now,
        firsts,
        select && (({ id }) => numberOf(id) % 3 === SELECTORS.indexOf(select)),
        member,
      );
      if (missed === undefined) continue;
      throw new Violation(`${group.name} did not get ${missed.id} from ${JSON.stringify(source)}`);
    }
  }

  private async drain(): Promise<void> {
    const { engine, clock } = this.running;
    // Two leases may follow one another: a fifo group gets the next of a message group only after the one before.
    for (let round = 0; round < 3; round++) {
      await clock.advance(Math.max(...LEASES) + this.toleranceMs + 1);
      await this.lookAround();
      for (const { group, source, streams } of this.subscriptions) {
        for (let more = true; more;) {
          const { now, firsts } = this;
          const leaseMs = Math.max(...LEASES);
          const deliveries = await engine.receive(request(group.name, source, { leaseMs }), NEVER_ABORTED);
          group.deliver(streams, deliveries, { now, leaseMs, firstsBefore: firsts, firsts }, undefined);
          await engine.settle(deliveries.map(({ receipt }) => ({ receipt, action: { kind: 'ack' } })));
          for (const { receipt } of deliveries) group.acknowledged(receipt);
          more = deliveries.length > 0;
        }
      }
    }
    for (const { group, streams, source } of this.subscriptions) {
      // A topic is subscribed as a whole and queue by queue; each queue counts once.
      if (source.kind === 'topic' && source.queue === undefined) continue;
      for (const stream of streams) group.checkDrained(stream, this.now, this.firsts);
      for (const { inflight, lag } of await engine.groupState(group.name, source)) {
        if (inflight !== 0 || lag !== 0) throw new Violation(`${group.name} has ${inflight} out and ${lag} to go`);
      }
    }
  }

  /** Each group's dead letters are those it gave up on, with their origin. */
  private async checkDeadLetters(): Promise<void> {
    for (const key of [...QUEUES, ...LIGHT_QUEUES]) {
      this.cursors.set(key, { next: 0, index: 0 });
      await this.readOn(key, 1_000_000);
    }
    for (const group of this.groups) {
      const source: Source = { kind: 'topic', topic: deadLetterTopic(group.name), queue: 0 };
      const wanted = [...group.dead.values()].reduce((sum, { least }) => sum + least, 0);
      const found = await Promise.resolve()
        .then(() => readUpTo(this.running.engine, source, 0, 1_000_000))
        .catch(() => ({ messages: [] }));
      if (found.messages.length < wanted) throw new Violation(`${group.name} lost dead letters`);
      const counts = new Map<string, number>();
      for (const message of found.messages) {
        const id = message.body.toString().split(' ', 1)[0]!;
        counts.set(id, (counts.get(id) ?? 0) + 1);
        const origin = viewMessage(message, new Map()).deadLetter;
        const original = this.originals.get(id);
        if (origin === undefined || id.split('-')[0] !== origin.topic) throw new Violation(`${id} has no origin`);
        if (original !== undefined && origin.messageId !== original) throw new Violation(`${id} lost its message id`);
      }
      for (const id of new Set([...counts.keys(), ...group.dead.keys()])) {
        const { least, most } = group.dead.get(id) ?? { least: 0, most: 0 };
        const count = counts.get(id) ?? 0;
        if (count < least || count > most) {
          throw new Violation(`${group.name} has ${count} dead letters of ${id}, not ${least} to ${most}`);
        }
      }
    }
  }
}

/** Of `<topic>-<number>`, and what follows it. */
function numberOf(text: string): number {
  return Number(/(\d+)(?: |$)/.exec(text)![1]);
}

function checkOnePerMessageGroup(group: GroupModel, deliveries: readonly Delivery[]): void {
  const seen = new Set<string>();
  for (const { message } of deliveries) {
    const key = `${message.topic}/${message.queue} ${message.messageGroup}`;
    if (message.messageGroup !== undefined && seen.has(key)) {
      throw new Violation(`${group.name} got two messages of ${message.messageGroup} at once`);
    }
    seen.add(key);
  }
}

function checkSelected(group: GroupModel, deliveries: readonly Delivery[], select: Selector | undefined): void {
  const other = select && deliveries.find(({ message }) => !select(message));
  if (other !== undefined) throw new Violation(`${group.name} got ${other.message.body.toString()}, not selected`);
}
