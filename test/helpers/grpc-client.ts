import {
  credentials,
  makeGenericClientConstructor,
  Metadata,
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type StatusObject,
} from '@grpc/grpc-js';
import { loadMessagingService } from '../../adapters/grpc/proto/definition.ts';
import type { MessagingServiceDefinition } from '../../adapters/grpc/proto/generated/apache/rocketmq/v2/MessagingService.ts';
import type { Message__Output } from '../../adapters/grpc/proto/generated/apache/rocketmq/v2/Message.ts';
import type { ReceiveMessageRequest } from '../../adapters/grpc/proto/generated/apache/rocketmq/v2/ReceiveMessageRequest.ts';
import type { ReceiveMessageResponse__Output } from '../../adapters/grpc/proto/generated/apache/rocketmq/v2/ReceiveMessageResponse.ts';
import type { Settings } from '../../adapters/grpc/proto/generated/apache/rocketmq/v2/Settings.ts';
import type {
  TelemetryCommand,
  TelemetryCommand__Output,
} from '../../adapters/grpc/proto/generated/apache/rocketmq/v2/TelemetryCommand.ts';
import { fromMs } from '../../adapters/grpc/time.ts';

const service = loadMessagingService();
const ServiceClient = makeGenericClientConstructor(service, 'MessagingService');

/** The calls by name, without the index signature of every service definition. */
type Calls = {
  [
    K in keyof MessagingServiceDefinition as string extends K ? never : number extends K ? never : K
  ]: MessagingServiceDefinition[K];
};
type Method = Exclude<keyof Calls, 'Telemetry' | 'ReceiveMessage' | 'PullMessage'>;
type RequestOf<M extends Method> = Parameters<Calls[M]['requestSerialize']>[0];
type ResponseOf<M extends Method> = ReturnType<Calls[M]['responseDeserialize']>;

export interface TestClientOptions {
  readonly clientId?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly credentials?: ChannelCredentials;
}

const DEADLINE_MS = 30_000;
let nextClient = 0;

/** A client that speaks the bare protocol. */
export class GrpcTestClient {
  readonly clientId: string;
  readonly metadata = new Metadata();
  private readonly client: Client;

  constructor(port: number, options: TestClientOptions = {}) {
    this.clientId = options.clientId ?? `test-client-${nextClient++}`;
    if (this.clientId !== '') this.metadata.set('x-mq-client-id', this.clientId);
    for (const [key, value] of Object.entries(options.metadata ?? {})) this.metadata.set(key, value);
    const channelOptions = {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': -1,
      'grpc.ssl_target_name_override': 'localhost',
    };
    this.client = new ServiceClient(
      `127.0.0.1:${port}`,
      options.credentials ?? credentials.createInsecure(),
      channelOptions,
    );
  }

  call<M extends Method>(name: M, request: RequestOf<M>): Promise<ResponseOf<M>> {
    const { path, requestSerialize, responseDeserialize } = service[name];
    return new Promise((resolve, reject) => {
      this.client.makeUnaryRequest(
        path,
        requestSerialize as (value: RequestOf<M>) => Buffer,
        responseDeserialize as (bytes: Buffer) => ResponseOf<M>,
        request,
        this.metadata,
        { deadline: Date.now() + DEADLINE_MS },
        (error, response) => (error === null ? resolve(response!) : reject(error)),
      );
    });
  }

  receiveStream(
    request: ReceiveMessageRequest,
    deadlineMs = DEADLINE_MS,
  ): ClientReadableStream<ReceiveMessageResponse__Output> {
    const { path, requestSerialize, responseDeserialize } = service.ReceiveMessage;
    const options: CallOptions = { deadline: Date.now() + deadlineMs };
    return this.client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      this.metadata,
      options,
    );
  }

  /** All frames of one receive, in order. */
  async frames(request: ReceiveMessageRequest, deadlineMs?: number): Promise<ReceiveMessageResponse__Output[]> {
    const frames: ReceiveMessageResponse__Output[] = [];
    for await (const frame of this.receiveStream(request, deadlineMs))
      frames.push(frame as ReceiveMessageResponse__Output);
    return frames;
  }

  /** The messages of one receive, by default with a lease of 30 s and a poll of 5 s. */
  async receive(group: string, topic: string, more: ReceiveMessageRequest = {}): Promise<Message__Output[]> {
    const request = receiveRequest(group, topic, more);
    return (await this.frames(request)).flatMap(({ message }) => message ?? []);
  }

  /** The code in the status frame of one receive. */
  async receiveCode(group: string, topic: string, more: ReceiveMessageRequest = {}): Promise<string | undefined> {
    const [first] = await this.frames(receiveRequest(group, topic, more));
    return first?.status?.code;
  }

  send(topic: string, body: string | Buffer, system: object = {}, userProperties: Record<string, string> = {}) {
    return this.call('SendMessage', { messages: [message(topic, body, system, userProperties)] });
  }

  telemetry(): TelemetryStream {
    const { path, requestSerialize, responseDeserialize } = service.Telemetry;
    return new TelemetryStream(
      this.client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, this.metadata),
    );
  }

  /** Opens telemetry and waits for the settings. */
  async start(settings: Settings): Promise<TelemetryStream> {
    const stream = this.telemetry();
    stream.call.write({ settings });
    await stream.next();
    return stream;
  }

  pull(): ClientReadableStream<unknown> {
    const { path, requestSerialize, responseDeserialize } = service.PullMessage;
    return this.client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {}, this.metadata);
  }

  close(): void {
    this.client.close();
  }
}

/** A telemetry stream whose commands are taken one by one. */
export class TelemetryStream {
  readonly call: ClientDuplexStream<TelemetryCommand, TelemetryCommand__Output>;
  readonly headers: Promise<Metadata>;
  readonly ended: Promise<StatusObject>;
  private readonly commands: TelemetryCommand__Output[] = [];
  private wake: (() => void) | undefined;

  constructor(call: ClientDuplexStream<TelemetryCommand, TelemetryCommand__Output>) {
    this.call = call;
    this.headers = new Promise((resolve) => call.once('metadata', resolve));
    this.ended = new Promise((resolve) => call.once('status', resolve));
    call.on('error', () => {});
    call.on('data', (command: TelemetryCommand__Output) => {
      this.commands.push(command);
      this.wake?.();
    });
  }

  async next(): Promise<TelemetryCommand__Output> {
    while (this.commands.length === 0) await new Promise<void>((resolve) => (this.wake = resolve));
    return this.commands.shift()!;
  }
}

export function receiveRequest(group: string, topic: string, more: ReceiveMessageRequest = {}): ReceiveMessageRequest {
  return {
    group: { name: group },
    messageQueue: { topic: { name: topic }, id: 0, broker: { name: 'gantry' } },
    filterExpression: { type: 'TAG', expression: '*' },
    batchSize: 32,
    invisibleDuration: fromMs(30_000),
    longPollingTimeout: fromMs(5_000),
    ...more,
  };
}

let nextMessage = 0;

export function message(
  topic: string,
  body: string | Buffer,
  system: object = {},
  userProperties: Record<string, string> = {},
) {
  const systemProperties = { messageId: `M${nextMessage++}`, messageType: 'NORMAL' as const, queueId: 7, ...system };
  return { topic: { name: topic }, body: Buffer.from(body), userProperties, systemProperties };
}
