import type { Broker } from '../../core/broker.ts';
import { BrokerError } from '../../core/model/broker-error.ts';
import type { Message } from '../../core/model/message.ts';
import { REPLY_QUEUE_PREFIX, TEMPORARY_QUEUE_PREFIX } from '../../core/model/names.ts';
import type { Principal } from '../../core/ports/authenticator.ts';
import type { Logger } from '../../core/ports/logger.ts';
import { Connections } from '../connection/connections.ts';
import { ReasonCode } from './codec/reason-code.ts';
import type { Connection } from './connection.ts';
import { MqttMetrics } from './mqtt-metrics.ts';
import type { MqttOptions } from './options.ts';
import { PublishTurn } from './publish-turn.ts';
import { REASON_OF } from './reasons.ts';
import { isSysFilter, levelsOf } from './session/subscribe.ts';
import { additionOf, parseDelayed, type RouteAddition } from './route-addition.ts';
import { SysTopics } from './sys-topics.ts';
import { InboundTranslator, OutboundTranslator } from './translate.ts';

/** Where a topic name leads. */
export interface PublishTarget {
  readonly topic: string;
  /** The address of what is published there: the topic name, without what the gateway itself reads in front of it. */
  readonly address: string;
  /** What its messages get from there; undefined for nothing. */
  readonly addition: RouteAddition | undefined;
  /** Its messages are handed to who listens to the address, and not stored: the replies of a temporary queue. */
  readonly isLive?: boolean;
  /** Why it leads nowhere, as an MQTT 5 reason code; 0 when it leads to the topic. */
  readonly refusal: number;
}

/** How often silent connections are looked for; also the resolution of keep alive. */
const IDLE_SCAN_MS = 1_000;

/** Topic names whose target is kept ready. */
const TARGETS_MAX = 100_000;

/** What the connections of one adapter share. */
export class MqttContext {
  readonly broker: Broker;
  readonly options: MqttOptions;
  readonly log: Logger;
  readonly turn: PublishTurn;
  readonly translator = new InboundTranslator();
  readonly outbound: OutboundTranslator;
  readonly connections: Connections<Connection>;
  readonly metrics = new MqttMetrics();
  readonly sys: SysTopics;
  /** The gateway goes down: wills are left to the next start. */
  isStopping = false;
  private readonly clients = new Map<string, Connection>();
  private readonly targets = new Map<string, PublishTarget>();
  private assigned = 0;
  private connectionNumber = 0;

  constructor(broker: Broker, options: MqttOptions, log: Logger, version: string) {
    this.broker = broker;
    this.options = options;
    this.log = log;
    this.turn = new PublishTurn(broker, log, () => this.translator.recycle());
    this.outbound = new OutboundTranslator((message) => broker.view(message));
    this.connections = new Connections(broker.clock, IDLE_SCAN_MS);
    this.sys = new SysTopics(this, version);
  }

  get nowMs(): number {
    return this.connections.nowMs;
  }

  /** Makes the connection the owner of its client identifier; an older owner is told and closed [MQTT-3.1.4-3]. */
  takeOver(connection: Connection): void {
    const { clientIdentifier } = connection;
    const before = this.clients.get(clientIdentifier);
    this.clients.set(clientIdentifier, connection);
    before?.disconnect(ReasonCode.sessionTakenOver, 'another connection uses this client identifier');
  }

  release(connection: Connection): void {
    const { clientIdentifier } = connection;
    if (this.clients.get(clientIdentifier) === connection) this.clients.delete(clientIdentifier);
  }

  /** Whether some connection owns the client identifier. */
  isTaken(clientIdentifier: string): boolean {
    return this.clients.has(clientIdentifier);
  }

  /** What a subscriber gets at once: the retained messages, or what the gateway says of itself. */
  retained(filter: string): readonly Message[] {
    return isSysFilter(filter) ? this.sys.matching(filter) : this.broker.retained(filter);
  }

  /** Unique in this process. */
  newConnectionNumber(): number {
    return ++this.connectionNumber;
  }

  /** Unique in this process, very likely beyond it, and that of no session there is [MQTT-3.2.2-16]. */
  newClientIdentifier(): string {
    for (;;) {
      const clientIdentifier = `gantry-${this.nowMs.toString(36)}-${(++this.assigned).toString(36)}`;
      if (!this.isTaken(clientIdentifier) && !this.broker.sessions.has(clientIdentifier)) return clientIdentifier;
    }
  }

  publishTarget(topicName: string, principal: Principal): PublishTarget {
    const target = this.targets.get(topicName) ?? this.addTarget(topicName);
    if (target.refusal !== 0) return target;
    const resource = { kind: 'topic' as const, topic: target.topic, address: target.address };
    if (this.broker.isAllowed(principal, 'PUB', resource)) return target;
    return nowhere(ReasonCode.notAuthorized);
  }

  private addTarget(topicName: string): PublishTarget {
    if (this.targets.size >= TARGETS_MAX) this.targets.clear();
    const target = this.resolveTarget(topicName);
    // Where replies go changes with those who wait for them.
    if (!isReply(topicName)) this.targets.set(topicName, target);
    return target;
  }

  private resolveTarget(topicName: string): PublishTarget {
    const { broker, options } = this;
    const delayed = parseDelayed(topicName);
    const address = delayed?.address ?? topicName;
    // `$...` is the gateway's own; clients read there, if anything.
    const isOwn = address.startsWith('$') && !isReply(address);
    const isForbidden = address === '' || isOwn || levelsOf(address) > options.topicLevelsMax;
    if (isForbidden) return nowhere(ReasonCode.topicNameInvalid);
    const delayMs = delayed?.delayMs ?? 0;
    if (delayed !== undefined && broker.delayMsMax === 0) return nowhere(REASON_OF.UNSUPPORTED);
    if (delayMs > broker.delayMsMax) return nowhere(ReasonCode.topicNameInvalid);
    try {
      if (isReply(address)) {
        if (broker.isListenedTo(address)) return live(address);
        // Whoever asked has gone, and nobody else will ever read there.
        if (isTemporaryReply(address)) return nowhere(ReasonCode.noMatchingSubscribers);
      }
      const fields = broker.routeOf(address);
      return { topic: fields.topic, address, addition: additionOf(fields, address, delayMs), refusal: 0 };
    } catch (error) {
      if (error instanceof BrokerError) return nowhere(REASON_OF[error.code]);
      throw error;
    }
  }
}

/** How a device answers to a queue: `$reply/q/<name>`. */
function isReply(topicName: string): boolean {
  return topicName.startsWith(REPLY_QUEUE_PREFIX);
}

function isTemporaryReply(topicName: string): boolean {
  return topicName.startsWith(REPLY_QUEUE_PREFIX + TEMPORARY_QUEUE_PREFIX);
}

function live(address: string): PublishTarget {
  return { topic: address, address, addition: undefined, isLive: true, refusal: 0 };
}

function nowhere(refusal: number): PublishTarget {
  return { topic: '', address: '', addition: undefined, refusal };
}
