import { randomBytes } from 'node:crypto';
import type { Broker } from '../../../../core/broker.ts';
import type { Logger } from '../../../../core/ports/logger.ts';
import type { AmqpError } from '../codec/performatives.ts';
import { InboundTranslator, OutboundTranslator } from '../translate.ts';
import { amqpErrorOf } from './conditions.ts';
import { Destinations } from './destinations.ts';
import type { NodeOptions } from './node-options.ts';
import { Publishing } from './publishing.ts';
import { Queues } from './queues.ts';
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
  readonly queues: Queues;
  readonly destinations: Destinations;
  readonly subscriptions: Subscriptions;
  readonly temporary: TemporaryNodes;
  readonly transactions: Transactions;

  constructor(broker: Broker, options: NodeOptions, log: Logger) {
    this.broker = broker;
    this.options = options;
    this.log = log;
    this.inbound = new InboundTranslator(broker);
    this.outbound = new OutboundTranslator(broker);
    this.publishing = new Publishing(broker, log);
    this.settling = new Settling(broker, log);
    this.queues = new Queues(broker);
    this.temporary = new TemporaryNodes(broker, options);
    this.destinations = new Destinations(this);
    this.subscriptions = new Subscriptions(this);
    this.transactions = new Transactions(this);
  }

  /** What the peer is told of an error; a defect of ours goes to the log. */
  errorOf(error: unknown, what: string): AmqpError {
    const known = amqpErrorOf(error);
    if (known !== undefined) return known;
    this.log.error({ err: error }, what);
    return { condition: 'amqp:internal-error', description: 'internal error' };
  }

  /** Azure's clients take the delivery tag for the token of a lock, a UUID. */
  lockToken(): Buffer {
    return randomBytes(16);
  }
}
