import { SystemField } from '../../../../core/model/message-layout.ts';
import type { Message, StoredMessage } from '../../../../core/model/message.ts';
import { deadLetterOf } from '../../../../core/model/message-view.ts';
import type { AmqpMap } from '../codec/performatives.ts';
import { stringMapValue, stringValue, textOf } from '../codec/plain-values.ts';
import { readValue } from '../codec/reader.ts';
import type { AmqpValue } from '../codec/values.ts';
import { encodeValue } from '../codec/writer.ts';
import { Annotation } from './message-form.ts';

/** Of what receivers add to one message; it is kept with every copy. */
const DETAILS_BYTES_MAX = 64 * 1024;
const NOTHING: AmqpMap = new Map();

/** Annotations for a dead letter, as they are stored with it; of too many those that came last are left out. */
export function deathDetails(annotations: readonly (AmqpMap | undefined)[]): Buffer | undefined {
  const merged = new Map<string, AmqpValue>();
  let details: Buffer | undefined;
  for (const added of annotations) {
    if (added === undefined || added.size === 0) continue;
    for (const [name, value] of added) merged.set(name, value);
    const encoded = encodeValue(stringMapValue(merged));
    if (encoded.length > DETAILS_BYTES_MAX) break;
    details = encoded;
  }
  return details;
}

/** What those who gave the message up, or back before that, wanted to be added to it (AMQP 3.4.5). */
export function addedAtDeath(message: Message): AmqpMap {
  const details = message.systemBytes(SystemField.deadLetterDetails);
  if (details === undefined) return NOTHING;
  const map = readValue(details, 0, details.length, 'details of a dead letter');
  return new Map(map.type === 'map' ? map.value.map(([name, value]) => [textOf(name) ?? '', value]) : []);
}

/** The annotations of a dead letter: where the message was given up, as RabbitMQ tells it, an array of maps, the latest first. */
export function deathAnnotations(message: StoredMessage): AmqpMap {
  const dead = deadLetterOf(message);
  if (dead === undefined) return NOTHING;
  const { topic, messageId, reason, description } = dead;
  const death = new Map([
    ['topic', stringValue(topic)],
    ['message-id', stringValue(messageId)],
  ]);
  if (reason !== undefined) death.set('reason', stringValue(reason));
  if (description !== undefined) death.set('description', stringValue(description));
  const deaths: AmqpValue = { type: 'array', value: [stringMapValue(death)], elementType: 'map' };
  return new Map([[Annotation.deaths, deaths], ...addedAtDeath(message)]);
}
