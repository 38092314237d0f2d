import { MqttAdapter } from '../../adapters/mqtt/mqtt-adapter.ts';
import { DEFAULT_MQTT_OPTIONS } from '../../adapters/mqtt/options.ts';
import { MQTT_ENVELOPE_READER } from '../../adapters/mqtt/translate.ts';
import { DiskStorage } from '../../adapters/storage/embedded/disk-storage.ts';
import { withMeta } from '../../adapters/storage/embedded/open.ts';
import { Broker } from '../../core/broker.ts';
import { ALLOW_ALL } from '../../core/ports/authorizer.ts';
import { UserAuthenticator } from '../../gateway/security/user-authenticator.ts';
import { fail } from '../helpers/fail.ts';
import { FaultDisk } from '../helpers/fault-disk.ts';
import { TINY } from '../helpers/fault-engine.ts';
import { ManualClock } from '../helpers/manual-clock.ts';
import { publishPacket, RawMqttClient } from '../helpers/mqtt-client.ts';
import type { Random } from '../helpers/random.ts';
import {
  SessionPublisher,
  SessionSubscriber,
  WillClient,
  type OpenConnection,
  type SessionLife,
} from '../helpers/session-clients.ts';
import { SessionJournal } from '../helpers/session-journal.ts';
import { SILENT } from '../helpers/silent-logger.ts';
import { streamPair } from '../helpers/stream-pair.ts';

/** Operations on the disk between two crashes, at most. */
const MUTATIONS_MAX = 120;
const SUBSCRIBERS = ['both', 'one'] as const;

/** A seeded life of clients with sessions over several power failures of their gateway, all in this process. */
export class SessionStory {
  readonly journal = new SessionJournal(SUBSCRIBERS);
  private readonly random: Random;
  private disk: FaultDisk;
  private clock = new ManualClock();
  private readonly subscribers: readonly SessionSubscriber[];
  private readonly publishers: readonly SessionPublisher[];
  private readonly will: WillClient;
  private connections: RawMqttClient[] = [];

  constructor(random: Random) {
    this.random = random;
    this.disk = new FaultDisk(random);
    const load = { journal: this.journal, random };
    this.subscribers = [
      new SessionSubscriber(load, SUBSCRIBERS[0], 5, { filters: ['a/#', 'b/#', 'will/#'], qos: 2 }),
      new SessionSubscriber(load, SUBSCRIBERS[1], 4, { filters: ['+/0/#', 'a/#', 'b/#'], qos: 2 }),
    ];
    this.publishers = ([4, 5] as const).map(
      (version, i) => new SessionPublisher(load, `p${i}`, version, [`a/0/${i}`, `b/0/${i}`, `b/1/${i}`]),
    );
    this.will = new WillClient(load, 'will', 5);
  }

  async play(lives: number): Promise<void> {
    const open = await this.start();
    await Promise.all(this.subscribers.map((subscriber) => subscriber.subscribe(open)));
    for (let life = 0; life < lives; life++) {
      this.crash();
      this.disk.faults.crashAtMutation = 1 + this.random.below(MUTATIONS_MAX);
      await this.live();
    }
    this.crash();
    await this.lastLife();
  }

  /** What went wrong, in words. */
  get problems(): string[] {
    const { journal } = this;
    const missing = SUBSCRIBERS.flatMap((name) => journal.missing(name).map((id) => `${name} never got ${id}`));
    return [...journal.faults, ...missing, ...journal.missingWills.map((will) => `${will} was never published`)];
  }

  private crash(): void {
    this.disk = this.disk.crash();
    for (const client of this.connections) client.destroy();
    this.connections = [];
  }

  /** Until the crash. */
  private async live(): Promise<void> {
    const { crashed } = this.disk.life;
    const open = await Promise.race([this.start(), crashed.then(() => undefined)]);
    if (open === undefined) return;
    this.journal.beginLife();
    const life: SessionLife = { open, isLast: false, isKilled: false, ended: crashed };
    const clients = this.clients.map((client) => client.live(life));
    await Promise.race([crashed, ...clients]);
    life.isKilled = true;
    this.crash();
    await Promise.all(clients);
  }

  private async lastLife(): Promise<void> {
    const open = await this.start();
    const life: SessionLife = { open, isLast: true, isKilled: false, ended: new Promise(() => {}) };
    const others = Promise.all([...this.subscribers, this.will].map((client) => client.live(life)));
    await Promise.all([others, this.end(open, life)]);
    this.crash();
  }

  /** Lets the publishers end, then tells subscribers that everything has come. */
  private async end(open: OpenConnection, life: SessionLife): Promise<void> {
    await Promise.all(this.publishers.map((client) => client.live(life)));
    const client = await open(5);
    await client.connect();
    for (const first of ['a', 'b', 'x/0', 'will']) {
      client.send(publishPacket(`${first}/end`, 'end', { qos: 1, packetIdentifier: 1 }));
      await client.next('puback');
    }
  }

  private get clients() {
    return [...this.subscribers, ...this.publishers, this.will];
  }

  /** A gateway on what the disk holds. @returns how clients reach it */
  private async start(): Promise<OpenConnection> {
    // One of its own: that of a dead process must not go on.
    this.clock = new ManualClock(this.clock.now());
    const storage = new DiskStorage(this.disk, this.disk.store, TINY);
    const broker = new Broker(
      {
        ...withMeta(storage),
        authenticator: new UserAuthenticator([], false),
        authorizer: ALLOW_ALL,
        clock: this.clock,
        log: SILENT,
        envelopeReaders: [MQTT_ENVELOPE_READER],
        onFailure: fail,
      },
      {
        topics: { autoCreate: true, countMax: 100 },
        groups: { autoCreate: true, countMax: 100 },
        bodyBytesMax: 1024,
      },
    );
    await broker.start();
    const adapter = new MqttAdapter({ broker, options: DEFAULT_MQTT_OPTIONS, log: SILENT, version: 'test' });
    return async (version) => {
      const [near, far] = streamPair();
      adapter.handleConnection({ stream: far, remoteAddress: 'memory' });
      const client = RawMqttClient.over(near, version);
      this.connections.push(client);
      return client;
    };
  }
}
