import { hashText } from '../../core/model/address.ts';
import { Journal } from './journal.ts';

/** Acknowledgements by consumers that may be outstanding before publishers wait. */
const OWED_MAX = 800;

/** One message as its publisher knows it; sent again after a lost connection it is still the same one. */
export interface SentMessage {
  /** `<message group>#<sequence>` */
  readonly id: string;
  readonly messageGroup: string;
  /** From 0, without gaps, in the order of sending. */
  readonly sequence: number;
  readonly body: Buffer;
}

/** A message as a consumer got it. */
export interface Arrival {
  readonly group: string;
  readonly queue: number;
  readonly offset: number;
  readonly attempt: number;
  readonly messageGroup: string;
  readonly body: Buffer;
}

export interface JournalCounts {
  readonly messages: number;
  /** More than messages when some were sent again. */
  readonly sends: number;
  readonly acked: number;
  readonly delivered: number;
  /** Deliveries of a stored message its group had seen before. */
  readonly redelivered: number;
  readonly confirmedAcks: number;
}

interface SendRecord {
  readonly message: SentMessage;
  sends: number;
  isAcked: boolean;
}

/** One consumer group's view. A stored message is known by its place, `queue:offset`. */
interface GroupRecord {
  readonly isFifo: boolean;
  readonly ids: Set<string>;
  readonly places: Set<string>;
  /** Places for which an acknowledgement was sent, whatever came of it. */
  readonly ackedPlaces: Set<string>;
  /** Place to when the acknowledgement was confirmed. */
  readonly confirmedAtMs: Map<string, number>;
  /** Message group to the highest sequence delivered so far. */
  readonly lastSequences: Map<string, number>;
}

/**
 * What clients saw of a gateway that is killed again and again, and whether it adds up. Everything is checked as it comes
 * in; what has to be complete is checked by `missing`.
 */
export class DeliveryJournal extends Journal<JournalCounts> {
  private readonly records = new Map<string, SendRecord>();
  private readonly groups = new Map<string, GroupRecord>();
  /** Place to message: a place never changes its message, in no group and over no restart. */
  private readonly stored = new Map<string, string>();
  private readonly copies = new Map<string, number>();
  private readonly nextSequences = new Map<string, number>();
  private acked = 0;
  private sends = 0;
  private delivered = 0;
  private redelivered = 0;
  private confirmed = 0;

  constructor(groups: readonly { readonly name: string; readonly isFifo: boolean }[]) {
    super(OWED_MAX);
    for (const { name, isFifo } of groups) {
      const sets = { ids: new Set<string>(), places: new Set<string>(), ackedPlaces: new Set<string>() };
      this.groups.set(name, { isFifo, ...sets, confirmedAtMs: new Map(), lastSequences: new Map() });
    }
  }

  /** The next message of the message group, not sent yet. */
  create(messageGroup: string): SentMessage {
    const sequence = this.nextSequences.get(messageGroup) ?? 0;
    this.nextSequences.set(messageGroup, sequence + 1);
    const id = `${messageGroup}#${sequence}`;
    const message = { id, messageGroup, sequence, body: bodyOf(id) };
    this.records.set(id, { message, sends: 0, isAcked: false });
    return message;
  }

  sent({ id }: SentMessage): void {
    this.sends++;
    this.records.get(id)!.sends++;
  }

  /** The gateway said that it has the message. */
  sendAcked({ id }: SentMessage): void {
    const record = this.records.get(id)!;
    if (!record.isAcked) this.acked++;
    record.isAcked = true;
    this.entered();
  }

  arrived(arrival: Arrival): void {
    const { group: name, queue, offset, messageGroup, body } = arrival;
    const id = body.toString('latin1', 0, body.indexOf(0x20));
    const record = this.records.get(id);
    const where = `${name}, queue ${queue}, offset ${offset}, attempt ${arrival.attempt}`;
    this.delivered++;
    if (record === undefined || record.sends === 0) return this.fault(`${where}: ${id} was never sent`);
    if (!body.equals(record.message.body)) this.fault(`${where}: the body of ${id} changed`);
    if (messageGroup !== record.message.messageGroup) this.fault(`${where}: ${id} changed to group ${messageGroup}`);
    this.checkPlace(`${queue}:${offset}`, record, where);
    const group = this.groups.get(name)!;
    if (group.isFifo && !group.ids.has(id)) this.checkOrder(group, record.message, where);
    if (group.places.has(`${queue}:${offset}`)) this.redelivered++;
    group.places.add(`${queue}:${offset}`);
    group.ids.add(id);
    this.entered();
  }

  /**
   * When the gateway handed the message out, by its own word where it came through. With a correct engine a confirmed
   * acknowledgement rules out every other lease before it and after it, so any later moment is a redelivery.
   */
  handedOut({ group, queue, offset, attempt }: Arrival, atMs: number): void {
    const confirmedAtMs = this.groups.get(group)!.confirmedAtMs.get(`${queue}:${offset}`);
    if (confirmedAtMs === undefined || atMs <= confirmedAtMs) return;
    const lateMs = atMs - confirmedAtMs;
    const where = `${group}, queue ${queue}, offset ${offset}`;
    this.fault(`${where}: delivered (attempt ${attempt}) ${lateMs} ms after its acknowledgement was confirmed`);
  }

  /** A consumer says that it is done with the message. Without an answer it may or may not come back. */
  ackSent({ group, queue, offset }: Arrival): void {
    this.groups.get(group)!.ackedPlaces.add(`${queue}:${offset}`);
  }

  /** The gateway said that the group is done with the message. */
  ackConfirmed({ group, queue, offset }: Arrival): void {
    const { confirmedAtMs } = this.groups.get(group)!;
    const place = `${queue}:${offset}`;
    if (!confirmedAtMs.has(place)) confirmedAtMs.set(place, Date.now());
    this.confirmed++;
    this.giveRoom();
    this.entered();
  }

  /** Acknowledged sends that the group was never given. */
  missing(group: string): string[] {
    const { ids } = this.groups.get(group)!;
    return [...this.records].filter(([id, { isAcked }]) => isAcked && !ids.has(id)).map(([id]) => id);
  }

  /** Places of messages that were delivered, not acknowledged, and never came back to be. */
  stranded(group: string): string[] {
    const { places, ackedPlaces } = this.groups.get(group)!;
    return [...places].filter((place) => !ackedPlaces.has(place));
  }

  get counts(): JournalCounts {
    const { sends, acked, delivered, redelivered, confirmed } = this;
    return { messages: this.records.size, sends, acked, delivered, redelivered, confirmedAcks: confirmed };
  }

  protected get owed(): number {
    return this.acked * this.groups.size - this.confirmed;
  }

  private checkPlace(place: string, { message, sends }: SendRecord, where: string): void {
    const known = this.stored.get(place);
    if (known === message.id) return;
    if (known !== undefined) return this.fault(`${where}: holds ${message.id}, held ${known} before`);
    this.stored.set(place, message.id);
    const copies = (this.copies.get(message.id) ?? 0) + 1;
    this.copies.set(message.id, copies);
    if (copies > sends) this.fault(`${where}: ${message.id} is stored ${copies} times, but was sent ${sends} times`);
  }

  /** Publishers send again in order what was not acknowledged, so first deliveries never step back. */
  private checkOrder({ lastSequences }: GroupRecord, { id, messageGroup, sequence }: SentMessage, where: string): void {
    const last = lastSequences.get(messageGroup) ?? -1;
    if (sequence < last) this.fault(`${where}: ${id} came first after #${last}`);
    lastSequences.set(messageGroup, Math.max(last, sequence));
  }
}

/** The id, a space, and up to 400 bytes that follow from the id. */
function bodyOf(id: string): Buffer {
  const head = Buffer.from(`${id} `, 'latin1');
  let state = hashText(id);
  const body = Buffer.alloc(head.length + (state % 400), head);
  for (let i = head.length; i < body.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    body[i] = state >>> 24;
  }
  return body;
}
