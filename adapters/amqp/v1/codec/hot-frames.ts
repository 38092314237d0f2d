import { NO_BYTES } from './bytes.ts';
import { invalidField } from './codec-error.ts';
import type { AmqpMap, DeliveryState, Disposition, Flow, ReceiverSettleMode, Role, Transfer } from './performatives.ts';
import { NULL_VALUE } from './plain-values.ts';
import type { Reader } from './reader.ts';
import { missing, readState, requiredUint } from './states.ts';

/**
 * The three performatives that come by the hundred thousand, each read into one object that is used again. -1 stands for
 * fields that were left out.
 */

/** AMQP 2.7.5, with its payload. */
export class TransferFrame {
  handle = 0;
  deliveryId = -1;
  /** Where the delivery tag lies in `buffer`; -1: left out. */
  tagStart = -1;
  tagEnd = -1;
  messageFormat = -1;
  settled = false;
  more = false;
  receiverSettleMode: ReceiverSettleMode | -1 = -1;
  state: DeliveryState | undefined = undefined;
  resume = false;
  aborted = false;
  payloadStart = 0;
  payloadEnd = 0;
  /** What tag and payload lie in: stays as it is as long as it is referenced. */
  buffer: Buffer = NO_BYTES;
}

/** AMQP 2.7.6. */
export class DispositionFrame {
  role: Role = 'receiver';
  first = 0;
  last = 0;
  settled = false;
  state: DeliveryState | undefined = undefined;
}

/** AMQP 2.7.4. */
export class FlowFrame {
  nextIncomingId = -1;
  incomingWindow = 0;
  nextOutgoingId = 0;
  outgoingWindow = 0;
  handle = -1;
  deliveryCount = -1;
  linkCredit = -1;
  available = -1;
  drain = false;
  echo = false;
  /** Names a transaction for what is acquired by it (AMQP 4.4.3). */
  isTransactional = false;
}

/** The reader stands behind the descriptor; what follows the list is the payload. */
export function readTransfer(reader: Reader, into: TransferFrame): void {
  const { end } = reader;
  reader.enter('transfer', 11);
  into.handle = requiredUint(reader, 'transfer.handle');
  into.deliveryId = reader.has('transfer.delivery-id') ? reader.uint('transfer.delivery-id') : -1;
  if (reader.has('transfer.delivery-tag')) {
    into.tagStart = reader.binaryStart('transfer.delivery-tag');
    into.tagEnd = reader.at;
    // AMQP 2.8.7
    if (into.tagEnd - into.tagStart > 32) throw invalidField('transfer.delivery-tag is longer than 32 bytes');
  } else {
    into.tagStart = into.tagEnd = -1;
  }
  into.messageFormat = reader.has('transfer.message-format') ? reader.uint('transfer.message-format') : -1;
  into.settled = reader.has('transfer.settled') && reader.boolean('transfer.settled');
  into.more = reader.has('transfer.more') && reader.boolean('transfer.more');
  into.receiverSettleMode = reader.has('transfer.rcv-settle-mode')
    ? receiverSettleMode(reader, 'transfer.rcv-settle-mode')
    : -1;
  into.state = reader.has('transfer.state') ? readState(reader, 'transfer.state') : undefined;
  into.resume = reader.has('transfer.resume') && reader.boolean('transfer.resume');
  into.aborted = reader.has('transfer.aborted') && reader.boolean('transfer.aborted');
  if (reader.has('transfer.batchable')) reader.boolean('transfer.batchable');
  reader.leave('transfer', end);
  into.buffer = reader.buffer;
  into.payloadStart = reader.at;
  into.payloadEnd = end;
}

export function readDisposition(reader: Reader, into: DispositionFrame): void {
  const { end } = reader;
  reader.enter('disposition', 6);
  into.role = requiredRole(reader, 'disposition.role');
  into.first = requiredUint(reader, 'disposition.first');
  into.last = reader.has('disposition.last') ? reader.uint('disposition.last') : into.first;
  into.settled = reader.has('disposition.settled') && reader.boolean('disposition.settled');
  into.state = reader.has('disposition.state') ? readState(reader, 'disposition.state') : undefined;
  if (reader.has('disposition.batchable')) reader.boolean('disposition.batchable');
  reader.leave('disposition', end);
}

export function readFlow(reader: Reader, into: FlowFrame): void {
  const { end } = reader;
  reader.enter('flow', 11);
  into.nextIncomingId = reader.has('flow.next-incoming-id') ? reader.uint('flow.next-incoming-id') : -1;
  into.incomingWindow = requiredUint(reader, 'flow.incoming-window');
  into.nextOutgoingId = requiredUint(reader, 'flow.next-outgoing-id');
  into.outgoingWindow = requiredUint(reader, 'flow.outgoing-window');
  into.handle = reader.has('flow.handle') ? reader.uint('flow.handle') : -1;
  into.deliveryCount = reader.has('flow.delivery-count') ? reader.uint('flow.delivery-count') : -1;
  into.linkCredit = reader.has('flow.link-credit') ? reader.uint('flow.link-credit') : -1;
  into.available = reader.has('flow.available') ? reader.uint('flow.available') : -1;
  into.drain = reader.has('flow.drain') && reader.boolean('flow.drain');
  into.echo = reader.has('flow.echo') && reader.boolean('flow.echo');
  into.isTransactional = reader.has('flow.properties') && namesTransaction(reader.fields('flow.properties'));
  reader.leave('flow', end);
}

function namesTransaction(properties: AmqpMap): boolean {
  return (properties.get('txn-id') ?? NULL_VALUE).type !== 'null';
}

export function requiredRole(reader: Reader, what: string): Role {
  if (!reader.has(what)) throw missing(what);
  return reader.boolean(what) ? 'receiver' : 'sender';
}

export function receiverSettleMode(reader: Reader, what: string): ReceiverSettleMode {
  const mode = reader.ubyte(what);
  if (mode > 1) throw invalidField(`${what} is ${mode}`);
  return mode as ReceiverSettleMode;
}

/** As values that may be kept. */

export function toTransfer(frame: TransferFrame): Transfer {
  const { tagStart, tagEnd } = frame;
  return {
    kind: 'transfer',
    handle: frame.handle,
    deliveryId: present(frame.deliveryId),
    deliveryTag: tagStart < 0 ? undefined : Buffer.from(frame.buffer.subarray(tagStart, tagEnd)),
    messageFormat: present(frame.messageFormat),
    settled: frame.settled,
    more: frame.more,
    receiverSettleMode: frame.receiverSettleMode === -1 ? undefined : frame.receiverSettleMode,
    state: frame.state,
    resume: frame.resume,
    aborted: frame.aborted,
  };
}

export function toDisposition({ role, first, last, settled, state }: DispositionFrame): Disposition {
  return { kind: 'disposition', role, first, last, settled, state };
}

export function toFlow(frame: FlowFrame): Flow {
  const { incomingWindow, nextOutgoingId, outgoingWindow, drain, echo } = frame;
  return {
    kind: 'flow',
    nextIncomingId: present(frame.nextIncomingId),
    incomingWindow,
    nextOutgoingId,
    outgoingWindow,
    handle: present(frame.handle),
    deliveryCount: present(frame.deliveryCount),
    linkCredit: present(frame.linkCredit),
    available: present(frame.available),
    drain,
    echo,
  };
}

function present(value: number): number | undefined {
  return value < 0 ? undefined : value;
}
