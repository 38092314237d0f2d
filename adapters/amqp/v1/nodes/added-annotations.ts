import type { StoredMessage } from '../../../../core/model/message.ts';
import type { Delivery } from '../../../../core/ports/message-engine.ts';
import type { AmqpMap } from '../codec/performatives.ts';
import { encodeValue } from '../codec/writer.ts';

/** Bytes of all of them; beyond it the oldest are forgotten, for not every message that ends is heard of here. */
const BYTES_MAX = 16 * 1024 * 1024;
/** Of one message; beyond it the new ones are not added. */
const MESSAGE_BYTES_MAX = 64 * 1024;
/** What one entry costs besides. */
const ENTRY_BYTES = 256;

interface Entry {
  readonly annotations: AmqpMap;
  readonly bytes: number;
}

/** Annotations that receivers add to messages they give back (AMQP 3.4.5), in memory until the message has ended. */
export class AddedAnnotations {
  private readonly entries = new Map<string, Entry>();
  private bytes = 0;

  get size(): number {
    return this.entries.size;
  }

  keep({ message }: Delivery, added: AmqpMap): void {
    if (added.size === 0) return;
    const place = placeOf(message);
    const before = this.entries.get(place);
    const annotations = before === undefined ? added : new Map([...before.annotations, ...added]);
    const bytes = ENTRY_BYTES + bytesOf(annotations);
    if (bytes > MESSAGE_BYTES_MAX) return;
    this.delete(place);
    this.entries.set(place, { annotations, bytes });
    this.bytes += bytes;
    for (const oldest of this.entries.keys()) {
      if (this.bytes <= BYTES_MAX) break;
      this.delete(oldest);
    }
  }

  /** Undefined for a message that was never given back with any. */
  of({ message }: Delivery): AmqpMap | undefined {
    return this.entries.size === 0 ? undefined : this.entries.get(placeOf(message))?.annotations;
  }

  /** The message does not come back any more. */
  forget({ message }: Delivery): void {
    if (this.entries.size > 0) this.delete(placeOf(message));
  }

  private delete(place: string): void {
    this.bytes -= this.entries.get(place)?.bytes ?? 0;
    this.entries.delete(place);
  }
}

function bytesOf(annotations: AmqpMap): number {
  let bytes = 0;
  for (const [name, value] of annotations) bytes += 2 * name.length + encodeValue(value).length;
  return bytes;
}

function placeOf({ topic, queue, offset }: StoredMessage): string {
  return `${topic} ${queue} ${offset}`;
}
