import type { Transport } from '../../connection/transport.ts';
import type { AmqpOptions } from './options.ts';

/** Behind TLS and its header (AMQP 5.2). */
export type AmqpTransport = Transport<AmqpOptions>;
