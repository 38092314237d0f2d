import { Journal } from './journal.ts';

/** One message as its publisher knows it; sent again after a lost connection it is still the same one. */
export interface JournalMessage {
  readonly topicName: string;
  /** From 0, without gaps, in the order of publishing to this topic. */
  readonly sequence: number;
  readonly qos: 1 | 2;
  readonly retain: boolean;
}

/** A topic, and how far the gateway has answered for it. */
interface TopicRecord {
  readonly messages: JournalMessage[];
  readonly acknowledged: Set<number>;
  /** Answers come in the order of publishing at each QoS [MQTT-4.6.0-2], [MQTT-4.6.0-3]: the last of each. */
  readonly last: { 1: number; 2: number };
  /** All below are acknowledged, so that they are not sent again. */
  settled: number;
  /** Of those, the last with the retain flag. */
  retained: number;
}

/** What one subscriber was given of one topic, after its own check for repetitions at QoS 2. */
interface Seen {
  readonly counts: number[];
  last: number;
}

export interface SessionCounts {
  readonly acknowledged: number;
  readonly delivered: number;
  /** PUBREL received by subscribers, PUBCOMP by publishers. */
  readonly released: number;
}

/** More messages than this may not be on their way to the slowest subscriber. */
const OWED_MAX = 300;

/** What MQTT clients with sessions saw of a gateway that is killed again and again, and whether it adds up. */
export class SessionJournal extends Journal<SessionCounts> {
  /** How often a client came back to its session, a message was sent again with the DUP flag, and recognised as such. */
  resumed = 0;
  resent = 0;
  recognised = 0;
  private readonly topics = new Map<string, TopicRecord>();
  private readonly seen = new Map<string, Map<string, Seen>>();
  private readonly received = new Map<string, number>();
  private created = 0;
  private acknowledged = 0;
  private delivered = 0;
  private released = 0;
  /** By payload: confirmed by CONNACK, and how often it was published. */
  private readonly wills = new Map<string, { isHeld: boolean; isCancelled: boolean; count: number }>();

  constructor(subscribers: readonly string[]) {
    super(OWED_MAX);
    for (const name of subscribers) {
      this.seen.set(name, new Map());
      this.received.set(name, 0);
    }
  }

  get counts(): SessionCounts {
    const { acknowledged, delivered, released } = this;
    return { acknowledged, delivered, released };
  }

  get topicNames(): string[] {
    return [...this.topics.keys()];
  }

  /** The next message of the topic, not sent yet. */
  create(topicName: string, qos: 1 | 2, retain: boolean): JournalMessage {
    let topic = this.topics.get(topicName);
    if (topic === undefined) this.topics.set(topicName, (topic = newTopic()));
    const message = { topicName, sequence: topic.messages.length, qos, retain };
    topic.messages.push(message);
    this.created++;
    return message;
  }

  /** PUBACK or PUBREC: the gateway has it. */
  accepted({ topicName, sequence, qos }: JournalMessage): void {
    const topic = this.topics.get(topicName)!;
    const { acknowledged, last, messages } = topic;
    if (sequence < last[qos]) this.fault(`${topicName}#${sequence} was acknowledged out of order`);
    last[qos] = sequence;
    acknowledged.add(sequence);
    for (; acknowledged.has(topic.settled); topic.settled++) {
      if (messages[topic.settled]!.retain) topic.retained = topic.settled;
    }
    this.acknowledged++;
    this.entered();
  }

  /** The subscriber's application gets the message. */
  arrived(subscriber: string, topicName: string, sequence: number, qos: 1 | 2): void {
    const message = this.topics.get(topicName)?.messages[sequence];
    if (message === undefined) return this.fault(`${subscriber} got ${topicName}#${sequence}, which was never sent`);
    const topics = this.seen.get(subscriber)!;
    let seen = topics.get(topicName);
    if (seen === undefined) topics.set(topicName, (seen = { counts: [], last: -1 }));
    const count = (seen.counts[sequence] ?? 0) + 1;
    seen.counts[sequence] = count;
    if (count > 1 && qos === 2) this.fault(`${subscriber} got ${topicName}#${sequence} ${count} times at QoS 2`);
    if (count > 1) return;
    if (sequence < seen.last) this.fault(`${subscriber} got ${topicName}#${sequence} after #${seen.last}`);
    seen.last = Math.max(seen.last, sequence);
    this.received.set(subscriber, this.received.get(subscriber)! + 1);
    this.delivered++;
    this.giveRoom();
    this.entered();
  }

  /** A message sent exactly once is through on one side. */
  through(): void {
    this.released++;
    this.entered();
  }

  /** Acknowledged messages the subscriber was never given. */
  missing(subscriber: string): string[] {
    const topics = this.seen.get(subscriber)!;
    return [...this.topics].flatMap(([topicName, { messages, acknowledged }]) =>
      messages
        .filter(({ sequence }) => acknowledged.has(sequence) && topics.get(topicName)?.counts[sequence] === undefined)
        .map(({ sequence }) => `${topicName}#${sequence}`),
    );
  }

  /** What a new subscriber found retained, by topic: nothing older than what was acknowledged. */
  checkRetained(found: ReadonlyMap<string, number>): void {
    for (const [topicName, { retained, messages }] of this.topics) {
      const sequence = found.get(topicName) ?? -1;
      if (sequence < retained) this.fault(`#${sequence} is retained for ${topicName}, #${retained} was acknowledged`);
      else if (sequence !== -1 && messages[sequence]?.retain !== true)
        this.fault(`${topicName}#${sequence} is retained`);
    }
  }

  willSent(payload: string): void {
    this.wills.set(payload, { isHeld: false, isCancelled: false, count: 0 });
  }

  /** CONNACK: the gateway has it. */
  willHeld(payload: string): void {
    this.wills.get(payload)!.isHeld = true;
  }

  willCancelled(payload: string): void {
    this.wills.get(payload)!.isCancelled = true;
  }

  willArrived(payload: string): void {
    const will = this.wills.get(payload);
    if (will === undefined) return this.fault(`the will ${payload} was never set`);
    will.count++;
    if (will.count > 1) this.fault(`the will ${payload} was published ${will.count} times`);
    if (will.isCancelled) this.fault(`the will ${payload} was published after a farewell`);
  }

  /** Wills of connections that were killed and never published. */
  get missingWills(): string[] {
    return [...this.wills]
      .filter(([, will]) => will.isHeld && !will.isCancelled && will.count === 0)
      .map(([name]) => name);
  }

  get willCount(): number {
    return [...this.wills.values()].filter(({ count }) => count > 0).length;
  }

  protected get owed(): number {
    return this.created - Math.min(...this.received.values());
  }
}

function newTopic(): TopicRecord {
  return { messages: [], acknowledged: new Set(), last: { 1: -1, 2: -1 }, settled: 0, retained: -1 };
}
