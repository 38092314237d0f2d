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

export type AuthStep =
  /** For the client, which answers it with the next step. */
  | { readonly kind: 'continue'; readonly data: Uint8Array }
  /** The data, where there is some, belongs into the answer that lets the client in: it proves who the server is. */
  | { readonly kind: 'done'; readonly principal: Principal; readonly data?: Uint8Array }
  /** The exchange has ended. */
  | { readonly kind: 'refused' };

/** A login of several messages, the client's first one first. One object for one login. */
export interface AuthExchange {
  step(data: Uint8Array): Promise<AuthStep>;
}

/** One for all protocols. Undefined: refused; the reason is not told apart on purpose. */
export interface Authenticator {
  authenticate(credentials: Credentials): Promise<Principal | undefined>;
  /** Starts an exchange of a SASL mechanism (`SCRAM-SHA-256`); undefined for one that is not offered. */
  exchange(method: string): AuthExchange | undefined;
}
