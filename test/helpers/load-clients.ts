import type { Message__Output } from '../../adapters/grpc/proto/generated/apache/rocketmq/v2/Message.ts';
import { fromMs, toMs } from '../../adapters/grpc/time.ts';
import type { Arrival, DeliveryJournal, SentMessage } from './delivery-journal.ts';
import { GrpcTestClient, message, receiveRequest } from './grpc-client.ts';
import type { Life, LoadClient } from './killed-gateway.ts';
import { publishPacket, RawMqttClient } from './mqtt-client.ts';
import type { Random } from './random.ts';

/** What all clients of one load share. */
export interface Load {
  readonly journal: DeliveryJournal;
  readonly random: Random;
  readonly topic: string;
}

const POLL_MS = 2000;
/** The shortest the gateway grants. */
export const LEASE_MS = 10_000;
/** Deliveries a consumer forgets, so that they come back by the end of their lease. */
const FORGOTTEN_SHARE = 0.01;

/** Publishes at QoS 1 with a window of messages in flight, which belong to many message groups. */
export class MqttLoadPublisher implements LoadClient {
  /** Without PUBACK, in the order of publishing. */
  private unacked: SentMessage[] = [];
  private readonly inFlight = new Map<number, SentMessage>();
  private nextPacketIdentifier = 1;

  private readonly load: Load;
  private readonly messageGroups: readonly string[];
  private readonly window: number;

  constructor(load: Load, messageGroups: readonly string[], window: number) {
    this.load = load;
    this.messageGroups = messageGroups;
    this.window = window;
  }

  async live(life: Life): Promise<void> {
    let client: RawMqttClient | undefined;
    try {
      client = await RawMqttClient.connected(life.mqttPort);
      this.inFlight.clear();
      this.publish(client, this.unacked);
      for (;;) {
        // A window that drains in one chunk is filled with one chunk.
        if (!life.isLast && this.inFlight.size <= this.window / 2) {
          await roomToSend(this.load, life);
          this.fill(client);
        }
        if (this.inFlight.size === 0) return;
        this.acknowledged(await client.next('puback'));
      }
    } catch (error) {
      if (!life.isKilled) throw error;
    } finally {
      client?.destroy();
    }
  }

  private fill(client: RawMqttClient): void {
    const count = this.window - this.inFlight.size;
    const messages = Array.from({ length: count }, () =>
      this.load.journal.create(this.load.random.pick(this.messageGroups)),
    );
    this.unacked.push(...messages);
    this.publish(client, messages);
  }

  private publish(client: RawMqttClient, messages: readonly SentMessage[]): void {
    const packets = messages.map((sent) => {
      const packetIdentifier = this.nextPacketIdentifier;
      this.nextPacketIdentifier = (packetIdentifier % 65_535) + 1;
      this.inFlight.set(packetIdentifier, sent);
      this.load.journal.sent(sent);
      const properties = { userProperties: [['message-group', sent.messageGroup] as [string, string]] };
      return publishPacket(`${this.load.topic}/mqtt`, sent.body, { qos: 1, packetIdentifier, properties });
    });
    if (packets.length > 0) client.send(...packets);
  }

  private acknowledged({ packetIdentifier, reasonCode }: { packetIdentifier: number; reasonCode: number }): void {
    const sent = this.inFlight.get(packetIdentifier);
    if (sent === undefined) throw new Error(`PUBACK for ${packetIdentifier}, which is not in flight`);
    if (reasonCode >= 0x80) throw new Error(`PUBACK with reason ${reasonCode}`);
    this.inFlight.delete(packetIdentifier);
    this.unacked = this.unacked.filter((other) => other !== sent);
    this.load.journal.sendAcked(sent);
  }
}

/** Sends batches of up to four messages over gRPC, one batch at a time in each message group, as official producers do. */
export class GrpcLoadProducer implements LoadClient {
  private readonly unacked = new Map<string, SentMessage[]>();

  private readonly load: Load;
  private readonly messageGroups: readonly string[];

  constructor(load: Load, messageGroups: readonly string[]) {
    this.load = load;
    this.messageGroups = messageGroups;
  }

  async live(life: Life): Promise<void> {
    const client = new GrpcTestClient(life.grpcPort);
    try {
      await Promise.all(this.messageGroups.map((messageGroup) => this.send(client, messageGroup, life)));
    } finally {
      client.close();
    }
  }

  private async send(client: GrpcTestClient, messageGroup: string, life: Life): Promise<void> {
    try {
      for (;;) {
        await roomToSend(this.load, life);
        const batch = this.unacked.get(messageGroup) ?? (life.isLast ? [] : this.newBatch(messageGroup));
        if (batch.length === 0) return;
        await this.sendBatch(client, batch);
        this.unacked.delete(messageGroup);
      }
    } catch (error) {
      if (!life.isKilled) throw error;
    }
  }

  private newBatch(messageGroup: string): SentMessage[] {
    const batch = Array.from({ length: this.load.random.int(1, 4) }, () => this.load.journal.create(messageGroup));
    this.unacked.set(messageGroup, batch);
    return batch;
  }

  private async sendBatch(client: GrpcTestClient, batch: readonly SentMessage[]): Promise<void> {
    const messages = batch.map(({ body, messageGroup }) =>
      message(this.load.topic, body, { messageType: 'FIFO', messageGroup }),
    );
    for (const sent of batch) this.load.journal.sent(sent);
    const { status, entries } = await client.call('SendMessage', { messages });
    for (const [i, sent] of batch.entries()) {
      const code = entries[i]?.status?.code ?? status?.code;
      if (code !== 'OK') throw new Error(`SendMessage: ${code}`);
      this.load.journal.sendAcked(sent);
    }
  }
}

/** A delivery whose acknowledgement has no answer yet. */
interface Held {
  readonly arrival: Arrival;
  readonly messageId: string;
  readonly receiptHandle: string;
}

/** Receives for a group over gRPC and acknowledges, in one call a batch. */
export class GrpcLoadConsumer implements LoadClient {
  private held: Held[] = [];

  private readonly load: Load;
  private readonly group: string;
  private readonly batchMax: number;

  constructor(load: Load, group: string, batchMax: number) {
    this.load = load;
    this.group = group;
    this.batchMax = batchMax;
  }

  async live(life: Life): Promise<void> {
    const client = new GrpcTestClient(life.grpcPort);
    try {
      await this.acknowledge(client);
      for (;;) {
        await this.receive(client, life);
        if (this.held.length === 0 && life.isLast) return;
        if (!life.isLast) this.held = this.held.filter(() => !this.load.random.chance(FORGOTTEN_SHARE));
        await this.acknowledge(client);
      }
    } catch (error) {
      if (!life.isKilled) throw error;
    } finally {
      client.close();
    }
  }

  private async receive(client: GrpcTestClient, { isLast, quietMs }: Life): Promise<void> {
    const request = receiveRequest(this.group, this.load.topic, {
      batchSize: this.batchMax,
      invisibleDuration: fromMs(LEASE_MS),
      longPollingTimeout: fromMs(isLast ? quietMs : POLL_MS),
    });
    const arrivals: Arrival[] = [];
    // Until the gateway says when it handed the messages out, all that is known is that it was after the request.
    let handedOutAtMs = Date.now();
    try {
      for await (const frame of client.receiveStream(request)) {
        const { message, status, deliveryTimestamp } = frame as Awaited<ReturnType<GrpcTestClient['frames']>>[number];
        if (message) arrivals.push(this.arrived(message));
        else if (deliveryTimestamp) handedOutAtMs = toMs(deliveryTimestamp);
        else if (status?.code !== 'OK' && status?.code !== 'MESSAGE_NOT_FOUND')
          throw new Error(`receive: ${status?.code}`);
      }
    } finally {
      for (const arrival of arrivals) this.load.journal.handedOut(arrival, handedOutAtMs);
    }
  }

  private arrived({ body, systemProperties }: Message__Output): Arrival {
    const { queueId, queueOffset, deliveryAttempt, messageGroup, messageId, receiptHandle } = systemProperties!;
    const arrival: Arrival = {
      group: this.group,
      queue: queueId,
      offset: Number(queueOffset),
      attempt: deliveryAttempt ?? 0,
      messageGroup: messageGroup ?? '',
      body: Buffer.from(body),
    };
    this.held.push({ arrival, messageId, receiptHandle: receiptHandle ?? '' });
    this.load.journal.arrived(arrival);
    return arrival;
  }

  /** Of a life before this one too: a receipt may have outlived it, and is refused otherwise. */
  private async acknowledge(client: GrpcTestClient): Promise<void> {
    if (this.held.length === 0) return;
    const entries = this.held.map(({ messageId, receiptHandle }) => ({ messageId, receiptHandle }));
    for (const { arrival } of this.held) this.load.journal.ackSent(arrival);
    const response = await client.call('AckMessage', {
      group: { name: this.group },
      topic: { name: this.load.topic },
      entries,
    });
    for (const [i, { arrival }] of this.held.entries()) {
      const code = response.entries[i]?.status?.code ?? response.status?.code;
      if (code === 'OK') this.load.journal.ackConfirmed(arrival);
      else if (code !== 'INVALID_RECEIPT_HANDLE') throw new Error(`AckMessage: ${code}`);
    }
    this.held = [];
  }
}

/** Publishers go no faster than consumers, else all of the consuming would be left for the last life. */
function roomToSend({ journal }: Load, { isLast, ended }: Life): Promise<void> | undefined {
  return isLast ? undefined : Promise.race([journal.roomToSend(), ended]);
}
