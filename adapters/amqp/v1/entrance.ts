import type { Broker } from '../../../core/broker.ts';
import type { Principal } from '../../../core/ports/authenticator.ts';
import type { FrameDecoder } from './codec/frame-decoder.ts';
import { SaslCode, type SaslPerformative } from './codec/performatives.ts';
import { PROTOCOL_HEADERS, type HeaderProtocol } from './codec/protocol-header.ts';
import type { FrameSink } from './frame-sink.ts';
import { Login, type LoginStep } from './login.ts';
import type { AmqpOptions } from './options.ts';
import type { AmqpTransport } from './transport.ts';

/** What the entrance asks of its connection. */
export interface EntranceHost {
  readonly context: { readonly broker: Broker };
  readonly options: AmqpOptions;
  becomeDirty(): void;
  /** Holds back what comes next until the work is done and `proceed` has been called with what came of it. */
  holdFor<T>(work: Promise<T>, proceed: (result: T) => void): void;
  end(reason: string): void;
}

/** How a client comes in: protocol headers (AMQP 2.2) and SASL (5.3), one after the other or all in one packet. */
export class Entrance {
  /** Who the client is, as soon as that is known. */
  principal: Principal | undefined;
  /** Headers and login are through: frames may be written, and an open may come. */
  isThrough = false;
  private readonly host: EntranceHost;
  private readonly writer: FrameSink;
  private readonly decoder: FrameDecoder;
  private readonly login: Login;
  private hasBegun = false;

  constructor(host: EntranceHost, transport: AmqpTransport, writer: FrameSink, decoder: FrameDecoder) {
    this.host = host;
    this.writer = writer;
    this.decoder = decoder;
    this.login = new Login(host.context.broker, host.options.saslMechanisms, transport.certificateUser);
  }

  onProtocolHeader(protocol: HeaderProtocol): void {
    if (this.hasBegun) {
      // Behind SASL there is one header that can come.
      if (protocol === 'amqp') this.letThrough();
      else this.refuse(PROTOCOL_HEADERS.amqp);
      return;
    }
    this.hasBegun = true;
    switch (protocol) {
      case 'sasl':
        return this.beginSasl();
      case 'amqp':
        return this.host.holdFor(this.login.withoutSasl(), (principal) => this.comesWithoutSasl(principal));
      case 'tls':
      case 'unknown':
        return this.refuse(PROTOCOL_HEADERS.sasl);
    }
  }

  onSasl(performative: SaslPerformative): void {
    const { host, login } = this;
    if (performative.kind === 'sasl-init' && login.expects(performative.kind)) {
      host.holdFor(login.begin(performative), (step) => this.loggedIn(step));
    } else if (performative.kind === 'sasl-response' && login.expects(performative.kind)) {
      host.holdFor(login.goOn(performative.response), (step) => this.loggedIn(step));
    } else {
      this.loggedIn({ answer: { kind: 'sasl-outcome', code: SaslCode.auth } });
    }
  }

  private beginSasl(): void {
    this.write(PROTOCOL_HEADERS.sasl);
    this.host.holdFor(this.login.offered(), (mechanisms) => {
      this.writer.sasl({ kind: 'sasl-mechanisms', mechanisms });
      this.host.becomeDirty();
    });
  }

  private comesWithoutSasl(principal: Principal | undefined): void {
    if (principal === undefined) return this.refuse(PROTOCOL_HEADERS.sasl);
    this.principal = principal;
    return this.letThrough();
  }

  private letThrough(): void {
    this.isThrough = true;
    this.write(PROTOCOL_HEADERS.amqp);
  }

  private loggedIn({ answer, principal }: LoginStep): void {
    this.writer.sasl(answer);
    this.host.becomeDirty();
    if (answer.kind === 'sasl-challenge') return undefined;
    if (principal === undefined) return this.host.end('the client is not who it says');
    this.principal = principal;
    return this.decoder.expectHeader();
  }

  /** AMQP 2.2: answered with what we would take, and closed. */
  private refuse(wanted: Buffer): void {
    this.writer.raw(wanted);
    this.host.end('the protocol header is not one that can come here');
  }

  private write(header: Buffer): void {
    this.writer.raw(header);
    this.host.becomeDirty();
  }
}
