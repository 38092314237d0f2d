import { BrokerError } from '../../../../core/model/broker-error.ts';
import { encodeTopicName } from '../../../../core/model/names.ts';
import { QUEUE_RETENTION, type TopicSpec } from '../../../../core/model/topic.ts';
import {
  booleanOf,
  booleanValue,
  longValue,
  NULL_VALUE,
  stringMapValue,
  stringValue,
  textOf,
  uintValue,
  ulongValue,
} from '../codec/plain-values.ts';
import type { AmqpMap } from '../codec/performatives.ts';
import type { AmqpValue } from '../codec/values.ts';
import { EXCHANGE_TYPES, type ExchangeBinding, type ExchangeType } from '../../../../core/broker.ts';
import { LinkError, type IncomingLink } from '../node.ts';
import type { NodeContext } from './node-context.ts';
import type { Request, Response } from './request-message.ts';
import {
  ArgumentError,
  DELIVERY_LIMIT,
  MAX_PRIORITY,
  readQueueArguments,
  type QueueArguments,
} from './queue-arguments.ts';
import { GROUP_RULES } from './queues.ts';
import type { TemporaryNode } from './temporary-nodes.ts';

/** What a request comes to; like a response of HTTP. */
interface Answer {
  readonly status: number;
  readonly body: AmqpValue;
}

/** What is asked for: the segments of the path behind the first, decoded. */
interface Call {
  readonly names: readonly string[];
  readonly body: AmqpMap;
  readonly query: URLSearchParams;
  readonly link: IncomingLink;
}

type Handler = (call: Call) => Promise<Answer>;

class RequestError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** These are there without being declared. `amq.topic` is the name space of MQTT. */
const AMQ_TOPIC = 'amq.topic';
/** It is there, and not in the table of exchanges: messages to it are published under their key, as any other. */
const MQTT_NAMES = { type: 'topic' } as const;

/**
 * The part of RabbitMQ's management over AMQP 1.0 (`/management`, HTTP in messages) that its clients use: queues, exchanges and the
 * bindings between them.
 */
export class Management {
  private readonly context: NodeContext;
  private readonly handlers: ReadonlyMap<string, Handler>;

  constructor(context: NodeContext) {
    this.context = context;
    this.handlers = new Map<string, Handler>([
      ['PUT /queues/*', ({ names, body, link }) => this.declareQueue(named(names[0]), body, link)],
      ['GET /queues/*', ({ names }) => this.getQueue(named(names[0]))],
      ['DELETE /queues/*', ({ names }) => this.deleteQueue(named(names[0]))],
      ['DELETE /queues/*/messages', ({ names }) => this.purgeQueue(named(names[0]))],
      ['PUT /exchanges/*', ({ names, body }) => this.declareExchange(named(names[0]), body)],
      ['DELETE /exchanges/*', ({ names }) => this.deleteExchange(named(names[0]))],
      ['POST /bindings', ({ body }) => this.bind(body)],
      ['GET /bindings', ({ query }) => this.getBindings(query)],
      ['DELETE /bindings/*', ({ names }) => this.unbind(names[0]!)],
    ]);
  }

  async handle({ subject = '', to = '', body }: Request, link: IncomingLink): Promise<Response> {
    const answer = await this.answer(subject, to, body, link);
    return {
      subject: String(answer.status),
      properties: new Map([['http:response', stringValue('1.1')]]),
      body: answer.body,
    };
  }

  private async answer(method: string, to: string, body: AmqpValue, link: IncomingLink): Promise<Answer> {
    try {
      const [path = '', query = ''] = to.split('?', 2);
      const [, head = '', ...segments] = path.split('/');
      const pattern = segments.map((segment, i) => (i === 0 ? '*' : segment));
      const handler = this.handlers.get(`${method} ${['', head, ...pattern].join('/')}`);
      if (handler === undefined) throw new RequestError(404, `${method} ${to} is not understood`);
      // Those of a binding are decoded one by one.
      const names = head === 'bindings' ? segments : segments.map(decoded);
      return await handler({ names, body: fieldsOf(body), query: new URLSearchParams(query), link });
    } catch (error) {
      return { status: statusOf(error), body: stringValue(this.textOfFailure(error)) };
    }
  }

  /** Nobody waits for the outcome of a settled request: a failure of ours is told like any other. */
  private textOfFailure(error: unknown): string {
    if (error instanceof RequestError) return error.message;
    return this.context.errorOf(error, 'a request of management failed').description ?? '';
  }

  private async declareQueue(queue: string, body: AmqpMap, link: IncomingLink): Promise<Answer> {
    checkFields(body, ['durable', 'exclusive', 'auto_delete']);
    checkReserved(queue);
    const { deliveryLimit, maxPriority } = queueArgumentsOf(body);
    if (booleanOf(body.get('exclusive')) === true) return this.declareExclusive(queue, link);
    if (booleanOf(body.get('auto_delete')) === true) {
      throw new RequestError(400, 'a queue goes with its clients only where it is exclusive');
    }
    if (this.context.temporary.get(queue) !== undefined) throw new RequestError(409, `queue ${queue} is exclusive`);
    const isNew = !this.isQueue(queue);
    const name = encodeTopicName(queue);
    this.checkArguments(name, deliveryLimit, maxPriority);
    await this.useArguments(name, deliveryLimit, maxPriority);
    await this.context.queues.use(queue);
    return { status: isNew ? 201 : 200, body: await this.queueMap(queue) };
  }

  /** @throws RequestError for a queue that is there and has others */
  private checkArguments(name: string, deliveryLimit: number | undefined, maxPriority: number | undefined): void {
    const { groups, topics } = this.context.broker;
    const attemptsMax = groups.get(name)?.retry.attemptsMax;
    if (deliveryLimit !== undefined && attemptsMax !== undefined && attemptsMax !== deliveryLimit + 1) {
      throw new RequestError(409, `the queue has ${DELIVERY_LIMIT} ${attemptsMax - 1}`);
    }
    const topic = topics.get(name);
    if (maxPriority === undefined || topic === undefined || maxPriorityOf(topic) === maxPriority) return;
    throw new RequestError(409, `the queue has ${MAX_PRIORITY} ${maxPriorityOf(topic) ?? 'of its own'}`);
  }

  /** Makes what the arguments are of: the group, which gives up, and the topic, which has the levels. */
  private async useArguments(name: string, deliveryLimit: number | undefined, maxPriority: number | undefined) {
    const { groups, topics, options } = this.context.broker;
    if (maxPriority !== undefined && topics.get(name) === undefined) {
      if (!options.topics.autoCreate) await topics.use(name);
      await topics.put({ name, queues: maxPriority + 1, priorityFrom: 0, retention: QUEUE_RETENTION });
    }
    if (deliveryLimit !== undefined && groups.get(name) === undefined) {
      await groups.put({ ...GROUP_RULES, name, retry: { ...GROUP_RULES.retry, attemptsMax: deliveryLimit + 1 } });
    }
  }

  /** In memory, and gone with the connection; where RabbitMQ's clients get their replies. */
  private declareExclusive(queue: string, { peer, session }: IncomingLink): Answer {
    const { temporary, destinations } = this.context;
    const known = temporary.get(queue);
    if (known !== undefined) {
      if (known.owner === peer.owner) return { status: 200, body: exclusiveMap(known) };
      throw new RequestError(409, `queue ${queue} is exclusive to another connection`);
    }
    if (this.isQueue(queue)) throw new RequestError(409, `queue ${queue} is not exclusive`);
    const node = temporary.create([], { name: queue, owner: peer.owner });
    // It may have been sent to before.
    destinations.forget();
    session.onConnectionEnd(() => temporary.delete(node));
    return { status: 201, body: exclusiveMap(node) };
  }

  private async getQueue(queue: string): Promise<Answer> {
    const exclusive = this.context.temporary.get(queue);
    if (exclusive?.owner !== undefined) return { status: 200, body: exclusiveMap(exclusive) };
    if (!this.isQueue(queue)) throw new RequestError(404, `no queue ${queue}`);
    return { status: 200, body: await this.queueMap(queue) };
  }

  private async purgeQueue(queue: string): Promise<Answer> {
    if (!this.isQueue(queue)) throw new RequestError(404, `no queue ${queue}`);
    const name = encodeTopicName(queue);
    return countOf(await this.context.broker.groups.purge(name, { kind: 'topic', topic: name }));
  }

  /** One that is not there is gone as well. */
  private async deleteQueue(queue: string): Promise<Answer> {
    if (this.context.temporary.get(queue) !== undefined) {
      throw new RequestError(400, 'an exclusive queue goes with its connection');
    }
    if (!this.isQueue(queue)) return countOf(0);
    const { broker, destinations } = this.context;
    const name = encodeTopicName(queue);
    const count = await this.messageCount(queue);
    await broker.exchanges.unbindQueue(queue);
    await broker.groups.delete(name);
    await broker.topics.delete(name);
    destinations.forget();
    return countOf(count);
  }

  private async declareExchange(name: string, body: AmqpMap): Promise<Answer> {
    checkFields(body, ['durable', 'auto_delete', 'internal'], ['type']);
    for (const what of ['auto_delete', 'internal']) {
      if (booleanOf(body.get(what)) === true) throw new RequestError(400, `${what} exchanges are not supported`);
    }
    for (const [argument] of argumentsOf(body)) {
      throw new RequestError(400, `the exchange argument ${argument} is not supported`);
    }
    const type = textOf(body.get('type')) ?? 'direct';
    if (!EXCHANGE_TYPES.includes(type as ExchangeType)) {
      throw new RequestError(400, `there are no exchanges of type ${type}`);
    }
    const known = name === AMQ_TOPIC ? MQTT_NAMES : this.context.broker.exchanges.get(name);
    if (known !== undefined && known.type !== type) {
      throw new RequestError(409, `exchange ${name} is of type ${known.type}`);
    }
    if (known === MQTT_NAMES) return NO_CONTENT;
    if (known === undefined) checkReserved(name);
    await this.context.broker.exchanges.declare({ name, type: type as ExchangeType, arguments: {} });
    this.context.destinations.forget();
    return NO_CONTENT;
  }

  private async deleteExchange(name: string): Promise<Answer> {
    checkReserved(name);
    await this.context.broker.exchanges.delete(name);
    this.context.destinations.forget();
    return NO_CONTENT;
  }

  private async bind(body: AmqpMap): Promise<Answer> {
    checkFields(body, [], ['source', 'destination_queue', 'destination_exchange', 'binding_key']);
    const exchange = textOf(body.get('source'));
    const queue = textOf(body.get('destination_queue'));
    if (exchange === undefined || queue === undefined) {
      throw new RequestError(400, 'a binding has a source, which is an exchange, and a destination_queue');
    }
    if (exchange === '') throw new RequestError(403, 'the default exchange has its bindings');
    if (exchange === AMQ_TOPIC) {
      throw new RequestError(
        501,
        `queues are not bound to ${AMQ_TOPIC}: read /topic/<key>, with the capabilities shared and global for several readers`,
      );
    }
    if (!this.isQueue(queue)) throw new RequestError(404, `no queue ${queue}`);
    const key = textOf(body.get('binding_key')) ?? '';
    await this.context.broker.exchanges.bind({ exchange, queue, key, arguments: textsOf(argumentsOf(body)) });
    return NO_CONTENT;
  }

  private async getBindings(query: URLSearchParams): Promise<Answer> {
    const [source = '', queue, key] = [query.get('src') ?? undefined, query.get('dstq'), query.get('key')];
    const bindings = this.context.broker.exchanges
      .bindingsOf(source)
      // No exchange is bound to another one.
      .filter(() => !query.has('dste'))
      .filter((binding) => (queue === null || binding.queue === queue) && (key === null || binding.key === key));
    return { status: 200, body: { type: 'list', value: bindings.map(bindingMap) } };
  }

  private async unbind(location: string): Promise<Answer> {
    const parts = new Map(location.split(';').map((part) => splitOnce(part)));
    const { exchanges } = this.context.broker;
    const found = exchanges
      .bindingsOf(parts.get('src') ?? '')
      .find((binding) => locationOf(binding) === `/bindings/${location}` || isBindingOf(binding, parts));
    if (found !== undefined) await exchanges.unbind(found);
    return NO_CONTENT;
  }

  private isQueue(queue: string): boolean {
    const name = encodeTopicName(queue);
    return this.context.broker.topics.get(name) !== undefined && this.context.broker.groups.get(name) !== undefined;
  }

  private async messageCount(queue: string): Promise<number> {
    const name = encodeTopicName(queue);
    const states = await this.context.broker.groupState(name, { kind: 'topic', topic: name });
    return states.reduce((sum, { lag }) => sum + lag, 0);
  }

  private async queueMap(queue: string): Promise<AmqpValue> {
    return mapValue([
      ['message_count', ulongValue(await this.messageCount(queue))],
      ['consumer_count', uintValue(this.context.consumersOf(encodeTopicName(queue)))],
      ['name', stringValue(queue)],
      ['vhost', stringValue('/')],
      ['durable', booleanValue(true)],
      ['auto_delete', booleanValue(false)],
      ['exclusive', booleanValue(false)],
      ['type', stringValue('quorum')],
      ['arguments', mapValue(this.argumentsOf(encodeTopicName(queue)))],
    ]);
  }

  private argumentsOf(name: string): [string, AmqpValue][] {
    const { groups, topics } = this.context.broker;
    const { attemptsMax } = groups.get(name)?.retry ?? GROUP_RULES.retry;
    const maxPriority = maxPriorityOf(topics.get(name));
    const found: [string, AmqpValue][] = [];
    if (attemptsMax !== GROUP_RULES.retry.attemptsMax) found.push([DELIVERY_LIMIT, longValue(attemptsMax - 1)]);
    if (maxPriority !== undefined) found.push([MAX_PRIORITY, longValue(maxPriority)]);
    return found;
  }
}

/** Undefined for a queue that was not declared with one. */
function maxPriorityOf(topic: TopicSpec | undefined): number | undefined {
  return topic?.priorityFrom === 0 ? topic.queues - 1 : undefined;
}

const NO_CONTENT: Answer = { status: 204, body: NULL_VALUE };

/** HTTP's; 403 for what is beyond a limit or a right. */
function statusOf(error: unknown): number {
  if (error instanceof RequestError) return error.status;
  if (error instanceof LinkError) return 403;
  if (!(error instanceof BrokerError)) return 500;
  const { code } = error;
  if (code === 'TOPIC_NOT_FOUND' || code === 'CONSUMER_GROUP_NOT_FOUND') return 404;
  if (code === 'INTERNAL' || code === 'UNKNOWN_OUTCOME') return 500;
  if (code === 'SHUTTING_DOWN' || code === 'STORE_FULL' || code === 'THROTTLED') return 503;
  return code.startsWith('ILLEGAL') || code === 'BAD_REQUEST' ? 400 : 403;
}

function exclusiveMap(node: TemporaryNode): AmqpValue {
  return mapValue([
    ['message_count', ulongValue(node.read().queue.length)],
    ['consumer_count', uintValue(0)],
    ['name', stringValue(node.name)],
    ['vhost', stringValue('/')],
    ['durable', booleanValue(false)],
    ['auto_delete', booleanValue(true)],
    ['exclusive', booleanValue(true)],
    ['type', stringValue('classic')],
    ['arguments', mapValue([])],
  ]);
}

function countOf(count: number): Answer {
  return { status: 200, body: mapValue([['message_count', ulongValue(count)]]) };
}

function named(name: string | undefined): string {
  if (name === undefined || name === '') throw new RequestError(400, 'the name is empty');
  return name;
}

/** @throws RequestError for what a queue cannot be declared with */
function queueArgumentsOf(body: AmqpMap): QueueArguments {
  try {
    return readQueueArguments(argumentsOf(body));
  } catch (error) {
    throw error instanceof ArgumentError ? new RequestError(400, error.message) : error;
  }
}

function checkReserved(name: string): void {
  if (name.startsWith('amq.')) throw new RequestError(403, `the name ${name} is reserved`);
}

/** Fields that are left out, or null, have their defaults. */
function checkFields(body: AmqpMap, booleans: readonly string[], texts: readonly string[] = []): void {
  for (const [name, value] of body) {
    if (value.type === 'null') continue;
    const isRight =
      (booleans.includes(name) && value.type === 'boolean') ||
      (texts.includes(name) && value.type === 'string') ||
      (name === 'arguments' && value.type === 'map');
    if (!isRight) throw new RequestError(400, `${name} is not known, or of another type`);
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RequestError(400, `the percent-encoding of ${text} is broken`);
  }
}

function fieldsOf(body: AmqpValue): AmqpMap {
  const fields = new Map<string, AmqpValue>();
  if (body.type !== 'map') return fields;
  for (const [key, value] of body.value) fields.set(textOf(key) ?? '', value);
  return fields;
}

function argumentsOf(body: AmqpMap): AmqpMap {
  return fieldsOf(body.get('arguments') ?? NULL_VALUE);
}

function textsOf(fields: AmqpMap): Record<string, string> {
  return Object.fromEntries(Array.from(fields, ([name, value]) => [name, textOf(value) ?? plain(value)]));
}

function plain(value: AmqpValue): string {
  return 'value' in value && typeof value.value !== 'object' ? String(value.value) : '';
}

function mapValue(entries: readonly (readonly [string, AmqpValue])[]): AmqpValue {
  return stringMapValue(new Map(entries));
}

function bindingMap(binding: ExchangeBinding): AmqpValue {
  const args = Object.entries(binding.arguments).map(([name, value]) => [name, stringValue(value)] as const);
  return mapValue([
    ['source', stringValue(binding.exchange)],
    ['destination_queue', stringValue(binding.queue)],
    ['binding_key', stringValue(binding.key)],
    ['arguments', mapValue(args)],
    ['location', stringValue(locationOf(binding))],
  ]);
}

/** Where a binding is deleted. */
function locationOf({ exchange, queue, key, arguments: args }: ExchangeBinding): string {
  const texts = Object.entries(args);
  const hash = texts.length === 0 ? '' : Buffer.from(JSON.stringify(texts)).toString('base64url');
  return `/bindings/src=${encodeURIComponent(exchange)};dstq=${encodeURIComponent(queue)};key=${encodeURIComponent(key)};args=${hash}`;
}

function isBindingOf({ queue, key, arguments: args }: ExchangeBinding, parts: ReadonlyMap<string, string>): boolean {
  return (
    queue === parts.get('dstq') &&
    key === parts.get('key') &&
    (parts.get('args') ?? '') === '' &&
    Object.keys(args).length === 0
  );
}

function splitOnce(part: string): [string, string] {
  const at = part.indexOf('=');
  return [part.slice(0, at), decoded(part.slice(at + 1))];
}
