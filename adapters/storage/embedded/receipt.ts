/** What a receipt says. Opaque to everyone else; compared with the live lease, so a forged or old one does nothing. */
export interface ReceiptParts {
  readonly groupSerial: number;
  readonly queueSerial: number;
  readonly offset: number;
  readonly epoch: number;
}

const RECEIPT = /^([0-9a-z]{1,11})\.([0-9a-z]{1,11})\.([0-9a-z]{1,11})\.([0-9a-z]{1,11})$/;

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
