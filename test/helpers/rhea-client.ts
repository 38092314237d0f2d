import { once } from 'node:events';
import rhea, {
  type AmqpError,
  type Connection,
  type ConnectionOptions,
  type Delivery,
  type EventContext,
  type Message,
  type Receiver,
  type ReceiverOptions,
  type Sender,
  type SenderOptions,
} from 'rhea';

/** rhea as an application uses it, with promises in place of its events. */

export interface Outcome {
  readonly kind: 'accepted' | 'rejected' | 'released' | 'modified';
  readonly error?: AmqpError | undefined;
  readonly settled: boolean;
}

export interface Received {
  readonly message: Message;
  readonly delivery: Delivery;
}

/** The link was refused, or ended with an error. */
export class LinkRefused extends Error {
  readonly condition: string | undefined;

  constructor(error: AmqpError | undefined) {
    super(error?.description ?? error?.condition ?? 'the link was closed');
    this.condition = error?.condition;
  }
}

export class RheaClient {
  readonly connection: Connection;

  private constructor(connection: Connection) {
    this.connection = connection;
    connection.on('disconnected', () => silence(connection));
  }

  static async connect(port: number, options: Partial<ConnectionOptions> = {}): Promise<RheaClient> {
    const container = rhea.create_container();
    // What nobody listens for would end the process.
    container.on('error', () => {});
    const connection = container.connect({
      host: '127.0.0.1',
      port,
      reconnect: false,
      ...options,
    });
    await new Promise<void>((resolve, reject) => {
      connection.once('connection_open', () => resolve());
      for (const event of ['connection_error', 'connection_close', 'disconnected', 'protocol_error']) {
        connection.once(event, (context: EventContext) => {
          const cause = context.connection?.error ?? context.error;
          reject(new Error(`${event}: ${cause === undefined ? '' : JSON.stringify(cause)}`));
        });
      }
    });
    return new RheaClient(connection);
  }

  async sender(target: SenderOptions['target'], options: SenderOptions = {}): Promise<RheaSender> {
    const sender = this.connection.open_sender({
      ...options,
      target: target ?? {},
      treat_modified_as_released: false,
    } as SenderOptions);
    const client = new RheaSender(sender);
    await opened(sender, 'sender', () => sender.target !== null);
    return client;
  }

  /** Nothing is answered, and no credit given, but by the test. */
  async receiver(source: ReceiverOptions['source'], options: ReceiverOptions = {}): Promise<RheaReceiver> {
    const receiver = this.connection.open_receiver({
      credit_window: 0,
      autoaccept: false,
      autosettle: true,
      ...options,
      source: source!,
    });
    const client = new RheaReceiver(receiver);
    await opened(receiver, 'receiver', () => receiver.source !== null);
    return client;
  }

  async close(): Promise<void> {
    const closed = once(this.connection, 'connection_close');
    this.connection.close();
    await closed;
  }

  /** As if the power went. */
  vanish(): void {
    silence(this.connection);
    (this.connection as unknown as { socket: { destroy(): void } }).socket.destroy();
  }
}

/** rhea goes on with its heartbeat for ever when the other side is gone without a word. */
function silence(connection: Connection): void {
  const { heartbeat_out: heartbeat, remote } = connection as unknown as {
    readonly heartbeat_out: NodeJS.Timeout | undefined;
    readonly remote: { readonly open?: { idle_time_out: number } };
  };
  if (remote.open !== undefined) remote.open.idle_time_out = 0;
  clearTimeout(heartbeat);
}

function opened(link: Sender | Receiver, side: 'sender' | 'receiver', hasTerminus: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    // Where the terminus is null, a detach with the reason follows (AMQP 2.6.3).
    link.once(`${side}_open`, () => hasTerminus() && resolve());
    link.once(`${side}_close`, () => reject(new LinkRefused(link.error as AmqpError | undefined)));
    link.on(`${side}_error`, () => {});
  });
}

export class RheaSender {
  readonly link: Sender;
  private readonly waiting = new Map<number, (outcome: Outcome) => void>();

  constructor(link: Sender) {
    this.link = link;
    for (const kind of ['accepted', 'rejected', 'released', 'modified'] as const) {
      link.on(kind, ({ delivery }: EventContext) => {
        const { error } = (delivery!.remote_state ?? {}) as { error?: AmqpError };
        this.waiting.get(delivery!.id)?.({ kind, error, settled: delivery!.remote_settled });
        this.waiting.delete(delivery!.id);
      });
    }
  }

  /** Resolves with the outcome. */
  send(message: Message | Buffer, format?: number): Promise<Outcome> {
    const delivery = this.link.send(message, undefined, format);
    return new Promise((resolve) => this.waiting.set(delivery.id, resolve));
  }

  sendAll(messages: readonly Message[]): Promise<Outcome[]> {
    return Promise.all(messages.map((message) => this.send(message)));
  }

  close(): Promise<void> {
    return ended(this.link, 'sender', () => this.link.close());
  }
}

export class RheaReceiver {
  readonly link: Receiver;
  private readonly inbox: Received[] = [];
  private wake: (() => void) | undefined;

  constructor(link: Receiver) {
    this.link = link;
    link.on('message', ({ message, delivery }: EventContext) => {
      this.inbox.push({ message: message!, delivery: delivery! });
      this.wake?.();
    });
    link.on('receiver_close', () => this.wake?.());
  }

  /** Of the source, as the peer says it. */
  get address(): string {
    return this.link.source.address;
  }

  credit(count: number): this {
    this.link.add_credit(count);
    return this;
  }

  /** The next message; rejects when the link ends before it. */
  async next(): Promise<Received> {
    while (this.inbox.length === 0) {
      if (this.link.is_closed()) throw new LinkRefused(this.link.error as AmqpError | undefined);
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    return this.inbox.shift()!;
  }

  async take(count: number): Promise<Received[]> {
    const all: Received[] = [];
    while (all.length < count) all.push(await this.next());
    return all;
  }

  /** All there is now, which has to be less than the credit: of that, the peer says that it has no more (AMQP 2.6.7). */
  async drain(credit = 0): Promise<Received[]> {
    this.link.add_credit(credit);
    const drained = once(this.link, 'receiver_drained');
    this.link.drain_credit();
    await drained;
    this.link.drain = false;
    return this.inbox.splice(0);
  }

  close(): Promise<void> {
    return ended(this.link, 'receiver', () => this.link.close());
  }

  /** The link goes, its terminus stays. */
  detach(): Promise<void> {
    return ended(this.link, 'receiver', () => this.link.detach());
  }
}

async function ended(link: Sender | Receiver, side: 'sender' | 'receiver', end: () => void): Promise<void> {
  const closed = once(link, `${side}_close`);
  end();
  await closed;
}

/** The body as text, whether it came as data, text or bytes. */
export function bodyText({ body }: Message): string {
  const content = (body as { content?: unknown } | null)?.content ?? (body as unknown);
  return Buffer.isBuffer(content) ? content.toString() : String(content);
}

export function dataBody(text: string | Buffer): unknown {
  return rhea.message.data_section(Buffer.from(text as string));
}
