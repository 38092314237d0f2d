import { compileFilter, type FilterExpression } from '../../../../core/model/filter.ts';
import type { Filter, Source } from '../codec/performatives.ts';

/** The filters of a source that are honoured (AMQP 3.5.1, and the registry of Apache's filters). */
export interface SourceFilters {
  readonly selector: FilterExpression | undefined;
  readonly noLocal: boolean;
  /** To be echoed: a client takes what is missing for not supported. */
  readonly accepted: ReadonlyMap<string, Filter>;
}

const SELECTOR = new Set<string | bigint | undefined>(['apache.org:selector-filter:string', 0x468c00000004n]);
const NO_LOCAL = new Set<string | bigint | undefined>(['apache.org:no-local-filter:list', 0x468c00000003n]);

/** @throws BrokerError ILLEGAL_FILTER_EXPRESSION for a selector that is none */
export function readFilters({ filters }: Source): SourceFilters {
  let selector: FilterExpression | undefined;
  let noLocal = false;
  const accepted = new Map<string, Filter>();
  for (const [name, filter] of filters) {
    if (isSelector(name, filter) && filter.value.type === 'string' && selector === undefined) {
      const expression: FilterExpression = { type: 'JMS', expression: filter.value.value };
      compileFilter(expression);
      selector = expression;
    } else if (isNoLocal(name, filter)) noLocal = true;
    else continue;
    accepted.set(name, filter);
  }
  return { selector, noLocal, accepted };
}

export function isNoLocal(name: string, { descriptor }: Filter): boolean {
  return NO_LOCAL.has(descriptor) || (descriptor === undefined && name === 'no-local');
}

/** Some clients send the text alone, under the name. */
function isSelector(name: string, { descriptor }: Filter): boolean {
  return SELECTOR.has(descriptor) || (descriptor === undefined && (name === 'jms-selector' || name === 'selector'));
}
