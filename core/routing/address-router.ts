import { hashText } from '../model/address.ts';
import type { Message } from '../model/message.ts';
import type { MessageEngine } from '../ports/message-engine.ts';
import { AddressTrie } from './address-trie.ts';
import { Binding, type Cursor } from './cursor.ts';

/** Gets messages in process, at most once each; must neither block nor keep the buffer of a message that is not plain. */
export interface LiveSubscriber {
  deliver(message: Message): void;
}

/** What publishing to one address means right now. */
export interface AddressRoute {
  /** Spreads addresses over the message queues of a topic. */
  readonly hash: number;
  readonly lightQueues: readonly string[];
  readonly live: readonly LiveSubscriber[];
}

/** Addresses whose route is kept ready; beyond that all are matched anew. */
const ROUTES_MAX = 200_000;

/** Which light queues and live subscribers an address reaches: the address trie and a cache of its answers. */
export class AddressRouter {
  private readonly engine: MessageEngine;
  private readonly bindings = new AddressTrie<Binding>();
  private readonly routes = new Map<string, AddressRoute>();

  constructor(engine: MessageEngine) {
    this.engine = engine;
  }

  route(address: string): AddressRoute {
    return this.routes.get(address) ?? this.addRoute(address);
  }

  /** Hands every message whose address the filter matches to the subscriber, until disposed. */
  subscribeLive(filter: string, subscriber: LiveSubscriber): Disposable {
    const binding = this.bind(filter);
    binding.live.add(subscriber);
    this.routes.clear();
    return {
      [Symbol.dispose]: () => {
        binding.live.delete(subscriber);
        this.release(binding);
      },
    };
  }

  /**
   * Opens a cursor at the end of the filter's light queue: everything published after this resolved is read through it.
   * `onReady` is called when a read that came back empty is worth repeating.
   */
  async openCursor(filter: string, onReady: () => void): Promise<Cursor> {
    const binding = this.bind(filter);
    const cursor = binding.addCursor(onReady, () => this.release(binding));
    this.routes.clear();
    await binding.start(cursor);
    return cursor;
  }

  private bind(filter: string): Binding {
    let binding = this.bindings.get(filter);
    if (binding === undefined) this.bindings.set(filter, (binding = new Binding(filter, this.engine)));
    return binding;
  }

  private release(binding: Binding): void {
    this.routes.clear();
    if (binding.isIdle && this.bindings.get(binding.filter) === binding) this.bindings.delete(binding.filter);
  }

  private addRoute(address: string): AddressRoute {
    if (this.routes.size >= ROUTES_MAX) this.routes.clear();
    const lightQueues: string[] = [];
    // A subscriber with several matching filters gets one copy.
    const live = new Set<LiveSubscriber>();
    for (const binding of this.bindings.match(address)) {
      if (binding.hasCursors) lightQueues.push(binding.lightQueue);
      for (const subscriber of binding.live) live.add(subscriber);
    }
    const route = { hash: hashText(address), lightQueues, live: [...live] };
    this.routes.set(address, route);
    return route;
  }
}
