/** What a receipt says. Opaque to everyone else; compared with the live lease, so a forged or old one does nothing. */
export interface ReceiptParts {
  readonly groupSerial: number;
  readonly queueSerial: number;
  readonly offset: number;
  readonly epoch: number;
}

/** Without leading zeros: one lease has one receipt, so that two equal leases are two equal texts. */
const RECEIPT =
  /^(0|[1-9a-z][0-9a-z]{0,10})\.(0|[1-9a-z][0-9a-z]{0,10})\.(0|[1-9a-z][0-9a-z]{0,10})\.(0|[1-9a-z][0-9a-z]{0,10})$/;

export function formatReceipt(groupSerial: number, queueSerial: number, offset: number, epoch: number): string {
  return `${groupSerial.toString(36)}.${queueSerial.toString(36)}.${offset.toString(36)}.${epoch.toString(36)}`;
}

/** Undefined when the text was never a receipt. */
export function parseReceipt(text: string): ReceiptParts | undefined {
  const parts = RECEIPT.exec(text);
  if (parts === null) return undefined;
  const [groupSerial, queueSerial, offset, epoch] = parts.slice(1).map((part) => Number.parseInt(part, 36));
  return { groupSerial: groupSerial!, queueSerial: queueSerial!, offset: offset!, epoch: epoch! };
}
