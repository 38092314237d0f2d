import { CodecError, invalidField } from './codec-error.ts';
import { Descriptor } from './descriptors.ts';
import { receiverSettleMode, requiredRole } from './hot-frames.ts';
import type {
  AmqpMap,
  Attach,
  Begin,
  Close,
  Detach,
  End,
  Open,
  ReceiverSettleMode,
  SaslCode,
  SaslPerformative,
  SenderSettleMode,
} from './performatives.ts';
import type { Reader } from './reader.ts';
import { errorField, missing, requiredUint } from './states.ts';
import { NO_FIELDS, readSource, readTarget, symbolsField } from './termini.ts';

/** All performatives but those of hot-frames.ts. */
export type RarePerformative = Open | Begin | Attach | Detach | End | Close;

const UINT_MAX = 0xffff_ffff;
const USHORT_MAX = 0xffff;

/** The reader stands behind the descriptor. */
export function readPerformative(reader: Reader, descriptor: number): RarePerformative {
  switch (descriptor) {
    case Descriptor.open:
      return reader.list('open', 10, open);
    case Descriptor.begin:
      return reader.list('begin', 8, begin);
    case Descriptor.attach:
      return reader.list('attach', 14, attach);
    case Descriptor.detach:
      return reader.list('detach', 3, detach);
    case Descriptor.end:
      return reader.list('end', 1, end);
    case Descriptor.close:
      return reader.list('close', 1, close);
    default:
      throw new CodecError('amqp:not-implemented', 'the frame has a performative that is not known here');
  }
}

export function readSaslPerformative(reader: Reader, descriptor: number): SaslPerformative {
  switch (descriptor) {
    case Descriptor.saslMechanisms:
      return reader.list('sasl-mechanisms', 1, saslMechanisms);
    case Descriptor.saslInit:
      return reader.list('sasl-init', 3, saslInit);
    case Descriptor.saslChallenge:
      return reader.list('sasl-challenge', 1, saslChallenge);
    case Descriptor.saslResponse:
      return reader.list('sasl-response', 1, saslResponse);
    case Descriptor.saslOutcome:
      return reader.list('sasl-outcome', 2, saslOutcome);
    default:
      throw new CodecError('amqp:not-implemented', 'the SASL frame has a body that is not known here');
  }
}

function open(reader: Reader): Open {
  const containerId = requiredString(reader, 'open.container-id');
  const hostname = stringField(reader, 'open.hostname');
  const maxFrameSize = uintField(reader, 'open.max-frame-size', UINT_MAX);
  const channelMax = ushortField(reader, 'open.channel-max') ?? USHORT_MAX;
  const idleTimeOutMs = reader.has('open.idle-time-out') ? reader.uint('open.idle-time-out') : undefined;
  symbolsField(reader, 'open.outgoing-locales');
  symbolsField(reader, 'open.incoming-locales');
  const offeredCapabilities = symbolsField(reader, 'open.offered-capabilities');
  const desiredCapabilities = symbolsField(reader, 'open.desired-capabilities');
  const properties = fieldsField(reader, 'open.properties');
  return {
    kind: 'open',
    containerId,
    hostname,
    maxFrameSize,
    channelMax,
    idleTimeOutMs,
    offeredCapabilities,
    desiredCapabilities,
    properties,
  };
}

function begin(reader: Reader): Begin {
  return {
    kind: 'begin',
    remoteChannel: ushortField(reader, 'begin.remote-channel'),
    nextOutgoingId: requiredUint(reader, 'begin.next-outgoing-id'),
    incomingWindow: requiredUint(reader, 'begin.incoming-window'),
    outgoingWindow: requiredUint(reader, 'begin.outgoing-window'),
    handleMax: uintField(reader, 'begin.handle-max', UINT_MAX),
    offeredCapabilities: symbolsField(reader, 'begin.offered-capabilities'),
    desiredCapabilities: symbolsField(reader, 'begin.desired-capabilities'),
    properties: fieldsField(reader, 'begin.properties'),
  };
}

function attach(reader: Reader): Attach {
  const name = requiredString(reader, 'attach.name');
  const handle = requiredUint(reader, 'attach.handle');
  const role = requiredRole(reader, 'attach.role');
  const senderSettleMode = senderSettleModeField(reader);
  const settleMode: ReceiverSettleMode = reader.has('attach.rcv-settle-mode')
    ? receiverSettleMode(reader, 'attach.rcv-settle-mode')
    : 0;
  const source = reader.has('attach.source') ? readSource(reader) : undefined;
  const target = reader.has('attach.target') ? readTarget(reader) : undefined;
  // The deliveries of a link that was there before are not taken up again.
  if (reader.has('attach.unsettled')) reader.value('attach.unsettled');
  if (reader.has('attach.incomplete-unsettled')) reader.boolean('attach.incomplete-unsettled');
  return {
    kind: 'attach',
    name,
    handle,
    role,
    senderSettleMode,
    receiverSettleMode: settleMode,
    source,
    target,
    initialDeliveryCount: reader.has('attach.initial-delivery-count')
      ? reader.uint('attach.initial-delivery-count')
      : undefined,
    maxMessageSize: reader.has('attach.max-message-size') ? reader.size('attach.max-message-size') : 0,
    offeredCapabilities: symbolsField(reader, 'attach.offered-capabilities'),
    desiredCapabilities: symbolsField(reader, 'attach.desired-capabilities'),
    properties: fieldsField(reader, 'attach.properties'),
  };
}

function senderSettleModeField(reader: Reader): SenderSettleMode {
  if (!reader.has('attach.snd-settle-mode')) return 2;
  const mode = reader.ubyte('attach.snd-settle-mode');
  if (mode > 2) throw invalidField(`attach.snd-settle-mode is ${mode}`);
  return mode as SenderSettleMode;
}

function detach(reader: Reader): Detach {
  return {
    kind: 'detach',
    handle: requiredUint(reader, 'detach.handle'),
    closed: reader.has('detach.closed') && reader.boolean('detach.closed'),
    error: errorField(reader, 'detach.error'),
  };
}

function end(reader: Reader): End {
  return { kind: 'end', error: errorField(reader, 'end.error') };
}

function close(reader: Reader): Close {
  return { kind: 'close', error: errorField(reader, 'close.error') };
}

function saslMechanisms(reader: Reader): SaslPerformative {
  if (!reader.has('sasl-mechanisms')) throw missing('sasl-mechanisms.sasl-server-mechanisms');
  return { kind: 'sasl-mechanisms', mechanisms: reader.symbols('sasl-mechanisms.sasl-server-mechanisms') };
}

function saslInit(reader: Reader): SaslPerformative {
  if (!reader.has('sasl-init.mechanism')) throw missing('sasl-init.mechanism');
  return {
    kind: 'sasl-init',
    mechanism: reader.symbol('sasl-init.mechanism'),
    initialResponse: binaryField(reader, 'sasl-init.initial-response'),
    hostname: stringField(reader, 'sasl-init.hostname'),
  };
}

function saslChallenge(reader: Reader): SaslPerformative {
  return { kind: 'sasl-challenge', challenge: requiredBinary(reader, 'sasl-challenge.challenge') };
}

function saslResponse(reader: Reader): SaslPerformative {
  return { kind: 'sasl-response', response: requiredBinary(reader, 'sasl-response.response') };
}

function saslOutcome(reader: Reader): SaslPerformative {
  if (!reader.has('sasl-outcome.code')) throw missing('sasl-outcome.code');
  const code = reader.ubyte('sasl-outcome.code');
  if (code > 4) throw invalidField(`sasl-outcome.code is ${code}`);
  return {
    kind: 'sasl-outcome',
    code: code as SaslCode,
    additionalData: binaryField(reader, 'sasl-outcome.additional-data'),
  };
}

function requiredString(reader: Reader, what: string): string {
  if (!reader.has(what)) throw missing(what);
  return reader.string(what);
}

function stringField(reader: Reader, what: string): string | undefined {
  return reader.has(what) ? reader.string(what) : undefined;
}

function uintField(reader: Reader, what: string, absent: number): number {
  return reader.has(what) ? reader.uint(what) : absent;
}

function ushortField(reader: Reader, what: string): number | undefined {
  return reader.has(what) ? reader.ushort(what) : undefined;
}

function fieldsField(reader: Reader, what: string): AmqpMap {
  return reader.has(what) ? reader.fields(what) : NO_FIELDS;
}

function requiredBinary(reader: Reader, what: string): Buffer {
  if (!reader.has(what)) throw missing(what);
  return reader.binary(what);
}

function binaryField(reader: Reader, what: string): Buffer | undefined {
  return reader.has(what) ? reader.binary(what) : undefined;
}
