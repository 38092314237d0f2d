import type { BrokerError } from '../../../../core/model/broker-error.ts';
import type { Clock } from '../../../../core/ports/clock.ts';
import type { Delivery, ReceiveRequest, Selector } from '../../../../core/ports/message-engine.ts';
import { sourceKey } from '../../../../core/model/topic.ts';

interface Parked {
  readonly request: ReceiveRequest;
  readonly finish: (deliveries: Delivery[]) => void;
  readonly fail: (error: BrokerError) => void;
}

/** The waiting receives of one group on one source with one selector, in order of arrival. */
interface Lineup {
  readonly key: string;
  readonly source: string;
  readonly group: string;
  readonly isSelective: boolean;
  readonly waiting: Set<Parked>;
  timer: Disposable | undefined;
}

export interface Pop {
  /** Leases what is there, possibly nothing. */
  receiveNow(request: ReceiveRequest): Delivery[];
  /** Resolves when a message that the last receive needed is loaded; undefined when it needed none. */
  readonly loading: Promise<void> | undefined;
  /** Members of the group for whom messages wait that nobody else gets. */
  readyMembers(request: ReceiveRequest): Set<object | undefined>;
  /** When a message of the group comes back by itself; Infinity for never. */
  nextVisibleAt(request: ReceiveRequest): number;
}

/** Long polls: receives that found nothing, until something arrives, comes back, or their time is up. */
export class ParkedReceives {
  private readonly clock: Clock;
  private readonly pop: Pop;
  private readonly lineups = new Map<string, Lineup>();
  private readonly bySource = new Map<string, Set<Lineup>>();
  private readonly byGroup = new Map<string, Set<Lineup>>();

  private readonly selectors = new WeakMap<Selector, number>();
  private selectorCount = 0;

  constructor(clock: Clock, pop: Pop) {
    this.clock = clock;
    this.pop = pop;
  }

  park(request: ReceiveRequest, signal: AbortSignal): Promise<Delivery[]> {
    return new Promise((resolve, reject) => {
      const lineup = this.lineup(request);
      const leave = (): void => {
        deadline[Symbol.dispose]();
        signal.removeEventListener('abort', giveUp);
        lineup.waiting.delete(parked);
        if (lineup.waiting.size === 0) this.removeLineup(lineup);
      };
      const finish = (deliveries: Delivery[]): void => {
        leave();
        resolve(deliveries);
      };
      const fail = (error: BrokerError): void => {
        leave();
        reject(error);
      };
      const giveUp = (): void => finish([]);
      const parked = { request, finish, fail };
      const deadline = this.clock.schedule(request.waitMs, giveUp);
      signal.addEventListener('abort', giveUp);
      lineup.waiting.add(parked);
      this.arm(lineup);
    });
  }

  /** Something became visible in the source. */
  wakeSource(source: string): void {
    for (const lineup of this.bySource.get(source) ?? []) this.serve(lineup);
  }

  /** A settlement of the group may have made something visible. */
  wakeGroup(group: string): void {
    for (const lineup of this.byGroup.get(group) ?? []) this.serve(lineup);
  }

  /** Messages were removed that may have stood before others that are selected. */
  wakeSelective(): void {
    for (const lineup of this.lineups.values()) if (lineup.isSelective) this.serve(lineup);
  }

  /** Something of the group was leased: when it comes back, those that had not selected it may get what is behind it. */
  leased(group: string): void {
    for (const lineup of this.byGroup.get(group) ?? []) if (lineup.isSelective) this.arm(lineup);
  }

  /** Every waiting receive ends empty. */
  endAll(): void {
    end(this.lineups.values());
  }

  /** The source is gone: nothing will ever arrive. Without an error they end empty. */
  endSource(source: string, error?: BrokerError): void {
    end(this.bySource.get(source) ?? [], error);
  }

  /** The group is gone. */
  endGroup(group: string, error: BrokerError): void {
    end(this.byGroup.get(group) ?? [], error);
  }

  private serve(lineup: Lineup): void {
    const { pop } = this;
    let members: Set<object | undefined> | undefined;
    for (const parked of lineup.waiting) {
      if (members?.has(parked.request.member) === false) continue;
      const deliveries = pop.receiveNow(parked.request);
      if (deliveries.length > 0) {
        parked.finish(deliveries);
        this.leased(lineup.group);
      } else if (pop.loading !== undefined) return this.serveWhenLoaded(lineup, pop.loading);
      // They all want the same: when the first gets nothing, nobody does, but for what only one of them may get.
      else members ??= pop.readyMembers(parked.request);
      if (members?.size === 0) break;
    }
    this.arm(lineup);
  }

  private serveWhenLoaded(lineup: Lineup, loading: Promise<void>): void {
    loading.then(
      () => this.serve(lineup),
      // Whoever asks next gets the error.
      () => end([lineup]),
    );
  }

  /** Sets the timer to the moment a message comes back by itself. */
  private arm(lineup: Lineup): void {
    lineup.timer?.[Symbol.dispose]();
    lineup.timer = undefined;
    const [first] = lineup.waiting;
    if (first === undefined) return;
    const at = this.pop.nextVisibleAt(first.request);
    if (at === Infinity) return;
    lineup.timer = this.clock.schedule(Math.max(0, at - this.clock.now()), () => this.serve(lineup));
  }

  private lineup(request: ReceiveRequest): Lineup {
    const source = sourceKey(request.source);
    const queue = request.source.kind === 'topic' ? request.source.queue : undefined;
    const key = `${request.group}\n${source}\n${queue ?? ''}\n${this.numberOf(request.select)}`;
    const known = this.lineups.get(key);
    if (known !== undefined) return known;
    const { group, select } = request;
    const isSelective = select !== undefined;
    const lineup: Lineup = { key, source, group, isSelective, waiting: new Set(), timer: undefined };
    this.lineups.set(key, lineup);
    addTo(this.bySource, source, lineup);
    addTo(this.byGroup, group, lineup);
    return lineup;
  }

  private numberOf(selector: Selector | undefined): number {
    if (selector === undefined) return 0;
    let number = this.selectors.get(selector);
    if (number === undefined) this.selectors.set(selector, (number = ++this.selectorCount));
    return number;
  }

  private removeLineup(lineup: Lineup): void {
    lineup.timer?.[Symbol.dispose]();
    lineup.timer = undefined;
    this.lineups.delete(lineup.key);
    removeFrom(this.bySource, lineup.source, lineup);
    removeFrom(this.byGroup, lineup.group, lineup);
  }
}

function end(lineups: Iterable<Lineup>, error?: BrokerError): void {
  for (const { waiting } of lineups) {
    for (const parked of waiting) {
      if (error === undefined) parked.finish([]);
      else parked.fail(error);
    }
  }
}

function addTo<T>(index: Map<string, Set<T>>, key: string, value: T): void {
  const values = index.get(key);
  if (values === undefined) index.set(key, new Set([value]));
  else values.add(value);
}

function removeFrom<T>(index: Map<string, Set<T>>, key: string, value: T): void {
  const values = index.get(key);
  if (values?.delete(value) === true && values.size === 0) index.delete(key);
}
