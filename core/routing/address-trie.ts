/** One level of the trie; the wildcards are kept apart from the literal levels. */
class Level<T> {
  literal: Map<string, Level<T>> | undefined;
  plus: Level<T> | undefined;
  hash: Level<T> | undefined;
  value: T | undefined;

  get isEmpty(): boolean {
    return this.value === undefined && this.literal === undefined && this.plus === undefined && this.hash === undefined;
  }

  child(level: string): Level<T> | undefined {
    if (level === '+') return this.plus;
    if (level === '#') return this.hash;
    return this.literal?.get(level);
  }

  ensureChild(level: string): Level<T> {
    if (level === '+') return (this.plus ??= new Level());
    if (level === '#') return (this.hash ??= new Level());
    this.literal ??= new Map();
    let child = this.literal.get(level);
    if (child === undefined) this.literal.set(level, (child = new Level()));
    return child;
  }

  removeChild(level: string): void {
    if (level === '+') this.plus = undefined;
    else if (level === '#') this.hash = undefined;
    else if (this.literal?.delete(level) === true && this.literal.size === 0) this.literal = undefined;
  }
}

/** Address filters, one value each, matched level by level. */
export class AddressTrie<T> {
  private readonly root = new Level<T>();

  get(filter: string): T | undefined {
    let level: Level<T> | undefined = this.root;
    for (const text of filter.split('/')) level = level?.child(text);
    return level?.value;
  }

  set(filter: string, value: T): void {
    let level = this.root;
    for (const text of filter.split('/')) level = level.ensureChild(text);
    level.value = value;
  }

  delete(filter: string): void {
    const levels = filter.split('/');
    const path = [this.root];
    for (const text of levels) {
      const child = path.at(-1)!.child(text);
      if (child === undefined) return;
      path.push(child);
    }
    path.at(-1)!.value = undefined;
    for (let i = levels.length; i > 0 && path[i]!.isEmpty; i--) path[i - 1]!.removeChild(levels[i - 1]!);
  }

  /** The values of all filters that match the address. */
  match(address: string): T[] {
    const found: T[] = [];
    // A wildcard in the first level does not reach `$...` addresses [MQTT-4.7.2-1].
    collect(this.root, address.split('/'), 0, address.startsWith('$'), found);
    return found;
  }
}

function collect<T>(level: Level<T>, levels: readonly string[], i: number, literalOnly: boolean, found: T[]): void {
  // `a/#` matches `a` itself too, so the hash child is looked at before the end is tested.
  if (!literalOnly && level.hash?.value !== undefined) found.push(level.hash.value);
  if (i === levels.length) {
    if (level.value !== undefined) found.push(level.value);
    return;
  }
  const literal = level.literal?.get(levels[i]!);
  if (literal !== undefined) collect(literal, levels, i + 1, false, found);
  if (!literalOnly && level.plus !== undefined) collect(level.plus, levels, i + 1, false, found);
}
