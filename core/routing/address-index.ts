/** One level of the addresses; wildcards mean nothing here. */
class Level<T> {
  children: Map<string, Level<T>> | undefined;
  value: T | undefined;
}

/** Addresses, one value each, found by filter: the other way round than `AddressTrie`. */
export class AddressIndex<T> {
  private readonly root = new Level<T>();

  get(address: string): T | undefined {
    let level: Level<T> | undefined = this.root;
    for (const text of address.split('/')) level = level?.children?.get(text);
    return level?.value;
  }

  set(address: string, value: T): void {
    let level = this.root;
    for (const text of address.split('/')) {
      level.children ??= new Map();
      let child = level.children.get(text);
      if (child === undefined) level.children.set(text, (child = new Level()));
      level = child;
    }
    level.value = value;
  }

  delete(address: string): void {
    const levels = address.split('/');
    const path = [this.root];
    for (const text of levels) {
      const child = path.at(-1)!.children?.get(text);
      if (child === undefined) return;
      path.push(child);
    }
    path.at(-1)!.value = undefined;
    for (let i = levels.length; i > 0; i--) {
      const { value, children } = path[i]!;
      if (value !== undefined || children !== undefined) return;
      const parent = path[i - 1]!;
      parent.children!.delete(levels[i - 1]!);
      if (parent.children!.size === 0) parent.children = undefined;
    }
  }

  /** The values of all addresses the filter matches. Looks only where an address can match. */
  match(filter: string): T[] {
    const found: T[] = [];
    let reached = [this.root];
    for (const text of filter.split('/')) {
      if (text === '#') {
        this.collect(reached, found);
        return found;
      }
      const next: Level<T>[] = [];
      for (const level of reached) {
        if (text === '+') this.addChildren(level, next);
        else addIfThere(level.children?.get(text), next);
      }
      reached = next;
    }
    for (const { value } of reached) if (value !== undefined) found.push(value);
    return found;
  }

  /** The values of these levels, since `a/#` matches `a` too, and of all below. Addresses may be deep: no recursion. */
  private collect(levels: readonly Level<T>[], found: T[]): void {
    const below = [...levels];
    for (let level = below.pop(); level !== undefined; level = below.pop()) {
      if (level.value !== undefined) found.push(level.value);
      this.addChildren(level, below);
    }
  }

  /** What a wildcard means: in the first level all but `$...` [MQTT-4.7.2-1]. */
  private addChildren(level: Level<T>, to: Level<T>[]): void {
    for (const [text, child] of level.children ?? []) {
      if (level !== this.root || !text.startsWith('$')) to.push(child);
    }
  }
}

function addIfThere<T>(level: Level<T> | undefined, to: Level<T>[]): void {
  if (level !== undefined) to.push(level);
}
