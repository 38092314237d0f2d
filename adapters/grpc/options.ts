/** What an operator may set; times in milliseconds. */
export interface GrpcOptions {
  /** The name of the one broker clients see. */
  readonly brokerName: string;
  /** From the first byte to a connection that speaks HTTP/2. */
  readonly handshakeTimeoutMs: number;
  readonly clientCountMax: number;
  /** ReceiveMessage calls that wait at the same time. */
  readonly longPollCountMax: number;
  /** Calls that are open at the same time on one connection. */
  readonly streamsPerConnectionMax: number;
}

export const DEFAULT_GRPC_OPTIONS: GrpcOptions = {
  brokerName: 'gantry',
  handshakeTimeoutMs: 10_000,
  clientCountMax: 100_000,
  longPollCountMax: 100_000,
  streamsPerConnectionMax: 10_000,
};

/** RocketMQ proxy: `ProxyConfig.grpcMaxInboundMessageSize`, 32 bodies of 4 MiB and what is around them. */
export const INBOUND_BYTES_MAX = 130 * 1024 * 1024;
/** RocketMQ proxy: `ProxyConfig.grpcClientIdleTimeMills`; a connection with an open call, telemetry included, is not idle. */
export const CONNECTION_IDLE_MS = 120_000;
/** A peer that does not answer a ping is gone. */
export const PING_EVERY_MS = 60_000;
export const PING_TIMEOUT_MS = 20_000;
/** RocketMQ proxy: `ProxyConfig.channelExpiredTimeout`. */
export const CLIENT_SILENCE_MAX_MS = 120_000;
/** RocketMQ proxy: `ProxyConfig.defaultInvisibleTimeMills`, for consumers whose leases are renewed. */
export const RENEWED_LEASE_MS = 60_000;
/** What clients use where they say nothing. */
export const REQUEST_TIMEOUT_MS = 3_000;
/** A long poll ends this much before the client gives up. */
export const DEADLINE_MARGIN_MS = 500;
/** When the settings are sent again after the first time (see telemetry.ts). */
export const SETTINGS_REPEATS_MS: readonly number[] = [200, 1_000];
