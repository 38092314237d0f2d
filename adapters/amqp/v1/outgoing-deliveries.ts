import type { Connection } from './connection.ts';
import type { OutgoingEndpoint } from './outgoing-link.ts';
import { PartialTransfer } from './state/partial-transfer.ts';
import { after } from './state/serial.ts';
import type { SessionWindow } from './state/session-window.ts';
import { Unsettled } from './state/unsettled.ts';

/** What a session sends: delivery ids in order, messages in as many transfers as they need, and who waits for a verdict. */
export class OutgoingDeliveries {
  readonly unsettled = new Unsettled<OutgoingEndpoint>();
  private readonly connection: Connection;
  private readonly channel: number;
  private readonly window: SessionWindow;
  private nextId = 0;
  /** A message of which not all has been sent, for want of window: nothing else is sent before the rest of it. */
  private partial: PartialTransfer | undefined;

  constructor(connection: Connection, channel: number, window: SessionWindow) {
    this.connection = connection;
    this.channel = channel;
    this.window = window;
  }

  /** Of the delivery sent last. */
  get newestId(): number {
    return after(this.nextId, -1);
  }

  /** Messages the session lets be sent now. */
  get room(): number {
    if (this.partial !== undefined) return 0;
    return Math.min(this.window.outgoing, this.connection.options.unsettledMax - this.unsettled.count);
  }

  /** See `OutgoingLink.send`. */
  send(
    link: OutgoingEndpoint,
    kept: unknown,
    head: Buffer,
    headEnd: number,
    buffer: Buffer,
    start: number,
    end: number,
    messageFormat: number,
    tag: Buffer | undefined,
  ): void {
    const id = this.nextId;
    const { handle, isPresettled } = link;
    const { writer } = this.connection;
    this.nextId = after(id);
    if (!isPresettled) this.unsettled.add(id, link, kept);
    this.window.sent();
    this.connection.becomeDirty();
    const written = writer.transfer(
      this.channel,
      handle,
      id,
      tag ?? id,
      messageFormat,
      isPresettled,
      head,
      headEnd,
      buffer,
      start,
      end,
    );
    if (written === headEnd + end - start) return;
    this.partial = new PartialTransfer(handle, head, headEnd, buffer, start, end, written);
    this.goOn();
  }

  /** Sends what there is window for of a message that has begun. */
  goOn(): void {
    const { partial, window, connection } = this;
    if (partial === undefined || window.outgoing === 0) return;
    while (!partial.isDone && window.outgoing > 0) {
      partial.writeTo(connection.writer, this.channel);
      window.sent();
    }
    connection.becomeDirty();
    if (partial.isDone) this.partial = undefined;
  }

  /** The link ends, and a message of it with it, incomplete. */
  forget(handle: number): void {
    if (this.partial?.handle === handle) this.partial = undefined;
  }
}
