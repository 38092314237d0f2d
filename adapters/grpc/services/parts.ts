import type { Broker } from '../../../core/broker.ts';
import type { Logger } from '../../../core/ports/logger.ts';
import type { ClientRegistry } from '../client-registry.ts';
import type { GrpcOptions } from '../options.ts';

/** What the RPCs share. */
export interface Parts {
  readonly broker: Broker;
  readonly clients: ClientRegistry;
  readonly log: Logger;
  readonly options: GrpcOptions;
  /** Aborted when the gateway stops: whatever waits ends. */
  readonly stopping: AbortSignal;
}
