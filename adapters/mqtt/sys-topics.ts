import { matchesAddress } from '../../core/model/address.ts';
import { encodeMessage, type Message } from '../../core/model/message.ts';
import type { MqttContext } from './mqtt-context.ts';

const ROOT = '$SYS/broker/';
/** Minutes of the moving averages, as Mosquitto has them. */
const LOAD_MINUTES = [1, 5, 15] as const;
const LOADS = {
  'messages/received': 'messagesReceived',
  'messages/sent': 'messagesSent',
  'publish/received': 'publishReceived',
  'publish/sent': 'publishSent',
  'publish/dropped': 'droppedQos0',
  'bytes/received': 'bytesReceived',
  'bytes/sent': 'bytesSent',
  sockets: 'connectionsOpened',
} as const;

/**
 * What the gateway says of itself under `$SYS/broker/`, by the names Mosquitto's users know: at QoS 0, when it changes,
 * and at once to whoever subscribes. It is never stored.
 */
export class SysTopics {
  private readonly context: MqttContext;
  private readonly version: string;
  private readonly startedAt: number;
  private readonly messages = new Map<string, Message>();
  private readonly loads = new Map<string, number>();
  private readonly before = new Map<string, number>();
  private clientsMost = 0;
  private timer: Disposable | undefined;

  constructor(context: MqttContext, version: string) {
    this.context = context;
    this.version = version;
    this.startedAt = context.broker.clock.now();
  }

  start(): void {
    const { sysIntervalS } = this.context.options;
    if (sysIntervalS === 0) return;
    this.update(sysIntervalS);
    this.timer = this.context.broker.clock.schedule(sysIntervalS * 1000, () => this.start());
  }

  stop(): void {
    this.timer?.[Symbol.dispose]();
  }

  /** What a new subscriber gets. */
  matching(filter: string): Message[] {
    return [...this.messages].flatMap(([topicName, message]) => (matchesAddress(filter, topicName) ? message : []));
  }

  private update(intervalS: number): void {
    for (const [name, value] of this.values()) this.set(name, value);
    for (const [name, load] of this.movingAverages(intervalS)) this.set(name, load.toFixed(2));
  }

  private *values(): Generator<[string, string | number]> {
    const { broker, connections, metrics } = this.context;
    const { sessions } = broker;
    const retained = broker.retainedUsage();
    this.clientsMost = Math.max(this.clientsMost, connections.size);
    yield ['version', `gantry ${this.version}`];
    yield ['uptime', `${Math.floor((broker.clock.now() - this.startedAt) / 1000)} seconds`];
    yield ['clients/connected', connections.size];
    yield ['clients/disconnected', sessions.withoutConnection];
    yield ['clients/total', connections.size + sessions.withoutConnection];
    yield ['clients/maximum', this.clientsMost];
    yield ['clients/expired', sessions.expired];
    yield ['messages/received', metrics.messagesReceived];
    yield ['messages/sent', metrics.messagesSent];
    yield ['publish/messages/received', metrics.publishReceived];
    yield ['publish/messages/sent', metrics.publishSent];
    yield ['publish/messages/dropped', metrics.droppedQos0];
    yield ['refused/connections', metrics.connectionsRefused];
    yield ['refused/publishes', metrics.publishRefused];
    yield ['refused/subscriptions', metrics.subscriptionsRefused];
    yield ['clients/slowed down', metrics.slowedDown];
    yield ['bytes/received', metrics.bytesReceived];
    yield ['bytes/sent', metrics.bytesSent];
    yield ['subscriptions/count', sessions.subscriptionCount];
    yield ['shared_subscriptions/count', broker.shared.count];
    yield ['retained messages/count', retained.count];
    yield ['retained messages/bytes', retained.bytes];
    yield ['heap/current size', process.memoryUsage().heapUsed];
  }

  /** Rates per minute. */
  private *movingAverages(intervalS: number): Generator<[string, number]> {
    const { metrics } = this.context;
    for (const [name, counter] of Object.entries(LOADS)) {
      const now = metrics[counter];
      const perMinute = ((now - (this.before.get(name) ?? 0)) * 60) / intervalS;
      this.before.set(name, now);
      for (const minutes of LOAD_MINUTES) {
        const key = `load/${name}/${minutes}min`;
        const weight = 1 - Math.exp(-intervalS / (60 * minutes));
        const load = (this.loads.get(key) ?? 0) * (1 - weight) + perMinute * weight;
        this.loads.set(key, load);
        yield [key, load];
      }
    }
  }

  private set(name: string, value: string | number): void {
    const address = ROOT + name;
    const body = Buffer.from(String(value));
    if (this.messages.get(address)?.body.equals(body) === true) return;
    const { broker } = this.context;
    const message = encodeMessage({ address, body, bornAt: broker.clock.now(), qos: 0 });
    this.messages.set(address, message);
    broker.announce(message);
  }
}
