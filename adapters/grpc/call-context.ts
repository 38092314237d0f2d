import type { Metadata } from '@grpc/grpc-js';
import type { Broker } from '../../core/broker.ts';
import { BrokerError } from '../../core/model/broker-error.ts';
import type { Credentials, Principal } from '../../core/ports/authenticator.ts';
import { ProtocolError } from './status.ts';

/** Who calls, and until when the answer is awaited. */
export interface CallContext {
  readonly clientId: string;
  /** As the client names it, in upper case: JAVA, GO, HTTP (the Node.js client), ... Empty when it does not. */
  readonly language: string;
  readonly principal: Principal;
  /** Milliseconds since the epoch; Infinity when the client set none. */
  readonly deadline: number;
}

/** The part of a gRPC call that every kind of call has. */
export interface AnyCall {
  readonly metadata: Metadata;
  getDeadline(): Date | number;
}

const CLIENT_ID_CHARS_MAX = 1024;
const ALGORITHM = 'MQv2-HMAC-SHA1';

/**
 * Reads the request metadata and lets the client in.
 * @throws ProtocolError CLIENT_ID_REQUIRED
 * @throws BrokerError UNAUTHORIZED
 */
export async function contextOf(broker: Broker, call: AnyCall): Promise<CallContext> {
  const { metadata } = call;
  const clientId = textOf(metadata, 'x-mq-client-id');
  if (clientId === '') throw new ProtocolError('CLIENT_ID_REQUIRED', 'the header x-mq-client-id is missing');
  if (clientId.length > CLIENT_ID_CHARS_MAX) {
    throw new BrokerError('BAD_REQUEST', `the client id is longer than ${CLIENT_ID_CHARS_MAX} characters`);
  }
  const principal = await broker.authenticate(credentialsOf(metadata));
  if (principal === undefined) throw new BrokerError('UNAUTHORIZED', 'the credentials are not accepted');
  const language = textOf(metadata, 'x-mq-language').toUpperCase();
  return { clientId, language, principal, deadline: Number(call.getDeadline()) };
}

/**
 * `authorization: MQv2-HMAC-SHA1 Credential=<key>[/<region>/<service>], SignedHeaders=x-mq-date-time, Signature=<hex>`. What
 * is signed is the text of `x-mq-date-time` as it is: most clients put local time into it, so its age says nothing.
 */
export function credentialsOf(metadata: Metadata): Credentials {
  const authorization = textOf(metadata, 'authorization').trim();
  if (authorization === '') return { kind: 'none' };
  const space = authorization.indexOf(' ');
  if (space === -1 || authorization.slice(0, space) !== ALGORITHM) {
    throw new BrokerError('UNAUTHORIZED', `the authorization header is not of the form ${ALGORITHM} Credential=...`);
  }
  const parts = new Map<string, string>();
  for (const part of authorization.slice(space + 1).split(',')) {
    const equals = part.indexOf('=');
    if (equals !== -1) parts.set(part.slice(0, equals).trim(), part.slice(equals + 1).trim());
  }
  const accessKey = (parts.get('Credential') ?? '').split('/')[0]!;
  // The Python client sends the header even when it was given no credentials.
  if (accessKey === '') return { kind: 'none' };
  return {
    kind: 'signature',
    accessKey,
    signed: textOf(metadata, 'x-mq-date-time'),
    signature: parts.get('Signature') ?? '',
  };
}

function textOf(metadata: Metadata, key: string): string {
  const value = metadata.get(key)[0];
  return typeof value === 'string' ? value : '';
}
