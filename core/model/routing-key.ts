import type { Message } from './message.ts';

/** A binding of AMQP 0-9-1: the key itself, or a pattern over its words. */
export interface Binding {
  readonly type: 'direct' | 'topic';
  readonly key: string;
}

/** Whether a binding wants the message. Addresses have `/` where keys have `.` between their words: a pattern takes either. */
export function matchesBinding({ type, key }: Binding, message: Message): boolean {
  // An address that the gateway made up says nothing that the tag does not say.
  const own = message.isAddressDerived ? (message.tag ?? '') : message.address;
  return type === 'direct' ? own === key : matchesWords(key.split('.'), own.split(/[./]/));
}

/** `*` is one word, `#` none or more (AMQP 0-9-1, 3.1.3.3). The work is the product of the two lengths, whatever they are. */
export function matchesWords(pattern: readonly string[], words: readonly string[]): boolean {
  // reached[w]: the pattern so far can end before word w.
  let reached = words.map((_, w) => w === 0).concat(words.length === 0);
  for (const part of pattern) {
    const next = reached.map((isReached) => part === '#' && isReached);
    for (let w = 0; w < words.length; w++) {
      if (part === '#' ? next[w]! : reached[w]! && (part === '*' || part === words[w])) next[w + 1] = true;
    }
    reached = next;
  }
  return reached[words.length]!;
}
