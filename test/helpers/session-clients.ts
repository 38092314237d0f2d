import type { ConnectPacket, Packet, ProtocolVersion, PublishPacket } from '../../adapters/mqtt/codec/packet.ts';
import { PLAIN_SUBSCRIPTION, puback, publishPacket, type RawMqttClient } from './mqtt-client.ts';
import type { Random } from './random.ts';
import type { JournalMessage, SessionJournal } from './session-journal.ts';

export type OpenConnection = (version: ProtocolVersion) => Promise<RawMqttClient>;

/** One life of the gateway, as its clients see it. */
export interface SessionLife {
  /** A new connection, CONNECT not sent. */
  readonly open: OpenConnection;
  /** No new messages: publishers end when all is acknowledged. */
  readonly isLast: boolean;
  /** Set just before the gateway is killed: from then on a lost connection is no failure. */
  isKilled: boolean;
  /** Resolves when it was killed. */
  readonly ended: Promise<void>;
}

/** What all clients have in common. */
export interface SessionLoad {
  readonly journal: SessionJournal;
  readonly random: Random;
}

/** How many packets until a client drops its connection by itself, on average. */
const PACKETS_TO_DROP = 400;
const WINDOW = 40;

/** A client whose session outlives its connections, and which keeps its own part of it as the standard demands. */
abstract class SessionClient {
  readonly name: string;
  protected readonly version: ProtocolVersion;
  protected readonly load: SessionLoad;
  private hasSession = false;

  constructor(load: SessionLoad, name: string, version: ProtocolVersion) {
    this.load = load;
    this.name = name;
    this.version = version;
  }

  /** Works until the life ends, over several connections. */
  async live(life: SessionLife): Promise<void> {
    let client: RawMqttClient | undefined;
    try {
      while (!life.isKilled) {
        client = await this.connect(life.open);
        const isThrough = await this.work(client, life);
        client.destroy();
        if (isThrough) return;
      }
    } catch (error) {
      if (!life.isKilled) throw error;
    } finally {
      client?.destroy();
    }
  }

  /** @returns false when the connection was dropped */
  protected abstract work(client: RawMqttClient, life: SessionLife): Promise<boolean>;

  protected async connect(open: OpenConnection): Promise<RawMqttClient> {
    const client = await open(this.version);
    const { reasonCode, sessionPresent } = await client.connect(this.connectFields());
    if (reasonCode !== 0) throw new Error(`${this.name} was refused with ${reasonCode}`);
    if (this.hasSession && !sessionPresent) this.load.journal.fault(`${this.name} lost its session`);
    if (this.hasSession) this.load.journal.resumed++;
    this.hasSession = true;
    return client;
  }

  protected connectFields(): Partial<ConnectPacket> {
    const fields = { clientIdentifier: this.name, cleanStart: false };
    return this.version === 5 ? { ...fields, properties: { sessionExpiryIntervalS: 3600 } } : fields;
  }

  protected get drops(): boolean {
    return this.load.random.below(PACKETS_TO_DROP) === 0;
  }
}

/** A message on its way to the gateway. */
interface Outgoing {
  readonly message: JournalMessage;
  readonly packetIdentifier: number;
  isReleased: boolean;
}

/** Publishes at QoS 1 and 2 in turn, and sends again what has no answer. */
export class SessionPublisher extends SessionClient {
  private readonly topicNames: readonly string[];
  /** In the order of publishing. */
  private outgoing: Outgoing[] = [];

  constructor(load: SessionLoad, name: string, version: ProtocolVersion, topicNames: readonly string[]) {
    super(load, name, version);
    this.topicNames = topicNames;
  }

  protected async work(client: RawMqttClient, life: SessionLife): Promise<boolean> {
    const again = this.outgoing.map((outgoing) => packetOf(outgoing, true));
    if (again.length > 0) client.send(...again);
    for (;;) {
      if (!life.isLast && this.outgoing.length <= WINDOW / 2) {
        await Promise.race([this.load.journal.roomToSend(), life.ended]);
        this.fill(client);
      }
      if (this.outgoing.length === 0) return true;
      const packet = await client.take();
      if (packet === undefined) throw new Error(`${this.name} was cut off`);
      this.answered(client, packet);
      if (this.drops) return false;
    }
  }

  private fill(client: RawMqttClient): void {
    const { random, journal } = this.load;
    const packets: Packet[] = [];
    while (this.outgoing.length < WINDOW) {
      const topicName = random.pick(this.topicNames);
      const retain = random.chance(0.1);
      // One QoS for those of a topic: sent again at QoS 1, a message would come behind a later one at QoS 2.
      const qos = retain ? (topicName.includes('/0/') ? 1 : 2) : random.pick([1, 2] as const);
      const message = journal.create(topicName, qos, retain);
      const outgoing = { message, packetIdentifier: this.freeIdentifier(), isReleased: false };
      this.outgoing.push(outgoing);
      packets.push(packetOf(outgoing, false));
    }
    client.send(...packets);
  }

  /** The lowest: one that is free stands for another message at once. */
  private freeIdentifier(): number {
    const used = new Set(this.outgoing.map(({ packetIdentifier }) => packetIdentifier));
    let identifier = 1;
    while (used.has(identifier)) identifier++;
    return identifier;
  }

  private answered(client: RawMqttClient, packet: Packet): void {
    if (packet.type !== 'puback' && packet.type !== 'pubrec' && packet.type !== 'pubcomp') {
      throw new Error(`${this.name} got ${packet.type}`);
    }
    const { packetIdentifier, reasonCode, type } = packet;
    const found = this.outgoing.find((outgoing) => outgoing.packetIdentifier === packetIdentifier);
    if (found === undefined) throw new Error(`${type} for ${packetIdentifier}, which is not on its way`);
    if (type !== 'pubcomp' && reasonCode >= 0x80) throw new Error(`${type} with reason ${reasonCode}`);
    const isAwaited = type === (found.message.qos === 1 ? 'puback' : found.isReleased ? 'pubcomp' : 'pubrec');
    if (!isAwaited) throw new Error(`${this.name} got ${type} for ${packetIdentifier}`);
    if (type === 'pubrec') {
      this.load.journal.accepted(found.message);
      found.isReleased = true;
      client.send(packetOf(found, false));
      return;
    }
    if (type === 'puback') this.load.journal.accepted(found.message);
    else this.load.journal.through();
    this.outgoing = this.outgoing.filter((other) => other !== found);
  }
}

function packetOf({ message, packetIdentifier, isReleased }: Outgoing, dup: boolean): Packet {
  if (isReleased) return { type: 'pubrel', packetIdentifier, reasonCode: 0 };
  const { topicName, sequence, qos, retain } = message;
  return publishPacket(topicName, `${sequence}`, { qos, packetIdentifier, dup, retain });
}

export interface SubscriberOptions {
  readonly filters: readonly string[];
  readonly qos: 1 | 2;
  readonly receiveMaximum?: number;
}

/** Subscribes once; recognises what it was sent again at QoS 2 by the packet identifier. */
export class SessionSubscriber extends SessionClient {
  private readonly options: SubscriberOptions;
  /** Packet identifiers of QoS 2 messages without PUBREL, and what they stand for. */
  private readonly received = new Map<number, string>();

  constructor(load: SessionLoad, name: string, version: ProtocolVersion, options: SubscriberOptions) {
    super(load, name, version);
    this.options = options;
  }

  async subscribe(open: OpenConnection): Promise<void> {
    const client = await this.connect(open);
    const { filters, qos } = this.options;
    client.send({
      type: 'subscribe',
      packetIdentifier: 1,
      subscriptions: filters.map((topicFilter) => ({ ...PLAIN_SUBSCRIPTION, topicFilter, qos })),
    });
    await client.next('suback');
    client.destroy();
  }

  protected override connectFields(): Partial<ConnectPacket> {
    const { receiveMaximum } = this.options;
    const fields = super.connectFields();
    if (receiveMaximum === undefined || fields.properties === undefined) return fields;
    return { ...fields, properties: { ...fields.properties, receiveMaximum } };
  }

  protected async work(client: RawMqttClient, life: SessionLife): Promise<boolean> {
    const open = new Set(this.options.filters);
    for (;;) {
      const packet = await client.take();
      if (packet === undefined) throw new Error(`${this.name} was cut off`);
      if (packet.type === 'pubrel') this.released(client, packet.packetIdentifier);
      else if (packet.type !== 'publish') throw new Error(`${this.name} got ${packet.type}`);
      else if (packet.payload.toString() === 'end') {
        // Nothing is left in front of it; what is still to be released does not matter any more.
        client.send(puback(packet.packetIdentifier));
        open.delete(packet.topicName.replace('x/', '+/').replace('/end', '/#'));
        if (open.size === 0) return true;
      } else this.published(client, packet);
      if (!life.isLast && this.drops) return false;
    }
  }

  private published(client: RawMqttClient, packet: PublishPacket): void {
    const { journal } = this.load;
    const { packetIdentifier = 0, qos, topicName, dup, payload } = packet;
    const id = `${topicName}#${payload.toString()}`;
    if (dup) journal.resent++;
    if (qos === 2) {
      const known = this.received.get(packetIdentifier);
      if (known !== undefined) {
        journal.recognised++;
        if (known !== id) journal.fault(`${this.name} got ${id} as ${packetIdentifier}, which is still ${known}`);
        if (!dup) journal.fault(`${this.name} got ${id} again without DUP`);
      } else if ([...this.received.values()].includes(id)) {
        journal.fault(`${this.name} got ${id} under another packet identifier`);
      } else this.taken(packet);
      this.received.set(packetIdentifier, id);
      client.send({ type: 'pubrec', packetIdentifier, reasonCode: 0 });
    } else {
      this.taken(packet);
      client.send(puback(packetIdentifier));
    }
  }

  private taken({ topicName, payload, qos }: PublishPacket): void {
    const { journal } = this.load;
    if (topicName.startsWith('will/')) journal.willArrived(payload.toString());
    else journal.arrived(this.name, topicName, Number(payload.toString()), qos as 1 | 2);
  }

  private released(client: RawMqttClient, packetIdentifier: number): void {
    if (this.received.delete(packetIdentifier)) this.load.journal.through();
    client.send({ type: 'pubcomp', packetIdentifier, reasonCode: 0 });
  }
}

/** Connects with a will, and is there until the gateway dies or says good-bye at the end. */
export class WillClient extends SessionClient {
  private wills = 0;
  private payload = '';

  protected async work(client: RawMqttClient, life: SessionLife): Promise<boolean> {
    const { journal } = this.load;
    journal.willHeld(this.payload);
    if (!life.isLast) {
      await life.ended;
      return true;
    }
    journal.willCancelled(this.payload);
    client.send({ type: 'disconnect', reasonCode: 0 });
    await client.rest();
    return true;
  }

  protected override connectFields(): Partial<ConnectPacket> {
    this.payload = `${this.name}-${this.wills++}`;
    this.load.journal.willSent(this.payload);
    const will = { topicName: `will/${this.name}`, payload: Buffer.from(this.payload), qos: 2, retain: true } as const;
    return { ...super.connectFields(), will };
  }
}
