/** What a receipt says. Opaque to everyone else; compared with the live lease, so a forged or old one does nothing. */
export interface ReceiptParts {
  readonly groupSerial: number;
  readonly queueSerial: number;
  readonly offset: number;
  readonly epoch: number;
}

/** Epochs are beyond 2^32, and text of large numbers is slow to make. */
const EPOCH_HALF = 2 ** 32;
const DOT = 46;
const DIGITS_MAX = 11;

/**
 * Makes the receipts of a group in a queue: fields in base 36 with a dot between, which are group, queue, the high half of
 * the epoch, offset, and its low half. What neighbours have in common is made once.
 */
export class ReceiptWriter {
  private readonly source: string;
  private high = -1;
  private head = '';

  constructor(groupSerial: number, queueSerial: number) {
    this.source = `${text(groupSerial)}.${text(queueSerial)}`;
  }

  write(offset: number, epoch: number): string {
    const high = Math.floor(epoch / EPOCH_HALF);
    if (high !== this.high) {
      this.high = high;
      this.head = `${this.source}.${text(high)}.`;
    }
    return `${this.head}${text(offset)}.${text(epoch - high * EPOCH_HALF)}`;
  }
}

/** Undefined when the text was never a receipt. One lease has one receipt, so that two equal leases are two equal texts. */
export function parseReceipt(receipt: string): ReceiptParts | undefined {
  const fields = new FieldReader(receipt);
  const groupSerial = fields.next();
  const queueSerial = fields.next();
  const high = fields.next();
  const offset = fields.next();
  const low = fields.next();
  if (!fields.isAtEnd || low >= EPOCH_HALF) return undefined;
  return { groupSerial, queueSerial, offset, epoch: high * EPOCH_HALF + low };
}

/** Reads numbers with dots between, each as `text` writes it. */
class FieldReader {
  private readonly receipt: string;
  private at = 0;
  private isSound = true;

  constructor(receipt: string) {
    this.receipt = receipt;
  }

  /** Whether all was read, and nothing but such numbers. */
  get isAtEnd(): boolean {
    // Behind the dot that would follow.
    return this.isSound && this.at === this.receipt.length + 1;
  }

  next(): number {
    const { receipt, at: start } = this;
    let value = 0;
    let at = start;
    for (; at < receipt.length; at++) {
      const code = receipt.charCodeAt(at);
      if (code === DOT) break;
      const digit = digitOf(code);
      if (digit === -1) this.isSound = false;
      value = value * 36 + digit;
    }
    const digits = at - start;
    const hasLeadingZero = digits > 1 && receipt.charCodeAt(start) === 48;
    if (digits <= 0 || digits > DIGITS_MAX || hasLeadingZero) this.isSound = false;
    this.at = at + 1;
    return value;
  }
}

function text(value: number): string {
  return value.toString(36);
}

/** 0-9 and a-z, -1 for everything else. */
function digitOf(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  return code >= 97 && code <= 122 ? code - 87 : -1;
}
