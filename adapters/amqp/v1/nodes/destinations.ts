import type { Broker, Exchange, RoutedFields } from '../../../../core/broker.ts';
import { encodeTopicName } from '../../../../core/model/names.ts';
import { LinkError } from '../node.ts';
import type { AddedFields } from '../translate/inbound-translator.ts';
import { parseAddress, type NodeAddress } from './address.ts';
import type { NodeContext } from './node-context.ts';
import type { TemporaryNode } from './temporary-nodes.ts';

/** Where messages go. */
export type Destination =
  | {
      readonly kind: 'topic';
      readonly topic: string;
      readonly address: string;
      /** The same as bytes. */
      readonly addressBytes: Buffer;
      /** It is that of a message that says nothing of it; the fields of others make one up. */
      readonly isDerived: boolean;
      /** What the route of the address says of its messages. */
      readonly added: AddedFields | undefined;
    }
  /** As its bindings say, which may change at any time. */
  | { readonly kind: 'exchange'; readonly exchange: Exchange; readonly key: string | undefined }
  | { readonly kind: 'temporary'; readonly node: TemporaryNode };

/** Addresses that messages name themselves and that are kept ready; beyond that all are looked up anew. */
const KNOWN_MAX = 10_000;

/** What targets lead to. */
export class Destinations {
  private readonly context: NodeContext;
  private readonly known = new Map<string, Destination>();

  constructor(context: NodeContext) {
    this.context = context;
  }

  /** Of an address that was resolved before. */
  peek(address: string): Destination | undefined {
    const known = this.known.get(address);
    if (known?.kind !== 'temporary' || this.context.temporary.get(known.node.name) !== undefined) return known;
    this.known.delete(address);
    return undefined;
  }

  /** What addresses mean has changed. */
  forget(): void {
    this.known.clear();
  }

  /**
   * @param capabilities of the terminus
   * @throws LinkError, BrokerError for what cannot be sent to
   */
  async resolve(address: string, capabilities: readonly string[]): Promise<Destination> {
    const node = parseAddress(address, capabilities, this.context.options.bareAddress);
    const destination = await this.of(node, address);
    if (capabilities.length === 0) {
      if (this.known.size >= KNOWN_MAX) this.known.clear();
      this.known.set(address, destination);
    }
    return destination;
  }

  private async of(node: NodeAddress, text: string): Promise<Destination> {
    const { broker, queues, temporary } = this.context;
    switch (node.kind) {
      case 'queue': {
        const made = temporary.get(node.queue);
        if (made !== undefined) return { kind: 'temporary', node: made };
        const { topic } = await queues.use(node.queue);
        return topicDestination(broker, topic);
      }
      case 'topic':
        return this.topic(node.topic, node.address);
      case 'group':
        return this.topic(node.topic, undefined);
      case 'exchange':
        return this.exchange(node.exchange, node.key);
      case 'address': {
        const routed = broker.routeOf(node.address);
        await queues.useTopic(routed.topic);
        return topicDestination(broker, routed.topic, node.address, routed);
      }
      default:
        throw new LinkError('amqp:not-allowed', `messages cannot be sent to ${JSON.stringify(text)}`);
    }
  }

  private async topic(name: string, address: string | undefined): Promise<Destination> {
    const topic = encodeTopicName(name);
    await this.context.queues.useTopic(topic);
    return topicDestination(this.context.broker, topic, address === '' ? undefined : address);
  }

  /** A name that nobody declared is that of a topic, and its routing key the address. */
  private async exchange(name: string, key: string | undefined): Promise<Destination> {
    const exchange = this.context.broker.exchanges.get(name);
    return exchange === undefined ? this.topic(name, key) : { kind: 'exchange', exchange, key };
  }
}

/** @param given the address, where it says one */
function topicDestination(
  broker: Broker,
  topic: string,
  given?: string,
  routed?: RoutedFields,
): Destination & { kind: 'topic' } {
  const address = given ?? broker.addressOf({ topic, keys: [] });
  const addressBytes = Buffer.from(address, 'utf8');
  const added = routed && { routed };
  return { kind: 'topic', topic, address, addressBytes, isDerived: given === undefined, added };
}
