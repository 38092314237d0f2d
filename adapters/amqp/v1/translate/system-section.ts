import { Code, TYPE_OF } from '../codec/constructors.ts';
import { readUint32 } from '../codec/bytes.ts';
import { readValue } from '../codec/reader.ts';
import { idText } from './typed-properties.ts';

const COMMA = 0x2c;

/** Writes the system section of a core message (message-layout.ts) from ranges of received bytes. */
export class SystemSection {
  at = 0;
  private target: Buffer = Buffer.alloc(0);

  /** The caller has made sure that there is room. */
  begin(target: Buffer, at: number): void {
    this.target = target;
    this.at = at;
  }

  /** The bytes [from, to) as they are. */
  bytes(field: number, source: Buffer, from: number, to: number): void {
    const at = this.head(field, to - from);
    for (let i = from; i < to; i++) this.target[at + i - from] = source[i]!;
    this.at = at + to - from;
  }

  text(field: number, text: string): void {
    const at = this.at + 5;
    const bytes = this.target.write(text, at, 'utf8');
    this.head(field, bytes);
    this.at = at + bytes;
  }

  time(field: number, ms: number): void {
    const at = this.head(field, 8);
    this.at = this.target.writeDoubleLE(ms, at);
  }

  /** The parts of a comma list. */
  list(field: number, source: Buffer, from: number, to: number): void {
    let partStart = from;
    for (let i = from; i <= to; i++) {
      if (i < to && source[i] !== COMMA) continue;
      this.bytes(field, source, partStart, i);
      partStart = i + 1;
    }
  }

  /** A message id, the value in [start, end), as text. An empty one is none, nor is one of another type (AMQP 3.2.4). */
  id(field: number, source: Buffer, start: number, end: number): void {
    const from = stringStart(source, start);
    if (from >= 0) {
      if (end > from) this.bytes(field, source, from, end);
      return;
    }
    const type = TYPE_OF[source[start]!];
    if (type !== 'uuid' && type !== 'ulong' && type !== 'binary') return;
    const text = idText(readValue(source, start, end));
    if (text !== undefined && text !== '') this.text(field, text);
  }

  private head(field: number, bytes: number): number {
    const { target, at } = this;
    target[at] = field;
    target[at + 1] = bytes;
    target[at + 2] = bytes >>> 8;
    target[at + 3] = bytes >>> 16;
    target[at + 4] = bytes >>> 24;
    return at + 5;
  }
}

/** Where the text of the string begins whose constructor is at `at`; -1 when it is no string. */
export function stringStart(buffer: Buffer, at: number): number {
  const code = buffer[at];
  if (code === Code.str8) return at + 2;
  return code === Code.str32 ? at + 5 : -1;
}

/** Where the first pair of a map begins, whose constructor is at `at` and that ends at `end`. */
export function firstPair(buffer: Buffer, at: number): number {
  return at + (buffer[at] === Code.map8 ? 3 : 9);
}

/** How many keys and values it says it has. */
export function pairValues(buffer: Buffer, at: number): number {
  return buffer[at] === Code.map8 ? buffer[at + 2]! : readUint32(buffer, at + 5);
}
