import { compileFilter, type FilterExpression } from '../../../../core/model/filter.ts';
import type { Filter, Source } from '../codec/performatives.ts';

/** The filters of a source that are honoured (AMQP 3.5.1, and the registry of Apache's filters). */
export interface SourceFilters {
  readonly selector: FilterExpression | undefined;
  readonly noLocal: boolean;
  /** Which routing keys: on topics only, as no-local. */
  readonly binding: FilterExpression['binding'];
  /** To be echoed: a client takes what is missing for not supported. */
  readonly accepted: ReadonlyMap<string, Filter>;
}

const SELECTOR = new Set<string | bigint | undefined>(['apache.org:selector-filter:string', 0x468c00000004n]);
const NO_LOCAL = new Set<string | bigint | undefined>(['apache.org:no-local-filter:list', 0x468c00000003n]);
const DIRECT_BINDING = new Set<string | bigint | undefined>([
  'apache.org:legacy-amqp-direct-binding:string',
  0x468c00000000n,
]);
const TOPIC_BINDING = new Set<string | bigint | undefined>([
  'apache.org:legacy-amqp-topic-binding:string',
  0x468c00000001n,
]);

/** @throws BrokerError ILLEGAL_FILTER_EXPRESSION for a selector that is none */
export function readFilters({ filters }: Source): SourceFilters {
  let selector: FilterExpression | undefined;
  let noLocal = false;
  let binding: FilterExpression['binding'];
  const accepted = new Map<string, Filter>();
  for (const [name, filter] of filters) {
    if (isSelector(name, filter) && filter.value.type === 'string' && selector === undefined) {
      const expression: FilterExpression = { type: 'JMS', expression: filter.value.value };
      compileFilter(expression);
      selector = expression;
    } else if (isNoLocal(filter, name)) noLocal = true;
    else if (isBinding(filter) && filter.value.type === 'string' && binding === undefined) {
      binding = { type: DIRECT_BINDING.has(filter.descriptor) ? 'direct' : 'topic', key: filter.value.value };
    } else continue;
    accepted.set(name, filter);
  }
  return { selector, noLocal, binding, accepted };
}

/** The members of a group share messages: nobody is left out because of who sent one, and a routing key is that of a topic. */
export function withoutTopicFilters(filters: SourceFilters): SourceFilters {
  const { selector, accepted } = filters;
  const others = [...accepted].filter(([name, filter]) => !isNoLocal(filter, name) && !isBinding(filter));
  return { selector, noLocal: false, binding: undefined, accepted: new Map(others) };
}

function isBinding({ descriptor }: Filter): boolean {
  return DIRECT_BINDING.has(descriptor) || TOPIC_BINDING.has(descriptor);
}

function isNoLocal({ descriptor }: Filter, name: string): boolean {
  return NO_LOCAL.has(descriptor) || (descriptor === undefined && name === 'no-local');
}

/** Some clients send the text alone, under the name. */
function isSelector(name: string, { descriptor }: Filter): boolean {
  return SELECTOR.has(descriptor) || (descriptor === undefined && (name === 'jms-selector' || name === 'selector'));
}
