import { Metadata, status as GrpcStatus, type ServerDuplexStream } from '@grpc/grpc-js';
import { BrokerError } from '../../../core/model/broker-error.ts';
import { checkTopicName } from '../../../core/model/names.ts';
import { nameOf, requireGroup, requireTopic } from '../access.ts';
import { contextOf, type CallContext } from '../call-context.ts';
import type { Client, ClientStream } from '../client-registry.ts';
import { SETTINGS_REPEATS_MS } from '../options.ts';
import type { Settings, Settings__Output } from '../proto/generated/apache/rocketmq/v2/Settings.ts';
import type {
  TelemetryCommand,
  TelemetryCommand__Output,
} from '../proto/generated/apache/rocketmq/v2/TelemetryCommand.ts';
import { consumerSettings, producerSettings } from '../settings.ts';
import { isAnswer, OK, ProtocolError, statusOf } from '../status.ts';
import { toMs } from '../time.ts';
import type { Parts } from './parts.ts';

type TelemetryCall = ServerDuplexStream<TelemetryCommand__Output, TelemetryCommand>;

/**
 * The stream a client keeps open. Its first command are its settings, which the server completes and sends back; clients do
 * not start without. Failures here end the stream with a gRPC status, unlike everywhere else.
 */
export class TelemetrySession implements ClientStream {
  private readonly parts: Parts;
  private readonly call: TelemetryCall;
  private client: Client | undefined;
  private repetitions: Disposable[] = [];
  private ended = false;

  constructor(parts: Parts, call: TelemetryCall) {
    this.parts = parts;
    this.call = call;
  }

  /** Serves the stream until either side ends it. */
  async run(): Promise<void> {
    // The Rust client waits for the headers before it sends anything.
    this.call.sendMetadata(new Metadata());
    this.parts.stopping.addEventListener('abort', this.onStopping);
    try {
      const context = await contextOf(this.parts.broker, this.call);
      if (!this.call.cancelled) await this.serve(context);
      this.end();
    } catch (error) {
      this.fail(error);
    } finally {
      this.parts.stopping.removeEventListener('abort', this.onStopping);
      for (const repetition of this.repetitions) repetition[Symbol.dispose]();
      this.client?.streams.delete(this);
    }
  }

  sendSettings(settings: Settings): void {
    if (this.ended || this.call.cancelled) return;
    // The Python client applies settings only when the command has the status OK.
    this.call.write({ status: OK, settings, command: 'settings' });
  }

  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.call.end();
  }

  private readonly onStopping = (): void => this.end();

  /** Handles commands one by one; resolves when the client ends its side. */
  private serve(context: CallContext): Promise<void> {
    const { call } = this;
    // Not `for await`: that destroys the stream with its readable side, and the final status with it.
    return new Promise((resolve, reject) => {
      call.once('end', resolve);
      call.once('close', resolve);
      call.on('data', (command: TelemetryCommand__Output) => {
        if (!command.settings) return;
        call.pause();
        this.applySettings(command.settings, context).then(() => call.resume(), reject);
      });
    });
  }

  private async applySettings(settings: Settings__Output, context: CallContext): Promise<void> {
    const completed = await this.complete(settings, context);
    const client = this.parts.clients.enter(context);
    client.settings = completed;
    client.requestTimeoutMs = settings.requestTimeout ? toMs(settings.requestTimeout) : undefined;
    client.streams.add(this);
    this.client = client;
    this.sendSettings(completed);
    // The Node.js client begins to wait for its settings only after it has asked for all its routes, and then misses an
    // answer that came before. So it comes again a little later, and with the first heartbeat.
    if (this.repetitions.length > 0) return;
    this.repetitions = SETTINGS_REPEATS_MS.map((ms) =>
      this.parts.broker.clock.schedule(ms, () => {
        if (client.settings !== undefined) this.sendSettings(client.settings);
      }),
    );
  }

  private async complete(settings: Settings__Output, context: CallContext): Promise<Settings> {
    const { broker } = this.parts;
    switch (settings.pubSub) {
      case 'publishing': {
        for (const topic of settings.publishing?.topics ?? []) {
          checkTopicName(nameOf(topic));
          requireTopic(broker, context, 'PUB', nameOf(topic));
        }
        return producerSettings(settings, broker.options.bodyBytesMax);
      }
      case 'subscription': {
        const group = nameOf(settings.subscription?.group);
        requireGroup(broker, context, group);
        for (const { topic } of settings.subscription?.subscriptions ?? []) {
          checkTopicName(nameOf(topic));
          requireTopic(broker, context, 'SUB', nameOf(topic));
        }
        return consumerSettings(settings, await broker.groups.use(group), context.language);
      }
      case undefined:
      default:
        throw new ProtocolError('BAD_REQUEST', 'the settings are neither those of a producer nor of a consumer');
    }
  }

  private fail(error: unknown): void {
    if (this.ended || this.call.cancelled) return;
    this.ended = true;
    if (!isAnswer(error))
      this.parts.log.error({ err: error, rpc: this.call.getPath() }, 'telemetry failed unexpectedly');
    const { code, message } = statusOf(error);
    // grpc-js takes the status of a stream from an error on it.
    this.call.emit(
      'error',
      Object.assign(new Error(message), { code: grpcStatusOf(error), details: `${code} ${message}` }),
    );
  }
}

function grpcStatusOf(error: unknown): GrpcStatus {
  if (!isAnswer(error)) return GrpcStatus.INTERNAL;
  if (error.code === 'UNAUTHORIZED') return GrpcStatus.UNAUTHENTICATED;
  if (error instanceof BrokerError && (error.code === 'THROTTLED' || error.code === 'LIMIT_EXCEEDED')) {
    return GrpcStatus.RESOURCE_EXHAUSTED;
  }
  return GrpcStatus.INVALID_ARGUMENT;
}
