/** A PROXY header of version 2 with this command, family and what follows, its length right. */
export function proxyV2(command: number, family: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const fixed = Buffer.from([...Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'), command, family, 0, 0]);
  fixed.writeUInt16BE(body.length, 14);
  return Buffer.concat([fixed, body]);
}

/** A header of version 1 or 2 that names 192.0.2.7. */
export function proxyHeader(version: 1 | 2): Buffer {
  if (version === 1) return Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 56324 1883\r\n');
  return proxyV2(0x21, 0x11, Buffer.from([192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x07, 0x5b]));
}
