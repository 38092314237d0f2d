import { copyBytes, readUint16, readVarint, varintLength } from './bytes.ts';
import { CodecError, malformed, protocolError } from './codec-error.ts';
import { firstByteError, firstByteTable, type Role } from './fixed-header.ts';
import { decodeConnect, decodePacket, readProtocolVersion } from './packet-decoder.ts';
import { type AcknowledgementType, isQos, type Packet, PacketType, type ProtocolVersion } from './packet.ts';
import { validateProperties } from './properties.ts';
import { PropertyOwner } from './property-table.ts';
import { NO_BYTES, PublishView } from './publish-view.ts';
import { Reader } from './reader.ts';
import { isReasonCodeOf, ReasonCode } from './reason-code.ts';
import { decodeTopicName } from './topic.ts';

export { PublishView } from './publish-view.ts';

/** Up to this size the memory for an incomplete packet is allocated at once; larger packets grow into it. */
const WHOLE_ALLOCATION_BYTES_MAX = 4096;
/** Up to this length a loop compares two topics faster than Buffer.compare (1.7 ns a byte against 110 ns, Node 20). */
const LOOP_COMPARISON_BYTES_MAX = 64;

export interface PacketHandler {
  /** `publish` is one reused view: valid only during the call; its buffer stays valid as long as referenced. */
  onPublish(publish: PublishView): void;
  /** PUBACK, PUBREC, PUBREL, PUBCOMP. The reason code is 0 when absent; properties are validated and left out. */
  onAcknowledgement(type: AcknowledgementType, packetIdentifier: number, reasonCode: number): void;
  /** Every other packet. It holds no reference to the received bytes. */
  onPacket(packet: Packet): void;
}

export interface DecoderOptions {
  /** The largest packet accepted, in bytes with its fixed header (as Maximum Packet Size counts it). */
  packetBytesMax: number;
  /** 'server' (default) accepts what clients send, 'client' what servers send. */
  role?: Role;
}

/**
 * Turns the received bytes of one connection into packets. A server's decoder takes only a CONNECT first and learns
 * the protocol version from it.
 */
export class Decoder {
  /** May be changed at any time, also by the handler: it holds from the next fixed header on. */
  packetBytesMax: number;

  readonly #handler: PacketHandler;
  readonly #role: Role;
  #version: ProtocolVersion = 4;
  #beforeConnect: boolean;
  #connectSeen = false;
  #firstBytes: Uint8Array;
  #closed = false;
  #paused = false;
  /** Received while paused, in order. */
  #held: Buffer[] = [];
  readonly #publish = new PublishView();

  // The topic of the last PUBLISH: its bytes (in a buffer that may be longer) and its text.
  #topicBytes: Buffer = NO_BYTES;
  #topicLength = 0;
  #topicName = '';

  // An incomplete packet: the bytes so far, and how many it has in all (0 while the fixed header is incomplete).
  #pending: Buffer | null = null;
  #pendingBytes = 0;
  #packetBytes = 0;

  constructor(handler: PacketHandler, { packetBytesMax, role = 'server' }: DecoderOptions) {
    this.#handler = handler;
    this.#role = role;
    this.packetBytesMax = packetBytesMax;
    this.#beforeConnect = role === 'server';
    this.#firstBytes = firstByteTable(role, this.#beforeConnect ? null : this.#version);
  }

  /** Set by CONNECT as soon as its protocol level is read, even if the rest of it is refused. 4 before that. */
  get version(): ProtocolVersion {
    return this.#version;
  }

  /** Also lifts the demand that the first packet be a CONNECT. */
  set version(version: ProtocolVersion) {
    this.#version = version;
    this.#beforeConnect = false;
    this.#firstBytes = firstByteTable(this.#role, version);
  }

  /** True after close() and after an error: further bytes are ignored. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Ends decoding, also from inside the handler: it is not called again. */
  close(): void {
    this.#closed = true;
    this.#held = [];
    this.#pending = null;
    this.#topicBytes = NO_BYTES;
    this.#topicLength = 0;
    this.#topicName = '';
  }

  /** Holds back everything behind the packet being handled until resume(): its answer has to be waited for. */
  pause(): void {
    this.#paused = true;
  }

  /** Goes on with what was held back. Not to be called from inside the handler. Throws as push does. */
  resume(): void {
    this.#paused = false;
    const held = this.#held;
    this.#held = [];
    for (const chunk of held) this.push(chunk);
  }

  /**
   * Decodes the next received bytes and calls the handler for each packet they complete. The chunk must not be
   * written to afterwards. Not to be called from inside the handler.
   * @throws CodecError when the bytes are not allowed; the decoder is closed then. What the handler throws passes
   * through and closes it too.
   */
  push(chunk: Buffer): void {
    if (this.#closed) return;
    if (this.#paused) {
      this.#held.push(chunk);
      return;
    }
    try {
      const at = this.#pending === null ? 0 : this.#continuePending(chunk);
      if (!this.#closed && at < chunk.length) {
        if (this.#paused) this.#held.push(chunk.subarray(at));
        else this.#decodeFrom(chunk, at);
      }
    } catch (error) {
      this.close();
      throw error;
    } finally {
      this.#publish.buffer = NO_BYTES; // an idle connection must not keep its last chunk
    }
  }

  #decodeFrom(buffer: Buffer, start: number): void {
    let at = start;
    const end = buffer.length;
    while (end - at >= 2) {
      const firstByte = buffer[at]!;
      let bodyAt = at + 2;
      let packetEnd = bodyAt + buffer[at + 1]!;
      if (packetEnd - bodyAt > 0x7f || packetEnd - at > this.packetBytesMax) {
        const packetBytes = this.#readFixedHeader(buffer, at, end);
        if (packetBytes === 0) break;
        packetEnd = at + packetBytes;
        bodyAt = bodyOf(buffer, at);
      } else if (this.#firstBytes[firstByte] !== 0) {
        throw this.#firstByteError(firstByte);
      }
      if (packetEnd > end) break;
      this.#decodePacket(buffer, at, bodyAt, packetEnd);
      if (this.#closed) return;
      at = packetEnd;
      if (this.#paused) {
        if (at < end) this.#held.push(buffer.subarray(at));
        return;
      }
    }
    if (at < end) this.#keep(buffer, at);
  }

  /**
   * Bytes of the packet at `at` with its fixed header, 0 when that is incomplete. Everything the fixed header says is
   * checked here, before its body is waited for.
   */
  #readFixedHeader(buffer: Buffer, at: number, end: number): number {
    const firstByte = buffer[at]!;
    if (this.#firstBytes[firstByte] !== 0) throw this.#firstByteError(firstByte);
    let remainingLength = 0;
    let headerBytes = 1;
    let byte: number;
    do {
      if (headerBytes === 5) throw malformed('the remaining length has more than four bytes');
      if (at + headerBytes >= end) return 0;
      byte = buffer[at + headerBytes]!;
      remainingLength |= (byte & 0x7f) << (7 * (headerBytes - 1));
      headerBytes++;
    } while (byte > 0x7f);
    // MQTT 3 has no rule against padding; a CONNECT is judged when its version is known.
    if (this.#version === 5 && headerBytes - 1 > varintLength(remainingLength)) throw paddedLength();
    if (headerBytes + remainingLength > this.packetBytesMax) {
      throw new CodecError(
        ReasonCode.packetTooLarge,
        `a packet of ${headerBytes + remainingLength} bytes is larger than ${this.packetBytesMax}`,
      );
    }
    return headerBytes + remainingLength;
  }

  #firstByteError(firstByte: number): CodecError {
    return firstByteError(firstByte, this.#firstBytes[firstByte]!, this.#beforeConnect);
  }

  /** Keeps the bytes of an incomplete packet in memory of their own: a few bytes must not hold a whole chunk. */
  #keep(buffer: Buffer, at: number): void {
    const bytes = buffer.length - at;
    this.#packetBytes = this.#readFixedHeader(buffer, at, buffer.length);
    this.#pending = Buffer.allocUnsafeSlow(pendingCapacity(this.#packetBytes, bytes));
    this.#pendingBytes = bytes;
    copyBytes(buffer, at, buffer.length, this.#pending, 0);
  }

  /** Adds to the incomplete packet, decodes it when complete, and returns how much of the chunk was taken. */
  #continuePending(chunk: Buffer): number {
    let pending = this.#pending!;
    let at = 0;
    while (this.#packetBytes === 0) {
      if (at === chunk.length) return at;
      pending[this.#pendingBytes++] = chunk[at++]!;
      this.#packetBytes = this.#readFixedHeader(pending, 0, this.#pendingBytes);
    }
    const taken = Math.min(this.#packetBytes - this.#pendingBytes, chunk.length - at);
    const bytes = this.#pendingBytes + taken;
    if (bytes > pending.length) {
      // At least doubling keeps the copying linear, however small the pieces are.
      const larger = Buffer.allocUnsafeSlow(pendingCapacity(this.#packetBytes, bytes));
      copyBytes(pending, 0, this.#pendingBytes, larger, 0);
      this.#pending = pending = larger;
    }
    copyBytes(chunk, at, at + taken, pending, this.#pendingBytes);
    this.#pendingBytes = bytes;
    if (bytes === this.#packetBytes) {
      this.#pending = null;
      this.#decodePacket(pending, 0, bodyOf(pending, 0), bytes);
    }
    return at + taken;
  }

  /** The packet's fixed header starts at `start`, what follows that at `at`. */
  #decodePacket(buffer: Buffer, start: number, at: number, end: number): void {
    const firstByte = buffer[start]!;
    const type = firstByte >> 4;
    switch (type) {
      case PacketType.publish:
        return this.#decodePublish(buffer, start, at, end);
      case PacketType.puback:
      case PacketType.pubrec:
      case PacketType.pubrel:
      case PacketType.pubcomp:
        return this.#decodeAcknowledgement(buffer, type, at, end);
      case PacketType.connect:
        return this.#decodeConnect(buffer, firstByte, at, end);
      default:
        this.#handler.onPacket(decodePacket(type, new Reader(buffer, at, end), this.#version, this.#role === 'client'));
    }
  }

  #decodeConnect(buffer: Buffer, firstByte: number, at: number, end: number): void {
    if (this.#connectSeen) throw protocolError('a second CONNECT [MQTT-3.1.0-2]');
    this.#connectSeen = true;
    const reader = new Reader(buffer, at, end);
    const version = readProtocolVersion(reader);
    this.version = version;
    if (version !== 3 && (firstByte & 0x0f) !== 0) throw malformed('the flags of CONNECT are not 0 [MQTT-2.1.3-1]');
    // A last length byte of 0 after others is the mark of a padded remaining length.
    if (version === 5 && buffer[at - 1] === 0) throw paddedLength();
    this.#handler.onPacket(decodeConnect(reader, version));
  }

  #decodeAcknowledgement(buffer: Buffer, type: AcknowledgementType, at: number, end: number): void {
    const length = end - at;
    if (length < 2) throw malformed('an acknowledgement without packet identifier');
    const packetIdentifier = readUint16(buffer, at);
    if (packetIdentifier === 0) throw protocolError('the packet identifier is 0');
    let reasonCode = 0;
    if (length > 2) {
      if (this.#version !== 5) throw malformed('an acknowledgement has bytes after its packet identifier');
      reasonCode = buffer[at + 2]!;
      if (!isReasonCodeOf(type, reasonCode)) {
        throw protocolError(`the reason code 0x${reasonCode.toString(16)} does not belong in this packet`);
      }
      // With a body of three bytes there is no property length either (section 3.4.2.2.1).
      if (length > 3) {
        const propertiesLength = readVarint(buffer, at + 3, end);
        const start = at + 3 + varintLength(propertiesLength);
        if (start + propertiesLength !== end) throw malformed('the properties do not end where the packet ends');
        validateProperties(buffer, start, end, type);
      }
    }
    this.#handler.onAcknowledgement(type, packetIdentifier, reasonCode);
  }

  #decodePublish(buffer: Buffer, start: number, at: number, end: number): void {
    const view = this.#publish;
    const firstByte = buffer[start]!;
    const topicStart = at + 2;
    if (topicStart > end) throw malformed('a PUBLISH without topic name');
    const topicEnd = topicStart + readUint16(buffer, at);
    let next = topicEnd;
    const qos = (firstByte >> 1) & 3;
    if (!isQos(qos)) throw malformed('a PUBLISH has QoS 3'); // [MQTT-3.3.1-4]
    let packetIdentifier = 0;
    if (qos !== 0) {
      next += 2;
      if (next > end) throw malformed('a PUBLISH ends inside its topic name or packet identifier');
      packetIdentifier = readUint16(buffer, topicEnd);
      if (packetIdentifier === 0) throw protocolError('the packet identifier is 0'); // [MQTT-2.2.1-3]
    }
    if (next > end) throw malformed('a PUBLISH ends inside its topic name');
    view.buffer = buffer;
    view.packetStart = start;
    view.dup = (firstByte & 8) !== 0;
    view.qos = qos;
    view.retain = (firstByte & 1) !== 0;
    view.topicStart = topicStart;
    view.topicEnd = topicEnd;
    view.packetIdentifier = packetIdentifier;
    view.topicAlias = 0;
    view.messageExpiryIntervalS = -1;
    view.hasUserProperties = false;
    view.isText = false;
    view.propertiesStart = view.propertiesEnd = next;
    if (this.#version === 5) next = this.#readPublishProperties(buffer, next, end);
    view.payloadStart = next;
    view.payloadEnd = end;
    view.topicName = this.#topicNameOf(buffer, topicStart, topicEnd, view.topicAlias);
    this.#handler.onPublish(view);
  }

  /** Validates the property section whose length stands at `at`. Returns where the payload starts. */
  #readPublishProperties(buffer: Buffer, at: number, end: number): number {
    const length = readVarint(buffer, at, end);
    const view = this.#publish;
    view.propertiesStart = at + varintLength(length);
    view.propertiesEnd = view.propertiesStart + length;
    if (view.propertiesEnd > end) throw malformed('a PUBLISH ends inside its properties');
    if (length !== 0) {
      const owner = this.#role === 'server' ? PropertyOwner.publishOfClient : PropertyOwner.publish;
      validateProperties(buffer, view.propertiesStart, view.propertiesEnd, owner, view);
    }
    return view.propertiesEnd;
  }

  /** The topic name as a string; the last one when the bytes are the same. */
  #topicNameOf(buffer: Buffer, start: number, end: number, topicAlias: number): string {
    const length = end - start;
    if (length === 0) {
      if (topicAlias === 0) throw protocolError('the topic name is empty'); // section 3.3.2.1, [MQTT-4.7.3-1]
      return '';
    }
    if (length === this.#topicLength && isEqual(buffer, start, this.#topicBytes, length)) return this.#topicName;
    const topicName = decodeTopicName(buffer, start, end);
    if (length > this.#topicBytes.length || length + 1024 < this.#topicBytes.length) {
      this.#topicBytes = Buffer.allocUnsafeSlow(Math.min(65_535, length + 32));
    }
    copyBytes(buffer, start, end, this.#topicBytes, 0);
    this.#topicLength = length;
    this.#topicName = topicName;
    return topicName;
  }
}

/** Compares from the end, where topics differ. */
function isEqual(buffer: Buffer, start: number, other: Buffer, length: number): boolean {
  if (length > LOOP_COMPARISON_BYTES_MAX) return buffer.compare(other, 0, length, start, start + length) === 0;
  for (let i = length - 1; i >= 0; i--) {
    if (buffer[start + i] !== other[i]) return false;
  }
  return true;
}

/** Where the body of the packet at `at`, whose fixed header is complete, starts. */
function bodyOf(buffer: Buffer, at: number): number {
  let last = at + 1;
  while (buffer[last]! > 0x7f) last++;
  return last + 1;
}

function pendingCapacity(packetBytes: number, bytes: number): number {
  if (packetBytes === 0) return 8; // at most the five bytes of a fixed header
  if (packetBytes <= WHOLE_ALLOCATION_BYTES_MAX) return packetBytes;
  return Math.min(packetBytes, Math.max(WHOLE_ALLOCATION_BYTES_MAX, 2 * bytes));
}

function paddedLength(): CodecError {
  return malformed('the remaining length is longer than needed [MQTT-1.5.5-1]');
}
