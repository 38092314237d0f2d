/** Sessions that were away: messages wait for each of them, then all come back at once and take theirs. */
import { timed, type Generator, type LoadFigures, type LoadFrame } from './mqtt-generator.ts';
import { forAll } from './mqtt-link.ts';
import { Publisher } from './mqtt-publisher.ts';
import { DeliveryShape, Receiver } from './mqtt-receiver.ts';
import { disconnectBytes, encodePersistentConnect, encodePublishRing } from './mqtt-wire.ts';

export type DrainPlan = {
  kind: 'drain';
  sessions: number;
  /** For each of them. */
  messages: number;
  payloadBytes: number;
  /** Of the publisher. */
  window: number;
};

const topicName = 'bench/drain';
const qos = 1;

export class DrainGenerator implements Generator {
  private readonly plan: DrainPlan & LoadFrame;
  private readonly publisher: Publisher;
  private receivers: Receiver[] = [];
  private delivered = 0;
  private onDelivered = (): void => {};

  constructor(plan: DrainPlan & LoadFrame) {
    this.plan = plan;
    const { version, payloadBytes, messages, window } = plan;
    const shape = { version, qos, payloadBytes, topicName: () => topicName, publisher: 0 } as const;
    // Every message has its own number, so that none can stand for another.
    this.publisher = new Publisher(encodePublishRing(shape, messages, window), qos);
  }

  async prepare(): Promise<void> {
    const { port, version, sessions, payloadBytes } = this.plan;
    const createReceivers = (): void => {
      const shape = new DeliveryShape(version, qos, payloadBytes);
      this.receivers = Array.from({ length: sessions }, (_, index) => this.createReceiver(index, shape));
    };
    createReceivers();
    await forAll(this.plan.sessions, async (index) => {
      const { link } = await this.comeBack(index, 0);
      await link.subscribe(version, topicName, qos);
      await link.end(disconnectBytes);
    });
    createReceivers();
    const link = await this.publisher.open(port);
    await link.connect(version, `bench-${process.pid}-publisher`);
  }

  async measure(mark: () => Promise<void>): Promise<LoadFigures> {
    const { sessions, messages, window } = this.plan;
    await this.publisher.publishAll(window);
    await mark();
    const figures = await timed(
      () => this.delivered,
      () => this.bringBack(sessions * messages),
    );
    await Promise.all(this.receivers.map(({ link }) => link.ping()));
    await Promise.all(this.receivers.map(({ link }) => link.end(disconnectBytes)));
    return figures;
  }

  /** Resolves when that many were delivered. */
  private async bringBack(deliveries: number): Promise<void> {
    const all = new Promise<void>((resolve) => {
      this.onDelivered = () => {
        if (this.delivered === deliveries) resolve();
      };
    });
    await forAll(this.plan.sessions, async (index) => void (await this.comeBack(index, 1)));
    await all;
  }

  describe(): string {
    const { sent, acked } = this.publisher;
    return `${this.plan.sessions} sessions: ${sent} sent, ${acked} acknowledged, ${this.delivered} delivered`;
  }

  private createReceiver(index: number, shape: DeliveryShape): Receiver {
    const take = (receiver: Receiver, _: number, sequence: number): void => {
      if (sequence !== receiver.nextSequence || receiver.delivered === this.plan.messages) {
        throw new Error(`session ${index} got message ${sequence} instead of ${receiver.nextSequence}`);
      }
      receiver.nextSequence++;
      this.delivered++;
    };
    return new Receiver(index, shape, take, () => this.onDelivered());
  }

  private async comeBack(index: number, sessionPresent: 0 | 1): Promise<Receiver> {
    const { port, version } = this.plan;
    const receiver = this.receivers[index]!;
    const clientId = `bench-${process.pid}-${index}`;
    const link = await receiver.open(port);
    const connack = await link.connect(version, clientId, encodePersistentConnect(version, clientId));
    if (connack[2] !== sessionPresent) throw new Error(`CONNACK with session present ${connack[2]} for ${clientId}`);
    return receiver;
  }
}
