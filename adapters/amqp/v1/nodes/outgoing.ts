import type { Exchange } from '../../../../core/broker.ts';
import { addressProblem } from '../../../../core/model/address.ts';
import { Message } from '../../../../core/model/message.ts';
import { encodeTopicName } from '../../../../core/model/names.ts';
import { OutgoingMessage } from '../../../../core/ports/message-engine.ts';
import type { Peer } from '../node.ts';
import type { AddedFields } from '../translate/inbound-translator.ts';
import type { Destination } from './destinations.ts';
import type { NodeContext } from './node-context.ts';

/**
 * The message in [start, end) of `buffer` as the core takes it. Its bytes may be used again when everything published is stored:
 * who keeps it longer copies it.
 * @throws CodecError, BrokerError
 */
export function outgoingFor(
  context: NodeContext,
  destination: Destination,
  messageFormat: number,
  buffer: Buffer,
  start: number,
  end: number,
  peer: Peer,
): OutgoingMessage {
  const { inbound, broker, noLocal, subscriptions } = context;
  inbound.scan(buffer, start, end, messageFormat);
  // Few connections are in them, mostly none.
  const isOwn = noLocal.has(peer.owner) || subscriptions.noLocalContainers.has(peer.containerId);
  const own: AddedFields | undefined = isOwn ? { publisher: peer.containerId } : undefined;
  const nowMs = broker.clock.now();
  if (destination.kind === 'topic' && !(destination.isDerived && inbound.hasAddressFields)) {
    const { topic, address, addressBytes, isDerived, added } = destination;
    const fields = own === undefined ? added : { ...added, ...own };
    return new OutgoingMessage(topic, address, inbound.message(addressBytes, isDerived, nowMs, fields));
  }
  const topic = topicOf(destination);
  const address = derivedAddress(context, topic);
  return new OutgoingMessage(topic, address, inbound.message(Buffer.from(address, 'utf8'), true, nowMs, own));
}

/** One for each queue that the exchange sends it to, and for the topic of its name where there is one. */
export function copiesFor(
  { broker }: NodeContext,
  exchange: Exchange,
  key: string | undefined,
  { message, address }: OutgoingMessage,
): OutgoingMessage[] {
  const properties = new Map<string, string>();
  for (const [name, value] of exchange.type === 'headers' ? broker.view(message).properties : []) {
    if (!properties.has(name)) properties.set(name, value);
  }
  const queues = broker.exchanges.route(exchange, key ?? message.tag ?? '', (name) => properties.get(name));
  const copy = copyOf(message);
  const copies = queues.map((queue) => new OutgoingMessage(encodeTopicName(queue), address, copy));
  const own = encodeTopicName(exchange.name);
  if (broker.topics.get(own) !== undefined) copies.push(new OutgoingMessage(own, address, copy));
  return copies;
}

/** A message with bytes of its own. */
export function copyOf({ buffer, start, end }: Message): Message {
  const bytes = Buffer.from(buffer.subarray(start, end));
  return new Message(bytes, 0, bytes.length);
}

function topicOf(destination: Destination): string {
  switch (destination.kind) {
    case 'topic':
      return destination.topic;
    case 'exchange':
      return encodeTopicName(destination.exchange.name);
    case 'temporary':
      return destination.node.name;
  }
}

function derivedAddress({ broker, inbound }: NodeContext, topic: string): string {
  const { subject, groupId } = inbound;
  const address = broker.addressOf({ topic, messageGroup: groupId, keys: [], tag: subject });
  if (subject === undefined && groupId === undefined) return address;
  // A subject is any text, and not every text can be part of an address.
  return addressProblem(address) === undefined ? address : broker.addressOf({ topic, keys: [] });
}
