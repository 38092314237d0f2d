export type SaslMechanism = 'EXTERNAL' | 'SCRAM-SHA-256' | 'PLAIN' | 'ANONYMOUS';

/** Limits of one AMQP 1.0 listener; every one has a configuration key of the same name under `amqp`. */
export interface AmqpOptions {
  /** What we call ourselves in `open`. */
  readonly containerId: string;
  /** Said in the properties of `open`: some clients look there for the broker they were made for. */
  readonly product: string;
  /** The same; undefined: our own. */
  readonly version?: string | undefined;
  /** A connection that has not sent `open` by then is closed. */
  readonly connectTimeoutMs: number;
  /** A client that sends no frame for so long is closed; half of it is announced (AMQP 2.4.5). 0: never. */
  readonly idleTimeoutMs: number;
  /** Announced as max-frame-size; a smaller one of the client wins for what it gets. */
  readonly maxFrameSizeBytes: number;
  /** Highest channel: sessions of a connection, less one. */
  readonly channelMax: number;
  /** Highest handle: links of a session, less one. */
  readonly handleMax: number;
  /** Longest message, whatever a node allows. */
  readonly maxMessageBytes: number;
  /** Bytes of messages that a connection has sent in part and not finished. */
  readonly assemblyBytesMax: number;
  /** Transfers a client may send on a session before it hears that there is room for more. */
  readonly sessionWindow: number;
  /** Messages sent on a session that may wait for their verdict. */
  readonly unsettledMax: number;
  /**
   * Which of them are offered, where there is something to check them with: EXTERNAL needs a verified certificate,
   * SCRAM-SHA-256 users with a verifier, ANONYMOUS an authenticator that lets in who shows nothing.
   */
  readonly saslMechanisms: readonly SaslMechanism[];
  /** Bytes that may wait for one client's socket; beyond it nothing more is sent to it, and nothing read from it. */
  readonly outputBytesMax: number;
}

export const DEFAULT_AMQP_OPTIONS: AmqpOptions = {
  containerId: 'gantry',
  product: 'gantry',
  connectTimeoutMs: 10_000,
  idleTimeoutMs: 120_000,
  maxFrameSizeBytes: 65_536,
  channelMax: 255,
  handleMax: 1_023,
  maxMessageBytes: 4 * 1024 * 1024 + 128 * 1024,
  assemblyBytesMax: 64 * 1024 * 1024,
  sessionWindow: 2_048,
  unsettledMax: 65_536,
  saslMechanisms: ['EXTERNAL', 'SCRAM-SHA-256', 'PLAIN', 'ANONYMOUS'],
  outputBytesMax: 1024 * 1024,
};
