import type { ClientSession, SessionState, SessionSubscription } from '../../../core/broker.ts';
import { Message } from '../../../core/model/message.ts';
import type { Feed } from './feed.ts';
import { Inflight, Phase, type InflightMessage } from './inflight.ts';

/** packet identifier, phase, topic filter, offset; of a message that is kept RETAIN instead, and its bytes in base64. */
type StoredInflight = readonly [number, Phase, string | null, number, string?];

interface Snapshot {
  readonly mark: number;
  readonly inflight: readonly StoredInflight[];
}

/** Whoever tells the client that its QoS 2 message is stored, or why not. */
export interface Answerer {
  answerOnce(packetIdentifier: number, reasonCode: number): void;
}

/** What MQTT adds to a session: the messages on their way to the client, and those it sends exactly once. */
export class MqttSession implements SessionState {
  readonly core: ClientSession;
  readonly inflight = new Inflight();
  /** Packet identifiers of QoS 2 messages from the client that are being stored, and who answers: its latest connection. */
  readonly storing = new Map<number, Answerer>();

  private constructor(core: ClientSession) {
    this.core = core;
    if (core.stored !== undefined && core.stored !== null) this.restore(core.stored as Snapshot);
    core.state = this;
  }

  static of(core: ClientSession): MqttSession {
    return core.state instanceof MqttSession ? core.state : new MqttSession(core);
  }

  get feeds(): ReadonlyMap<string, Feed> {
    return this.core.subscriptions as ReadonlyMap<string, Feed>;
  }

  snapshot(): Snapshot {
    return { mark: this.inflight.mark, inflight: this.inflight.all().flatMap(storedForm) };
  }

  keptFrom(subscription: SessionSubscription): number {
    const feed = subscription as Feed;
    return this.inflight.oldestOf(feed) ?? feed.cursor!.offset;
  }

  /** The subscription goes; what is on its way from it can still be sent again. @returns whether there is something */
  async keepInflight(feed: Feed): Promise<boolean> {
    let hasSome = false;
    for (const { packetIdentifier, feed: from, position, kept } of this.inflight.all()) {
      if (from !== feed || kept !== undefined) continue;
      const message = await feed.cursor!.again(position);
      if (message !== undefined && this.inflight.phase(packetIdentifier) !== Phase.none) {
        this.inflight.keep(packetIdentifier, message, feed.options.retainAsPublished && message.isRetained);
        hasSome = true;
      }
    }
    return hasSome;
  }

  private restore({ mark, inflight }: Snapshot): void {
    const messages = inflight.flatMap(([packetIdentifier, phase, filter, position, bytes]): InflightMessage[] => {
      const feed = filter === null ? undefined : this.feeds.get(filter);
      const kept = bytes === undefined ? undefined : messageFrom(bytes);
      return [{ packetIdentifier, phase, feed, position, kept }];
    });
    this.inflight.restore(mark, messages);
  }
}

function storedForm({ packetIdentifier, phase, feed, position, kept }: InflightMessage): StoredInflight[] {
  const filter = feed?.filter ?? null;
  if (kept === undefined) return [[packetIdentifier, phase, filter, position]];
  // A lease is not the session's: its message comes to another member of the group, unless the client has it already.
  if (!(kept instanceof Message)) return phase === Phase.released ? [[packetIdentifier, phase, null, 0]] : [];
  return [[packetIdentifier, phase, filter, position, kept.buffer.toString('base64', kept.start, kept.end)]];
}

function messageFrom(base64: string): Message {
  const bytes = Buffer.from(base64, 'base64');
  return new Message(bytes, 0, bytes.length);
}
