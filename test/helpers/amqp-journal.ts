import { Journal } from './journal.ts';

/** What queues owe to receivers before senders wait. */
const OWED_MAX = 400;

/** A message as its sender knows it; sent again after a lost connection it is still the same one. */
export interface QueuedMessage {
  readonly queue: string;
  /** Of one sender in one queue. */
  readonly stream: string;
  /** From 0, in the order of sending. */
  readonly sequence: number;
}

/** One sending of a message, known by its number: a queue has each once at most. */
interface Sending {
  readonly message: QueuedMessage;
  readonly transaction: Transaction | undefined;
  readonly body: Buffer;
  /** The life of the gateway in which a receiver has it, or has answered for it. */
  heldInLife: number;
  isDelivered: boolean;
  /** The gateway said that it is gone for good. */
  isConfirmed: boolean;
}

/** Sends to several queues and accepts from one, as a whole. */
export interface Transaction {
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** `unknown` until its discharge is answered, or what happened shows. */
  state: 'unknown' | 'applied' | 'undone';
}

export interface AmqpJournalCounts {
  readonly sends: number;
  /** Sendings that the gateway accepted. */
  readonly accepted: number;
  readonly delivered: number;
  readonly redelivered: number;
  readonly confirmed: number;
  readonly applied: number;
  readonly undone: number;
}

/** What AMQP clients saw of a gateway that is killed again and again, and whether it adds up. */
export class AmqpJournal extends Journal<AmqpJournalCounts> {
  private readonly sendings: Sending[] = [];
  private readonly messagesOpen = new Set<QueuedMessage>();
  /** Accepted by the gateway, and not delivered yet. */
  private readonly toDeliver = new Set<number>();
  /** Delivered, and still to be accepted by a receiver. */
  private readonly toAccept = new Set<number>();
  private readonly transactionsOf = new Map<number, Transaction[]>();
  private readonly nextSequences = new Map<string, number>();
  private readonly lastSequences = new Map<string, number>();
  /** Delivered, by whichever sending. */
  private readonly messagesSeen = new Set<QueuedMessage>();
  private life = 0;
  private accepted = 0;
  private delivered = 0;
  private redelivered = 0;
  private confirmed = 0;
  private applied = 0;
  private undone = 0;

  constructor() {
    super(OWED_MAX);
  }

  override beginLife(): void {
    this.life++;
    super.beginLife();
  }

  /** The next message of the stream; to be sent until it is accepted. */
  create(queue: string, sender: string): QueuedMessage {
    const message = this.nextOf(queue, sender);
    this.messagesOpen.add(message);
    return message;
  }

  /** @returns the number of this sending */
  sent(message: QueuedMessage, transaction?: Transaction): number {
    const serial = this.sendings.length;
    const state = { heldInLife: 0, isDelivered: false, isConfirmed: false };
    this.sendings.push({ message, transaction, body: bodyOf(serial), ...state });
    return serial;
  }

  bodyOf(serial: number): Buffer {
    return this.sendings[serial]!.body;
  }

  /** The gateway said that it has it. */
  sendAccepted(serial: number): void {
    const { message } = this.sendings[serial]!;
    this.accepted++;
    this.messagesOpen.delete(message);
    this.expect(serial);
    this.entered();
  }

  /**
   * A receiver got it.
   * @returns the number of the sending; undefined when there was none like it
   */
  arrived(queue: string, body: Buffer): number | undefined {
    const serial = Number(body.toString('latin1', 0, body.indexOf(0x20)));
    const sending = this.sendings[serial];
    this.delivered++;
    if (sending === undefined || sending.message.queue !== queue || !body.equals(sending.body)) {
      this.fault(`${queue}: ${body.toString('latin1', 0, 20)}... was not sent there`);
      return undefined;
    }
    this.checkDelivery(serial, sending);
    this.toDeliver.delete(serial);
    this.toAccept.add(serial);
    sending.heldInLife = this.life;
    sending.isDelivered = true;
    this.entered();
    return serial;
  }

  /** The receiver gave it back. */
  released(serial: number): void {
    this.sendings[serial]!.heldInLife = 0;
  }

  /** The receiver says that it is done with it; it may come back in another life, unless that is confirmed. */
  receiverAccepted(serial: number): void {
    this.toAccept.delete(serial);
    this.giveRoom();
    this.entered();
  }

  /** The gateway said that it will not come again. */
  receiverConfirmed(serial: number): void {
    this.sendings[serial]!.isConfirmed = true;
    this.confirmed++;
    this.entered();
  }

  /** What is going to be sent and accepted as a whole. The outputs are named by their queues. */
  begin(inputs: readonly number[], queues: readonly string[], sender: string): Transaction {
    const outputs: number[] = [];
    const transaction: Transaction = { inputs, outputs, state: 'unknown' };
    for (const queue of queues) outputs.push(this.sent(this.nextOf(queue, sender), transaction));
    for (const input of inputs) {
      const others = this.transactionsOf.get(input) ?? [];
      this.transactionsOf.set(input, [...others, transaction]);
    }
    return transaction;
  }

  /** Its discharge was confirmed, or there is something that only it can have sent. */
  apply(transaction: Transaction, why: string): void {
    const { inputs, outputs, state } = transaction;
    if (state === 'applied') return;
    if (state === 'undone') this.fault(`a transaction was undone, and then ${why}`);
    transaction.state = 'applied';
    this.applied++;
    for (const output of outputs) this.expect(output);
    for (const input of inputs) {
      this.receiverAccepted(input);
      this.receiverConfirmed(input);
    }
  }

  /** Its rollback was confirmed, or something came back that it would have taken away. */
  undo(transaction: Transaction, why: string): void {
    if (transaction.state === 'undone') return;
    if (transaction.state === 'applied') this.fault(`a transaction was applied, and then ${why}`);
    transaction.state = 'undone';
    this.undone++;
    for (const input of transaction.inputs) this.released(input);
  }

  /** Whether every message came, and every one that came is done with. */
  get isComplete(): boolean {
    return this.messagesOpen.size + this.toDeliver.size + this.toAccept.size === 0;
  }

  /** What should have come: numbers of sendings with their queues. */
  get missing(): string[] {
    return [...this.toDeliver].map((serial) => `${serial} in ${this.sendings[serial]!.message.queue}`);
  }

  /** What came, was not accepted, and did not come back to be. */
  get stranded(): string[] {
    return [...this.toAccept].map((serial) => `${serial} in ${this.sendings[serial]!.message.queue}`);
  }

  get counts(): AmqpJournalCounts {
    const { accepted, delivered, redelivered, confirmed, applied, undone } = this;
    return { sends: this.sendings.length, accepted, delivered, redelivered, confirmed, applied, undone };
  }

  protected get owed(): number {
    return this.toDeliver.size + this.toAccept.size;
  }

  private nextOf(queue: string, sender: string): QueuedMessage {
    const stream = `${queue}/${sender}`;
    const sequence = this.nextSequences.get(stream) ?? 0;
    this.nextSequences.set(stream, sequence + 1);
    return { queue, stream, sequence };
  }

  private expect(serial: number): void {
    if (!this.sendings[serial]!.isDelivered) this.toDeliver.add(serial);
  }

  private checkDelivery(serial: number, sending: Sending): void {
    const { message, transaction, isConfirmed, isDelivered, heldInLife } = sending;
    const where = `${message.stream}#${message.sequence} (${serial})`;
    if (transaction !== undefined) this.apply(transaction, `${where} came`);
    for (const retiring of this.transactionsOf.get(serial) ?? []) {
      if (retiring.state !== 'undone') this.undo(retiring, `${where} came back`);
    }
    if (isConfirmed) this.fault(`${where} came again after its acceptance was confirmed`);
    if (heldInLife === this.life) this.fault(`${where} came again while a receiver had it, or after it accepted`);
    if (isDelivered) this.redelivered++;
    else this.checkOrder(message, where);
  }

  /** Senders send again in order what was not accepted, so what comes for the first time never steps back. */
  private checkOrder(message: QueuedMessage, where: string): void {
    const { stream, sequence } = message;
    const last = this.lastSequences.get(stream) ?? -1;
    if (sequence < last && !this.messagesSeen.has(message)) this.fault(`${where} came first after #${last}`);
    this.messagesSeen.add(message);
    this.lastSequences.set(stream, Math.max(last, sequence));
  }
}

/** The number, a space, and up to 400 bytes that follow from the number. */
function bodyOf(serial: number): Buffer {
  const head = Buffer.from(`${serial} `, 'latin1');
  return Buffer.alloc(head.length + ((serial * 7919) % 400), `${serial} abcdefghij `);
}
