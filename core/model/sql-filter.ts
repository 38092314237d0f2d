import type { Message } from './message.ts';
import type { MessageView } from './message-view.ts';
import { DEFAULT_PRIORITY } from './priority.ts';
import { sqlError } from './sql-filter-lexer.ts';
import { parseSql } from './sql-filter-parser.ts';
import { TypedText, type Condition, type SqlProperties, type SqlValue } from './sql-filter-values.ts';

/**
 * RocketMQ's SQL92 over the properties of a message; TAGS is its tag, KEYS its keys with a blank between.
 * @throws BrokerError ILLEGAL_FILTER_EXPRESSION, saying where
 */
export function compileSqlFilter(expression: string): SqlFilter {
  if (expression.trim() === '') throw sqlError(0, 'it is empty');
  return filterOf(parseSql(expression, 'rocketmq'), new MessageProperties());
}

/**
 * A message selector of Jakarta Messaging, over header fields (JMSMessageID, JMSPriority and so on) and properties.
 * JMSXDeliveryCount and what else changes from one delivery to the next is not known, as if it was not there.
 * @throws BrokerError ILLEGAL_FILTER_EXPRESSION, saying where
 */
export function compileJmsSelector(expression: string): SqlFilter {
  return filterOf(parseSql(expression, 'jms'), new JmsProperties());
}

type SqlFilter = (message: Message, view: () => MessageView) => boolean;

function filterOf(condition: Condition, properties: MessageProperties): SqlFilter {
  return (message, view) => {
    properties.show(message, view);
    const passes = condition(properties) === true;
    properties.show(undefined, undefined);
    return passes;
  };
}

/** Shows one message after the other, so that none of them costs an object. */
class MessageProperties implements SqlProperties {
  protected message: Message | undefined;
  private read: (() => MessageView) | undefined;
  private view: MessageView | undefined;

  show(message: Message | undefined, read: (() => MessageView) | undefined): void {
    this.message = message;
    this.read = read;
    this.view = undefined;
  }

  get(name: string): SqlValue {
    if (name === 'TAGS') return this.message?.tag;
    const view = this.content;
    if (name === 'KEYS') return view === undefined || view.keys.length === 0 ? undefined : view.keys.join(' ');
    // A name may occur more than once in MQTT: RocketMQ clients see the first.
    return view?.properties.find(([key]) => key === name)?.[1];
  }

  protected get content(): MessageView | undefined {
    return (this.view ??= this.read?.());
  }
}

class JmsProperties extends MessageProperties {
  override get(name: string): SqlValue {
    const { message } = this;
    const view = this.content;
    if (message === undefined || view === undefined) return undefined;
    switch (name) {
      case 'JMSMessageID':
        return typed(view.typed?.get(name) ?? view.messageId);
      case 'JMSPriority':
        return integer(view.priority ?? DEFAULT_PRIORITY);
      case 'JMSTimestamp':
        return integer(view.bornAt);
      case 'JMSExpiration':
        return integer(view.expiresAt);
      case 'JMSCorrelationID':
        return typed(view.typed?.get(name) ?? (view.correlationId && Buffer.from(view.correlationId).toString('utf8')));
      case 'JMSType':
        return typed(view.tag);
      case 'JMSDeliveryMode':
        return typed(message.qos === 0 ? 'NON_PERSISTENT' : 'PERSISTENT');
      case 'JMSXGroupID':
        return typed(view.messageGroup);
    }
    if (view.typed?.has(name) === true) return typed(view.typed.get(name));
    return view.properties.find(([key]) => key === name)?.[1];
  }
}

/** What a client says may be anything. */
function integer(value: number): SqlValue {
  return Number.isInteger(value) ? BigInt(value) : value;
}

function typed(value: SqlValue): SqlValue {
  return typeof value === 'string' ? new TypedText(value) : value;
}
