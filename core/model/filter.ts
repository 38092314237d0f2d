import { isAddressFilter, matchesAddress } from './address.ts';
import { BrokerError } from './broker-error.ts';
import type { Message } from './message.ts';
import type { MessageView } from './message-view.ts';
import { matchesBinding, type Binding } from './routing-key.ts';
import { compileJmsSelector, compileSqlFilter } from './sql-filter.ts';

/**
 * TAG: `a || b` or `*`. SQL92: RocketMQ's expressions over properties. JMS: a message selector of Jakarta Messaging. ADDRESS: an
 * MQTT topic filter over the address.
 */
export interface FilterExpression {
  readonly type: 'TAG' | 'SQL92' | 'JMS' | 'ADDRESS';
  readonly expression: string;
  /** An address filter that has to match besides. */
  readonly address?: string | undefined;
  /** A binding that has to match besides. */
  readonly binding?: Binding | undefined;
}

/** Whether a message is wanted; `view` is only called by filters that look at properties. */
export type Filter = (message: Message, view: () => MessageView) => boolean;

export const MATCH_ALL: FilterExpression = { type: 'TAG', expression: '*' };

/**
 * Compiles a filter expression; undefined when it lets everything through.
 * @throws BrokerError ILLEGAL_FILTER_EXPRESSION
 */
export function compileFilter(filter: FilterExpression): Filter | undefined {
  const { address, binding } = filter;
  const compiled = compileExpression(filter);
  if (address !== undefined) checkAddressFilter(address);
  if (address === undefined && binding === undefined) return compiled;
  return (message, view) =>
    (address === undefined || matchesAddress(address, message.address)) &&
    (binding === undefined || matchesBinding(binding, message)) &&
    (compiled === undefined || compiled(message, view));
}

function compileExpression(filter: FilterExpression): Filter | undefined {
  switch (filter.type) {
    case 'TAG':
      return compileTagFilter(filter.expression);
    case 'ADDRESS':
      checkAddressFilter(filter.expression);
      return (message) => matchesAddress(filter.expression, message.address);
    case 'SQL92':
      return compileSqlFilter(filter.expression);
    case 'JMS':
      return filter.expression.trim() === '' ? undefined : compileJmsSelector(filter.expression);
  }
}

function checkAddressFilter(filter: string): void {
  if (isAddressFilter(filter)) return;
  throw new BrokerError('ILLEGAL_FILTER_EXPRESSION', `not an address filter: ${filter}`);
}

/** RocketMQ: FilterAPI.buildSubscriptionData; compares the text, never its hash, so that "Aa" is not "BB". */
function compileTagFilter(expression: string): Filter | undefined {
  const text = expression.trim();
  if (text === '' || text === '*') return undefined;
  const tags = new Set<string>();
  for (const part of text.split('||')) {
    const tag = part.trim();
    if (tag !== '') tags.add(tag);
  }
  if (tags.size === 0) throw new BrokerError('ILLEGAL_FILTER_EXPRESSION', `no tag in ${JSON.stringify(expression)}`);
  return (message) => {
    const tag = message.tag;
    return tag !== undefined && tags.has(tag);
  };
}
