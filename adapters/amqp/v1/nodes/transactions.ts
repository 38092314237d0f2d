import { randomBytes } from 'node:crypto';
import { BrokerError, failed, succeeded, type Outcome as BrokerOutcome } from '../../../../core/model/broker-error.ts';
import {
  OutgoingMessage,
  type Delivery,
  type Receipt,
  type SettleAction,
} from '../../../../core/ports/message-engine.ts';
import { ACCEPTED, type AmqpError, type Outcome, type TransactionalState } from '../codec/performatives.ts';
import type { Link } from '../node.ts';
import type { NodeContext } from './node-context.ts';
import { copyOf } from './outgoing.ts';
import { RELEASE_COUNTED } from './verdicts.ts';

/** AMQP 4.5.6. */
const UNKNOWN_ID = 'amqp:transaction:unknown-id';
const ROLLBACK = 'amqp:transaction:rollback';
const TIMEOUT = 'amqp:transaction:timeout';

interface Retirement {
  readonly receipt: Receipt;
  readonly delivery: Delivery;
  /** What the client said of the message, which counts when the transaction is committed. */
  readonly action: SettleAction;
}

/** What was sent and retired under one id, and has no effect yet. */
class Transaction {
  readonly id: Buffer;
  readonly owner: string;
  readonly timer: Disposable;
  readonly sends: OutgoingMessage[] = [];
  readonly retirements: Retirement[] = [];
  /** What is to be done when all of it is durable. */
  readonly afterwards: (() => unknown)[] = [];
  /** What belongs to it and cannot be held yet. */
  readonly coming = new Set<Promise<unknown>>();
  bytes = 0;
  /** Why it can only be rolled back. */
  broken: AmqpError | undefined;

  constructor(id: Buffer, owner: string, timer: Disposable) {
    this.id = id;
    this.owner = owner;
    this.timer = timer;
  }
}

/** AMQP 4.2: local transactions. Work is held here until discharge, and becomes durable and visible in one commit. */
export class Transactions {
  private readonly context: NodeContext;
  private readonly open = new Map<string, Transaction>();

  constructor(context: NodeContext) {
    this.context = context;
  }

  /** Open ones. */
  get count(): number {
    return this.open.size;
  }

  declare(owner: string): Buffer {
    const { clock } = this.context.broker;
    const id = randomBytes(16);
    const timer = clock.schedule(this.context.options.transactionTimeoutMs, () => this.expire(id));
    this.open.set(keyOf(id), new Transaction(id, owner, timer));
    this.context.leases.add(this);
    return id;
  }

  /**
   * Holds a message until discharge.
   * @returns what the client is answered; undefined: there is no such transaction, and the link was ended
   */
  send(link: Link, { txnId }: TransactionalState, outgoing: OutgoingMessage): TransactionalState | undefined {
    const transaction = this.find(link, txnId);
    if (transaction === undefined) return undefined;
    const { topic, address, message } = outgoing;
    this.grow(transaction, message.bytes);
    // A copy: the bytes belong to whoever took the message in, for as long as a send takes.
    if (transaction.broken === undefined) transaction.sends.push(new OutgoingMessage(topic, address, copyOf(message)));
    return this.taken(transaction);
  }

  /**
   * A message of the transaction was not taken: what is left of it is not what its client wants to be done as one, so that it
   * can only be rolled back.
   * @returns as `send`
   */
  refuse(link: Link, { txnId }: TransactionalState, outcome: Outcome): TransactionalState | undefined {
    const transaction = this.find(link, txnId);
    if (transaction === undefined) return undefined;
    const why = outcome.kind === 'rejected' ? outcome.error?.description : 'no queue is bound for it';
    transaction.broken ??= { condition: ROLLBACK, description: `a message of the transaction was not taken: ${why}` };
    transaction.sends.length = 0;
    return { kind: 'transactional', txnId: transaction.id, outcome };
  }

  /** Something of the transaction is on its way to it: discharge waits for that. */
  expect(txnId: Buffer, work: Promise<unknown>): void {
    const coming = this.open.get(keyOf(txnId))?.coming;
    if (coming === undefined) return;
    coming.add(work);
    void work.finally(() => coming.delete(work));
  }

  /** Holds what is not stored until discharge. */
  sendLater(link: Link, { txnId }: TransactionalState, bytes: number, send: () => unknown) {
    const transaction = this.find(link, txnId);
    if (transaction === undefined) return undefined;
    this.grow(transaction, bytes);
    if (transaction.broken === undefined) transaction.afterwards.push(send);
    return this.taken(transaction);
  }

  /** Holds an outcome until discharge. */
  retire(link: Link, { txnId, outcome }: TransactionalState, delivery: Delivery, verdict: Verdict): void {
    const { receipt } = delivery;
    const transaction = this.find(link, txnId);
    if (transaction === undefined) {
      this.context.settling.settle(receipt, RELEASE_COUNTED);
      return;
    }
    transaction.retirements.push({ receipt, delivery, action: verdict(outcome) });
    this.grow(transaction, RETIREMENT_BYTES);
  }

  /** What was retired stays leased until discharge. */
  *held(): Iterable<Delivery> {
    for (const { retirements } of this.open.values()) for (const { delivery } of retirements) yield delivery;
  }

  /** @returns why it was rolled back although a commit was asked for, as a failure */
  async discharge(owner: string, txnId: Buffer, fail: boolean): Promise<BrokerOutcome<undefined> | AmqpError> {
    const transaction = this.open.get(keyOf(txnId));
    if (transaction === undefined || transaction.owner !== owner) return unknownId();
    while (transaction.coming.size > 0) await Promise.allSettled(transaction.coming);
    // Another discharge of it has waited, too.
    if (!this.open.has(keyOf(txnId))) return unknownId();
    this.close(transaction);
    if (fail || transaction.broken !== undefined) {
      this.rollBack(transaction);
      return fail ? succeeded(undefined) : { condition: ROLLBACK, description: transaction.broken!.description };
    }
    const settle = transaction.retirements;
    const outcome = await this.commit(transaction.sends, settle);
    if (outcome.ok) {
      for (const act of transaction.afterwards) act();
      return succeeded(undefined);
    }
    this.rollBack(transaction);
    return { condition: ROLLBACK, description: outcome.error.message };
  }

  /** The coordinator's link, its session or connection is gone: nothing of its open transactions happened. */
  rollBackOf(ids: Iterable<Buffer>): void {
    for (const id of ids) {
      const transaction = this.open.get(keyOf(id));
      if (transaction === undefined) continue;
      this.close(transaction);
      this.rollBack(transaction);
    }
  }

  private async commit(sends: readonly OutgoingMessage[], settle: readonly Retirement[]) {
    try {
      return await this.context.broker.transact(sends, settle);
    } catch (error) {
      if (error instanceof BrokerError) return { ok: false as const, error };
      this.context.log.error({ err: error }, 'a transaction could not be committed');
      return failed('INTERNAL', 'internal error');
    }
  }

  private taken({ id, broken }: Transaction): TransactionalState {
    const outcome: Outcome = broken === undefined ? ACCEPTED : { kind: 'rejected', error: broken };
    return { kind: 'transactional', txnId: id, outcome };
  }

  private find(link: Link, txnId: Buffer): Transaction | undefined {
    const transaction = this.open.get(keyOf(txnId));
    if (transaction?.owner === link.peer.owner) return transaction;
    link.detach(unknownId());
    return undefined;
  }

  private grow(transaction: Transaction, bytes: number): void {
    transaction.bytes += bytes;
    const { transactionBytesMax } = this.context.options;
    if (transaction.bytes <= transactionBytesMax) return;
    const description = `the transaction has more than ${transactionBytesMax} bytes`;
    transaction.broken ??= { condition: 'amqp:resource-limit-exceeded', description };
    transaction.sends.length = 0;
  }

  /** It stays known, so that whoever goes on with it learns why it cannot. */
  private expire(id: Buffer): void {
    const transaction = this.open.get(keyOf(id));
    if (transaction === undefined) return;
    transaction.broken = { condition: TIMEOUT, description: 'the transaction was open for too long' };
    this.rollBack(transaction);
    transaction.sends.length = 0;
    transaction.retirements.length = 0;
  }

  private close(transaction: Transaction): void {
    this.open.delete(keyOf(transaction.id));
    if (this.open.size === 0) this.context.leases.delete(this);
    transaction.timer[Symbol.dispose]();
  }

  private rollBack({ retirements }: Transaction): void {
    for (const { receipt } of retirements) this.context.settling.settle(receipt, RELEASE_COUNTED);
  }
}

type Verdict = (outcome: Outcome | undefined) => SettleAction;

/** What an outcome counts for in the size of a transaction. */
const RETIREMENT_BYTES = 256;

function keyOf(id: Buffer): string {
  return id.toString('latin1');
}

function unknownId(): AmqpError {
  return { condition: UNKNOWN_ID, description: 'there is no such transaction on this connection' };
}
