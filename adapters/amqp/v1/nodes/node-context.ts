import type { Broker } from '../../../../core/broker.ts';
import type { Action, Resource } from '../../../../core/ports/authorizer.ts';
import type { Logger } from '../../../../core/ports/logger.ts';
import type { StoredMessage } from '../../../../core/model/message.ts';
import type { AmqpError, AmqpMap } from '../codec/performatives.ts';
import type { Delivery } from '../../../../core/ports/message-engine.ts';
import { LinkError, type Link, type OutgoingLink } from '../node.ts';
import { InboundTranslator } from '../translate/inbound-translator.ts';
import { OutboundTranslator } from '../translate/outbound-translator.ts';
import { AddedAnnotations } from './added-annotations.ts';
import { amqpErrorOf } from './conditions.ts';
import { AzureManagement } from './azure-management.ts';
import { azureMessage, Locks, lockTokenOf } from './azure-messages.ts';
import { Destinations } from './destinations.ts';
import { HeldLeases } from './held-leases.ts';
import type { NodeOptions } from './node-options.ts';
import { Management } from './management.ts';
import { OwnerCounts } from './owner-counts.ts';
import { Publishing } from './publishing.ts';
import { Queues } from './queues.ts';
import { Requests } from './requests.ts';
import { Settling } from './settling.ts';
import { Subscriptions } from './subscriptions.ts';
import { TemporaryNodes } from './temporary-nodes.ts';
import { Transactions } from './transactions.ts';

/** What all nodes of all AMQP 1.0 connections share. */
export class NodeContext {
  readonly broker: Broker;
  readonly options: NodeOptions;
  readonly log: Logger;
  readonly inbound: InboundTranslator;
  readonly outbound: OutboundTranslator;
  readonly publishing: Publishing;
  readonly settling: Settling;
  readonly leases: HeldLeases;
  readonly queues: Queues;
  readonly destinations: Destinations;
  readonly subscriptions: Subscriptions;
  readonly temporary: TemporaryNodes;
  readonly transactions: Transactions;
  readonly requests: Requests;
  readonly management: Management;
  readonly azureManagement: AzureManagement;
  /** Of messages that Azure's clients have. */
  readonly locks = new Locks();
  /** Connections that do not want on some link what they send on another. */
  readonly noLocal = new OwnerCounts();
  /** What receivers want to be added to messages they gave back (AMQP 3.4.5). */
  readonly annotations = new AddedAnnotations();
  /** Links that read as a member of each group. */
  readonly consumers = new OwnerCounts();

  constructor(broker: Broker, options: NodeOptions, log: Logger) {
    this.broker = broker;
    this.options = options;
    this.log = log;
    this.inbound = new InboundTranslator();
    this.outbound = new OutboundTranslator(
      (message) => broker.view(message),
      (address) => broker.topicOf(address),
    );
    this.publishing = new Publishing(broker, log, () => this.inbound.recycle());
    this.settling = new Settling(broker, log);
    this.leases = new HeldLeases(broker);
    this.queues = new Queues(broker);
    this.temporary = new TemporaryNodes(broker, options);
    this.destinations = new Destinations(this);
    this.subscriptions = new Subscriptions(this);
    this.transactions = new Transactions(this);
    this.requests = new Requests(this);
    this.management = new Management(this);
    this.azureManagement = new AzureManagement(this);
  }

  /** What the peer is told of an error; a defect of ours goes to the log. */
  errorOf(error: unknown, what: string): AmqpError {
    const known = amqpErrorOf(error);
    if (known !== undefined) return known;
    this.log.error({ err: error }, what);
    return { condition: 'amqp:internal-error', description: 'internal error' };
  }

  /** @throws LinkError amqp:unauthorized-access */
  authorize({ peer }: Pick<Link, 'peer'>, action: Action, resource: Resource): void {
    if (this.broker.isAllowed(peer.principal, action, resource)) return;
    throw new LinkError('amqp:unauthorized-access', `${peer.principal.name} may not do that`);
  }

  /** @returns as `OutgoingLink.send` */
  send(
    link: OutgoingLink,
    kept: unknown,
    message: StoredMessage,
    attempt: number,
    nowMs: number,
    annotations?: AmqpMap,
  ): boolean {
    const { outbound } = this;
    outbound.translate(message, attempt, nowMs, annotations);
    const { head, headEnd, buffer, start, end, messageFormat } = outbound;
    return link.send(kept, head, headEnd, buffer, start, end, messageFormat);
  }

  /** The same for a client of Azure's. @param lockedUntil undefined for a message that is settled as it is sent */
  sendAzure(link: OutgoingLink, delivery: Delivery, nowMs: number, lockedUntil: number | undefined): boolean {
    const { message, attempt, receipt } = delivery;
    const annotations = this.annotations.of(delivery);
    const bytes = azureMessage(this.outbound, message, attempt, nowMs, lockedUntil, annotations);
    const token = lockedUntil === undefined ? lockTokenOf(receipt) : this.locks.add(receipt);
    return link.send(delivery, NO_HEAD, 0, bytes, 0, bytes.length, this.outbound.messageFormat, token);
  }

  consumersOf(group: string): number {
    return this.consumers.of(group);
  }
}

const NO_HEAD = Buffer.alloc(0);
