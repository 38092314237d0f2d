import { BrokerError } from '../model/broker-error.ts';
import { checkTopicName, encodeTopicName } from '../model/names.ts';
import type { TopicSpec } from '../model/topic.ts';
import { fillTemplate, matchTemplate, parseTemplate, type Bindings, type Template } from './route-template.ts';
import { decodeText, isLevel, isLevels, keyOf, messageGroupOf, tagOf, UNNAMED_TOPIC } from './route-text.ts';

/** One configured route: which addresses it is for, and what becomes of them. */
export interface RouteRule {
  /** An address filter whose single-level wildcards may have names: `devices/{deviceId}/telemetry/#`. */
  readonly filter: string;
  /** Templates: `{deviceId}` is the level of that name, `{1}` the first level, `{rest}` what `#` stands for. */
  readonly topic: string;
  readonly messageGroup?: string | undefined;
  readonly keys?: readonly string[] | undefined;
  readonly tag?: string | undefined;
  /** The topic has this type and number of queues when it is created on first use. */
  readonly type?: TopicSpec['type'] | undefined;
  readonly queues?: number | undefined;
}

/** The fields of a message that have to do with its route. */
export interface RoutedFields {
  readonly topic: string;
  readonly messageGroup?: string | undefined;
  readonly keys: readonly string[];
  readonly tag?: string | undefined;
}

/** A level of the filter: its text, or undefined for a wildcard. */
type FilterLevel = string | undefined;

const REST = 'rest';
const LEVEL_NAME = /^[a-zA-Z][a-zA-Z0-9_]*$/;
const TOPIC_TEXT = /^[%|a-zA-Z0-9_-]*$/;

/** A route, checked and ready. In its templates every placeholder is the number of a level, or `rest`. */
export class Route {
  readonly rule: RouteRule;
  private readonly levels: readonly FilterLevel[];
  private readonly hasRest: boolean;
  private readonly topic: Template;
  private readonly messageGroup: Template | undefined;
  private readonly keys: readonly Template[];
  private readonly tag: Template | undefined;

  /** @throws BrokerError BAD_REQUEST, saying what is wrong with which route */
  constructor(rule: RouteRule) {
    this.rule = rule;
    const { levels, names, hasRest } = parseFilter(rule.filter);
    this.levels = levels;
    this.hasRest = hasRest;
    const compile = (field: string, source: string, encode = (text: string) => text): Template =>
      compileTemplate(source, (name) => this.placeholder(name, names, encode), `${field} of the route ${rule.filter}`);
    this.topic = compile('topic', rule.topic, encodeTopicName);
    checkTopic(this.topic, rule);
    this.messageGroup = rule.messageGroup === undefined ? undefined : compile('messageGroup', rule.messageGroup);
    this.keys = (rule.keys ?? []).map((key) => compile('keys', key));
    this.tag = rule.tag === undefined ? undefined : compile('tag', rule.tag);
  }

  /** Whether the route is for the address that has these levels. */
  matches(levels: readonly string[]): boolean {
    const wanted = this.levels;
    if (levels.length < wanted.length || (levels.length > wanted.length && !this.hasRest)) return false;
    // A wildcard in the first level does not reach `$...` addresses [MQTT-4.7.2-1].
    if (wanted[0] === undefined && levels[0]!.startsWith('$')) return false;
    return wanted.every((level, i) => level === undefined || level === levels[i]);
  }

  /** All that an address with these levels, which the route matches, says. @throws BrokerError ILLEGAL_TOPIC, ILLEGAL_ADDRESS */
  fieldsOf(levels: readonly string[]): RoutedFields {
    const fill = (template: Template | undefined): string =>
      template === undefined ? '' : fillTemplate(template, (name) => this.valueOf(levels, name));
    return {
      topic: this.topicOf(levels),
      messageGroup: messageGroupOf(fill(this.messageGroup)),
      keys: this.keys.flatMap((key) => keyOf(fill(key)) ?? []),
      tag: tagOf(fill(this.tag)),
    };
  }

  /**
   * The way back: the filter with everything filled in that the message says, its message group first, then its keys, then
   * its tag; undefined when something stays unknown.
   */
  addressOf(fields: RoutedFields): string | undefined {
    const known = matchTemplate(this.topic, fields.topic);
    if (known === undefined) return undefined;
    for (const [name, value] of known) known.set(name, decodeText(value));
    learn(known, this.messageGroup, fields.messageGroup);
    for (const [i, key] of this.keys.entries()) learn(known, key, fields.keys[i]);
    learn(known, this.tag, fields.tag);
    const levels = this.levels.map((level, i) => level ?? known.get(String(i + 1)));
    if (levels.some((level) => level === undefined || !isLevel(level))) return undefined;
    if (!this.hasRest) return levels.join('/');
    const rest = known.get(REST);
    if (rest === undefined || !isLevels(rest)) return undefined;
    return (rest === '' ? levels : [...levels, rest]).join('/');
  }

  /** Whether this route, rather than another, says what the topic is like. */
  describes(topic: string): boolean {
    const { type, queues } = this.rule;
    return (type !== undefined || queues !== undefined) && matchTemplate(this.topic, topic) !== undefined;
  }

  private topicOf(levels: readonly string[]): string {
    const topic = fillTemplate(this.topic, (name) => encodeTopicName(this.valueOf(levels, name)));
    const name = topic === '' ? UNNAMED_TOPIC : topic;
    checkTopicName(name);
    return name;
  }

  private valueOf(levels: readonly string[], name: string): string {
    return name === REST ? levels.slice(this.levels.length).join('/') : (levels[Number(name) - 1] ?? '');
  }

  /** The number of a placeholder's level or `rest`; as a literal the text it always stands for; undefined: no such one. */
  private placeholder(
    name: string,
    names: ReadonlyMap<string, number>,
    encode: (text: string) => string,
  ): { readonly name: string } | { readonly literal: string } | undefined {
    if (name === REST) return this.hasRest ? { name } : undefined;
    const number = /^[1-9]\d{0,2}$/.test(name) ? Number(name) : names.get(name);
    if (number === undefined || (number > this.levels.length && !this.hasRest)) return undefined;
    const literal = this.levels[number - 1];
    return literal === undefined ? { name: String(number) } : { literal: encode(literal) };
  }
}

/** Learns from a field of the message, without unlearning anything. A field left out was empty. */
function learn(known: Bindings, template: Template | undefined, value: string | undefined): void {
  if (template === undefined) return;
  const isRest = template.placeholders.length === 1 && template.placeholders[0] === REST;
  if (value === undefined && !(isRest && template.literals.every((literal) => literal === ''))) return;
  for (const [name, text] of matchTemplate(template, decodeText(value ?? '')) ?? []) {
    if (!known.has(name)) known.set(name, text);
  }
}

function parseFilter(filter: string) {
  const refuse = (reason: string): never => {
    throw new BrokerError('BAD_REQUEST', `the filter of the route ${filter} ${reason}`);
  };
  if (filter === '' || filter.includes('\0')) refuse('is empty or has a null character');
  const texts = filter.split('/');
  const hasRest = texts.at(-1) === '#';
  if (hasRest) texts.pop();
  const names = new Map<string, number>();
  const levels = texts.map((text, i): FilterLevel => {
    if (text === '+') return undefined;
    const name = /^\{(.*)\}$/.exec(text)?.[1];
    if (name === undefined) {
      return /[+#{}]/.test(text)
        ? refuse('has a wildcard that is not a whole level, or a # that is not the last')
        : text;
    }
    if (!LEVEL_NAME.test(name) || name === REST) refuse(`has a level named {${name}}, which cannot be a name`);
    if (names.has(name)) refuse(`has two levels named {${name}}`);
    names.set(name, i + 1);
    return undefined;
  });
  return { levels, names, hasRest };
}

function compileTemplate(
  source: string,
  placeholder: (name: string) => { readonly name: string } | { readonly literal: string } | undefined,
  what: string,
): Template {
  const parsed = parseTemplate(source);
  if (typeof parsed === 'string') throw new BrokerError('BAD_REQUEST', `the ${what} ${parsed}`);
  const literals = [parsed.literals[0]!];
  const placeholders: string[] = [];
  for (const [i, name] of parsed.placeholders.entries()) {
    const found = placeholder(name);
    if (found === undefined) {
      throw new BrokerError('BAD_REQUEST', `the ${what} has {${name}}, which its filter does not: ${source}`);
    }
    if ('literal' in found) literals.push(`${literals.pop()!}${found.literal}${parsed.literals[i + 1]!}`);
    else {
      placeholders.push(found.name);
      literals.push(parsed.literals[i + 1]!);
    }
  }
  return { source, literals, placeholders };
}

/** What can be said of the topic's name before an address is there. */
function checkTopic({ literals, placeholders }: Template, { filter, topic }: RouteRule): void {
  const refuse = (reason: string): never => {
    throw new BrokerError(
      'BAD_REQUEST',
      `the topic of the route ${filter} cannot be ${JSON.stringify(topic)}: ${reason}`,
    );
  };
  if (topic === '') refuse('it is empty');
  if (/^%(DLQ|RETRY)%/.test(literals[0]!)) refuse('the gateway writes that topic itself');
  if (!literals.every((literal) => TOPIC_TEXT.test(literal))) refuse('it has characters other than a-zA-Z0-9_-%|');
  if (placeholders.length > 0 || literals[0] === '') return;
  try {
    checkTopicName(literals[0]!);
  } catch (error) {
    refuse((error as Error).message);
  }
}
