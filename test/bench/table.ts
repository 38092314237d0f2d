/** Plain tables and figures, as all benchmarks print them. */

/** The first column is aligned to the left, all others to the right. */
export function renderTable(title: string, header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((_, column) => Math.max(...[header, ...rows].map((row) => row[column]!.length)));
  const lines = [header, ...rows].map((row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  '),
  );
  return ['', title, ...lines].join('\n');
}

/** What was to be reached: for reading, not for failing. */
export type Target = { what: string; value: string; target: string; isMet: boolean | undefined };

/** A figure beside its target; undefined when it was not measured. */
export function target(
  what: string,
  value: number | undefined,
  text: string,
  isMet: (value: number) => boolean,
  format = (figure: number): string => figure.toFixed(2),
): Target {
  if (value === undefined) return { what, value: '-', target: text, isMet: undefined };
  return { what, value: format(value), target: text, isMet: isMet(value) };
}

export function renderTargets(targets: readonly Target[]): string {
  const rows = targets.map(({ what, value, target, isMet }) => {
    return [what, value, target, isMet === undefined ? 'not measured' : isMet ? 'met' : 'MISSED'];
  });
  return renderTable('measured against the targets', ['', 'value', 'target', ''], rows);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

export function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
