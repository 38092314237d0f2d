/** Many publishers, many subscribers, or QoS 2: every delivery is checked against what was sent. */
import { performance } from 'node:perf_hooks';
import { timed, type Generator, type LoadFigures, type LoadFrame } from './mqtt-generator.ts';
import { forAll, NotSupported, type Link } from './mqtt-link.ts';
import { Publisher } from './mqtt-publisher.ts';
import { DeliveryShape, Receiver } from './mqtt-receiver.ts';
import { Waiting } from './mqtt-wake-up.ts';
import { disconnectBytes, encodePublishRing, grantsSharedSubscriptions, type QoS } from './mqtt-wire.ts';

/**
 * Who gets what. `all`: every subscriber everything, on one topic. `rotating`: one topic per message, over `topics` of them,
 * and a wildcard subscriber. `pairs`: a topic for each publisher and its subscriber. `shared`: one of a group of subscribers.
 */
export type FlowLayout = 'all' | 'rotating' | 'pairs' | 'shared';

export type FlowPlan = {
  kind: 'flow';
  layout: FlowLayout;
  publishers: number;
  subscribers: number;
  topics?: number;
  qos: QoS;
  payloadBytes: number;
  /** Messages of one publisher that may be outstanding: not acknowledged, or not delivered to everyone. */
  window: number;
};

export class FlowGenerator implements Generator {
  private readonly plan: FlowPlan & LoadFrame;
  private readonly waiting: Waiting;
  private readonly publishers: Publisher[];
  private readonly receivers: Receiver[];
  /** In how many copies a message arrives. */
  private readonly copies: number;
  /** Of each publisher, where messages may overtake each other: the sequence numbers that are on their way. */
  private readonly onTheirWay: Uint8Array[] = [];
  private readonly isOrdered: boolean;
  private sending = false;
  private stopAtMs = 0;
  private onIdle: () => void = () => {};

  constructor(plan: FlowPlan & LoadFrame) {
    this.plan = plan;
    this.waiting = new Waiting(plan.wakeUp);
    this.copies = plan.layout === 'all' ? plan.subscribers : 1;
    this.isOrdered = plan.layout === 'all' || plan.layout === 'pairs';
    this.publishers = Array.from({ length: plan.publishers }, (_, index) => this.createPublisher(index));
    const shape = new DeliveryShape(plan.version, plan.qos, plan.payloadBytes);
    this.receivers = Array.from({ length: plan.subscribers }, (_, index) => this.createReceiver(index, shape));
  }

  async prepare(): Promise<void> {
    const { port, version, qos, layout, warmupMs } = this.plan;
    const open = async (one: Publisher | Receiver, clientId: string): Promise<Link> => {
      const link = await one.open(port);
      await link.connect(version, `bench-${process.pid}-${clientId}`);
      return link;
    };
    if (layout === 'shared') await this.requireSharedSubscriptions();
    await forAll(this.receivers.length, async (index) => {
      const link = await open(this.receivers[index]!, `subscriber-${index}`);
      await link.subscribe(version, this.filterOf(index), qos);
    });
    await forAll(this.publishers.length, async (index) => {
      await open(this.publishers[index]!, `publisher-${index}`);
    });
    await this.load(warmupMs);
  }

  async measure(): Promise<LoadFigures> {
    const figures = await this.load(this.plan.durationMs);
    const links = [...this.publishers, ...this.receivers].map(({ link }) => link);
    await Promise.all(links.map((link) => link.ping()));
    await Promise.all(links.map((link) => link.end(disconnectBytes)));
    return figures;
  }

  describe(): string {
    const total = (values: number[]): number => values.reduce((a, b) => a + b, 0);
    const sent = total(this.publishers.map((one) => one.sent));
    const acked = total(this.publishers.map((one) => one.acked));
    const delivered = total(this.receivers.map((one) => one.delivered));
    const { qos, version, layout } = this.plan;
    return `${layout}, QoS ${qos}, version ${version}: ${sent} sent, ${acked} acknowledged, ${delivered} delivered`;
  }

  private createPublisher(index: number): Publisher {
    const { version, qos, payloadBytes, window } = this.plan;
    // At least twice the window, so that a sequence number names one outstanding message only.
    const count = this.plan.topics ?? Math.max(64, window * 2);
    if (count < window * 2) throw new Error(`a window of ${window} is too large for ${count} topics`);
    if (!this.isOrdered) this.onTheirWay.push(new Uint8Array(count));
    const topicName = (sequence: number): string => this.topicOf(index, sequence);
    const ring = encodePublishRing({ version, qos, payloadBytes, topicName, publisher: index }, count, window);
    return new Publisher(ring, qos, () => this.onPublisherChunk(index));
  }

  private createReceiver(index: number, shape: DeliveryShape): Receiver {
    const take = this.isOrdered ? this.takeInOrder.bind(this) : this.takeOnce.bind(this);
    return new Receiver(index, shape, take, () => this.onReceiverChunk(index));
  }

  private topicOf(publisher: number, sequence: number): string {
    if (this.plan.layout === 'all') return 'bench/1';
    return `bench/${this.plan.layout === 'rotating' ? digits(sequence) : digits(publisher)}`;
  }

  private filterOf(subscriber: number): string {
    const filters = { all: 'bench/1', rotating: 'bench/#', shared: '$share/group/bench/+' };
    return this.plan.layout === 'pairs' ? this.topicOf(subscriber, 0) : filters[this.plan.layout];
  }

  private async requireSharedSubscriptions(): Promise<void> {
    const probe = new Receiver(0, new DeliveryShape(5, 0, 0), this.takeOnce.bind(this), () => {});
    const link = await probe.open(this.plan.port);
    const connack = await link.connect(5, `bench-${process.pid}-probe`).catch((cause: Error) => {
      throw new NotSupported(`it takes no MQTT 5: ${cause.message}`);
    });
    if (!grantsSharedSubscriptions(connack)) throw new NotSupported('its CONNACK says: no shared subscriptions');
    await link.end(disconnectBytes);
  }

  /** Sends for `durationMs`, then waits until every message has been delivered and acknowledged on both sides. */
  private async load(durationMs: number): Promise<LoadFigures> {
    const figures = await timed(
      () => this.delivered(),
      (startMs) => {
        this.stopAtMs = startMs + durationMs;
        this.sending = true;
        this.waiting.start(startMs);
        return new Promise<void>((resolve) => {
          this.onIdle = resolve;
          this.publishers.forEach((_, index) => this.pump(index));
        });
      },
    );
    // Not the generator's work, but its way of waiting.
    return { ...figures, cpuUs: figures.cpuUs - this.waiting.stop() * 1000 };
  }

  private delivered(): number {
    return this.publishers.reduce((sum, { delivered }) => sum + delivered, 0);
  }

  /** Half a window at a time: with one message at a time nobody, on neither side, would have anything to batch. */
  private pump(index: number): void {
    const { qos, window } = this.plan;
    const publisher = this.publishers[index]!;
    if (this.sending && performance.now() >= this.stopAtMs) this.sending = false;
    const everywhere = Math.floor(publisher.delivered / this.copies);
    const done = qos === 0 ? everywhere : Math.min(everywhere, publisher.acked);
    if (!this.sending) {
      if (done === publisher.sent && this.isIdle()) this.onIdle();
      return;
    }
    const free = window - (publisher.sent - done);
    if (free * 2 < window) return;
    if (!this.isOrdered) this.expect(this.onTheirWay[index]!, publisher.sent, free);
    publisher.publish(free);
  }

  private expect(onTheirWay: Uint8Array, sent: number, count: number): void {
    const start = sent % onTheirWay.length;
    onTheirWay.fill(1, start, start + count);
    if (start + count > onTheirWay.length) onTheirWay.fill(1, 0, start + count - onTheirWay.length);
  }

  private isIdle(): boolean {
    const { qos } = this.plan;
    return (
      this.publishers.every(
        (one) => one.delivered === one.sent * this.copies && (qos === 0 || one.acked === one.sent),
      ) &&
      (qos < 2 || this.receivers.every((one) => one.released === one.delivered))
    );
  }

  private onPublisherChunk(index: number): void {
    if (this.plan.qos > 0) this.pump(index);
    this.waiting.endChunk();
  }

  private onReceiverChunk(index: number): void {
    const { layout } = this.plan;
    if (layout === 'shared') this.publishers.forEach((_, sender) => this.pump(sender));
    else this.pump(layout === 'pairs' ? index : 0);
    this.waiting.endChunk();
  }

  private takeInOrder(receiver: Receiver, publisher: number, sequence: number): void {
    const from = this.plan.layout === 'pairs' ? receiver.index : 0;
    const { nextSequence, index, delivered } = receiver;
    if (publisher !== from || sequence !== nextSequence) {
      throw new Error(
        `delivery ${delivered} to subscriber ${index} is number ${sequence} of ${publisher}, not ${nextSequence} of ${from}`,
      );
    }
    const sender = this.publishers[from]!;
    receiver.nextSequence = nextSequence + 1 === sender.ring.count ? 0 : nextSequence + 1;
    if (delivered === sender.sent) throw new Error(`a delivery too many to subscriber ${index}`);
    sender.delivered++;
  }

  private takeOnce(receiver: Receiver, publisher: number, sequence: number): void {
    const onTheirWay = this.onTheirWay[publisher];
    if (onTheirWay?.[sequence] !== 1) {
      throw new Error(`subscriber ${receiver.index} got number ${sequence} of ${publisher}, which is not on its way`);
    }
    onTheirWay[sequence] = 0;
    this.publishers[publisher]!.delivered++;
  }
}

function digits(value: number): string {
  return String(value).padStart(5, '0');
}
