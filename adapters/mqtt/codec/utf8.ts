/** The longest UTF-8 Encoded String, in bytes: its length field has 16 bits (MQTT 5, section 1.5.4). */
export const STRING_BYTES_MAX = 65_535;

/**
 * Whether the bytes are a UTF-8 Encoded String as MQTT wants it: well formed, shortest form only, no surrogates
 * ([MQTT-1.5.4-1]), no U+0000 ([MQTT-1.5.4-2]). Control characters and non-characters, which a receiver MAY refuse,
 * are accepted.
 */
export function isUtf8(buffer: Buffer, start: number, end: number): boolean {
  if (end - start > STRING_BYTES_MAX) return false;
  let at = start;
  while (at < end) {
    const byte = buffer[at]!;
    if (byte < 0x80) {
      if (byte === 0) return false;
      at++;
      continue;
    }
    const length = sequenceLength(buffer, at, end);
    if (length === 0) return false;
    at += length;
  }
  return true;
}

/** Bytes of the multi-byte sequence at `at`; 0 when it is not a valid one (RFC 3629, section 4). */
function sequenceLength(buffer: Buffer, at: number, end: number): number {
  const first = buffer[at]!;
  // 0x80 to 0xBF continue a sequence, 0xC0 and 0xC1 start overlong ones, above 0xF4 lies beyond U+10FFFF.
  if (first < 0xc2 || first > 0xf4) return 0;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (at + length > end) return 0;
  const second = buffer[at + 1]!;
  if ((second & 0xc0) !== 0x80) return 0;
  if (length === 2) return 2;
  if ((buffer[at + 2]! & 0xc0) !== 0x80) return 0;
  if (length === 3) {
    if (first === 0xe0 && second < 0xa0) return 0; // overlong
    if (first === 0xed && second > 0x9f) return 0; // surrogates, U+D800 to U+DFFF
    return 3;
  }
  if ((buffer[at + 3]! & 0xc0) !== 0x80) return 0;
  if (first === 0xf0 && second < 0x90) return 0; // overlong
  if (first === 0xf4 && second > 0x8f) return 0; // beyond U+10FFFF
  return 4;
}
