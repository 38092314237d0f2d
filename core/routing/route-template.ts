/** What the placeholders of one route stand for, by their names. A name without an entry is not known. */
export type Bindings = Map<string, string>;

/** A text with `{placeholders}`, as a route has it for its topic, message group, keys and tag. */
export interface Template {
  readonly source: string;
  /** The texts around the placeholders: one more than there are placeholders. */
  readonly literals: readonly string[];
  readonly placeholders: readonly string[];
}

/**
 * Cuts a template into texts and placeholders.
 * @returns what is wrong with it, as text
 */
export function parseTemplate(source: string): Template | string {
  const literals: string[] = [];
  const placeholders: string[] = [];
  let at = 0;
  for (;;) {
    const open = source.indexOf('{', at);
    const literal = open === -1 ? source.slice(at) : source.slice(at, open);
    if (literal.includes('}')) return `has a } without {: ${source}`;
    literals.push(literal);
    if (open === -1) return { source, literals, placeholders };
    const close = source.indexOf('}', open);
    if (close === -1) return `has a { without }: ${source}`;
    placeholders.push(source.slice(open + 1, close));
    at = close + 1;
  }
}

/** The text with everything filled in; placeholders that are not known are empty. */
export function fillTemplate(template: Template, valueOf: (name: string) => string): string {
  const { literals, placeholders } = template;
  let text = literals[0]!;
  for (let i = 0; i < placeholders.length; i++) text += valueOf(placeholders[i]!) + literals[i + 1]!;
  return text;
}

/**
 * What the placeholders have to stand for so that the filled-in template reads like the text; undefined when it cannot. A
 * placeholder ends where the text behind it first occurs; two without a text between them cannot be told apart.
 */
export function matchTemplate(template: Template, text: string): Bindings | undefined {
  const { literals, placeholders } = template;
  if (!text.startsWith(literals[0]!)) return undefined;
  const bindings: Bindings = new Map();
  let at = literals[0]!.length;
  for (const [i, name] of placeholders.entries()) {
    const literal = literals[i + 1]!;
    const isLast = i === placeholders.length - 1;
    if (literal === '' && !isLast) return undefined;
    const end = isLast ? text.length - literal.length : text.indexOf(literal, at);
    if (end < at || !text.startsWith(literal, end)) return undefined;
    const value = text.slice(at, end);
    if ((bindings.get(name) ?? value) !== value) return undefined;
    bindings.set(name, value);
    at = end + literal.length;
  }
  return at === text.length ? bindings : undefined;
}
