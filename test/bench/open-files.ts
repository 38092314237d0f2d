/** How many connections a process may have. */
import { readFileSync } from 'node:fs';

/**
 * Why so many files cannot be open; undefined when they can. Node.js raises its own limit to what the system allows at its
 * start, and hands that on to the processes it starts.
 */
export function openFilesShortage(wanted: number): string | undefined {
  const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  if (limit === undefined || Number(limit) >= wanted) return undefined;
  return `it needs ${wanted} open files and ${limit} are allowed: raise the hard limit (as root: ulimit -n ${wanted})`;
}
