import { ownCopy, readUint16, readUint32, readVarint, varintLength } from './bytes.ts';
import { CodecError, malformed, protocolError } from './codec-error.ts';
import { Output } from './output.ts';
import type { Properties } from './packet.ts';
import {
  PROPERTY_ID_MAX,
  type PropertyDefinition,
  PropertyId,
  PropertyOwner,
  PropertyType,
  propertyTable,
} from './property-table.ts';
import { ReasonCode } from './reason-code.ts';
import { hasWildcard } from './topic.ts';
import { isUtf8 } from './utf8.ts';

export type { Properties } from './packet.ts';

/** What the validation of a PUBLISH's properties picks up on its way. */
export interface PickedProperties {
  /** 0 when absent. */
  topicAlias: number;
  /** -1 when absent. */
  messageExpiryIntervalS: number;
  hasUserProperties: boolean;
  /** Payload Format Indicator is 1. */
  isText: boolean;
}

// The table again, by identifier, in the form the validation reads. Bit n of a mask stands for property owner n.
const definitions: (PropertyDefinition | undefined)[] = Array.from({ length: PROPERTY_ID_MAX + 1 });
const definitionsByName = new Map<string, PropertyDefinition>();
const types = new Uint8Array(PROPERTY_ID_MAX + 1);
const owners = new Int32Array(PROPERTY_ID_MAX + 1);
const repeats = new Int32Array(PROPERTY_ID_MAX + 1);
const minima = new Float64Array(PROPERTY_ID_MAX + 1);
const maxima = new Float64Array(PROPERTY_ID_MAX + 1);
for (const definition of propertyTable) {
  definitions[definition.id] = definition;
  definitionsByName.set(definition.name, definition);
  types[definition.id] = definition.type;
  for (const owner of definition.owners) owners[definition.id]! |= 1 << owner;
  for (const owner of definition.repeatsIn) repeats[definition.id]! |= 1 << owner;
  minima[definition.id] = definition.min;
  maxima[definition.id] = definition.max;
}

const discarded: PickedProperties = {
  topicAlias: 0,
  messageExpiryIntervalS: -1,
  hasUserProperties: false,
  isText: false,
};

/**
 * Checks a raw property section (the bytes after its length) against the table, in place, without an allocation.
 * @throws CodecError 0x81 for what cannot be parsed or is not a property of `owner` (section 2.2.2.2), 0x82 for a
 * property given twice or a forbidden value, 0x94 for topic alias 0, 0x90 for a response topic with a wildcard.
 */
export function validateProperties(
  buffer: Buffer,
  start: number,
  end: number,
  owner: PropertyOwner,
  picked: PickedProperties = discarded,
): void {
  const ownerBit = 1 << owner;
  let seenLow = 0; // identifiers 0 to 31
  let seenHigh = 0; // identifiers 32 to 63
  let at = start;
  while (at < end) {
    const id = buffer[at]!;
    // Identifiers are variable byte integers, but all that exist have one byte.
    if (id > PROPERTY_ID_MAX || (owners[id]! & ownerBit) === 0) throw misplaced(id, owner);
    if ((repeats[id]! & ownerBit) === 0) {
      const bit = 1 << (id & 31);
      if (((id < 32 ? seenLow : seenHigh) & bit) !== 0)
        throw protocolError(`the property ${nameOf(id)} is given twice`);
      if (id < 32) seenLow |= bit;
      else seenHigh |= bit;
    }
    const next = propertyEnd(buffer, at, end);
    if (next > end) throw malformed(`the property ${nameOf(id)} is longer than the properties`);
    checkValue(buffer, at + 1, next, id, picked);
    at = next;
  }
}

/** Where the property at `at`, whose identifier is in the table, ends: beyond `end` when it is cut off. */
export function propertyEnd(buffer: Buffer, at: number, end: number): number {
  switch (types[buffer[at]!]!) {
    case PropertyType.byte:
    case PropertyType.flag:
      return at + 2;
    case PropertyType.uint16:
      return at + 3;
    case PropertyType.uint32:
      return at + 5;
    case PropertyType.varint:
      return at + 1 + varintLength(readVarint(buffer, at + 1, end));
    case PropertyType.stringPair: {
      if (at + 3 > end) return end + 1;
      const value = at + 3 + readUint16(buffer, at + 1);
      return value + 2 > end ? end + 1 : value + 2 + readUint16(buffer, value);
    }
    default: // string, binary
      return at + 3 > end ? end + 1 : at + 3 + readUint16(buffer, at + 1);
  }
}

/** Checks the value in [start, end), whose length is already known to fit. */
function checkValue(buffer: Buffer, start: number, end: number, id: number, picked: PickedProperties): void {
  switch (types[id]!) {
    case PropertyType.string:
      checkString(buffer, start + 2, end, id);
      if (id === PropertyId.responseTopic && hasWildcard(buffer, start + 2, end)) {
        // [MQTT-3.3.2-14]
        throw new CodecError(ReasonCode.topicNameInvalid, 'the response topic contains a wildcard');
      }
      return;
    case PropertyType.binary:
      return;
    case PropertyType.stringPair: {
      const nameEnd = start + 2 + readUint16(buffer, start);
      checkString(buffer, start + 2, nameEnd, id);
      checkString(buffer, nameEnd + 2, end, id);
      picked.hasUserProperties = true;
      return;
    }
    default: {
      const value = readNumber(buffer, start, end, types[id]!);
      if (value < minima[id]! || value > maxima[id]!) throw forbiddenValue(id, value);
      if (id === PropertyId.topicAlias) picked.topicAlias = value;
      else if (id === PropertyId.messageExpiryInterval) picked.messageExpiryIntervalS = value;
      else if (id === PropertyId.payloadFormatIndicator) picked.isText = value === 1;
    }
  }
}

function readNumber(buffer: Buffer, start: number, end: number, type: number): number {
  switch (type) {
    case PropertyType.uint16:
      return readUint16(buffer, start);
    case PropertyType.uint32:
      return readUint32(buffer, start);
    case PropertyType.varint:
      return readVarint(buffer, start, end);
    default:
      return buffer[start]!;
  }
}

function checkString(buffer: Buffer, start: number, end: number, id: number): void {
  if (!isUtf8(buffer, start, end)) throw malformed(`the property ${nameOf(id)} is not valid UTF-8`);
}

function nameOf(id: number): string {
  return definitions[id]?.name ?? `0x${id.toString(16).padStart(2, '0')}`;
}

function misplaced(id: number, owner: PropertyOwner): CodecError {
  if (definitions[id] === undefined) return malformed(`there is no property ${nameOf(id)}`);
  if (owner === PropertyOwner.publishOfClient && (owners[id]! & (1 << PropertyOwner.publish)) !== 0) {
    return protocolError('a client must not publish with a subscription identifier [MQTT-3.3.4-6]');
  }
  if (owner === PropertyOwner.disconnectOfServer && (owners[id]! & (1 << PropertyOwner.disconnect)) !== 0) {
    return protocolError('a server must not disconnect with a session expiry interval [MQTT-3.14.2-2]');
  }
  return malformed(`the property ${nameOf(id)} does not belong in this packet`);
}

function forbiddenValue(id: number, value: number): CodecError {
  const message = `the property ${nameOf(id)} must not be ${value}`;
  // [MQTT-3.3.2-8]
  return id === PropertyId.topicAlias ? new CodecError(ReasonCode.topicAliasInvalid, message) : protocolError(message);
}

/** The properties of a section that validateProperties has accepted. Strings and binary data are copies. */
export function readProperties(buffer: Buffer, start: number, end: number): Properties {
  const properties: Record<string, unknown> = {};
  let at = start;
  while (at < end) {
    const id = buffer[at]!;
    const name = nameOf(id);
    const next = propertyEnd(buffer, at, end);
    const value = readValue(buffer, at + 1, next, types[id]!);
    if (types[id] === PropertyType.stringPair || types[id] === PropertyType.varint) {
      const values = properties[name];
      if (Array.isArray(values)) values.push(value);
      else properties[name] = [value];
    } else {
      properties[name] = value;
    }
    at = next;
  }
  return properties;
}

function readValue(buffer: Buffer, start: number, end: number, type: number): unknown {
  switch (type) {
    case PropertyType.flag:
      return buffer[start] === 1;
    case PropertyType.string:
      return buffer.toString('utf8', start + 2, end);
    case PropertyType.binary:
      return ownCopy(buffer, start + 2, end);
    case PropertyType.stringPair: {
      const nameEnd = start + 2 + readUint16(buffer, start);
      return [buffer.toString('utf8', start + 2, nameEnd), buffer.toString('utf8', nameEnd + 2, end)];
    }
    default:
      return readNumber(buffer, start, end, type);
  }
}

/**
 * The raw property section (without its length) for these properties, in the order of the object's keys.
 * @throws TypeError when a property does not belong to `owner`, RangeError when a value is outside its range.
 */
export function encodeProperties(properties: Properties, owner: PropertyOwner): Buffer {
  const section = Buffer.allocUnsafeSlow(propertiesLength(properties, owner));
  writeProperties(new Output(section, 0), properties, owner);
  return section;
}

/** Bytes of the raw property section, without its length. */
export function propertiesLength(properties: Properties, owner: PropertyOwner): number {
  const measure = new Output(null, 0);
  writeProperties(measure, properties, owner);
  return measure.at;
}

/** Writes the raw property section, without its length. */
export function writeProperties(output: Output, properties: Properties, owner: PropertyOwner): void {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    const definition = definitionsByName.get(name);
    if (definition === undefined || !definition.owners.includes(owner)) {
      throw new TypeError(`the property ${name} does not belong in this packet`);
    }
    const repeated = definition.type === PropertyType.stringPair || definition.type === PropertyType.varint;
    const values: unknown[] = repeated ? value : [value];
    if (values.length > 1 && !definition.repeatsIn.includes(owner)) throw new TypeError(`${name} cannot be repeated`);
    for (const single of values) {
      output.byte(definition.id);
      writeValue(output, definition, single);
    }
  }
}

function writeValue(output: Output, definition: PropertyDefinition, value: unknown): void {
  const { name, type } = definition;
  if (type === PropertyType.string) return output.string(asString(name, value));
  if (type === PropertyType.binary) {
    if (!Buffer.isBuffer(value)) throw new TypeError(`${name} is not a Buffer`);
    return output.binary(value);
  }
  if (type !== PropertyType.stringPair) return writeNumber(output, definition, Number(value));
  if (!Array.isArray(value)) throw new TypeError(`${name} has an entry that is not a pair`);
  output.string(asString(name, value[0]));
  return output.string(asString(name, value[1]));
}

function asString(name: string, value: unknown): string {
  if (typeof value !== 'string') throw new TypeError(`${name} is not a string`);
  return value;
}

function writeNumber(output: Output, { name, type, min, max }: PropertyDefinition, value: number): void {
  if (!Number.isInteger(value) || value < min || value > max) throw new RangeError(`${name} cannot be ${value}`);
  if (type === PropertyType.uint16) output.uint16(value);
  else if (type === PropertyType.uint32) output.uint32(value);
  else if (type === PropertyType.varint) output.varint(value);
  else output.byte(value);
}
