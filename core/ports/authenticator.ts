/** What a client shows to prove who it is, whatever its protocol. */
export type Credentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'password'; readonly username: string; readonly password: Uint8Array }
  /** The subject of a certificate the transport has verified: that alone is the proof. */
  | { readonly kind: 'certificate'; readonly commonName: string }
  /** RocketMQ: HMAC-SHA1 of the raw `x-mq-date-time` text, hex in either case. */
  | { readonly kind: 'signature'; readonly accessKey: string; readonly signed: string; readonly signature: string };

/** Who the client is from now on. */
export interface Principal {
  readonly name: string;
  readonly anonymous: boolean;
}

/** One for all protocols. Undefined: refused; the reason is not told apart on purpose. */
export interface Authenticator {
  authenticate(credentials: Credentials): Promise<Principal | undefined>;
}
