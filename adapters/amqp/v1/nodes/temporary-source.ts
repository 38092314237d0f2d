import type { DeliveryState, Source } from '../codec/performatives.ts';
import type { OutgoingLink, SourceNode } from '../node.ts';
import type { NodeContext } from './node-context.ts';
import type { TemporaryMessage, TemporaryQueue } from './temporary-queue.ts';

/** Reads from a temporary queue; what made it with the link takes it away with the link. */
export class TemporarySource implements SourceNode {
  readonly source: Source;
  private readonly context: NodeContext;
  private readonly link: OutgoingLink;
  private readonly queue: TemporaryQueue;
  private readonly reader: Disposable;
  private readonly onDetached: (() => void) | undefined;

  constructor(
    context: NodeContext,
    link: OutgoingLink,
    source: Source,
    queue: TemporaryQueue,
    onDetached?: () => void,
  ) {
    this.context = context;
    this.link = link;
    this.source = source;
    this.queue = queue;
    this.onDetached = onDetached;
    this.reader = queue.addReader({
      wake: () => link.ready(),
      closed: () => link.detach({ condition: 'amqp:resource-deleted', description: `${queue.name} is gone` }),
    });
  }

  pull(): void {
    const { link, queue, context } = this;
    const nowMs = context.broker.clock.now();
    while (link.room > 0) {
      const next = queue.take();
      if (next === undefined) break;
      context.send(link, next, next.message, next.attempt, nowMs);
    }
    link.drained();
  }

  available(): number {
    return this.queue.length;
  }

  outcome(kept: unknown, state: DeliveryState | undefined): void {
    if (state?.kind !== 'released' && state?.kind !== 'modified') return;
    const taken = kept as TemporaryMessage;
    if (state.kind === 'modified' && state.deliveryFailed) taken.attempt++;
    if (state.kind === 'modified' && state.undeliverableHere) return;
    this.queue.putBack([taken]);
  }

  detached(_closed: boolean, isClean: boolean, unsettled: readonly unknown[]): void {
    this.reader[Symbol.dispose]();
    const back = unsettled as readonly TemporaryMessage[];
    if (!isClean) for (const taken of back) taken.attempt++;
    this.queue.putBack(back);
    this.onDetached?.();
  }
}
