import { NULL_VALUE, textOf } from '../codec/plain-values.ts';
import { statusProperties, type Request, type Response } from './request-message.ts';

const ACCEPTED = 202;
const BAD_REQUEST = 400;

/**
 * Claims-based security (`$cbs`), which Azure's clients use before every link. The connection has logged in before, and its rights are
 * those of that login: a token is taken note of, and gives none.
 */
export async function putToken({ properties }: Request): Promise<Response> {
  const isPutToken = textOf(properties.get('operation')) === 'put-token' && properties.has('name');
  const status = isPutToken
    ? statusProperties(ACCEPTED, 'Accepted')
    : statusProperties(BAD_REQUEST, 'only put-token with a name is understood', 'amqp:not-implemented');
  return { properties: status, body: NULL_VALUE };
}
