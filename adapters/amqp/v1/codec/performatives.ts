import type { AmqpValue } from './values.ts';

/**
 * The performatives of AMQP 1.0 as values, with the defaults of the standard filled in (part 2.7, 3.4, 3.5, 4.5, 5.3.3).
 * Where a peer may leave a field out and that means something else than a default, the field is undefined.
 */

export type Performative = Open | Begin | Attach | Flow | Transfer | Disposition | Detach | End | Close;

/** AMQP 2.8.14. */
export interface AmqpError {
  /** A symbol: `amqp:not-found`, ... */
  readonly condition: string;
  readonly description?: string | undefined;
  readonly info?: AmqpMap | undefined;
}

/** A map whose keys are symbols or strings; the order is kept. */
export type AmqpMap = ReadonlyMap<string, AmqpValue>;

/** AMQP 2.7.1. */
export interface Open {
  readonly kind: 'open';
  readonly containerId: string;
  readonly hostname?: string | undefined;
  /** 4,294,967,295 where the peer says nothing. */
  readonly maxFrameSize: number;
  readonly channelMax: number;
  /** Milliseconds without a frame after which the peer gives up; undefined: never. */
  readonly idleTimeOutMs?: number | undefined;
  readonly offeredCapabilities: readonly string[];
  readonly desiredCapabilities: readonly string[];
  readonly properties: AmqpMap;
}

/** AMQP 2.7.2. */
export interface Begin {
  readonly kind: 'begin';
  /** The channel of the session this answers; undefined for one the sender begins. */
  readonly remoteChannel?: number | undefined;
  readonly nextOutgoingId: number;
  readonly incomingWindow: number;
  readonly outgoingWindow: number;
  readonly handleMax: number;
  readonly offeredCapabilities: readonly string[];
  readonly desiredCapabilities: readonly string[];
  readonly properties: AmqpMap;
}

/** Who wrote the frame, on this link. */
export type Role = 'sender' | 'receiver';

export const SenderSettleMode = { unsettled: 0, settled: 1, mixed: 2 } as const;
export type SenderSettleMode = (typeof SenderSettleMode)[keyof typeof SenderSettleMode];
export const ReceiverSettleMode = { first: 0, second: 1 } as const;
export type ReceiverSettleMode = (typeof ReceiverSettleMode)[keyof typeof ReceiverSettleMode];

/** AMQP 2.7.3. */
export interface Attach {
  readonly kind: 'attach';
  readonly name: string;
  readonly handle: number;
  readonly role: Role;
  readonly senderSettleMode: SenderSettleMode;
  readonly receiverSettleMode: ReceiverSettleMode;
  readonly source?: Source | undefined;
  readonly target?: Target | Coordinator | undefined;
  /** Only a sender says it. */
  readonly initialDeliveryCount?: number | undefined;
  /** Bytes; 0: no limit. */
  readonly maxMessageSize: number;
  readonly offeredCapabilities: readonly string[];
  readonly desiredCapabilities: readonly string[];
  readonly properties: AmqpMap;
}

/** AMQP 3.5.5. */
export const TerminusDurability = { none: 0, configuration: 1, unsettledState: 2 } as const;
export type TerminusDurability = (typeof TerminusDurability)[keyof typeof TerminusDurability];
/** AMQP 3.5.6. */
export type ExpiryPolicy = 'link-detach' | 'session-end' | 'connection-close' | 'never';

interface Terminus {
  /** Undefined: null, or not a string. */
  readonly address?: string | undefined;
  readonly durable: TerminusDurability;
  readonly expiryPolicy: ExpiryPolicy;
  readonly timeoutS: number;
  readonly dynamic: boolean;
  readonly dynamicNodeProperties: AmqpMap;
  readonly capabilities: readonly string[];
}

/** AMQP 3.5.3. */
export interface Source extends Terminus {
  readonly kind: 'source';
  readonly distributionMode?: string | undefined;
  /** By the name the peer gave. */
  readonly filters: ReadonlyMap<string, Filter>;
  readonly defaultOutcome?: DeliveryState | undefined;
  /** Symbols. */
  readonly outcomes: readonly string[];
}

/** AMQP 3.5.8: a described value; peers also send the value alone. */
export interface Filter {
  /** `apache.org:selector-filter:string`, or the number of it as `0x468C00000004n`; undefined for a value alone. */
  readonly descriptor?: string | bigint | undefined;
  readonly value: AmqpValue;
}

/** AMQP 3.5.4. */
export interface Target extends Terminus {
  readonly kind: 'target';
}

/** AMQP 4.5.1. */
export interface Coordinator {
  readonly kind: 'coordinator';
  readonly capabilities: readonly string[];
}

/** AMQP 2.7.4. */
export interface Flow {
  readonly kind: 'flow';
  readonly nextIncomingId?: number | undefined;
  readonly incomingWindow: number;
  readonly nextOutgoingId: number;
  readonly outgoingWindow: number;
  readonly handle?: number | undefined;
  readonly deliveryCount?: number | undefined;
  readonly linkCredit?: number | undefined;
  readonly available?: number | undefined;
  readonly drain: boolean;
  readonly echo: boolean;
}

/** AMQP 2.7.5. */
export interface Transfer {
  readonly kind: 'transfer';
  readonly handle: number;
  readonly deliveryId?: number | undefined;
  readonly deliveryTag?: Buffer | undefined;
  readonly messageFormat?: number | undefined;
  readonly settled?: boolean | undefined;
  readonly more: boolean;
  readonly receiverSettleMode?: ReceiverSettleMode | undefined;
  readonly state?: DeliveryState | undefined;
  readonly resume: boolean;
  readonly aborted: boolean;
}

/** AMQP 2.7.6. */
export interface Disposition {
  readonly kind: 'disposition';
  readonly role: Role;
  readonly first: number;
  readonly last: number;
  readonly settled: boolean;
  readonly state?: DeliveryState | undefined;
}

/** AMQP 2.7.7. */
export interface Detach {
  readonly kind: 'detach';
  readonly handle: number;
  readonly closed: boolean;
  readonly error?: AmqpError | undefined;
}

/** AMQP 2.7.8. */
export interface End {
  readonly kind: 'end';
  readonly error?: AmqpError | undefined;
}

/** AMQP 2.7.9. */
export interface Close {
  readonly kind: 'close';
  readonly error?: AmqpError | undefined;
}

/** AMQP 3.4 and 4.5: how far a delivery is. */
export type DeliveryState = Outcome | Received | Declared | TransactionalState;

export type Outcome = Accepted | Rejected | Released | Modified;
export interface Received {
  readonly kind: 'received';
  readonly sectionNumber: number;
  readonly sectionOffset: number;
}
export interface Accepted {
  readonly kind: 'accepted';
}
export interface Rejected {
  readonly kind: 'rejected';
  readonly error?: AmqpError | undefined;
}
export interface Released {
  readonly kind: 'released';
}
export interface Modified {
  readonly kind: 'modified';
  readonly deliveryFailed: boolean;
  readonly undeliverableHere: boolean;
  readonly messageAnnotations?: AmqpMap | undefined;
}
/** AMQP 4.5.5. */
export interface Declared {
  readonly kind: 'declared';
  readonly txnId: Buffer;
}
/** AMQP 4.5.8. */
export interface TransactionalState {
  readonly kind: 'transactional';
  readonly txnId: Buffer;
  readonly outcome?: Outcome | undefined;
}

export const ACCEPTED: Accepted = { kind: 'accepted' };
export const RELEASED: Released = { kind: 'released' };

/** AMQP 5.3.3. */
export type SaslPerformative = SaslMechanisms | SaslInit | SaslChallenge | SaslResponse | SaslOutcome;
export interface SaslMechanisms {
  readonly kind: 'sasl-mechanisms';
  readonly mechanisms: readonly string[];
}
export interface SaslInit {
  readonly kind: 'sasl-init';
  readonly mechanism: string;
  readonly initialResponse?: Buffer | undefined;
  readonly hostname?: string | undefined;
}
export interface SaslChallenge {
  readonly kind: 'sasl-challenge';
  readonly challenge: Buffer;
}
export interface SaslResponse {
  readonly kind: 'sasl-response';
  readonly response: Buffer;
}
export const SaslCode = { ok: 0, auth: 1, sys: 2, sysPerm: 3, sysTemp: 4 } as const;
export type SaslCode = (typeof SaslCode)[keyof typeof SaslCode];
export interface SaslOutcome {
  readonly kind: 'sasl-outcome';
  readonly code: SaslCode;
  readonly additionalData?: Buffer | undefined;
}
