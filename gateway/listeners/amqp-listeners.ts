import type { AmqpOptions } from '../../adapters/amqp/v1/options.ts';
import type { AmqpTransport } from '../../adapters/amqp/v1/transport.ts';
import type { Logger } from '../../core/ports/logger.ts';
import type { AmqpListenerConfig, Config } from '../config/schema.ts';
import type { ConnectionHandler } from './accepted.ts';
import { greetAmqp } from './amqp-header.ts';
import { protocolListeners, transportOf } from './protocol-listeners.ts';
import type { TcpListener } from './tcp-listener.ts';

/** Protocol headers, SASL and `open` sent in one go, with room for a long token. */
const FIRST_BYTES_MAX = 64 * 1024;

/** Whoever speaks AMQP 1.0. */
interface Adapter {
  handleConnection(transport: AmqpTransport): void;
}

/** The AMQP listeners of the configuration. @throws Error naming the listener whose certificate cannot be used */
export function amqpListeners(amqp: Config['amqp'], adapter: Adapter, log: Logger): Promise<TcpListener[]> {
  const { listeners, connectionsMax } = amqp;
  const parts = {
    protocol: 'amqp',
    listeners,
    connectionsMax,
    greeting: greetAmqp,
    defaultPath: '/amqp',
    webSocketOf: (listener: AmqpListenerConfig) => {
      const limits = { firstBytesMax: FIRST_BYTES_MAX, unitBytesMax: optionsOf(amqp, listener).maxFrameSizeBytes };
      return { protocol: 'AMQP 1.0', subprotocols: ['amqp'], ...limits };
    },
    handshakeTimeoutMsOf: (listener: AmqpListenerConfig) => optionsOf(amqp, listener).connectTimeoutMs,
    handlerOf: (listener: AmqpListenerConfig): ConnectionHandler => {
      const options = optionsOf(amqp, listener);
      return {
        handleConnection: (accepted) => {
          adapter.handleConnection({ ...transportOf(accepted, listener.tls), options });
        },
      };
    },
  };
  return protocolListeners(parts, log);
}

/** The adapter's, where a listener says nothing itself. */
export function amqpOptions(amqp: Config['amqp']): AmqpOptions {
  return { ...amqp, maxMessageBytes: amqp.messageBytesMax };
}

/** What the listener says itself goes before what is said for all. */
function optionsOf(amqp: Config['amqp'], listener: AmqpListenerConfig): AmqpOptions {
  const { connectTimeoutMs, idleTimeoutMs, maxFrameSizeBytes, messageBytesMax, saslMechanisms } = listener;
  return {
    ...amqp,
    connectTimeoutMs: connectTimeoutMs ?? amqp.connectTimeoutMs,
    idleTimeoutMs: idleTimeoutMs ?? amqp.idleTimeoutMs,
    maxFrameSizeBytes: maxFrameSizeBytes ?? amqp.maxFrameSizeBytes,
    maxMessageBytes: messageBytesMax ?? amqp.messageBytesMax,
    saslMechanisms: saslMechanisms ?? amqp.saslMechanisms,
  };
}
