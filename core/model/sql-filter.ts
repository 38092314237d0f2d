import type { Message } from './message.ts';
import type { MessageView } from './message-view.ts';
import { sqlError } from './sql-filter-lexer.ts';
import { parseSql } from './sql-filter-parser.ts';
import type { SqlProperties, SqlValue } from './sql-filter-values.ts';

/**
 * RocketMQ's SQL92 over the properties of a message; TAGS is its tag, KEYS its keys with a blank between.
 * @throws BrokerError ILLEGAL_FILTER_EXPRESSION, saying where
 */
export function compileSqlFilter(expression: string): (message: Message, view: () => MessageView) => boolean {
  if (expression.trim() === '') throw sqlError(0, 'it is empty');
  const condition = parseSql(expression, 'rocketmq');
  const properties = new MessageProperties();
  return (message, view) => {
    properties.show(message, view);
    const passes = condition(properties) === true;
    properties.show(undefined, undefined);
    return passes;
  };
}

/** Shows one message after the other, so that none of them costs an object. */
class MessageProperties implements SqlProperties {
  private message: Message | undefined;
  private read: (() => MessageView) | undefined;
  private view: MessageView | undefined;

  show(message: Message | undefined, read: (() => MessageView) | undefined): void {
    this.message = message;
    this.read = read;
    this.view = undefined;
  }

  get(name: string): SqlValue {
    if (name === 'TAGS') return this.message?.tag;
    const view = (this.view ??= this.read?.());
    if (name === 'KEYS') return view === undefined || view.keys.length === 0 ? undefined : view.keys.join(' ');
    // A name may occur more than once in MQTT: RocketMQ clients see the first.
    return view?.properties.find(([key]) => key === name)?.[1];
  }
}
