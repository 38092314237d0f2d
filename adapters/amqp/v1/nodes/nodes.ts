import { compileFilter, MATCH_ALL, type FilterExpression } from '../../../../core/model/filter.ts';
import { encodeTopicName } from '../../../../core/model/names.ts';
import type { Attach, Source, Target } from '../codec/performatives.ts';
import { LinkError, type IncomingLink, type Nodes, type OutgoingLink } from '../node.ts';
import type { SourceNode, TargetNode } from '../node.ts';
import { parseAddress, quoted, type NodeAddress } from './address.ts';
import { BrowseSource } from './browse-source.ts';
import { putToken } from './cbs.ts';
import { CoordinatorTarget } from './coordinator.ts';
import { readFilters, withoutTopicFilters, type SourceFilters } from './filters.ts';
import { LeasedSource, type Reading } from './leased-source.ts';
import type { NodeContext } from './node-context.ts';
import { notImplemented } from './request-message.ts';
import type { RequestHandler } from './requests.ts';
import { StoreTarget } from './store-target.ts';
import { isTemporaryName, temporaryAddress } from './temporary-nodes.ts';
import { TemporarySource } from './temporary-source.ts';

const OUTCOMES = ['amqp:accepted:list', 'amqp:rejected:list', 'amqp:released:list', 'amqp:modified:list'];
/** Azure's receivers say it in the attach. */
const AZURE_RECEIVER = 'com.microsoft:receiver-name';

/** What the addresses of the gateway lead to. */
export class BrokerNodes implements Nodes {
  private readonly context: NodeContext;

  constructor(context: NodeContext) {
    this.context = context;
  }

  async openTarget(attach: Attach, link: IncomingLink): Promise<TargetNode> {
    const { target } = attach;
    if (target === undefined) throw new LinkError('amqp:invalid-field', 'there is no target');
    try {
      if (target.kind === 'coordinator') return new CoordinatorTarget(this.context, link);
      if (target.dynamic) return this.temporaryTarget(target, link);
      return await this.storeTarget(target, attach, link);
    } catch (error) {
      throw this.refusal(error);
    }
  }

  async openSource(attach: Attach, link: OutgoingLink): Promise<SourceNode> {
    const { source } = attach;
    try {
      if (source === undefined) return this.lookUp(attach, link);
      if (source.dynamic) return this.temporarySource(source, link);
      return await this.namedSource(source, attach, link);
    } catch (error) {
      throw this.refusal(error);
    }
  }

  start(): void {
    this.context.subscriptions.start();
  }

  stop(): void {
    this.context.subscriptions.stop();
  }

  whenSettled(done: () => void): void {
    this.context.settling.whenSettled(done);
  }

  private async storeTarget(target: Target, attach: Attach, link: IncomingLink): Promise<TargetNode> {
    const { context } = this;
    const { address, capabilities } = target;
    if (address === undefined) return new StoreTarget(context, link, target, undefined);
    const node = parseAddress(address, capabilities, context.options.bareAddress);
    if (node.kind === 'cbs' || node.kind === 'management')
      return context.requests.target(target, attach, link, this.handlerOf(node));
    const destination = await context.destinations.resolve(link, address, capabilities);
    return new StoreTarget(context, link, target, destination);
  }

  /** A temporary queue that lives as long as the link that made it, whichever way that goes (AMQP 3.5.10). */
  private temporaryTarget(target: Target, link: IncomingLink): TargetNode {
    const { temporary } = this.context;
    const node = temporary.create(target.capabilities);
    const made = { ...target, address: temporaryAddress(node) };
    return new StoreTarget(this.context, link, made, { kind: 'temporary', node }, () => temporary.delete(node));
  }

  private temporarySource(source: Source, link: OutgoingLink): SourceNode {
    const { temporary } = this.context;
    const node = temporary.create(source.capabilities);
    const made = { ...granted(source, undefined), address: temporaryAddress(node) };
    return new TemporarySource(this.context, link, made, node.read().queue, () => temporary.delete(node));
  }

  private async namedSource(source: Source, attach: Attach, link: OutgoingLink): Promise<SourceNode> {
    const { context } = this;
    const { address, capabilities } = source;
    if (address === undefined) throw new LinkError('amqp:invalid-field', 'the source has no address');
    const node = parseAddress(address, capabilities, context.options.bareAddress);
    const filters = readFilters(source);
    switch (node.kind) {
      case 'cbs':
      case 'management':
        return context.requests.source(source, attach, link);
      case 'queue': {
        const temporary = context.temporary.get(node.queue);
        if (temporary !== undefined) {
          const { owner = link.peer.owner } = temporary;
          if (owner !== link.peer.owner) {
            throw new LinkError('amqp:resource-locked', `the queue ${node.queue} is exclusive to another connection`);
          }
          const made = temporary.read();
          return new TemporarySource(context, link, granted(source, undefined), made.queue, made.leave);
        }
        if (isTemporaryName(node.queue)) throw new LinkError('amqp:not-found', `${node.queue} is gone`);
        break;
      }
      case 'group':
      case 'deadLetter':
        break;
      default:
        return this.subscription(node, source, filters, link);
    }
    const names = context.queues.namesOf(node)!;
    this.authorizeGroup(link, names.topic, names.group);
    await context.queues.useReadable(node);
    return this.groupSource(names, source, filters, attach, link);
  }

  private async groupSource(
    names: { readonly topic: string; readonly group: string },
    source: Source,
    filters: SourceFilters,
    attach: Attach,
    link: OutgoingLink,
  ): Promise<SourceNode> {
    const { topic, group } = names;
    const answer = granted(source, withoutTopicFilters(filters));
    const { selector } = filters;
    if (source.distributionMode === 'copy') return BrowseSource.open(this.context, link, answer, names, selector);
    const azure = attach.properties.has(AZURE_RECEIVER);
    const reading: Reading = { group, from: { kind: 'topic', topic }, filter: MATCH_ALL, selector, azure };
    return new LeasedSource(this.context, link, answer, reading);
  }

  /** Everybody who attaches gets everything: a group of its own. */
  private async subscription(
    node: Exclude<NodeAddress, { kind: 'queue' | 'group' | 'deadLetter' | 'cbs' | 'management' }>,
    source: Source,
    filters: SourceFilters,
    link: OutgoingLink,
  ): Promise<SourceNode> {
    const { context } = this;
    const { topic, address } = this.topicOf(node);
    context.authorize(link, 'SUB', { kind: 'topic', topic, address });
    const filter = filterOf(address, filters);
    compileFilter(filter);
    await context.queues.useTopic(topic);
    const { noLocal, binding } = filters;
    const terms = { topic, address, selector: filters.selector?.expression, noLocal, binding };
    const { group, leave } = await context.subscriptions.join(link, source, terms);
    const unmark = filters.noLocal ? context.noLocal.add(link.peer.owner) : undefined;
    const reading: Reading = {
      group,
      from: { kind: 'topic', topic },
      filter,
      noLocal: filters.noLocal,
      onDetached: (closed) => {
        unmark?.[Symbol.dispose]();
        leave(closed);
      },
    };
    return new LeasedSource(context, link, granted(source, filters), reading);
  }

  private authorizeGroup(link: OutgoingLink, topic: string, group: string): void {
    this.context.authorize(link, 'SUB', { kind: 'topic', topic, address: undefined });
    this.context.authorize(link, 'SUB', { kind: 'group', group });
  }

  private topicOf(node: Exclude<NodeAddress, { kind: 'queue' | 'group' | 'deadLetter' | 'cbs' | 'management' }>) {
    switch (node.kind) {
      case 'topic':
        return { topic: encodeTopicName(node.topic), address: node.address };
      case 'exchange':
        return { topic: encodeTopicName(node.exchange), address: node.key };
      case 'address': {
        const topic = this.context.broker.topicOfFilter(node.address);
        if (topic !== undefined) return { topic, address: node.address };
        throw new LinkError(
          'amqp:not-implemented',
          `what ${quoted(node.address)} matches may be in several topics: name one`,
        );
      }
    }
  }

  /** JMS looks a durable subscription up by its name alone, and ends it by closing that link. */
  private lookUp(attach: Attach, link: OutgoingLink): SourceNode {
    const { subscriptions } = this.context;
    const source = subscriptions.lookUp(attach, link);
    if (source === undefined) throw new LinkError('amqp:not-found', `there is no subscription ${quoted(attach.name)}`);
    if (subscriptions.isActive(attach, link)) {
      throw new LinkError('amqp:resource-locked', `the subscription ${quoted(attach.name)} is in use`);
    }
    return {
      source,
      pull: () => link.drained(),
      available: () => 0,
      outcome: () => undefined,
      detached: (closed) => {
        if (closed) subscriptions.unsubscribe(attach, link);
      },
    };
  }

  private handlerOf(node: NodeAddress): RequestHandler {
    if (node.kind === 'cbs') return putToken;
    if (node.kind !== 'management') return notImplemented;
    if (node.of === '') return (request, link) => this.context.management.handle(request, link);
    return (request, link) => this.context.azureManagement.handle(node.of, request, link.peer);
  }

  private refusal(error: unknown): LinkError {
    const { condition, description, info } = this.context.errorOf(error, 'a link could not be attached');
    return new LinkError(condition, description ?? '', info);
  }
}

function filterOf(address: string | undefined, { selector = MATCH_ALL, binding }: SourceFilters): FilterExpression {
  return { ...selector, address, binding };
}

/** The source as we answer it: with what is honoured of what the client asked for. */
function granted(source: Source, filters: SourceFilters | undefined): Source {
  return {
    ...source,
    filters: filters?.accepted ?? new Map(),
    outcomes: source.outcomes.length === 0 ? OUTCOMES : source.outcomes.filter((outcome) => OUTCOMES.includes(outcome)),
  };
}
