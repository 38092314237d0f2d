import type { Broker } from '../../../core/broker.ts';
import type { AuthExchange, AuthStep, Credentials, Principal } from '../../../core/ports/authenticator.ts';
import { SaslCode, type SaslChallenge, type SaslInit, type SaslOutcome } from './codec/performatives.ts';
import type { SaslMechanism } from './options.ts';

/** What comes of a frame of the client. */
export interface LoginStep {
  readonly answer: SaslChallenge | SaslOutcome;
  /** Who the client is, once it is known. */
  readonly principal?: Principal | undefined;
}

/** Azure's name for ANONYMOUS: who the client is will be said by put-token. */
const CBS_MECHANISM = 'MSSBCBS';

const EMPTY = Buffer.alloc(0);
const REFUSED: LoginStep = { answer: { kind: 'sasl-outcome', code: SaslCode.auth } };

/** Who a client is, by SASL (AMQP 5.3) or by its coming without. One object for one login. */
export class Login {
  private readonly broker: Broker;
  private readonly mechanisms: readonly SaslMechanism[];
  private readonly certificateUser: string | undefined;
  private exchange: AuthExchange | undefined;
  private hasBegun = false;

  constructor(broker: Broker, mechanisms: readonly SaslMechanism[], certificateUser: string | undefined) {
    this.broker = broker;
    this.mechanisms = mechanisms;
    this.certificateUser = certificateUser;
  }

  /** Those that can lead somewhere for this client. */
  async offered(): Promise<readonly SaslMechanism[]> {
    const mayBeAnonymous = (await this.anonymous()) !== undefined;
    return this.mechanisms.filter((mechanism) => {
      if (mechanism === 'EXTERNAL') return this.certificateUser !== undefined;
      if (mechanism === 'SCRAM-SHA-256') return this.broker.startExchange(mechanism) !== undefined;
      return mechanism === 'PLAIN' || mayBeAnonymous;
    });
  }

  /** Undefined where a client has to log in by SASL. */
  withoutSasl(): Promise<Principal | undefined> {
    if (this.certificateUser !== undefined && this.mechanisms.includes('EXTERNAL')) return this.byCertificate();
    return this.anonymous();
  }

  /** Whether the frame may come now. */
  expects(kind: 'sasl-init' | 'sasl-response'): boolean {
    return kind === 'sasl-init' ? !this.hasBegun : this.exchange !== undefined;
  }

  begin({ mechanism, initialResponse }: SaslInit): Promise<LoginStep> {
    this.hasBegun = true;
    const name = mechanism === CBS_MECHANISM ? 'ANONYMOUS' : mechanism;
    if (!this.mechanisms.some((one) => one === name)) return Promise.resolve(REFUSED);
    switch (name as SaslMechanism) {
      case 'ANONYMOUS':
        return outcomeOf(this.anonymous());
      case 'EXTERNAL':
        return outcomeOf(this.byCertificate());
      case 'PLAIN':
        return outcomeOf(this.byPassword(initialResponse ?? EMPTY));
      case 'SCRAM-SHA-256':
        this.exchange = this.broker.startExchange(name);
        if (this.exchange === undefined) return Promise.resolve(REFUSED);
        // A client may leave its first message for the answer to an empty challenge (RFC 4422 5.1).
        if (initialResponse === undefined) {
          return Promise.resolve({ answer: { kind: 'sasl-challenge', challenge: EMPTY } });
        }
        return this.goOn(initialResponse);
    }
  }

  /** The next message of an exchange. */
  async goOn(response: Buffer): Promise<LoginStep> {
    const step: AuthStep = await this.exchange!.step(response);
    switch (step.kind) {
      case 'continue':
        return { answer: { kind: 'sasl-challenge', challenge: Buffer.from(step.data) } };
      case 'refused':
        return REFUSED;
      case 'done': {
        const additionalData = step.data && Buffer.from(step.data);
        return { answer: { kind: 'sasl-outcome', code: SaslCode.ok, additionalData }, principal: step.principal };
      }
    }
  }

  private anonymous(): Promise<Principal | undefined> {
    if (!this.mechanisms.includes('ANONYMOUS')) return Promise.resolve(undefined);
    return this.broker.authenticate({ kind: 'none' });
  }

  private byCertificate(): Promise<Principal | undefined> {
    const { certificateUser: commonName } = this;
    if (commonName === undefined) return Promise.resolve(undefined);
    return this.broker.authenticate({ kind: 'certificate', commonName });
  }

  private byPassword(response: Buffer): Promise<Principal | undefined> {
    const credentials = passwordOf(response);
    return credentials === undefined ? Promise.resolve(undefined) : this.broker.authenticate(credentials);
  }
}

async function outcomeOf(login: Promise<Principal | undefined>): Promise<LoginStep> {
  const principal = await login;
  return principal === undefined ? REFUSED : { answer: { kind: 'sasl-outcome', code: SaslCode.ok }, principal };
}

/** RFC 4616: whom to act for, who it is, and the password, with a zero between them. Nobody acts for others here. */
function passwordOf(response: Buffer): Credentials | undefined {
  const first = response.indexOf(0);
  const second = response.indexOf(0, first + 1);
  if (first < 0 || second < 0) return undefined;
  const actFor = response.toString('utf8', 0, first);
  const username = response.toString('utf8', first + 1, second);
  if (username === '' || (actFor !== '' && actFor !== username)) return undefined;
  return { kind: 'password', username, password: response.subarray(second + 1) };
}
