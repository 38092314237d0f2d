import type { ReplayRange, SessionSubscription } from '../../../core/broker.ts';
import type { FilterExpression } from '../../../core/model/filter.ts';
import type { Qos } from '../codec/packet.ts';

/** What a client asked for with a topic filter; kept with the session. */
export interface FeedOptions {
  readonly qos: Qos;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** Subscription Identifier, 0 for none. */
  readonly identifier: number;
  /** What messages have to pass beyond the topic filter. */
  readonly expression?: FilterExpression;
  /** Stored messages that are still to be read again, before those that come from now on. */
  readonly replay?: readonly ReplayRange[];
  /** Retained messages are still to be delivered. */
  readonly awaitsRetained?: boolean;
}

/** One subscription and where its messages come from: a cursor at QoS 1 and 2, by hand at QoS 0. */
export type Feed = SessionSubscription<FeedOptions>;
