import { CodecError, decodeError, invalidField } from './codec-error.ts';
import { Descriptor } from './descriptors.ts';
import type {
  AmqpMap,
  Coordinator,
  ExpiryPolicy,
  Filter,
  Source,
  Target,
  TerminusDurability,
} from './performatives.ts';
import type { Reader } from './reader.ts';
import { readState } from './states.ts';
import type { AmqpValue } from './values.ts';

/** Sources, targets and coordinators (AMQP 3.5 and 4.5.1) read. */

export const NO_FIELDS: AmqpMap = new Map();
const EXPIRY_POLICIES: readonly string[] = ['link-detach', 'session-end', 'connection-close', 'never'];

export function readSource(reader: Reader): Source {
  if (reader.descriptor('attach.source') !== Descriptor.source) throw unknown('attach.source');
  return reader.list('source', 11, source);
}

export function readTarget(reader: Reader): Target | Coordinator {
  const descriptor = reader.descriptor('attach.target');
  if (descriptor === Descriptor.target) return reader.list('target', 7, target);
  if (descriptor === Descriptor.coordinator) return reader.list('coordinator', 1, coordinator);
  throw unknown('attach.target');
}

function unknown(what: string): CodecError {
  return new CodecError('amqp:not-implemented', `${what} is of a kind that is not known here`);
}

function source(reader: Reader): Source {
  return {
    kind: 'source',
    ...terminus(reader, SOURCE_FIELDS),
    distributionMode: reader.has('source.distribution-mode') ? reader.symbol('source.distribution-mode') : undefined,
    filters: reader.has('source.filter') ? readFilters(reader) : new Map<string, Filter>(),
    defaultOutcome: reader.has('source.default-outcome') ? readState(reader, 'source.default-outcome') : undefined,
    outcomes: symbolsField(reader, 'source.outcomes'),
    capabilities: symbolsField(reader, 'source.capabilities'),
  };
}

function target(reader: Reader): Target {
  return {
    kind: 'target',
    ...terminus(reader, TARGET_FIELDS),
    capabilities: symbolsField(reader, 'target.capabilities'),
  };
}

function coordinator(reader: Reader): Coordinator {
  return { kind: 'coordinator', capabilities: symbolsField(reader, 'coordinator.capabilities') };
}

function fieldNames(of: 'source' | 'target') {
  return {
    address: `${of}.address`,
    durable: `${of}.durable`,
    expiryPolicy: `${of}.expiry-policy`,
    timeout: `${of}.timeout`,
    dynamic: `${of}.dynamic`,
    dynamicNodeProperties: `${of}.dynamic-node-properties`,
  };
}

const SOURCE_FIELDS = fieldNames('source');
const TARGET_FIELDS = fieldNames('target');

/** The fields that source and target begin with. */
function terminus(reader: Reader, names: typeof SOURCE_FIELDS): Omit<Target, 'kind' | 'capabilities'> {
  return {
    address: reader.has(names.address) ? address(reader.value(names.address)) : undefined,
    durable: reader.has(names.durable) ? durability(reader.uint(names.durable), names.durable) : 0,
    expiryPolicy: reader.has(names.expiryPolicy)
      ? expiryPolicy(reader.symbol(names.expiryPolicy), names.expiryPolicy)
      : 'session-end',
    timeoutS: reader.has(names.timeout) ? reader.uint(names.timeout) : 0,
    dynamic: reader.has(names.dynamic) && reader.boolean(names.dynamic),
    dynamicNodeProperties: reader.has(names.dynamicNodeProperties)
      ? reader.fields(names.dynamicNodeProperties)
      : NO_FIELDS,
  };
}

function address(value: AmqpValue): string | undefined {
  return value.type === 'string' ? value.value : undefined;
}

function durability(value: number, what: string): TerminusDurability {
  if (value > 2) throw invalidField(`${what} is ${value}`);
  return value as TerminusDurability;
}

function expiryPolicy(value: string, what: string): ExpiryPolicy {
  if (!EXPIRY_POLICIES.includes(value)) throw invalidField(`${what} is ${value}`);
  return value as ExpiryPolicy;
}

function readFilters(reader: Reader): Map<string, Filter> {
  const filters = new Map<string, Filter>();
  for (const [name, value] of reader.fields('source.filter')) {
    if (value.type !== 'described') filters.set(name, { value });
    else filters.set(name, { descriptor: filterDescriptor(value.descriptor), value: value.value });
  }
  return filters;
}

function filterDescriptor(descriptor: AmqpValue): string | bigint {
  if (descriptor.type === 'symbol' || descriptor.type === 'ulong') return descriptor.value;
  throw decodeError(`source.filter has a descriptor of type ${descriptor.type}`);
}

/** The next field, one symbol or several. */
export function symbolsField(reader: Reader, what: string): readonly string[] {
  return reader.has(what) ? reader.symbols(what) : [];
}
