import type { ProtocolVersion } from '../../../../adapters/mqtt/codec/packet.ts';
import { varint } from '../../../helpers/varint.ts';

/** Input that is not MQTT, and the reason it has to be refused with. */
export interface MalformedInput {
  readonly name: string;
  readonly role: 'server' | 'client';
  /** Undefined: before CONNECT. */
  readonly version: ProtocolVersion | undefined;
  readonly bytes: Buffer;
  readonly reasonCode: number;
}

const MALFORMED_PACKET = 0x81;
const PROTOCOL_ERROR = 0x82;
const TOPIC_FILTER_INVALID = 0x8f;
const TOPIC_NAME_INVALID = 0x90;

const packet = (first: number, ...body: number[]): Buffer => Buffer.from([first, ...varint(body.length), ...body]);
const text = (value: string): number[] => {
  const bytes = [...Buffer.from(value)];
  return [bytes.length >> 8, bytes.length & 0xff, ...bytes];
};
const props = (...bytes: number[]): number[] => [...varint(bytes.length), ...bytes];

const inputs: MalformedInput[] = [];
function add(
  role: 'server' | 'client',
  version: ProtocolVersion | undefined,
  reasonCode: number,
  name: string,
  bytes: Buffer,
): void {
  inputs.push({ name: `${name} (${version ?? 'before CONNECT'})`, role, version, bytes, reasonCode });
}

// --- fixed header
for (const version of [4, 5] as const) {
  for (const [first, what] of [
    [0x00, 'type 0'],
    [0x0f, 'type 0 with flags'],
    [0x41, 'PUBACK flags 1'],
    [0x50 | 2, 'PUBREC flags 2'],
    [0x60, 'PUBREL flags 0'],
    [0x63, 'PUBREL flags 3'],
    [0x74, 'PUBCOMP flags 4'],
    [0x80, 'SUBSCRIBE flags 0'],
    [0x8a, 'SUBSCRIBE flags 10'],
    [0xa0, 'UNSUBSCRIBE flags 0'],
    [0xa3, 'UNSUBSCRIBE flags 3'],
    [0xc1, 'PINGREQ flags 1'],
    [0xe2, 'DISCONNECT flags 2'],
  ] as const) {
    add('server', version, MALFORMED_PACKET, what, packet(first, 0, 1));
  }
  add('server', version, MALFORMED_PACKET, 'PUBLISH QoS 3', packet(0x36, ...text('t'), 0, 1));
  add(
    'server',
    version,
    MALFORMED_PACKET,
    'remaining length of five bytes',
    Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 1]),
  );
  add('server', version, PROTOCOL_ERROR, 'CONNACK to a server', packet(0x20, 0, 0));
  add('server', version, PROTOCOL_ERROR, 'SUBACK to a server', packet(0x90, 0, 1, 0));
  add('server', version, PROTOCOL_ERROR, 'UNSUBACK to a server', packet(0xb0, 0, 1));
  add('server', version, PROTOCOL_ERROR, 'PINGRESP to a server', packet(0xd0));
  add('client', version, PROTOCOL_ERROR, 'SUBSCRIBE to a client', packet(0x82, 0, 1, ...text('a'), 0));
  add('client', version, PROTOCOL_ERROR, 'UNSUBSCRIBE to a client', packet(0xa2, 0, 1, ...text('a')));
  add('client', version, PROTOCOL_ERROR, 'PINGREQ to a client', packet(0xc0));
  add(
    'client',
    version,
    PROTOCOL_ERROR,
    'CONNECT to a client',
    packet(0x10, ...text('MQTT'), 4, 2, 0, 0, ...text('c')),
  );
  add('server', version, MALFORMED_PACKET, 'PINGREQ with a body', packet(0xc0, 0));
}
add('server', 5, MALFORMED_PACKET, 'padded remaining length', Buffer.from([0xc0, 0x80, 0x00]));
add('server', 4, MALFORMED_PACKET, 'AUTH in MQTT 3.1.1', packet(0xf0));
add('server', 5, MALFORMED_PACKET, 'AUTH flags 1', packet(0xf1, 0x18));

// --- CONNECT
const connect = (name: string, level: number, flags: number, ...rest: number[]): Buffer =>
  packet(0x10, ...text(name), level, flags, 0, 10, ...rest);
for (const [first, what] of [
  [0x30, 'PUBLISH first'],
  [0x82, 'SUBSCRIBE first'],
  [0xc0, 'PINGREQ first'],
  [0xe0, 'DISCONNECT first'],
  [0x40, 'PUBACK first'],
] as const) {
  add('server', undefined, PROTOCOL_ERROR, what, packet(first, 0, 1, 97));
}
add('server', undefined, 0x84, 'protocol level 6', connect('MQTT', 6, 2, ...text('c')));
add('server', undefined, 0x84, 'protocol level 0', connect('MQTT', 0, 2, ...text('c')));
add('server', undefined, 0x84, 'protocol level 3 with the name of 3.1.1', connect('MQTT', 3, 2, ...text('c')));
add('server', undefined, MALFORMED_PACKET, 'CONNECT without body', packet(0x10));
add('server', undefined, MALFORMED_PACKET, 'name cut off', packet(0x10, 0, 4, 77));
for (const [level, name] of [
  [3, 'MQIsdp'],
  [4, 'MQTT'],
  [5, 'MQTT'],
] as const) {
  const none = level === 5 ? [0] : [];
  if (level !== 3)
    add(
      'server',
      undefined,
      MALFORMED_PACKET,
      `level ${level}: reserved flag`,
      connect(name, level, 3, ...none, ...text('c')),
    );
  add('server', undefined, MALFORMED_PACKET, `level ${level}: no client identifier`, connect(name, level, 2, ...none));
  add(
    'server',
    undefined,
    MALFORMED_PACKET,
    `level ${level}: client identifier cut off`,
    connect(name, level, 2, ...none, 0, 9, 97),
  );
  add(
    'server',
    undefined,
    MALFORMED_PACKET,
    `level ${level}: NUL in client identifier`,
    connect(name, level, 2, ...none, 0, 1, 0),
  );
  add(
    'server',
    undefined,
    MALFORMED_PACKET,
    `level ${level}: bad UTF-8`,
    connect(name, level, 2, ...none, 0, 2, 0xc3, 0x28),
  );
  add(
    'server',
    undefined,
    MALFORMED_PACKET,
    `level ${level}: surrogate`,
    connect(name, level, 2, ...none, 0, 3, 0xed, 0xa0, 0x80),
  );
  add(
    'server',
    undefined,
    MALFORMED_PACKET,
    `level ${level}: overlong`,
    connect(name, level, 2, ...none, 0, 2, 0xc0, 0xaf),
  );
  add(
    'server',
    undefined,
    MALFORMED_PACKET,
    `level ${level}: beyond Unicode`,
    connect(name, level, 2, ...none, 0, 4, 0xf4, 0x90, 0x80, 0x80),
  );
  add(
    'server',
    undefined,
    MALFORMED_PACKET,
    `level ${level}: trailing byte`,
    connect(name, level, 2, ...none, ...text('c'), 0),
  );
  add(
    'server',
    undefined,
    MALFORMED_PACKET,
    `level ${level}: will QoS 3`,
    connect(name, level, 0x1e, ...none, ...text('c'), ...none, ...text('w'), 0, 0),
  );
  add(
    'server',
    undefined,
    MALFORMED_PACKET,
    `level ${level}: will missing`,
    connect(name, level, 6, ...none, ...text('c')),
  );
  add(
    'server',
    undefined,
    MALFORMED_PACKET,
    `level ${level}: will payload cut off`,
    connect(name, level, 6, ...none, ...text('c'), ...none, ...text('w'), 0, 5, 1),
  );
  add(
    'server',
    undefined,
    MALFORMED_PACKET,
    `level ${level}: user name missing`,
    connect(name, level, 0x82, ...none, ...text('c')),
  );
  add(
    'server',
    undefined,
    MALFORMED_PACKET,
    `level ${level}: password cut off`,
    connect(name, level, 0xc2, ...none, ...text('c'), ...text('u'), 0, 3, 1),
  );
  add(
    'server',
    undefined,
    MALFORMED_PACKET,
    `level ${level}: will QoS without will`,
    connect(name, level, 0x0a, ...none, ...text('c')),
  );
  add(
    'server',
    undefined,
    MALFORMED_PACKET,
    `level ${level}: will retain without will`,
    connect(name, level, 0x22, ...none, ...text('c')),
  );
  if (level !== 5)
    add(
      'server',
      undefined,
      PROTOCOL_ERROR,
      `level ${level}: password without user name`,
      connect(name, level, 0x42, ...text('c'), ...text('p')),
    );
  add(
    'server',
    undefined,
    TOPIC_NAME_INVALID,
    `level ${level}: wildcard in will topic`,
    connect(name, level, 6, ...none, ...text('c'), ...none, ...text('a/#'), 0, 0),
  );
}
add(
  'server',
  undefined,
  PROTOCOL_ERROR,
  'second CONNECT',
  Buffer.concat([connect('MQTT', 4, 2, ...text('c')), connect('MQTT', 4, 2, ...text('c'))]),
);

// --- PUBLISH
for (const version of [3, 4, 5] as const) {
  const none = version === 5 ? [0] : [];
  add('server', version, MALFORMED_PACKET, 'PUBLISH without topic', packet(0x30));
  add('server', version, MALFORMED_PACKET, 'PUBLISH topic cut off', packet(0x30, 0, 5, 97));
  add('server', version, MALFORMED_PACKET, 'PUBLISH QoS 1 without identifier', packet(0x32, ...text('t')));
  add('server', version, MALFORMED_PACKET, 'PUBLISH identifier cut off', packet(0x32, ...text('t'), 0));
  add('server', version, PROTOCOL_ERROR, 'PUBLISH identifier 0', packet(0x32, ...text('t'), 0, 0, ...none));
  add('server', version, TOPIC_NAME_INVALID, 'PUBLISH to #', packet(0x30, ...text('a/#'), ...none));
  add('server', version, TOPIC_NAME_INVALID, 'PUBLISH to +', packet(0x30, ...text('a/+/b'), ...none));
  add('server', version, MALFORMED_PACKET, 'PUBLISH NUL in topic', packet(0x30, 0, 2, 97, 0, ...none));
  add('server', version, MALFORMED_PACKET, 'PUBLISH bad UTF-8 topic', packet(0x30, 0, 1, 0xff, ...none));
  add('server', version, PROTOCOL_ERROR, 'PUBLISH empty topic', packet(0x30, 0, 0, ...none));
  if (version !== 3)
    add('server', version, MALFORMED_PACKET, 'PUBLISH QoS 0 with DUP', packet(0x38, ...text('t'), ...none));
}

// --- acknowledgements, SUBSCRIBE, UNSUBSCRIBE
for (const version of [4, 5] as const) {
  const none = version === 5 ? [0] : [];
  for (const [first, name] of [
    [0x40, 'PUBACK'],
    [0x50, 'PUBREC'],
    [0x62, 'PUBREL'],
    [0x70, 'PUBCOMP'],
  ] as const) {
    add('server', version, MALFORMED_PACKET, `${name} of one byte`, packet(first, 0));
    add('server', version, PROTOCOL_ERROR, `${name} identifier 0`, packet(first, 0, 0));
    if (version === 4) add('server', 4, MALFORMED_PACKET, `${name} of three bytes`, packet(first, 0, 1, 0));
    else {
      add('server', 5, PROTOCOL_ERROR, `${name} unknown reason`, packet(first, 0, 1, 0x42));
      add('server', 5, MALFORMED_PACKET, `${name} property length too long`, packet(first, 0, 1, 0, 5));
    }
  }
  add('server', version, PROTOCOL_ERROR, 'SUBSCRIBE without filter', packet(0x82, 0, 1, ...none));
  add('server', version, PROTOCOL_ERROR, 'SUBSCRIBE identifier 0', packet(0x82, 0, 0, ...none, ...text('a'), 0));
  add('server', version, MALFORMED_PACKET, 'SUBSCRIBE without options', packet(0x82, 0, 1, ...none, ...text('a')));
  add('server', version, PROTOCOL_ERROR, 'SUBSCRIBE QoS 3', packet(0x82, 0, 1, ...none, ...text('a'), 3));
  add(
    'server',
    version,
    MALFORMED_PACKET,
    'SUBSCRIBE reserved option bits',
    packet(0x82, 0, 1, ...none, ...text('a'), 0xc0),
  );
  for (const filter of ['', 'a#', '#/a', 'a/#/b', 'a+', '+a/b', 'a/b+']) {
    add(
      'server',
      version,
      TOPIC_FILTER_INVALID,
      `SUBSCRIBE to "${filter}"`,
      packet(0x82, 0, 1, ...none, ...text(filter), 0),
    );
  }
  add('server', version, PROTOCOL_ERROR, 'UNSUBSCRIBE without filter', packet(0xa2, 0, 1, ...none));
  add('server', version, PROTOCOL_ERROR, 'UNSUBSCRIBE identifier 0', packet(0xa2, 0, 0, ...none, ...text('a')));
  add('server', version, TOPIC_FILTER_INVALID, 'UNSUBSCRIBE from "a#"', packet(0xa2, 0, 1, ...none, ...text('a#')));
  add('server', version, MALFORMED_PACKET, 'UNSUBSCRIBE filter cut off', packet(0xa2, 0, 1, ...none, 0, 4, 97));
}
add('server', 5, PROTOCOL_ERROR, 'retain handling 3', packet(0x82, 0, 1, 0, ...text('a'), 0x30));

// --- properties
const publishWith = (...bytes: number[]): Buffer => packet(0x30, ...text('t'), ...props(...bytes));
for (const [name, reasonCode, bytes] of [
  ['unknown property', MALFORMED_PACKET, [0x7f, 0]],
  ['property of another packet', MALFORMED_PACKET, [0x21, 0, 1]],
  ['property cut off', MALFORMED_PACKET, [0x02, 0, 0]],
  ['string runs past the section', MALFORMED_PACKET, [0x03, 0, 9, 97]],
  ['payload format 2', PROTOCOL_ERROR, [0x01, 2]],
  ['payload format twice', PROTOCOL_ERROR, [0x01, 1, 0x01, 1]],
  ['expiry twice', PROTOCOL_ERROR, [0x02, 0, 0, 0, 1, 0x02, 0, 0, 0, 1]],
  ['content type twice', PROTOCOL_ERROR, [0x03, 0, 1, 97, 0x03, 0, 1, 97]],
  ['topic alias 0', 0x94, [0x23, 0, 0]],
  ['subscription identifier from a client', PROTOCOL_ERROR, [0x0b, 1]],
  ['user property with bad UTF-8', MALFORMED_PACKET, [0x26, 0, 1, 0xff, 0, 1, 97]],
  ['user property without value', MALFORMED_PACKET, [0x26, 0, 1, 97]],
] as const) {
  add('server', 5, reasonCode, name, publishWith(...(bytes as readonly number[])));
}
add('server', 5, MALFORMED_PACKET, 'property length beyond the packet', packet(0x30, ...text('t'), 50, 1));
add('server', 5, MALFORMED_PACKET, 'padded property length', packet(0x30, ...text('t'), 0x80, 0x00));
add('server', 5, MALFORMED_PACKET, 'property length missing', packet(0x30, ...text('t')));
add(
  'server',
  undefined,
  PROTOCOL_ERROR,
  'receive maximum 0',
  connect('MQTT', 5, 2, ...props(0x21, 0, 0), ...text('c')),
);
add(
  'server',
  undefined,
  PROTOCOL_ERROR,
  'maximum packet size 0',
  connect('MQTT', 5, 2, ...props(0x27, 0, 0, 0, 0), ...text('c')),
);
add(
  'server',
  undefined,
  PROTOCOL_ERROR,
  'request problem information 2',
  connect('MQTT', 5, 2, ...props(0x17, 2), ...text('c')),
);
add(
  'server',
  undefined,
  PROTOCOL_ERROR,
  'session expiry twice',
  connect('MQTT', 5, 2, ...props(0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1), ...text('c')),
);
add('server', 5, PROTOCOL_ERROR, 'subscription identifier 0', packet(0x82, 0, 1, ...props(0x0b, 0), ...text('a'), 0));
add('server', 5, PROTOCOL_ERROR, 'DISCONNECT unknown reason', packet(0xe0, 0x42));
add('server', 5, MALFORMED_PACKET, 'DISCONNECT trailing bytes', packet(0xe0, 0, 0, 1));
add('server', 4, MALFORMED_PACKET, 'DISCONNECT with a body', packet(0xe0, 0));
add('server', 5, PROTOCOL_ERROR, 'AUTH unknown reason', packet(0xf0, 0x42, 0));

export const MALFORMED: readonly MalformedInput[] = inputs;
