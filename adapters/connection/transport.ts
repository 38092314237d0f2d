/** What a connection needs of whatever carries its bytes: TCP, TLS, a WebSocket. */
export interface ByteStream {
  /** Bytes handed over and not yet taken by the operating system. */
  readonly writableLength: number;
  /** @param written called when the stream has no more use for the chunk */
  write(chunk: Buffer, written: () => void): boolean;
  cork(): void;
  uncork(): void;
  pause(): unknown;
  resume(): unknown;
  /** Closes our side behind everything written so far. */
  end(): unknown;
  destroy(): unknown;
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'drain' | 'end' | 'close', listener: () => void): unknown;
}

/** A connection as the gateway hands it over, with what is known of it before its first packet. */
export interface Transport<Options> {
  readonly stream: ByteStream;
  /** The client's, also behind a proxy that says it. */
  readonly remoteAddress: string;
  /** Those of the listener; without them, those of the adapter. */
  readonly options?: Options | undefined;
  /** From the client's verified certificate: who it is, whatever the client says itself. */
  readonly certificateUser?: string | undefined;
  /** Asked when the client wants to be let in: why the listener has no room for it. */
  refusal?(): 'quotaExceeded' | 'connectionRateExceeded' | undefined;
}
