import { Descriptor } from './descriptors.ts';
import type {
  AmqpError,
  AmqpMap,
  Attach,
  Coordinator,
  DeliveryState,
  Filter,
  Performative,
  SaslPerformative,
  Source,
  Target,
} from './performatives.ts';
import {
  binaryValue,
  booleanValue,
  describedValue,
  fieldsValue,
  listValue,
  NULL_VALUE,
  stringValue,
  symbolsValue,
  symbolValue,
  ubyteValue,
  uintValue,
  ulongValue,
  ushortValue,
} from './plain-values.ts';
import type { AmqpValue } from './values.ts';

/** Performatives and what is in them as described lists; fields that have their default are left out where they can be. */

const UINT_MAX = 0xffff_ffff;
const USHORT_MAX = 0xffff;

function composite(descriptor: number, values: readonly AmqpValue[]): AmqpValue {
  let count = values.length;
  while (count > 0 && values[count - 1]!.type === 'null') count--;
  return describedValue(ulongValue(descriptor), listValue(values.slice(0, count)));
}

function optional<T>(value: T | undefined, of: (value: T) => AmqpValue): AmqpValue {
  return value === undefined ? NULL_VALUE : of(value);
}

/** Null for a value that says what leaving it out says. */
function unless<T>(value: T, absent: T, of: (value: T) => AmqpValue): AmqpValue {
  return value === absent ? NULL_VALUE : of(value);
}

function symbols(values: readonly string[]): AmqpValue {
  return values.length === 0 ? NULL_VALUE : symbolsValue(values);
}

function fields(map: AmqpMap | undefined): AmqpValue {
  return map === undefined || map.size === 0 ? NULL_VALUE : fieldsValue(map);
}

export function performativeValue(of: Performative): AmqpValue {
  switch (of.kind) {
    case 'open':
      return composite(Descriptor.open, [
        stringValue(of.containerId),
        optional(of.hostname, stringValue),
        unless(of.maxFrameSize, UINT_MAX, uintValue),
        unless(of.channelMax, USHORT_MAX, ushortValue),
        optional(of.idleTimeOutMs, uintValue),
        NULL_VALUE,
        NULL_VALUE,
        symbols(of.offeredCapabilities),
        symbols(of.desiredCapabilities),
        fields(of.properties),
      ]);
    case 'begin':
      return composite(Descriptor.begin, [
        optional(of.remoteChannel, ushortValue),
        uintValue(of.nextOutgoingId),
        uintValue(of.incomingWindow),
        uintValue(of.outgoingWindow),
        unless(of.handleMax, UINT_MAX, uintValue),
        symbols(of.offeredCapabilities),
        symbols(of.desiredCapabilities),
        fields(of.properties),
      ]);
    case 'attach':
      return attachValue(of);
    case 'detach':
      return composite(Descriptor.detach, [
        uintValue(of.handle),
        booleanValue(of.closed),
        optional(of.error, errorValue),
      ]);
    case 'end':
      return composite(Descriptor.end, [optional(of.error, errorValue)]);
    case 'close':
      return composite(Descriptor.close, [optional(of.error, errorValue)]);
    case 'flow':
    case 'transfer':
    case 'disposition':
      return hotValue(of);
  }
}

function attachValue(of: Attach): AmqpValue {
  return composite(Descriptor.attach, [
    stringValue(of.name),
    uintValue(of.handle),
    booleanValue(of.role === 'receiver'),
    ubyteValue(of.senderSettleMode),
    ubyteValue(of.receiverSettleMode),
    optional(of.source, sourceValue),
    optional(of.target, targetValue),
    NULL_VALUE,
    NULL_VALUE,
    optional(of.initialDeliveryCount, uintValue),
    unless(of.maxMessageSize, 0, ulongValue),
    symbols(of.offeredCapabilities),
    symbols(of.desiredCapabilities),
    fields(of.properties),
  ]);
}

function hotValue(of: Extract<Performative, { kind: 'flow' | 'transfer' | 'disposition' }>): AmqpValue {
  switch (of.kind) {
    case 'flow':
      return composite(Descriptor.flow, [
        optional(of.nextIncomingId, uintValue),
        uintValue(of.incomingWindow),
        uintValue(of.nextOutgoingId),
        uintValue(of.outgoingWindow),
        optional(of.handle, uintValue),
        optional(of.deliveryCount, uintValue),
        optional(of.linkCredit, uintValue),
        optional(of.available, uintValue),
        unless(of.drain, false, booleanValue),
        unless(of.echo, false, booleanValue),
      ]);
    case 'transfer':
      return composite(Descriptor.transfer, [
        uintValue(of.handle),
        optional(of.deliveryId, uintValue),
        optional(of.deliveryTag, binaryValue),
        optional(of.messageFormat, uintValue),
        optional(of.settled, booleanValue),
        unless(of.more, false, booleanValue),
        optional(of.receiverSettleMode, ubyteValue),
        optional(of.state, stateValue),
        unless(of.resume, false, booleanValue),
        unless(of.aborted, false, booleanValue),
      ]);
    case 'disposition':
      return composite(Descriptor.disposition, [
        booleanValue(of.role === 'receiver'),
        uintValue(of.first),
        unless(of.last, of.first, uintValue),
        unless(of.settled, false, booleanValue),
        optional(of.state, stateValue),
      ]);
  }
}

export function errorValue({ condition, description, info }: AmqpError): AmqpValue {
  return composite(Descriptor.error, [symbolValue(condition), optional(description, stringValue), fields(info)]);
}

export function stateValue(of: DeliveryState): AmqpValue {
  switch (of.kind) {
    case 'received':
      return composite(Descriptor.received, [uintValue(of.sectionNumber), ulongValue(of.sectionOffset)]);
    case 'accepted':
      return composite(Descriptor.accepted, []);
    case 'rejected':
      return composite(Descriptor.rejected, [optional(of.error, errorValue)]);
    case 'released':
      return composite(Descriptor.released, []);
    case 'modified':
      return composite(Descriptor.modified, [
        unless(of.deliveryFailed, false, booleanValue),
        unless(of.undeliverableHere, false, booleanValue),
        optional(of.messageAnnotations, fieldsValue),
      ]);
    case 'declared':
      return composite(Descriptor.declared, [binaryValue(of.txnId)]);
    case 'transactional':
      return composite(Descriptor.transactionalState, [binaryValue(of.txnId), optional(of.outcome, stateValue)]);
  }
}

function terminusFields(of: Source | Target): AmqpValue[] {
  return [
    optional(of.address, stringValue),
    unless<number>(of.durable, 0, uintValue),
    unless<string>(of.expiryPolicy, 'session-end', symbolValue),
    unless(of.timeoutS, 0, uintValue),
    unless(of.dynamic, false, booleanValue),
    fields(of.dynamicNodeProperties),
  ];
}

export function sourceValue(of: Source): AmqpValue {
  return composite(Descriptor.source, [
    ...terminusFields(of),
    optional(of.distributionMode, symbolValue),
    filtersValue(of.filters),
    optional(of.defaultOutcome, stateValue),
    symbols(of.outcomes),
    symbols(of.capabilities),
  ]);
}

function filtersValue(filters: ReadonlyMap<string, Filter>): AmqpValue {
  return fields(new Map(Array.from(filters, ([name, filter]) => [name, filterValue(filter)] as const)));
}

function filterValue({ descriptor, value }: Filter): AmqpValue {
  if (descriptor === undefined) return value;
  return describedValue(typeof descriptor === 'string' ? symbolValue(descriptor) : ulongValue(descriptor), value);
}

export function targetValue(of: Target | Coordinator): AmqpValue {
  if (of.kind === 'coordinator') return composite(Descriptor.coordinator, [symbols(of.capabilities)]);
  return composite(Descriptor.target, [...terminusFields(of), symbols(of.capabilities)]);
}

export function saslValue(of: SaslPerformative): AmqpValue {
  switch (of.kind) {
    case 'sasl-mechanisms':
      return composite(Descriptor.saslMechanisms, [symbolsValue(of.mechanisms)]);
    case 'sasl-init':
      return composite(Descriptor.saslInit, [
        symbolValue(of.mechanism),
        optional(of.initialResponse, binaryValue),
        optional(of.hostname, stringValue),
      ]);
    case 'sasl-challenge':
      return composite(Descriptor.saslChallenge, [binaryValue(of.challenge)]);
    case 'sasl-response':
      return composite(Descriptor.saslResponse, [binaryValue(of.response)]);
    case 'sasl-outcome':
      return composite(Descriptor.saslOutcome, [ubyteValue(of.code), optional(of.additionalData, binaryValue)]);
  }
}
