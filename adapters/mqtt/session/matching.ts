import { matchesAddress } from '../../../core/model/address.ts';
import { compileFilter, type Filter } from '../../../core/model/filter.ts';
import type { Message } from '../../../core/model/message.ts';
import type { MessageView } from '../../../core/model/message-view.ts';
import type { Qos } from '../codec/packet.ts';
import { encodeProperties } from '../codec/properties.ts';
import { PropertyOwner } from '../codec/property-table.ts';
import type { Feed, FeedOptions } from './feed.ts';

/** How one message goes to one client: once, whatever the number of subscriptions it matches. */
export interface Match {
  /** The subscription that delivers it. */
  readonly feed: Feed;
  /** The highest QoS of all that match. */
  readonly qos: Qos;
  readonly retainAsPublished: boolean;
  /** The Subscription Identifiers of all that match, encoded; null for none. */
  readonly identifiers: Buffer | null;
}

/** Addresses whose match is kept ready. */
const ADDRESSES_MAX = 1000;

interface Candidate {
  readonly feed: Feed;
  /** Those it was made from. */
  readonly options: FeedOptions;
  /** The match when no other subscription does. */
  readonly alone: Match;
  readonly passes: Filter | undefined;
}

/**
 * Which of a session's subscriptions a message matches, and which of these delivers it: the oldest with a cursor, since it
 * has seen everything the younger ones have.
 */
export class Matching {
  private readonly clientIdentifier: string;
  private readonly view: (message: Message) => MessageView;
  private candidates = new Map<Feed, Candidate>();
  /** Whether a message may match several. */
  mayOverlap = false;
  private hasConditions = false;
  /** The match of every message that gets here, where one answer fits all: most clients have one subscription. */
  private only: Match | undefined;
  private readonly byAddress = new Map<string, readonly Candidate[]>();

  constructor(clientIdentifier: string, view: (message: Message) => MessageView) {
    this.clientIdentifier = clientIdentifier;
    this.view = view;
  }

  /** Whether messages of this client itself have to be told from others. */
  get hasNoLocal(): boolean {
    for (const { options } of this.candidates.keys()) if (options.noLocal) return true;
    return false;
  }

  /** @param feeds in the order they were subscribed */
  update(feeds: Iterable<Feed>): void {
    const before = this.candidates;
    this.candidates = new Map();
    this.byAddress.clear();
    this.hasConditions = false;
    let wildcards = 0;
    for (const feed of feeds) {
      const { options, filter } = feed;
      const known = before.get(feed);
      const candidate = known?.options === options ? known : candidateOf(feed);
      this.candidates.set(feed, candidate);
      if (candidate.passes !== undefined || options.noLocal) this.hasConditions = true;
      if (/[+#]/.test(filter)) wildcards++;
    }
    this.mayOverlap = this.candidates.size > 1 && wildcards > 0;
    const [first] = this.candidates.values();
    this.only = this.candidates.size === 1 && !this.hasConditions ? first!.alone : undefined;
  }

  /** How a message that came by the feed is delivered; undefined when another feed does, or none. */
  of(feed: Feed, message: Message): Match | undefined {
    if (this.only?.feed === feed) return this.only;
    const candidate = this.candidates.get(feed);
    // Unsubscribed; what was on its way still comes.
    if (candidate === undefined) return matchOf([feed]);
    if (!this.mayOverlap) return this.accepts(candidate, message) ? candidate.alone : undefined;
    const match = this.best(message, message.address);
    return match?.feed === feed ? match : undefined;
  }

  /** How a message is delivered by one subscription, whatever the others want; undefined when it does not want it. */
  alone(feed: Feed, message: Message): Match | undefined {
    const candidate = this.candidates.get(feed);
    return candidate !== undefined && this.accepts(candidate, message) ? candidate.alone : undefined;
  }

  /** How a message that the feed delivered before is sent again; undefined when nothing wants it any more. */
  again(feed: Feed, message: Message): Match | undefined {
    if (!this.candidates.has(feed)) return undefined;
    return this.mayOverlap ? this.best(message, message.address) : this.alone(feed, message);
  }

  /** How a message that was handed over live is delivered; undefined when a cursor does, or none. */
  live(message: Message, address: string): Match | undefined {
    const match = this.only ?? this.best(message, address);
    return match?.feed.cursor === undefined ? match : undefined;
  }

  private best(message: Message, address: string): Match | undefined {
    let matching = this.byAddress.get(address);
    if (matching === undefined) {
      if (this.byAddress.size >= ADDRESSES_MAX) this.byAddress.clear();
      matching = [...this.candidates.values()].filter(({ feed }) => matchesAddress(feed.filter, address));
      this.byAddress.set(address, matching);
    }
    if (this.hasConditions) matching = matching.filter((candidate) => this.accepts(candidate, message));
    if (matching.length === 0) return undefined;
    return matching.length === 1 ? matching[0]!.alone : matchOf(matching.map(({ feed }) => feed));
  }

  private accepts({ feed, passes }: Candidate, message: Message): boolean {
    // [MQTT-3.8.3-3]
    if (feed.options.noLocal && message.publisher === this.clientIdentifier) return false;
    return passes === undefined || passes(message, () => this.view(message));
  }
}

function candidateOf(feed: Feed): Candidate {
  const { options } = feed;
  return { feed, options, alone: matchOf([feed]), passes: options.expression && compileFilter(options.expression) };
}

function matchOf(feeds: readonly Feed[]): Match {
  const identifiers = feeds.flatMap(({ options }) => (options.identifier > 0 ? [options.identifier] : []));
  return {
    feed: feeds.find(({ cursor }) => cursor !== undefined) ?? feeds[0]!,
    qos: Math.max(...feeds.map(({ options }) => options.qos)) as Qos,
    retainAsPublished: feeds.some(({ options }) => options.retainAsPublished),
    // [MQTT-3.3.4-4], [MQTT-3.3.4-5]: of all of them, in any order.
    identifiers:
      identifiers.length === 0
        ? null
        : encodeProperties({ subscriptionIdentifiers: identifiers }, PropertyOwner.publish),
  };
}
