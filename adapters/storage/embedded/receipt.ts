/** What a receipt says. Opaque to everyone else; compared with the live lease, so a forged or old one does nothing. */
export interface ReceiptParts {
  readonly groupSerial: number;
  readonly queueSerial: number;
  readonly offset: number;
  readonly epoch: number;
}

/** Epochs are beyond 2^32, and text of large numbers is slow to make. */
const EPOCH_HALF = 2 ** 32;
const FIELDS = 5;
const DOT = 46;
const DIGITS_MAX = 11;

/** Fields in base 36 with a dot between: group, queue, offset, and the epoch in two halves. */
export function formatReceipt(groupSerial: number, queueSerial: number, offset: number, epoch: number): string {
  const high = Math.floor(epoch / EPOCH_HALF);
  const low = epoch - high * EPOCH_HALF;
  return `${text(groupSerial)}.${text(queueSerial)}.${text(offset)}.${text(high)}.${text(low)}`;
}

/** Undefined when the text was never a receipt. One lease has one receipt, so that two equal leases are two equal texts. */
export function parseReceipt(receipt: string): ReceiptParts | undefined {
  const fields = [0, 0, 0, 0, 0];
  let field = 0;
  let start = 0;
  for (let at = 0; at <= receipt.length; at++) {
    const code = at === receipt.length ? DOT : receipt.charCodeAt(at);
    if (code !== DOT) {
      const digit = digitOf(code);
      if (digit === -1) return undefined;
      fields[field] = fields[field]! * 36 + digit;
      continue;
    }
    const digits = at - start;
    const hasLeadingZero = digits > 1 && receipt.charCodeAt(start) === 48;
    if (digits === 0 || digits > DIGITS_MAX || hasLeadingZero || field === FIELDS) return undefined;
    field++;
    start = at + 1;
  }
  if (field !== FIELDS || fields[4]! >= EPOCH_HALF) return undefined;
  const [groupSerial, queueSerial, offset, high, low] = fields as [number, number, number, number, number];
  return { groupSerial, queueSerial, offset, epoch: high * EPOCH_HALF + low };
}

function text(value: number): string {
  return value.toString(36);
}

/** 0-9 and a-z, -1 for everything else. */
function digitOf(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  return code >= 97 && code <= 122 ? code - 87 : -1;
}
