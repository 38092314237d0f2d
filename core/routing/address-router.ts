import { hashText } from '../model/address.ts';
import type { Message } from '../model/message.ts';
import type { MessageEngine } from '../ports/message-engine.ts';
import { AddressTrie } from './address-trie.ts';
import { Binding, type Cursor } from './cursor.ts';

/** Gets messages in process, at most once each; must neither block nor keep the buffer of a message that is not plain. */
export interface LiveSubscriber {
  deliver(message: Message, address: string): void;
}

/** What publishing to one address means right now. */
export interface AddressRoute {
  /** Spreads addresses over the message queues of a topic. */
  readonly hash: number;
  readonly lightQueues: readonly string[];
  readonly live: readonly LiveSubscriber[];
}

/** What there is for one filter. */
class FilterBindings {
  readonly filter: string;
  readonly live = new Set<LiveSubscriber>();
  passing: Binding | undefined;
  durable: Binding | undefined;
  /** Light queues that others read. */
  readonly lightQueues = new Set<string>();

  constructor(filter: string) {
    this.filter = filter;
  }

  get isIdle(): boolean {
    if (this.live.size > 0 || this.lightQueues.size > 0) return false;
    return this.passing?.hasCursors !== true && this.durable?.hasCursors !== true;
  }
}

/** Addresses whose route is kept ready; beyond that all are matched anew. */
const ROUTES_MAX = 200_000;

/** Which light queues and live subscribers an address reaches: the address trie and a cache of its answers. */
export class AddressRouter {
  private readonly engine: MessageEngine;
  private readonly bindings = new AddressTrie<FilterBindings>();
  private readonly routes = new Map<string, AddressRoute>();

  constructor(engine: MessageEngine) {
    this.engine = engine;
  }

  route(address: string): AddressRoute {
    return this.routes.get(address) ?? this.addRoute(address);
  }

  /** Hands every message whose address the filter matches to the subscriber, until disposed. */
  subscribeLive(filter: string, subscriber: LiveSubscriber): Disposable {
    const bindings = this.bind(filter);
    return this.enter(bindings, bindings.live, subscriber);
  }

  /**
   * Opens a cursor on the filter's light queue, at its end unless told otherwise: everything published after this resolved
   * is read through it. `onReady` is called when a read that came back empty is worth repeating.
   */
  async openCursor(
    filter: string,
    onReady: () => void,
    { durable, from }: { readonly durable: boolean; readonly from?: number | undefined },
  ): Promise<Cursor> {
    const bindings = this.bind(filter);
    const kind = durable ? 'durable' : 'passing';
    const binding = (bindings[kind] ??= new Binding(filter, durable, this.engine));
    const cursor = binding.addCursor(onReady, () => {
      if (!binding.hasCursors && bindings[kind] === binding) bindings[kind] = undefined;
      this.release(bindings);
    });
    this.routes.clear();
    await binding.start(cursor, from);
    return cursor;
  }

  /** References to every message whose address the filter matches go to the light queue, until disposed. */
  bindLightQueue(filter: string, lightQueue: string): Disposable {
    const bindings = this.bind(filter);
    return this.enter(bindings, bindings.lightQueues, lightQueue);
  }

  /** Adds a member to a set of the bindings, until disposed. */
  private enter<T>(bindings: FilterBindings, members: Set<T>, member: T): Disposable {
    members.add(member);
    this.routes.clear();
    return {
      [Symbol.dispose]: () => {
        members.delete(member);
        this.release(bindings);
      },
    };
  }

  private bind(filter: string): FilterBindings {
    let bindings = this.bindings.get(filter);
    if (bindings === undefined) this.bindings.set(filter, (bindings = new FilterBindings(filter)));
    return bindings;
  }

  private release(bindings: FilterBindings): void {
    this.routes.clear();
    if (bindings.isIdle && this.bindings.get(bindings.filter) === bindings) this.bindings.delete(bindings.filter);
  }

  private addRoute(address: string): AddressRoute {
    if (this.routes.size >= ROUTES_MAX) this.routes.clear();
    const lightQueues: string[] = [];
    // A subscriber with several matching filters gets one copy.
    const live = new Set<LiveSubscriber>();
    for (const { passing, durable, lightQueues: others, live: subscribers } of this.bindings.match(address)) {
      if (passing?.hasCursors === true) lightQueues.push(passing.lightQueue);
      if (durable?.hasCursors === true) lightQueues.push(durable.lightQueue);
      for (const lightQueue of others) lightQueues.push(lightQueue);
      for (const subscriber of subscribers) live.add(subscriber);
    }
    const route = { hash: hashText(address), lightQueues, live: [...live] };
    this.routes.set(address, route);
    return route;
  }
}
