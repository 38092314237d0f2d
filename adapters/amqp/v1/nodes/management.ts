import { BrokerError } from '../../../../core/model/broker-error.ts';
import { encodeTopicName } from '../../../../core/model/names.ts';
import {
  booleanOf,
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
import type { NodeContext } from './node-context.ts';
import type { Request, Response } from './request-message.ts';

/** What a request comes to; like a response of HTTP. */
interface Answer {
  readonly status: number;
  readonly body: AmqpValue;
}

type Handler = (path: readonly string[], body: AmqpMap, query: URLSearchParams) => Promise<Answer>;

class RequestError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** What a queue may be declared with; anything else is refused. All queues are of one kind here. */
const QUEUE_ARGUMENTS = new Set(['x-queue-type']);

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
      ['PUT queues', (path, body) => this.declareQueue(nameIn(path), body)],
      ['GET queues', (path) => this.getQueue(nameIn(path))],
      ['DELETE queues', (path) => this.deleteQueue(nameIn(path), path[2])],
      ['PUT exchanges', (path, body) => this.declareExchange(nameIn(path), body)],
      ['DELETE exchanges', (path) => this.deleteExchange(nameIn(path))],
      ['POST bindings', (_path, body) => this.bind(body)],
      ['GET bindings', (_path, _body, query) => this.getBindings(query)],
      ['DELETE bindings', (path) => this.unbind(path[1] ?? '')],
    ]);
  }

  async handle({ subject = '', to = '', body }: Request): Promise<Response> {
    const answer = await this.answer(subject, to, body);
    return {
      subject: String(answer.status),
      properties: new Map([['http:response', stringValue('1.1')]]),
      body: answer.body,
    };
  }

  private async answer(method: string, to: string, body: AmqpValue): Promise<Answer> {
    try {
      const [pathText = '', queryText = ''] = to.split('?', 2);
      const path = pathText.split('/').slice(1);
      const handler = this.handlers.get(`${method} ${path[0] ?? ''}`);
      if (handler === undefined) throw new RequestError(404, `${method} ${to} is not understood`);
      return await handler(path, fieldsOf(body), new URLSearchParams(queryText));
    } catch (error) {
      const status = statusOf(error);
      if (status === undefined) throw error;
      return { status, body: stringValue((error as Error).message) };
    }
  }

  private async declareQueue(queue: string, body: AmqpMap): Promise<Answer> {
    for (const [name] of argumentsOf(body)) {
      if (!QUEUE_ARGUMENTS.has(name)) throw new RequestError(400, `the queue argument ${name} is not supported`);
    }
    if (booleanOf(body.get('exclusive')) === true || booleanOf(body.get('auto_delete')) === true) {
      throw new RequestError(400, 'a queue that is to go with its clients is a dynamic source');
    }
    const isNew = this.context.broker.topics.get(encodeTopicName(queue)) === undefined;
    await this.context.queues.use(queue);
    return { status: isNew ? 201 : 200, body: await this.queueMap(queue) };
  }

  private async getQueue(queue: string): Promise<Answer> {
    if (!this.isQueue(queue)) throw new RequestError(404, `no queue ${queue}`);
    return { status: 200, body: await this.queueMap(queue) };
  }

  /** Also of its messages alone. */
  private async deleteQueue(queue: string, part: string | undefined): Promise<Answer> {
    const { broker } = this.context;
    const name = encodeTopicName(queue);
    let count = 0;
    if (part === 'messages') {
      if (!this.isQueue(queue)) throw new RequestError(404, `no queue ${queue}`);
      count = await broker.groups.purge(name, { kind: 'topic', topic: name });
    } else if (this.isQueue(queue)) {
      count = await this.messageCount(queue);
      await broker.exchanges.unbindQueue(queue);
      await broker.groups.delete(name);
      await broker.topics.delete(name);
      this.context.destinations.forget();
    }
    return { status: 200, body: mapValue([['message_count', ulongValue(count)]]) };
  }

  private async declareExchange(name: string, body: AmqpMap): Promise<Answer> {
    const type = textOf(body.get('type')) ?? 'direct';
    if (!EXCHANGE_TYPES.includes(type as ExchangeType)) {
      throw new RequestError(400, `there are no exchanges of type ${type}`);
    }
    const known = this.context.broker.exchanges.get(name);
    if (known !== undefined && known.type !== type) {
      throw new RequestError(409, `exchange ${name} is of type ${known.type}`);
    }
    if (known === undefined && name.startsWith('amq.')) throw new RequestError(403, `the name ${name} is reserved`);
    await this.context.broker.exchanges.declare({
      name,
      type: type as ExchangeType,
      arguments: textsOf(argumentsOf(body)),
    });
    this.context.destinations.forget();
    return NO_CONTENT;
  }

  private async deleteExchange(name: string): Promise<Answer> {
    await this.context.broker.exchanges.delete(name);
    this.context.destinations.forget();
    return NO_CONTENT;
  }

  private async bind(body: AmqpMap): Promise<Answer> {
    const exchange = textOf(body.get('source'));
    const queue = textOf(body.get('destination_queue'));
    if (exchange === undefined || queue === undefined) {
      throw new RequestError(400, 'a binding has a source, which is an exchange, and a destination_queue');
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
      ['durable', { type: 'boolean', value: true }],
      ['auto_delete', { type: 'boolean', value: false }],
      ['exclusive', { type: 'boolean', value: false }],
      ['type', stringValue('quorum')],
      ['arguments', mapValue([])],
    ]);
  }
}

const NO_CONTENT: Answer = { status: 204, body: NULL_VALUE };

function statusOf(error: unknown): number | undefined {
  if (error instanceof RequestError) return error.status;
  if (!(error instanceof BrokerError)) return undefined;
  if (error.code === 'TOPIC_NOT_FOUND') return 404;
  return error.code.startsWith('ILLEGAL') || error.code === 'BAD_REQUEST' ? 400 : 403;
}

function nameIn([, segment = '']: readonly string[]): string {
  let name: string;
  try {
    name = decodeURIComponent(segment);
  } catch {
    throw new RequestError(400, `the percent-encoding of ${segment} is broken`);
  }
  if (name === '') throw new RequestError(400, 'the name is empty');
  return name;
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
  return [part.slice(0, at), decodeURIComponent(part.slice(at + 1))];
}
