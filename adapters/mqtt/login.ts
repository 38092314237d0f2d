import type { Broker } from '../../core/broker.ts';
import type { AuthExchange, Credentials, Principal } from '../../core/ports/authenticator.ts';
import type { AuthPacket, ConnectPacket, Properties } from './codec/packet.ts';
import { ReasonCode } from './codec/reason-code.ts';

/** What comes of a CONNECT or AUTH. */
export type LoginStep =
  /** The client answers the packet with the next one. */
  | { readonly kind: 'continue'; readonly packet: AuthPacket }
  /** The properties belong into the CONNACK or AUTH that lets the client in. */
  | { readonly kind: 'admitted'; readonly principal: Principal; readonly properties: Properties | undefined }
  | { readonly kind: 'refused'; readonly reasonCode: number; readonly reason: string };

/** Who a client is: by its certificate, its password, or an exchange of AUTH packets (MQTT 5 section 4.12). */
export class Login {
  private readonly broker: Broker;
  private method: string | undefined;
  private exchange: AuthExchange | undefined;

  constructor(broker: Broker) {
    this.broker = broker;
  }

  async begin(packet: ConnectPacket, certificateUser: string | undefined): Promise<LoginStep> {
    const { authenticationMethod, authenticationData } = packet.properties ?? {};
    if (authenticationMethod !== undefined) {
      this.method = authenticationMethod;
      return this.step(authenticationData);
    }
    const principal = await this.broker.authenticate(credentialsOf(packet, certificateUser));
    if (principal !== undefined) return { kind: 'admitted', principal, properties: undefined };
    const reasonCode = packet.username === undefined ? ReasonCode.notAuthorized : ReasonCode.badUserNameOrPassword;
    return { kind: 'refused', reasonCode, reason: 'the user name or password is not right' };
  }

  /** Whether the AUTH is the next of an exchange, or begins one again by the method of CONNECT [MQTT-4.12.1-1]. */
  expects({ reasonCode, properties }: AuthPacket): boolean {
    if (this.method === undefined || properties?.authenticationMethod !== this.method) return false;
    const isUnderWay = this.exchange !== undefined;
    return reasonCode === (isUnderWay ? ReasonCode.continueAuthentication : ReasonCode.reAuthenticate);
  }

  goOn({ properties }: AuthPacket): Promise<LoginStep> {
    return this.step(properties?.authenticationData);
  }

  private async step(data: Buffer | undefined): Promise<LoginStep> {
    const method = this.method!;
    this.exchange ??= this.broker.startExchange(method);
    // [MQTT-4.12.0-1]
    if (this.exchange === undefined) {
      return { kind: 'refused', reasonCode: ReasonCode.badAuthenticationMethod, reason: `${method} is not offered` };
    }
    const step = await this.exchange.step(data ?? Buffer.alloc(0));
    if (step.kind !== 'continue') this.exchange = undefined;
    if (step.kind === 'refused') {
      return { kind: 'refused', reasonCode: ReasonCode.notAuthorized, reason: 'the client is not who it says' };
    }
    const properties: Properties = { authenticationMethod: method };
    if (step.data !== undefined) properties.authenticationData = Buffer.from(step.data);
    if (step.kind === 'done') return { kind: 'admitted', principal: step.principal, properties };
    return { kind: 'continue', packet: { type: 'auth', reasonCode: ReasonCode.continueAuthentication, properties } };
  }
}

function credentialsOf({ username, password }: ConnectPacket, certificateUser: string | undefined): Credentials {
  if (certificateUser !== undefined) return { kind: 'certificate', commonName: certificateUser };
  if (username === undefined) return { kind: 'none' };
  return { kind: 'password', username, password: password ?? Buffer.alloc(0) };
}
