import type { Test } from 'tap';
import type { Attach, Source } from '../../adapters/amqp/v1/codec/performatives.ts';
import { NodeContext } from '../../adapters/amqp/v1/nodes/node-context.ts';
import type { NodeOptions } from '../../adapters/amqp/v1/nodes/node-options.ts';
import { BrokerNodes } from '../../adapters/amqp/v1/nodes/nodes.ts';
import { RawAmqpClient, sourceOf, targetOf, type ReceivedTransfer } from './amqp-client.ts';
import { bytesOf, mapOf, propertiesOf, readMessage, str, sym, type PropertyValues } from './amqp-messages.ts';
import { startAmqpServer, type AmqpServer, type AmqpServerSettings } from './amqp-server.ts';
import { SILENT } from './silent-logger.ts';
import type { AmqpValue } from '../../adapters/amqp/v1/codec/values.ts';

const OPTIONS: NodeOptions = {
  bareAddress: 'queue',
  messageBytesMax: 4 * 1024 * 1024,
  linkCredit: 100,
  transactionTimeoutMs: 60_000,
  transactionBytesMax: 1024 * 1024,
  transactionsPerLinkMax: 3,
  temporaryQueuesMax: 3,
  temporary: { messagesMax: 2, bytesMax: 10_000 },
};

interface Settings extends AmqpServerSettings {
  readonly nodes?: Partial<NodeOptions>;
}

export interface NodeServer extends AmqpServer {
  readonly context: NodeContext;
  /** With a session on channel 0; gone with the test. */
  readonly client: (containerId?: string) => Promise<NodeClient>;
}

/** The AMQP engine with the real nodes behind it, until the test ends. */
export async function startNodeServer(t: Test, { nodes, ...settings }: Settings = {}): Promise<NodeServer> {
  let context: NodeContext | undefined;
  const server = await startAmqpServer((broker) => {
    context = new NodeContext(broker, { ...OPTIONS, ...nodes }, settings.log ?? SILENT);
    return new BrokerNodes(context);
  }, settings);
  let isClosed = false;
  const close = async (): Promise<void> => {
    if (!isClosed) await server.close();
    isClosed = true;
  };
  t.teardown(close);
  return {
    ...server,
    close,
    context: context!,
    async client(containerId = 'client') {
      const client = await RawAmqpClient.opened(server.port, { containerId });
      t.teardown(() => client.destroy());
      return new NodeClient(client);
    },
  };
}

/** A message with one text and what stands around it. */
export function messageOf(
  text: string,
  properties: PropertyValues = {},
  annotations: Readonly<Record<string, AmqpValue>> = {},
  applicationProperties: Readonly<Record<string, AmqpValue>> = {},
): Buffer {
  return bytesOf([
    ['messageAnnotations', mapOf(annotations, sym)],
    propertiesOf(properties),
    ['applicationProperties', mapOf(applicationProperties)],
    ['amqpValue', str(text)],
  ]);
}

/** The text in it. */
export function textOf({ payload }: ReceivedTransfer): string {
  const [, value] = readMessage(payload).body[0]!;
  if (value.type === 'string') return value.value;
  return value.type === 'binary' ? value.value.toString('utf8') : '';
}

/** A raw client whose links are told apart by number: handle and name. */
export class NodeClient {
  readonly raw: RawAmqpClient;
  private deliveryId = 0;

  constructor(raw: RawAmqpClient) {
    this.raw = raw;
  }

  async sender(handle: number, address: string | undefined, capabilities: string[] = []): Promise<void> {
    const target = targetOf(address, { capabilities });
    const answer = await this.raw.attach({ role: 'sender', handle, name: `s${handle}`, target });
    if (answer.target === undefined) throw await this.refusal(handle);
    await this.raw.next('flow', (flow) => flow.handle === answer.handle);
  }

  /** @returns the source as it was granted */
  async receiver(
    handle: number,
    address: string | undefined,
    credit = 0,
    fields: Partial<Source> = {},
    attach: Partial<Attach> = {},
  ): Promise<Source> {
    const source = sourceOf(address, fields);
    const answer = await this.raw.attach({ role: 'receiver', handle, name: `r${handle}`, source, ...attach });
    if (answer.source === undefined) throw await this.refusal(handle);
    if (credit > 0) this.credit(handle, credit);
    return answer.source;
  }

  /** On a link that has received `before` messages. */
  credit(handle: number, linkCredit: number, before = 0, drain = false): void {
    this.raw.flow({ handle, deliveryCount: before, linkCredit, drain });
  }

  /** @returns the condition of the detach behind an attach that was not granted */
  async refused(attach: Partial<Attach> & Pick<Attach, 'role'>): Promise<string | undefined> {
    await this.raw.attach(attach);
    return (await this.refusal(attach.handle ?? 0)).message;
  }

  /** Sends a message and waits for what comes of it: the kind of outcome, or the condition of a rejection. */
  async send(handle: number, message: Buffer | string, state?: Parameters<RawAmqpClient['transfer']>[0]['state']) {
    const deliveryId = this.deliveryId++;
    this.raw.transfer({ handle, deliveryId, state }, typeof message === 'string' ? messageOf(message) : message);
    const disposition = await this.raw.next('disposition', (one) => one.role === 'receiver' && covers(one, deliveryId));
    const { state: outcome } = disposition;
    return outcome?.kind === 'rejected' ? outcome.error?.condition : outcome?.kind;
  }

  /** How many messages wait, as the gateway says to who asks, on a link that has received `before` messages. */
  async available(handle: number, before = 0): Promise<number | undefined> {
    this.raw.flow({ handle, deliveryCount: before, linkCredit: 0, echo: true });
    return (await this.raw.next('flow', (flow) => flow.handle !== undefined)).available;
  }

  nextId(): number {
    return this.deliveryId++;
  }

  transfer(): Promise<ReceivedTransfer> {
    return this.raw.next('transfer');
  }

  /** The texts of the next messages. */
  async texts(count: number): Promise<string[]> {
    return (await this.raw.many('transfer', count)).map(textOf);
  }

  async detach(handle: number, closed = true): Promise<void> {
    await this.raw.detach({ handle, closed });
  }

  private async refusal(handle: number): Promise<Error> {
    const { error } = await this.raw.next('detach');
    this.raw.send({ kind: 'detach', handle, closed: true });
    return new Error(error?.condition ?? 'no error');
  }
}

function covers({ first, last = first }: { first: number; last?: number | undefined }, id: number): boolean {
  return first <= id && id <= last;
}
