import type { QueueNames } from './queues.ts';
import type { StoredMessage } from '../../../../core/model/message.ts';
import type { Action, Resource } from '../../../../core/ports/authorizer.ts';
import { OutgoingMessage } from '../../../../core/ports/message-engine.ts';
import type { AmqpMap } from '../codec/performatives.ts';
import { binaryOf, binaryValue, listValue, longValue, NULL_VALUE, numberOf } from '../codec/plain-values.ts';
import { stringMapValue, textOf, timestampValue } from '../codec/plain-values.ts';
import type { AmqpValue } from '../codec/values.ts';
import { LinkError, type Peer } from '../node.ts';
import { parseAddress } from './address.ts';
import { azureMessage, placeOfSequenceNumber } from './azure-messages.ts';
import { LEASE_MS } from './leased-source.ts';
import type { NodeContext } from './node-context.ts';
import { copyOf, outgoingFor } from './outgoing.ts';
import { notImplemented, statusProperties, type Request, type Response } from './request-message.ts';
import { ScheduledMessages } from './scheduled-messages.ts';

/** Azure's name for what is not there to be cancelled. */
const MESSAGE_NOT_FOUND = 'com.microsoft:message-not-found';
const LOCK_LOST = 'com.microsoft:message-lock-lost';
/** What one request brings at most. */
const PEEK_MAX = 256;
const PEEK_BYTES_MAX = 1024 * 1024;
const READ_MAX = 64;

/** The status that goes with a condition; 400 for all others. */
const STATUS_OF: Readonly<Record<string, number>> = {
  'amqp:unauthorized-access': 401,
  'amqp:not-found': 404,
  'amqp:resource-limit-exceeded': 403,
  'amqp:not-implemented': 501,
  'amqp:internal-error': 500,
  [MESSAGE_NOT_FOUND]: 404,
  [LOCK_LOST]: 410,
};

type Operation = (entity: string, body: AmqpMap, peer: Peer) => Promise<AmqpMap>;

/** Requests to `<entity>/$management`, as the clients of Azure Service Bus send them. */
export class AzureManagement {
  private readonly context: NodeContext;
  private readonly operations: ReadonlyMap<string, Operation>;
  private readonly scheduled = new ScheduledMessages();

  constructor(context: NodeContext) {
    this.context = context;
    this.operations = new Map<string, Operation>([
      ['com.microsoft:schedule-message', (entity, body, peer) => this.schedule(entity, body, peer)],
      ['com.microsoft:cancel-scheduled-message', (entity, body, peer) => this.cancel(entity, body, peer)],
      ['com.microsoft:peek-message', (entity, body, peer) => this.peek(entity, body, peer)],
      ['com.microsoft:renew-lock', (_entity, body) => this.renew(body)],
    ]);
  }

  async handle(entity: string, request: Request, peer: Peer): Promise<Response> {
    const operation = this.operations.get(textOf(request.properties.get('operation')) ?? '');
    if (operation === undefined) return notImplemented(request);
    try {
      const body = await operation(entity, fieldsOf(request.body), peer);
      const status = body.get('messages') === NOTHING ? NO_CONTENT : OK;
      return { properties: status, body: stringMapValue(body) };
    } catch (error) {
      const { condition, description = '' } = this.context.errorOf(error, 'a request of management failed');
      return {
        properties: statusProperties(STATUS_OF[condition] ?? 400, description, condition),
        body: NULL_VALUE,
      };
    }
  }

  /** All or none of the messages. */
  private async schedule(entity: string, body: AmqpMap, peer: Peer): Promise<AmqpMap> {
    const { context } = this;
    const destination = await context.destinations.resolve({ peer }, entity, []);
    if (destination.kind !== 'topic') throw new LinkError('amqp:not-allowed', `nothing can be scheduled for ${entity}`);
    const { topic, address } = destination;
    this.authorize(peer, 'PUB', { kind: 'topic', topic, address });
    const outgoing = itemsOf(body.get('messages')).map((item) => {
      const bytes = binaryOf(fieldsOf(item).get('message'));
      if (bytes === undefined)
        throw new LinkError('amqp:invalid-field', 'there is no message in what is to be scheduled');
      return withOwnBytes(outgoingFor(context, destination, 0, bytes, 0, bytes.length, peer));
    });
    const outcome = await context.broker.transact(outgoing, []);
    if (!outcome.ok) throw outcome.error;
    const nowMs = context.broker.clock.now();
    const numbers = outcome.value.map(({ recallHandle }, i) =>
      this.scheduled.add(topic, recallHandle, outgoing[i]!.message.deliverAt, nowMs),
    );
    return new Map([['sequence-numbers', { type: 'array', elementType: 'long', value: numbers.map(longValue) }]]);
  }

  private async cancel(entity: string, body: AmqpMap, peer: Peer): Promise<AmqpMap> {
    const { context, scheduled } = this;
    const destination = await context.destinations.resolve({ peer }, entity, []);
    const topic = destination.kind === 'topic' ? destination.topic : '';
    this.authorize(peer, 'PUB', { kind: 'topic', topic, address: undefined });
    const known = itemsOf(body.get('sequence-numbers')).map((item) => {
      const number = numberOf(item) ?? 0;
      return { number, handle: scheduled.get(topic, number) };
    });
    for (const { number, handle } of known) {
      const outcome = handle === undefined ? undefined : await context.broker.recall(handle);
      scheduled.delete(number);
      if (outcome?.ok !== true) throw new LinkError(MESSAGE_NOT_FOUND, `message ${number} is not scheduled any more`);
    }
    return new Map();
  }

  /** What is there from a sequence number on, whoever has it; not what the group is done with. */
  private async peek(entity: string, body: AmqpMap, peer: Peer): Promise<AmqpMap> {
    const { context } = this;
    const names = await context.queues.useReadable(parseAddress(entity, [], context.options.bareAddress));
    if (names === undefined) throw new LinkError('amqp:not-allowed', `${entity} cannot be looked into`);
    this.authorize(peer, 'SUB', { kind: 'topic', topic: names.topic, address: undefined });
    this.authorize(peer, 'SUB', { kind: 'group', group: names.group });
    const from = placeOfSequenceNumber(numberOf(body.get('from-sequence-number')) ?? 0);
    const max = Math.min(numberOf(body.get('message-count')) ?? 1, PEEK_MAX);
    const messages = await this.look(names, from, max, textOf(body.get('session-id')));
    if (messages.length === 0) return new Map([['messages', NOTHING]]);
    const nowMs = context.broker.clock.now();
    const items = messages.map((message) => {
      const bytes = azureMessage(context.outbound, message, 1, nowMs);
      return stringMapValue(new Map([['message', binaryValue(bytes)]]));
    });
    return new Map([['messages', listValue(items)]]);
  }

  private async look(
    { topic, group }: QueueNames,
    from: { readonly queue: number; readonly offset: number },
    max: number,
    session: string | undefined,
  ): Promise<StoredMessage[]> {
    const { broker } = this.context;
    const found: StoredMessage[] = [];
    let bytes = 0;
    for (const { queue, floor } of await broker.groupState(group, { kind: 'topic', topic })) {
      if (queue < from.queue) continue;
      let at = queue === from.queue ? Math.max(floor, from.offset) : floor;
      while (found.length < max && bytes < PEEK_BYTES_MAX) {
        const read = await broker.read({ kind: 'topic', topic, queue }, at, READ_MAX, PEEK_BYTES_MAX);
        if (read.next === at) break;
        at = read.next;
        for (const message of read.messages) {
          if (found.length >= max || bytes >= PEEK_BYTES_MAX) break;
          if (message.isExpired(broker.clock.now())) continue;
          if (session !== undefined && message.messageGroup !== session) continue;
          bytes += message.bytes;
          found.push(message);
        }
      }
    }
    return found;
  }

  /** The gateway renews leases itself while the link lives: a lock that is still there lasts as long as a new one. */
  private async renew(body: AmqpMap): Promise<AmqpMap> {
    const tokens = itemsOf(body.get('lock-tokens'));
    for (const token of tokens) {
      if (token.type !== 'uuid' || !this.context.locks.has(tagOf(token.value)))
        throw new LinkError(LOCK_LOST, 'the message is not locked any more');
    }
    const until = timestampValue(Math.floor(this.context.broker.clock.now() + LEASE_MS));
    return new Map([['expirations', { type: 'array', elementType: 'timestamp', value: tokens.map(() => until) }]]);
  }

  private authorize({ principal }: Peer, action: Action, resource: Resource): void {
    if (this.context.broker.isAllowed(principal, action, resource)) return;
    throw new LinkError('amqp:unauthorized-access', `${principal.name} may not do that`);
  }
}

const OK = statusProperties(200, 'OK');
const NO_CONTENT = statusProperties(204, 'No content');
const NOTHING = listValue([]);

function withOwnBytes({ topic, address, message }: OutgoingMessage): OutgoingMessage {
  return new OutgoingMessage(topic, address, copyOf(message));
}

function fieldsOf(value: AmqpValue): AmqpMap {
  const fields = new Map<string, AmqpValue>();
  if (value.type !== 'map') return fields;
  for (const [key, field] of value.value) fields.set(textOf(key) ?? '', field);
  return fields;
}

function itemsOf(value: AmqpValue | undefined): readonly AmqpValue[] {
  return value?.type === 'list' || value?.type === 'array' ? value.value : [];
}

/** The bytes of a delivery tag; .NET, and who speaks with it, turn the first three groups of a UUID around. */
function tagOf(token: Buffer): Buffer {
  const tag = Buffer.from(token);
  tag.subarray(0, 4).reverse();
  tag.subarray(4, 6).reverse();
  tag.subarray(6, 8).reverse();
  return tag;
}
