/** What benchmarks read from the command line. */

export function number(flag: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!(value >= min && value <= max)) throw new Error(`--${flag} takes ${min} to ${max}, not ${text}`);
  return value;
}

export function choose<T extends { name: string }>(
  flag: string,
  all: readonly T[],
  names: string | undefined,
): readonly T[] {
  if (names === undefined) return all;
  return names.split(',').map((name) => {
    const found = all.find((one) => one.name === name);
    if (found === undefined) throw new Error(`--${flag} takes ${all.map((one) => one.name).join(',')}, not ${name}`);
    return found;
  });
}
