import type { Broker, Exchange, RoutedFields } from '../../../../core/broker.ts';
import { addressProblem } from '../../../../core/model/address.ts';
import { encodeTopicName } from '../../../../core/model/names.ts';
import { LinkError, type Link } from '../node.ts';
import type { AddedFields } from '../translate/inbound-translator.ts';
import { JMS_DESTINATIONS } from '../translate/message-form.ts';
import { invalid, parseAddress, quoted, type NodeAddress } from './address.ts';
import type { NodeContext } from './node-context.ts';
import { isTemporaryName, type TemporaryNode } from './temporary-nodes.ts';

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
  /** By what JMS says that the address is, and the address. */
  private readonly known = new Map<string | undefined, Map<string, Destination>>();

  constructor(context: NodeContext) {
    this.context = context;
  }

  /**
   * Of an address that was resolved before.
   * @param kind a capability that says what a bare name is
   * @throws LinkError when this client may not send there
   */
  peek(link: Pick<Link, 'peer'>, address: string, kind: string | undefined): Destination | undefined {
    const ofKind = this.known.get(kind);
    const known = ofKind?.get(address);
    if (known === undefined) return undefined;
    if (known.kind === 'temporary') {
      if (this.context.temporary.get(known.node.name) !== undefined) return known;
      ofKind!.delete(address);
      return undefined;
    }
    const isTopic = known.kind === 'topic';
    this.authorize(
      link,
      isTopic ? known.topic : encodeTopicName(known.exchange.name),
      isTopic ? known.address : known.key,
    );
    return known;
  }

  /** What addresses mean has changed. */
  forget(): void {
    this.known.clear();
  }

  /**
   * @param capabilities of the terminus
   * @throws LinkError, BrokerError for what cannot be sent to
   */
  async resolve(link: Pick<Link, 'peer'>, address: string, capabilities: readonly string[]): Promise<Destination> {
    const node = parseAddress(address, capabilities, this.context.options.bareAddress);
    const destination = await this.of(link, node, address);
    const [kind] = capabilities;
    if (capabilities.length === 0 || (capabilities.length === 1 && JMS_DESTINATIONS.includes(kind!))) {
      let ofKind = this.known.get(kind);
      if (ofKind === undefined || ofKind.size >= KNOWN_MAX) this.known.set(kind, (ofKind = new Map()));
      ofKind.set(address, destination);
    }
    return destination;
  }

  private async of(link: Pick<Link, 'peer'>, node: NodeAddress, text: string): Promise<Destination> {
    const { broker, queues, temporary } = this.context;
    switch (node.kind) {
      case 'queue': {
        const made = temporary.get(node.queue);
        if (made !== undefined) return { kind: 'temporary', node: made };
        if (isTemporaryName(node.queue)) throw new LinkError('amqp:not-found', `${quoted(text)} is gone`);
        this.authorize(link, encodeTopicName(node.queue), undefined);
        const { topic } = await queues.use(node.queue);
        return topicDestination(broker, topic);
      }
      case 'topic':
        return this.topic(link, node.topic, node.address);
      case 'group':
        return this.topic(link, node.topic, undefined);
      case 'exchange':
        return this.exchange(link, node.exchange, node.key);
      case 'address': {
        check(node.address);
        const routed = broker.routeOf(node.address);
        this.authorize(link, routed.topic, node.address);
        await queues.useTopic(routed.topic);
        return topicDestination(broker, routed.topic, node.address, routed);
      }
      default:
        throw new LinkError('amqp:not-allowed', `messages cannot be sent to ${quoted(text)}`);
    }
  }

  private async topic(link: Pick<Link, 'peer'>, name: string, address: string | undefined): Promise<Destination> {
    if (address !== undefined && address !== '') check(address);
    const topic = encodeTopicName(name);
    this.authorize(link, topic, address);
    await this.context.queues.useTopic(topic);
    return topicDestination(this.context.broker, topic, address === '' ? undefined : address);
  }

  /** A name that nobody declared is that of a topic, and its routing key the address. */
  private async exchange(link: Pick<Link, 'peer'>, name: string, key: string | undefined): Promise<Destination> {
    const exchange = this.context.broker.exchanges.get(name);
    if (exchange === undefined) return this.topic(link, name, key);
    this.authorize(link, encodeTopicName(name), key);
    return { kind: 'exchange', exchange, key };
  }

  private authorize(link: Pick<Link, 'peer'>, topic: string, address: string | undefined): void {
    this.context.authorize(link, 'PUB', { kind: 'topic', topic, address });
  }
}

/** @throws LinkError where nobody may publish under the address */
function check(address: string): void {
  const problem = addressProblem(address);
  if (problem !== undefined) throw invalid(address, problem);
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
