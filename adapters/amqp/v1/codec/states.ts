import { CodecError, decodeError, invalidField } from './codec-error.ts';
import { Descriptor } from './descriptors.ts';
import { ACCEPTED, type AmqpError, type DeliveryState, type Outcome, RELEASED } from './performatives.ts';
import type { Reader } from './reader.ts';

/** Delivery states (AMQP 3.4 and 4.5) and errors (AMQP 2.8.14) read. */

export function readState(reader: Reader, what: string): DeliveryState {
  const descriptor = reader.descriptor(what);
  switch (descriptor) {
    case Descriptor.received:
      return reader.list('received', 2, received);
    case Descriptor.declared:
      return reader.list('declared', 1, declared);
    case Descriptor.transactionalState:
      return reader.list('transactional-state', 2, transactionalState);
    default:
      return outcomeOf(reader, descriptor, what);
  }
}

function outcomeOf(reader: Reader, descriptor: number, what: string): Outcome {
  switch (descriptor) {
    case Descriptor.accepted:
      reader.list('accepted', 0, nothing);
      return ACCEPTED;
    case Descriptor.released:
      reader.list('released', 0, nothing);
      return RELEASED;
    case Descriptor.rejected:
      return reader.list('rejected', 1, rejected);
    case Descriptor.modified:
      return reader.list('modified', 3, modified);
    default:
      throw new CodecError('amqp:not-implemented', `${what} is a state that is not known here`);
  }
}

function nothing(): void {}

function received(reader: Reader): DeliveryState {
  return {
    kind: 'received',
    sectionNumber: requiredUint(reader, 'received.section-number'),
    sectionOffset: requiredSize(reader, 'received.section-offset'),
  };
}

function rejected(reader: Reader): Outcome {
  return { kind: 'rejected', error: errorField(reader, 'rejected.error') };
}

function modified(reader: Reader): Outcome {
  return {
    kind: 'modified',
    deliveryFailed: reader.has('modified.delivery-failed') && reader.boolean('modified.delivery-failed'),
    undeliverableHere: reader.has('modified.undeliverable-here') && reader.boolean('modified.undeliverable-here'),
    messageAnnotations: reader.has('modified.message-annotations')
      ? reader.fields('modified.message-annotations')
      : undefined,
  };
}

function declared(reader: Reader): DeliveryState {
  return { kind: 'declared', txnId: txnId(reader, 'declared.txn-id') };
}

function transactionalState(reader: Reader): DeliveryState {
  return {
    kind: 'transactional',
    txnId: txnId(reader, 'transactional-state.txn-id'),
    outcome: reader.has('transactional-state.outcome') ? readOutcome(reader, 'transactional-state.outcome') : undefined,
  };
}

function readOutcome(reader: Reader, what: string): Outcome {
  return outcomeOf(reader, reader.descriptor(what), what);
}

function txnId(reader: Reader, what: string): Buffer {
  if (!reader.has(what)) throw missing(what);
  return reader.binary(what);
}

/** The next field, an error. */
export function errorField(reader: Reader, what: string): AmqpError | undefined {
  if (!reader.has(what)) return undefined;
  if (reader.descriptor(what) !== Descriptor.error) throw decodeError(`${what} is not an error`);
  return reader.list(what, 3, error);
}

function error(reader: Reader): AmqpError {
  if (!reader.has('error.condition')) throw missing('error.condition');
  return {
    condition: reader.symbol('error.condition'),
    description: reader.has('error.description') ? reader.string('error.description') : undefined,
    info: reader.has('error.info') ? reader.fields('error.info') : undefined,
  };
}

export function requiredUint(reader: Reader, what: string): number {
  if (!reader.has(what)) throw missing(what);
  return reader.uint(what);
}

function requiredSize(reader: Reader, what: string): number {
  if (!reader.has(what)) throw missing(what);
  return reader.size(what);
}

export function missing(what: string): CodecError {
  return invalidField(`${what} is missing`);
}
