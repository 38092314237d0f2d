import type { Broker, LeaseHolder } from '../../../../core/broker.ts';
import type { Delivery } from '../../../../core/ports/message-engine.ts';

/** Has the leases renewed of all that AMQP clients hold, asking whoever knows: nothing is noted for each message. */
export class HeldLeases implements LeaseHolder {
  private readonly broker: Broker;
  private readonly holders = new Set<LeaseHolder>();
  private renewal: Disposable | undefined;

  constructor(broker: Broker) {
    this.broker = broker;
  }

  add(holder: LeaseHolder): void {
    this.holders.add(holder);
    this.renewal ??= this.broker.renewLeases(this);
  }

  delete(holder: LeaseHolder): void {
    this.holders.delete(holder);
    if (this.holders.size > 0) return;
    this.renewal?.[Symbol.dispose]();
    this.renewal = undefined;
  }

  *held(): Iterable<Delivery> {
    for (const holder of this.holders) yield* holder.held();
  }
}
