import { LIMITS } from './limits.ts';

/**
 * Addresses are hierarchical names with `/`, opaque otherwise; address filters are MQTT topic filters: `+` stands for one
 * level, `#` for the parent and all levels below.
 */

/** Whether the address is matched by the filter. Filters that start with a wildcard do not match `$...` [MQTT-4.7.2-1]. */
export function matchesAddress(filter: string, address: string): boolean {
  if (filter === address) return true;
  const wanted = filter.split('/');
  const levels = address.split('/');
  if (address.startsWith('$') && (wanted[0] === '+' || wanted[0] === '#')) return false;
  for (let i = 0; i < wanted.length; i++) {
    if (wanted[i] === '#') return true;
    if (i >= levels.length || (wanted[i] !== '+' && wanted[i] !== levels[i])) return false;
  }
  return wanted.length === levels.length;
}

/** Whether the text is a well-formed filter: not empty, `#` only as the last level, wildcards alone in their level. */
export function isAddressFilter(filter: string): boolean {
  if (filter.length === 0 || filter.includes('\0')) return false;
  const levels = filter.split('/');
  return levels.every((level, i) => {
    if (level === '+' || (level === '#' && i === levels.length - 1)) return true;
    return !level.includes('+') && !level.includes('#');
  });
}

/** Why a client may not publish under the address: it is a name, not a filter, and some names are the gateway's own. */
export function addressProblem(address: string): string | undefined {
  if (address === '') return 'it is empty';
  if (/[+#\0]/.test(address)) return 'it contains a wildcard or a null character';
  if (address.startsWith('$SYS/')) return "it is one of the gateway's own";
  if (address.length > BYTES_MAX / 3 && Buffer.byteLength(address, 'utf8') > BYTES_MAX) {
    return `it is longer than ${BYTES_MAX} bytes`;
  }
  return undefined;
}

const BYTES_MAX = LIMITS.addressBytesMax;

/** FNV-1a over the UTF-16 units: the same text goes to the same queue in every process. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash ^= text.charCodeAt(i);
    hash = Math.imul(hash, 0x01000193);
  }
  return hash >>> 0;
}
