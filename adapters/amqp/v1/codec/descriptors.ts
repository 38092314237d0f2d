import type { AmqpValue } from './values.ts';

/** The described types of the standard by their numbers; the domain of all of them is 0. */
export const Descriptor = {
  open: 0x10,
  begin: 0x11,
  attach: 0x12,
  flow: 0x13,
  transfer: 0x14,
  disposition: 0x15,
  detach: 0x16,
  end: 0x17,
  close: 0x18,
  error: 0x1d,
  received: 0x23,
  accepted: 0x24,
  rejected: 0x25,
  released: 0x26,
  modified: 0x27,
  source: 0x28,
  target: 0x29,
  deleteOnClose: 0x2b,
  deleteOnNoLinks: 0x2c,
  deleteOnNoMessages: 0x2d,
  deleteOnNoLinksOrMessages: 0x2e,
  coordinator: 0x30,
  declare: 0x31,
  discharge: 0x32,
  declared: 0x33,
  transactionalState: 0x34,
  saslMechanisms: 0x40,
  saslInit: 0x41,
  saslChallenge: 0x42,
  saslResponse: 0x43,
  saslOutcome: 0x44,
  header: 0x70,
  deliveryAnnotations: 0x71,
  messageAnnotations: 0x72,
  properties: 0x73,
  applicationProperties: 0x74,
  data: 0x75,
  amqpSequence: 0x76,
  amqpValue: 0x77,
  footer: 0x78,
} as const;

/** Those whose symbol does not end in `:list`. */
const OTHER_FORMS: ReadonlyMap<number, string> = new Map([
  [Descriptor.deliveryAnnotations, 'map'],
  [Descriptor.messageAnnotations, 'map'],
  [Descriptor.applicationProperties, 'map'],
  [Descriptor.data, 'binary'],
  [Descriptor.amqpValue, '*'],
  [Descriptor.footer, 'map'],
]);

/** `transactionalState` is `amqp:transactional-state:list`. */
function symbolOf(name: string, number: number): string {
  const words = name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return `amqp:${words}:${OTHER_FORMS.get(number) ?? 'list'}`;
}

/** By symbol: `amqp:open:list` is 0x10. */
export const DESCRIPTOR_OF: ReadonlyMap<string, number> = new Map(
  Object.entries(Descriptor).map(([name, number]) => [symbolOf(name, number), number]),
);

/** By number, for what is said of faults: 0x74 is `application-properties`. */
export const NAMES: readonly (string | undefined)[] = (() => {
  const names: (string | undefined)[] = Array.from({ length: 256 });
  for (const [symbol, number] of DESCRIPTOR_OF) names[number] = symbol.split(':')[1];
  return names;
})();

/** The number of a described value's descriptor, also of one written as a symbol; -1 for all others. */
export function descriptorOf(value: AmqpValue): number {
  if (value.type !== 'described') return -1;
  const { descriptor } = value;
  if (descriptor.type === 'ulong') return descriptor.value < 256n ? Number(descriptor.value) : -1;
  return descriptor.type === 'symbol' ? (DESCRIPTOR_OF.get(descriptor.value) ?? -1) : -1;
}
