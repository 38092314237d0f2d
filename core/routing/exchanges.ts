import { BrokerError } from '../model/broker-error.ts';
import { matchesWords } from '../model/routing-key.ts';
import type { MetaStore } from '../ports/meta-store.ts';

export const EXCHANGE_TYPES = ['direct', 'fanout', 'topic', 'headers'] as const;
export type ExchangeType = (typeof EXCHANGE_TYPES)[number];

export interface Exchange {
  readonly name: string;
  readonly type: ExchangeType;
  readonly arguments: Readonly<Record<string, string>>;
}

/** From an exchange to a queue. */
export interface ExchangeBinding {
  readonly exchange: string;
  readonly queue: string;
  readonly key: string;
  /** What headers have to be, for an exchange of that type; `x-match` says whether one of them is enough. */
  readonly arguments: Readonly<Record<string, string>>;
}

/** RabbitMQ has them from the start. */
const PREDECLARED: readonly (readonly [string, ExchangeType])[] = [
  ['amq.direct', 'direct'],
  ['amq.fanout', 'fanout'],
  ['amq.headers', 'headers'],
  ['amq.match', 'headers'],
];

const EXCHANGE_PREFIX = 'exchange/';
const BINDING_PREFIX = 'binding/';

/** Which queues a message published to an exchange goes to: RabbitMQ's exchanges and bindings. */
export class Exchanges {
  private readonly meta: MetaStore;
  private readonly exchanges = new Map<string, Exchange>();
  private readonly bindings = new Map<string, Map<string, ExchangeBinding>>();

  constructor(meta: MetaStore) {
    this.meta = meta;
    for (const [name, type] of PREDECLARED) this.exchanges.set(name, { name, type, arguments: {} });
  }

  async load(): Promise<void> {
    for (const { value } of await this.meta.list(EXCHANGE_PREFIX)) {
      const exchange = JSON.parse(Buffer.from(value).toString('utf8')) as Exchange;
      this.exchanges.set(exchange.name, exchange);
    }
    for (const { value } of await this.meta.list(BINDING_PREFIX)) {
      this.enter(JSON.parse(Buffer.from(value).toString('utf8')) as ExchangeBinding);
    }
  }

  get(name: string): Exchange | undefined {
    return this.exchanges.get(name);
  }

  /** @throws BrokerError BAD_REQUEST when there is another one of that name */
  async declare(exchange: Exchange): Promise<void> {
    const known = this.exchanges.get(exchange.name);
    if (known !== undefined) {
      if (known.type === exchange.type) return;
      throw new BrokerError('BAD_REQUEST', `exchange ${exchange.name} is of type ${known.type}, not ${exchange.type}`);
    }
    this.exchanges.set(exchange.name, exchange);
    await this.put(EXCHANGE_PREFIX + exchange.name, exchange);
  }

  async delete(name: string): Promise<void> {
    for (const binding of this.bindingsOf(name)) await this.unbind(binding);
    if (this.exchanges.delete(name)) await this.meta.delete(EXCHANGE_PREFIX + name);
  }

  /** @throws BrokerError TOPIC_NOT_FOUND when there is no such exchange */
  async bind(binding: ExchangeBinding): Promise<void> {
    if (!this.exchanges.has(binding.exchange)) {
      throw new BrokerError('TOPIC_NOT_FOUND', `there is no exchange ${binding.exchange}`);
    }
    this.enter(binding);
    await this.put(BINDING_PREFIX + keyOf(binding), binding);
  }

  async unbind(binding: ExchangeBinding): Promise<void> {
    if (this.bindings.get(binding.exchange)?.delete(keyOf(binding)) === true) {
      await this.meta.delete(BINDING_PREFIX + keyOf(binding));
    }
  }

  /** The queue is gone. */
  async unbindQueue(queue: string): Promise<void> {
    for (const bindings of this.bindings.values()) {
      for (const binding of bindings.values()) if (binding.queue === queue) await this.unbind(binding);
    }
  }

  bindingsOf(exchange: string): ExchangeBinding[] {
    return [...(this.bindings.get(exchange)?.values() ?? [])];
  }

  /** The queues a message goes to, each once. @param headerOf a property of the message as text */
  route(exchange: Exchange, key: string, headerOf: (name: string) => string | undefined): string[] {
    const queues = new Set<string>();
    for (const binding of this.bindings.get(exchange.name)?.values() ?? []) {
      if (matches(exchange.type, binding, key, headerOf)) queues.add(binding.queue);
    }
    return [...queues];
  }

  private enter(binding: ExchangeBinding): void {
    const bindings = this.bindings.get(binding.exchange) ?? new Map<string, ExchangeBinding>();
    this.bindings.set(binding.exchange, bindings.set(keyOf(binding), binding));
  }

  private async put(key: string, value: unknown): Promise<void> {
    await this.meta.put(key, Buffer.from(JSON.stringify(value)));
  }
}

/** Unambiguous: names and keys may have any character. */
function keyOf({ exchange, queue, key, arguments: args }: ExchangeBinding): string {
  const sorted = Object.entries(args).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return [exchange, queue, key, JSON.stringify(sorted)].map(encodeURIComponent).join('/');
}

function matches(
  type: ExchangeType,
  binding: ExchangeBinding,
  key: string,
  headerOf: (name: string) => string | undefined,
): boolean {
  switch (type) {
    case 'fanout':
      return true;
    case 'direct':
      return binding.key === key;
    case 'topic':
      return matchesWords(binding.key.split('.'), key.split('.'));
    case 'headers':
      return matchesHeaders(binding.arguments, headerOf);
  }
}

/** All headers of the binding, or one with `x-match` any; those that begin with `x-` are not looked at. */
function matchesHeaders(
  args: Readonly<Record<string, string>>,
  headerOf: (name: string) => string | undefined,
): boolean {
  const wanted = Object.entries(args).filter(([name]) => !name.startsWith('x-'));
  const isMet = ([name, value]: readonly [string, string]): boolean => {
    const header = headerOf(name);
    return header !== undefined && (value === '' || header === value);
  };
  return args['x-match']?.startsWith('any') === true ? wanted.some(isMet) : wanted.every(isMet);
}
